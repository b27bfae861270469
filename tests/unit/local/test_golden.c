/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Data directories as earlier programs left them, one per format and durability mode: whatever is
 * built today must read them, key by key. They lie in tests/golden/ and are never made again; a new
 * format gets directories of its own, by KEYREST_GOLDEN_MAKE=DIRECTORY and this program.
 *
 * Each holds: dumped and compacted tables with tombstones, keys that are only in the journal, a
 * deleted key whose older version lies in a table, kept headers, an expiry, values of many sizes.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../../engine/local/local.h"
#include "../../../engine/stats.h"
#include "../../lib/manual_time.h"
#include "../../lib/test.h"

enum { FAR_FUTURE_MS = 1 << 30 };

/* What the writes below leave behind. */
struct row {
    const char *key;
    const char *meta;
    uint64_t sequence; /* 0: absent */
    size_t size;
    int fill;
    int64_t expires_ms;
};

static const struct row rows[] = {
    {"absent", NULL, 0, 0, 0, 0},
    {"brought back", "", 21, 70, 'B', 0},
    {"compacted", "text/plain", 2, 600, 'c', 0},
    {"deleted after its dump", NULL, 0, 0, 0, 0},
    {"deleted in the journal", NULL, 0, 0, 0, 0},
    {"deleted, its tombstone dumped", NULL, 0, 0, 0, 0},
    {"empty", "", 5, 0, 0, 0},
    {"expires", "", 6, 30, 'e', FAR_FUTURE_MS *INT64_C(3000)},
    {"key with \xc3\xa4 and / and \x01", "", 7, 100, 'k', 0},
    {"large", "application/octet-stream", 8, 9000, 'l', 0},
    {"overwritten in the journal", "new", 22, 80, 'O', 0},
    {"overwritten in a table", "", 14, 90, 'T', 0},
    {"only in the journal", "headers", 23, 500, 'j', 0},
    {"together 1", "", 24, 11, '1', 0},
    {"together 2", "", 25, 12, '2', 0},
};

static char *source_path(const char *mode)
{
    char *path;
    if (asprintf(&path, "tests/golden/format-1/%s", mode) < 0)
        abort();
    return path;
}

/* ---- files ---- */

static void copy_file(const char *from, const char *to, const char *name)
{
    char source[400], target[400], buffer[4096];
    snprintf(source, sizeof source, "%s/%s", from, name);
    snprintf(target, sizeof target, "%s/%s", to, name);
    FILE *in = fopen(source, "rb"), *out = fopen(target, "wb");
    assert_true(in != NULL && out != NULL);
    for (size_t got; (got = fread(buffer, 1, sizeof buffer, in)) > 0;)
        assert_int_equal(fwrite(buffer, 1, got, out), got);
    fclose(in);
    assert_int_equal(fclose(out), 0);
}

static void copy_files(const char *from, const char *to)
{
    DIR *directory = opendir(from);
    if (directory == NULL)
        fail_msg("%s is not there: run this from the root of the tree", from);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        if (entry->d_name[0] != '.')
            copy_file(from, to, entry->d_name);
    closedir(directory);
}

/* ---- the engine ---- */

static struct engine *open_store(const char *path, const struct manual_time *time,
                                 uint64_t interval_ms, uint64_t memtable_bytes)
{
    struct engine_options options = engine_options_default();
    options.durability_interval_ms = interval_ms;
    options.key_bytes_max = 64;
    options.meta_bytes_max = 64;
    options.batch_operations_max = 4;
    options.value_bytes_max = 12 << 10;
    options.journal_segment_bytes = 1; /* as small as may be */
    options.memtable_bytes = memtable_bytes;
    options.reserve_bytes = 0;
    options.ballast_bytes = 0;
    options.time = &time->source;
    struct disk *disk;
    struct engine *engine;
    struct failure failure = {0};
    assert_int_equal(disk_open(path, &disk, &failure), STATUS_OK);
    if (local_open(&options, disk, false, &engine, &failure) != STATUS_OK)
        fail_msg("%s", failure.message);
    return engine;
}

