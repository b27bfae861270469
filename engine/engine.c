/* SPDX-License-Identifier: Apache-2.0 */
/* Chooses the engine by scheme and hands every call on to it. */
#include "engine.h"

#include <stdio.h>

static const struct engine_operations *const engines[] = {
    &local_engine_operations,
    &memory_engine_operations,
};

static const struct engine_event_kind event_kinds[] = {
#define X(name, level, message, fields) [EVENT_##name] = {#name, EVENT_##level, message, fields},
#include "event.def"
};

const struct engine_event_kind *engine_event_kind(enum engine_event_name name)
{
    return &event_kinds[name];
}

struct engine_options engine_options_default(void)
{
    return (struct engine_options){
        .key_bytes_max = 1024,
        .meta_bytes_max = 1024,
        .batch_operations_max = 1000,
        .value_bytes_max = 16u << 20,
        .memory_bytes_max = 1u << 30,
        .memtable_bytes = 64u << 20,
        .journal_segment_bytes = 64u << 20,
        .reserve_bytes = 256u << 20,
        .ballast_bytes = 256u << 20,
        .compaction_interval_ms = 30000,
        .changes_bytes_max = 256u << 20,
        .time = time_source_system(),
    };
}

/* Splits the URL into its engine and what follows the colon. NULL: no engine has its scheme. */
static const struct engine_operations *find_engine(const char *url, const char **out_path)
{
    for (size_t i = 0; i < COUNT_OF(engines); i++) {
        size_t scheme_bytes = strlen(engines[i]->scheme);
        if (strncmp(url, engines[i]->scheme, scheme_bytes) == 0 && url[scheme_bytes] == ':') {
            *out_path = url + scheme_bytes + 1;
            return engines[i];
        }
    }
    return NULL;
}

static enum status no_engine(const char *url, struct failure *failure)
{
    return failure_set(failure, STATUS_INVALID, "no engine for '%s': use file:DIR or memory:", url);
}

enum status engine_open(const struct engine_options *options, struct engine **out_engine,
                        struct failure *failure)
{
    const char *path;
    const struct engine_operations *operations = find_engine(options->url, &path);
    if (operations == NULL)
        return no_engine(options->url, failure);
    return operations->open(options, path, out_engine, failure);
}

enum status engine_verify(const char *url, void (*on_finding)(void *context, const char *finding),
                          void *context, struct engine_verification *out_verification,
                          struct failure *failure)
{
    const char *path;
    *out_verification = (struct engine_verification){0};
    const struct engine_operations *operations = find_engine(url, &path);
    if (operations == NULL)
        return no_engine(url, failure);
    if (operations->verify == NULL)
        return failure_set(failure, STATUS_UNSUPPORTED, "%s: keeps nothing that could be verified",
                           url);
    return operations->verify(path, on_finding, context, out_verification, failure);
}

void engine_close(struct engine *engine)
{
    if (engine != NULL)
        engine->operations->close(engine);
}

enum status engine_get(struct engine *engine, struct bytes key, struct engine_item *out_item)
{
    return engine->operations->get(engine, key, out_item);
}

enum status engine_head(struct engine *engine, struct bytes key, struct engine_item *out_item)
{
    return engine->operations->head(engine, key, out_item);
}

enum status engine_scan(struct engine *engine, const struct engine_range *range, bool with_values,
                        engine_visit *visit, void *visitor, const struct engine_context *context)
{
    return engine->operations->scan(engine, range, with_values, visit, visitor, context);
}

enum status engine_changes(struct engine *engine, uint64_t after, engine_visit_change *visit,
                           void *visitor, struct engine_feed *out_feed,
                           const struct engine_context *context)
{
    if (engine->operations->changes == NULL)
        return STATUS_UNSUPPORTED;
    return engine->operations->changes(engine, after, visit, visitor, out_feed, context);
}

enum status engine_wait(struct engine *engine, uint64_t sequence, uint64_t *out_sequence,
                        const struct engine_context *context)
{
    return engine->operations->wait(engine, sequence, out_sequence, context);
}

void engine_item_done(struct engine_item *item)
{
    if (item->release != NULL)
        item->release(item->owner);
    *item = (struct engine_item){0};
}

enum status engine_value_open(struct engine *engine, struct bytes key, struct bytes meta,
                              size_t capacity, struct engine_value **out_value)
{
    return engine->operations->value_open(engine, key, meta, capacity, out_value);
}

enum status engine_value_grow(struct engine *engine, struct engine_value **value, size_t capacity)
{
    return engine->operations->value_grow(engine, value, capacity);
}

void engine_value_close(struct engine *engine, struct engine_value *value)
{
    if (value != NULL)
        engine->operations->value_close(engine, value);
}

enum status engine_commit(struct engine *engine, struct engine_operation *operations,
                          uint32_t count, const struct engine_context *context)
{
    return engine->operations->commit(engine, operations, count, context);
}

enum status engine_compact(struct engine *engine, uint64_t *out_id)
{
    if (engine->operations->compact == NULL)
        return STATUS_UNSUPPORTED;
    return engine->operations->compact(engine, out_id);
}

enum status engine_compaction_wait(struct engine *engine, uint64_t id,
                                   const struct engine_context *context)
{
    if (engine->operations->compaction_wait == NULL)
        return STATUS_UNSUPPORTED;
    return engine->operations->compaction_wait(engine, id, context);
}

enum status engine_compactions(struct engine *engine, struct engine_compaction *out_rows,
                               size_t capacity, size_t *out_count)
{
    if (engine->operations->compactions == NULL)
        return STATUS_UNSUPPORTED;
    return engine->operations->compactions(engine, out_rows, capacity, out_count);
}

const struct engine_limits *engine_limits(const struct engine *engine)
{
    return &engine->limits;
}

void engine_health(struct engine *engine, struct engine_health *out_health)
{
    engine->operations->health(engine, out_health);
}

struct stats *engine_stats(struct engine *engine)
{
    return engine->operations->stats(engine);
}

const char *engine_capability_name(uint32_t bit_index)
{
    static const char *const names[] = {"durable", "gapless", "atomic-batch", "compact", "changes"};
    return bit_index < COUNT_OF(names) ? names[bit_index] : NULL;
}

static bool one_of(const struct engine_condition *condition, struct engine_version current)
{
    for (uint32_t i = 0; i < condition->version_count; i++)
        if (engine_version_equal(condition->versions[i], current))
            return true;
    return false;
}

bool engine_condition_holds(const struct engine_condition *condition, struct engine_version current)
{
    bool present = current.sequence != 0;
    switch (condition->kind) {
    case ENGINE_IF_PRESENT:
        return present;
    case ENGINE_IF_ABSENT:
        return !present;
    case ENGINE_IF_ONE_OF:
        return present && one_of(condition, current);
    case ENGINE_IF_NONE_OF:
        return !present || !one_of(condition, current);
    }
    return false;
}
