/* SPDX-License-Identifier: Apache-2.0 */
/* Digits count downwards from 0: INT64_MIN has no positive twin. */
#include "number.h"

bool number_read(struct bytes text, int64_t *out_number)
{
    const char *digits = text.data;
    int64_t number = 0;
    if (text.size == 0 || text.size > NUMBER_BYTES_MAX)
        return false;
    bool negative = digits[0] == '-';
    if (negative && text.size == 1)
        return false;
    for (size_t i = negative ? 1 : 0; i < text.size; i++)
        if (digits[i] < '0' || digits[i] > '9' || __builtin_mul_overflow(number, 10, &number) ||
            __builtin_sub_overflow(number, digits[i] - '0', &number))
            return false;
    if (!negative && __builtin_sub_overflow(0, number, &number))
        return false;
    *out_number = number;
    return true;
}

size_t number_write(int64_t number, char out_text[static NUMBER_BYTES_MAX])
{
    char reversed[NUMBER_BYTES_MAX];
    size_t count = 0, size = 0;
    bool negative = number < 0;
    do {
        int digit = (int)(number % 10); /* has the number's sign */
        reversed[count++] = (char)('0' + (digit < 0 ? -digit : digit));
        number /= 10;
    } while (number != 0);
    if (negative)
        out_text[size++] = '-';
    while (count > 0)
        out_text[size++] = reversed[--count];
    return size;
}
