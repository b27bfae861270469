/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store whose files are the fuzzer's: one table and a journal, opened by the engine. The input is
 * what the manifest says (flags, flushed_sequence, durable_sequence: one byte each), the table's
 * bytes to leave (forged_table.h) and its size (two bytes), the table, then the frames of
 * forged_journal.h. Bits of the flags: 1 no table, 2 no journal, 4 interval mode when it was
 * written, 8 interval mode now, 16 everything is dumped at once.
 */
#include "../../engine/local/chain.h"
#include "../../engine/local/journal_reader.h"
#include "../../engine/local/local.h"
#include "../../engine/local/manifest.h"
#include "../../engine/local/table.h"
#include "../../engine/local/verify.h"
#include "../../engine/stats.h"
#include "../lib/crash_disk.h"
#include "../lib/forged_journal.h"
#include "../lib/forged_table.h"
#include "../lib/fuzz.h"
#include "../lib/manual_time.h"

enum flag { NO_TABLE = 1, NO_JOURNAL = 2, WAS_LAZY = 4, IS_LAZY = 8, DUMPS_OFTEN = 16 };

enum { TABLE_ID = 1, ROWS_MAX = 64, KEY_BYTES_MAX = 64, VALUE_BYTES_MAX = 200 };

/* The newest version of one key. */
struct row {
    unsigned char *key, *value;
    size_t key_bytes, value_bytes;
    uint64_t sequence;
    bool live;
};

struct store {
    unsigned flags;
    struct forged_table table;
    struct forged_journal journal;
    struct manifest manifest;
    struct crash_disk *crash;
    struct manual_time time;
    struct row rows[ROWS_MAX];
    size_t row_count;
    bool too_many; /* rows: what is missing may be anything */
};

/* ---- making the files ---- */

static void make_manifest(struct store *store)
{
    struct manifest_table listing = {.identity = store->table.identity};
    memcpy(store->manifest.uuid, forged_uuid, FORMAT_UUID_BYTES);
    store->manifest.epoch = 0x123456789abc;
    store->manifest.next_table_id = TABLE_ID + 1;
    store->manifest.journal_first = store->manifest.journal_kept = 1;
    store->manifest.next_journal_id = store->journal.count + 1;
    store->manifest.lazy = (store->flags & WAS_LAZY) != 0;
    if (store->table.bytes != NULL)
        assert_true(manifest_add(&store->manifest, &listing) == STATUS_OK);
}

static void make_table(struct store *store, struct fuzz_input *input)
{
    unsigned leave = fuzz_byte(input);
    size_t size = fuzz_number(input, 2);
    struct bytes content = fuzz_bytes(input, size);
    if ((store->flags & NO_TABLE) == 0)
        forged_table_make(&store->table, TABLE_ID, content, leave);
}

static void make_files(struct store *store, struct fuzz_input *input)
{
    *store = (struct store){.flags = fuzz_byte(input), .crash = crash_disk_open()};
    manual_time_init(&store->time);
    store->time.look_ns = 1000;
    store->manifest.flushed_sequence = fuzz_byte(input);
    store->manifest.durable_sequence = fuzz_byte(input);
    make_table(store, input);
    if ((store->flags & NO_JOURNAL) == 0)
        forged_journal_make(&store->journal, fuzz_bytes(input, input->size), 0);
    make_manifest(store);
    struct disk *disk = crash_disk_attach(store->crash);
    assert_true(manifest_write(disk, &store->manifest) == STATUS_OK);
    if (store->table.bytes != NULL)
        forged_table_write(&store->table, disk);
    forged_journal_write(&store->journal, disk);
    disk_close(disk);
}

static void store_done(struct store *store)
{
    for (size_t i = 0; i < store->row_count; i++) {
        free(store->rows[i].key);
        free(store->rows[i].value);
    }
    manifest_done(&store->manifest);
    forged_table_done(&store->table);
    forged_journal_done(&store->journal);
    crash_disk_close(store->crash);
}

