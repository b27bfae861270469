/* SPDX-License-Identifier: Apache-2.0 */
/* Finding, judging and applying versions. */
#include "store.h"

#include <stdlib.h>

#include "reply.h"
#include "value.h"

enum {
    JOURNAL_SHARE = 4, /* of journal to memory, in a memtable that is full */
    JOURNAL_BYTES_MAX = 256 << 20,
    PASSING_SHARE = 8, /* of the memory, and so many bytes: what the index leaves to values */
    PASSING_BYTES = 3 << 20,
};

/* ---- opening and closing ---- */

/* Small values take far more of the journal than of memory: a small store, on a small disk, must
 * not let it grow as far as a large one may. */
static uint64_t journal_limit(uint64_t memtable_bytes_max)
{
    return memtable_bytes_max < JOURNAL_BYTES_MAX / JOURNAL_SHARE
               ? memtable_bytes_max * JOURNAL_SHARE
               : JOURNAL_BYTES_MAX;
}

/* An index that took all memory would leave none for the values of its keys, nor for the deletes that
 * make room: neither would come back before a start. */
static uint64_t index_limit(uint64_t memory_bytes_max)
{
    uint64_t passing = memory_bytes_max / PASSING_SHARE + PASSING_BYTES;
    return passing < memory_bytes_max / 2 ? memory_bytes_max - passing : memory_bytes_max / 2;
}

enum status store_init(struct store *store, uint64_t memory_bytes_max, uint64_t memtable_bytes_max,
                       struct stats *stats, const struct time_source *time, bool threaded)
{
    memset(store, 0, sizeof *store);
    store->budget.limit = memory_bytes_max;
    store->memtable_bytes_max = memtable_bytes_max;
    store->index_bytes_max = index_limit(memory_bytes_max);
    atomic_init(&store->journal_bytes_max, journal_limit(memtable_bytes_max));
    store->stats = stats;
    store->time = time;
    store->memtables.budget = &store->budget;
    slots_init(&store->slots);
    enum status status = reclaim_open(threaded, &store->reclaim);
    if (status == STATUS_OK)
        status = entry_pool_open(&store->budget, &store->entries);
    if (status == STATUS_OK)
        status = keymap_open(store->reclaim, &store->budget, &store->keymap);
    if (status == STATUS_OK)
        status = memtable_open(&store->memtables, &store->memtable);
    if (status == STATUS_OK)
        status = views_init(&store->views, store->reclaim, store->memtable);
    if (status != STATUS_OK)
        store_done(store);
    return status;
}

void store_done(struct store *store)
{
    if (store->time == NULL)
        return;
    bool listed = store->views.reclaim != NULL;
    /* Before the views: what waits for its readers is still pinned by old ones. Before the keymap:
     * slot arrays that wait charge its counters. */
    reclaim_close(store->reclaim);
    views_done(&store->views);
    if (!listed)
        memtable_close(store->memtable);
    keymap_close(store->keymap);
    entry_pool_close(store->entries);
    slots_done(&store->slots);
    memset(store, 0, sizeof *store);
}

/* ---- reading ---- */

/* Where a key's newest version was found. */
struct found {
    const struct record *record; /* in memory, until the epoch section ends; NULL: not there */
    struct table *table;         /* pinned; NULL: not in a table */
    uint64_t offset;
};

/* Inside an epoch section. False: no version at all. */
static bool find(struct store *store, uint64_t hash, struct bytes key, struct found *out_found)
{
    struct entry *entry = keymap_find(store->keymap, hash, key);
    if (entry == NULL)
        return false;
    uint64_t place = entry_place(entry);
    *out_found = (struct found){0};
    if (place_is_record(place)) {
        out_found->record = place_record(place);
        return true;
    }
    out_found->table = slots_table(&store->slots, place_slot(place));
    out_found->offset = place_offset(place);
    pin_take(&out_found->table->pin);
    return true;
}

static void unpin(struct table *table)
{
    if (pin_drop(&table->pin))
        table_close(table);
}

/* A checked copy from a pinned table, outside of any section: the disk may have to be read. */
static enum status copy_from_table(struct store *store, const struct found *found, struct bytes key,
                                   bool with_value, struct record **out_copy)
{
    struct record head;
    enum status status = table_head(found->table, found->offset, &head);
    if (status == STATUS_OK) {
        uint64_t bytes = reply_bytes(&head, with_value);
        struct record *copy = reply_open(&store->budget, bytes);
        if (copy == NULL)
            return STATUS_NO_MEMORY;
        status = table_read(found->table, found->offset, &head, bytes, copy);
        if (status == STATUS_OK && !reply_is_valid(copy, key, with_value))
            status = STATUS_CORRUPT;
        if (status == STATUS_OK)
            *out_copy = copy;
        else
            reply_close(copy);
    }
    if (status == STATUS_CORRUPT)
        atomic_store_explicit(&found->table->damaged, true, memory_order_relaxed);
    return status;
}

