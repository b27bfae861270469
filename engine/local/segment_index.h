/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where in a journal segment which sequences stand: a frame about every 64 KiB, so that a reader of
 * changes need not read a segment from its start. Filled by the leader as it writes, and, where a
 * start found the segment, by whoever reads it first.
 *
 * Threads: any; `readers` is guarded by the supply's mutex.
 */
#ifndef KEYREST_ENGINE_LOCAL_SEGMENT_INDEX_H
#define KEYREST_ENGINE_LOCAL_SEGMENT_INDEX_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "../scope.h"

struct segment_index {
    /* set at open, then constant */
    uint64_t id;
    uint64_t before; /* the last sequence before the segment */
    size_t capacity;
    /* its frames end there; of the active segment: those written so far. Written by the leader
     * (release), read by anyone (acquire): without it a reader might not see their bytes */
    _Atomic uint64_t end;
    uint32_t readers; /* that hold the file: it is neither removed nor used again */
    pthread_mutex_t mutex;
    /* guarded by mutex */
    size_t count;
    struct segment_place {
        uint64_t first_sequence; /* of the frame */
        uint64_t offset;
    } places[]; /* ascending */
};

/* For a file of `bytes` whose frames end at `end`. NULL: no memory. */
MUST_CHECK struct segment_index *segment_index_open(uint64_t id, uint64_t before, uint64_t bytes,
                                                    uint64_t end);
void segment_index_close(struct segment_index *index); /* NULL is allowed */

/* Tells of a frame with records. Most are too near to the one noted last, and cost a comparison. */
void segment_index_note(struct segment_index *index, uint64_t first_sequence, uint64_t offset);

/* Where to begin to read for `sequence`: at that frame, or before it. */
uint64_t segment_index_find(struct segment_index *index, uint64_t sequence);

static inline uint64_t segment_index_end(const struct segment_index *index)
{
    return atomic_load_explicit(&index->end, memory_order_acquire);
}

static inline void segment_index_set_end(struct segment_index *index, uint64_t end)
{
    atomic_store_explicit(&index->end, end, memory_order_release);
}

#endif
