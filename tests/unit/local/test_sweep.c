/* SPDX-License-Identifier: Apache-2.0 */
/* What has expired is deleted, wherever it stands, and nothing else is. */
#include "../../lib/audit.h"
#include "../../lib/manual_time.h"
#include "../../lib/test.h"
#include "../../lib/wall_time.h"

#define NOON_MS INT64_C(1700000000000)

/* A store whose wall clock stands still. */
struct bench {
    struct wall_time time;
    struct parts parts;
};

static void begin(struct bench *bench, struct parts_options options)
{
    wall_time_init(&bench->time, NOON_MS);
    options.time = &bench->time.source;
    options.no_housekeeping |= options.lazy;
    parts_open(&bench->parts, &options);
}

static void end(struct bench *bench)
{
    audit(&bench->parts);
    parts_close(&bench->parts);
}

static void put_for(struct bench *bench, const char *key, int64_t ms)
{
    struct engine_operation put = parts_put_operation(&bench->parts, bytes_of(key), 100, 'v');
    struct engine_context patience = parts_patience();
    put.expires_ms = ms != 0 ? bench->time.ms + ms : 0;
    assert_int_equal(parts_commit(&bench->parts, &put, 1, &patience), STATUS_OK);
}

static void dump(struct bench *bench)
{
    assert_int_equal(parts_dump(&bench->parts), STATUS_OK);
}

static void sweep(struct bench *bench)
{
    assert_int_equal(sweep_run(bench->parts.sweep, true), UINT64_MAX);
}

static uint64_t expired(struct bench *bench)
{
    return stats_read(bench->parts.stats, STATS_expired);
}

static uint64_t keys(struct bench *bench)
{
    return atomic_load(&bench->parts.store.keys);
}

static bool has(struct bench *bench, const char *key)
{
    return parts_version(&bench->parts, key) != 0;
}

/* ---- the promises ---- */

static void what_has_expired_in_a_memtable_is_deleted(void **state)
{
    (void)state;
    struct bench bench;
    begin(&bench, (struct parts_options){0});
    put_for(&bench, "short", 10);
    put_for(&bench, "long", 11);
    put_for(&bench, "endless", 0);
    bench.time.ms += 9;
    sweep(&bench);
    assert_int_equal(expired(&bench), 0);
    uint64_t before = store_sequence(&bench.parts.store);
    bench.time.ms += 1;
    sweep(&bench);
    assert_int_equal(expired(&bench), 1);
    assert_int_equal(keys(&bench), 2);
    assert_int_equal(store_sequence(&bench.parts.store), before + 1);
    assert_true(!has(&bench, "short") && has(&bench, "long") && has(&bench, "endless"));
    bench.time.ms += 1;
    sweep(&bench);
    sweep(&bench);
    assert_int_equal(expired(&bench), 2);
    end(&bench);
}

static void what_has_expired_in_a_table_is_deleted_and_its_space_comes_back(void **state)
{
    (void)state;
    struct bench bench;
    begin(&bench, (struct parts_options){0});
    put_for(&bench, "a", 10);
    put_for(&bench, "b", 20);
    dump(&bench);
    struct table *table = parts_table(&bench.parts, 1);
    bench.time.ms += 10;
    sweep(&bench);
    assert_int_equal(expired(&bench), 1);
    assert_int_equal(table->live_records, 1);
    sweep(&bench);
    assert_int_equal(table->next_expiry_ms, bench.time.ms + 10);
    bench.time.ms += 10;
    sweep(&bench);
    assert_int_equal(expired(&bench), 2);
    assert_int_equal(table->live_records, 0);
    dump(&bench); /* the deletes */
    assert_int_equal(parts_compact(&bench.parts, VICTIMS_ALL), STATUS_OK);
    assert_int_equal(parts_table_count(&bench.parts), 0);
    end(&bench);
}

static void a_table_without_expiry_is_not_looked_at(void **state)
{
    (void)state;
    struct bench bench;
    begin(&bench, (struct parts_options){0});
    put_for(&bench, "endless", 0);
    dump(&bench);
    assert_int_equal(parts_table(&bench.parts, 1)->next_expiry_ms, INT64_MAX);
    end(&bench);
}

