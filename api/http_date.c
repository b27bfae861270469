/* SPDX-License-Identifier: Apache-2.0 */
/* Days are counted in years that begin with March, so that the leap day is a year's last. */
#include "http_date.h"

#include <string.h>

enum { DAY_SECONDS = 86400, ERA_DAYS = 146097 /* of 400 years */, EPOCH_DAYS = 719468 };

static const char *const weekdays[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                       "Thursday", "Friday", "Saturday"};
static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

struct date {
    int year, month, day; /* month and day from 1 */
    int hour, minute, second;
};

/* ---- the calendar ---- */

static int64_t floor_divided(int64_t number, int64_t by)
{
    return (number - (number % by + by) % by) / by;
}

/* From 1970-01-01 on. */
static int64_t days_of(const struct date *date)
{
    int64_t year = date->month <= 2 ? date->year - 1 : date->year;
    int64_t era = floor_divided(year, 400), year_of_era = year - era * 400;
    int64_t month_from_march = (date->month + 9) % 12;
    int64_t day_of_year = (153 * month_from_march + 2) / 5 + date->day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * ERA_DAYS + day_of_era - EPOCH_DAYS;
}

static struct date date_of(int64_t days)
{
    int64_t from_march = days + EPOCH_DAYS;
    int64_t era = floor_divided(from_march, ERA_DAYS), day_of_era = from_march - era * ERA_DAYS;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / (ERA_DAYS - 1)) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month_from_march = (5 * day_of_year + 2) / 153;
    int month = (int)(month_from_march + 2) % 12 + 1;
    return (struct date){
        .year = (int)(era * 400 + year_of_era) + (month <= 2 ? 1 : 0),
        .month = month,
        .day = (int)(day_of_year - (153 * month_from_march + 2) / 5) + 1,
    };
}

static bool exists(const struct date *date)
{
    struct date same = date_of(days_of(date));
    return same.month == date->month && date->hour < 24 && date->minute < 60 &&
           date->second <= 60; /* there are leap seconds */
}

/* ---- writing ---- */

static char *put_digits(char *out, int number, int count)
{
    for (int i = count; i-- > 0; number /= 10)
        out[i] = (char)('0' + number % 10);
    return out + count;
}

void http_date_write(int64_t seconds, char out_text[static HTTP_DATE_BYTES])
{
    int64_t days = floor_divided(seconds, DAY_SECONDS);
    int second = (int)(seconds - days * DAY_SECONDS);
    struct date date = date_of(days);
    const char *weekday = weekdays[((days + 4) % 7 + 7) % 7];
    char *next = stpcpy(mempcpy(out_text, weekday, 3), ", ");
    next = stpcpy(put_digits(next, date.day, 2), " ");
    next = stpcpy(stpcpy(next, months[date.month - 1]), " ");
    next = stpcpy(put_digits(next, date.year, 4), " ");
    next = stpcpy(put_digits(next, second / 3600, 2), ":");
    next = stpcpy(put_digits(next, second / 60 % 60, 2), ":");
    strcpy(put_digits(next, second % 60, 2), " GMT");
}

/* ---- reading ---- */

static bool take_digits(struct bytes *text, size_t count, int *out_number)
{
    const char *digits = text->data;
    int number = 0;
    if (text->size < count)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return false;
        number = number * 10 + digits[i] - '0';
    }
    *text = (struct bytes){digits + count, text->size - count};
    *out_number = number;
    return true;
}

/* One of the names, or of their first `bytes` when not 0; its number from 1. */
static bool take_name(struct bytes *text, const char *const *names, size_t count, size_t bytes,
                      int *out_number)
{
    for (size_t i = 0; i < count; i++) {
        size_t size = bytes > 0 ? bytes : strlen(names[i]);
        if (text->size < size || memcmp(text->data, names[i], size) != 0)
            continue;
        *text = (struct bytes){(const char *)text->data + size, text->size - size};
        *out_number = (int)i + 1;
        return true;
    }
    return false;
}

static bool take_byte(struct bytes *text, char byte)
{
    if (text->size == 0 || *(const char *)text->data != byte)
        return false;
    *text = (struct bytes){(const char *)text->data + 1, text->size - 1};
    return true;
}

/* RFC 9110: more than 50 years ahead is the past. */
static bool take_short_year(struct bytes *text, int64_t now, int *out_year)
{
    int this_year = date_of(floor_divided(now, DAY_SECONDS)).year;
    if (!take_digits(text, 2, out_year))
        return false;
    *out_year += this_year - this_year % 100;
    *out_year -= *out_year > this_year + 50 ? 100 : 0;
    return true;
}

/* `format` as for strptime(), which takes more than these. */
static bool take(struct bytes *text, char format, int64_t now, struct date *date)
{
    int unused;
    switch (format) {
    case 'a':
        return take_name(text, weekdays, COUNT_OF(weekdays), 3, &unused);
    case 'A':
        return take_name(text, weekdays, COUNT_OF(weekdays), 0, &unused);
    case 'b':
        return take_name(text, months, COUNT_OF(months), 0, &date->month);
    case 'd':
        return take_digits(text, 2, &date->day);
    case 'e':
        return take_digits(text, take_byte(text, ' ') ? 1 : 2, &date->day);
    case 'H':
        return take_digits(text, 2, &date->hour);
    case 'M':
        return take_digits(text, 2, &date->minute);
    case 'S':
        return take_digits(text, 2, &date->second);
    case 'Y':
        return take_digits(text, 4, &date->year);
    default:
        return take_short_year(text, now, &date->year);
    }
}

static bool read_as(const char *format, struct bytes text, int64_t now, struct date *out_date)
{
    for (; *format != '\0'; format++) {
        bool is_field = *format == '%';
        format += is_field;
        if (is_field ? !take(&text, *format, now, out_date) : !take_byte(&text, *format))
            return false;
    }
    return text.size == 0 && exists(out_date);
}

bool http_date_read(struct bytes text, int64_t now, int64_t *out_seconds)
{
    static const char *const formats[] = {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT",
                                          "%a %b %e %H:%M:%S %Y"};
    for (size_t i = 0; i < COUNT_OF(formats); i++) {
        struct date date = {0};
        if (!read_as(formats[i], text, now, &date))
            continue;
        int second = date.second < 60 ? date.second : 59;
        *out_seconds = days_of(&date) * DAY_SECONDS + date.hour * 3600 + date.minute * 60 + second;
        return true;
    }
    return false;
}
