/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal's segments behind the active one: which of them replay would still need, which are
 * kept for readers of changes only, and which files may be used again under a new id. Guarded by its
 * owner's mutex.
 *
 * In order of ids: free to be used again | kept, from `kept_first` | needed, from `needed_first`.
 */
#ifndef KEYREST_ENGINE_LOCAL_PAST_SEGMENTS_H
#define KEYREST_ENGINE_LOCAL_PAST_SEGMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../status.h"
#include "segment_index.h"

struct past_segment {
    uint64_t id;
    uint64_t last_sequence;      /* all its frames are of this or lower sequences */
    uint64_t bytes;              /* of the file */
    bool failed;                 /* once: the file is not used again */
    struct segment_index *index; /* owned; while it has readers, the file stays */
};

struct past_segments {
    struct past_segment *rows; /* ascending ids */
    size_t count, capacity;
    uint64_t needed_first; /* lower ids are not needed by replay */
    uint64_t kept_first;   /* lower ids are not kept; at most needed_first */
};

void past_segments_done(struct past_segments *past);

/* Room for one more row, so that adding it cannot fail. NO_MEMORY. */
MUST_CHECK enum status past_segments_reserve(struct past_segments *past);
void past_segments_add(struct past_segments *past, struct past_segment segment);

/* The lowest id with a sequence above `flushed_sequence`; `otherwise` when there is none. */
uint64_t past_segments_first_above(const struct past_segments *past, uint64_t flushed_sequence,
                                   uint64_t otherwise);

/* Bytes of the files that are kept, but not needed. */
uint64_t past_segments_kept_bytes(const struct past_segments *past);

/* Lets go of the oldest ones until at most `bytes_max` are kept; returns the bytes let go. */
uint64_t past_segments_keep(struct past_segments *past, uint64_t bytes_max);

/* Takes a free segment out whose file has `bytes`; 0: there is none. */
uint64_t past_segments_take(struct past_segments *past, uint64_t bytes);

/* Takes a free one out, whatever its size, beyond `keep` of size `keep_bytes`. False: there is none.
 */
bool past_segments_take_surplus(struct past_segments *past, uint64_t keep_bytes, size_t keep,
                                struct past_segment *out_segment);

/* The index of the last kept segment that begins behind `sequence` or before; NULL: there is none. */
struct segment_index *past_segments_find(const struct past_segments *past, uint64_t sequence);

/* That of the first one that is kept; NULL: there is none. */
struct segment_index *past_segments_oldest(const struct past_segments *past);

#endif
