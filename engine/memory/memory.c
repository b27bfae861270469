/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The smallest engine behind the face, and the plainest statement of what the face promises: one
 * mutex, one binary tree (tsearch) of versions, nothing on disk. For tests, and for whoever writes
 * another engine. In the test build it also fails on demand: inject.h.
 *
 * A version is one allocation, made by value_open and never changed after its commit; whoever holds
 * it, the tree or an item, holds one reference. Each commit takes some of what has expired out of
 * the tree, and who lacks memory all of it.
 *
 * Threads: as engine.h. Items must be done before the engine is closed.
 */
#include "memory.h"

#include <search.h>
#include <stddef.h>
#include <stdio.h>

#include "../number.h"
#include "../random.h"

enum {
    TREE_NODE_BYTES = 64,    /* what the tree itself takes per key, about */
    EXPIRED_PER_COMMIT = 32, /* many more than a commit of one key brings */
};

static struct version *of_value(struct engine_value *value)
{
    return (struct version *)((char *)value - offsetof(struct version, face));
}

/* ---- versions ---- */

static size_t version_bytes(size_t key_bytes, size_t meta_bytes, size_t capacity)
{
    return sizeof(struct version) + TREE_NODE_BYTES + key_bytes + meta_bytes + capacity;
}

static bool charge(struct memory_engine *engine, uint64_t bytes)
{
    uint64_t before = atomic_fetch_add_explicit(&engine->charged, bytes, memory_order_relaxed);
    if (before + bytes <= engine->memory_bytes_max)
        return true;
    atomic_fetch_sub_explicit(&engine->charged, bytes, memory_order_relaxed);
    return false;
}

/* Points key and value at their places, which move with the version. */
static void place(struct version *version, size_t key_bytes, size_t capacity)
{
    version->key = (struct bytes){version->data, key_bytes};
    version->face.data = version->data + key_bytes + version->meta_bytes;
    version->face.capacity = capacity;
}

/* The live version of `key`, NULL when there is none. */
static struct version *find_locked(struct memory_engine *engine, struct bytes key)
{
    struct version **node = tfind(&key, &engine->tree, version_compare);
    return node != NULL && is_live(engine, *node) ? *node : NULL;
}

/* Pairs with: unref in other threads; the last one must see their reads done before it frees. */
void version_unref(void *owner)
{
    struct version *version = owner;
    if (atomic_fetch_sub_explicit(&version->references, 1, memory_order_acq_rel) > 1)
        return;
    uncharge(version->engine, version->charged);
    free(version);
}

/* ---- reading ---- */

static enum status find(struct memory_engine *engine, struct bytes key,
                        struct engine_item *out_item)
{
    stats_add(engine->stats, STATS_gets, 1);
    pthread_mutex_lock(&engine->mutex);
    struct version *version = find_locked(engine, key);
    if (version != NULL)
        atomic_fetch_add_explicit(&version->references, 1, memory_order_relaxed);
    pthread_mutex_unlock(&engine->mutex);
    if (version == NULL) {
        stats_add(engine->stats, STATS_get_misses, 1);
        return STATUS_NOT_FOUND;
    }
    *out_item = item_of(engine, version);
    return STATUS_OK;
}

static enum status get(struct engine *face, struct bytes key, struct engine_item *out_item)
{
    struct memory_engine *engine = of_face(face);
    enum status injected = inject_next(engine->inject, INJECT_GET);
    return injected != STATUS_OK ? injected : find(engine, key, out_item);
}

static enum status head(struct engine *face, struct bytes key, struct engine_item *out_item)
{
    struct memory_engine *engine = of_face(face);
    enum status status = inject_next(engine->inject, INJECT_HEAD);
    if (status == STATUS_OK)
        status = find(engine, key, out_item);
    if (status == STATUS_OK)
        out_item->value.data = NULL;
    return status;
}

/* ---- values being received ---- */

static bool key_is_valid(const struct memory_engine *engine, struct bytes key)
{
    return key.size > 0 && key.size <= engine->face.limits.key_bytes_max;
}

