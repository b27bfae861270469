/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine without memory: the first, second, ... allocation of a call fails until the call runs
 * without a failure. Each time it says so, nothing has changed, nothing is lost and nothing stays
 * charged. Linked with --wrap, so that the sanitizers' allocators stay in place and find leaks.
 */
#include "../../../engine/local/local.h"
#include "../../../engine/local/local_parts.h"
#include "../../../engine/stats.h"
#include "../../lib/manual_time.h"
#include "../../lib/test.h"

/* ---- the allocator ---- */

static size_t left; /* allocations that go well before one fails */
static bool armed, failed;

static bool must_fail(void)
{
    if (!armed || left-- > 0)
        return false;
    armed = false;
    failed = true;
    return true;
}

#define WRAP(name, parameters, arguments, may_fail)                                                \
    void *__real_##name parameters;                                                                \
    void *__wrap_##name parameters;                                                                \
    void *__wrap_##name parameters                                                                 \
    {                                                                                              \
        return (may_fail) && must_fail() ? NULL : __real_##name arguments;                         \
    }

/* A thread's epoch record is exempt: without one it cannot read, and the process ends. */
enum { EPOCH_RECORD_BYTES_MAX = 512 };

WRAP(malloc, (size_t size), (size), true)
WRAP(calloc, (size_t count, size_t size), (count, size), true)
WRAP(realloc, (void *pointer, size_t size), (pointer, size), true)
WRAP(aligned_alloc, (size_t alignment, size_t size), (alignment, size),
     size > EPOCH_RECORD_BYTES_MAX)

static void arm(size_t successes)
{
    left = successes;
    failed = false;
    armed = true;
}

/* Whether an allocation has failed since arm(). */
static bool disarm(void)
{
    armed = false;
    return failed;
}

/* ---- an engine in one thread ---- */

struct fixture {
    char *path;
    uint64_t interval_ms; /* 0: always durable */
    struct manual_time time;
    struct engine *engine;
};

enum { VALUE_BYTES_MAX = 200000, BATCH = 3, MEMTABLE_BYTES = 128 << 10, RETRY_MS = 6000 };

static enum status open_engine(struct fixture *fixture)
{
    struct engine_options options = engine_options_default();
    options.url = "file:";
    options.value_bytes_max = VALUE_BYTES_MAX;
    options.batch_operations_max = BATCH;
    options.journal_segment_bytes = 1;
    options.reserve_bytes = 0;
    options.memtable_bytes = MEMTABLE_BYTES;
    options.time = &fixture->time.source;
    options.durability_interval_ms = fixture->interval_ms;
    struct failure failure = {0};
    struct disk *disk;
    enum status status = disk_open(fixture->path, &disk, &failure);
    if (status == STATUS_OK)
        status = local_open(&options, disk, false, &fixture->engine, &failure);
    return status;
}

static void begin(struct fixture *fixture, uint64_t interval_ms)
{
    *fixture = (struct fixture){.path = test_directory_make(), .interval_ms = interval_ms};
    manual_time_init(&fixture->time);
    assert_int_equal(open_engine(fixture), STATUS_OK);
}

static void end(struct fixture *fixture)
{
    engine_close(fixture->engine);
    test_directory_remove(fixture->path);
}

/* One round; what has failed before is tried again. */
static void housekeep(struct fixture *fixture)
{
    manual_time_advance_ms(&fixture->time, RETRY_MS);
    local_housekeep(fixture->engine);
}

static uint64_t inflight(struct fixture *fixture)
{
    return stats_read(engine_stats(fixture->engine), STATS_inflight);
}

static uint64_t sequence(struct fixture *fixture)
{
    struct engine_health health;
    engine_health(fixture->engine, &health);
    return health.sequence;
}

static enum status open_value(struct fixture *fixture, const char *key, size_t size, int fill,
                              struct engine_operation *out_put)
{
    struct engine_value *value = NULL;
    enum status status =
        engine_value_open(fixture->engine, bytes_of(key), bytes_of("meta"), size / 2, &value);
    if (status == STATUS_OK)
        status = engine_value_grow(fixture->engine, &value, size);
    if (status != STATUS_OK) {
        engine_value_close(fixture->engine, value);
        return status;
    }
    memset(value->data, fill, size);
    value->size = size;
    *out_put = (struct engine_operation){.type = ENGINE_PUT, .key = bytes_of(key), .value = value};
    return STATUS_OK;
}

