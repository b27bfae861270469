/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small numbers for open tables, so that a key's place can name one. Slots live in memory only.
 *
 * Threads: slots_table: any, inside an epoch section that loaded the place naming the slot. The
 * others: any. Invariant: a slot is given out again only after the grace period that follows its
 * table's retirement, so that no section meets another table behind an old place.
 */
#ifndef KEYREST_ENGINE_LOCAL_SLOTS_H
#define KEYREST_ENGINE_LOCAL_SLOTS_H

#include <pthread.h>

#include "entry.h"
#include "table.h"

enum { SLOTS_CHUNK = 1024, SLOTS_CHUNKS = PLACE_SLOTS_MAX / SLOTS_CHUNK };

struct slots {
    pthread_mutex_t mutex;
    /* written under mutex (release), read by anyone (acquire): pairs with slots_table() */
    _Atomic(struct table *) *_Atomic chunks[SLOTS_CHUNKS];
    /* guarded by mutex */
    uint32_t lowest_free; /* no lower slot is free */
};

void slots_init(struct slots *slots);
void slots_done(struct slots *slots); /* all are free */

/* Gives `table` a slot. NO_MEMORY: no memory, or no slot left. */
MUST_CHECK enum status slots_join(struct slots *slots, struct table *table);

/* After the grace period. */
void slots_leave(struct slots *slots, uint32_t slot);

static inline struct table *slots_table(struct slots *slots, uint32_t slot)
{
    _Atomic(struct table *) *chunk =
        atomic_load_explicit(&slots->chunks[slot / SLOTS_CHUNK], memory_order_acquire);
    return atomic_load_explicit(&chunk[slot % SLOTS_CHUNK], memory_order_acquire);
}

#endif