/* A version with one reference, the caller's. NULL: no memory. */
static struct version *version_make(struct memory_engine *engine, struct bytes key,
                                    struct bytes meta, size_t capacity)
{
    size_t bytes = version_bytes(key.size, meta.size, capacity);
    if (!charge(engine, bytes))
        return NULL;
    struct version *version = malloc(bytes);
    if (version == NULL) {
        uncharge(engine, bytes);
        return NULL;
    }
    *version = (struct version){
        .engine = engine,
        .references = 1,
        .charged = bytes,
        .meta_bytes = (uint32_t)meta.size,
    };
    place(version, key.size, capacity);
    memcpy(version->data, key.data, key.size);
    if (meta.size > 0)
        memcpy(version->data + key.size, meta.data, meta.size);
    return version;
}

static enum status value_open(struct engine *face, struct bytes key, struct bytes meta,
                              size_t capacity, struct engine_value **out_value)
{
    struct memory_engine *engine = of_face(face);
    enum status injected = inject_next(engine->inject, INJECT_VALUE_OPEN);
    if (injected != STATUS_OK)
        return injected;
    if (!key_is_valid(engine, key) || meta.size > face->limits.meta_bytes_max)
        return STATUS_INVALID;
    if (capacity > face->limits.value_bytes_max)
        return STATUS_TOO_LARGE;
    struct version *version = version_make(engine, key, meta, capacity);
    if (version == NULL && memory_expire(engine))
        version = version_make(engine, key, meta, capacity);
    if (version == NULL)
        return STATUS_NO_MEMORY;
    *out_value = &version->face;
    return STATUS_OK;
}

static enum status value_grow(struct engine *face, struct engine_value **value, size_t capacity)
{
    struct memory_engine *engine = of_face(face);
    enum status injected = inject_next(engine->inject, INJECT_VALUE_GROW);
    if (injected != STATUS_OK)
        return injected;
    if (capacity > face->limits.value_bytes_max)
        return STATUS_TOO_LARGE;
    if (capacity <= (*value)->capacity)
        return STATUS_OK;
    struct version *version = of_value(*value);
    size_t key_bytes = version->key.size;
    uint64_t more = capacity - version->face.capacity;
    if (!charge(engine, more) && !(memory_expire(engine) && charge(engine, more)))
        return STATUS_NO_MEMORY;
    version = realloc(version, version_bytes(key_bytes, version->meta_bytes, capacity));
    if (version == NULL) {
        uncharge(engine, more);
        return STATUS_NO_MEMORY;
    }
    version->charged += more;
    place(version, key_bytes, capacity);
    *value = &version->face;
    return STATUS_OK;
}

static void value_close(struct engine *face, struct engine_value *value)
{
    (void)face;
    version_unref(of_value(value));
}

/* ---- the commit ---- */

static int compare_operations(const void *left, const void *right)
{
    const struct engine_operation *const *a = left, *const *b = right;
    return bytes_compare((*a)->key, (*b)->key);
}

static enum status check_distinct(const struct engine_operation *operations, uint32_t count)
{
    AUTO_FREE const struct engine_operation **sorted = malloc(count * sizeof *sorted);
    if (sorted == NULL)
        return STATUS_NO_MEMORY;
    for (uint32_t i = 0; i < count; i++)
        sorted[i] = &operations[i];
    qsort(sorted, count, sizeof *sorted, compare_operations);
    for (uint32_t i = 1; i < count; i++)
        if (bytes_equal(sorted[i - 1]->key, sorted[i]->key))
            return STATUS_INVALID;
    return STATUS_OK;
}

static enum status check(const struct memory_engine *engine,
                         const struct engine_operation *operations, uint32_t count)
{
    const struct engine_limits *limits = &engine->face.limits;
    if (count == 0)
        return STATUS_INVALID;
    if (count > limits->batch_operations_max)
        return STATUS_TOO_LARGE;
    uint64_t value_bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!key_is_valid(engine, operations[i].key))
            return STATUS_INVALID;
        if (operations[i].type == ENGINE_PUT)
            value_bytes += operations[i].value->size;
    }
    if (value_bytes > limits->value_bytes_max)
        return STATUS_TOO_LARGE;
    return count > 1 ? check_distinct(operations, count) : STATUS_OK;
}

/* Sets the new number of an addition to `version`, NULL: the key is absent. False: there is none. */
static bool add(struct engine_operation *operation, const struct version *version)
{
    int64_t number = 0;
    struct bytes text = {NULL, 0};
    if (version != NULL)
        text = (struct bytes){version->face.data, version->face.size};
    return (version == NULL || number_read(text, &number)) &&
           !__builtin_add_overflow(number, operation->by, &operation->number);
}

