/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the embedded engine, opened in order and closed in reverse. */
#include "parts.h"

#include "../../engine/local/recovery.h"
#include "held_disk.h"
#include "test.h"

static void check(enum status status)
{
    if (status == STATUS_OK)
        return;
    fprintf(stderr, "parts: %s\n", status_text(status));
    abort();
}

static void set_defaults(struct parts_options *options)
{
    if (options->memory_bytes == 0)
        options->memory_bytes = 1 << 30;
    if (options->memtable_bytes == 0)
        options->memtable_bytes = 1 << 30;
    if (options->segment_bytes == 0)
        options->segment_bytes = 20 << 20;
    if (options->queue_bytes_max == 0)
        options->queue_bytes_max = 32 << 20;
    if (options->rotate_wait_ms == 0)
        options->rotate_wait_ms = 10000;
}

static enum status unseal(void *context)
{
    struct parts *parts = context;
    return parts->maintenance != NULL ? maintenance_unseal(parts->maintenance) : STATUS_READ_ONLY;
}

static void on_frozen(void *context)
{
    struct parts *parts = context;
    if (parts->maintenance != NULL)
        maintenance_wake_dump(parts->maintenance);
}

static void open_commit(struct parts *parts)
{
    parts->limits = (struct engine_limits){
        .key_bytes_max = 1024,
        .meta_bytes_max = 1024,
        .batch_operations_max = GROUP_OPERATIONS_MAX,
        .value_bytes_max = 16 << 20,
    };
    struct commit_options commit = {
        .store = &parts->store,
        .journal = parts->journal,
        .limits = &parts->limits,
        .sync = !parts->options.lazy,
        .queue_bytes_max = parts->options.queue_bytes_max,
        .rotate_wait_ns = parts->options.rotate_wait_ms * 1000000,
        .unseal = unseal,
        .on_frozen = on_frozen,
        .context = parts,
    };
    check(commit_open(&commit, &parts->commit));
    catalog_init(&parts->catalog, parts->disk, &parts->manifest);
    struct dump_options dump = {
        .store = &parts->store,
        .journal = parts->journal,
        .catalog = &parts->catalog,
        .lazy = parts->options.lazy,
    };
    check(dump_open(&dump, &parts->dump));
    struct maintenance_options maintenance = {
        .disk = parts->disk,
        .store = &parts->store,
        .journal = parts->journal,
        .commit = parts->commit,
        .dump = parts->dump,
        .sync_interval_ms = parts->options.lazy ? 20 : 0,
        .segment_bytes = parts->options.segment_bytes,
    };
    if (!parts->options.no_housekeeping)
        check(maintenance_open(&maintenance, true, &parts->maintenance));
}

enum status parts_recover(struct parts *parts, struct failure *failure)
{
    static const atomic_bool not_closing;
    parts->disk = held_disk_open(parts->path);
    parts->stats = stats_open();
    check(store_init(&parts->store, parts->options.memory_bytes, parts->options.memtable_bytes,
                     parts->stats, time_source_system(), true));
    enum status status = manifest_read(parts->disk, &parts->manifest, failure);
    if (status == STATUS_NOT_FOUND) {
        manifest_init(&parts->manifest);
        status = manifest_write(parts->disk, &parts->manifest);
    }
    check(status);
    struct recovery recovery = {
        .disk = parts->disk,
        .manifest = &parts->manifest,
        .store = &parts->store,
        .journal = {.disk = parts->disk,
                    .lazy = parts->options.lazy,
                    .segment_bytes = parts->options.segment_bytes,
                    .first_segment_bytes = parts->options.segment_bytes,
                    .time = time_source_system(),
                    .stats = parts->stats},
        .closing = &not_closing,
        .threads = 1,
    };
    memcpy(recovery.journal.uuid, parts->manifest.uuid, FORMAT_UUID_BYTES);
    status = recovery_replay(&recovery, failure);
    if (status == STATUS_OK)
        status = recovery_begin_journal(&recovery, &parts->journal, failure);
    recovery_done(&recovery);
    if (status == STATUS_OK)
        open_commit(parts);
    return status;
}

