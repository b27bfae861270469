/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Merge, judge, copy; then the same order as a dump: sync, open, [what was decided upon is durable],
 * edit, swing, let go. The swing walks the outputs' indexes and looks every key up again, so that
 * nothing need be remembered of the copies.
 */
#include "compaction.h"

#include <stdlib.h>
#include <time.h>

#include "merge.h"
#include "window.h"

enum {
    INDEX_BYTES_MAX = 16 << 20, /* kept in memory while an output is written: it ends there */
    PACE_BYTES = 1 << 20,       /* between two looks at the rate limit and at `closing` */
    PACE_SLEEP_MS = 50,
};

/* One table being rewritten. */
struct source {
    struct table *table;
    struct window window; /* over its records */
    uint64_t copied;
};

struct output {
    struct manifest_table listing;
    struct table *table;
};

struct job {
    const struct compaction_options *options;
    const struct view *view;
    const struct victims *victims;
    const atomic_bool *closing;
    struct compaction_progress *progress;
    struct source *sources; /* one per victim */
    struct table_writer *writer;
    bool output_kept_tombstones;
    struct output *outputs;
    size_t output_count, output_capacity;
    uint64_t paced_bytes; /* since the last look */
    uint64_t begun_ns, moved_bytes;
};

/* ---- judging ---- */

static bool is_live(struct job *job, const struct table *table, const struct table_entry *entry)
{
    struct store *store = job->options->store;
    uint64_t hash = keymap_hash(store->keymap, entry->key);
    reclaim_enter(store->reclaim);
    struct entry *found = keymap_find(store->keymap, hash, entry->key);
    bool live =
        found != NULL && entry_place(found) == place_of_position(table->slot, entry->offset);
    reclaim_leave(store->reclaim);
    return live;
}

static bool is_victim(const struct job *job, const struct table *table)
{
    for (size_t i = 0; i < job->victims->count; i++)
        if (job->victims->tables[i] == table)
            return true;
    return false;
}

/* Whether some other table may hold a version of the key that this tombstone hides. */
static bool hides_something(struct job *job, const struct table_entry *tombstone)
{
    for (size_t i = 0; i < job->view->table_count; i++) {
        struct table *table = job->view->tables[i];
        if (is_victim(job, table) || table->properties->first_sequence >= tombstone->sequence)
            continue;
        uint64_t sequence;
        enum status status = table_find(table, tombstone->key, &sequence);
        if (status == STATUS_NOT_FOUND)
            continue;
        if (status != STATUS_OK || sequence < tombstone->sequence)
            return true;
    }
    return false;
}

static bool is_kept(struct job *job, const struct table *table, const struct table_entry *entry)
{
    return entry->type == RECORD_PUT ? is_live(job, table, entry) : hides_something(job, entry);
}

/* ---- pace ---- */

static uint64_t now_ns(const struct job *job)
{
    const struct time_source *time = job->options->store->time;
    return time->monotonic_ns(time);
}

static bool is_ahead(const struct job *job)
{
    uint64_t limit = job->options->bytes_per_second_max;
    uint64_t elapsed_ms = (now_ns(job) - job->begun_ns) / 1000000;
    return limit > 0 && job->moved_bytes > elapsed_ms * limit / 1000;
}

static enum status keep_pace(struct job *job, uint64_t bytes)
{
    job->paced_bytes += bytes;
    job->moved_bytes += bytes;
    if (job->paced_bytes < PACE_BYTES)
        return STATUS_OK;
    job->paced_bytes = 0;
    while (is_ahead(job) && !atomic_load(job->closing))
        nanosleep(&(struct timespec){.tv_nsec = PACE_SLEEP_MS * 1000000}, NULL);
    return atomic_load(job->closing) ? STATUS_CANCELLED : STATUS_OK;
}

/* ---- copying ---- */

static struct source *source_of(struct job *job, const struct table *table)
{
    size_t i = 0;
    while (job->sources[i].table != table)
        i++;
    return &job->sources[i];
}

