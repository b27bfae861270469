/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal's segments behind the active one: which of them replay would still need, and which
 * files may be used again under a new id. Guarded by its owner's mutex.
 */
#ifndef KEYREST_ENGINE_LOCAL_PAST_SEGMENTS_H
#define KEYREST_ENGINE_LOCAL_PAST_SEGMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../status.h"

struct past_segment {
    uint64_t id;
    uint64_t last_sequence; /* all its frames are of this or lower sequences */
    uint64_t bytes;         /* of the file; 0: not to be used again */
};

struct past_segments {
    struct past_segment *rows; /* ascending ids */
    size_t count, capacity;
    uint64_t needed_first; /* lower ids are needed no more */
};

void past_segments_done(struct past_segments *past);

/* Room for one more row, so that adding it cannot fail. NO_MEMORY. */
MUST_CHECK enum status past_segments_reserve(struct past_segments *past);
void past_segments_add(struct past_segments *past, struct past_segment segment);

/* The lowest id with a sequence above `flushed_sequence`; `otherwise` when there is none. */
uint64_t past_segments_first_above(const struct past_segments *past, uint64_t flushed_sequence,
                                   uint64_t otherwise);

/* Takes a segment out that is needed no more and whose file has `bytes`; 0: there is none. */
uint64_t past_segments_take(struct past_segments *past, uint64_t bytes);

/* Takes one out that is needed no more, whatever its size, beyond `keep` of size `keep_bytes`.
 * False: there is none. */
bool past_segments_take_surplus(struct past_segments *past, uint64_t keep_bytes, size_t keep,
                                struct past_segment *out_segment);

#endif
