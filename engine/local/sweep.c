/* SPDX-License-Identifier: Apache-2.0 */
/* Looking, collecting, committing. Keys are copied: nothing is pinned that a commit may wait for. */
#include "sweep.h"

#include <stdlib.h>

#include "rewrite.h"

#define NS_PER_MS UINT64_C(1000000)

enum {
    KEYS_MAX = 4096,             /* collected before they are committed */
    KEYS_BYTES = 4 * UINT16_MAX, /* ... and their bytes; any key fits */
    OPERATIONS_MAX = 256,        /* of one commit: others come in between */
    SLICE_RECORDS = 256,         /* of a memtable, between two looks at whether to go on */
    SLICE_ENTRIES = 1024,        /* the same of a table */
    RUN_MS = 1000,               /* then compaction has its turn */
    COMMIT_MS_MAX = 1000,        /* to wait for room in the store */
    LOOK_SHARE = 20,             /* of the time, at most this part is spent on looking */
};

struct sweep {
    /* set at open, then constant */
    struct sweep_options options;
    /* atomic inside */
    struct cancel cancel;
    /* the run's */
    bool all;
    int64_t now_ms;
    uint64_t begun_ns, committing_ns;
    uint64_t rest_until_ns; /* looking has had its share until then */
    /* what was collected */
    size_t count, bytes;
    size_t deleted; /* by the last commits */
    struct bytes keys[KEYS_MAX];
    unsigned char room[KEYS_BYTES];
    struct engine_operation operations[OPERATIONS_MAX];
};

static uint64_t now_ns(const struct sweep *sweep)
{
    const struct time_source *time = sweep->options.store->time;
    return time->monotonic_ns(time);
}

/* Whether the run's time is up. */
static bool is_up(const struct sweep *sweep)
{
    return cancel_fired(&sweep->cancel) ||
           (!sweep->all && now_ns(sweep) - sweep->begun_ns >= RUN_MS * NS_PER_MS);
}

/* ---- committing ---- */

static bool has_room(const struct sweep *sweep, struct bytes key)
{
    return sweep->count < KEYS_MAX && sweep->bytes + key.size <= KEYS_BYTES;
}

static void collect(struct sweep *sweep, struct bytes key)
{
    unsigned char *copy = sweep->room + sweep->bytes;
    memcpy(copy, key.data, key.size);
    sweep->keys[sweep->count++] = (struct bytes){copy, key.size};
    sweep->bytes += key.size;
}

/* A damaged record keeps its batch from being deleted, and no other: the table it stands in is marked
 * by now, and left alone from the next look on. */
static enum status commit_some(struct sweep *sweep, size_t from, uint32_t count)
{
    struct engine_context context = {now_ns(sweep) + COMMIT_MS_MAX * NS_PER_MS, &sweep->cancel};
    for (uint32_t i = 0; i < count; i++)
        sweep->operations[i] =
            (struct engine_operation){.type = ENGINE_DELETE, .key = sweep->keys[from + i]};
    enum status status = commit_expired(sweep->options.commit, sweep->operations, count, &context);
    for (uint32_t i = 0; i < count && status == STATUS_OK; i++)
        sweep->deleted += sweep->operations[i].outcome == ENGINE_DELETED;
    return status == STATUS_CORRUPT ? STATUS_OK : status;
}

/* What could not be committed is found again: its source is still due. */
static enum status commit_collected(struct sweep *sweep)
{
    uint64_t begun_ns = now_ns(sweep);
    uint32_t most = sweep->options.operations_max < OPERATIONS_MAX ? sweep->options.operations_max
                                                                   : OPERATIONS_MAX;
    enum status status = STATUS_OK;
    sweep->deleted = 0;
    for (size_t at = 0; at < sweep->count && status == STATUS_OK && !is_up(sweep); at += most) {
        size_t left = sweep->count - at;
        status = commit_some(sweep, at, left < most ? (uint32_t)left : most);
    }
    sweep->count = sweep->bytes = 0;
    sweep->committing_ns += now_ns(sweep) - begun_ns;
    return status;
}

/* ---- memtables ---- */

/* False: there was no room for it. */
static bool look_at_record(struct sweep *sweep, struct memtable *memtable,
                           const struct record *record)
{
    if (record->type != RECORD_PUT || record->expires_ms == 0 ||
        !store_is_newest(sweep->options.store, record))
        return true;
    memtable_note_expiry(memtable, record->expires_ms);
    if (record->expires_ms > sweep->now_ms)
        return true;
    if (!has_room(sweep, record_key(record)))
        return false;
    collect(sweep, record_key(record));
    return true;
}

/* From where the look before stopped. What is collected stays noted, until a look finds it gone. */
static void look_at_memtable(struct sweep *sweep, struct memtable *memtable)
{
    const struct record *records[SLICE_RECORDS];
    uint64_t *at = memtable_looked_at(memtable), count;
    if (*at == 0)
        memtable_forget_expiry(memtable);
    do {
        count = memtable_copy_listed(memtable, *at, SLICE_RECORDS, records);
        for (uint64_t i = 0; i < count; i++)
            if (!look_at_record(sweep, memtable, records[i])) {
                *at += i;
                return;
            }
        *at += count;
    } while (count > 0 && !is_up(sweep));
    if (count == 0)
        *at = 0;
}