/* The record that the index entry tells of, checked wholly. CORRUPT: it is not that. */
static enum status read_record(struct source *source, const struct table_entry *entry,
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
        record->sequence != entry->sequence || !bytes_equal(record_key(record), entry->key))
        return STATUS_CORRUPT;
    *out_record = record;
    return STATUS_OK;
}

static enum status begin_output(struct job *job)
{
    struct catalog *catalog = job->options->catalog;
    uint64_t expected = job->victims->live_bytes < job->options->output_bytes_max
                            ? job->victims->live_bytes
                            : job->options->output_bytes_max;
    if (job->output_count == job->output_capacity) {
        size_t capacity = job->output_capacity * 2 + 8;
        struct output *grown = realloc(job->outputs, capacity * sizeof *grown);
        if (grown == NULL)
            return STATUS_NO_MEMORY;
        job->outputs = grown;
        job->output_capacity = capacity;
    }
    job->output_kept_tombstones = false;
    return table_writer_open(catalog->disk, catalog->uuid, catalog_new_table_id(catalog), expected,
                             &job->writer);
}

static enum status end_output(struct job *job)
{
    struct output *output = &job->outputs[job->output_count];
    *output = (struct output){0};
    enum status status = table_writer_finish(job->writer, &output->listing.identity);
    if (status == STATUS_OK) {
        if (job->output_kept_tombstones)
            output->listing.flags = MANIFEST_TOMBSTONES_KEPT;
        job->output_count++;
        atomic_fetch_add(&job->progress->files_after, 1);
        atomic_fetch_add(&job->progress->bytes_after, output->listing.identity.bytes);
    }
    table_writer_close(job->writer);
    job->writer = NULL;
    return status;
}

static bool output_is_full(const struct job *job)
{
    return table_writer_bytes(job->writer) >= job->options->output_bytes_max ||
           table_writer_index_bytes(job->writer) >= INDEX_BYTES_MAX;
}

static enum status copy_record(struct job *job, struct table *table,
                               const struct table_entry *entry)
{
    struct source *source = source_of(job, table);
    const struct record *record;
    uint64_t offset;
    enum status status = read_record(source, entry, &record);
    if (status == STATUS_CORRUPT)
        atomic_store_explicit(&table->damaged, true, memory_order_relaxed);
    if (status == STATUS_OK && job->writer == NULL)
        status = begin_output(job);
    if (status == STATUS_OK)
        status = table_writer_add(job->writer, record, &offset);
    if (status != STATUS_OK)
        return status;
    source->copied += entry->type == RECORD_PUT;
    job->output_kept_tombstones |= entry->type != RECORD_PUT;
    atomic_fetch_add_explicit(&job->progress->bytes_read, entry->record_bytes,
                              memory_order_relaxed);
    atomic_fetch_add_explicit(&job->progress->bytes_written, entry->record_bytes,
                              memory_order_relaxed);
    status = keep_pace(job, (uint64_t)entry->record_bytes * 2);
    return status == STATUS_OK && output_is_full(job) ? end_output(job) : status;
}

static enum status copy_merged(struct job *job, struct merge *merge)
{
    for (;;) {
        const struct table_entry *entry;
        struct table *table;
        enum status status = merge_next(merge, &entry, &table);
        if (status == STATUS_NOT_FOUND)
            return job->writer != NULL ? end_output(job) : STATUS_OK;
        if (status == STATUS_OK && is_kept(job, table, entry))
            status = copy_record(job, table, entry);
        if (status == STATUS_OK)
            status = keep_pace(job, sizeof *entry);
        if (status == STATUS_CORRUPT && merge->failed != NULL)
            atomic_store_explicit(&merge->failed->damaged, true, memory_order_relaxed);
        if (status != STATUS_OK)
            return status;
        atomic_fetch_add_explicit(&job->progress->records_done, 1, memory_order_relaxed);
    }
}

