/* SPDX-License-Identifier: Apache-2.0 */
/* Applying edits to a copy of the manifest, which becomes the manifest once it is on the disk. */
#include "catalog.h"

#include <string.h>

void catalog_init(struct catalog *catalog, struct disk *disk, struct manifest *manifest)
{
    *catalog = (struct catalog){.disk = disk, .manifest = *manifest};
    memcpy(catalog->uuid, manifest->uuid, sizeof catalog->uuid);
    atomic_init(&catalog->next_table_id, manifest->next_table_id);
    atomic_init(&catalog->flushed_sequence, manifest->flushed_sequence);
    *manifest = (struct manifest){0};
    pthread_mutex_init(&catalog->mutex, NULL);
}

void catalog_done(struct catalog *catalog)
{
    if (catalog->disk == NULL)
        return;
    manifest_done(&catalog->manifest);
    pthread_mutex_destroy(&catalog->mutex);
    catalog->disk = NULL;
}

uint64_t catalog_new_table_id(struct catalog *catalog)
{
    return atomic_fetch_add_explicit(&catalog->next_table_id, 1, memory_order_relaxed);
}

static enum status apply_edit(struct manifest *manifest, const struct edit *edit)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; i < edit->removed_count; i++)
        manifest_remove(manifest, edit->removed_ids[i]);
    for (size_t i = 0; i < edit->forgiven_count; i++)
        manifest_forgive(manifest, edit->forgiven_ids[i]);
    for (size_t i = 0; i < edit->added_count && status == STATUS_OK; i++)
        status = manifest_add(manifest, &edit->added[i]);
    if (edit->flushed_sequence > manifest->flushed_sequence)
        manifest->flushed_sequence = edit->flushed_sequence;
    if (edit->durable_sequence > manifest->durable_sequence)
        manifest->durable_sequence = edit->durable_sequence;
    if (edit->journal_first > manifest->journal_first)
        manifest->journal_first = edit->journal_first;
    if (edit->journal_kept > manifest->journal_kept)
        manifest->journal_kept = edit->journal_kept;
    return status;
}

static enum status edit_locked(struct catalog *catalog, const struct edit *edit)
{
    if (catalog->uncertain)
        return STATUS_UNKNOWN;
    struct manifest changed;
    enum status status = manifest_copy(&catalog->manifest, &changed);
    if (status != STATUS_OK)
        return status;
    changed.next_table_id = atomic_load_explicit(&catalog->next_table_id, memory_order_relaxed);
    status = apply_edit(&changed, edit);
    if (status == STATUS_OK)
        status = manifest_write(catalog->disk, &changed);
    catalog->uncertain = status == STATUS_UNKNOWN;
    if (status != STATUS_OK) {
        manifest_done(&changed);
        return status;
    }
    manifest_done(&catalog->manifest);
    catalog->manifest = changed;
    atomic_store_explicit(&catalog->flushed_sequence, changed.flushed_sequence,
                          memory_order_release);
    return STATUS_OK;
}

enum status catalog_edit(struct catalog *catalog, const struct edit *edit)
{
    pthread_mutex_lock(&catalog->mutex);
    enum status status = edit_locked(catalog, edit);
    pthread_mutex_unlock(&catalog->mutex);
    return status;
}

bool catalog_is_uncertain(struct catalog *catalog)
{
    pthread_mutex_lock(&catalog->mutex);
    bool uncertain = catalog->uncertain;
    pthread_mutex_unlock(&catalog->mutex);
    return uncertain;
}