static enum status commit(struct fixture *fixture, struct engine_operation *operations,
                          uint32_t count)
{
    struct engine_context patience = {UINT64_MAX, NULL};
    enum status status = engine_commit(fixture->engine, operations, count, &patience);
    for (uint32_t i = 0; i < count; i++)
        engine_value_close(fixture->engine, operations[i].value);
    return status;
}

static void check_value(struct fixture *fixture, const char *key, size_t size, int fill)
{
    struct engine_item item;
    assert_int_equal(engine_get(fixture->engine, bytes_of(key), &item), STATUS_OK);
    assert_int_equal(item.value.size, size);
    for (size_t i = 0; i < size; i++)
        assert_int_equal(((const unsigned char *)item.value.data)[i], fill);
    engine_item_done(&item);
}

static void check_absent(struct fixture *fixture, const char *key)
{
    struct engine_item item;
    assert_int_equal(engine_head(fixture->engine, bytes_of(key), &item), STATUS_NOT_FOUND);
}

/* ---- promises ---- */

static void a_put_is_applied_or_refused(struct fixture *fixture, size_t size)
{
    char key[32];
    for (size_t at = 0;; at++) {
        struct engine_operation put;
        snprintf(key, sizeof key, "%zu bytes, %zu", size, at);
        uint64_t before = sequence(fixture);
        arm(at);
        enum status status = open_value(fixture, key, size, 'a', &put);
        if (status == STATUS_OK)
            status = commit(fixture, &put, 1);
        bool some_failed = disarm();
        assert_int_equal(inflight(fixture), 0);
        if (status == STATUS_OK) {
            check_value(fixture, key, size, 'a');
        } else {
            assert_int_equal(status, STATUS_NO_MEMORY);
            assert_true(some_failed);
            assert_int_equal(sequence(fixture), before);
            check_absent(fixture, key);
        }
        housekeep(fixture);
        if (!some_failed)
            return;
    }
}

static void puts_of_all_sizes_are_applied_or_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, 0);
    const size_t sizes[] = {0, 100, 65536, 65537, VALUE_BYTES_MAX};
    for (size_t i = 0; i < COUNT_OF(sizes); i++)
        for (int round = 0; round < 3; round++) /* where chunks and segments end differs */
            a_put_is_applied_or_refused(&fixture, sizes[i]);
    end(&fixture);
}

static struct memtable_mark mark(struct fixture *fixture)
{
    return memtable_mark(local_of(fixture->engine)->store.memtable);
}

static enum status commit_batch(struct fixture *fixture, const char *new_key, int fill)
{
    struct engine_operation operations[BATCH] = {{.type = ENGINE_DELETE, .key = bytes_of("old")}};
    enum status status = open_value(fixture, new_key, 1000, fill, &operations[1]);
    if (status != STATUS_OK)
        return status;
    status = open_value(fixture, "kept", 70000, fill, &operations[2]);
    if (status != STATUS_OK) {
        engine_value_close(fixture->engine, operations[1].value);
        return status;
    }
    return commit(fixture, operations, BATCH);
}

static void a_batch_is_applied_whole_or_not_at_all(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, 0);
    char key[32];
    for (size_t at = 0;; at++) {
        struct engine_operation put;
        assert_int_equal(open_value(&fixture, "old", 100, 'o', &put), STATUS_OK);
        assert_int_equal(commit(&fixture, &put, 1), STATUS_OK);
        assert_int_equal(open_value(&fixture, "kept", 100, 'k', &put), STATUS_OK);
        assert_int_equal(commit(&fixture, &put, 1), STATUS_OK);
        snprintf(key, sizeof key, "new %zu", at);
        arm(at);
        enum status status = commit_batch(&fixture, key, 'n');
        bool some_failed = disarm();
        if (status == STATUS_OK) {
            check_absent(&fixture, "old");
            check_value(&fixture, key, 1000, 'n');
            check_value(&fixture, "kept", 70000, 'n');
        } else {
            assert_int_equal(status, STATUS_NO_MEMORY);
            check_value(&fixture, "old", 100, 'o');
            check_absent(&fixture, key);
            check_value(&fixture, "kept", 100, 'k');
        }
        housekeep(&fixture);
        if (!some_failed)
            break;
    }
    end(&fixture);
}

