/* SPDX-License-Identifier: Apache-2.0 */
/* Collects every version of every source, sorts them by key and sequence, compares. */
#include "audit.h"

#include "test.h"

struct version {
    struct bytes key; /* owned when it came from a table */
    uint64_t sequence;
    uint64_t place;
    bool put;
    bool in_table;
};

struct versions {
    struct version *rows;
    size_t count, capacity;
};

static void add(struct versions *versions, struct version version)
{
    if (versions->count == versions->capacity) {
        versions->capacity = versions->capacity * 2 + 1024;
        versions->rows = realloc(versions->rows, versions->capacity * sizeof version);
    }
    versions->rows[versions->count++] = version;
}

static struct bytes copy_of(struct bytes key)
{
    unsigned char *copy = malloc(key.size);
    memcpy(copy, key.data, key.size);
    return (struct bytes){copy, key.size};
}

/* ---- tables ---- */

struct recount {
    struct table_properties properties;
    uint64_t live_records, live_bytes;
};

static void check_record(const struct table *table, const struct table_entry *entry)
{
    const struct record *record = (const struct record *)(table->map + entry->offset);
    assert_true(record_head_is_valid(record, table->records_end - entry->offset));
    assert_true(record_value_is_valid(record, record_value(record)));
    assert_true(bytes_equal(record_key(record), entry->key));
    assert_int_equal(record->sequence, entry->sequence);
    assert_int_equal(record->type, entry->type);
    assert_int_equal(record->expires_ms, entry->expires_ms);
    assert_int_equal(record_bytes(record), entry->record_bytes);
}

static bool is_live(struct store *store, const struct table *table, const struct table_entry *entry)
{
    struct entry *found =
        keymap_find(store->keymap, keymap_hash(store->keymap, entry->key), entry->key);
    return found != NULL && entry_place(found) == place_of_position(table->slot, entry->offset);
}

static void count_entry(struct recount *recount, const struct table_entry *entry)
{
    struct table_properties *properties = &recount->properties;
    if (properties->records == 0 || entry->sequence < properties->first_sequence)
        properties->first_sequence = entry->sequence;
    if (entry->sequence > properties->last_sequence)
        properties->last_sequence = entry->sequence;
    properties->records++;
    properties->record_bytes += entry->record_bytes;
    if (entry->type != RECORD_PUT) {
        properties->tombstones++;
        properties->tombstone_bytes += entry->record_bytes;
    } else if (entry->expires_ms != 0) {
        properties->expiring++;
    }
}

static void check_counts(const struct table *table, const struct recount *recount)
{
    const struct table_properties *properties = table->properties;
    assert_int_equal(properties->records, recount->properties.records);
    assert_int_equal(properties->tombstones, recount->properties.tombstones);
    assert_int_equal(properties->record_bytes, recount->properties.record_bytes);
    assert_int_equal(properties->tombstone_bytes, recount->properties.tombstone_bytes);
    assert_int_equal(properties->first_sequence, recount->properties.first_sequence);
    assert_int_equal(properties->last_sequence, recount->properties.last_sequence);
    assert_int_equal(properties->expiring, recount->properties.expiring);
    assert_int_equal(table->live_records, recount->live_records);
    assert_int_equal(table->live_bytes, recount->live_bytes);
    assert_true(table->settled);
}

static void add_table(struct versions *versions, struct store *store, struct table *table)
{
    struct table_cursor cursor;
    struct recount recount = {0};
    size_t first = versions->count;
    enum status status;
    table_cursor_init(&cursor, table);
    uint64_t expected_offset = sizeof(struct table_header);
    while ((status = table_cursor_next(&cursor)) == STATUS_OK) {
        const struct table_entry *entry = &cursor.entry;
        assert_int_equal(entry->offset, expected_offset);
        expected_offset += entry->record_bytes;
        check_record(table, entry);
        if (versions->count > first)
            assert_true(bytes_compare(versions->rows[versions->count - 1].key, entry->key) < 0);
        count_entry(&recount, entry);
        if (is_live(store, table, entry)) {
            assert_int_equal(entry->type, RECORD_PUT);
            recount.live_records++;
            recount.live_bytes += entry->record_bytes;
        }
        add(versions, (struct version){.key = copy_of(entry->key),
                                       .sequence = entry->sequence,
                                       .place = place_of_position(table->slot, entry->offset),
                                       .put = entry->type == RECORD_PUT,
                                       .in_table = true});
    }
    assert_int_equal(status, STATUS_NOT_FOUND);
    assert_int_equal(expected_offset, table->records_end);
    assert_true(bytes_equal(versions->rows[first].key, table_first_key(table)));
    assert_true(bytes_equal(versions->rows[versions->count - 1].key, table_last_key(table)));
    table_cursor_done(&cursor);
    check_counts(table, &recount);
}

