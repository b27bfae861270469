/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One key in memory. Its key never changes; its one mutable word `place` says where the newest
 * version is: a pointer to a record in memory, or a position in a table. Writers exchange the word;
 * dump and compaction compare-and-swap it, and lose to newer writes. Entries come from a pool of
 * size classes without headers.
 */
#ifndef KEYREST_ENGINE_LOCAL_ENTRY_H
#define KEYREST_ENGINE_LOCAL_ENTRY_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "../bytes.h"
#include "../status.h"
#include "budget.h"
#include "record.h"

struct entry {
    _Atomic uint64_t place; /* written by the commit leader, dump and compaction (release), read by
                               anyone (acquire): pairs with entry_place(); without it a reader
                               could follow the pointer to bytes that are not there yet */
    uint32_t record_bytes;  /* of the newest version; the leader's, for accounting */
    uint16_t key_bytes;
    uint8_t flags; /* of enum entry_flag; the leader's */
    unsigned char key[];
};

_Static_assert(offsetof(struct entry, key) == 15, "the key begins inside the second word");

static inline struct bytes entry_key(const struct entry *entry)
{
    return (struct bytes){entry->key, entry->key_bytes};
}

enum entry_flag {
    ENTRY_EXPIRES = 1 << 0, /* the newest version has an expiry: only its record tells when */
};

/* ---- places: bit 0 = 0: a record's address; 1: slot in bits 1..22, offset / 8 in 23..63 ---- */

enum { PLACE_SLOT_BITS = 22, PLACE_OFFSET_SHIFT = 23 };
#define PLACE_SLOTS_MAX (UINT32_C(1) << PLACE_SLOT_BITS)

static inline uint64_t place_of_record(const struct record *record)
{
    return (uint64_t)(uintptr_t)record;
}

static inline uint64_t place_of_position(uint32_t slot, uint64_t offset)
{
    return offset / FORMAT_RECORD_ALIGNMENT << PLACE_OFFSET_SHIFT | (uint64_t)slot << 1 | 1;
}

static inline bool place_is_record(uint64_t place)
{
    return (place & 1) == 0;
}

static inline const struct record *place_record(uint64_t place)
{
    return (const struct record *)(uintptr_t)place;
}

static inline uint32_t place_slot(uint64_t place)
{
    return (uint32_t)(place >> 1) & (PLACE_SLOTS_MAX - 1);
}

static inline uint64_t place_offset(uint64_t place)
{
    return (place >> PLACE_OFFSET_SHIFT) * FORMAT_RECORD_ALIGNMENT;
}

/* Where the newest version is. What it names stays valid until the epoch section ends. */
static inline uint64_t entry_place(const struct entry *entry)
{
    return atomic_load_explicit(&entry->place, memory_order_acquire);
}

/* Moves the newest version from one place to another, unless a newer one has come. */
static inline bool entry_swing(struct entry *entry, uint64_t from, uint64_t to)
{
    return atomic_compare_exchange_strong_explicit(&entry->place, &from, to, memory_order_acq_rel,
                                                   memory_order_relaxed);
}

struct entry_pool;

MUST_CHECK enum status entry_pool_open(struct budget *budget, struct entry_pool **out_pool);

/* Frees every entry at once. NULL is allowed. */
void entry_pool_close(struct entry_pool *pool);

/* An entry of `key` with an empty place. NULL: no memory. Any thread. */
MUST_CHECK struct entry *entry_pool_take(struct entry_pool *pool, struct bytes key);

/* The same from what the pool has. NULL: for a key of this length it has nothing left. */
MUST_CHECK struct entry *entry_pool_take_idle(struct entry_pool *pool, struct bytes key);

/*
 * One thread's entries for many keys, cut off the pool's memory a run at a time. Those of long keys
 * come from the pool one by one.
 */
enum { ENTRY_CUTTER_CLASSES = 64 };

struct entry_cutter {
    struct entry_pool *pool;
    struct {
        unsigned char *at, *end;
    } runs[ENTRY_CUTTER_CLASSES];
};

static inline void entry_cutter_init(struct entry_cutter *cutter, struct entry_pool *pool)
{
    *cutter = (struct entry_cutter){.pool = pool};
}

/* As entry_pool_take. */
MUST_CHECK struct entry *entry_cutter_take(struct entry_cutter *cutter, struct bytes key);

/* Gives back to the pool what was not taken. */
void entry_cutter_done(struct entry_cutter *cutter);

/* Gives back an entry that nobody can reach any more. NULL is allowed. */
void entry_pool_give(struct entry_pool *pool, struct entry *entry);

/* Memory of all slabs, used or free. */
uint64_t entry_pool_bytes(const struct entry_pool *pool);

/* Of them, those of entries that were given back and not taken again. */
uint64_t entry_pool_idle_bytes(const struct entry_pool *pool);

#endif
