/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one open store consists of, and how its parts come and go: the manifest is read first, then
 * a thread recovers and opens everything that writes. Private to local.c and figures.c.
 *
 * Threads: local_parts_open and local_parts_close: the caller of open and close. Recovery has its
 * own; what it opens, others may look at once `state` says so.
 */
#ifndef KEYREST_ENGINE_LOCAL_LOCAL_PARTS_H
#define KEYREST_ENGINE_LOCAL_LOCAL_PARTS_H

#include <pthread.h>

#include "../engine.h"
#include "compactor.h"
#include "maintenance.h"
#include "recovery.h"

enum local_state {
    LOCAL_LOADING,
    LOCAL_READABLE, /* without a journal: the disk is full */
    LOCAL_READY,
    LOCAL_UNUSABLE,
};

struct local {
    struct engine face; /* first: the face's calls reach us through it */
    /* set at open, then constant */
    struct engine_options options;
    char durability[32];
    struct disk *disk;
    struct stats *stats;
    struct event_sink events;
    bool threaded, recovery_started;
    pthread_t recovery_thread;
    struct recovery recovery;
    struct manifest manifest; /* recovery's, then the catalog's */
    struct store store;
    /* set by recovery before `state` says so (release), read after it (acquire) */
    struct journal *journal;
    struct catalog catalog;
    struct dump *dump;
    struct commit *commit;
    struct maintenance *maintenance;
    struct sweep *sweep;
    struct compactor *compactor;
    uint64_t recovery_begun_ns, recovery_ns;
    struct failure failure;
    _Atomic enum local_state state; /* written by recovery (release), read by anyone (acquire) */
    atomic_bool closing;
};

static inline struct local *local_of(struct engine *engine)
{
    return (struct local *)engine;
}

static inline enum local_state local_state_of(const struct local *local)
{
    return atomic_load_explicit(&local->state, memory_order_acquire);
}

/* Whether there is anything that writes: OK, LOADING, or NO_SPACE while there is no journal. */
enum status local_has_writers(const struct local *local);

/* Opens the store on `disk`, with options, events and `threaded` set. As local_open(). */
MUST_CHECK enum status local_parts_open(struct local *local, struct failure *failure);

/* Half-opened ones, too. */
void local_parts_close(struct local *local);

#endif
