/* SPDX-License-Identifier: Apache-2.0 */
/* Sources in a heap by their keys; a position from which the next view's sources go on. */
#include "scan.h"

#include <stdlib.h>

#include "scan_source.h"

enum { LOOK_UP_EVERY = 64 /* candidates, between two looks at deadline and cancel */ };

struct scan {
    struct store *store;
    const struct engine_range *range;
    /* the last key told or passed over; empty: none yet */
    unsigned char *key;
    size_t key_bytes, key_capacity;
    /* of the pinned view */
    const struct view *view;
    struct scan_source *sources;
    struct scan_source **heap; /* the next key first */
    size_t opened, count;
};

/* ---- the heap ---- */

static bool comes_before(const struct scan *scan, const struct scan_source *a,
                         const struct scan_source *b)
{
    int order = bytes_compare(a->key, b->key);
    return scan->range->reverse ? order > 0 : order < 0;
}

static void sift_down(struct scan *scan, size_t at)
{
    for (size_t child; (child = 2 * at + 1) < scan->count; at = child) {
        struct scan_source **heap = scan->heap;
        if (child + 1 < scan->count && comes_before(scan, heap[child + 1], heap[child]))
            child++;
        if (!comes_before(scan, heap[child], heap[at]))
            return;
        struct scan_source *moved = heap[at];
        heap[at] = heap[child];
        heap[child] = moved;
    }
}

static enum status move_first(struct scan *scan)
{
    enum status status = scan_source_next(scan->heap[0]);
    if (status == STATUS_NOT_FOUND) {
        scan->heap[0] = scan->heap[--scan->count];
        status = STATUS_OK;
    }
    if (status == STATUS_OK)
        sift_down(scan, 0);
    return status;
}

/* ---- the sources of one view ---- */

/* Where the next sources begin. */
static struct bytes bound_of(const struct scan *scan)
{
    if (scan->key_bytes > 0)
        return (struct bytes){scan->key, scan->key_bytes};
    return scan->range->reverse ? scan->range->until : scan->range->from;
}

/* One that has come to its end at once is no part of the heap. */
static enum status add(struct scan *scan, enum status opened)
{
    struct scan_source *source = &scan->sources[scan->opened++];
    if (opened == STATUS_OK)
        scan->heap[scan->count++] = source;
    return opened == STATUS_NOT_FOUND ? STATUS_OK : opened;
}

static enum status add_memtable(struct scan *scan, struct memtable *memtable)
{
    struct run *runs[RUNS_MAX];
    size_t count;
    enum status status = memtable_sort(memtable, runs, &count);
    for (size_t i = 0; status == STATUS_OK && i < count; i++)
        status = add(scan, scan_source_open_run(&scan->sources[scan->opened], runs[i],
                                                bound_of(scan), scan->range->reverse));
    return status;
}

static enum status add_sources(struct scan *scan)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < scan->view->memtable_count; i++)
        status = add_memtable(scan, scan->view->memtables[i]);
    for (size_t i = 0; status == STATUS_OK && i < scan->view->table_count; i++)
        status =
            add(scan, scan_source_open_table(&scan->sources[scan->opened], scan->view->tables[i],
                                             bound_of(scan), scan->range->reverse));
    for (size_t i = scan->count / 2; status == STATUS_OK && i-- > 0;)
        sift_down(scan, i);
    return status;
}

static void unpin(struct scan *scan)
{
    for (size_t i = 0; i < scan->opened; i++)
        scan_source_done(&scan->sources[i]);
    free(scan->sources);
    free(scan->heap);
    scan->sources = NULL;
    scan->heap = NULL;
    scan->opened = scan->count = 0;
    if (scan->view != NULL)
        view_unpin(scan->view);
    scan->view = NULL;
}

static enum status pin(struct scan *scan)
{
    scan->view = views_pin(&scan->store->views);
    size_t most = scan->view->table_count + scan->view->memtable_count * RUNS_MAX;
    scan->sources = calloc(most, sizeof *scan->sources);
    scan->heap = calloc(most, sizeof(void *));
    if (scan->sources == NULL || scan->heap == NULL)
        return STATUS_NO_MEMORY;
    return add_sources(scan);
}

/* ---- candidates ---- */

static enum status keep_key(struct scan *scan, struct bytes key)
{
    if (key.size > scan->key_capacity) {
        unsigned char *grown = realloc(scan->key, key.size * 2);
        if (grown == NULL)
            return STATUS_NO_MEMORY;
        scan->key = grown;
        scan->key_capacity = key.size * 2;
    }
    memcpy(scan->key, key.data, key.size);
    scan->key_bytes = key.size;
    return STATUS_OK;
}

static bool is_beyond(const struct engine_range *range, struct bytes key)
{
    return range->reverse ? bytes_compare(key, range->from) < 0
                          : range->until.size > 0 && bytes_compare(key, range->until) >= 0;
}

/* The next key, told by however many sources. NOT_FOUND: the range has ended. */
static enum status next_key(struct scan *scan)
{
    struct bytes last = {scan->key, scan->key_bytes};
    enum status status = STATUS_OK;
    while (status == STATUS_OK && scan->count > 0 && last.size > 0 &&
           bytes_equal(scan->heap[0]->key, last))
        status = move_first(scan);
    if (status != STATUS_OK)
        return status;
    if (scan->count == 0 || is_beyond(scan->range, scan->heap[0]->key))
        return STATUS_NOT_FOUND;
    return keep_key(scan, scan->heap[0]->key);
}

static enum status look_up(const struct scan *scan, const struct engine_context *context)
{
    const struct time_source *time = scan->store->time;
    if (cancel_fired(context->cancel))
        return STATUS_CANCELLED;
    return time->monotonic_ns(time) >= context->deadline_ns ? STATUS_BUSY : STATUS_OK;
}

/* NOT_FOUND: the visitor has had enough. */
static enum status visit_key(struct scan *scan, bool with_values, engine_visit *visit,
                             void *visitor)
{
    struct bytes key = {scan->key, scan->key_bytes};
    struct engine_item item = {0};
    enum status status = store_get(scan->store, key, with_values, &item);
    if (status == STATUS_NOT_FOUND)
        return STATUS_OK;
    if (status != STATUS_OK && status != STATUS_CORRUPT)
        return status;
    bool go_on = visit(visitor, key, status, &item);
    engine_item_done(&item);
    return go_on ? STATUS_OK : STATUS_NOT_FOUND;
}

/* Over one view. NOT_FOUND: there is no more to do. */
static enum status run_pinned(struct scan *scan, bool with_values, engine_visit *visit,
                              void *visitor, const struct engine_context *context)
{
    enum status status = pin(scan);
    for (unsigned i = 0; i < SCAN_PINNED_MAX && status == STATUS_OK; i++) {
        if (i % LOOK_UP_EVERY == 0)
            status = look_up(scan, context);
        if (status == STATUS_OK)
            status = next_key(scan);
        if (status == STATUS_OK)
            status = visit_key(scan, with_values, visit, visitor);
    }
    unpin(scan);
    return status;
}

enum status scan_run(struct store *store, const struct engine_range *range, bool with_values,
                     engine_visit *visit, void *visitor, const struct engine_context *context)
{
    struct scan scan = {.store = store, .range = range};
    enum status status;
    do
        status = run_pinned(&scan, with_values, visit, visitor, context);
    while (status == STATUS_OK);
    free(scan.key);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}