static void an_addition_is_applied_or_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, 0);
    for (int64_t by = 1; by >= -1; by -= 2) { /* from absent to 1, from 1 to 0 */
        struct engine_operation addition = {.type = ENGINE_ADD, .key = bytes_of("n"), .by = by};
        size_t at = 0;
        enum status status = STATUS_NO_MEMORY;
        for (; status != STATUS_OK; at++) {
            arm(at);
            status = commit(&fixture, &addition, 1);
            bool some_failed = disarm();
            assert_true(status == STATUS_OK || (status == STATUS_NO_MEMORY && some_failed));
            housekeep(&fixture);
        }
        assert_int_equal(addition.number, by > 0);
        assert_true(by > 0 || at > 4); /* writer and leader both looked, and then copied */
    }
    end(&fixture);
}

/* New keys until every shard has grown: wherever memory ends, the index goes on working. */
static void an_index_that_cannot_grow_refuses_new_keys(void **state)
{
    (void)state;
    enum { KEYS = 30000 };
    struct fixture fixture;
    begin(&fixture, 60000);
    char key[32];
    uint64_t refused = 0;
    for (size_t i = 0; i < KEYS; i++) {
        struct engine_operation operation = {.type = ENGINE_PUT};
        snprintf(key, sizeof key, "key %zu", i);
        assert_int_equal(open_value(&fixture, key, 1, 'x', &operation), STATUS_OK);
        struct memtable_mark before = mark(&fixture);
        arm(0);
        enum status status = commit(&fixture, &operation, 1);
        disarm();
        if (status != STATUS_OK) {
            assert_int_equal(mark(&fixture).used, before.used); /* nothing stays laid out */
            assert_int_equal(status, STATUS_NO_MEMORY);
            check_absent(&fixture, key);
            assert_int_equal(open_value(&fixture, key, 1, 'x', &operation), STATUS_OK);
            assert_int_equal(commit(&fixture, &operation, 1), STATUS_OK); /* now there is some */
            refused++;
        }
        check_value(&fixture, key, 1, 'x');
        local_housekeep(fixture.engine);
    }
    assert_true(refused > 256); /* each shard grew at least once, and more than once in vain */
    assert_int_equal(stats_read(engine_stats(fixture.engine), STATS_keys), KEYS);
    assert_int_equal(inflight(&fixture), 0);
    end(&fixture);
}

static void a_read_without_memory_says_so(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, 0);
    const size_t sizes[] = {0, 100, 20000, 100000};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        struct engine_operation put;
        assert_int_equal(open_value(&fixture, "key", sizes[i], 'v', &put), STATUS_OK);
        assert_int_equal(commit(&fixture, &put, 1), STATUS_OK);
        for (size_t at = 0;; at++) {
            struct engine_item item = {.modified_ms = 42};
            arm(at);
            enum status status = engine_get(fixture.engine, bytes_of("key"), &item);
            bool some_failed = disarm();
            assert_int_equal(status, some_failed ? STATUS_NO_MEMORY : STATUS_OK);
            if (status == STATUS_OK)
                engine_item_done(&item);
            else
                assert_int_equal(item.modified_ms, 42);
            assert_int_equal(inflight(&fixture), 0);
            if (!some_failed)
                break;
        }
    }
    end(&fixture);
}

/* ---- tables ---- */

enum { KEYS = 4, KEY_BYTES = MEMTABLE_BYTES / KEYS + 1 };

static void put(struct fixture *fixture, const char *key, size_t size, int fill)
{
    struct engine_operation put;
    housekeep(fixture); /* the journal's segments are small */
    assert_int_equal(open_value(fixture, key, size, fill, &put), STATUS_OK);
    assert_int_equal(commit(fixture, &put, 1), STATUS_OK);
}

