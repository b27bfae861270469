/* SPDX-License-Identifier: Apache-2.0 */
/* Finding, judging and applying versions. */
#include "store.h"

#include "value.h"

enum status store_init(struct store *store, uint64_t memory_bytes_max, struct stats *stats,
                       const struct time_source *time, bool threaded)
{
    *store = (struct store){.budget = {.limit = memory_bytes_max}, .stats = stats, .time = time};
    enum status status = reclaim_open(threaded, &store->reclaim);
    if (status == STATUS_OK)
        status = entry_pool_open(&store->budget, &store->entries);
    if (status == STATUS_OK)
        status = keymap_open(store->reclaim, &store->budget, &store->keymap);
    if (status == STATUS_OK)
        status = memtable_open(&store->budget, &store->memtable);
    if (status != STATUS_OK)
        store_done(store);
    return status;
}

void store_done(struct store *store)
{
    memtable_close(store->memtable);
    /* Before the keymap: slot arrays that wait for their readers charge its counters. */
    reclaim_close(store->reclaim);
    keymap_close(store->keymap);
    entry_pool_close(store->entries);
    *store = (struct store){0};
}

/* Inside an epoch section. NULL: no live version. */
static const struct record *find_live(struct store *store, uint64_t hash, struct bytes key,
                                      int64_t now_ms)
{
    struct entry *entry = keymap_find(store->keymap, hash, key);
    if (entry == NULL)
        return NULL;
    const struct record *record = entry_record(entry);
    return record_is_live(record, now_ms) ? record : NULL;
}

enum status store_get(struct store *store, struct bytes key, bool with_value,
                      struct engine_item *out_item)
{
    uint64_t hash = keymap_hash(store->keymap, key);
    int64_t now_ms = store->time->wall_ms(store->time);
    reclaim_enter(store->reclaim);
    const struct record *record = find_live(store, hash, key, now_ms);
    enum status status =
        record == NULL ? STATUS_NOT_FOUND
                       : value_reply(&store->budget, record, store->epoch, with_value, out_item);
    reclaim_leave(store->reclaim);
    return status;
}

enum status store_version(struct store *store, uint64_t hash, struct bytes key, int64_t now_ms,
                          uint64_t *out_sequence)
{
    reclaim_enter(store->reclaim);
    const struct record *record = find_live(store, hash, key, now_ms);
    bool valid = record == NULL || record_head_is_valid(record, record_bytes(record));
    uint64_t sequence = record != NULL ? record->sequence : 0;
    reclaim_leave(store->reclaim);
    if (!valid)
        return STATUS_CORRUPT;
    *out_sequence = sequence;
    return STATUS_OK;
}

bool store_apply(struct store *store, uint64_t hash, struct record *record, struct entry *spare)
{
    memtable_list(store->memtable, record);
    uint64_t before;
    struct entry *entry = keymap_put(store->keymap, hash, record_key(record), spare,
                                     (uint64_t)(uintptr_t)record, &before);
    entry->record_bytes = (uint32_t)record_bytes(record);
    bool was_put = before != 0 && ((const struct record *)before)->type == RECORD_PUT;
    bool is_put = record->type == RECORD_PUT;
    if (is_put != was_put)
        atomic_fetch_add_explicit(&store->keys, is_put ? 1 : UINT64_MAX, memory_order_relaxed);
    return entry == spare;
}

/* A copy of `record` in the store's memory; a large one as a value of its own. */
static enum status keep_copy(struct store *store, const struct record *record,
                             struct record **out_copy)
{
    if (value_is_large(record)) {
        struct value *value;
        enum status status = value_keep(&store->budget, record, &value);
        if (status == STATUS_OK)
            *out_copy = &value->record;
        return status;
    }
    *out_copy = memtable_cut(store->memtable, record_bytes(record));
    if (*out_copy == NULL)
        return STATUS_NO_MEMORY;
    memcpy(*out_copy, record, record_bytes(record));
    return STATUS_OK;
}

enum status store_replay(struct store *store, const struct record *record)
{
    uint64_t hash = keymap_hash(store->keymap, record_key(record));
    struct record *copy;
    enum status status = memtable_reserve(store->memtable, 1);
    if (status == STATUS_OK)
        status = keymap_reserve(store->keymap, hash);
    if (status != STATUS_OK)
        return status;
    struct entry *spare = entry_pool_take(store->entries, record_key(record));
    status = spare == NULL ? STATUS_NO_MEMORY : keep_copy(store, record, &copy);
    if (status != STATUS_OK) {
        keymap_unreserve(store->keymap, hash);
        entry_pool_give(store->entries, spare);
        return status;
    }
    if (!store_apply(store, hash, copy, spare))
        entry_pool_give(store->entries, spare);
    return STATUS_OK;
}
