/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store as memory knows it: every key's entry and the records behind them. Commit and recovery
 * apply records here; readers find them without waiting.
 *
 * Threads: store_get, store_version: any. store_apply, store_replay: the commit leader, or recovery
 * before there is one.
 */
#ifndef KEYREST_ENGINE_LOCAL_STORE_H
#define KEYREST_ENGINE_LOCAL_STORE_H

#include "../engine.h"
#include "../stats.h"
#include "budget.h"
#include "entry.h"
#include "keymap.h"
#include "memtable.h"
#include "reclaim.h"

struct store {
    /* set at open, then constant */
    struct budget budget;
    struct stats *stats;
    const struct time_source *time;
    struct reclaim *reclaim;
    struct entry_pool *entries;
    struct keymap *keymap;
    struct memtable *memtable;
    /* set by recovery before anyone reads */
    uint64_t epoch;
    /* atomic: written by the leader after applying (release), read by anyone (acquire) */
    _Atomic uint64_t sequence;
    _Atomic uint64_t keys; /* with a put as newest version */
};

/* `stats` and `time` are borrowed until close. `threaded`: with a reclaimer thread. */
MUST_CHECK enum status store_init(struct store *store, uint64_t memory_bytes_max,
                                  struct stats *stats, const struct time_source *time,
                                  bool threaded);
void store_done(struct store *store); /* zero and half-built stores too */

/* NOT_FOUND, CORRUPT, NO_MEMORY. Never waits. */
MUST_CHECK enum status store_get(struct store *store, struct bytes key, bool with_value,
                                 struct engine_item *out_item);

/* The sequence of the key's live version, 0 when there is none. CORRUPT: its head is damaged. */
MUST_CHECK enum status store_version(struct store *store, uint64_t hash, struct bytes key,
                                     int64_t now_ms, uint64_t *out_sequence);

/*
 * Makes a sealed record the newest version of its key and lists it in the memtable, under
 * reservations in both. `spare`: as keymap_put; true: it is in use now.
 */
bool store_apply(struct store *store, uint64_t hash, struct record *record, struct entry *spare);

/* Copies a checked record from the journal and applies it. NO_MEMORY. */
MUST_CHECK enum status store_replay(struct store *store, const struct record *record);

static inline uint64_t store_sequence(const struct store *store)
{
    return atomic_load_explicit(&store->sequence, memory_order_acquire);
}

static inline void store_publish(struct store *store, uint64_t sequence)
{
    atomic_store_explicit(&store->sequence, sequence, memory_order_release);
}

#endif