static const char *key_of(int number)
{
    static char key[16];
    snprintf(key, sizeof key, "key %d", number);
    return key;
}

/* As many bytes as fill a memtable: the next round dumps them. */
static void put_all(struct fixture *fixture, int fill)
{
    for (int i = 0; i < KEYS; i++)
        put(fixture, key_of(i), KEY_BYTES, fill);
}

static void check_all(struct fixture *fixture, int fill)
{
    for (int i = 0; i < KEYS; i++)
        check_value(fixture, key_of(i), KEY_BYTES, fill);
}

static uint64_t figure(struct fixture *fixture, enum stats_name name)
{
    return stats_read(engine_stats(fixture->engine), name);
}

static void a_dump_comes_about_or_is_tried_again(void **state)
{
    (void)state;
    struct fixture fixture;
    bool some_failed = true;
    begin(&fixture, 60000);
    for (size_t at = 0; some_failed; at++) {
        int fill = 'a' + (int)(at % 26);
        put_all(&fixture, fill);
        uint64_t dumps = figure(&fixture, STATS_dumps);
        arm(at);
        housekeep(&fixture);
        some_failed = disarm();
        check_all(&fixture, fill);
        housekeep(&fixture);
        assert_int_equal(figure(&fixture, STATS_dumps), dumps + 1);
        check_all(&fixture, fill);
    }
    assert_int_equal(inflight(&fixture), 0);
    end(&fixture);
}

static struct engine_compaction compact(struct fixture *fixture, size_t successes)
{
    struct engine_compaction row;
    uint64_t id = 0;
    size_t count = 0;
    assert_int_equal(engine_compact(fixture->engine, &id), STATUS_OK);
    arm(successes);
    housekeep(fixture);
    disarm();
    assert_int_equal(engine_compactions(fixture->engine, &row, 1, &count), STATUS_OK);
    assert_int_equal(row.id, id);
    return row;
}

static void a_compaction_comes_about_or_changes_nothing(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, 60000);
    for (size_t at = 0;; at++) {
        put_all(&fixture, 'x');
        housekeep(&fixture);
        put(&fixture, key_of(0), 10,
            'y'); /* leaves something dead, and not so much that it is due */
        struct engine_compaction row = compact(&fixture, at);
        bool some_failed = failed;
        if (row.state != ENGINE_COMPACTION_DONE) {
            assert_true(some_failed);
            assert_int_equal(row.state, ENGINE_COMPACTION_FAILED);
            assert_true(row.failure == STATUS_NO_MEMORY || row.failure == STATUS_IO);
            check_value(&fixture, key_of(1), KEY_BYTES, 'x');
            row = compact(&fixture, SIZE_MAX); /* what is left to do, if anything */
            assert_int_not_equal(row.state, ENGINE_COMPACTION_FAILED);
        }
        assert_int_equal(figure(&fixture, STATS_table_dead), 0);
        assert_in_range(figure(&fixture, STATS_tables), 1, 2); /* no victim is left behind */
        check_value(&fixture, key_of(0), 10, 'y');
        check_value(&fixture, key_of(KEYS - 1), KEY_BYTES, 'x');
        if (!some_failed)
            break;
    }
    assert_int_equal(figure(&fixture, STATS_compaction_bugs), 0);
    end(&fixture);
}

/* Tables, and a journal behind them with values small and large. */
static void fill_store(struct fixture *fixture)
{
    put_all(fixture, 't');
    housekeep(fixture);
    assert_true(figure(fixture, STATS_tables) > 0);
    for (int i = 0; i < 5; i++)
        put(fixture, i % 2 ? "small" : "large", i % 2 ? 10 : 70000, 'v');
}