void parts_open(struct parts *parts, const struct parts_options *options)
{
    struct failure failure = {0};
    *parts = (struct parts){.options = *options, .path = test_directory_make()};
    set_defaults(&parts->options);
    check(parts_recover(parts, &failure));
}

/* Nothing is being received or sent: all that is charged must be what the store holds. */
static void check_accounts(const struct store *store)
{
    uint64_t held = keymap_bytes(store->keymap) + entry_pool_bytes(store->entries) +
                    memtable_bytes(store->memtable);
    assert_int_equal(budget_used(&store->budget), held);
}

void parts_stop(struct parts *parts)
{
    maintenance_close(parts->maintenance);
    reclaim_run(parts->store.reclaim);
    check_accounts(&parts->store);
    store_done(&parts->store);
    commit_close(parts->commit);
    dump_close(parts->dump);
    journal_close(parts->journal);
    catalog_done(&parts->catalog);
    manifest_done(&parts->manifest);
    disk_close(parts->disk);
    stats_close(parts->stats);
    parts->maintenance = NULL;
    parts->commit = NULL;
    parts->dump = NULL;
    parts->journal = NULL;
}

void parts_close(struct parts *parts)
{
    parts_stop(parts);
    test_directory_remove(parts->path);
}

/* ---- one operation ---- */

struct engine_context parts_patience(void)
{
    const struct time_source *time = time_source_system();
    return (struct engine_context){time->monotonic_ns(time) + UINT64_C(60000000000), NULL};
}

struct engine_operation parts_put_operation(struct parts *parts, struct bytes key, size_t size,
                                            int fill)
{
    struct value *value;
    check(value_open(&parts->store.budget, key, (struct bytes){NULL, 0}, size, &value));
    memset(value->face.data, fill, size);
    value->face.size = size;
    return (struct engine_operation){.type = ENGINE_PUT, .key = key, .value = &value->face};
}

enum status parts_commit(struct parts *parts, struct engine_operation *operations, uint32_t count,
                         const struct engine_context *context)
{
    struct engine_context patience = parts_patience();
    enum status status =
        commit_submit(parts->commit, operations, count, context != NULL ? context : &patience);
    for (uint32_t i = 0; i < count; i++)
        if (operations[i].type == ENGINE_PUT && operations[i].value != NULL)
            value_close(value_of_face(operations[i].value));
    return status;
}

enum status parts_put_sized(struct parts *parts, const char *key, size_t value_bytes)
{
    struct engine_operation put = parts_put_operation(parts, bytes_of(key), value_bytes, 'v');
    return parts_commit(parts, &put, 1, NULL);
}

enum status parts_put(struct parts *parts, const char *key, const char *value)
{
    struct engine_operation put = parts_put_operation(parts, bytes_of(key), strlen(value), 0);
    memcpy(put.value->data, value, strlen(value));
    return parts_commit(parts, &put, 1, NULL);
}

enum status parts_delete(struct parts *parts, const char *key)
{
    struct engine_operation operation = {.type = ENGINE_DELETE, .key = bytes_of(key)};
    return parts_commit(parts, &operation, 1, NULL);
}

uint64_t parts_version(struct parts *parts, const char *key)
{
    struct engine_item item;
    enum status status = store_get(&parts->store, bytes_of(key), false, &item);
    if (status == STATUS_NOT_FOUND)
        return 0;
    check(status);
    uint64_t sequence = item.version.sequence;
    engine_item_done(&item);
    return sequence;
}

bool parts_has(struct parts *parts, const char *key, const char *value)
{
    struct engine_item item;
    if (store_get(&parts->store, bytes_of(key), true, &item) != STATUS_OK)
        return false;
    bool same = bytes_equal(item.value, bytes_of(value));
    engine_item_done(&item);
    return same;
}
