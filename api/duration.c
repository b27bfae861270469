/* SPDX-License-Identifier: Apache-2.0 */
/* Digits, then one unit. Without one it could be seconds or milliseconds: refused. */
#include "duration.h"

#include "../engine/scope.h"

static const struct {
    const char *name;
    int64_t ms;
} units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};

enum { DAYS_MAX = 36500, DIGITS_MAX = 15 };

bool duration_read(struct bytes text, int64_t *out_ms)
{
    const char *digits = text.data;
    size_t count = 0;
    int64_t number = 0;
    for (; count < text.size && digits[count] >= '0' && digits[count] <= '9'; count++) {
        if (count == DIGITS_MAX)
            return false;
        number = number * 10 + (digits[count] - '0');
    }
    struct bytes unit = {digits + count, text.size - count};
    const int64_t ms_max = DAYS_MAX * units[COUNT_OF(units) - 1].ms;
    for (size_t i = 0; i < COUNT_OF(units); i++)
        if (bytes_equal(unit, bytes_of(units[i].name)) && number > 0 &&
            number <= ms_max / units[i].ms) {
            *out_ms = number * units[i].ms;
            return true;
        }
    return false;
}
