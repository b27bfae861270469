/* SPDX-License-Identifier: Apache-2.0 */
/* A memtable's keys in order: each once with its newest record, new ones added, runs that stay few. */
#include "../../../engine/local/runs.h"
#include "../../lib/table_file.h"
#include "../../lib/test.h"

enum { RECORDS = 5000, KEYS = 700 };

static struct budget budget = {.limit = UINT64_MAX};
static _Atomic uint64_t memtables_bytes;
static struct record *records[RECORDS];

static void copy(const void *context, uint64_t from, uint64_t until,
                 const struct record **out_records)
{
    (void)context;
    for (uint64_t i = from; i < until; i++)
        *out_records++ = records[i];
}

static int make_records(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < RECORDS; i++) {
        char key[16];
        snprintf(key, sizeof key, "%03u", (unsigned)(i * 2654435761u % KEYS));
        records[i] = table_row_record(&(struct table_row){.key = bytes_of(key), .sequence = i + 1});
    }
    return 0;
}

static int free_records(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < RECORDS; i++)
        free(records[i]);
    assert_int_equal(budget_used(&budget), 0);
    assert_int_equal(memtables_bytes, 0);
    return 0;
}

static void check_run(const struct run *run, uint64_t listed)
{
    for (uint64_t i = 0; i < run->count; i++) {
        assert_true(run->records[i]->sequence <= listed);
        if (i > 0)
            assert_true(
                bytes_compare(record_key(run->records[i - 1]), record_key(run->records[i])) < 0);
    }
}

/* The newest that any run has of the key, 0 when none has it. */
static uint64_t newest(struct run *const *runs, size_t count, struct bytes key)
{
    uint64_t sequence = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t at = run_seek(runs[i], key);
        if (at < runs[i]->count && bytes_equal(record_key(runs[i]->records[at]), key) &&
            runs[i]->records[at]->sequence > sequence)
            sequence = runs[i]->records[at]->sequence;
    }
    return sequence;
}

static void every_key_has_its_newest_record_in_some_run(void **state)
{
    (void)state;
    struct runs runs;
    runs_init(&runs, &budget, &memtables_bytes);
    for (uint64_t listed = 0; listed <= RECORDS; listed += 1 + listed / 3 + listed % 7) {
        struct run *taken[RUNS_MAX];
        size_t count;
        assert_int_equal(runs_take(&runs, listed, copy, NULL, taken, &count), STATUS_OK);
        for (size_t i = 0; i < count; i++)
            check_run(taken[i], listed);
        for (uint64_t i = 0; i < listed; i++)
            assert_true(newest(taken, count, record_key(records[i])) >= i + 1);
        for (size_t i = 1; i < count; i++)
            assert_true(taken[i - 1]->count > 2 * taken[i]->count);
        for (size_t i = 0; i < count; i++)
            run_give(taken[i]);
    }
    runs_done(&runs);
}

static void a_run_that_was_taken_outlives_its_merging(void **state)
{
    (void)state;
    struct runs runs;
    struct run *first[RUNS_MAX], *second[RUNS_MAX];
    size_t first_count, second_count;
    runs_init(&runs, &budget, &memtables_bytes);
    assert_int_equal(runs_take(&runs, 100, copy, NULL, first, &first_count), STATUS_OK);
    assert_int_equal(runs_take(&runs, 300, copy, NULL, second, &second_count), STATUS_OK);
    assert_int_equal(first_count, 1);
    assert_ptr_not_equal(first[0], second[0]);
    runs_done(&runs);
    check_run(first[0], 100);
    check_run(second[0], 300);
    run_give(first[0]);
    for (size_t i = 0; i < second_count; i++)
        run_give(second[i]);
}

static void seeking_finds_the_first_that_is_not_less(void **state)
{
    (void)state;
    struct runs runs;
    struct run *taken[RUNS_MAX];
    size_t count;
    runs_init(&runs, &budget, &memtables_bytes);
    assert_int_equal(runs_take(&runs, RECORDS, copy, NULL, taken, &count), STATUS_OK);
    assert_int_equal(count, 1);
    assert_int_equal(taken[0]->count, KEYS);
    assert_int_equal(run_seek(taken[0], bytes_of("")), 0);
    assert_int_equal(run_seek(taken[0], bytes_of("010")), 10);
    assert_int_equal(run_seek(taken[0], bytes_of("0100")), 11);
    assert_int_equal(run_seek(taken[0], bytes_of("a")), KEYS);
    run_give(taken[0]);
    runs_done(&runs);
}

#define WITH_RECORDS(promise, function)                                                            \
    {                                                                                              \
        promise, function, make_records, free_records, NULL                                        \
    }

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        WITH_RECORDS("every key has its newest record in some run, and runs stay few",
                     every_key_has_its_newest_record_in_some_run),
        WITH_RECORDS("a run that was taken outlives its merging",
                     a_run_that_was_taken_outlives_its_merging),
        WITH_RECORDS("seeking finds the first that is not less",
                     seeking_finds_the_first_that_is_not_less),
    };
    return test_main(argc, argv, "runs", tests);
}
