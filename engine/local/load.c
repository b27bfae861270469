/* SPDX-License-Identifier: Apache-2.0 */
/* Opening every table, then merging ranges of keys side by side. */
#include "load.h"

#include <stdlib.h>

#include "intake.h"
#include "merge.h"

enum {
    THREAD_RECORDS_MIN = 100000, /* fewer are not worth a thread */
    LOOK_UP_EVERY = 4096,        /* records between two looks at `closing` */
    SAMPLES_MAX = 64,
    SAMPLE_KEYS = 1024,
    SAMPLE_SHARE = 64, /* of the blocks that one sample of each table may be */
};

/* One range of keys. */
struct range {
    struct load *load;
    const struct view *view;
    struct bytes from, until; /* `until` empty: to the end */
    pthread_t thread;
    bool started;
    enum status status;
    const struct table *failed; /* whose index could not be read */
    uint64_t failed_offset;     /* where */
};

static enum status open_one(const struct load *load, const struct manifest_table *listing,
                            struct table **out_table, struct failure *failure)
{
    struct table *table;
    enum status status =
        table_open(load->disk, load->manifest->uuid, &listing->identity, &table, failure);
    if (status != STATUS_OK)
        return status;
    atomic_init(&table->settled, true);
    atomic_init(&table->tombstones_were_kept, (listing->flags & MANIFEST_TOMBSTONES_KEPT) != 0);
    *out_table = table;
    return STATUS_OK;
}

/* All at once: a view for each would cost the square of their number. */
static enum status open_tables(struct load *load, struct failure *failure)
{
    uint64_t count = load->manifest->table_count, opened = 0;
    AUTO_FREE struct table **tables = calloc(count + 1, sizeof(struct table *));
    if (tables == NULL)
        return failure_set(failure, STATUS_NO_MEMORY, "no memory to open the tables");
    enum status status = STATUS_OK;
    while (opened < count && status == STATUS_OK) {
        status = open_one(load, &load->manifest->tables[opened], &tables[opened], failure);
        opened += status == STATUS_OK;
    }
    if (status == STATUS_OK && store_join_tables(load->store, tables, count) != STATUS_OK)
        status = failure_set(failure, STATUS_NO_MEMORY, "no memory to open the tables");
    for (uint64_t i = 0; i < opened && status != STATUS_OK; i++)
        table_close(tables[i]);
    return status;
}

static bool range_ends_before(const struct range *range, struct bytes key)
{
    return range->until.size > 0 && bytes_compare(key, range->until) >= 0;
}

static void count_progress(struct range *range, uint64_t *bytes)
{
    atomic_fetch_add_explicit(range->load->bytes_done, *bytes, memory_order_relaxed);
    *bytes = 0;
}

static enum status load_merged(struct range *range, struct merge *merge, struct intake *intake)
{
    uint64_t bytes = 0;
    for (uint64_t i = 0;; i++) {
        const struct table_entry *entry;
        struct table *table;
        enum status status = merge_next(merge, &entry, &table);
        if (status == STATUS_NOT_FOUND ||
            (status == STATUS_OK && range_ends_before(range, entry->key)))
            break;
        if (status == STATUS_OK && i % LOOK_UP_EVERY == 0 && atomic_load(range->load->closing))
            status = STATUS_CANCELLED;
        if (status == STATUS_OK && entry->type == RECORD_PUT)
            status = intake_add(intake, table, entry);
        if (status != STATUS_OK)
            return status;
        bytes += entry->record_bytes;
        if (i % LOOK_UP_EVERY == 0)
            count_progress(range, &bytes);
    }
    count_progress(range, &bytes);
    return intake_flush(intake);
}

static void *load_range(void *context)
{
    struct range *range = context;
    struct merge merge;
    struct intake *intake = intake_open(range->load->store, range->view);
    range->status = merge_open(&merge, range->view->tables, range->view->table_count, range->from);
    if (range->status == STATUS_OK && intake == NULL)
        range->status = STATUS_NO_MEMORY;
    if (range->status == STATUS_OK)
        range->status = load_merged(range, &merge, intake);
    intake_close(intake);
    range->failed = merge.failed;
    range->failed_offset = merge.failed_offset;
    merge_close(&merge);
    return NULL;
}

static uint64_t record_count(const struct view *view)
{
    uint64_t count = 0;
    for (size_t i = 0; i < view->table_count; i++)
        count += view->tables[i]->properties->records;
    return count;
}

static int compare_keys(const void *left, const void *right)
{
    const struct bytes *a = left, *b = right;
    return bytes_compare(*a, *b);
}

/* The first keys of all index blocks, in order: between each two that are as far apart there are about
 * as many records. */
struct landmarks {
    const struct bytes *keys;
    size_t count;
};

static size_t block_count(const struct view *view)
{
    size_t blocks = 0;
    for (size_t i = 0; i < view->table_count; i++)
        blocks += view->tables[i]->properties->blocks;
    return blocks;
}