/* ---- what a sound store must hold ---- */

static struct row *row_of(struct store *store, struct bytes key)
{
    for (size_t i = 0; i < store->row_count; i++)
        if (bytes_equal((struct bytes){store->rows[i].key, store->rows[i].key_bytes}, key))
            return &store->rows[i];
    if (store->row_count == ROWS_MAX) {
        store->too_many = true;
        return NULL;
    }
    struct row *row = &store->rows[store->row_count++];
    row->key = fuzz_copy(key);
    row->key_bytes = key.size;
    return row;
}

static void note_record(struct store *store, const struct record *record)
{
    struct row *row = row_of(store, record_key(record));
    if (row == NULL || row->sequence > record->sequence)
        return;
    struct bytes value = record_value(record);
    int64_t now_ms = store->time.source.wall_ms(&store->time.source);
    free(row->value);
    row->value = fuzz_copy(value);
    row->value_bytes = value.size;
    row->sequence = record->sequence;
    row->live = record_is_live(record, now_ms);
}

static void note_table(struct store *store, struct disk *disk)
{
    struct table *table;
    struct table_cursor cursor;
    if (store->table.bytes == NULL)
        return;
    assert_true(table_open(disk, forged_uuid, &store->table.identity, &table, NULL) == STATUS_OK);
    table_cursor_init(&cursor, table);
    while (table_cursor_next(&cursor) == STATUS_OK)
        note_record(store, (const struct record *)(store->table.bytes + cursor.entry.offset));
    table_cursor_done(&cursor);
    table_close(table);
}

static void note_frame(struct store *store, const struct journal_frame *frame)
{
    uint64_t position = 0;
    const struct record *record;
    if (frame->header.records == 0) /* a mark */
        return;
    while (journal_frame_record(frame, &position, &record) == STATUS_OK && record != NULL)
        if (record->sequence > store->manifest.flushed_sequence)
            note_record(store, record);
}

static void note_segment(struct store *store, const struct chain_segment *found)
{
    struct journal_reader reader;
    struct journal_frame frame;
    journal_reader_init(&reader, found->segment);
    reader.end = found->end;
    while (journal_reader_next(&reader, &frame) == STATUS_OK)
        note_frame(store, &frame);
    journal_reader_done(&reader);
}

static void note_journal(struct store *store, struct disk *disk)
{
    struct chain chain = {0};
    struct chain_place place;
    assert_true(chain_open(&chain, disk, &store->manifest, &place, NULL) == STATUS_OK);
    for (size_t i = 0; i < chain.count; i++)
        if (chain.segments[i].used)
            note_segment(store, &chain.segments[i]);
    chain_close(&chain);
}

static void check_get(struct engine *engine, const struct row *row)
{
    struct engine_item item = {0};
    enum status status = engine_get(engine, (struct bytes){row->key, row->key_bytes}, &item);
    assert_true(status == (row->live ? STATUS_OK : STATUS_NOT_FOUND));
    if (status != STATUS_OK)
        return;
    assert_true(item.version.sequence == row->sequence);
    assert_true(bytes_equal(item.value, (struct bytes){row->value, row->value_bytes}));
    engine_item_done(&item);
}

static void check_rows(const struct store *store, struct engine *engine)
{
    for (size_t i = 0; i < store->row_count; i++)
        check_get(engine, &store->rows[i]);
}

/* ---- opening, and going on ---- */

static void note_finding(void *context, const char *finding)
{
    (void)context;
    assert_true(strstr(finding, ": offset ") != NULL);
}

static bool is_sound(struct disk *disk)
{
    struct engine_verification found = {0};
    struct failure failure = {0};
    struct verify verify = {.disk = disk, .on_finding = note_finding, .found = &found};
    enum status status = verify_run(&verify, &failure);
    assert_true(status == STATUS_OK || (status == STATUS_CORRUPT_LOG && found.findings > 0));
    return status == STATUS_OK;
}

