/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When compactions run: over a simulated disk that fails them, in one thread, by a clock that the
 * test moves.
 */
#include "../../lib/manual_time.h"
#include "../../lib/parts.h"
#include "../../lib/test.h"

enum { VALUE_BYTES = 10000 };

struct bench {
    struct crash_disk *crash;
    struct manual_time time;
    struct parts parts;
};

/* A table is all dead: a compaction is due. */
static void begin(struct bench *bench)
{
    manual_time_init(&bench->time);
    bench->crash = crash_disk_open();
    parts_open(&bench->parts, &(struct parts_options){.crash = bench->crash});
    bench->parts.store.time = &bench->time.source;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(parts_put_sized(&bench->parts, "key", VALUE_BYTES), STATUS_OK);
        assert_int_equal(parts_dump(&bench->parts), STATUS_OK);
    }
}

static void end(struct bench *bench)
{
    parts_close(&bench->parts);
    crash_disk_close(bench->crash);
}

static void set_failing(struct bench *bench, bool failing)
{
    crash_disk_fail(bench->crash, (struct crash_fault){.operations = failing ? CRASH_RENAME : 0,
                                                       .nth = 1,
                                                       .for_ever = true,
                                                       .status = STATUS_IO});
}

static bool run_due(struct bench *bench)
{
    return compactor_run_due(bench->parts.compactor);
}

static uint64_t failures(struct bench *bench)
{
    return stats_read(bench->parts.stats, STATS_compaction_failures);
}

static void a_failed_one_is_not_tried_again_at_once(void **state)
{
    (void)state;
    struct bench bench;
    begin(&bench);
    set_failing(&bench, true);
    for (uint64_t tried = 1, wait_ms = 1000; tried < 6; tried++, wait_ms *= 2) {
        assert_false(run_due(&bench));
        assert_int_equal(failures(&bench), tried);
        manual_time_advance_ms(&bench.time, wait_ms - 1);
        assert_false(run_due(&bench)); /* as after every dump */
        assert_int_equal(failures(&bench), tried);
        manual_time_advance_ms(&bench.time, 1);
    }
    set_failing(&bench, false);
    assert_true(run_due(&bench));
    assert_int_equal(parts_table_count(&bench.parts), 1);
    end(&bench);
}

static void one_that_is_asked_for_is_tried_at_once(void **state)
{
    (void)state;
    struct bench bench;
    uint64_t id;
    begin(&bench);
    set_failing(&bench, true);
    assert_false(run_due(&bench));
    assert_int_equal(compactor_start(bench.parts.compactor, &id), STATUS_OK);
    assert_false(run_due(&bench));
    assert_int_equal(failures(&bench), 2);
    set_failing(&bench, false);
    assert_int_equal(compactor_start(bench.parts.compactor, &id), STATUS_OK);
    assert_true(run_due(&bench));
    assert_int_equal(failures(&bench), 2);
    end(&bench);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest promises[] = {
        TEST("a compaction that failed is not tried again at once, then later and later",
             a_failed_one_is_not_tried_again_at_once),
        TEST("a compaction that is asked for is tried at once",
             one_that_is_asked_for_is_tried_at_once),
    };
    return test_main(argc, argv, "compactor", promises);
}
