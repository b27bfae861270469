/* SPDX-License-Identifier: Apache-2.0 */
/* A file that only takes space, until others do. */
#include "../../../engine/local/ballast.h"
#include "../../../engine/local/format.h"
#include "../../lib/crash_disk.h"
#include "../../lib/test.h"

enum { BALLAST = 1000, RESERVE = 400 };

struct bench {
    struct crash_disk *crash;
    struct disk *disk;
    struct ballast ballast;
};

static struct bench begin(uint64_t bytes)
{
    struct bench bench = {.crash = crash_disk_open()};
    bench.disk = crash_disk_attach(bench.crash);
    ballast_init(&bench.ballast, bench.disk, bytes, RESERVE);
    return bench;
}

static void end(struct bench *bench)
{
    disk_close(bench->disk);
    crash_disk_close(bench->crash);
}

static uint64_t file_bytes(struct bench *bench)
{
    struct disk_file *file;
    uint64_t bytes = 0;
    if (disk_open_file(bench->disk, FORMAT_BALLAST_NAME, &file) != STATUS_OK)
        return 0;
    assert_int_equal(disk_file_size(file, &bytes), STATUS_OK);
    disk_file_close(file);
    return bytes;
}

static void look(struct bench *bench, uint64_t free_bytes, uint64_t table_bytes)
{
    ballast_look(&bench->ballast, free_bytes, table_bytes);
}

static void comes_once_the_tables_are_larger(void **state)
{
    (void)state;
    struct bench bench = begin(BALLAST);
    look(&bench, 1 << 20, 0);
    look(&bench, 1 << 20, BALLAST);
    assert_int_equal(file_bytes(&bench), 0);
    assert_int_equal(ballast_needed_bytes(&bench.ballast), RESERVE);
    look(&bench, 1 << 20, BALLAST + 1);
    assert_int_equal(file_bytes(&bench), BALLAST);
    assert_int_equal(ballast_needed_bytes(&bench.ballast), RESERVE);
    end(&bench);
}

static void goes_when_others_fill_the_disk_and_comes_again(void **state)
{
    (void)state;
    struct bench bench = begin(BALLAST);
    look(&bench, 1 << 20, BALLAST + 1);
    look(&bench, RESERVE / 2, BALLAST + 1);
    assert_int_equal(file_bytes(&bench), BALLAST);
    look(&bench, RESERVE / 2 - 1, BALLAST + 1);
    assert_int_equal(file_bytes(&bench), 0);
    /* Puts leave its room free, and some more, before it is made again. */
    assert_int_equal(ballast_needed_bytes(&bench.ballast), RESERVE + BALLAST);
    look(&bench, RESERVE + 2 * BALLAST, 0);
    assert_int_equal(file_bytes(&bench), 0);
    look(&bench, RESERVE + 2 * BALLAST + 1, 0);
    assert_int_equal(file_bytes(&bench), BALLAST);
    assert_int_equal(ballast_needed_bytes(&bench.ballast), RESERVE);
    end(&bench);
}

static void is_given_back_once(void **state)
{
    (void)state;
    struct bench bench = begin(BALLAST);
    assert_false(ballast_release(&bench.ballast));
    look(&bench, 1 << 20, BALLAST + 1);
    assert_true(ballast_release(&bench.ballast));
    assert_int_equal(file_bytes(&bench), 0);
    assert_false(ballast_release(&bench.ballast));
    end(&bench);
}

static void is_found_at_the_next_start(void **state)
{
    (void)state;
    struct bench bench = begin(BALLAST);
    look(&bench, 1 << 20, BALLAST + 1);
    ballast_init(&bench.ballast, bench.disk, BALLAST, RESERVE);
    look(&bench, 1 << 20, BALLAST + 1);
    assert_int_equal(file_bytes(&bench), BALLAST);
    assert_true(ballast_release(&bench.ballast));
    end(&bench);
}

static void a_disk_too_full_for_it_is_no_failure(void **state)
{
    (void)state;
    struct bench bench = begin(BALLAST);
    crash_disk_fail(
        bench.crash,
        (struct crash_fault){.operations = CRASH_WRITE, .nth = 1, .status = STATUS_NO_SPACE});
    look(&bench, 1 << 20, BALLAST + 1);
    assert_int_equal(file_bytes(&bench), 0);
    assert_int_equal(ballast_needed_bytes(&bench.ballast), RESERVE + BALLAST);
    look(&bench, 1 << 20, BALLAST + 1);
    assert_int_equal(file_bytes(&bench), BALLAST);
    end(&bench);
}

static void is_given_up_for_good_by_a_size_of_nothing(void **state)
{
    (void)state;
    struct bench bench = begin(BALLAST);
    look(&bench, 1 << 20, BALLAST + 1);
    ballast_init(&bench.ballast, bench.disk, 0, RESERVE);
    look(&bench, 1 << 20, BALLAST + 1);
    assert_int_equal(file_bytes(&bench), 0);
    assert_int_equal(ballast_needed_bytes(&bench.ballast), RESERVE);
    end(&bench);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("comes once the tables are larger", comes_once_the_tables_are_larger),
        TEST("goes when others fill the disk, and comes again",
             goes_when_others_fill_the_disk_and_comes_again),
        TEST("is given back once", is_given_back_once),
        TEST("is found at the next start", is_found_at_the_next_start),
        TEST("a disk too full for it is no failure", a_disk_too_full_for_it_is_no_failure),
        TEST("is given up for good by a size of nothing",
             is_given_up_for_good_by_a_size_of_nothing),
    };
    return test_main(argc, argv, "ballast", tests);
}
