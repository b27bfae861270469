/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rewrite; then the same order as a dump: sync, open, [what was decided upon is durable], edit,
 * swing, let go. The swing walks the outputs' indexes and looks every key up again, so that nothing
 * need be remembered of the copies.
 */
#include "compaction.h"

#include <stdlib.h>

#include "rewrite.h"

struct job {
    const struct compaction_options *options;
    const struct view *view;
    const struct victims *victims;
    struct rewrite rewrite;
    struct table **outputs; /* opened */
    size_t output_count;
    struct table_cursor cursor; /* with room for each output */
    uint64_t *forgiven_ids;     /* of tables whose tombstones hid, perhaps, what was left out */
    size_t forgiven_count;
};

/* ---- checking ---- */

/* The count may lag behind: a writer counts what it displaced a moment after it did. */
static enum status recount_live(struct store *store, struct table *table, uint64_t *out_live)
{
    struct table_cursor cursor;
    uint64_t live = 0;
    enum status status;
    table_cursor_init(&cursor, table);
    while ((status = table_cursor_next(&cursor)) == STATUS_OK)
        live += cursor.entry.type == RECORD_PUT && rewrite_is_live(store, table, &cursor.entry);
    table_cursor_done(&cursor);
    if (status != STATUS_NOT_FOUND)
        return status;
    *out_live = live;
    return STATUS_OK;
}

/* A copy can only be missing by a bug: then the victims stay. */
static enum status check_source(struct job *job, const struct rewrite_source *source)
{
    struct store *store = job->options->store;
    uint64_t live = atomic_load_explicit(&source->table->live_records, memory_order_relaxed);
    if (source->copied >= live)
        return STATUS_OK;
    enum status status = recount_live(store, source->table, &live);
    if (status != STATUS_OK || source->copied >= live)
        return status;
    stats_add(store->stats, STATS_compaction_bugs, 1);
    event_tell(&job->options->events, (struct engine_event){.name = EVENT_COMPACTION_BUG,
                                                            .file = source->table->file->name,
                                                            .count = live - source->copied});
    atomic_store_explicit(&source->table->damaged, true, memory_order_relaxed);
    return STATUS_CORRUPT;
}

static enum status check_copied(struct job *job)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; i < job->victims->count && status == STATUS_OK; i++)
        status = check_source(job, &job->rewrite.sources[i]);
    return status;
}

/* ---- the edit ---- */

static enum status open_output(struct job *job, const struct manifest_table *listing)
{
    struct catalog *catalog = job->options->catalog;
    struct table *table;
    enum status status = table_open(catalog->disk, catalog->uuid, &listing->identity, &table, NULL);
    if (status != STATUS_OK)
        return status;
    const struct table_properties *properties = table->properties;
    atomic_store(&table->tombstones_were_kept, listing->flags != 0);
    /* All is live until a swing fails: who displaces a swung place counts it dead itself. */
    atomic_store(&table->live_records, properties->records - properties->tombstones);
    atomic_store(&table->live_bytes, properties->record_bytes - properties->tombstone_bytes);
    job->outputs[job->output_count++] = table;
    return table_cursor_reserve(&job->cursor, table);
}

/* Until they join the view they are ours to close. */
static enum status open_outputs(struct job *job)
{
    const struct rewrite *rewrite = &job->rewrite;
    job->outputs = calloc(rewrite->output_count + 1, sizeof(struct table *));
    if (job->outputs == NULL)
        return STATUS_NO_MEMORY;
    enum status status = disk_sync_directory(job->options->catalog->disk);
    for (size_t i = 0; i < rewrite->output_count && status == STATUS_OK; i++)
        status = open_output(job, &rewrite->outputs[i]);
    if (status == STATUS_OK)
        status = store_join_tables(job->options->store, job->outputs, job->output_count);
    if (status == STATUS_OK)
        return STATUS_OK;
    while (job->output_count > 0)
        table_close(job->outputs[--job->output_count]);
    return status;
}

static uint64_t first_sequence(const struct victims *victims)
{
    uint64_t first = UINT64_MAX;
    for (size_t i = 0; i < victims->count; i++)
        if (victims->tables[i]->properties->first_sequence < first)
            first = victims->tables[i]->properties->first_sequence;
    return first;
}

/* Tombstones that had to stay because of what is left out now may go the next time. Where nothing
 * was left out there is nothing to gain: two tables would forgive each other for ever. */
static enum status choose_forgiven(struct job *job)
{
    uint64_t records = 0, first = first_sequence(job->victims);
    job->forgiven_ids = calloc(job->view->table_count + 1, sizeof *job->forgiven_ids);
    if (job->forgiven_ids == NULL)
        return STATUS_NO_MEMORY;
    for (size_t i = 0; i < job->victims->count; i++)
        records += job->victims->tables[i]->properties->records;
    for (size_t i = 0; i < job->view->table_count && job->rewrite.kept_records < records; i++) {
        const struct table *table = job->view->tables[i];
        if (table->victim == 0 && atomic_load(&table->tombstones_were_kept) &&
            table->properties->last_sequence > first)
            job->forgiven_ids[job->forgiven_count++] = table->identity.id;
    }
    return STATUS_OK;
}

