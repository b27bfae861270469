/* SPDX-License-Identifier: Apache-2.0 */
/* Validation, and identities that cost no system call. */
#include "trace.h"

#include <string.h>

#include "../engine/random.h"

/* Steele, Lea, Flood: Fast splittable pseudorandom number generators (OOPSLA 2014), SplitMix64.
 * Identities must differ, not be secret. */
static uint64_t next_number(void)
{
    static _Thread_local uint64_t state;
    if (state == 0)
        state = random_u64();
    uint64_t mixed = state += UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94d049bb133111eb);
    return mixed ^ mixed >> 31;
}

static bool is_safe(struct bytes text)
{
    const unsigned char *bytes = text.data;
    for (size_t i = 0; i < text.size; i++)
        if (!((bytes[i] >= '0' && bytes[i] <= '9') || (bytes[i] >= 'A' && bytes[i] <= 'Z') ||
              (bytes[i] >= 'a' && bytes[i] <= 'z') ||
              (bytes[i] != '\0' && strchr("-._:/+=@", bytes[i]) != NULL)))
            return false;
    return true;
}

void trace_write_request_id(struct bytes sent, char out_text[static TRACE_REQUEST_ID_BYTES])
{
    enum { MADE_DIGITS = 16 };
    if (sent.size > 0 && sent.size < TRACE_REQUEST_ID_BYTES && is_safe(sent)) {
        memcpy(out_text, sent.data, sent.size);
        out_text[sent.size] = '\0';
        return;
    }
    uint64_t number = next_number();
    for (size_t i = MADE_DIGITS; i-- > 0; number >>= 4)
        out_text[i] = "0123456789abcdef"[number & 15];
    out_text[MADE_DIGITS] = '\0';
}

/* `count` lower-case hex digits at `text`, not all of them zero where `some` is set. */
static bool is_hex(const char *text, size_t count, bool some)
{
    return strspn(text, "0123456789abcdef") >= count && (!some || strspn(text, "0") < count);
}

void trace_write_parent(struct bytes sent, char out_text[static TRACE_PARENT_BYTES])
{
    enum { SIZE = 55, TRACE_AT = 3, PARENT_AT = 36, FLAGS_AT = 53 };
    out_text[0] = '\0';
    if (sent.size < SIZE)
        return;
    char text[SIZE + 1];
    memcpy(text, sent.data, SIZE);
    text[SIZE] = '\0';
    const char *rest = (const char *)sent.data + SIZE;
    bool is_first_version = memcmp(text, "00", 2) == 0;
    bool valid = is_hex(text, 2, false) && memcmp(text, "ff", 2) != 0 &&
                 text[TRACE_AT - 1] == '-' && is_hex(text + TRACE_AT, 32, true) &&
                 text[PARENT_AT - 1] == '-' && is_hex(text + PARENT_AT, 16, true) &&
                 text[FLAGS_AT - 1] == '-' && is_hex(text + FLAGS_AT, 2, false) &&
                 (sent.size == SIZE || (!is_first_version && *rest == '-'));
    if (valid)
        memcpy(out_text, text, sizeof text);
}