static void a_store_opens_or_says_why_not(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, 60000);
    fill_store(&fixture);
    uint64_t written = sequence(&fixture);
    bool some_failed = true;
    for (size_t at = 0; some_failed; at++) {
        engine_close(fixture.engine);
        fixture.engine = NULL;
        arm(at);
        enum status status = open_engine(&fixture);
        some_failed = disarm();
        if (status == STATUS_OK) { /* also when what failed can be done without: the ballast */
            assert_int_equal(sequence(&fixture), written);
            check_all(&fixture, 't');
            check_value(&fixture, "small", 10, 'v');
            check_value(&fixture, "large", 70000, 'v');
        } else {
            assert_true(some_failed);
            assert_true(status == STATUS_NO_MEMORY || status == STATUS_IO); /* the disk's word */
            assert_null(fixture.engine);
        }
    }
    end(&fixture);
}

/* As a kill leaves it: what is not known to be durable is copied into a fresh segment. */
static void copy_store(const char *from, const char *to)
{
    char command[700];
    snprintf(command, sizeof command, "rm -rf '%s' && cp -r '%s' '%s'", to, from, to);
    assert_int_equal(system(command), 0);
}

static void a_killed_store_recovers_or_says_why_not(void **state)
{
    (void)state;
    struct fixture living, killed;
    begin(&living, 60000);
    fill_store(&living);
    killed = (struct fixture){.path = test_directory_make(), .interval_ms = living.interval_ms};
    manual_time_init(&killed.time);
    uint64_t written = sequence(&living);
    bool some_failed = true;
    for (size_t at = 0; some_failed; at++) {
        copy_store(living.path, killed.path);
        for (int tries = 0; tries < 2; tries++) { /* what failed has left nothing that hurts */
            arm(tries == 0 ? at : SIZE_MAX);
            enum status status = open_engine(&killed);
            bool failed_now = disarm();
            some_failed = tries == 0 ? failed_now : some_failed;
            if (status != STATUS_OK) {
                assert_true(failed_now);
                assert_true(status == STATUS_NO_MEMORY || status == STATUS_IO);
                continue;
            }
            assert_int_equal(sequence(&killed), written);
            check_all(&killed, 't');
            check_value(&killed, "small", 10, 'v');
            check_value(&killed, "large", 70000, 'v');
            engine_close(TAKE(killed.engine));
        }
    }
    test_directory_remove(killed.path);
    end(&living);
}

static void fail_on_finding(void *context, const char *finding)
{
    (void)context;
    fail_msg("%s", finding);
}

static void a_store_is_verified_or_nothing_is_said_of_it(void **state)
{
    (void)state;
    struct fixture fixture;
    struct engine_verification verification;
    struct failure failure = {0};
    char url[300];
    begin(&fixture, 60000);
    fill_store(&fixture);
    engine_close(TAKE(fixture.engine));
    snprintf(url, sizeof url, "file:%s", fixture.path);
    bool some_failed = true;
    for (size_t at = 0; some_failed; at++) {
        arm(at);
        enum status status = engine_verify(url, fail_on_finding, NULL, &verification, &failure);
        some_failed = disarm();
        if (some_failed)
            assert_true(status == STATUS_NO_MEMORY || status == STATUS_IO); /* the disk's word */
        else
            assert_int_equal(status, STATUS_OK);
    }
    assert_true(verification.tables > 0);
    end(&fixture);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("puts of all sizes are applied or refused", puts_of_all_sizes_are_applied_or_refused),
        TEST("a batch is applied whole or not at all", a_batch_is_applied_whole_or_not_at_all),
        TEST("an addition is applied or refused", an_addition_is_applied_or_refused),
        TEST("an index that cannot grow refuses new keys",
             an_index_that_cannot_grow_refuses_new_keys),
        TEST("a read without memory says so", a_read_without_memory_says_so),
        TEST("a dump comes about or is tried again", a_dump_comes_about_or_is_tried_again),
        TEST("a compaction comes about or changes nothing",
             a_compaction_comes_about_or_changes_nothing),
        TEST("a store opens or says why not", a_store_opens_or_says_why_not),
        TEST("a killed store recovers or says why not", a_killed_store_recovers_or_says_why_not),
        TEST("a store is verified, or nothing is said of it",
             a_store_is_verified_or_nothing_is_said_of_it),
    };
    return test_main(argc, argv, "memory_failure", tests);
}
