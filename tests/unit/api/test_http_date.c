/* SPDX-License-Identifier: Apache-2.0 */
/* Dates of HTTP: the three formats, read to the letter, and the one that is written. */
#include "../../../api/http_date.h"

#include <time.h>

#include "../../lib/test.h"

enum { NOW = 1795525200 /* in 2026 */, DAY = 86400 };

static void the_three_formats_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t seconds;
    } rows[] = {
        {"Sun, 06 Nov 1994 08:49:37 GMT", 784111777},
        {"Sunday, 06-Nov-94 08:49:37 GMT", 784111777},
        {"Sun Nov  6 08:49:37 1994", 784111777},
        {"Sun Nov 16 08:49:37 1994", 784111777 + 10 * DAY},
        {"Tue, 29 Feb 2000 00:00:00 GMT", 951782400},
        {"Thu, 01 Jan 1970 00:00:00 GMT", 0},
        {"Wed, 31 Dec 1969 23:59:59 GMT", -1},
        {"Mon, 01 Jan 0001 00:00:00 GMT", -62135596800},
        {"Fri, 31 Dec 9999 23:59:59 GMT", 253402300799},
        {"Sat, 31 Dec 2016 23:59:60 GMT", 1483228799},
        {"Fri, 31 Dec 9999 23:59:60 GMT", 253402300799},
        {"Mon, 06 Nov 1994 08:49:37 GMT", 784111777}, /* a Sunday in truth */
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        int64_t seconds = 0;
        if (!http_date_read(bytes_of(rows[i].text), NOW, &seconds) || seconds != rows[i].seconds)
            fail_msg("%s: %lld", rows[i].text, (long long)seconds);
    }
}

static void a_short_year_is_at_most_50_years_ahead(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t seconds;
    } rows[] = {
        {"Wednesday, 01-Jan-76 00:00:00 GMT", 3345062400},
        {"Saturday, 01-Jan-77 00:00:00 GMT", 220924800},
        {"Saturday, 01-Jan-00 00:00:00 GMT", 946684800},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        int64_t seconds = 0;
        assert_true(http_date_read(bytes_of(rows[i].text), NOW, &seconds));
        assert_int_equal(seconds, rows[i].seconds);
    }
}

static void what_is_nearly_a_date_is_none(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "0",
        "784111777",
        "1994-11-06T08:49:37Z",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 gmt",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        " Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT, Sun, 06 Nov 1994 08:49:37 GMT",
        "sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06 Nov 1994 08:49:37 GMT",
        "Son, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06 nov 1994 08:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06  Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sun, 06 Nov 19940 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Wed, 29 Feb 1900 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:00:00 GMT",
        "Sun, 06 Nov 1994 08:60:00 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 1994 -8:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 +0000",
        "Sun, 06-Nov-94 08:49:37 GMT",
        "Sunday, 06-Nov-1994 08:49:37 GMT",
        "Sun Nov 06 08:49:37 1994 GMT",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov   6 08:49:37 1994",
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        int64_t seconds = 7;
        if (http_date_read(bytes_of(texts[i]), NOW, &seconds) || seconds != 7)
            fail_msg("accepted: '%s'", texts[i]);
    }
}

/* Every day of 1200 years: three times what the calendar repeats. */
static void a_date_is_written_as_the_calendar_has_it(void **state)
{
    (void)state;
    for (int64_t day = -150000; day < 300000; day++) {
        char text[HTTP_DATE_BYTES], expected[64];
        time_t seconds = day * DAY + (day % DAY + DAY) % DAY;
        struct tm utc;
        int64_t read = 0;
        gmtime_r(&seconds, &utc);
        strftime(expected, sizeof expected, "%a, %d %b %Y %H:%M:%S GMT", &utc);
        http_date_write(seconds, text);
        assert_string_equal(text, expected);
        assert_true(http_date_read(bytes_of(text), NOW, &read));
        assert_int_equal(read, seconds);
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("the three formats are read", the_three_formats_are_read),
        TEST("a short year is at most 50 years ahead", a_short_year_is_at_most_50_years_ahead),
        TEST("what is nearly a date is none", what_is_nearly_a_date_is_none),
        TEST("a date is written as the calendar has it", a_date_is_written_as_the_calendar_has_it),
    };
    return test_main(argc, argv, "http_date", tests);
}
