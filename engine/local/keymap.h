/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key -> entry: 256 sets of Concurrency Kit's ck_hs. Readers find without locks; each set has one
 * mutex for its writers (single-writer set, so the mutex is part of its contract).
 *
 * Threads: keymap_find: any, inside an epoch section. The others: any, they lock one shard at a time.
 * Invariants: 1. At most one entry per key. 2. Room for a key is made before it is written to the
 * journal (keymap_reserve), so that inserting it afterwards cannot fail. 3. Old slot arrays are
 * retired, not freed, since a reader may still walk them.
 * Ordering: keymap_put publishes a filled entry; pairs with: keymap_find.
 */
#ifndef KEYREST_ENGINE_LOCAL_KEYMAP_H
#define KEYREST_ENGINE_LOCAL_KEYMAP_H

#include <stdint.h>

#include "../bytes.h"
#include "../status.h"
#include "budget.h"
#include "entry.h"
#include "reclaim.h"

struct keymap;

enum { KEYMAP_SHARDS = 256 };

/* The shard of a key with this hash: bits above those that choose a slot, below an entry's tag. */
static inline unsigned keymap_shard(uint64_t hash)
{
    return (unsigned)(hash >> 40) % KEYMAP_SHARDS;
}

/* `reclaim` and `budget` are borrowed until close. */
MUST_CHECK enum status keymap_open(struct reclaim *reclaim, struct budget *budget,
                                   struct keymap **out_keymap);
void keymap_close(struct keymap *keymap); /* NULL is allowed; frees no entry */

/* The hash that the other calls take: keyed by a secret of this process. */
uint64_t keymap_hash(const struct keymap *keymap, struct bytes key);

/* The entry of `key`, NULL when there is none. Never waits. */
struct entry *keymap_find(struct keymap *keymap, uint64_t hash, struct bytes key);

/*
 * Makes sure that one more new key of this hash's shard can be inserted, beyond those reserved and
 * not yet inserted. NO_MEMORY. keymap_unreserve takes one back.
 */
MUST_CHECK enum status keymap_reserve(struct keymap *keymap, uint64_t hash);
void keymap_unreserve(struct keymap *keymap, uint64_t hash);

/*
 * Makes `place` the place of `key`: exchanges the word of its entry, or inserts `spare`, an entry of
 * that key. Who brings a spare holds a reservation, which is used up either way; NULL: the caller
 * knows that the key has an entry. Returns the entry that now holds the place and sets the place it
 * had before (0: it is `spare`, newly inserted).
 */
struct entry *keymap_put(struct keymap *keymap, uint64_t hash, struct bytes key,
                         struct entry *spare, uint64_t place, uint64_t *out_place_before);

/* An entry with its place, of a key that has none in the keymap. */
struct keymap_addition {
    uint64_t hash;
    struct entry *entry;
};

/* Inserts entries of different keys of one shard, at least one. NO_MEMORY: none of them. */
MUST_CHECK enum status keymap_add(struct keymap *keymap, const struct keymap_addition *additions,
                                  size_t count);

/*
 * Takes the entry of `key` out if its place is still `place`; the caller retires it. NULL: it is
 * not there any more, or a newer version has come.
 */
struct entry *keymap_remove(struct keymap *keymap, uint64_t hash, struct bytes key, uint64_t place);

/* Makes room for about `count` keys at once. NO_MEMORY. */
MUST_CHECK enum status keymap_expect(struct keymap *keymap, uint64_t count);

/* Entries in all shards, and the bytes of their slots. */
uint64_t keymap_count(struct keymap *keymap);
uint64_t keymap_bytes(const struct keymap *keymap);

#endif
