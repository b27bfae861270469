/* SPDX-License-Identifier: Apache-2.0 */
/* Which texts say how long a key is to live. */
#include "../../../api/duration.h"
#include "../../../engine/scope.h"
#include "../../lib/test.h"

static void every_unit_is_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } rows[] = {{"1ms", 1},
                {"90s", 90000},
                {"5m", 300000},
                {"2h", 7200000},
                {"1d", 86400000},
                {"007s", 7000},
                {"36500d", INT64_C(36500) * 86400000}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        int64_t ms = 0;
        assert_true(duration_read(bytes_of(rows[i].text), &ms));
        assert_int_equal(ms, rows[i].ms);
    }
}

static void anything_else_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"",       "60",    "s",
                                        "0s",     "-1s",   "1 s",
                                        " 1s",    "1s ",   "1S",
                                        "1.5h",   "1h30m", "1w",
                                        "36501d", "1e3s",  "99999999999999999999s",
                                        "+1s",    "1mss",  "3153600000001ms"};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        int64_t ms = 77;
        assert_false(duration_read(bytes_of(texts[i]), &ms));
        assert_int_equal(ms, 77);
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("every unit is read", every_unit_is_read),
        TEST("anything else is refused", anything_else_is_refused),
    };
    return test_main(argc, argv, "duration", tests);
}