static enum status copy_all(struct job *job)
{
    struct merge merge;
    enum status status =
        merge_open(&merge, job->victims->tables, job->victims->count, (struct bytes){NULL, 0});
    if (status == STATUS_CORRUPT && merge.failed != NULL)
        atomic_store_explicit(&merge.failed->damaged, true, memory_order_relaxed);
    if (status == STATUS_OK)
        status = copy_merged(job, &merge);
    merge_close(&merge);
    return status;
}

/* ---- the edit ---- */

/* A copy can only be missing by a bug: then the victims stay. */
static enum status check_copied(struct job *job)
{
    for (size_t i = 0; i < job->victims->count; i++) {
        const struct source *source = &job->sources[i];
        uint64_t live = atomic_load_explicit(&source->table->live_records, memory_order_relaxed);
        if (source->copied >= live)
            continue;
        stats_add(job->options->store->stats, STATS_compaction_bugs, 1);
        event_tell(&job->options->events, (struct engine_event){.name = EVENT_COMPACTION_BUG,
                                                                .file = source->table->file->name,
                                                                .count = live - source->copied});
        atomic_store_explicit(&source->table->damaged, true, memory_order_relaxed);
        return STATUS_CORRUPT;
    }
    return STATUS_OK;
}

static enum status open_outputs(struct job *job)
{
    struct catalog *catalog = job->options->catalog;
    enum status status = disk_sync_directory(catalog->disk);
    for (size_t i = 0; i < job->output_count && status == STATUS_OK; i++) {
        struct output *output = &job->outputs[i];
        struct table *table;
        status = table_open(catalog->disk, catalog->uuid, &output->listing.identity, &table, NULL);
        if (status != STATUS_OK)
            break;
        const struct table_properties *properties = table->properties;
        atomic_store(&table->tombstones_were_kept, output->listing.flags != 0);
        /* All is live until a swing fails: who displaces a swung place counts it dead itself. */
        atomic_store(&table->live_records, properties->records - properties->tombstones);
        atomic_store(&table->live_bytes, properties->record_bytes - properties->tombstone_bytes);
        status = store_join_table(job->options->store, table);
        if (status == STATUS_OK)
            output->table = table;
        else
            table_close(table);
    }
    return status;
}

static enum status edit(struct job *job)
{
    struct journal *journal = job->options->journal;
    enum status status = job->options->lazy ? journal_sync(journal) : STATUS_OK;
    size_t removed_count = job->victims->count;
    AUTO_FREE uint64_t *removed = calloc(removed_count + 1, sizeof *removed);
    AUTO_FREE struct manifest_table *added = calloc(job->output_count + 1, sizeof *added);
    if (status == STATUS_OK && (removed == NULL || added == NULL))
        status = STATUS_NO_MEMORY;
    if (status != STATUS_OK)
        return status;
    for (size_t i = 0; i < removed_count; i++)
        removed[i] = job->victims->tables[i]->identity.id;
    for (size_t i = 0; i < job->output_count; i++)
        added[i] = job->outputs[i].listing;
    struct edit edit = {
        .added = added,
        .added_count = job->output_count,
        .removed_ids = removed,
        .removed_count = removed_count,
        .durable_sequence = journal_durable_sequence(journal),
    };
    return catalog_edit(job->options->catalog, &edit);
}

/* ---- swinging and letting go ---- */

/* What a key's place names in a victim is the version that was copied: a victim has one of each key,
 * the merge chose the newest, and only a newer write could have moved the place away. */
static bool swing_entry(struct job *job, const struct table *output,
                        const struct table_entry *copied)
{
    struct store *store = job->options->store;
    uint64_t hash = keymap_hash(store->keymap, copied->key);
    bool swung = false;
    reclaim_enter(store->reclaim);
    struct entry *entry = keymap_find(store->keymap, hash, copied->key);
    uint64_t place = entry != NULL ? entry_place(entry) : 0;
    if (place != 0 && !place_is_record(place) &&
        is_victim(job, slots_table(&store->slots, place_slot(place))))
        swung = entry_swing(entry, place, place_of_position(output->slot, copied->offset));
    reclaim_leave(store->reclaim);
    return swung;
}

