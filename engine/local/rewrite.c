/* SPDX-License-Identifier: Apache-2.0 */
/* Judging, copying, keeping a pace. */
#include "rewrite.h"

#include <stdlib.h>
#include <time.h>

#include "merge.h"

enum {
    INDEX_BYTES_MAX = 16 << 20, /* kept in memory while an output is written: it ends there */
    PACE_BYTES = 1 << 20,       /* between two looks at the rate limit and at `closing` */
    PACE_SLEEP_MS = 50,
};

/* ---- opening and closing ---- */

static uint64_t now_ns(const struct rewrite *rewrite)
{
    const struct time_source *time = rewrite->options->store->time;
    return time->monotonic_ns(time);
}

static void open_source(struct rewrite *rewrite, size_t i)
{
    struct table *table = rewrite->victims->tables[i];
    table->victim = (uint32_t)i + 1;
    rewrite->sources[i].table = table;
    window_init(&rewrite->sources[i].window, table->file, table->records_end);
}

static void count_victim(struct rewrite *rewrite, const struct table *table)
{
    atomic_fetch_add(&rewrite->progress->files_before, 1);
    atomic_fetch_add(&rewrite->progress->bytes_before, table->identity.bytes);
    atomic_fetch_add(&rewrite->progress->records_to_do, table->properties->records);
}

enum status rewrite_open(struct rewrite *rewrite, const struct compaction_options *options,
                         const struct view *view, const struct victims *victims,
                         const atomic_bool *closing, struct compaction_progress *progress)
{
    *rewrite = (struct rewrite){
        .options = options,
        .victims = victims,
        .closing = closing,
        .progress = progress,
        .sources = calloc(victims->count + 1, sizeof *rewrite->sources),
    };
    rewrite->begun_ns = now_ns(rewrite);
    if (rewrite->sources == NULL)
        return STATUS_NO_MEMORY;
    for (size_t i = 0; i < victims->count; i++)
        open_source(rewrite, i);
    enum status status = probe_open(&rewrite->probe, view);
    for (size_t i = 0; i < victims->count && status == STATUS_OK; i++)
        count_victim(rewrite, victims->tables[i]);
    return status;
}

void rewrite_close(struct rewrite *rewrite)
{
    table_writer_close(rewrite->writer);
    probe_close(&rewrite->probe);
    for (size_t i = 0; rewrite->sources != NULL && i < rewrite->victims->count; i++) {
        window_done(&rewrite->sources[i].window);
        rewrite->sources[i].table->victim = 0;
    }
    free(rewrite->sources);
    free(rewrite->outputs);
    *rewrite = (struct rewrite){0};
}

/* ---- judging ---- */

bool rewrite_is_live(struct store *store, const struct table *table,
                     const struct table_entry *entry)
{
    uint64_t hash = keymap_hash(store->keymap, entry->key);
    reclaim_enter(store->reclaim);
    struct entry *found = keymap_find(store->keymap, hash, entry->key);
    bool live =
        found != NULL && entry_place(found) == place_of_position(table->slot, entry->offset);
    reclaim_leave(store->reclaim);
    return live;
}

static bool is_kept(struct rewrite *rewrite, const struct table *table,
                    const struct table_entry *entry)
{
    return entry->type == RECORD_PUT
               ? rewrite_is_live(rewrite->options->store, table, entry)
               : probe_finds_older(&rewrite->probe, entry->key, entry->sequence);
}

/* ---- pace ---- */

static bool is_ahead(const struct rewrite *rewrite)
{
    double limit = (double)rewrite->options->bytes_per_second_max;
    double seconds = (double)(now_ns(rewrite) - rewrite->begun_ns) / 1e9;
    return limit > 0 && (double)rewrite->moved_bytes > seconds * limit;
}

static enum status keep_pace(struct rewrite *rewrite, uint64_t bytes)
{
    rewrite->paced_bytes += bytes;
    rewrite->moved_bytes += bytes;
    if (rewrite->paced_bytes < PACE_BYTES)
        return STATUS_OK;
    rewrite->paced_bytes = 0;
    while (is_ahead(rewrite) && !atomic_load(rewrite->closing))
        nanosleep(&(struct timespec){.tv_nsec = PACE_SLEEP_MS * 1000000}, NULL);
    return atomic_load(rewrite->closing) ? STATUS_CANCELLED : STATUS_OK;
}

/* ---- outputs ---- */

static enum status begin_output(struct rewrite *rewrite)
{
    struct catalog *catalog = rewrite->options->catalog;
    uint64_t live = rewrite->victims->live_bytes;
    uint64_t expected = live > rewrite->kept_bytes ? live - rewrite->kept_bytes : 0;
    if (expected > rewrite->options->output_bytes_max)
        expected = rewrite->options->output_bytes_max;
    if (rewrite->output_count == rewrite->output_capacity) {
        size_t capacity = rewrite->output_capacity * 2 + 8;
        struct manifest_table *grown = realloc(rewrite->outputs, capacity * sizeof *grown);
        if (grown == NULL)
            return STATUS_NO_MEMORY;
        rewrite->outputs = grown;
        rewrite->output_capacity = capacity;
    }
    rewrite->output_kept_tombstones = false;
    return table_writer_open(catalog->disk, catalog->uuid, catalog_new_table_id(catalog), expected,
                             &rewrite->writer);
}