static enum status get_from_table(struct store *store, const struct found *found, struct bytes key,
                                  int64_t now_ms, bool with_value, struct engine_item *out_item)
{
    struct record *copy;
    enum status status = copy_from_table(store, found, key, with_value, &copy);
    unpin(found->table);
    if (status != STATUS_OK)
        return status;
    if (!record_is_live(copy, now_ms)) {
        reply_close(copy);
        return STATUS_NOT_FOUND;
    }
    *out_item = reply_item(copy, store->epoch, with_value);
    return STATUS_OK;
}

enum status store_get(struct store *store, struct bytes key, bool with_value,
                      struct engine_item *out_item)
{
    uint64_t hash = keymap_hash(store->keymap, key);
    int64_t now_ms = store->time->wall_ms(store->time);
    struct found found;
    enum status status = STATUS_NOT_FOUND;
    reclaim_enter(store->reclaim);
    bool any = find(store, hash, key, &found);
    if (any && found.record != NULL && record_is_live(found.record, now_ms))
        status = value_reply(&store->budget, found.record, store->epoch, with_value, out_item);
    reclaim_leave(store->reclaim);
    if (any && found.table != NULL)
        status = get_from_table(store, &found, key, now_ms, with_value, out_item);
    return status;
}

enum status store_get_short(struct store *store, struct bytes key, uint64_t value_bytes_max,
                            struct engine_item *out_item)
{
    struct engine_item item;
    enum status status = store_get(store, key, false, &item);
    if (status != STATUS_OK || item.value.size > value_bytes_max) {
        if (status == STATUS_OK)
            *out_item = item;
        return status;
    }
    engine_item_done(&item);
    return store_get(store, key, true, out_item);
}

bool store_is_newest(struct store *store, const struct record *record)
{
    uint64_t hash = keymap_hash(store->keymap, record_key(record));
    reclaim_enter(store->reclaim);
    struct entry *entry = keymap_find(store->keymap, hash, record_key(record));
    bool newest = entry != NULL && entry_place(entry) == place_of_record(record);
    reclaim_leave(store->reclaim);
    return newest;
}

void store_touch(struct store *store, uint64_t hash, struct bytes key)
{
    struct found found;
    reclaim_enter(store->reclaim);
    bool any = find(store, hash, key, &found);
    reclaim_leave(store->reclaim);
    struct record *copy;
    if (!any || found.table == NULL)
        return;
    if (copy_from_table(store, &found, key, false, &copy) == STATUS_OK)
        reply_close(copy);
    unpin(found.table);
}

/* ---- judging ---- */

static enum status current_of_record(const struct record *record, int64_t now_ms,
                                     struct store_current *out_current)
{
    if (!record_head_is_valid(record, record_bytes(record)))
        return STATUS_CORRUPT;
    bool live = record_is_live(record, now_ms);
    *out_current = (struct store_current){
        .present = live,
        .sequence = live ? record->sequence : 0,
        .expired = !live && record->type == RECORD_PUT,
    };
    return STATUS_OK;
}

/* Whether the version must be read: the leader knows from the entry whether it may have expired. */
static bool must_be_read(struct store *store, uint64_t hash, struct bytes key, bool exact)
{
    const struct entry *entry = keymap_find(store->keymap, hash, key);
    return exact || (entry->flags & ENTRY_EXPIRES) != 0;
}

enum status store_current(struct store *store, uint64_t hash, struct bytes key, int64_t now_ms,
                          bool exact, struct store_current *out_current)
{
    struct found found;
    enum status status = STATUS_OK;
    *out_current = (struct store_current){0};
    reclaim_enter(store->reclaim);
    bool any = find(store, hash, key, &found);
    bool read = any && found.table != NULL && must_be_read(store, hash, key, exact);
    if (any && found.record != NULL)
        status = current_of_record(found.record, now_ms, out_current);
    reclaim_leave(store->reclaim);
    if (!any || found.table == NULL)
        return status;
    struct record *copy = NULL;
    if (read)
        status = copy_from_table(store, &found, key, false, &copy);
    unpin(found.table);
    if (read && status == STATUS_OK)
        status = current_of_record(copy, now_ms, out_current);
    else if (!read)
        out_current->present = true; /* what stands in a table is a put */
    reply_close(copy);
    return status;
}

