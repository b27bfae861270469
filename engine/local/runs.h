/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A memtable's records in key order, for listings: sorted when somebody lists, what has come since
 * the last time as one more run, and runs of like size merged. A store that nobody lists pays
 * nothing, and a page never sorts more than what is new.
 *
 * Threads: any. The mutex is held while a tail is sorted; nobody but listings takes it.
 */
#ifndef KEYREST_ENGINE_LOCAL_RUNS_H
#define KEYREST_ENGINE_LOCAL_RUNS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "../status.h"
#include "budget.h"
#include "record.h"

/* One key once: its newest record of those that were sorted. */
struct run {
    _Atomic uint32_t references;
    struct runs *runs; /* stays until the last of its runs is given back */
    uint64_t count, capacity;
    const struct record *records[];
};

enum { RUNS_MAX = 48 }; /* each has more than twice the records of the next */

struct runs {
    /* set at open, then constant */
    struct budget *budget;
    _Atomic uint64_t *memtables_bytes; /* of all memtables together: these count, too */
    _Atomic uint64_t bytes;            /* of those that are not freed yet */
    pthread_mutex_t mutex;
    /* guarded by mutex */
    struct run *all[RUNS_MAX];
    size_t count;
    uint64_t sorted; /* records of the memtable that are in them, the first ones */
};

void runs_init(struct runs *runs, struct budget *budget, _Atomic uint64_t *memtables_bytes);
void runs_done(struct runs *runs); /* nobody uses a run of it any more */

/*
 * Brings the runs up to the first `listed` records, which `copy` writes from one number on, up to
 * another; and takes a reference to each. NO_MEMORY. `out_runs` has room for RUNS_MAX.
 */
MUST_CHECK enum status runs_take(struct runs *runs, uint64_t listed,
                                 void (*copy)(const void *context, uint64_t from, uint64_t until,
                                              const struct record **out_records),
                                 const void *context, struct run **out_runs, size_t *out_count);
void run_give(struct run *run);

/* The first record of a run whose key is `key` or greater; `count` when there is none. */
uint64_t run_seek(const struct run *run, struct bytes key);

#endif