/* Under a view that is given back before anything is committed: writers wait for memtables. */
static void look_at_memtables(struct sweep *sweep)
{
    struct views *views = &sweep->options.store->views;
    const struct view *view = views_pin(views);
    for (size_t i = 0; i < view->memtable_count && sweep->count < KEYS_MAX; i++)
        if (*memtable_looked_at(view->memtables[i]) > 0 ||
            memtable_next_expiry(view->memtables[i]) <= sweep->now_ms)
            look_at_memtable(sweep, view->memtables[i]);
    view_unpin(view);
}

static enum status sweep_memtables(struct sweep *sweep)
{
    enum status status;
    do {
        look_at_memtables(sweep);
        status = commit_collected(sweep);
    } while (status == STATUS_OK && sweep->deleted > 0 && !is_up(sweep));
    return status;
}

/* ---- tables ---- */

static enum status look_at_entry(struct sweep *sweep, struct table *table,
                                 const struct table_entry *entry, int64_t *next_expiry_ms)
{
    enum status status = STATUS_OK;
    if (entry->type != RECORD_PUT || entry->expires_ms == 0 ||
        !rewrite_is_live(sweep->options.store, table, entry))
        return STATUS_OK;
    if (entry->expires_ms < *next_expiry_ms)
        *next_expiry_ms = entry->expires_ms;
    if (entry->expires_ms > sweep->now_ms)
        return STATUS_OK;
    if (!has_room(sweep, entry->key))
        status = commit_collected(sweep);
    if (status == STATUS_OK)
        collect(sweep, entry->key);
    return status;
}

/* CANCELLED: the time is up. An index that cannot be read is no reason to leave the others alone. */
static enum status look_at_table(struct sweep *sweep, struct table *table, int64_t *next_expiry_ms)
{
    struct table_cursor cursor;
    enum status status = STATUS_OK, read = STATUS_OK;
    table_cursor_init(&cursor, table);
    for (uint64_t looked = 1; status == STATUS_OK; looked++) {
        read = table_cursor_next(&cursor);
        if (read != STATUS_OK)
            break;
        status = look_at_entry(sweep, table, &cursor.entry, next_expiry_ms);
        if (status == STATUS_OK && looked % SLICE_ENTRIES == 0 && is_up(sweep))
            status = STATUS_CANCELLED;
    }
    table_cursor_done(&cursor);
    if (read == STATUS_CORRUPT || read == STATUS_IO)
        atomic_store_explicit(&table->damaged, true, memory_order_relaxed);
    return read == STATUS_NO_MEMORY ? read : status;
}

/* It stays due until it was looked at to its end. */
static enum status sweep_table(struct sweep *sweep, struct table *table)
{
    int64_t next_expiry_ms = INT64_MAX;
    enum status status = look_at_table(sweep, table, &next_expiry_ms);
    if (status == STATUS_OK)
        status = commit_collected(sweep);
    if (status == STATUS_OK && !is_up(sweep))
        table->next_expiry_ms = next_expiry_ms;
    sweep->count = sweep->bytes = 0;
    return status;
}

/* Before it is settled its records are not live in it yet. */
static bool is_due(const struct sweep *sweep, const struct table *table)
{
    return table->next_expiry_ms <= sweep->now_ms &&
           atomic_load_explicit(&table->settled, memory_order_acquire) &&
           !atomic_load_explicit(&table->damaged, memory_order_relaxed);
}

static enum status sweep_tables(struct sweep *sweep)
{
    const struct view *view = views_pin_tables(&sweep->options.store->views);
    enum status status = STATUS_OK;
    if (view == NULL)
        return STATUS_NO_MEMORY;
    for (size_t i = 0; i < view->table_count && status == STATUS_OK && !is_up(sweep); i++)
        if (is_due(sweep, view->tables[i]))
            status = sweep_table(sweep, view->tables[i]);
    view_unpin(view);
    return status;
}

/* ---- a run ---- */

/* After a failure the next timer is soon enough. */
static uint64_t wait_after(struct sweep *sweep, enum status status)
{
    uint64_t ended_ns = now_ns(sweep);
    uint64_t looking_ns = ended_ns - sweep->begun_ns - sweep->committing_ns;
    bool goes_on = (status == STATUS_OK || status == STATUS_CANCELLED) && is_up(sweep);
    sweep->rest_until_ns = ended_ns + looking_ns * (LOOK_SHARE - 1);
    return goes_on ? sweep->rest_until_ns - ended_ns : UINT64_MAX;
}

uint64_t sweep_run(struct sweep *sweep, bool all)
{
    const struct sweep_options *options = &sweep->options;
    const struct time_source *time = options->store->time;
    sweep->begun_ns = now_ns(sweep);
    if (cancel_fired(&sweep->cancel) ||
        (options->writable != NULL && options->writable(options->context) == STATUS_READ_ONLY))
        return UINT64_MAX;
    if (!all && sweep->begun_ns < sweep->rest_until_ns)
        return sweep->rest_until_ns - sweep->begun_ns;
    sweep->all = all;
    sweep->now_ms = time->wall_ms(time);
    sweep->committing_ns = 0;
    enum status status = sweep_memtables(sweep);
    if (status == STATUS_OK)
        status = sweep_tables(sweep);
    return wait_after(sweep, status);
}

void sweep_stop(struct sweep *sweep)
{
    cancel_fire(&sweep->cancel);
}

enum status sweep_open(const struct sweep_options *options, struct sweep **out_sweep)
{
    struct sweep *sweep = calloc(1, sizeof *sweep);
    if (sweep == NULL)
        return STATUS_NO_MEMORY;
    sweep->options = *options;
    *out_sweep = sweep;
    return STATUS_OK;
}

void sweep_close(struct sweep *sweep)
{
    free(sweep);
}
