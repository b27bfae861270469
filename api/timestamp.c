/* SPDX-License-Identifier: Apache-2.0 */
/* By hand where the C library would take more than the RFC allows: strptime skips white space and
 * takes signs. */
#include "timestamp.h"

#include <stdio.h>
#include <time.h>

size_t timestamp_write(int64_t ms, char out_text[static TIMESTAMP_BYTES])
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    size_t size = strftime(out_text, TIMESTAMP_BYTES, "%Y-%m-%dT%H:%M:%S", &utc);
    return size + (size_t)snprintf(out_text + size, TIMESTAMP_BYTES - size, ".%03uZ",
                                   (unsigned)(ms % 1000));
}

/* The rest of the text. */
struct rest {
    const char *next, *end;
};

static bool take(struct rest *rest, const char *one_of)
{
    bool is_there =
        rest->next < rest->end && *rest->next != '\0' && strchr(one_of, *rest->next) != NULL;
    rest->next += is_there;
    return is_there;
}

static bool take_digit(struct rest *rest, int *out_digit)
{
    if (rest->next == rest->end || *rest->next < '0' || *rest->next > '9')
        return false;
    *out_digit = *rest->next++ - '0';
    return true;
}

static bool take_number(struct rest *rest, int digits, int least, int most, int *out_number)
{
    int number = 0, digit;
    for (; digits > 0; digits--) {
        if (!take_digit(rest, &digit))
            return false;
        number = number * 10 + digit;
    }
    *out_number = number;
    return number >= least && number <= most;
}

static int days_of_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return days[month - 1] + (month == 2 && leap);
}

static bool take_date(struct rest *rest, struct tm *out_date)
{
    int year, month, day;
    if (!take_number(rest, 4, 0, 9999, &year) || !take(rest, "-") ||
        !take_number(rest, 2, 1, 12, &month) || !take(rest, "-") ||
        !take_number(rest, 2, 1, days_of_month(year, month), &day))
        return false;
    out_date->tm_year = year - 1900;
    out_date->tm_mon = month - 1;
    out_date->tm_mday = day;
    return true;
}

/* A leap second (60) is the first of the next minute. */
static bool take_time(struct rest *rest, struct tm *out_time)
{
    return take_number(rest, 2, 0, 23, &out_time->tm_hour) && take(rest, ":") &&
           take_number(rest, 2, 0, 59, &out_time->tm_min) && take(rest, ":") &&
           take_number(rest, 2, 0, 60, &out_time->tm_sec);
}

static bool take_fraction(struct rest *rest, int *out_ms)
{
    int digit, scale = 100;
    *out_ms = 0;
    if (!take(rest, "."))
        return true;
    if (!take_digit(rest, &digit))
        return false;
    do {
        *out_ms += digit * scale;
        scale /= 10;
    } while (take_digit(rest, &digit));
    return true;
}

static bool take_offset(struct rest *rest, int *out_minutes)
{
    int hours, minutes;
    *out_minutes = 0;
    if (take(rest, "Zz"))
        return true;
    int sign = take(rest, "-") ? -1 : 1;
    if ((sign > 0 && !take(rest, "+")) || !take_number(rest, 2, 0, 23, &hours) ||
        !take(rest, ":") || !take_number(rest, 2, 0, 59, &minutes))
        return false;
    *out_minutes = sign * (hours * 60 + minutes);
    return true;
}

bool timestamp_read(struct bytes text, int64_t *out_ms)
{
    struct rest rest = {text.data, (const char *)text.data + text.size};
    struct tm local = {.tm_isdst = 0};
    int ms, offset_minutes;
    if (!take_date(&rest, &local) || !take(&rest, "Tt") || !take_time(&rest, &local) ||
        !take_fraction(&rest, &ms) || !take_offset(&rest, &offset_minutes) || rest.next != rest.end)
        return false;
    int64_t whole_ms = ((int64_t)timegm(&local) - offset_minutes * 60) * 1000 + ms;
    if (whole_ms > TIMESTAMP_MS_MAX)
        return false;
    *out_ms = whole_ms;
    return true;
}