/* The output was written a moment ago and read back whole: a failure here ends the process, and the
 * next start reads the manifest, which lists the outputs. */
static void swing_output(struct job *job, struct table *output)
{
    struct table_cursor cursor;
    table_cursor_init(&cursor, output);
    enum status status;
    while ((status = table_cursor_next(&cursor)) == STATUS_OK)
        if (cursor.entry.type == RECORD_PUT && !swing_entry(job, output, &cursor.entry))
            store_table_dead(output, cursor.entry.record_bytes);
    if (status != STATUS_NOT_FOUND)
        abort();
    table_cursor_done(&cursor);
    atomic_store_explicit(&output->settled, true, memory_order_release);
}

static void remove_file(struct job *job, uint64_t id)
{
    char name[64];
    table_name(id, name);
    /* A stray that cannot be removed now is removed at the next start. */
    enum status ignored = disk_remove(job->options->catalog->disk, name);
    (void)ignored;
}

static void let_go_of_victims(struct job *job)
{
    uint64_t first_sequence = UINT64_MAX;
    for (size_t i = 0; i < job->victims->count; i++) {
        struct table *table = job->victims->tables[i];
        if (table->properties->first_sequence < first_sequence)
            first_sequence = table->properties->first_sequence;
        remove_file(job, table->identity.id);
        store_leave_table(job->options->store, table);
    }
    /* Tombstones that hid something in them may go now. */
    for (size_t i = 0; i < job->view->table_count; i++)
        if (job->view->tables[i]->properties->last_sequence > first_sequence)
            atomic_store(&job->view->tables[i]->tombstones_were_kept, false);
}

static void give_up_outputs(struct job *job, enum status status)
{
    table_writer_close(job->writer);
    job->writer = NULL;
    for (size_t i = 0; i < job->output_count; i++) {
        if (job->outputs[i].table != NULL)
            store_leave_table(job->options->store, job->outputs[i].table);
        if (status != STATUS_UNKNOWN)
            remove_file(job, job->outputs[i].listing.identity.id);
    }
}

/* ---- a whole run ---- */

static enum status open_sources(struct job *job)
{
    job->sources = calloc(job->victims->count + 1, sizeof *job->sources);
    if (job->sources == NULL)
        return STATUS_NO_MEMORY;
    for (size_t i = 0; i < job->victims->count; i++) {
        struct table *table = job->victims->tables[i];
        job->sources[i].table = table;
        window_init(&job->sources[i].window, table->file, table->records_end);
        atomic_fetch_add(&job->progress->files_before, 1);
        atomic_fetch_add(&job->progress->bytes_before, table->identity.bytes);
        atomic_fetch_add(&job->progress->records_to_do, table->properties->records);
    }
    return STATUS_OK;
}

static void close_job(struct job *job)
{
    for (size_t i = 0; job->sources != NULL && i < job->victims->count; i++)
        window_done(&job->sources[i].window);
    free(job->sources);
    free(job->outputs);
}

enum status compaction_run(const struct compaction_options *options, const struct view *view,
                           const struct victims *victims, const atomic_bool *closing,
                           struct compaction_progress *progress)
{
    struct job job = {
        .options = options,
        .view = view,
        .victims = victims,
        .closing = closing,
        .progress = progress,
    };
    job.begun_ns = now_ns(&job);
    enum status status = open_sources(&job);
    if (status == STATUS_OK)
        status = copy_all(&job);
    if (status == STATUS_OK)
        status = check_copied(&job);
    if (status == STATUS_OK)
        status = open_outputs(&job);
    if (status == STATUS_OK)
        status = edit(&job);
    if (status == STATUS_OK) {
        for (size_t i = 0; i < job.output_count; i++)
            swing_output(&job, job.outputs[i].table);
        let_go_of_victims(&job);
    } else {
        give_up_outputs(&job, status);
    }
    close_job(&job);
    return status;
}
