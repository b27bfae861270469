/* SPDX-License-Identifier: Apache-2.0 */
/* The face's calls, handed to the parts. Until recovery has ended every call answers LOADING. */
#include "local.h"

#include "../number.h"
#include "changes.h"
#include "figures.h"
#include "kill_disk.h"
#include "local_parts.h"
#include "scan.h"
#include "verify.h"

/* ---- reading ---- */

static void tell_corrupt(struct local *local)
{
    stats_add(local->stats, STATS_corrupt_records, 1);
    event_tell(&local->events, (struct engine_event){.name = EVENT_VALUE_CORRUPT});
}

static void count_read(struct local *local, enum status status)
{
    stats_add(local->stats, STATS_gets, 1);
    if (status == STATUS_NOT_FOUND)
        stats_add(local->stats, STATS_get_misses, 1);
    if (status == STATUS_CORRUPT)
        tell_corrupt(local);
}

static bool is_readable(const struct local *local)
{
    enum local_state state = local_state_of(local);
    return state == LOCAL_READY || state == LOCAL_READABLE;
}

static enum status read_key(struct engine *engine, struct bytes key, bool with_value,
                            struct engine_item *out_item)
{
    struct local *local = local_of(engine);
    if (!is_readable(local))
        return STATUS_LOADING;
    enum status status = store_get(&local->store, key, with_value, out_item);
    count_read(local, status);
    return status;
}

static enum status local_get(struct engine *engine, struct bytes key, struct engine_item *out_item)
{
    return read_key(engine, key, true, out_item);
}

static enum status local_head(struct engine *engine, struct bytes key, struct engine_item *out_item)
{
    return read_key(engine, key, false, out_item);
}

static enum status local_scan(struct engine *engine, const struct engine_range *range,
                              bool with_values, engine_visit *visit, void *visitor,
                              const struct engine_context *context)
{
    struct local *local = local_of(engine);
    if (!is_readable(local))
        return STATUS_LOADING;
    stats_add(local->stats, STATS_scans, 1);
    return scan_run(&local->store, range, with_values, visit, visitor, context);
}

/* Damage is told as that of a value is: the journal is checked when it is read. */
static enum status local_changes(struct engine *engine, uint64_t after, engine_visit_change *visit,
                                 void *visitor, struct engine_feed *out_feed,
                                 const struct engine_context *context)
{
    struct local *local = local_of(engine);
    enum status status = local_has_writers(local);
    if (status == STATUS_OK)
        status =
            changes_run(&local->store, local->journal, after, visit, visitor, out_feed, context);
    if (status == STATUS_CORRUPT)
        tell_corrupt(local);
    return status;
}

static enum status local_wait(struct engine *engine, uint64_t sequence, uint64_t *out_sequence,
                              const struct engine_context *context)
{
    struct local *local = local_of(engine);
    if (!is_readable(local))
        return STATUS_LOADING;
    return published_wait(&local->store.published, sequence, out_sequence, local->options.time,
                          context);
}

/* ---- writing ---- */

static enum status writable(const struct local *local)
{
    enum status status = local_has_writers(local);
    if (status == STATUS_OK)
        status = maintenance_writable(local->maintenance);
    return status == STATUS_NO_MEMORY ? STATUS_OK : status; /* the budget decides by size */
}

/* Memory that memtables hold comes back by itself: then there is no room only for now. */
static enum status refuse_memory(struct local *local, uint64_t bytes)
{
    uint64_t limit = local->store.budget.limit;
    bool over_limit = budget_used(&local->store.budget) + bytes > limit;
    if (!over_limit || store_lasting_bytes(&local->store) + bytes > limit)
        return STATUS_NO_MEMORY;
    maintenance_wake_housekeeping(local->maintenance);
    return STATUS_BUSY;
}

static enum status local_value_open(struct engine *engine, struct bytes key, struct bytes meta,
                                    size_t capacity, struct engine_value **out_value)
{
    struct local *local = local_of(engine);
    const struct engine_limits *limits = &engine->limits;
    enum status status = writable(local);
    if (status != STATUS_OK)
        return status;
    if (key.size == 0 || key.size > limits->key_bytes_max || meta.size > limits->meta_bytes_max)
        return STATUS_INVALID;
    if (capacity > limits->value_bytes_max)
        return STATUS_TOO_LARGE;
    struct value *value;
    status = value_open(&local->store.budget, key, meta, capacity, &value);
    if (status == STATUS_OK)
        *out_value = &value->face;
    return status == STATUS_NO_MEMORY ? refuse_memory(local, capacity) : status;
}

static enum status local_value_grow(struct engine *engine, struct engine_value **value,
                                    size_t capacity)
{
    if (capacity > engine->limits.value_bytes_max)
        return STATUS_TOO_LARGE;
    struct value *inner = value_of_face(*value);
    enum status status = value_grow(&inner, capacity);
    *value = &inner->face;
    return status == STATUS_NO_MEMORY ? refuse_memory(local_of(engine), capacity) : status;
}

static void local_value_close(struct engine *engine, struct engine_value *value)
{
    (void)engine;
    value_close(value_of_face(value));
}

static bool grows(const struct engine_operation *operations, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (operations[i].type == ENGINE_PUT || operations[i].type == ENGINE_ADD)
            return true;
    return false;
}

