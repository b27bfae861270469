/* SPDX-License-Identifier: Apache-2.0 */
/* Walks index and records side by side. */
#include "verify_table.h"

#include <stdlib.h>
#include <string.h>

#include "table.h"
#include "window.h"

/* One table being read. */
struct audit {
    struct verify *verify;
    const struct table *table;
    struct table_cursor cursor;
    struct window window;    /* over its records */
    uint64_t position;       /* where the next record must begin */
    bool skipped;            /* a block could not be read: the counts are not all */
    unsigned char *last_key; /* the one before, with room for any */
    size_t last_key_bytes;
    struct table_properties counted;
};

static void tell(struct audit *audit, uint64_t offset, const char *what)
{
    verify_tell(audit->verify, audit->table->file->name, offset, what);
}

/* ---- one record ---- */

static void check_record(struct audit *audit, const struct record *record)
{
    const struct table_entry *entry = &audit->cursor.entry;
    if (!record_head_is_valid(record, entry->record_bytes))
        tell(audit, entry->offset, "the record's head or key is damaged");
    else if (!record_value_is_valid(record, record_value(record)))
        tell(audit, entry->offset, "the record's value is damaged");
    else if (record_bytes(record) != entry->record_bytes || record->sequence != entry->sequence ||
             record->type != entry->type || record->expires_ms != entry->expires_ms ||
             !bytes_equal(record_key(record), entry->key))
        tell(audit, entry->offset, "the record is not the one that the index tells of");
}

static enum status read_record(struct audit *audit)
{
    const struct table_entry *entry = &audit->cursor.entry;
    const unsigned char *bytes;
    enum status status = window_view(&audit->window, entry->offset, entry->record_bytes, &bytes);
    if (status == STATUS_NO_MEMORY)
        return status;
    if (status == STATUS_OK)
        check_record(audit, (const struct record *)bytes);
    else
        tell(audit, entry->offset, "the record cannot be read");
    return STATUS_OK;
}

/* ---- its place among the others ---- */

/* Who looks for a key goes by the blocks' first keys. */
static void check_block_key(struct audit *audit)
{
    const struct table_cursor *cursor = &audit->cursor;
    bool is_first = cursor->left + 1 == audit->table->blocks[cursor->block]->records;
    if (is_first && !bytes_equal(table_block_key(audit->table, cursor->block), cursor->entry.key))
        tell(audit, table_cursor_offset(cursor),
             "the index block begins with another key than the top index says");
}

static void check_order(struct audit *audit)
{
    const struct table_entry *entry = &audit->cursor.entry;
    struct bytes last = {audit->last_key, audit->last_key_bytes};
    if (entry->offset != audit->position)
        tell(audit, entry->offset, "the record does not begin where the one before it ends");
    if (audit->counted.records > 0 && bytes_compare(last, entry->key) >= 0)
        tell(audit, entry->offset, "its key does not follow the one before it");
    audit->position = entry->offset + entry->record_bytes;
    memcpy(audit->last_key, entry->key.data, entry->key.size);
    audit->last_key_bytes = entry->key.size;
}

static void count(struct audit *audit)
{
    const struct table_entry *entry = &audit->cursor.entry;
    struct table_properties *counted = &audit->counted;
    if (counted->records == 0 || entry->sequence < counted->first_sequence)
        counted->first_sequence = entry->sequence;
    if (entry->sequence > counted->last_sequence)
        counted->last_sequence = entry->sequence;
    counted->records++;
    counted->record_bytes += entry->record_bytes;
    if (entry->type != RECORD_PUT) {
        counted->tombstones++;
        counted->tombstone_bytes += entry->record_bytes;
    } else if (entry->expires_ms != 0) {
        counted->expiring++;
    }
}

/* ---- the whole table ---- */

static void check_counts(struct audit *audit)
{
    const struct table_properties *told = audit->table->properties;
    const struct table_properties *counted = &audit->counted;
    struct bytes last = {audit->last_key, audit->last_key_bytes};
    if (audit->skipped)
        return;
    if (audit->position != audit->table->records_end)
        tell(audit, audit->position, "there is something between the last record and the index");
    if (counted->records != told->records || counted->record_bytes != told->record_bytes ||
        counted->tombstones != told->tombstones ||
        counted->tombstone_bytes != told->tombstone_bytes || counted->expiring != told->expiring)
        tell(audit, audit->table->records_end, "its properties count other records than it has");
    if (counted->first_sequence != told->first_sequence ||
        counted->last_sequence != told->last_sequence)
        tell(audit, audit->table->records_end, "its properties name other sequences than it has");
    if (!bytes_equal(last, table_last_key(audit->table)))
        tell(audit, audit->table->records_end, "its properties name another last key than it has");
}

/* Past what cannot be read, to the next block that can. */
static void skip_block(struct audit *audit)
{
    tell(audit, table_cursor_offset(&audit->cursor), "the index block is damaged");
    table_cursor_skip_block(&audit->cursor);
    audit->skipped = true;
}

static enum status check_records(struct audit *audit)
{
    bool after_skip = false;
    for (;;) {
        enum status status = table_cursor_next(&audit->cursor);
        if (status == STATUS_NOT_FOUND)
            return STATUS_OK;
        if (status == STATUS_NO_MEMORY)
            return status;
        if (status != STATUS_OK) {
            skip_block(audit);
            after_skip = true;
            continue;
        }
        if (after_skip)
            audit->position = audit->cursor.entry.offset;
        after_skip = false;
        check_block_key(audit);
        check_order(audit);
        count(audit);
        status = read_record(audit);
        if (status != STATUS_OK)
            return status;
    }
}

static enum status audit_table(struct verify *verify, const struct manifest *manifest,
                               struct table *table)
{
    struct audit audit = {
        .verify = verify,
        .table = table,
        .position = sizeof(struct table_header),
        .last_key = malloc(UINT16_MAX),
    };
    if (audit.last_key == NULL)
        return STATUS_NO_MEMORY;
    table_cursor_init(&audit.cursor, table);
    window_init(&audit.window, table->file, table->records_end);
    enum status status = check_records(&audit);
    if (status == STATUS_OK)
        check_counts(&audit);
    if (table->properties->last_sequence > manifest->flushed_sequence)
        tell(&audit, table->records_end, "it holds sequences that the manifest says it cannot");
    verify->found->records += audit.counted.records;
    window_done(&audit.window);
    table_cursor_done(&audit.cursor);
    free(audit.last_key);
    return status;
}

enum status verify_table(struct verify *verify, const struct manifest *manifest,
                         const struct table_identity *identity, struct failure *failure)
{
    struct table *table;
    verify->found->tables++;
    verify->found->table_bytes += identity->bytes;
    enum status status = table_open(verify->disk, manifest->uuid, identity, &table, failure);
    if (status != STATUS_OK)
        return status;
    status = audit_table(verify, manifest, table);
    table_close(table);
    return status;
}
