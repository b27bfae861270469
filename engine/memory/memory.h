/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the memory engine's files share: one version of one key, and the engine that has them in a
 * tree. Nobody outside this folder includes it.
 */
#ifndef KEYREST_ENGINE_MEMORY_MEMORY_H
#define KEYREST_ENGINE_MEMORY_MEMORY_H

#include <pthread.h>
#include <stdatomic.h>

#include "../engine.h"
#include "../published.h"
#include "../stats.h"
#include "expiries.h"
#include "history.h"
#include "inject.h"

/* One version of one key. */
struct version {
    struct bytes key;         /* first: what the tree compares */
    struct engine_value face; /* what the caller sees while the value is received */
    struct memory_engine *engine;
    _Atomic uint32_t references;
    uint64_t charged;
    uint64_t sequence;
    int64_t modified_ms, expires_ms;
    size_t expiry_place; /* among the expiries, from 1; 0: it is not among them */
    uint32_t meta_bytes;
    unsigned char data[]; /* key, meta, value */
};

struct memory_engine {
    struct engine face;
    /* set at open, then constant */
    uint64_t memory_bytes_max;
    uint64_t epoch;
    const struct time_source *time;
    struct stats *stats;
    struct inject *inject;
    _Atomic uint64_t charged;   /* bytes of all versions, relaxed: a count, it orders nothing */
    struct published published; /* raised under mutex, after a whole commit */
    pthread_mutex_t mutex;
    /* guarded by mutex */
    void *tree;
    uint64_t sequence, keys;
    uint64_t kept_bytes; /* the part of `charged` that the tree holds */
    struct history history;
    struct expiries expiries;
};

static inline struct memory_engine *of_face(struct engine *face)
{
    return (struct memory_engine *)face;
}

static inline void uncharge(struct memory_engine *engine, uint64_t bytes)
{
    atomic_fetch_sub_explicit(&engine->charged, bytes, memory_order_relaxed);
}

static inline bool is_live(const struct memory_engine *engine, const struct version *version)
{
    return version->expires_ms == 0 || version->expires_ms > engine->time->wall_ms(engine->time);
}

static inline struct engine_version version_of(const struct memory_engine *engine,
                                               const struct version *version)
{
    return version != NULL ? (struct engine_version){engine->epoch, version->sequence}
                           : (struct engine_version){0, 0};
}

/* Of keys, or of versions by theirs: what the tree is ordered by. */
static inline int version_compare(const void *left, const void *right)
{
    return bytes_compare(*(const struct bytes *)left, *(const struct bytes *)right);
}

/* Gives a reference back: what an item of it releases with. Any thread. */
void version_unref(void *owner);

/* The caller's reference is the item's from now on. */
static inline struct engine_item item_of(const struct memory_engine *engine,
                                         struct version *version)
{
    return (struct engine_item){
        .version = version_of(engine, version),
        .modified_ms = version->modified_ms,
        .expires_ms = version->expires_ms,
        .meta = {version->data + version->key.size, version->meta_bytes},
        .value = {version->face.data, version->face.size},
        .release = version_unref,
        .owner = version,
    };
}

/*
 * expiries.c. The tree's reference to a version goes. Deletes at most `most` keys whose time is over:
 * how many. The same without the mutex, of all, for whoever lacks memory; false: there was none.
 */
void memory_drop_locked(struct memory_engine *engine, struct version *version);
size_t memory_expire_locked(struct memory_engine *engine, size_t most);
bool memory_expire(struct memory_engine *engine);

/* listing.c: as engine_scan(). */
enum status memory_scan(struct engine *face, const struct engine_range *range, bool with_values,
                        engine_visit *visit, void *visitor, const struct engine_context *context);

/* feed.c: as engine_changes() and engine_wait(). */
void memory_feed_init(struct memory_engine *engine, uint64_t changes_bytes_max);
enum status memory_changes(struct engine *face, uint64_t after, engine_visit_change *visit,
                           void *visitor, struct engine_feed *out_feed,
                           const struct engine_context *context);
enum status memory_wait(struct engine *face, uint64_t sequence, uint64_t *out_sequence,
                        const struct engine_context *context);

#endif
