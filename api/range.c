/* SPDX-License-Identifier: Apache-2.0 */
/* A number beyond 64 bits is as good as the largest: no value is that long. */
#include "range.h"

#include <inttypes.h>
#include <stdio.h>
#include <strings.h>

/* False: there is no digit. */
static bool take_number(const char **next, const char *end, uint64_t *out_number)
{
    const char *start = *next;
    uint64_t number = 0;
    for (; *next < end && **next >= '0' && **next <= '9'; ++*next)
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, (uint64_t)(**next - '0'), &number))
            number = UINT64_MAX;
    *out_number = number;
    return *next > start;
}

/* `-5`: the last bytes. Of an empty value they are the whole of it (section 14.1.2). */
static struct range select_last(uint64_t count, uint64_t size)
{
    if (count == 0)
        return (struct range){.kind = RANGE_UNSATISFIABLE};
    count = count < size ? count : size;
    return (struct range){size > 0 ? RANGE_PART : RANGE_WHOLE, size - count, count};
}

static struct range select_bytes(const char *next, const char *end, uint64_t size)
{
    const struct range whole = {RANGE_WHOLE, 0, size};
    uint64_t first, last;
    bool has_first = take_number(&next, end, &first);
    if (next == end || *next++ != '-')
        return whole;
    bool has_last = take_number(&next, end, &last);
    if (next != end || !(has_first || has_last) || (has_first && has_last && last < first))
        return whole;
    if (!has_first)
        return select_last(last, size);
    if (first >= size)
        return (struct range){.kind = RANGE_UNSATISFIABLE};
    if (!has_last || last >= size)
        last = size - 1;
    return (struct range){RANGE_PART, first, last - first + 1};
}

/*
 * Only for the version that it names as ours. A date never counts: it would have to be a strong
 * validator, of a second in which the value changed once only (section 8.8.2.2), and nobody counts.
 */
static bool if_range_holds(const struct headers *headers, struct engine_version current)
{
    struct bytes tag = headers->values[HEADER_IF_RANGE];
    const char *text = tag.data;
    struct engine_version version;
    if (headers->counts[HEADER_IF_RANGE] == 0)
        return true;
    return headers->counts[HEADER_IF_RANGE] == 1 && tag.size > 2 && text[0] == '"' &&
           text[tag.size - 1] == '"' &&
           etag_read((struct bytes){text + 1, tag.size - 2}, &version) &&
           engine_version_equal(version, current);
}

struct range range_select(const struct headers *headers, struct engine_version current,
                          uint64_t size)
{
    static const char unit[] = "bytes=";
    struct bytes text = headers->values[HEADER_RANGE];
    const char *start = text.data;
    bool is_asked = headers->counts[HEADER_RANGE] == 1 && text.size >= sizeof unit - 1 &&
                    strncasecmp(start, unit, sizeof unit - 1) == 0;
    if (!is_asked || !if_range_holds(headers, current))
        return (struct range){RANGE_WHOLE, 0, size};
    return select_bytes(start + sizeof unit - 1, start + text.size, size);
}

void range_write(const struct range *range, uint64_t size,
                 char out_text[static RANGE_CONTENT_BYTES])
{
    if (range->kind == RANGE_PART)
        snprintf(out_text, RANGE_CONTENT_BYTES, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64,
                 range->first, range->first + range->count - 1, size);
    else
        snprintf(out_text, RANGE_CONTENT_BYTES, "bytes */%" PRIu64, size);
}