static enum status end_output(struct rewrite *rewrite)
{
    struct manifest_table output = {
        .flags = rewrite->output_kept_tombstones ? MANIFEST_TOMBSTONES_KEPT : 0};
    enum status status = table_writer_finish(rewrite->writer, &output.identity);
    if (status == STATUS_OK) {
        rewrite->outputs[rewrite->output_count++] = output;
        atomic_fetch_add(&rewrite->progress->files_after, 1);
        atomic_fetch_add(&rewrite->progress->bytes_after, output.identity.bytes);
    }
    table_writer_close(rewrite->writer);
    rewrite->writer = NULL;
    return status;
}

static bool output_is_full(const struct rewrite *rewrite)
{
    return table_writer_bytes(rewrite->writer) >= rewrite->options->output_bytes_max ||
           table_writer_index_bytes(rewrite->writer) >= INDEX_BYTES_MAX;
}

/* ---- copying ---- */

/* The record that the index entry tells of, checked wholly. CORRUPT: it is not that. */
static enum status read_record(struct rewrite_source *source, const struct table_entry *entry,
                               const struct record **out_record)
{
    const unsigned char *bytes;
    enum status status = window_view(&source->window, entry->offset, entry->record_bytes, &bytes);
    if (status == STATUS_NOT_FOUND || status == STATUS_IO)
        return STATUS_CORRUPT;
    if (status != STATUS_OK)
        return status;
    const struct record *record = (const struct record *)bytes;
    if (!record_head_is_valid(record, entry->record_bytes) ||
        !record_value_is_valid(record, record_value(record)) ||
        record_bytes(record) != entry->record_bytes || record->sequence != entry->sequence ||
        record->type != entry->type || record->expires_ms != entry->expires_ms ||
        !bytes_equal(record_key(record), entry->key))
        return STATUS_CORRUPT;
    *out_record = record;
    return STATUS_OK;
}

static void count_copy(struct rewrite *rewrite, struct rewrite_source *source,
                       const struct table_entry *entry)
{
    source->copied += entry->type == RECORD_PUT;
    rewrite->output_kept_tombstones |= entry->type != RECORD_PUT;
    rewrite->kept_records++;
    rewrite->kept_bytes += entry->record_bytes;
    atomic_fetch_add_explicit(&rewrite->progress->bytes_read, entry->record_bytes,
                              memory_order_relaxed);
    atomic_fetch_add_explicit(&rewrite->progress->bytes_written, entry->record_bytes,
                              memory_order_relaxed);
}

static enum status copy_record(struct rewrite *rewrite, struct table *table,
                               const struct table_entry *entry)
{
    struct rewrite_source *source = &rewrite->sources[table->victim - 1];
    const struct record *record;
    uint64_t offset;
    enum status status = read_record(source, entry, &record);
    if (status == STATUS_CORRUPT)
        atomic_store_explicit(&table->damaged, true, memory_order_relaxed);
    if (status == STATUS_OK && rewrite->writer == NULL)
        status = begin_output(rewrite);
    if (status == STATUS_OK)
        status = table_writer_add(rewrite->writer, record, &offset);
    if (status != STATUS_OK)
        return status;
    count_copy(rewrite, source, entry);
    if (output_is_full(rewrite))
        status = end_output(rewrite);
    return status == STATUS_OK ? keep_pace(rewrite, (uint64_t)entry->record_bytes * 2) : status;
}

/* A victim whose index cannot be read, for whatever reason, is left alone from now on: it must not
 * keep the others from being rewritten. */
static enum status leave_alone(const struct merge *merge, enum status status)
{
    if (merge->failed == NULL || (status != STATUS_CORRUPT && status != STATUS_IO))
        return status;
    atomic_store_explicit(&merge->failed->damaged, true, memory_order_relaxed);
    return STATUS_CORRUPT;
}

static enum status copy_merged(struct rewrite *rewrite, struct merge *merge)
{
    for (;;) {
        const struct table_entry *entry;
        struct table *table;
        enum status status = merge_next(merge, &entry, &table);
        if (status == STATUS_NOT_FOUND)
            return rewrite->writer != NULL ? end_output(rewrite) : STATUS_OK;
        if (status != STATUS_OK)
            return leave_alone(merge, status);
        if (is_kept(rewrite, table, entry))
            status = copy_record(rewrite, table, entry);
        if (status == STATUS_OK)
            status = keep_pace(rewrite, sizeof *entry);
        if (status != STATUS_OK)
            return status;
        atomic_fetch_add_explicit(&rewrite->progress->records_done, 1, memory_order_relaxed);
    }
}

enum status rewrite_run(struct rewrite *rewrite)
{
    struct merge merge;
    enum status status = merge_open(&merge, rewrite->victims->tables, rewrite->victims->count,
                                    (struct bytes){NULL, 0});
    status = status == STATUS_OK ? copy_merged(rewrite, &merge) : leave_alone(&merge, status);
    merge_close(&merge);
    return status;
}
