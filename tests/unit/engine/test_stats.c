/* SPDX-License-Identifier: Apache-2.0 */
/* The counters: nothing is lost between threads, and a duration lands in the bucket of its bound.
 */
#include "../../../engine/stats.h"

#include <pthread.h>

#include "../../lib/test.h"

enum { THREADS = 100, ADDS = 2000 };

static void *count_many(void *context)
{
    struct stats *stats = context;
    for (int i = 0; i < ADDS; i++) {
        stats_add(stats, STATS_puts, 1);
        stats_observe(stats, STATS_commit, 1000);
    }
    return NULL;
}

static uint64_t observed(const struct stats *stats, enum stats_name name, uint64_t *out_sum_ns)
{
    uint64_t counts[STATS_BUCKETS], total = 0;
    stats_histogram_read(stats_read_histogram(stats, name), counts, out_sum_ns);
    for (size_t i = 0; i < STATS_BUCKETS; i++)
        total += counts[i];
    return total;
}

static void more_threads_than_stripes_lose_no_add(void **state)
{
    (void)state;
    struct stats *stats = stats_open();
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_many, stats), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(stats_read(stats, STATS_puts), THREADS * ADDS);
    assert_int_equal(stats_read(stats, STATS_deletes), 0);
    uint64_t sum_ns;
    assert_int_equal(observed(stats, STATS_commit, &sum_ns), THREADS * ADDS);
    assert_int_equal(sum_ns, 1000u * THREADS * ADDS);
    assert_int_equal(observed(stats, STATS_journal_sync, &sum_ns), 0);
    stats_close(stats);
}

static void a_bound_belongs_to_its_own_bucket(void **state)
{
    (void)state;
    for (size_t i = 0; i < STATS_BUCKETS - 1; i++) {
        struct stats_histogram *histogram = stats_histogram_open();
        stats_histogram_add(histogram, stats_bucket_bounds_ns[i]);
        stats_histogram_add(histogram, stats_bucket_bounds_ns[i] + 1);
        uint64_t counts[STATS_BUCKETS], sum_ns;
        stats_histogram_read(histogram, counts, &sum_ns);
        assert_int_equal(counts[i], 1);
        assert_int_equal(counts[i + 1], 1);
        assert_int_equal(sum_ns, 2 * stats_bucket_bounds_ns[i] + 1);
        stats_histogram_close(histogram);
    }
}

static void the_bounds_go_from_50_us_to_10_s_in_steps_of_1_25_5(void **state)
{
    (void)state;
    const uint64_t *bounds = stats_bucket_bounds_ns;
    assert_int_equal(bounds[0], 50 * 1000);
    assert_int_equal(bounds[STATS_BUCKETS - 2], 10 * 1000000000ull);
    for (size_t i = 1; i < STATS_BUCKETS - 1; i++) {
        assert_true(bounds[i] > bounds[i - 1]);
        if (i >= 3)
            assert_int_equal(bounds[i], 10 * bounds[i - 3]);
    }
}

static void a_gauge_keeps_the_last_value_set(void **state)
{
    (void)state;
    struct stats *stats = stats_open();
    stats_set(stats, STATS_keys, 7);
    stats_set(stats, STATS_keys, 5);
    assert_int_equal(stats_read(stats, STATS_keys), 5);
    stats_close(stats);
}

static void a_counter_alone_sums_what_was_added(void **state)
{
    (void)state;
    struct stats_counter *counter = stats_counter_open();
    stats_counter_add(counter, 3);
    stats_counter_add(counter, 4);
    assert_int_equal(stats_counter_read(counter), 7);
    stats_counter_close(counter);
}

static void every_row_has_name_and_help(void **state)
{
    (void)state;
    for (int i = 0; i < STATS_COUNT; i++) {
        const struct stats_row *row = stats_row((enum stats_name)i);
        assert_true(row->name[0] != '\0' && row->help[0] != '\0');
    }
    assert_string_equal(stats_row(STATS_accepted)->unit, "bytes");
    assert_int_equal(stats_row(STATS_commit)->kind, STATS_HISTOGRAM);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("more threads than stripes lose no add", more_threads_than_stripes_lose_no_add),
        TEST("a bound belongs to its own bucket", a_bound_belongs_to_its_own_bucket),
        TEST("the bounds go from 50 us to 10 s in steps of 1-2.5-5",
             the_bounds_go_from_50_us_to_10_s_in_steps_of_1_25_5),
        TEST("a gauge keeps the last value set", a_gauge_keeps_the_last_value_set),
        TEST("a counter alone sums what was added", a_counter_alone_sums_what_was_added),
        TEST("every row has a name and a help text", every_row_has_name_and_help),
    };
    return test_main(argc, argv, "stats", tests);
}
