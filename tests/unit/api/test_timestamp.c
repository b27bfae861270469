/* SPDX-License-Identifier: Apache-2.0 */
/* Which texts are a time, and how one is written. */
#include "../../../api/timestamp.h"
#include "../../../engine/scope.h"
#include "../../lib/test.h"

static void times_are_read_to_the_millisecond(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } rows[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01T00:00:00.001Z", 1},
        {"1970-01-01t00:00:01.5z", 1500},
        {"1970-01-01T00:00:00.0019999999999999999Z", 1},
        {"1970-01-01T01:00:00+01:00", 0},
        {"1969-12-31T18:30:00-05:30", 0},
        {"1970-01-01T00:00:00-00:00", 0},
        {"2000-02-29T23:59:60Z", INT64_C(951868800000)},
        {"2026-11-24T13:20:53.042Z", INT64_C(1795526453042)},
        {"9999-12-31T23:59:59.999Z", TIMESTAMP_MS_MAX},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        int64_t ms = 77;
        assert_true(timestamp_read(bytes_of(rows[i].text), &ms));
        assert_int_equal(ms, rows[i].ms);
    }
}

static void anything_else_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "now",
        "2026-11-24",
        "2026-11-24T13:20:53",
        "2026-11-24 13:20:53Z",
        "2026-11-24T13:20Z",
        "2026-11-24T24:00:00Z",
        "2026-11-24T13:60:00Z",
        "2026-11-24T13:20:61Z",
        "2026-11-24T13:20:53.Z",
        "2026-11-24T13:20:53Z ",
        " 2026-11-24T13:20:53Z",
        "2026-11-24T13:20:53+1:00",
        "2026-11-24T13:20:53+0100",
        "2026-11-24T13:20:53+24:00",
        "2026-11-31T13:20:53Z",
        "2026-00-01T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "+026-11-24T13:20:53Z",
        "12026-11-24T13:20:53Z",
        "9999-12-31T23:59:59-00:01",
        "9999-12-31T23:59:60Z",
        "1795526453",
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        int64_t ms = 77;
        if (timestamp_read(bytes_of(texts[i]), &ms))
            fail_msg("'%s' was read", texts[i]);
        assert_int_equal(ms, 77);
    }
}

static void what_is_written_is_read_back(void **state)
{
    (void)state;
    static const int64_t times[] = {0, 1, 999, 1000, INT64_C(1795526453042), TIMESTAMP_MS_MAX};
    for (size_t i = 0; i < COUNT_OF(times); i++) {
        char text[TIMESTAMP_BYTES];
        int64_t ms = 77;
        size_t size = timestamp_write(times[i], text);
        assert_int_equal(size, strlen("2026-11-24T13:20:53.042Z"));
        assert_int_equal(text[size], '\0');
        assert_true(timestamp_read(bytes_of(text), &ms));
        assert_int_equal(ms, times[i]);
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("times are read to the millisecond", times_are_read_to_the_millisecond),
        TEST("anything else is refused", anything_else_is_refused),
        TEST("what is written is read back", what_is_written_is_read_back),
    };
    return test_main(argc, argv, "timestamp", tests);
}