static void a_newer_write_wins(void **state)
{
    (void)state;
    struct bench bench;
    struct engine_context patience = parts_patience();
    begin(&bench, (struct parts_options){0});
    put_for(&bench, "replaced", 10);
    put_for(&bench, "extended", 10);
    put_for(&bench, "deleted", 10);
    put_for(&bench, "over", 10);
    dump(&bench);
    bench.time.ms += 10;
    put_for(&bench, "replaced", 0);
    put_for(&bench, "extended", 10);
    /* As if the sweep had found them before. */
    struct engine_operation operations[] = {
        {.type = ENGINE_DELETE, .key = bytes_of("replaced")},
        {.type = ENGINE_DELETE, .key = bytes_of("extended")},
        {.type = ENGINE_DELETE, .key = bytes_of("absent")},
        {.type = ENGINE_DELETE, .key = bytes_of("over")},
    };
    assert_int_equal(
        commit_expired(bench.parts.commit, operations, COUNT_OF(operations), &patience), STATUS_OK);
    assert_int_equal(operations[0].outcome, ENGINE_ABSENT);
    assert_int_equal(operations[1].outcome, ENGINE_ABSENT);
    assert_int_equal(operations[2].outcome, ENGINE_ABSENT);
    assert_int_equal(operations[3].outcome, ENGINE_DELETED);
    assert_true(has(&bench, "replaced") && has(&bench, "extended"));
    assert_int_equal(expired(&bench), 1);
    end(&bench);
}

static void a_clock_set_back_expires_nothing_early_and_brings_nothing_back(void **state)
{
    (void)state;
    struct bench bench;
    struct failure failure = {0};
    begin(&bench, (struct parts_options){0});
    put_for(&bench, "swept", 10);
    dump(&bench);
    bench.time.ms += 10;
    sweep(&bench);
    put_for(&bench, "later", 10);
    bench.time.ms -= 1000;
    sweep(&bench);
    assert_false(has(&bench, "swept"));
    assert_true(has(&bench, "later"));
    parts_stop(&bench.parts);
    assert_int_equal(parts_recover(&bench.parts, &failure), STATUS_OK);
    sweep(&bench);
    assert_false(has(&bench, "swept"));
    assert_true(has(&bench, "later"));
    bench.time.ms += 1010;
    sweep(&bench);
    assert_int_equal(keys(&bench), 0);
    end(&bench);
}

static void what_expired_while_nothing_ran_is_deleted_after_the_start(void **state)
{
    (void)state;
    struct bench bench;
    struct failure failure = {0};
    begin(&bench, (struct parts_options){0});
    put_for(&bench, "in a table", 10);
    dump(&bench);
    put_for(&bench, "in the journal", 10);
    parts_stop(&bench.parts);
    bench.time.ms += 10;
    assert_int_equal(parts_recover(&bench.parts, &failure), STATUS_OK);
    sweep(&bench);
    assert_int_equal(keys(&bench), 0);
    end(&bench);
}

/* More than is collected at once, in batches of a few. */
static void any_number_is_deleted(void **state)
{
    (void)state;
    enum { KEYS = 10000 };
    struct bench bench;
    begin(&bench, (struct parts_options){.lazy = true});
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < KEYS; i++) {
            char key[32];
            snprintf(key, sizeof key, "key %d", i);
            put_for(&bench, key, i % 100 == 0 ? 20 : 10);
        }
        if (round == 1)
            dump(&bench);
        bench.time.ms += 10;
        sweep(&bench);
        assert_int_equal(keys(&bench), KEYS / 100);
        bench.time.ms += 10;
        sweep(&bench);
        assert_int_equal(keys(&bench), 0);
        assert_int_equal(expired(&bench), (round + 1) * KEYS);
    }
    end(&bench);
}

