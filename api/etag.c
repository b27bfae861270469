/* SPDX-License-Identifier: Apache-2.0 */
/* By hand instead of by printf: this runs in every GET. */
#include "etag.h"

#include <string.h>

static const char digits[] = "0123456789abcdef";

static size_t hex_digits(uint64_t number)
{
    size_t count = 1;
    while (number >>= 4)
        count++;
    return count;
}

static void write_hex(uint64_t number, char *out_text, size_t count)
{
    while (count-- > 0) {
        out_text[count] = digits[number & 15];
        number >>= 4;
    }
}

void etag_write_epoch(uint64_t epoch, char out_text[static ETAG_EPOCH_DIGITS + 1])
{
    write_hex(epoch, out_text, ETAG_EPOCH_DIGITS);
    out_text[ETAG_EPOCH_DIGITS] = '\0';
}

size_t etag_write(struct engine_version version, char out_text[static ETAG_BYTES])
{
    size_t count = hex_digits(version.sequence & ((UINT64_C(1) << 53) - 1));
    char *next = out_text;
    *next++ = '"';
    write_hex(version.epoch, next, ETAG_EPOCH_DIGITS);
    next += ETAG_EPOCH_DIGITS;
    *next++ = '-';
    write_hex(version.sequence, next, count);
    next += count;
    *next++ = '"';
    *next = '\0';
    return (size_t)(next - out_text);
}

static bool read_hex(const char *text, size_t count, uint64_t *out_number)
{
    uint64_t number = 0;
    for (size_t i = 0; i < count; i++) {
        const char *digit = text[i] == '\0' ? NULL : strchr(digits, text[i]);
        if (digit == NULL)
            return false;
        number = number << 4 | (uint64_t)(digit - digits);
    }
    *out_number = number;
    return true;
}

bool etag_read(struct bytes text, struct engine_version *out_version)
{
    const char *start = text.data;
    if (text.size < ETAG_EPOCH_DIGITS + 2 ||
        text.size > ETAG_EPOCH_DIGITS + 1 + ETAG_SEQUENCE_DIGITS_MAX ||
        start[ETAG_EPOCH_DIGITS] != '-' || start[ETAG_EPOCH_DIGITS + 1] == '0')
        return false;
    struct engine_version version;
    if (!read_hex(start, ETAG_EPOCH_DIGITS, &version.epoch) ||
        !read_hex(start + ETAG_EPOCH_DIGITS + 1, text.size - ETAG_EPOCH_DIGITS - 1,
                  &version.sequence) ||
        version.sequence >> 53 != 0)
        return false;
    *out_version = version;
    return true;
}

void etag_write_cursor(struct engine_version version, char out_text[static ETAG_BYTES])
{
    char quoted[ETAG_BYTES];
    size_t size = etag_write(version, quoted);
    memcpy(out_text, quoted + 1, size - 2);
    out_text[size - 2] = '\0';
}

bool etag_read_cursor(struct bytes text, struct engine_version *out_version)
{
    static const char first[] = "-0";
    uint64_t epoch;
    if (text.size != ETAG_EPOCH_DIGITS + sizeof first - 1 ||
        memcmp((const char *)text.data + ETAG_EPOCH_DIGITS, first, sizeof first - 1) != 0)
        return etag_read(text, out_version);
    if (!read_hex(text.data, ETAG_EPOCH_DIGITS, &epoch))
        return false;
    *out_version = (struct engine_version){epoch, 0};
    return true;
}
