/* SPDX-License-Identifier: Apache-2.0 */
/* A short ordered list: a few rows in a running store. */
#include "past_segments.h"

#include <stdlib.h>
#include <string.h>

void past_segments_done(struct past_segments *past)
{
    free(past->rows);
    *past = (struct past_segments){0};
}

enum status past_segments_reserve(struct past_segments *past)
{
    if (past->count < past->capacity)
        return STATUS_OK;
    size_t capacity = past->capacity * 2 + 16;
    struct past_segment *grown = realloc(past->rows, capacity * sizeof *grown);
    if (grown == NULL)
        return STATUS_NO_MEMORY;
    past->rows = grown;
    past->capacity = capacity;
    return STATUS_OK;
}

void past_segments_add(struct past_segments *past, struct past_segment segment)
{
    past->rows[past->count++] = segment;
}

uint64_t past_segments_first_above(const struct past_segments *past, uint64_t flushed_sequence,
                                   uint64_t otherwise)
{
    for (size_t i = 0; i < past->count; i++)
        if (past->rows[i].id >= past->needed_first &&
            past->rows[i].last_sequence > flushed_sequence)
            return past->rows[i].id;
    return otherwise;
}

static struct past_segment take_row(struct past_segments *past, size_t row)
{
    struct past_segment taken = past->rows[row];
    past->count--;
    memmove(&past->rows[row], &past->rows[row + 1], (past->count - row) * sizeof *past->rows);
    return taken;
}

uint64_t past_segments_take(struct past_segments *past, uint64_t bytes)
{
    for (size_t i = 0; i < past->count && past->rows[i].id < past->needed_first; i++)
        if (past->rows[i].bytes == bytes)
            return take_row(past, i).id;
    return 0;
}

bool past_segments_take_surplus(struct past_segments *past, uint64_t keep_bytes, size_t keep,
                                struct past_segment *out_segment)
{
    size_t kept = 0;
    for (size_t i = 0; i < past->count && past->rows[i].id < past->needed_first; i++) {
        if (past->rows[i].bytes == keep_bytes && kept++ < keep)
            continue;
        *out_segment = take_row(past, i);
        return true;
    }
    return false;
}
