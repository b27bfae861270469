/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters, gauges and histograms. Cells are striped by thread, so that counting costs one
 * uncontended add, and summed when read. Any thread may add, set and read at any time; a sum taken
 * while others add is some value between before and after.
 */
#ifndef KEYREST_ENGINE_STATS_H
#define KEYREST_ENGINE_STATS_H

#include <stddef.h>
#include <stdint.h>

#include "scope.h"

enum {
    STATS_BUCKETS = 18, /* 17 of 50 us .. 10 s in steps of 1-2.5-5, and one above */
};

enum stats_kind { STATS_COUNTER, STATS_GAUGE, STATS_HISTOGRAM };

enum stats_name {
#define X(kind, name, unit, help) STATS_##name,
#include "stats.def"
    STATS_COUNT
};

struct stats_row {
    enum stats_kind kind;
    const char *name, *unit, *help;
};

/* Upper bounds of the histogram buckets in ns, ascending; the last bucket has none. */
extern const uint64_t stats_bucket_bounds_ns[STATS_BUCKETS - 1];

/* A histogram alone, for those who count more than stats.def. About 12 KiB; a counter takes 4. */
struct stats_histogram;
MUST_CHECK struct stats_histogram *stats_histogram_open(void); /* NULL: no memory */
void stats_histogram_close(struct stats_histogram *histogram);
void stats_histogram_add(struct stats_histogram *histogram, uint64_t ns);
/* Sums the stripes. `out_counts` are per bucket, not cumulative. */
void stats_histogram_read(const struct stats_histogram *histogram,
                          uint64_t out_counts[STATS_BUCKETS], uint64_t *out_sum_ns);

/* A counter alone, striped likewise. */
struct stats_counter;
MUST_CHECK struct stats_counter *stats_counter_open(void);
void stats_counter_close(struct stats_counter *counter);
void stats_counter_add(struct stats_counter *counter, uint64_t amount);
uint64_t stats_counter_read(const struct stats_counter *counter);

/* All rows of stats.def, for one engine. */
struct stats;
MUST_CHECK struct stats *stats_open(void);
void stats_close(struct stats *stats); /* NULL is allowed */

const struct stats_row *stats_row(enum stats_name name);

void stats_add(struct stats *stats, enum stats_name counter, uint64_t amount);
void stats_set(struct stats *stats, enum stats_name gauge, uint64_t value);
void stats_observe(struct stats *stats, enum stats_name histogram, uint64_t ns);
uint64_t stats_read(const struct stats *stats, enum stats_name counter_or_gauge);
const struct stats_histogram *stats_read_histogram(const struct stats *stats,
                                                   enum stats_name histogram);

#endif
