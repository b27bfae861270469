/* SPDX-License-Identifier: Apache-2.0 */
/* A short array, as long as the segment can make it. */
#include "segment_index.h"

#include <stdlib.h>

#include "segment.h"

enum { APART_BYTES = 64 << 10 };

struct segment_index *segment_index_open(uint64_t id, uint64_t before, uint64_t bytes, uint64_t end)
{
    size_t capacity = bytes / APART_BYTES + 1;
    struct segment_index *index = malloc(sizeof *index + capacity * sizeof *index->places);
    if (index == NULL)
        return NULL;
    *index = (struct segment_index){.id = id, .before = before, .capacity = capacity};
    atomic_init(&index->end, end);
    pthread_mutex_init(&index->mutex, NULL);
    return index;
}

void segment_index_close(struct segment_index *index)
{
    if (index == NULL)
        return;
    pthread_mutex_destroy(&index->mutex);
    free(index);
}

static uint64_t next_offset_locked(const struct segment_index *index)
{
    return index->count == 0 ? SEGMENT_HEADER_BYTES
                             : index->places[index->count - 1].offset + APART_BYTES;
}

void segment_index_note(struct segment_index *index, uint64_t first_sequence, uint64_t offset)
{
    pthread_mutex_lock(&index->mutex);
    if (offset >= next_offset_locked(index) && index->count < index->capacity)
        index->places[index->count++] = (struct segment_place){first_sequence, offset};
    pthread_mutex_unlock(&index->mutex);
}

uint64_t segment_index_find(struct segment_index *index, uint64_t sequence)
{
    uint64_t offset = SEGMENT_HEADER_BYTES;
    pthread_mutex_lock(&index->mutex);
    size_t low = 0, high = index->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (index->places[middle].first_sequence > sequence) {
            high = middle;
        } else {
            offset = index->places[middle].offset;
            low = middle + 1;
        }
    }
    pthread_mutex_unlock(&index->mutex);
    return offset;
}
