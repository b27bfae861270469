/* SPDX-License-Identifier: Apache-2.0 */
/* A short ordered list: a few rows in a running store. */
#include "past_segments.h"

#include <stdlib.h>
#include <string.h>

void past_segments_done(struct past_segments *past)
{
    for (size_t i = 0; i < past->count; i++)
        segment_index_close(past->rows[i].index);
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

/* ---- kept ones ---- */

static size_t row_from(const struct past_segments *past, uint64_t id)
{
    size_t row = 0;
    while (row < past->count && past->rows[row].id < id)
        row++;
    return row;
}

uint64_t past_segments_kept_bytes(const struct past_segments *past)
{
    uint64_t bytes = 0;
    for (size_t i = row_from(past, past->kept_first); i < row_from(past, past->needed_first); i++)
        bytes += past->rows[i].bytes;
    return bytes;
}

uint64_t past_segments_keep(struct past_segments *past, uint64_t bytes_max)
{
    uint64_t kept = past_segments_kept_bytes(past), before = kept;
    for (size_t i = row_from(past, past->kept_first); kept > bytes_max; i++) {
        kept -= past->rows[i].bytes;
        past->kept_first = past->rows[i].id + 1;
    }
    return before - kept;
}

struct segment_index *past_segments_oldest(const struct past_segments *past)
{
    size_t row = row_from(past, past->kept_first);
    return row < past->count ? past->rows[row].index : NULL;
}

struct segment_index *past_segments_find(const struct past_segments *past, uint64_t sequence)
{
    for (size_t i = past->count; i-- > 0 && past->rows[i].id >= past->kept_first;)
        if (past->rows[i].index->before <= sequence)
            return past->rows[i].index;
    return NULL;
}

/* ---- free ones ---- */

static bool is_free(const struct past_segments *past, size_t row)
{
    const struct segment_index *index = past->rows[row].index;
    return past->rows[row].id < past->kept_first && index->readers == 0;
}

static struct past_segment take_row(struct past_segments *past, size_t row)
{
    struct past_segment taken = past->rows[row];
    segment_index_close(TAKE(taken.index));
    past->count--;
    memmove(&past->rows[row], &past->rows[row + 1], (past->count - row) * sizeof *past->rows);
    return taken;
}

uint64_t past_segments_take(struct past_segments *past, uint64_t bytes)
{
    for (size_t i = 0; i < past->count; i++)
        if (is_free(past, i) && past->rows[i].bytes == bytes && !past->rows[i].failed)
            return take_row(past, i).id;
    return 0;
}

bool past_segments_take_surplus(struct past_segments *past, uint64_t keep_bytes, size_t keep,
                                struct past_segment *out_segment)
{
    size_t kept = 0;
    for (size_t i = 0; i < past->count; i++) {
        bool useful = past->rows[i].bytes == keep_bytes && !past->rows[i].failed;
        if (!is_free(past, i) || (useful && kept++ < keep))
            continue;
        *out_segment = take_row(past, i);
        return true;
    }
    return false;
}