static void check_row(struct engine *engine, const struct row *row, uint64_t epoch)
{
    struct engine_item item;
    enum status status = engine_get(engine, bytes_of(row->key), &item);
    assert_int_equal(status, row->sequence != 0 ? STATUS_OK : STATUS_NOT_FOUND);
    if (status != STATUS_OK)
        return;
    assert_int_equal(item.version.sequence, row->sequence);
    assert_int_equal(item.version.epoch, epoch);
    assert_int_equal(item.expires_ms, row->expires_ms);
    assert_true(bytes_equal(item.meta, bytes_of(row->meta)));
    assert_int_equal(item.value.size, row->size);
    for (size_t i = 0; i < row->size; i++)
        assert_int_equal(((const char *)item.value.data)[i], row->fill);
    engine_item_done(&item);
}

static void check_rows(struct engine *engine)
{
    struct engine_health health;
    engine_health(engine, &health);
    assert_int_equal(health.state, ENGINE_READY);
    assert_int_equal(health.sequence, 27);
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        check_row(engine, &rows[i], health.epoch);
    size_t present = 0;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        present += rows[i].sequence != 0;
    assert_int_equal(stats_read(engine_stats(engine), STATS_keys), present);
}

/* ---- writing ---- */

static struct engine_operation put_of(struct engine *engine, const char *key, const char *meta,
                                      size_t size, int fill, int64_t expires_ms)
{
    struct engine_value *value;
    assert_int_equal(engine_value_open(engine, bytes_of(key), bytes_of(meta), size, &value),
                     STATUS_OK);
    memset(value->data, fill, size);
    value->size = size;
    return (struct engine_operation){
        .type = ENGINE_PUT, .key = bytes_of(key), .expires_ms = expires_ms, .value = value};
}

static void commit(struct engine *engine, struct engine_operation *operations, uint32_t count)
{
    const struct time_source *time = time_source_system();
    struct engine_context context = {time->monotonic_ns(time) + UINT64_C(60000000000), NULL};
    assert_int_equal(engine_commit(engine, operations, count, &context), STATUS_OK);
}

static void put(struct engine *engine, const char *key, const char *meta, size_t size, int fill)
{
    struct engine_operation operation = put_of(engine, key, meta, size, fill, 0);
    commit(engine, &operation, 1);
}

static void delete_key(struct engine *engine, const char *key)
{
    struct engine_operation operation = {.type = ENGINE_DELETE, .key = bytes_of(key)};
    commit(engine, &operation, 1);
}

/* Everything in memory becomes a table, by filling the memtable. */
static void fill_up(struct engine *engine, const char *key)
{
    put(engine, key, "", 11000, '.');
    local_housekeep(engine);
    delete_key(engine, key);
}

static void write_store(struct engine *engine)
{
    put(engine, "deleted after its dump", "", 40, 'x');
    put(engine, "compacted", "text/plain", 600, 'c');
    put(engine, "overwritten in the journal", "old", 40, 'x');
    put(engine, "overwritten in a table", "", 40, 'x');
    put(engine, "empty", "", 0, 0);
    struct engine_operation expiring =
        put_of(engine, "expires", "", 30, 'e', FAR_FUTURE_MS * INT64_C(3000));
    commit(engine, &expiring, 1);
    put(engine, "key with \xc3\xa4 and / and \x01", "", 100, 'k');
    put(engine, "large", "application/octet-stream", 9000, 'l');
    put(engine, "deleted, its tombstone dumped", "", 40, 'x');
    put(engine, "deleted in the journal", "", 40, 'x');
    put(engine, "brought back", "", 40, 'x');
    fill_up(engine, "filling"); /* 12, 13 */
    put(engine, "overwritten in a table", "", 90, 'T');
    delete_key(engine, "deleted, its tombstone dumped");
    delete_key(engine, "deleted after its dump");
    delete_key(engine, "brought back");
    put(engine, "again", "", 11000, '.'); /* 18: this one fills up, too */
    local_housekeep(engine);
    delete_key(engine, "again"); /* 19 */
    delete_key(engine, "deleted in the journal");
    put(engine, "brought back", "", 70, 'B');
    put(engine, "overwritten in the journal", "new", 80, 'O');
    put(engine, "only in the journal", "headers", 500, 'j');
    struct engine_operation together[] = {put_of(engine, "together 1", "", 11, '1', 0),
                                          put_of(engine, "together 2", "", 12, '2', 0)};
    commit(engine, together, 2);
    put(engine, "short-lived", "", 5, 's');
    delete_key(engine, "short-lived"); /* 27 */
}

