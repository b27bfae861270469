/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One key in memory. Its key never changes; its one mutable word `place` says where the newest
 * version is: a pointer to a record (bit 0 = 0), or, once tables exist, a position in a file
 * (bit 0 = 1). Writers exchange the word. Entries come from a pool of size classes without headers.
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
    _Atomic uint64_t place; /* written by the commit leader (release), read by anyone (acquire):
                               pairs with entry_record(); without it a reader could follow the
                               pointer to bytes that are not there yet */
    uint32_t record_bytes;  /* of the newest version; the leader's, for accounting */
    uint16_t key_bytes;
    uint8_t flags;
    unsigned char key[];
};

_Static_assert(offsetof(struct entry, key) == 15, "the key begins inside the second word");

static inline struct bytes entry_key(const struct entry *entry)
{
    return (struct bytes){entry->key, entry->key_bytes};
}

/* The newest version. Inside an epoch section, or by the leader. */
static inline const struct record *entry_record(const struct entry *entry)
{
    return (const struct record *)atomic_load_explicit(&entry->place, memory_order_acquire);
}

struct entry_pool;

MUST_CHECK enum status entry_pool_open(struct budget *budget, struct entry_pool **out_pool);

/* Frees every entry at once. NULL is allowed. */
void entry_pool_close(struct entry_pool *pool);

/* An entry of `key` with an empty place. NULL: no memory. Any thread. */
MUST_CHECK struct entry *entry_pool_take(struct entry_pool *pool, struct bytes key);

/* Gives back an entry that nobody can reach any more. NULL is allowed. */
void entry_pool_give(struct entry_pool *pool, struct entry *entry);

/* Memory of all slabs, used or free. */
uint64_t entry_pool_bytes(const struct entry_pool *pool);

#endif
