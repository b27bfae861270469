/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store as memory knows it: every key's entry, and the memtables and tables that hold what the
 * entries' places name. Commit and recovery apply records here; dump and compaction move places;
 * readers find versions without waiting.
 *
 * Threads: store_get, store_get_short, store_touch, store_is_newest: any. store_current,
 * store_apply, store_freeze_if_full: the commit leader, or recovery before there is one.
 * store_join_tables, store_leave_tables: dump, compaction, recovery.
 */
#ifndef KEYREST_ENGINE_LOCAL_STORE_H
#define KEYREST_ENGINE_LOCAL_STORE_H

#include "../engine.h"
#include "../published.h"
#include "../stats.h"
#include "budget.h"
#include "entry.h"
#include "keymap.h"
#include "memtable.h"
#include "reclaim.h"
#include "slots.h"
#include "view.h"

enum { STORE_MEMTABLES_MAX = 5 }; /* active, frozen and not yet freed: beyond it writers wait */

struct store {
    /* set at open, then constant */
    struct budget budget;
    struct stats *stats;
    const struct time_source *time;
    struct reclaim *reclaim;
    struct entry_pool *entries;
    struct keymap *keymap;
    uint64_t memtable_bytes_max;
    uint64_t index_bytes_max; /* keymap and entries: the rest is for values on their way */
    /* synchronise themselves */
    struct slots slots;
    struct views views;
    struct memtable_home memtables;
    /* the leader's */
    struct memtable *memtable; /* the active one */
    /* set by recovery before anyone reads */
    uint64_t epoch;
    /* atomic: raised by the leader after applying */
    struct published published;
    _Atomic uint64_t keys; /* with a put as newest version */
    /* atomic: set by housekeeping, read by the leader */
    _Atomic uint64_t journal_bytes_max; /* that a memtable keeps from being used again */
    atomic_bool memtable_is_full;
};

/* `stats` and `time` are borrowed until close. `threaded`: with a reclaimer thread. */
MUST_CHECK enum status store_init(struct store *store, uint64_t memory_bytes_max,
                                  uint64_t memtable_bytes_max, struct stats *stats,
                                  const struct time_source *time, bool threaded);
void store_done(struct store *store); /* zero and half-built stores too */

/* ---- reading ---- */

/* NOT_FOUND, CORRUPT, NO_MEMORY. Never waits for anyone but the disk. */
MUST_CHECK enum status store_get(struct store *store, struct bytes key, bool with_value,
                                 struct engine_item *out_item);

/* The same; a value of more than `value_bytes_max` is left out, as from engine_head(). */
MUST_CHECK enum status store_get_short(struct store *store, struct bytes key,
                                       uint64_t value_bytes_max, struct engine_item *out_item);

/* Reads the key's newest version for nothing but having its page in memory afterwards. */
void store_touch(struct store *store, uint64_t hash, struct bytes key);

/* Whether this record of a memtable is what its key's place names. */
bool store_is_newest(struct store *store, const struct record *record);

struct store_current {
    bool present;      /* a live version */
    uint64_t sequence; /* its sequence; 0 when absent, or when it was not asked for */
    bool expired;      /* absent, but there is a version whose time is over */
};

/*
 * What a condition is judged against. `exact` false: the sequence is not asked for, and a version
 * in a table need not be read. CORRUPT: its head is damaged.
 */
MUST_CHECK enum status store_current(struct store *store, uint64_t hash, struct bytes key,
                                     int64_t now_ms, bool exact, struct store_current *out_current);

/* ---- applying ---- */

/*
 * Makes a sealed record the newest version of its key and lists it in the memtable, under
 * reservations in both. `spare`: as keymap_put; true: it is in use now.
 */
bool store_apply(struct store *store, uint64_t hash, struct record *record, struct entry *spare);

/* Copies a checked record from the journal and applies it. NO_MEMORY. */
MUST_CHECK enum status store_replay(struct store *store, const struct record *record);

/* An entry for a key that may be new. NULL: such a key must be refused. Any thread. */
MUST_CHECK struct entry *store_take_entry(struct store *store, struct bytes key);

/* Makes a new memtable the active one if the old one is full and may be frozen. True: it did. */
bool store_freeze_if_full(struct store *store);

/* The same without looking how full it is. NO_MEMORY. */
MUST_CHECK enum status store_freeze(struct store *store);

/* A memtable is also full when its records take so many bytes of the journal. */
static inline void store_limit_journal(struct store *store, uint64_t bytes)
{
    atomic_store_explicit(&store->journal_bytes_max, bytes, memory_order_relaxed);
}

static inline uint64_t store_journal_limit(const struct store *store)
{
    return atomic_load_explicit(&store->journal_bytes_max, memory_order_relaxed);
}

/* Whether a writer may queue: false while the active memtable is full and none can be begun. */
static inline bool store_has_room(const struct store *store)
{
    return !atomic_load_explicit(&store->memtable_is_full, memory_order_relaxed) ||
           atomic_load_explicit(&store->memtables.alive, memory_order_relaxed) <
               STORE_MEMTABLES_MAX;
}

/* Memory that dumping would not free: keys, values being received or sent, the next memtable. */
static inline uint64_t store_lasting_bytes(const struct store *store)
{
    uint64_t used = budget_used(&store->budget);
    uint64_t passing = atomic_load_explicit(&store->memtables.bytes, memory_order_relaxed);
    return (used > passing ? used - passing : 0) + MEMTABLE_BYTES_MIN;
}

/* Memory of the index: keymap and entries. */
static inline uint64_t store_index_bytes(const struct store *store)
{
    return keymap_bytes(store->keymap) + entry_pool_bytes(store->entries);
}

/* Whether the index has all the memory that it may take: new keys need what deleted ones left. */
static inline bool store_index_is_full(const struct store *store)
{
    return store_index_bytes(store) >= store->index_bytes_max;
}

/* Whether dumping the active memtable would leave something of deleted keys. The leader's. */
bool store_would_bury(const struct store *store);

/* ---- tables ---- */

/* Gives each table a slot and lists them all in the view. NO_MEMORY: they are still the caller's. */
MUST_CHECK enum status store_join_tables(struct store *store, struct table *const *tables,
                                         size_t count);

/*
 * Takes tables out of the view and frees each and its slot after the grace period, once no older
 * view lists it. No key's place names them any more. Their files stay. Without memory for a new view
 * they stay listed, which costs nothing but themselves.
 */
void store_leave_tables(struct store *store, struct table *const *tables, size_t count);

/* So many more of the table's records are some key's newest version; one is that no more. */
void store_table_live(struct table *table, uint64_t records, uint64_t record_bytes);
void store_table_dead(struct table *table, uint64_t record_bytes);

static inline uint64_t store_sequence(const struct store *store)
{
    return published_sequence(&store->published);
}

static inline void store_publish(struct store *store, uint64_t sequence)
{
    published_raise(&store->published, sequence);
}

#endif