static bool conditions_hold(const struct engine_operation *operation)
{
    for (uint32_t i = 0; i < operation->condition_count; i++)
        if (!engine_condition_holds(&operation->conditions[i], operation->version))
            return false;
    return true;
}

/* Judges every operation, so that a refusal can name each one that failed. */
static enum status judge_locked(struct memory_engine *engine, struct engine_operation *operations,
                                uint32_t count)
{
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < count; i++) {
        struct engine_operation *operation = &operations[i];
        const struct version *version = find_locked(engine, operation->key);
        operation->version = operation->before = version_of(engine, version);
        operation->outcome = ENGINE_FAILED;
        if (!conditions_hold(operation))
            status = STATUS_CONFLICT;
        else if (operation->type != ENGINE_ADD || add(operation, version))
            operation->outcome = ENGINE_CHECKED;
        else if (status == STATUS_OK)
            status = STATUS_NOT_A_NUMBER;
    }
    return status;
}

static void tell_put_locked(struct memory_engine *engine, const struct version *version)
{
    history_add_locked(&engine->history,
                       &(struct engine_change){
                           .type = ENGINE_CHANGE_PUT,
                           .key = version->key,
                           .version = version_of(engine, version),
                           .modified_ms = version->modified_ms,
                           .expires_ms = version->expires_ms,
                           .meta = {version->data + version->key.size, version->meta_bytes},
                           .value = {version->face.data, version->face.size},
                       });
}

static void put_locked(struct memory_engine *engine, struct engine_operation *operation,
                       int64_t now_ms)
{
    struct version *version = of_value(operation->value);
    struct version **node = tfind(&operation->key, &engine->tree, version_compare);
    if (*node != version)
        memory_drop_locked(engine, *node);
    *node = version; /* an equal key: the tree's order stays */
    engine->kept_bytes += version->charged;
    engine->keys++;
    version->sequence = ++engine->sequence;
    version->modified_ms = now_ms;
    if (version->expires_ms != 0)
        expiries_add_locked(&engine->expiries, version);
    operation->value = NULL;
    operation->outcome = operation->version.sequence == 0 ? ENGINE_CREATED : ENGINE_REPLACED;
    operation->version = version_of(engine, version);
    tell_put_locked(engine, version);
    stats_add(engine->stats, STATS_puts, 1);
    stats_add(engine->stats, STATS_accepted,
              version->key.size + version->meta_bytes + version->face.size);
}

static void delete_locked(struct memory_engine *engine, struct engine_operation *operation,
                          int64_t now_ms)
{
    struct version **node = tfind(&operation->key, &engine->tree, version_compare);
    if (node != NULL) {
        struct version *version = *node;
        tdelete(&operation->key, &engine->tree, version_compare);
        memory_drop_locked(engine, version);
    }
    operation->outcome = ENGINE_ABSENT;
    if (operation->version.sequence == 0) /* absent, or expired a while ago */
        return;
    operation->outcome = ENGINE_DELETED;
    operation->version = (struct engine_version){engine->epoch, ++engine->sequence};
    history_add_locked(&engine->history, &(struct engine_change){.type = ENGINE_CHANGE_DELETE,
                                                                 .key = operation->key,
                                                                 .version = operation->version,
                                                                 .modified_ms = now_ms});
    stats_add(engine->stats, STATS_deletes, 1);
    stats_add(engine->stats, STATS_accepted, operation->key.size);
}

static bool writes_value(const struct engine_operation *operation)
{
    return operation->type == ENGINE_PUT || operation->type == ENGINE_ADD;
}

/* What an addition puts. */
static enum status make_sum_locked(struct memory_engine *engine, struct engine_operation *operation)
{
    struct version **node = tfind(&operation->key, &engine->tree, version_compare);
    const struct version *base = operation->version.sequence != 0 ? *node : NULL;
    struct bytes meta = {NULL, 0};
    char text[NUMBER_BYTES_MAX];
    size_t size = number_write(operation->number, text);
    if (base != NULL)
        meta = (struct bytes){base->data + base->key.size, base->meta_bytes};
    struct version *sum = version_make(engine, operation->key, meta, size);
    if (sum == NULL)
        return STATUS_NO_MEMORY;
    memcpy(sum->face.data, text, size);
    sum->face.size = size;
    operation->expires_ms = sum->expires_ms = base != NULL ? base->expires_ms : 0;
    operation->value = &sum->face;
    return STATUS_OK;
}

