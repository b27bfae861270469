/* SPDX-License-Identifier: Apache-2.0 */
/* When compactions run, what is known of them, and that they hold nobody up. */
#include <unistd.h>

#include "../../lib/audit.h"
#include "../../lib/held_disk.h"
#include "../../lib/shadow.h"
#include "../../lib/test.h"

/* A store with a compactor's thread, and tables with something dead in them. */
struct bench {
    struct parts parts;
    struct shadow shadow;
};

static void begin(struct bench *bench, struct parts_options options)
{
    *bench = (struct bench){0};
    options.with_compactor = true;
    parts_open(&bench->parts, &options);
}

static void end(struct bench *bench)
{
    parts_close(&bench->parts);
}

static void fill(struct bench *bench, size_t size)
{
    for (size_t key = 0; key < 8; key++)
        shadow_must_put(&bench->shadow, &bench->parts, key, size);
    assert_int_equal(parts_dump(&bench->parts), STATUS_OK);
    shadow_must_put(&bench->shadow, &bench->parts, 0, 10);
    assert_int_equal(parts_dump(&bench->parts), STATUS_OK);
}

static struct engine_compaction newest(struct bench *bench)
{
    struct engine_compaction row = {0};
    assert_int_equal(compactor_history(bench->parts.compactor, &row, 1), 1);
    return row;
}

static struct engine_compaction ask_and_wait(struct bench *bench)
{
    struct engine_context patience = parts_patience();
    uint64_t id = 0;
    assert_int_equal(compactor_start(bench->parts.compactor, &id), STATUS_OK);
    assert_int_equal(compactor_wait(bench->parts.compactor, id, &patience), STATUS_OK);
    assert_int_equal(newest(bench).id, id);
    return newest(bench);
}

/* ---- promises ---- */

static void who_asks_is_told_what_was_done(void **state)
{
    (void)state;
    struct bench bench;
    begin(&bench, (struct parts_options){0});
    struct engine_compaction row = ask_and_wait(&bench);
    assert_int_equal(row.state, ENGINE_COMPACTION_NOTHING);
    assert_int_equal(row.percent, 100);
    fill(&bench, 3000);
    row = ask_and_wait(&bench);
    assert_int_equal(row.state, ENGINE_COMPACTION_DONE);
    assert_int_equal(row.failure, STATUS_OK);
    assert_int_equal(row.files_before, 1); /* the other has nothing dead in it */
    assert_int_equal(row.files_after, 1);
    assert_true(row.bytes_after < row.bytes_before - 2900);
    assert_true(row.bytes_written > 7 * 3000 && row.bytes_read >= row.bytes_written);
    assert_int_equal(row.percent, 100);
    assert_int_equal(ask_and_wait(&bench).state, ENGINE_COMPACTION_NOTHING);
    shadow_check(&bench.shadow, &bench.parts);
    audit(&bench.parts);
    end(&bench);
}

/* So slow that it does not end by itself. */
static uint64_t start_endless(struct bench *bench)
{
    uint64_t id = 0;
    begin(bench, (struct parts_options){.bytes_per_second_max = 1});
    fill(bench, 300 << 10);
    assert_int_equal(compactor_start(bench->parts.compactor, &id), STATUS_OK);
    /* Until it stands still: one without a limit does so at its end. */
    for (uint64_t now = 0, before = 0; now == 0 || now != before;) {
        usleep(100000);
        before = now;
        now = newest(bench).bytes_written;
    }
    return id;
}

static void one_runs_at_a_time_and_tells_how_far_it_is(void **state)
{
    (void)state;
    struct bench bench;
    uint64_t id = start_endless(&bench), other = 0;
    struct engine_compaction row = newest(&bench);
    assert_int_equal(row.state, ENGINE_COMPACTION_RUNNING);
    assert_true(row.percent < 100);
    assert_int_equal(compactor_start(bench.parts.compactor, &other), STATUS_RUNNING);
    assert_int_equal(other, id);
    struct cancel cancel = {0};
    struct engine_context context = {0, NULL};
    assert_int_equal(compactor_wait(bench.parts.compactor, id, &context), STATUS_BUSY);
    context = parts_patience();
    context.cancel = &cancel;
    cancel_fire(&cancel);
    assert_int_equal(compactor_wait(bench.parts.compactor, id, &context), STATUS_CANCELLED);
    assert_int_equal(compactor_wait(bench.parts.compactor, id + 1, &context), STATUS_NOT_FOUND);
    assert_int_equal(compactor_wait(bench.parts.compactor, 0, &context), STATUS_NOT_FOUND);
    end(&bench); /* which gives it up */
}

/* Memtables that it found when it began are dumped and freed: writers never wait for it. */
static void writers_do_not_wait_for_it(void **state)
{
    (void)state;
    struct bench bench;
    start_endless(&bench);
    for (int i = 0; i < 2 * STORE_MEMTABLES_MAX; i++) {
        shadow_must_put(&bench.shadow, &bench.parts, 9, 100);
        assert_int_equal(parts_dump(&bench.parts), STATUS_OK);
    }
    while (bench.parts.store.memtables.alive > 1) /* within grace periods, not minutes */
        sched_yield();
    shadow_check(&bench.shadow, &bench.parts);
    end(&bench);
}