/* `always` as a kill leaves it, `interval` as a close does. */
static void make(const char *target, const char *mode, uint64_t interval_ms)
{
    struct manual_time time;
    char *path = test_directory_make(), copy[400];
    manual_time_init(&time);
    snprintf(copy, sizeof copy, "%s/%s", target, mode);
    assert_int_equal(mkdir(copy, 0755), 0);
    struct engine *engine = open_store(path, &time, interval_ms, 10000);
    write_store(engine);
    check_rows(engine);
    if (interval_ms == 0)
        copy_files(path, copy);
    engine_close(engine);
    if (interval_ms != 0)
        copy_files(path, copy);
    test_directory_remove(path);
}

/* ---- promises ---- */

static void fail_on_finding(void *context, const char *finding)
{
    (void)context;
    fail_msg("%s", finding);
}

static void check_by_verifying(const char *path, uint64_t tables)
{
    char url[400];
    struct engine_verification verification;
    struct failure failure = {0};
    snprintf(url, sizeof url, "file:%s", path);
    if (engine_verify(url, fail_on_finding, NULL, &verification, &failure) != STATUS_OK)
        fail_msg("%s", failure.message);
    assert_int_equal(verification.tables, tables);
    assert_true(verification.journal_records > 0);
}

static void is_read_key_by_key(const char *mode, uint64_t interval_ms)
{
    struct manual_time time;
    char *source = source_path(mode), *path = test_directory_make();
    manual_time_init(&time);
    copy_files(source, path);
    check_by_verifying(path, 3);
    for (int round = 0; round < 3; round++) {
        struct engine *engine = open_store(path, &time, interval_ms, 64 << 20);
        check_rows(engine);
        uint64_t id;
        assert_int_equal(engine_compact(engine, &id), STATUS_OK);
        local_housekeep(engine);
        check_rows(engine);
        engine_close(engine);
    }
    test_directory_remove(path);
    free(source);
}

static void format_1_is_read_as_a_kill_left_it(void **state)
{
    (void)state;
    is_read_key_by_key("always", 0);
}

static void format_1_is_read_as_a_close_in_interval_mode_left_it(void **state)
{
    (void)state;
    is_read_key_by_key("interval", 50);
}

static void format_1_is_read_in_the_other_mode(void **state)
{
    (void)state;
    is_read_key_by_key("always", 50);
    is_read_key_by_key("interval", 0);
}

static void what_is_written_today_reads_the_same(void **state)
{
    (void)state;
    struct manual_time time;
    char *path = test_directory_make();
    manual_time_init(&time);
    struct engine *engine = open_store(path, &time, 0, 10000);
    write_store(engine);
    check_rows(engine);
    engine_close(engine);
    check_by_verifying(path, 3);
    engine = open_store(path, &time, 0, 10000);
    check_rows(engine);
    engine_close(engine);
    test_directory_remove(path);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("format 1 is read as a kill left it", format_1_is_read_as_a_kill_left_it),
        TEST("format 1 is read as a close in interval mode left it",
             format_1_is_read_as_a_close_in_interval_mode_left_it),
        TEST("format 1 is read in the other mode", format_1_is_read_in_the_other_mode),
        TEST("what is written today reads the same", what_is_written_today_reads_the_same),
    };
    const char *target = getenv("KEYREST_GOLDEN_MAKE");
    if (target == NULL)
        return test_main(argc, argv, "golden", tests);
    make(target, "always", 0);
    make(target, "interval", 50);
    return 0;
}