/* Takes the key's place back from a version that was not applied. */
static void take_place_back_locked(struct memory_engine *engine, struct engine_operation *operation)
{
    struct version *version = of_value(operation->value);
    struct version **node = tfind(&operation->key, &engine->tree, version_compare);
    if (node != NULL && *node == version)
        tdelete(&operation->key, &engine->tree, version_compare);
    if (operation->type == ENGINE_ADD) {
        version_unref(version);
        operation->value = NULL;
    }
}

/* A place in the tree for what is put, so that nothing can fail once the first one is applied. */
static enum status make_place_locked(struct memory_engine *engine,
                                     struct engine_operation *operation)
{
    if (operation->type == ENGINE_ADD && make_sum_locked(engine, operation) != STATUS_OK)
        return STATUS_NO_MEMORY;
    if (operation->type == ENGINE_PUT)
        of_value(operation->value)->expires_ms = operation->expires_ms;
    if (tsearch(of_value(operation->value), &engine->tree, version_compare) != NULL)
        return STATUS_OK;
    take_place_back_locked(engine, operation);
    return STATUS_NO_MEMORY;
}

static enum status make_places_locked(struct memory_engine *engine,
                                      struct engine_operation *operations, uint32_t count)
{
    if (expiries_reserve_locked(&engine->expiries, count) != STATUS_OK)
        return STATUS_NO_MEMORY;
    for (uint32_t i = 0; i < count; i++) {
        if (!writes_value(&operations[i]) || make_place_locked(engine, &operations[i]) == STATUS_OK)
            continue;
        while (i-- > 0)
            if (writes_value(&operations[i]))
                take_place_back_locked(engine, &operations[i]);
        return STATUS_NO_MEMORY;
    }
    return STATUS_OK;
}

static enum status apply_locked(struct memory_engine *engine, struct engine_operation *operations,
                                uint32_t count)
{
    enum status status = judge_locked(engine, operations, count);
    if (status == STATUS_OK)
        status = make_places_locked(engine, operations, count);
    if (status != STATUS_OK)
        return status;
    int64_t now_ms = engine->time->wall_ms(engine->time);
    for (uint32_t i = 0; i < count; i++) {
        if (writes_value(&operations[i]))
            put_locked(engine, &operations[i], now_ms);
        if (operations[i].type == ENGINE_DELETE)
            delete_locked(engine, &operations[i], now_ms);
    }
    published_raise(&engine->published, engine->sequence);
    return STATUS_OK;
}

static enum status try_commit(struct memory_engine *engine, struct engine_operation *operations,
                              uint32_t count, const struct engine_context *context, uint64_t now_ns)
{
    enum status status = inject_next(engine->inject, INJECT_COMMIT);
    if (status == STATUS_OK)
        status = check(engine, operations, count);
    if (status != STATUS_OK)
        return status;
    if (cancel_fired(context->cancel))
        return STATUS_CANCELLED;
    if (now_ns >= context->deadline_ns)
        return STATUS_BUSY;
    pthread_mutex_lock(&engine->mutex);
    memory_expire_locked(engine, EXPIRED_PER_COMMIT);
    status = apply_locked(engine, operations, count);
    pthread_mutex_unlock(&engine->mutex);
    return status;
}

static enum status commit(struct engine *face, struct engine_operation *operations, uint32_t count,
                          const struct engine_context *context)
{
    struct memory_engine *engine = of_face(face);
    uint64_t begun = engine->time->monotonic_ns(engine->time);
    enum status status = try_commit(engine, operations, count, context, begun);
    if (status == STATUS_CONFLICT)
        stats_add(engine->stats, STATS_conflicts, 1);
    if (status == STATUS_BUSY)
        stats_add(engine->stats, STATS_busy, 1);
    stats_observe(engine->stats, STATS_commit, engine->time->monotonic_ns(engine->time) - begun);
    return status;
}

/* ---- compaction: there is nothing to rewrite in memory ---- */

static enum status refuse_compaction(struct engine *face, enum inject_call call)
{
    enum status status = inject_next(of_face(face)->inject, call);
    return status == STATUS_OK ? STATUS_UNSUPPORTED : status;
}

static enum status compact(struct engine *face, uint64_t *out_id)
{
    (void)out_id;
    return refuse_compaction(face, INJECT_COMPACT);
}