static enum status open_engine(struct store *store, struct engine **out_engine,
                               struct failure *failure)
{
    struct engine_options options = engine_options_default();
    options.durability_interval_ms = (store->flags & IS_LAZY) != 0 ? 100 : 0;
    options.key_bytes_max = KEY_BYTES_MAX;
    options.meta_bytes_max = 16;
    options.batch_operations_max = 1;
    options.value_bytes_max = VALUE_BYTES_MAX;
    options.memory_bytes_max = 64 << 20;
    options.memtable_bytes = (store->flags & DUMPS_OFTEN) != 0 ? 1 : 1 << 20;
    options.journal_segment_bytes = 0; /* as small as it goes */
    options.reserve_bytes = options.ballast_bytes = 0;
    options.time = &store->time.source;
    return local_open(&options, crash_disk_attach(store->crash), false, out_engine, failure);
}

/* Room comes by housekeeping, which only this thread does. */
static void commit(struct store *store, struct engine *engine, struct engine_operation *operation)
{
    const struct time_source *source = &store->time.source;
    enum status status = STATUS_BUSY;
    for (int i = 0; i < 10 && status == STATUS_BUSY; i++) {
        struct engine_context context = {source->monotonic_ns(source) + 1000000, NULL};
        status = engine_commit(engine, operation, 1, &context);
        local_housekeep(engine);
    }
    assert_true(status == STATUS_OK);
}

static struct engine_version put(struct store *store, struct engine *engine)
{
    struct engine_operation operation = {
        .type = ENGINE_PUT, .key = bytes_of("a key that no input has, so that it is new")};
    assert_true(engine_value_open(engine, operation.key, (struct bytes){NULL, 0}, 3,
                                  &operation.value) == STATUS_OK);
    memcpy(operation.value->data, "new", 3);
    operation.value->size = 3;
    commit(store, engine, &operation);
    return operation.version;
}

/* Writes, dumps, compacts; then all is as before, but for what was written. */
static void go_on(struct store *store, struct engine *engine)
{
    struct engine_version first = put(store, engine);
    for (int i = 0; i < 4; i++) {
        manual_time_advance_ms(&store->time, 1000);
        local_housekeep(engine);
    }
    struct engine_version second = put(store, engine);
    uint64_t expired = stats_read(engine_stats(engine), STATS_expired); /* each is a delete */
    assert_true(second.epoch == first.epoch && second.sequence > first.sequence &&
                second.sequence <= first.sequence + 1 + expired);
    for (size_t i = 0; i < store->row_count; i++)
        assert_true(store->rows[i].sequence < first.sequence);
}

static void reopen(struct store *store)
{
    struct engine *engine;
    struct failure failure = {0};
    struct disk *disk = crash_disk_attach(store->crash);
    assert_true(is_sound(disk));
    disk_close(disk);
    assert_true(open_engine(store, &engine, &failure) == STATUS_OK);
    if (!store->too_many)
        check_rows(store, engine);
    engine_close(engine);
}

static void store_is_recovered(struct fuzz_input *input)
{
    struct store store;
    struct engine *engine;
    struct failure failure = {0};
    make_files(&store, input);
    struct disk *disk = crash_disk_attach(store.crash);
    bool sound = is_sound(disk);
    if (sound) {
        note_table(&store, disk);
        note_journal(&store, disk);
    }
    disk_close(disk);
    enum status status = open_engine(&store, &engine, &failure);
    if (status == STATUS_OK) {
        if (!store.too_many)
            check_rows(&store, engine);
        if (sound)
            go_on(&store, engine);
        engine_close(engine);
        if (sound)
            reopen(&store);
    } else {
        assert_true(!sound && failure.message[0] != '\0');
        assert_true(status == STATUS_CORRUPT_LOG || status == STATUS_FORMAT);
    }
    store_done(&store);
}

FUZZ_TARGET("fuzz_recovery",
            "what verifying finds good opens, gives the newest of every key, and goes on working",
            store_is_recovered)
