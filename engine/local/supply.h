/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal's supply of segments: one made ready ahead, so that the leader need not wait for
 * zeros to be written, and the files of those that are needed no more, to be used again.
 *
 * Threads: any. A segment is made by one thread at a time, without holding what the leader takes.
 */
#ifndef KEYREST_ENGINE_LOCAL_SUPPLY_H
#define KEYREST_ENGINE_LOCAL_SUPPLY_H

#include <pthread.h>

#include "past_segments.h"
#include "segment.h"

struct supply {
    /* set at init, then constant */
    struct disk *disk;
    uint8_t uuid[FORMAT_UUID_BYTES];
    uint64_t segment_bytes;
    uint64_t kept_bytes_max; /* of files that only readers of changes use */
    /* set while there is no writer */
    void (*on_due)(void *context); /* a segment should be made; must not block; may be NULL */
    void *on_due_context;
    pthread_mutex_t making; /* of a segment under way; before `mutex` */
    pthread_mutex_t mutex;
    pthread_cond_t made; /* monotonic clock: `ready` or `no_space` was set */
    /* guarded by mutex */
    struct segment *ready;
    bool no_space; /* making the next one failed for want of room: waiting for it is no use */
    bool wanted;   /* the leader needs one, however much of the active one is left */
    uint64_t next_id;
    struct past_segments past;
    struct segment_index *active; /* of the segment that is written; NULL: none yet */
};

struct supply_options {
    struct disk *disk;
    const uint8_t *uuid;
    uint64_t segment_bytes, kept_bytes_max;
    uint64_t next_id;
    struct past_segments past; /* taken over */
};

void supply_init(struct supply *supply, const struct supply_options *options);
void supply_done(struct supply *supply);

/* Makes a segment of `bytes` under the next id, from a file that is needed no more if one fits. */
MUST_CHECK enum status supply_make(struct supply *supply, uint64_t bytes,
                                   struct segment **out_segment);

/* Makes one ready unless one is. NO_SPACE, IO: nothing has changed but a stray file perhaps. */
MUST_CHECK enum status supply_prepare(struct supply *supply);

/* Whether none is ready; and whether the leader waits for it. */
bool supply_is_empty(struct supply *supply);
bool supply_is_wanted(struct supply *supply);

/* Says that one should be made ready. */
void supply_tell_due(struct supply *supply);

/* Waits until one is ready. BUSY: not before `deadline_ns`. NO_SPACE: it could not be made. */
MUST_CHECK enum status supply_wait(struct supply *supply, uint64_t deadline_ns);

/* The one that is ready; and takes it. */
struct segment *supply_ready(struct supply *supply);
void supply_take(struct supply *supply);

uint64_t supply_next_id(struct supply *supply);

/* ---- the active segment, and those behind it ---- */

/* `next` is active from now on; `old`, the one before, is past, its frames end as its index says. NULL:
 * there was none. A file that failed once is not used again. NO_MEMORY. */
MUST_CHECK enum status supply_activate(struct supply *supply, struct segment_index *next,
                                       const struct segment *old, uint64_t last_sequence,
                                       bool failed);

/* As past_segments.h. */
uint64_t supply_first_needed(struct supply *supply, uint64_t flushed_sequence, uint64_t otherwise);
void supply_release(struct supply *supply, uint64_t first_needed);

/* No segment below `first` is kept: what was applied is not all in them. */
void supply_forget_below(struct supply *supply, uint64_t first);

/* Lets go of kept segments, the oldest first, until they have been `bytes`, or all: how many bytes
 * that were. */
uint64_t supply_give_up(struct supply *supply, uint64_t bytes);

/* The lowest id that is kept. */
uint64_t supply_kept_first(struct supply *supply);

/* Removes the files that are neither needed nor kept, but one that the next segment may use. */
void supply_trim(struct supply *supply);

/* Adds up the files: the ready one and those behind the active one; of these, the kept ones' bytes. */
void supply_count(struct supply *supply, uint64_t *segments, uint64_t *bytes, uint64_t *kept_bytes);

/* ---- for readers of changes ---- */

/* The lowest sequence behind which all changes are kept. */
uint64_t supply_oldest(struct supply *supply);

/* Holds the segment in which the changes behind `sequence` begin. NULL: it is not kept. */
struct segment_index *supply_pin(struct supply *supply, uint64_t sequence);
void supply_unpin(struct supply *supply, struct segment_index *index);

#endif