static enum status compactions(struct engine *face, struct engine_compaction *out_rows,
                               size_t capacity, size_t *out_count)
{
    (void)out_rows, (void)capacity, (void)out_count;
    return refuse_compaction(face, INJECT_COMPACTIONS);
}

/* ---- what it is and how it is ---- */

static void health(struct engine *face, struct engine_health *out_health)
{
    struct memory_engine *engine = of_face(face);
    *out_health = (struct engine_health){.state = ENGINE_READY, .epoch = engine->epoch};
    pthread_mutex_lock(&engine->mutex);
    out_health->sequence = engine->sequence;
    pthread_mutex_unlock(&engine->mutex);
    uint64_t charged = atomic_load_explicit(&engine->charged, memory_order_relaxed);
    if (charged + version_bytes(1, 0, 0) > engine->memory_bytes_max) {
        out_health->writable = STATUS_NO_MEMORY;
        snprintf(out_health->reason, sizeof out_health->reason,
                 "memory_bytes_max is reached: delete keys or raise it");
    }
    inject_health(engine->inject, out_health);
}

static struct stats *stats(struct engine *face)
{
    struct memory_engine *engine = of_face(face);
    struct engine_health now;
    health(face, &now);
    pthread_mutex_lock(&engine->mutex);
    uint64_t charged = atomic_load_explicit(&engine->charged, memory_order_relaxed);
    stats_set(engine->stats, STATS_keys, engine->keys);
    stats_set(engine->stats, STATS_memtable, engine->kept_bytes);
    stats_set(engine->stats, STATS_inflight, charged - engine->kept_bytes);
    pthread_mutex_unlock(&engine->mutex);
    stats_set(engine->stats, STATS_memory_limit, engine->memory_bytes_max);
    stats_set(engine->stats, STATS_read_only, now.state == ENGINE_READ_ONLY);
    stats_set(engine->stats, STATS_loading, now.state == ENGINE_LOADING);
    return engine->stats;
}

/* ---- opening and closing ---- */

static void close_engine(struct engine *face)
{
    struct memory_engine *engine = of_face(face);
    tdestroy(engine->tree, version_unref);
    expiries_done(&engine->expiries);
    history_done(&engine->history);
    pthread_mutex_destroy(&engine->mutex);
    inject_close(engine->inject);
    stats_close(engine->stats);
    free(engine);
}

static struct engine_limits limits_of(const struct engine_options *options)
{
    return (struct engine_limits){
        .capabilities = ENGINE_GAPLESS | ENGINE_ATOMIC_BATCH | ENGINE_CHANGES,
        .key_bytes_max = options->key_bytes_max,
        .meta_bytes_max = options->meta_bytes_max,
        .batch_operations_max = options->batch_operations_max,
        .value_bytes_max = options->value_bytes_max,
        .scheme = "memory",
        .durability = "none",
    };
}

static enum status open_engine(const struct engine_options *options, const char *path,
                               struct engine **out_engine, struct failure *failure)
{
    struct memory_engine *engine = calloc(1, sizeof *engine);
    if (engine == NULL)
        return failure_set(failure, STATUS_NO_MEMORY, "no memory for the engine");
    engine->face.operations = &memory_engine_operations;
    engine->face.limits = limits_of(options);
    engine->memory_bytes_max = options->memory_bytes_max;
    engine->epoch = random_u64() >> 16 | 1; /* 48 bits, never 0 */
    engine->time = options->time;
    memory_feed_init(engine, options->changes_bytes_max);
    engine->face.limits.changes_bytes_max = engine->history.bytes_max;
    pthread_mutex_init(&engine->mutex, NULL);
    engine->stats = stats_open();
    enum status status = engine->stats == NULL ? failure_set(failure, STATUS_NO_MEMORY,
                                                             "no memory for the engine's counters")
                                               : inject_open(path, &engine->inject, failure);
    if (status != STATUS_OK) {
        close_engine(&engine->face);
        return status;
    }
    *out_engine = &engine->face;
    return STATUS_OK;
}

const struct engine_operations memory_engine_operations = {
    .scheme = "memory",
    .open = open_engine,
    .close = close_engine,
    .get = get,
    .head = head,
    .scan = memory_scan,
    .changes = memory_changes,
    .wait = memory_wait,
    .value_open = value_open,
    .value_grow = value_grow,
    .value_close = value_close,
    .commit = commit,
    .compact = compact,
    .compactions = compactions,
    .health = health,
    .stats = stats,
};