/* ---- memtables ---- */

static void add_memtable(struct versions *versions, const struct memtable *memtable)
{
    uint64_t count = memtable_count(memtable);
    struct listed *listed = calloc(count + 1, sizeof *listed);
    memtable_all(memtable, listed);
    for (uint64_t i = 0; i < count; i++) {
        const struct record *record = listed[i].record;
        assert_true(bytes_equal(entry_key(listed[i].entry), record_key(record)));
        add(versions, (struct version){.key = record_key(record),
                                       .sequence = record->sequence,
                                       .place = place_of_record(record),
                                       .put = record->type == RECORD_PUT});
    }
    free(listed);
}

/* ---- keys ---- */

static int compare(const void *left, const void *right)
{
    const struct version *a = left, *b = right;
    int order = bytes_compare(a->key, b->key);
    return order != 0 ? order : (a->sequence < b->sequence) - (a->sequence > b->sequence);
}

/* Of each key the first row is the newest version. */
static void check_keys(struct store *store, const struct versions *versions)
{
    uint64_t entries = 0, puts = 0;
    for (size_t i = 0; i < versions->count; i++) {
        const struct version *newest = &versions->rows[i];
        if (i > 0 && bytes_equal(newest[-1].key, newest->key))
            continue;
        const struct entry *entry =
            keymap_find(store->keymap, keymap_hash(store->keymap, newest->key), newest->key);
        puts += newest->put;
        if (newest->in_table && !newest->put) {
            assert_null(entry); /* the dump of a tombstone ends its key */
            continue;
        }
        assert_non_null(entry);
        assert_int_equal(entry_place(entry), newest->place);
        entries++;
    }
    assert_int_equal(keymap_count(store->keymap), entries);
    assert_int_equal(store->keys, puts);
}

/* ---- files ---- */

struct files {
    struct parts *parts;
    size_t tables;
};

static enum status visit(void *context, const char *name, uint64_t bytes)
{
    struct files *files = context;
    uint64_t id;
    if (!table_name_parse(name, &id))
        return STATUS_OK;
    const struct table *table = parts_table(files->parts, id);
    if (table == NULL)
        fail_msg("%s is in no view", name);
    assert_int_equal(table->identity.bytes, bytes);
    files->tables++;
    return STATUS_OK;
}

static void check_files(struct parts *parts)
{
    struct files files = {.parts = parts};
    assert_int_equal(disk_list(parts->disk, visit, &files), STATUS_OK);
    assert_int_equal(files.tables, parts_table_count(parts));
    assert_int_equal(files.tables, parts->catalog.manifest.table_count);
    for (uint64_t i = 0; i < parts->catalog.manifest.table_count; i++)
        assert_non_null(parts_table(parts, parts->catalog.manifest.tables[i].identity.id));
}

void audit_memory(struct parts *parts)
{
    struct versions versions = {0};
    const struct view *view = views_pin(&parts->store.views);
    for (size_t i = 0; i < view->table_count; i++)
        add_table(&versions, &parts->store, view->tables[i]);
    for (size_t i = 0; i < view->memtable_count; i++)
        add_memtable(&versions, view->memtables[i]);
    if (versions.count > 0)
        qsort(versions.rows, versions.count, sizeof *versions.rows, compare);
    check_keys(&parts->store, &versions);
    view_unpin(view);
    for (size_t i = 0; i < versions.count; i++)
        if (versions.rows[i].in_table)
            free((void *)(uintptr_t)versions.rows[i].key.data);
    free(versions.rows);
}

void audit(struct parts *parts)
{
    audit_memory(parts);
    check_files(parts);
}
