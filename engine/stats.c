/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cells in 64 stripes: each thread is dealt a stripe when it first counts and keeps it. Stripes are
 * whole cache lines, so that threads on different stripes never share a line; threads beyond 64
 * share a stripe, which is why an add is atomic. All accesses are relaxed: cells carry no other
 * data. Gauges are set, not added up, and have one cell.
 */
#include "stats.h"

#include <stdatomic.h>
#include <string.h>

enum { STRIPES = 64, CACHE_LINE_BYTES = 64 };

#define OWN_CACHE_LINES __attribute__((aligned(CACHE_LINE_BYTES)))

struct counter_stripe {
    _Atomic uint64_t value;
} OWN_CACHE_LINES;

struct stats_counter {
    struct counter_stripe stripes[STRIPES];
};

struct histogram_stripe {
    _Atomic uint64_t counts[STATS_BUCKETS];
    _Atomic uint64_t sum_ns;
} OWN_CACHE_LINES;

struct stats_histogram {
    struct histogram_stripe stripes[STRIPES];
};

struct row_stripe {
    _Atomic uint64_t values[STATS_COUNT];
} OWN_CACHE_LINES;

struct stats {
    struct row_stripe counters[STRIPES];
    struct row_stripe gauges;
    struct stats_histogram *histograms[STATS_COUNT]; /* set at open; NULL for the other kinds */
};

const uint64_t stats_bucket_bounds_ns[STATS_BUCKETS - 1] = {
    50000,     100000,     250000,     500000,     1000000,     2500000,
    5000000,   10000000,   25000000,   50000000,   100000000,   250000000,
    500000000, 1000000000, 2500000000, 5000000000, 10000000000,
};

static const struct stats_row rows[] = {
#define X(kind, name, unit, help) {STATS_##kind, #name, unit, help},
#include "stats.def"
};

static unsigned own_stripe(void)
{
    static _Atomic unsigned dealt;
    static _Thread_local unsigned number; /* stripe + 1; 0: none yet */
    if (number == 0)
        number = atomic_fetch_add_explicit(&dealt, 1, memory_order_relaxed) % STRIPES + 1;
    return number - 1;
}

static void *stripes_open(size_t size)
{
    void *stripes = aligned_alloc(CACHE_LINE_BYTES, size);
    if (stripes != NULL)
        memset(stripes, 0, size);
    return stripes;
}

static void add(_Atomic uint64_t *cell, uint64_t amount)
{
    atomic_fetch_add_explicit(cell, amount, memory_order_relaxed);
}

static uint64_t read_cell(const _Atomic uint64_t *cell)
{
    return atomic_load_explicit(cell, memory_order_relaxed);
}

/* ---- histograms ---- */

struct stats_histogram *stats_histogram_open(void)
{
    return stripes_open(sizeof(struct stats_histogram));
}

void stats_histogram_close(struct stats_histogram *histogram)
{
    free(histogram);
}

static size_t bucket_of(uint64_t ns)
{
    size_t bucket = 0;
    while (bucket < STATS_BUCKETS - 1 && ns > stats_bucket_bounds_ns[bucket])
        bucket++;
    return bucket;
}

void stats_histogram_add(struct stats_histogram *histogram, uint64_t ns)
{
    struct histogram_stripe *stripe = &histogram->stripes[own_stripe()];
    add(&stripe->counts[bucket_of(ns)], 1);
    add(&stripe->sum_ns, ns);
}

void stats_histogram_read(const struct stats_histogram *histogram,
                          uint64_t out_counts[STATS_BUCKETS], uint64_t *out_sum_ns)
{
    memset(out_counts, 0, STATS_BUCKETS * sizeof *out_counts);
    *out_sum_ns = 0;
    for (size_t i = 0; i < STRIPES; i++) {
        const struct histogram_stripe *stripe = &histogram->stripes[i];
        for (size_t bucket = 0; bucket < STATS_BUCKETS; bucket++)
            out_counts[bucket] += read_cell(&stripe->counts[bucket]);
        *out_sum_ns += read_cell(&stripe->sum_ns);
    }
}

/* ---- counters ---- */

struct stats_counter *stats_counter_open(void)
{
    return stripes_open(sizeof(struct stats_counter));
}

void stats_counter_close(struct stats_counter *counter)
{
    free(counter);
}

void stats_counter_add(struct stats_counter *counter, uint64_t amount)
{
    add(&counter->stripes[own_stripe()].value, amount);
}

uint64_t stats_counter_read(const struct stats_counter *counter)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < STRIPES; i++)
        sum += read_cell(&counter->stripes[i].value);
    return sum;
}

/* ---- the rows of stats.def ---- */

struct stats *stats_open(void)
{
    struct stats *stats = stripes_open(sizeof *stats);
    if (stats == NULL)
        return NULL;
    for (size_t i = 0; i < STATS_COUNT; i++) {
        if (rows[i].kind != STATS_HISTOGRAM)
            continue;
        stats->histograms[i] = stats_histogram_open();
        if (stats->histograms[i] == NULL) {
            stats_close(stats);
            return NULL;
        }
    }
    return stats;
}

void stats_close(struct stats *stats)
{
    if (stats == NULL)
        return;
    for (size_t i = 0; i < STATS_COUNT; i++)
        stats_histogram_close(stats->histograms[i]);
    free(stats);
}

const struct stats_row *stats_row(enum stats_name name)
{
    return &rows[name];
}

void stats_add(struct stats *stats, enum stats_name counter, uint64_t amount)
{
    add(&stats->counters[own_stripe()].values[counter], amount);
}

void stats_set(struct stats *stats, enum stats_name gauge, uint64_t value)
{
    atomic_store_explicit(&stats->gauges.values[gauge], value, memory_order_relaxed);
}

void stats_observe(struct stats *stats, enum stats_name histogram, uint64_t ns)
{
    stats_histogram_add(stats->histograms[histogram], ns);
}

uint64_t stats_read(const struct stats *stats, enum stats_name counter_or_gauge)
{
    if (rows[counter_or_gauge].kind == STATS_GAUGE)
        return read_cell(&stats->gauges.values[counter_or_gauge]);
    uint64_t sum = 0;
    for (size_t i = 0; i < STRIPES; i++)
        sum += read_cell(&stats->counters[i].values[counter_or_gauge]);
    return sum;
}

const struct stats_histogram *stats_read_histogram(const struct stats *stats,
                                                   enum stats_name histogram)
{
    return stats->histograms[histogram];
}