static void a_close_gives_it_up_and_a_start_finds_all_as_it_was(void **state)
{
    (void)state;
    struct bench bench;
    struct failure failure = {0};
    start_endless(&bench);
    parts_stop(&bench.parts);
    assert_int_equal(parts_recover(&bench.parts, &failure), STATUS_OK);
    shadow_check(&bench.shadow, &bench.parts);
    audit(&bench.parts);
    end(&bench);
}

static void a_failed_one_says_why_and_the_next_can_succeed(void **state)
{
    (void)state;
    struct bench bench;
    begin(&bench, (struct parts_options){0});
    fill(&bench, 3000);
    held_disk_fail(HELD_WRITE, STATUS_NO_SPACE);
    struct engine_compaction row = ask_and_wait(&bench);
    held_disk_fail(HELD_WRITE, STATUS_OK);
    assert_int_equal(row.state, ENGINE_COMPACTION_FAILED);
    assert_int_equal(row.failure, STATUS_NO_SPACE);
    assert_int_equal(row.files_before, 0); /* none was rewritten */
    assert_int_equal(row.bytes_after, 0);
    audit(&bench.parts);
    assert_int_equal(ask_and_wait(&bench).state, ENGINE_COMPACTION_DONE);
    shadow_check(&bench.shadow, &bench.parts);
    audit(&bench.parts);
    end(&bench);
}

static void only_what_fits_the_disk_is_rewritten(void **state)
{
    (void)state;
    struct bench bench;
    begin(&bench, (struct parts_options){0});
    fill(&bench, 3000);
    bench.parts.free_bytes = 2 * 7 * 3000;
    struct engine_compaction row = ask_and_wait(&bench);
    assert_int_equal(row.state, ENGINE_COMPACTION_FAILED);
    assert_int_equal(row.failure, STATUS_NO_SPACE);
    bench.parts.free_bytes = 2 * 8 * 3000;
    assert_int_equal(ask_and_wait(&bench).state, ENGINE_COMPACTION_DONE);
    end(&bench);
}

static void a_damaged_table_keeps_no_other_from_being_rewritten(void **state)
{
    (void)state;
    struct bench bench;
    begin(&bench, (struct parts_options){0});
    fill(&bench, 3000);
    shadow_must_put(&bench.shadow, &bench.parts, 9, 100);
    shadow_must_put(&bench.shadow, &bench.parts, 10, 100);
    assert_int_equal(parts_dump(&bench.parts), STATUS_OK);
    shadow_must_put(&bench.shadow, &bench.parts, 10, 50);
    const struct table *damaged = parts_table(&bench.parts, 1);
    unsigned char byte = 0x55;
    struct iovec piece = {&byte, 1};
    assert_int_equal(disk_file_write(damaged->file, damaged->records_end + 3, &piece, 1),
                     STATUS_OK);
    struct engine_compaction row = ask_and_wait(&bench);
    assert_int_equal(row.state, ENGINE_COMPACTION_DONE);
    assert_int_equal(row.files_before, 1);
    assert_true(damaged->damaged);
    assert_non_null(parts_table(&bench.parts, 1));
    assert_null(parts_table(&bench.parts, 3));
    shadow_check(&bench.shadow, &bench.parts);
    end(&bench);
}

static void the_last_ones_are_kept(void **state)
{
    (void)state;
    struct bench bench;
    struct engine_compaction rows[2 * ENGINE_COMPACTIONS_KEPT];
    struct engine_context patience = parts_patience();
    begin(&bench, (struct parts_options){0});
    assert_int_equal(compactor_history(bench.parts.compactor, rows, COUNT_OF(rows)), 0);
    for (uint64_t id = 1; id <= ENGINE_COMPACTIONS_KEPT + 5; id++)
        assert_int_equal(ask_and_wait(&bench).id, id);
    size_t count = compactor_history(bench.parts.compactor, rows, COUNT_OF(rows));
    assert_int_equal(count, ENGINE_COMPACTIONS_KEPT);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(rows[i].id, ENGINE_COMPACTIONS_KEPT + 5 - i);
    assert_int_equal(compactor_history(bench.parts.compactor, rows, 3), 3);
    assert_int_equal(compactor_wait(bench.parts.compactor, 1, &patience), STATUS_OK); /* long ago */
    end(&bench);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("who asks is told what was done", who_asks_is_told_what_was_done),
        TEST("one runs at a time and tells how far it is",
             one_runs_at_a_time_and_tells_how_far_it_is),
        TEST("writers do not wait for it", writers_do_not_wait_for_it),
        TEST("a close gives it up, and a start finds all as it was",
             a_close_gives_it_up_and_a_start_finds_all_as_it_was),
        TEST("a failed one says why, and the next can succeed",
             a_failed_one_says_why_and_the_next_can_succeed),
        TEST("only what fits the disk is rewritten", only_what_fits_the_disk_is_rewritten),
        TEST("a damaged table keeps no other from being rewritten",
             a_damaged_table_keeps_no_other_from_being_rewritten),
        TEST("the last ones are kept", the_last_ones_are_kept),
    };
    return test_main(argc, argv, "compactor", tests);
}