/* ---- applying ---- */

void store_table_live(struct table *table, uint64_t records, uint64_t record_bytes)
{
    atomic_fetch_add_explicit(&table->live_records, records, memory_order_relaxed);
    atomic_fetch_add_explicit(&table->live_bytes, record_bytes, memory_order_relaxed);
}

void store_table_dead(struct table *table, uint64_t record_bytes)
{
    atomic_fetch_sub_explicit(&table->live_records, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&table->live_bytes, record_bytes, memory_order_relaxed);
}

/* The version at `place` is not the newest any more. Whether it was a put. In an epoch section. */
static bool displace(struct store *store, uint64_t place, uint32_t record_bytes)
{
    if (place == 0)
        return false;
    if (place_is_record(place))
        return place_record(place)->type == RECORD_PUT;
    store_table_dead(slots_table(&store->slots, place_slot(place)), record_bytes);
    return true;
}

bool store_apply(struct store *store, uint64_t hash, struct record *record, struct entry *spare)
{
    struct entry **noted = memtable_list(store->memtable, record);
    uint64_t before;
    reclaim_enter(store->reclaim);
    struct entry *entry = keymap_put(store->keymap, hash, record_key(record), spare,
                                     place_of_record(record), &before);
    *noted = entry;
    bool was_put = displace(store, before, entry->record_bytes);
    reclaim_leave(store->reclaim);
    entry->record_bytes = (uint32_t)record_bytes(record);
    entry->flags = record->expires_ms != 0 ? ENTRY_EXPIRES : 0;
    bool is_put = record->type == RECORD_PUT;
    if (is_put && record->expires_ms != 0)
        memtable_note_expiry(store->memtable, record->expires_ms);
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

/* ---- memory ---- */

bool store_would_bury(const struct store *store)
{
    return memtable_record_bytes(store->memtable) > 0 &&
           keymap_count(store->keymap) > atomic_load_explicit(&store->keys, memory_order_relaxed);
}

struct entry *store_take_entry(struct store *store, struct bytes key)
{
    return store_index_is_full(store) ? entry_pool_take_idle(store->entries, key)
                                      : entry_pool_take(store->entries, key);
}

/* ---- memtables ---- */

enum status store_freeze(struct store *store)
{
    struct memtable *fresh;
    enum status status = memtable_open(&store->memtables, &fresh);
    if (status != STATUS_OK)
        return status;
    memtable_freeze(store->memtable, store_sequence(store));
    status = views_change(&store->views, &(struct view_change){.added_memtable = fresh});
    if (status != STATUS_OK) {
        memtable_close(fresh);
        return status;
    }
    store->memtable = fresh;
    atomic_store_explicit(&store->memtable_is_full, false, memory_order_relaxed);
    return STATUS_OK;
}

bool store_freeze_if_full(struct store *store)
{
    bool full = memtable_record_bytes(store->memtable) >= store->memtable_bytes_max ||
                memtable_journal_bytes(store->memtable) >= store_journal_limit(store);
    atomic_store_explicit(&store->memtable_is_full, full, memory_order_relaxed);
    return full && store_has_room(store) && store_freeze(store) == STATUS_OK;
}

/* ---- tables ---- */

/* After the grace period: no section can load a place in it any more. */
static void release_table(struct retired *retired)
{
    struct table *table =
        (struct table *)((unsigned char *)retired - offsetof(struct table, retired));
    slots_leave(table->slots, table->slot);
    if (pin_retire(&table->pin))
        table_close(table);
}

enum status store_join_tables(struct store *store, struct table *const *tables, size_t count)
{
    enum status status = STATUS_OK;
    size_t joined = 0;
    for (; joined < count && status == STATUS_OK; joined++) {
        tables[joined]->slots = &store->slots;
        status = slots_join(&store->slots, tables[joined]);
    }
    if (status != STATUS_OK)
        joined--; /* the last one got none */
    struct view_change change = {.added_tables = tables, .added_table_count = count};
    if (status == STATUS_OK)
        status = views_change(&store->views, &change);
    for (size_t i = 0; i < joined && status != STATUS_OK; i++)
        slots_leave(&store->slots, tables[i]->slot);
    return status;
}

void store_leave_tables(struct store *store, struct table *const *tables, size_t count)
{
    struct view_change change = {.removed_tables = tables, .removed_table_count = count};
    if (views_change(&store->views, &change) != STATUS_OK)
        return;
    for (size_t i = 0; i < count; i++) {
        tables[i]->retired = (struct retired){.release = release_table};
        reclaim_retire(store->reclaim, &tables[i]->retired);
    }
}