/* NULL: no memory. */
static struct bytes *sort_block_keys(const struct view *view)
{
    size_t count = 0;
    struct bytes *keys = calloc(block_count(view), sizeof *keys);
    if (keys == NULL)
        return NULL;
    for (size_t i = 0; i < view->table_count; i++)
        for (uint32_t block = 0; block < view->tables[i]->properties->blocks; block++)
            keys[count++] = table_block_key(view->tables[i], block);
    qsort(keys, count, sizeof *keys, compare_keys);
    return keys;
}

/* Cuts the keys into `count` ranges of about as many records. */
static void cut_ranges(struct range *ranges, size_t count, const struct landmarks *landmarks)
{
    for (size_t i = 1; i < count; i++)
        ranges[i].from = ranges[i - 1].until = landmarks->keys[landmarks->count * i / count];
}

/* ---- how many keys ---- */

/* What a merge finds from one place on. */
struct sample {
    uint64_t records, keys;
};

static enum status take_sample(const struct view *view, struct bytes from, struct sample *sample)
{
    struct merge merge;
    enum status status = merge_open(&merge, view->tables, view->table_count, from);
    for (size_t i = 0; i < SAMPLE_KEYS && status == STATUS_OK; i++) {
        const struct table_entry *entry;
        struct table *table;
        status = merge_next(&merge, &entry, &table);
        sample->keys += status == STATUS_OK && entry->type == RECORD_PUT;
    }
    sample->records += merge.passed;
    merge_close(&merge);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

/*
 * About how many keys the records leave, rather too few: too much room would stay, too little grows
 * once more. Samples must not read more than a small part of the blocks. A block that cannot be read
 * is told by the load itself.
 */
static uint64_t estimate_keys(const struct view *view, const struct landmarks *landmarks)
{
    struct sample sample = {0};
    size_t count = landmarks->count / view->table_count / SAMPLE_SHARE;
    for (size_t i = 0; i < count && i < SAMPLES_MAX; i++)
        if (take_sample(view, landmarks->keys[landmarks->count * i / count], &sample) != STATUS_OK)
            break;
    if (sample.records == 0)
        return 0;
    double keys = (double)record_count(view) * (double)sample.keys / (double)sample.records;
    return (uint64_t)(keys * 15 / 16);
}

/* ---- loading ---- */

/* The first range is this thread's own, and what no thread could be had for. */
static void run_ranges(struct range *ranges, size_t count)
{
    for (size_t i = 1; i < count; i++)
        ranges[i].started = pthread_create(&ranges[i].thread, NULL, load_range, &ranges[i]) == 0;
    for (size_t i = 0; i < count; i++)
        if (!ranges[i].started)
            load_range(&ranges[i]);
    for (size_t i = 1; i < count; i++)
        if (ranges[i].started)
            pthread_join(ranges[i].thread, NULL);
}

static enum status tell_failure(const struct range *range, struct failure *failure)
{
    if (range->failed == NULL)
        return failure_set(failure, range->status, "loading the tables: %s",
                           status_text(range->status));
    if (range->status == STATUS_CORRUPT)
        return failure_set(failure, STATUS_CORRUPT_LOG,
                           "%s: offset %" PRIu64 ": an index block is damaged; restore the data "
                           "directory from a copy",
                           range->failed->file->name, range->failed_offset);
    return failure_set(failure, range->status, "%s: offset %" PRIu64 ": %s",
                       range->failed->file->name, range->failed_offset, status_text(range->status));
}

static enum status load_view(struct load *load, const struct view *view, struct failure *failure)
{
    uint64_t records = record_count(view);
    size_t count = load->threads;
    if (count > records / THREAD_RECORDS_MIN + 1)
        count = records / THREAD_RECORDS_MIN + 1;
    struct range ranges[LOAD_THREADS_MAX] = {{0}};
    for (size_t i = 0; i < count; i++)
        ranges[i] = (struct range){.load = load, .view = view};
    AUTO_FREE struct bytes *keys = sort_block_keys(view);
    const struct landmarks landmarks = {keys, block_count(view)};
    enum status status = STATUS_NO_MEMORY;
    if (keys != NULL)
        status = keymap_expect(load->store->keymap, estimate_keys(view, &landmarks));
    if (status != STATUS_OK)
        return failure_set(failure, status, "no memory for the keys");
    cut_ranges(ranges, count, &landmarks);
    run_ranges(ranges, count);
    for (size_t i = 0; i < count; i++)
        if (ranges[i].status != STATUS_OK)
            return tell_failure(&ranges[i], failure);
    return STATUS_OK;
}

enum status load_tables(struct load *load, struct failure *failure)
{
    enum status status = open_tables(load, failure);
    if (status != STATUS_OK)
        return status;
    const struct view *view = views_pin(&load->store->views);
    status = view->table_count > 0 ? load_view(load, view, failure) : STATUS_OK;
    view_unpin(view);
    return status;
}
