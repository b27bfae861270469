/* SPDX-License-Identifier: Apache-2.0 */
/* The children of the one at i are at 2i + 1 and 2i + 2, and none of them expires before it. */
#include "expiries.h"

#include <search.h>
#include <stdlib.h>

#include "memory.h"

void expiries_done(struct expiries *expiries)
{
    free(expiries->heap);
}

enum status expiries_reserve_locked(struct expiries *expiries, size_t more)
{
    size_t needed = expiries->count + more;
    if (needed <= expiries->capacity)
        return STATUS_OK;
    size_t capacity = needed > 2 * expiries->capacity ? needed : 2 * expiries->capacity;
    struct version **grown = realloc(expiries->heap, capacity * sizeof(struct version *));
    if (grown == NULL)
        return STATUS_NO_MEMORY;
    expiries->heap = grown;
    expiries->capacity = capacity;
    return STATUS_OK;
}

static void put_at(struct expiries *expiries, size_t at, struct version *version)
{
    expiries->heap[at] = version;
    version->expiry_place = at + 1;
}

/* Puts the version where it belongs, at the free place `at` or above it. */
static void rise(struct expiries *expiries, size_t at, struct version *version)
{
    while (at > 0 && expiries->heap[(at - 1) / 2]->expires_ms > version->expires_ms) {
        put_at(expiries, at, expiries->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    put_at(expiries, at, version);
}

/* Moves the free place `at` down to where the version does not expire after what is below. */
static void sink(struct expiries *expiries, size_t at, struct version *version)
{
    for (size_t child; (child = 2 * at + 1) < expiries->count; at = child) {
        struct version *const *below = &expiries->heap[child];
        if (child + 1 < expiries->count && below[1]->expires_ms < below[0]->expires_ms)
            child++;
        if (expiries->heap[child]->expires_ms >= version->expires_ms)
            break;
        put_at(expiries, at, expiries->heap[child]);
    }
    rise(expiries, at, version);
}

void expiries_add_locked(struct expiries *expiries, struct version *version)
{
    rise(expiries, expiries->count++, version);
}

void expiries_remove_locked(struct expiries *expiries, struct version *version)
{
    struct version *last = expiries->heap[--expiries->count];
    if (last != version)
        sink(expiries, version->expiry_place - 1, last);
    version->expiry_place = 0;
}

struct version *expiries_first_locked(const struct expiries *expiries)
{
    return expiries->count > 0 ? expiries->heap[0] : NULL;
}

/* ---- what the engine does with them ---- */

void memory_drop_locked(struct memory_engine *engine, struct version *version)
{
    if (version->expiry_place != 0)
        expiries_remove_locked(&engine->expiries, version);
    engine->kept_bytes -= version->charged;
    engine->keys--;
    version_unref(version);
}

static void expire_one_locked(struct memory_engine *engine, struct version *version)
{
    struct engine_version end = {engine->epoch, ++engine->sequence};
    history_add_locked(&engine->history,
                       &(struct engine_change){.type = ENGINE_CHANGE_EXPIRE,
                                               .key = version->key,
                                               .version = end,
                                               .modified_ms = engine->time->wall_ms(engine->time)});
    stats_add(engine->stats, STATS_expired, 1);
    tdelete(&version->key, &engine->tree, version_compare);
    memory_drop_locked(engine, version);
}

size_t memory_expire_locked(struct memory_engine *engine, size_t most)
{
    size_t count = 0;
    for (; count < most; count++) {
        struct version *first = expiries_first_locked(&engine->expiries);
        if (first == NULL || is_live(engine, first))
            break;
        expire_one_locked(engine, first);
    }
    if (count > 0)
        published_raise(&engine->published, engine->sequence);
    return count;
}

bool memory_expire(struct memory_engine *engine)
{
    pthread_mutex_lock(&engine->mutex);
    size_t count = memory_expire_locked(engine, SIZE_MAX);
    pthread_mutex_unlock(&engine->mutex);
    return count > 0;
}