static enum status edit(struct job *job)
{
    struct journal *journal = job->options->journal;
    AUTO_FREE uint64_t *removed_ids = calloc(job->victims->count + 1, sizeof *removed_ids);
    enum status status = removed_ids != NULL ? choose_forgiven(job) : STATUS_NO_MEMORY;
    if (status == STATUS_OK && job->options->lazy)
        status = journal_sync(journal);
    if (status != STATUS_OK)
        return status;
    for (size_t i = 0; i < job->victims->count; i++)
        removed_ids[i] = job->victims->tables[i]->identity.id;
    struct edit edit = {
        .added = job->rewrite.outputs,
        .added_count = job->rewrite.output_count,
        .removed_ids = removed_ids,
        .removed_count = job->victims->count,
        .forgiven_ids = job->forgiven_ids,
        .forgiven_count = job->forgiven_count,
        .durable_sequence = journal_durable_sequence(journal),
    };
    return catalog_edit(job->options->catalog, &edit);
}

static void remove_file(struct job *job, uint64_t id)
{
    char name[64];
    table_name(id, name);
    /* A stray that cannot be removed now is removed at the next start. */
    enum status ignored = disk_remove(job->options->catalog->disk, name);
    (void)ignored;
}

/* The edit did not come about: the outputs are nobody's. After an uncertain one their files stay. */
static void give_up_outputs(struct job *job, enum status status)
{
    if (job->output_count > 0)
        store_leave_tables(job->options->store, job->outputs, job->output_count);
    for (size_t i = 0; i < job->rewrite.output_count && status != STATUS_UNKNOWN; i++)
        remove_file(job, job->rewrite.outputs[i].identity.id);
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
        slots_table(&store->slots, place_slot(place))->victim != 0)
        swung = entry_swing(entry, place, place_of_position(output->slot, copied->offset));
    reclaim_leave(store->reclaim);
    return swung;
}

static enum status swing_output(struct job *job, struct table *output)
{
    struct table_cursor *cursor = &job->cursor;
    enum status status;
    table_cursor_aim(cursor, output);
    while ((status = table_cursor_next(cursor)) == STATUS_OK)
        if (cursor->entry.type == RECORD_PUT && !swing_entry(job, output, &cursor->entry))
            store_table_dead(output, cursor->entry.record_bytes);
    if (status != STATUS_NOT_FOUND)
        return status;
    atomic_store_explicit(&output->settled, true, memory_order_release);
    return STATUS_OK;
}

static enum status swing_all(struct job *job)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; i < job->output_count && status == STATUS_OK; i++)
        status = swing_output(job, job->outputs[i]);
    return status;
}

static void let_go_of_victims(struct job *job)
{
    for (size_t i = 0; i < job->victims->count; i++)
        remove_file(job, job->victims->tables[i]->identity.id);
    store_leave_tables(job->options->store, job->victims->tables, job->victims->count);
}

/* An output that was written a moment ago cannot be read: the keys that were not swung are read from
 * the victims, which stay open, and their files for whoever has to mend the store. */
static void keep_victims(struct job *job)
{
    for (size_t i = 0; i < job->victims->count; i++)
        atomic_store_explicit(&job->victims->tables[i]->damaged, true, memory_order_relaxed);
}

static void forgive(struct job *job)
{
    for (size_t i = 0; i < job->view->table_count; i++)
        for (size_t j = 0; j < job->forgiven_count; j++)
            if (job->view->tables[i]->identity.id == job->forgiven_ids[j])
                atomic_store(&job->view->tables[i]->tombstones_were_kept, false);
}

/* After the edit nothing is given up any more. */
static enum status finish(struct job *job)
{
    forgive(job);
    enum status status = swing_all(job);
    if (status == STATUS_OK)
        let_go_of_victims(job);
    else
        keep_victims(job);
    return status;
}

/* ---- a whole run ---- */

static enum status prepare(struct job *job)
{
    if (catalog_is_uncertain(job->options->catalog))
        return STATUS_UNKNOWN;
    enum status status = rewrite_run(&job->rewrite);
    if (status == STATUS_OK)
        status = check_copied(job);
    return status == STATUS_OK ? open_outputs(job) : status;
}

/* What was given up has rewritten nothing. */
static void take_back_progress(struct job *job)
{
    struct compaction_progress *progress = job->rewrite.progress;
    for (size_t i = 0; i < job->victims->count; i++) {
        atomic_fetch_sub(&progress->files_before, 1);
        atomic_fetch_sub(&progress->bytes_before, job->victims->tables[i]->identity.bytes);
    }
    for (size_t i = 0; i < job->rewrite.output_count; i++) {
        atomic_fetch_sub(&progress->files_after, 1);
        atomic_fetch_sub(&progress->bytes_after, job->rewrite.outputs[i].identity.bytes);
    }
}

static enum status run(struct job *job)
{
    enum status status = prepare(job);
    if (status == STATUS_OK)
        status = edit(job);
    if (status == STATUS_OK)
        return finish(job);
    give_up_outputs(job, status);
    take_back_progress(job);
    return status;
}

enum status compaction_run(const struct compaction_options *options, const struct view *view,
                           const struct victims *victims, const atomic_bool *closing,
                           struct compaction_progress *progress)
{
    struct job job = {.options = options, .view = view, .victims = victims};
    enum status status = rewrite_open(&job.rewrite, options, view, victims, closing, progress);
    if (status == STATUS_OK)
        status = run(&job);
    rewrite_close(&job.rewrite);
    table_cursor_done(&job.cursor);
    free(job.outputs);
    free(job.forgiven_ids);
    return status;
}
