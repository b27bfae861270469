/* SPDX-License-Identifier: Apache-2.0 */
/* Sorting tails, merging runs. */
#include "runs.h"

#include <stdlib.h>
#include <string.h>

static uint64_t run_bytes(uint64_t capacity)
{
    return sizeof(struct run) + capacity * sizeof(struct record *);
}

static struct run *run_make(struct runs *runs, uint64_t capacity)
{
    struct run *run = malloc(run_bytes(capacity));
    if (run == NULL)
        return NULL;
    atomic_init(&run->references, 1);
    run->runs = runs;
    run->count = 0;
    run->capacity = capacity;
    budget_force(runs->budget, run_bytes(capacity));
    atomic_fetch_add_explicit(&runs->bytes, run_bytes(capacity), memory_order_relaxed);
    atomic_fetch_add_explicit(runs->memtables_bytes, run_bytes(capacity), memory_order_relaxed);
    return run;
}

/* Pairs with: run_give in other threads; the last one must see their reads done before it frees. */
void run_give(struct run *run)
{
    if (atomic_fetch_sub_explicit(&run->references, 1, memory_order_acq_rel) > 1)
        return;
    struct runs *runs = run->runs;
    uint64_t bytes = run_bytes(run->capacity);
    budget_give(runs->budget, bytes);
    atomic_fetch_sub_explicit(&runs->bytes, bytes, memory_order_relaxed);
    atomic_fetch_sub_explicit(runs->memtables_bytes, bytes, memory_order_relaxed);
    free(run);
}

void runs_init(struct runs *runs, struct budget *budget, _Atomic uint64_t *memtables_bytes)
{
    *runs = (struct runs){.budget = budget, .memtables_bytes = memtables_bytes};
    pthread_mutex_init(&runs->mutex, NULL);
}

void runs_done(struct runs *runs)
{
    for (size_t i = 0; i < runs->count; i++)
        run_give(runs->all[i]);
    pthread_mutex_destroy(&runs->mutex);
}

/* ---- sorting ---- */

/* By key; of equal keys the newest first. */
static int compare_records(const void *left, const void *right)
{
    const struct record *const *a = left, *const *b = right;
    int order = bytes_compare(record_key(*a), record_key(*b));
    return order != 0 ? order
                      : ((*a)->sequence < (*b)->sequence) - ((*a)->sequence > (*b)->sequence);
}

static void add_new_key(struct run *run, const struct record *record)
{
    if (run->count == 0 ||
        !bytes_equal(record_key(run->records[run->count - 1]), record_key(record)))
        run->records[run->count++] = record;
}

/* Leaves each key's newest. */
static void sort_run(struct run *run, uint64_t count)
{
    qsort(run->records, count, sizeof *run->records, compare_records);
    for (uint64_t i = 0; i < count; i++)
        add_new_key(run, run->records[i]);
}

static struct run *merge_runs(const struct run *a, const struct run *b)
{
    struct run *merged = run_make(a->runs, a->count + b->count);
    if (merged == NULL)
        return NULL;
    for (uint64_t i = 0, j = 0; i < a->count || j < b->count;) {
        bool from_a =
            j == b->count || (i < a->count && compare_records(&a->records[i], &b->records[j]) <= 0);
        add_new_key(merged, from_a ? a->records[i++] : b->records[j++]);
    }
    return merged;
}

/* Each has more than twice the records of the next: so they stay few. */
static enum status merge_last(struct runs *runs)
{
    while (runs->count > 1) {
        struct run *last = runs->all[runs->count - 1], *before = runs->all[runs->count - 2];
        if (before->count > 2 * last->count)
            return STATUS_OK;
        struct run *merged = merge_runs(before, last);
        if (merged == NULL)
            return STATUS_NO_MEMORY;
        run_give(before);
        run_give(last);
        runs->all[--runs->count - 1] = merged;
    }
    return STATUS_OK;
}

static enum status sort_tail(struct runs *runs, uint64_t listed,
                             void (*copy)(const void *context, uint64_t from, uint64_t until,
                                          const struct record **out_records),
                             const void *context)
{
    enum status status = merge_last(runs); /* what failed the last time */
    if (status != STATUS_OK || listed <= runs->sorted)
        return status;
    struct run *tail = run_make(runs, listed - runs->sorted);
    if (tail == NULL)
        return STATUS_NO_MEMORY;
    copy(context, runs->sorted, listed, tail->records);
    sort_run(tail, listed - runs->sorted);
    runs->all[runs->count++] = tail;
    runs->sorted = listed;
    return merge_last(runs);
}

/* ---- taking ---- */

enum status runs_take(struct runs *runs, uint64_t listed,
                      void (*copy)(const void *context, uint64_t from, uint64_t until,
                                   const struct record **out_records),
                      const void *context, struct run **out_runs, size_t *out_count)
{
    pthread_mutex_lock(&runs->mutex);
    enum status status = sort_tail(runs, listed, copy, context);
    *out_count = status == STATUS_OK ? runs->count : 0;
    for (size_t i = 0; i < *out_count; i++) {
        out_runs[i] = runs->all[i];
        atomic_fetch_add_explicit(&out_runs[i]->references, 1, memory_order_relaxed);
    }
    pthread_mutex_unlock(&runs->mutex);
    return status;
}

uint64_t run_seek(const struct run *run, struct bytes key)
{
    uint64_t low = 0, high = run->count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (bytes_compare(record_key(run->records[middle]), key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}
