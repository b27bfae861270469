/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the embedded engine, opened in order and closed in reverse. */
#include "parts.h"

#include <unistd.h>

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
        options->segment_bytes = options->crash != NULL ? 1 << 20 : 20 << 20;
    if (options->queue_bytes_max == 0)
        options->queue_bytes_max = 32 << 20;
    if (options->rotate_wait_ms == 0)
        options->rotate_wait_ms = 10000;
    if (options->output_bytes_max == 0)
        options->output_bytes_max = 256 << 20;
    if (options->load_threads == 0)
        options->load_threads = 1;
}

static uint64_t standing_ns(const struct time_source *source)
{
    (void)source;
    return 1000000000;
}

static int64_t standing_ms(const struct time_source *source)
{
    (void)source;
    return 1700000000000;
}

static const struct time_source *time_of(const struct parts *parts)
{
    static const struct time_source standing = {standing_ns, standing_ms};
    if (parts->options.time != NULL)
        return parts->options.time;
    return parts->options.crash != NULL ? &standing : time_source_system();
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

static uint64_t free_bytes(void *context)
{
    const struct parts *parts = context;
    return parts->free_bytes;
}

static void on_uncertain(void *context)
{
    struct parts *parts = context;
    parts->uncertain++;
}

static void open_compaction(struct parts *parts)
{
    parts->compaction = (struct compaction_options){
        .store = &parts->store,
        .journal = parts->journal,
        .catalog = &parts->catalog,
        .lazy = parts->options.lazy,
        .output_bytes_max = parts->options.output_bytes_max,
        .bytes_per_second_max = parts->options.bytes_per_second_max,
    };
    struct sweep_options sweep = {.store = &parts->store,
                                  .commit = parts->commit,
                                  .operations_max = parts->limits.batch_operations_max};
    check(sweep_open(&sweep, &parts->sweep));
    struct compactor_options compactor = {
        .compaction = parts->compaction,
        .sweep = parts->sweep,
        .interval_ms = 24 * 3600 * 1000,
        .free_bytes = free_bytes,
        .on_uncertain = on_uncertain,
        .context = parts,
    };
    parts->free_bytes = UINT64_C(1) << 40;
    check(compactor_open(&compactor, parts->options.with_compactor, &parts->compactor));
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
        check(maintenance_open(&maintenance, &parts->maintenance));
    open_compaction(parts);
    if (parts->maintenance != NULL && parts->options.crash == NULL)
        check(maintenance_start(parts->maintenance));
}

enum status parts_recover(struct parts *parts, struct failure *failure)
{
    static const atomic_bool not_closing;
    parts->disk = parts->options.crash != NULL ? crash_disk_attach(parts->options.crash)
                                               : held_disk_open(parts->path);
    parts->stats = stats_open();
    check(store_init(&parts->store, parts->options.memory_bytes, parts->options.memtable_bytes,
                     parts->stats, time_of(parts), parts->options.crash == NULL));
    enum status status = manifest_read(parts->disk, &parts->manifest, failure);
    if (status == STATUS_NOT_FOUND) {
        manifest_init(&parts->manifest);
        status = manifest_write(parts->disk, &parts->manifest);
    }
    if (status != STATUS_OK)
        return status;
    struct recovery recovery = {
        .disk = parts->disk,
        .manifest = &parts->manifest,
        .store = &parts->store,
        .journal = {.disk = parts->disk,
                    .lazy = parts->options.lazy,
                    .segment_bytes = parts->options.segment_bytes,
                    .first_segment_bytes = parts->options.segment_bytes,
                    .time = time_of(parts),
                    .stats = parts->stats},
        .closing = &not_closing,
        .threads = parts->options.load_threads,
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
    *parts = (struct parts){.options = *options};
    if (options->crash == NULL)
        parts->path = test_directory_make();
    set_defaults(&parts->options);
    check(parts_recover(parts, &failure));
}

static uint64_t held_bytes(struct store *store)
{
    uint64_t held = keymap_bytes(store->keymap) + entry_pool_bytes(store->entries);
    const struct view *view = views_pin(&store->views);
    for (size_t i = 0; i < view->memtable_count; i++)
        held += memtable_bytes(view->memtables[i]);
    view_unpin(view);
    return held;
}

/* Nothing is being received or sent: all that is charged must be what the store holds, once the
 * reclaimer has freed what it has in hand. */
static void check_accounts(struct store *store)
{
    for (int tries = 0; tries < 10000 && budget_used(&store->budget) != held_bytes(store); tries++)
        usleep(1000);
    assert_int_equal(budget_used(&store->budget), held_bytes(store));
}

void parts_stop(struct parts *parts)
{
    compactor_close(parts->compactor);
    sweep_close(parts->sweep);
    maintenance_close(parts->maintenance);
    if (parts->store.reclaim != NULL) {
        reclaim_run(parts->store.reclaim);
        check_accounts(&parts->store);
    }
    store_done(&parts->store);
    commit_close(parts->commit);
    dump_close(parts->dump);
    journal_close(parts->journal);
    catalog_done(&parts->catalog);
    manifest_done(&parts->manifest);
    disk_close(parts->disk);
    stats_close(parts->stats);
    parts->compactor = NULL;
    parts->sweep = NULL;
    parts->maintenance = NULL;
    parts->commit = NULL;
    parts->dump = NULL;
    parts->journal = NULL;
}

void parts_close(struct parts *parts)
{
    parts_stop(parts);
    if (parts->path != NULL)
        test_directory_remove(parts->path);
}

/* ---- tables ---- */

static enum status freeze(void *context)
{
    return store_freeze(context);
}

enum status parts_dump(struct parts *parts)
{
    enum status status = commit_alone(parts->commit, freeze, &parts->store);
    while (status == STATUS_OK)
        status = dump_oldest(parts->dump);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status run_compaction(struct parts *parts, const struct view *view,
                                  const struct victims *victims)
{
    return compaction_run(&parts->compaction, view, victims, &parts->closing, &parts->progress);
}

enum status parts_compact(struct parts *parts, enum victims_mode mode)
{
    const struct view *view = views_pin_tables(&parts->store.views);
    struct victims victims;
    check(victims_pick(view, mode, UINT64_MAX, UINT64_MAX / 4, &victims));
    enum status status =
        victims.count > 0 ? run_compaction(parts, view, &victims) : STATUS_NOT_FOUND;
    victims_done(&victims);
    view_unpin(view);
    return status;
}

enum status parts_compact_tables(struct parts *parts, const uint64_t *ids, size_t count)
{
    const struct view *view = views_pin_tables(&parts->store.views);
    struct victims victims = {.tables = calloc(count, sizeof(struct table *))};
    for (size_t i = 0; i < view->table_count; i++)
        for (size_t j = 0; j < count; j++)
            if (view->tables[i]->identity.id == ids[j]) {
                victims.tables[victims.count++] = view->tables[i];
                victims.live_bytes += view->tables[i]->live_bytes;
            }
    assert_int_equal(victims.count, count);
    enum status status = run_compaction(parts, view, &victims);
    victims_done(&victims);
    view_unpin(view);
    return status;
}

struct table *parts_table(struct parts *parts, uint64_t id)
{
    const struct view *view = views_pin(&parts->store.views);
    struct table *found = NULL;
    for (size_t i = 0; i < view->table_count; i++)
        if (view->tables[i]->identity.id == id)
            found = view->tables[i];
    view_unpin(view);
    return found;
}

size_t parts_table_count(struct parts *parts)
{
    const struct view *view = views_pin(&parts->store.views);
    size_t count = view->table_count;
    view_unpin(view);
    return count;
}

size_t parts_memtable_count(struct parts *parts)
{
    const struct view *view = views_pin(&parts->store.views);
    size_t count = view->memtable_count;
    view_unpin(view);
    return count;
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
    if (parts->options.crash != NULL && journal_prepare_is_due(parts->journal))
        check(journal_prepare(parts->journal));
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

enum status parts_read(struct parts *parts, const char *key)
{
    struct engine_item item;
    enum status status = store_get(&parts->store, bytes_of(key), true, &item);
    if (status == STATUS_OK)
        engine_item_done(&item);
    return status;
}
