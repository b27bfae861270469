/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How full the disk is, and what follows: puts stop while less than the reserve is free, or while a
 * file that the store needs cannot be made; the ballast is given up and made again; memtables are
 * dumped early, so that their part of the journal can be used again.
 *
 * Threads: space_look: housekeeping. space_wants, space_is_low and the figures: any.
 */
#ifndef KEYREST_ENGINE_LOCAL_SPACE_H
#define KEYREST_ENGINE_LOCAL_SPACE_H

#include "ballast.h"
#include "event_sink.h"
#include "journal.h"
#include "store.h"

struct space_options {
    struct disk *disk;
    struct store *store;
    struct journal *journal;
    uint64_t segment_bytes;
    uint64_t reserve_bytes;
    uint64_t ballast_bytes;
    struct event_sink events;
};

/* What may be waiting for room. */
enum space_user { SPACE_SEGMENT = 1 << 0, SPACE_DUMP = 1 << 1, SPACE_UNSEAL = 1 << 2 };

struct space {
    /* set at init, then constant */
    struct space_options options;
    uint64_t journal_bytes_max; /* of a memtable while there is room */
    /* housekeeping's */
    struct ballast ballast;
    /* atomic */
    _Atomic uint64_t free_bytes, needed_bytes;
    atomic_bool low;
    _Atomic unsigned waiting; /* of enum space_user */
};

/* Looks for the first time, and tells when the settings ask for more than this disk has. Everything
 * in `options` is borrowed. */
void space_init(struct space *space, const struct space_options *options);

/* Looks at the disk, and acts. True: who waits for room may find some now. */
bool space_look(struct space *space);

/* `user` found no room for a file: puts end at once; or found it again: they may go on after a look. */
void space_wants(struct space *space, enum space_user user, bool wants);

static inline bool space_is_low(const struct space *space)
{
    return atomic_load_explicit(&space->low, memory_order_relaxed);
}

static inline uint64_t space_free_bytes(const struct space *space)
{
    return atomic_load_explicit(&space->free_bytes, memory_order_relaxed);
}

/* What must be free for puts to be taken. */
static inline uint64_t space_needed_bytes(const struct space *space)
{
    return atomic_load_explicit(&space->needed_bytes, memory_order_relaxed);
}

#endif
