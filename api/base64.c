/* SPDX-License-Identifier: Apache-2.0 */
/* Three bytes to four letters, and back. */
#include "base64.h"

#include <stdint.h>
#include <string.h>

#define COMMON "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

static size_t write_text(struct bytes bytes, const char *alphabet, bool padded, char *out_text)
{
    const unsigned char *in = bytes.data;
    char *out = out_text;
    for (size_t i = 0; i < bytes.size; i += 3) {
        size_t left = bytes.size - i;
        uint32_t group = (uint32_t)in[i] << 16 | (left > 1 ? (uint32_t)in[i + 1] << 8 : 0) |
                         (left > 2 ? in[i + 2] : 0u);
        size_t letters = left > 2 ? 4 : left + 1;
        for (size_t letter = 0; letter < letters; letter++)
            *out++ = alphabet[group >> (18 - 6 * letter) & 63];
        for (size_t letter = letters; padded && letter < 4; letter++)
            *out++ = '=';
    }
    *out = '\0';
    return (size_t)(out - out_text);
}

size_t base64_write(struct bytes bytes, char *out_text)
{
    return write_text(bytes, COMMON "+/", true, out_text);
}

size_t base64url_write(struct bytes bytes, char *out_text)
{
    return write_text(bytes, COMMON "-_", false, out_text);
}

/* ---- reading ---- */

/* 64: it is none. */
static uint32_t letter_value(char letter)
{
    const char *found = letter != '\0' ? strchr(COMMON, letter) : NULL;
    if (found != NULL)
        return (uint32_t)(found - COMMON);
    return letter == '+' || letter == '-' ? 62 : letter == '/' || letter == '_' ? 63 : 64;
}

static size_t without_padding(struct bytes text)
{
    const char *letters = text.data;
    size_t size = text.size;
    for (int padding = 0; text.size % 4 == 0 && padding < 2 && size > 0; padding++)
        size -= letters[size - 1] == '=';
    return size;
}

size_t base64_bytes(struct bytes text)
{
    return without_padding(text) * 3 / 4;
}

bool base64_read(struct bytes text, unsigned char *buffer, struct bytes *out_bytes)
{
    const char *letters = text.data;
    size_t count = without_padding(text), size = 0;
    uint32_t group = 0;
    if (count % 4 == 1)
        return false;
    for (size_t i = 0; i < count; i++) {
        uint32_t value = letter_value(letters[i]);
        if (value > 63)
            return false;
        group = group << 6 | value;
        if (i % 4 != 0)
            buffer[size++] = (unsigned char)(group >> (6 - 2 * (i % 4)));
    }
    unsigned left_over = count % 4 == 2 ? 4 : count % 4 == 3 ? 2 : 0; /* bits that must be zero */
    if ((group & ((1u << left_over) - 1)) != 0)
        return false;
    *out_bytes = (struct bytes){buffer, size};
    return true;
}