/* A put had to ask for its room before; an addition asks here. */
static enum status has_memory(struct local *local, const struct engine_operation *operations,
                              uint32_t count)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < count; i++)
        if (operations[i].type == ENGINE_ADD)
            bytes += record_size(operations[i].key.size, 0, NUMBER_BYTES_MAX);
    bool is_full =
        bytes > 0 && budget_used(&local->store.budget) + bytes > local->store.budget.limit;
    return is_full ? refuse_memory(local, bytes) : STATUS_OK;
}

/* A full disk stops growth only: deletes go on in the room that puts had to leave. */
static enum status local_commit(struct engine *engine, struct engine_operation *operations,
                                uint32_t count, const struct engine_context *context)
{
    struct local *local = local_of(engine);
    enum status status = local_has_writers(local);
    if (status != STATUS_OK)
        return status;
    status = writable(local);
    if (status == STATUS_NO_SPACE && !grows(operations, count))
        status = STATUS_OK;
    if (status == STATUS_OK)
        status = has_memory(local, operations, count);
    if (status == STATUS_OK)
        status = commit_submit(local->commit, operations, count, context);
    if (status == STATUS_BUSY && maintenance_writable(local->maintenance) == STATUS_NO_SPACE)
        status = STATUS_NO_SPACE; /* it waited for a segment that cannot be made */
    return status;
}

/* ---- compaction ---- */

static enum status local_compact(struct engine *engine, uint64_t *out_id)
{
    struct local *local = local_of(engine);
    enum status status = local_has_writers(local);
    if (status != STATUS_OK)
        return status;
    if (maintenance_writable(local->maintenance) == STATUS_READ_ONLY)
        return STATUS_READ_ONLY;
    return compactor_start(local->compactor, out_id);
}

static enum status local_compaction_wait(struct engine *engine, uint64_t id,
                                         const struct engine_context *context)
{
    struct local *local = local_of(engine);
    enum status status = local_has_writers(local);
    return status == STATUS_OK ? compactor_wait(local->compactor, id, context) : status;
}

static enum status local_compactions(struct engine *engine, struct engine_compaction *out_rows,
                                     size_t capacity, size_t *out_count)
{
    struct local *local = local_of(engine);
    enum status status = local_has_writers(local);
    if (status != STATUS_OK)
        return status;
    *out_count = compactor_history(local->compactor, out_rows, capacity);
    return STATUS_OK;
}

/* ---- health and figures ---- */

static void local_health(struct engine *engine, struct engine_health *out_health)
{
    figures_health(local_of(engine), out_health);
}

static struct stats *local_stats(struct engine *engine)
{
    return figures_stats(local_of(engine));
}

/* ---- the face ---- */

static void local_close(struct engine *engine)
{
    struct local *local = local_of(engine);
    local_parts_close(local);
    free(local);
}

enum status local_open(const struct engine_options *options, struct disk *disk, bool threaded,
                       struct engine **out_engine, struct failure *failure)
{
    struct local *local = calloc(1, sizeof *local);
    if (local == NULL) {
        disk_close(disk);
        return failure_set(failure, STATUS_NO_MEMORY, "no memory for the engine");
    }
    local->face.operations = &local_engine_operations;
    local->options = *options;
    local->disk = disk;
    local->threaded = threaded;
    local->events = (struct event_sink){options->on_event, options->on_event_context};
    atomic_init(&local->state, LOCAL_LOADING);
    enum status status = local_parts_open(local, failure);
    if (status != STATUS_OK) {
        local_close(&local->face);
        return status;
    }
    *out_engine = &local->face;
    return STATUS_OK;
}

void local_housekeep(struct engine *engine)
{
    struct local *local = local_of(engine);
    maintenance_run(local->maintenance);
    compactor_run_due(local->compactor);
    reclaim_run(local->store.reclaim);
}

static enum status open_directory(const struct engine_options *options, const char *path,
                                  struct engine **out_engine, struct failure *failure)
{
    struct disk *disk;
    enum status status = disk_open(path, &disk, failure);
    if (status != STATUS_OK)
        return status;
    kill_disk_arm(disk);
    return local_open(options, disk, true, out_engine, failure);
}

static enum status verify_directory(const char *path,
                                    void (*on_finding)(void *context, const char *finding),
                                    void *context, struct engine_verification *out_verification,
                                    struct failure *failure)
{
    struct verify verify = {
        .on_finding = on_finding, .context = context, .found = out_verification};
    enum status status = disk_open_existing(path, &verify.disk, failure);
    if (status == STATUS_OK)
        status = verify_run(&verify, failure);
    disk_close(verify.disk);
    return status;
}

const struct engine_operations local_engine_operations = {
    .scheme = "file",
    .open = open_directory,
    .verify = verify_directory,
    .close = local_close,
    .get = local_get,
    .head = local_head,
    .scan = local_scan,
    .changes = local_changes,
    .wait = local_wait,
    .value_open = local_value_open,
    .value_grow = local_value_grow,
    .value_close = local_value_close,
    .commit = local_commit,
    .compact = local_compact,
    .compaction_wait = local_compaction_wait,
    .compactions = local_compactions,
    .health = local_health,
    .stats = local_stats,
};
