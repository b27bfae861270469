/* SPDX-License-Identifier: Apache-2.0 */
/* Gathering keys by shard. */
#include "intake.h"

#include <stdlib.h>

/* What of a table is live: its own counters are every thread's. */
struct intake_live {
    uint64_t records, bytes;
};

static size_t slot_count(const struct view *view)
{
    size_t count = 0;
    for (size_t i = 0; i < view->table_count; i++)
        if (view->tables[i]->slot >= count)
            count = view->tables[i]->slot + 1;
    return count;
}

struct intake *intake_open(struct store *store, const struct view *view)
{
    struct intake *intake = malloc(sizeof *intake);
    struct intake_live *live = calloc(slot_count(view) + 1, sizeof *live);
    if (intake == NULL || live == NULL) {
        free(intake);
        free(live);
        return NULL;
    }
    intake->store = store;
    intake->view = view;
    intake->live = live;
    entry_cutter_init(&intake->entries, store->entries);
    memset(intake->counts, 0, sizeof intake->counts);
    return intake;
}

void intake_close(struct intake *intake)
{
    if (intake == NULL)
        return;
    for (size_t shard = 0; shard < KEYMAP_SHARDS; shard++)
        for (size_t i = 0; i < intake->counts[shard]; i++)
            entry_pool_give(intake->store->entries, intake->gathered[shard][i].entry);
    entry_cutter_done(&intake->entries);
    free(intake->live);
    free(intake);
}

static enum status insert(struct intake *intake, size_t shard)
{
    size_t count = intake->counts[shard];
    if (count == 0)
        return STATUS_OK;
    enum status status = keymap_add(intake->store->keymap, intake->gathered[shard], count);
    if (status != STATUS_OK)
        return status;
    intake->counts[shard] = 0;
    atomic_fetch_add_explicit(&intake->store->keys, count, memory_order_relaxed);
    return STATUS_OK;
}

enum status intake_add(struct intake *intake, struct table *table, const struct table_entry *loaded)
{
    uint64_t hash = keymap_hash(intake->store->keymap, loaded->key);
    unsigned shard = keymap_shard(hash);
    enum status status =
        intake->counts[shard] == INTAKE_GATHERED ? insert(intake, shard) : STATUS_OK;
    if (status != STATUS_OK)
        return status;
    struct entry *entry = entry_cutter_take(&intake->entries, loaded->key);
    if (entry == NULL)
        return STATUS_NO_MEMORY;
    atomic_init(&entry->place, place_of_position(table->slot, loaded->offset));
    entry->record_bytes = loaded->record_bytes;
    entry->flags = loaded->expires_ms != 0 ? ENTRY_EXPIRES : 0;
    intake->gathered[shard][intake->counts[shard]++] = (struct keymap_addition){hash, entry};
    intake->live[table->slot].records++;
    intake->live[table->slot].bytes += loaded->record_bytes;
    return STATUS_OK;
}

enum status intake_flush(struct intake *intake)
{
    enum status status = STATUS_OK;
    for (size_t shard = 0; shard < KEYMAP_SHARDS && status == STATUS_OK; shard++)
        status = insert(intake, shard);
    for (size_t i = 0; i < intake->view->table_count && status == STATUS_OK; i++) {
        struct table *table = intake->view->tables[i];
        struct intake_live *live = &intake->live[table->slot];
        store_table_live(table, live->records, live->bytes);
        *live = (struct intake_live){0};
    }
    return status;
}
