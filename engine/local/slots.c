/* SPDX-License-Identifier: Apache-2.0 */
/* A directory of chunks that never move: a reader needs no lock. */
#include "slots.h"

#include <stdlib.h>

void slots_init(struct slots *slots)
{
    pthread_mutex_init(&slots->mutex, NULL);
    for (size_t i = 0; i < SLOTS_CHUNKS; i++)
        atomic_init(&slots->chunks[i], NULL);
    slots->lowest_free = 0;
}

void slots_done(struct slots *slots)
{
    for (size_t i = 0; i < SLOTS_CHUNKS; i++)
        free(atomic_load(&slots->chunks[i]));
    pthread_mutex_destroy(&slots->mutex);
}

/* The slot's cell; its chunk is made when it is missing. NULL: no memory. */
static _Atomic(struct table *) *cell_locked(struct slots *slots, uint32_t slot)
{
    _Atomic(struct table *) *chunk = atomic_load(&slots->chunks[slot / SLOTS_CHUNK]);
    if (chunk == NULL) {
        chunk = calloc(SLOTS_CHUNK, sizeof *chunk);
        if (chunk == NULL)
            return NULL;
        atomic_store_explicit(&slots->chunks[slot / SLOTS_CHUNK], chunk, memory_order_release);
    }
    return &chunk[slot % SLOTS_CHUNK];
}

static enum status join_locked(struct slots *slots, struct table *table)
{
    for (uint32_t slot = slots->lowest_free; slot < PLACE_SLOTS_MAX; slot++) {
        _Atomic(struct table *) *cell = cell_locked(slots, slot);
        if (cell == NULL)
            return STATUS_NO_MEMORY;
        if (atomic_load(cell) != NULL)
            continue;
        table->slot = slot;
        atomic_store_explicit(cell, table, memory_order_release);
        slots->lowest_free = slot + 1;
        return STATUS_OK;
    }
    return STATUS_NO_MEMORY;
}

enum status slots_join(struct slots *slots, struct table *table)
{
    pthread_mutex_lock(&slots->mutex);
    enum status status = join_locked(slots, table);
    pthread_mutex_unlock(&slots->mutex);
    return status;
}

void slots_leave(struct slots *slots, uint32_t slot)
{
    pthread_mutex_lock(&slots->mutex);
    atomic_store_explicit(cell_locked(slots, slot), NULL, memory_order_release);
    if (slot < slots->lowest_free)
        slots->lowest_free = slot;
    pthread_mutex_unlock(&slots->mutex);
}