static void long_keys_are_deleted_too(void **state)
{
    (void)state;
    struct bench bench;
    begin(&bench, (struct parts_options){0});
    char key[1025];
    for (int i = 0; i < 500; i++) {
        memset(key, 'a' + i % 26, sizeof key - 1);
        snprintf(key + 1000, 25, "%024d", i);
        put_for(&bench, key, 10);
    }
    bench.time.ms += 10;
    sweep(&bench);
    assert_int_equal(keys(&bench), 0);
    end(&bench);
}

static void a_damaged_record_keeps_no_other_from_being_deleted(void **state)
{
    (void)state;
    struct bench bench;
    begin(&bench, (struct parts_options){0});
    put_for(&bench, "damaged", 10);
    dump(&bench);
    put_for(&bench, "sound", 10);
    dump(&bench);
    char path[300];
    snprintf(path, sizeof path, "%s/table-%016x.tbl", bench.parts.path, 1);
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, sizeof(struct table_header) + 8, SEEK_SET), 0);
    fputc(0x55, file); /* in the record's head */
    fclose(file);
    bench.time.ms += 10;
    sweep(&bench);
    sweep(&bench);
    assert_int_equal(expired(&bench), 1);
    assert_true(parts_table(&bench.parts, 1)->damaged);
    assert_int_equal(parts_read(&bench.parts, "sound"), STATUS_NOT_FOUND);
    assert_int_equal(parts_read(&bench.parts, "damaged"), STATUS_CORRUPT);
    parts_close(&bench.parts);
}

static void who_was_stopped_deletes_nothing_any_more(void **state)
{
    (void)state;
    struct bench bench;
    begin(&bench, (struct parts_options){0});
    put_for(&bench, "k", 10);
    bench.time.ms += 10;
    sweep_stop(bench.parts.sweep);
    sweep(&bench);
    assert_int_equal(expired(&bench), 0);
    end(&bench);
}

/* Under a clock by which every look takes a millisecond. */
static void who_has_looked_rests_for_longer(void **state)
{
    (void)state;
    struct manual_time time;
    struct bench bench;
    struct engine_context patience = parts_patience();
    manual_time_init(&time);
    time.look_ns = 1000000;
    parts_open(&bench.parts, &(struct parts_options){
                                 .lazy = true, .no_housekeeping = true, .time = &time.source});
    for (uint64_t i = 1; i <= 3; i++) {
        struct engine_operation put = parts_put_operation(&bench.parts, bytes_of("k"), 100, 'v');
        put.expires_ms = 1; /* long ago */
        assert_int_equal(parts_commit(&bench.parts, &put, 1, &patience), STATUS_OK);
        uint64_t wait_ns = sweep_run(bench.parts.sweep, false);
        if (i > 1) {
            assert_int_equal(expired(&bench), i - 1);
            assert_true(wait_ns > 10 * time.look_ns && wait_ns < UINT64_MAX);
            manual_time_advance_ms(&time, wait_ns / 1000000 + 1);
            assert_int_equal(sweep_run(bench.parts.sweep, false), UINT64_MAX);
        }
        assert_int_equal(expired(&bench), i);
    }
    parts_close(&bench.parts);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("what has expired in a memtable is deleted",
             what_has_expired_in_a_memtable_is_deleted),
        TEST("what has expired in a table is deleted, and its space comes back",
             what_has_expired_in_a_table_is_deleted_and_its_space_comes_back),
        TEST("a table without expiry is not looked at", a_table_without_expiry_is_not_looked_at),
        TEST("a newer write wins", a_newer_write_wins),
        TEST("a clock set back expires nothing early and brings nothing back",
             a_clock_set_back_expires_nothing_early_and_brings_nothing_back),
        TEST("what expired while nothing ran is deleted after the start",
             what_expired_while_nothing_ran_is_deleted_after_the_start),
        TEST("any number is deleted", any_number_is_deleted),
        TEST("long keys are deleted, too", long_keys_are_deleted_too),
        TEST("a damaged record keeps no other from being deleted",
             a_damaged_record_keeps_no_other_from_being_deleted),
        TEST("who has looked rests for longer", who_has_looked_rests_for_longer),
        TEST("who was stopped deletes nothing any more", who_was_stopped_deletes_nothing_any_more),
    };
    return test_main(argc, argv, "sweep", tests);
}
