/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and checking a table, copying its records, decoding its index. */
#include "table.h"

#include <assert.h>
#include <stdlib.h>

#include "checksum.h"

enum { LARGE_READ_BYTES = 64 << 10 };

/* ---- opening ---- */

static enum status damaged(const struct table *table, struct failure *failure, uint64_t offset,
                           const char *what)
{
    return failure_set(failure, STATUS_CORRUPT_LOG,
                       "%s: offset %" PRIu64 ": %s; restore the data directory from a copy",
                       table->file->name, offset, what);
}

static enum status read_exactly(struct disk_file *file, uint64_t offset, void *buffer, size_t size)
{
    size_t got = 0;
    enum status status = disk_file_read(file, offset, buffer, size, &got);
    return status == STATUS_OK && got < size ? STATUS_CORRUPT_LOG : status;
}

static enum status check_header(struct table *table, const uint8_t uuid[FORMAT_UUID_BYTES],
                                struct failure *failure)
{
    struct table_header header;
    enum status status = read_exactly(table->file, 0, &header, sizeof header);
    if (status == STATUS_IO)
        return failure_set(failure, status, "%s: it cannot be read", table->file->name);
    if (status != STATUS_OK || header.magic != FORMAT_TABLE_MAGIC ||
        header.check != checksum64(&header, offsetof(struct table_header, check), 0))
        return damaged(table, failure, 0, "the table's header is damaged");
    if (header.format != FORMAT_VERSION || header.features != 0)
        return failure_set(failure, STATUS_FORMAT,
                           "%s: offset 8: format %u features %x, this program knows format %d; "
                           "use a newer program",
                           table->file->name, header.format, header.features, FORMAT_VERSION);
    if (header.id != table->identity.id || memcmp(header.uuid, uuid, FORMAT_UUID_BYTES) != 0)
        return damaged(table, failure, 0, "the table is another store's, or has another's name");
    return STATUS_OK;
}

static bool footer_is_valid(const struct table *table, const struct table_footer *footer)
{
    uint64_t tail_end = table->identity.bytes - sizeof *footer;
    return footer->check == checksum64(footer, offsetof(struct table_footer, check), 0) &&
           footer->check == table->identity.check && footer->magic == FORMAT_TABLE_MAGIC &&
           footer->id == table->identity.id && footer->records_end >= sizeof(struct table_header) &&
           footer->records_end <= footer->tail_offset && footer->tail_offset <= tail_end &&
           footer->tail_bytes == tail_end - footer->tail_offset;
}

static bool block_is_inside(const struct table_block_header *block,
                            const struct table_footer *footer)
{
    return block->offset >= footer->records_end && block->offset <= footer->tail_offset &&
           block->bytes <= footer->tail_offset - block->offset;
}

/* Splits the checked tail; its lengths are still compared with its size. CORRUPT_LOG, NO_MEMORY. */
static enum status index_tail(struct table *table, const struct table_footer *footer)
{
    uint64_t at = sizeof *table->properties;
    if (footer->tail_bytes < at)
        return STATUS_CORRUPT_LOG;
    table->properties = (const struct table_properties *)table->tail;
    at += format_align(table->properties->last_key_bytes, FORMAT_RECORD_ALIGNMENT);
    uint32_t count = table->properties->blocks;
    if (count == 0 || count > footer->tail_bytes / sizeof(struct table_block_header))
        return STATUS_CORRUPT_LOG;
    table->blocks = calloc(count, sizeof(void *));
    if (table->blocks == NULL)
        return STATUS_NO_MEMORY;
    uint64_t records = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct table_block_header *block =
            (const struct table_block_header *)(table->tail + at);
        if (at > footer->tail_bytes || footer->tail_bytes - at < sizeof *block ||
            !block_is_inside(block, footer))
            return STATUS_CORRUPT_LOG;
        at += format_align(sizeof *block + block->key_bytes, FORMAT_RECORD_ALIGNMENT);
        records += block->records;
        table->blocks[i] = block;
    }
    bool adds_up = at == footer->tail_bytes && records == table->properties->records &&
                   records <= footer->records_end / sizeof(struct record);
    return adds_up ? STATUS_OK : STATUS_CORRUPT_LOG;
}

static enum status read_tail(struct table *table, struct failure *failure)
{
    struct table_footer footer;
    uint64_t footer_offset = table->identity.bytes - sizeof footer;
    enum status status = read_exactly(table->file, footer_offset, &footer, sizeof footer);
    if (status == STATUS_OK && !footer_is_valid(table, &footer))
        return damaged(table, failure, footer_offset, "the table's footer is damaged");
    if (status != STATUS_OK)
        return failure_set(failure, status, "%s: it cannot be read", table->file->name);
    table->records_end = footer.records_end;
    table->tail = malloc(footer.tail_bytes);
    if (table->tail == NULL)
        return failure_set(failure, STATUS_NO_MEMORY, "no memory to open %s", table->file->name);
    status = read_exactly(table->file, footer.tail_offset, table->tail, footer.tail_bytes);
    if (status == STATUS_OK && footer.tail_check != checksum64(table->tail, footer.tail_bytes, 0))
        status = STATUS_CORRUPT_LOG;
    if (status == STATUS_OK)
        status = index_tail(table, &footer);
    if (status == STATUS_CORRUPT_LOG)
        return damaged(table, failure, footer.tail_offset, "the table's top index is damaged");
    return status == STATUS_OK ? status
                               : failure_set(failure, status, "%s: it cannot be read: %s",
                                             table->file->name, status_text(status));
}

static enum status open_parts(struct table *table, struct disk *disk,
                              const uint8_t uuid[FORMAT_UUID_BYTES], struct failure *failure)
{
    char name[64];
    uint64_t bytes = 0;
    table_name(table->identity.id, name);
    enum status status = disk_open_file(disk, name, &table->file);
    if (status != STATUS_OK)
        return failure_set(failure, status == STATUS_NOT_FOUND ? STATUS_CORRUPT_LOG : status,
                           "%s: offset 0: the manifest lists it and it %s; "
                           "restore the data directory from a copy",
                           name, status == STATUS_NOT_FOUND ? "is missing" : "cannot be opened");
    status = disk_file_size(table->file, &bytes);
    if (status != STATUS_OK)
        return failure_set(failure, status, "%s: %s", name, status_text(status));
    if (bytes != table->identity.bytes || bytes < sizeof(struct table_footer))
        return damaged(table, failure, bytes, "the table's size is not what the manifest says");
    status = check_header(table, uuid, failure);
    if (status == STATUS_OK)
        status = read_tail(table, failure);
    if (status != STATUS_OK)
        return status;
    const void *map;
    status = disk_file_map(table->file, bytes, &map);
    if (status != STATUS_OK)
        return failure_set(failure, status, "%s: it cannot be mapped", name);
    table->map = map;
    return STATUS_OK;
}

enum status table_open(struct disk *disk, const uint8_t uuid[FORMAT_UUID_BYTES],
                       const struct table_identity *identity, struct table **out_table,
                       struct failure *failure)
{
    struct table *table = calloc(1, sizeof *table);
    if (table == NULL)
        return failure_set(failure, STATUS_NO_MEMORY, "no memory to open a table");
    table->identity = *identity;
    enum status status = open_parts(table, disk, uuid, failure);
    if (status != STATUS_OK) {
        table_close(table);
        return status;
    }
    table->next_expiry_ms = table->properties->expiring > 0 ? 0 : INT64_MAX;
    *out_table = table;
    return STATUS_OK;
}

void table_close(struct table *table)
{
    if (table == NULL)
        return;
    if (table->map != NULL)
        disk_file_unmap(table->file, table->map, table->identity.bytes);
    disk_file_close(table->file);
    free(table->blocks);
    free(table->tail);
    free(table);
}

static struct bytes block_key(const struct table_block_header *block)
{
    return (struct bytes){block + 1, block->key_bytes};
}

struct bytes table_block_key(const struct table *table, uint32_t block)
{
    return block_key(table->blocks[block]);
}

struct bytes table_first_key(const struct table *table)
{
    return table_block_key(table, 0);
}

struct bytes table_last_key(const struct table *table)
{
    return (struct bytes){table->properties + 1, table->properties->last_key_bytes};
}

/* ---- records ---- */

enum status table_head(const struct table *table, uint64_t offset, struct record *out_head)
{
    if (offset < sizeof(struct table_header) || offset > table->records_end ||
        table->records_end - offset < sizeof *out_head)
        return STATUS_CORRUPT;
    memcpy(out_head, table->map + offset, sizeof *out_head);
    return record_bytes(out_head) <= table->records_end - offset ? STATUS_OK : STATUS_CORRUPT;
}

enum status table_read(const struct table *table, uint64_t offset, const struct record *head,
                       uint64_t bytes, struct record *copy)
{
    if (bytes < LARGE_READ_BYTES) {
        memcpy(copy, table->map + offset, bytes);
    } else { /* one call instead of a page fault for every page */
        size_t got = 0;
        enum status status = disk_file_read(table->file, offset, copy, bytes, &got);
        if (status != STATUS_OK || got < bytes)
            return STATUS_CORRUPT;
    }
    memcpy(copy, head, sizeof *head); /* the lengths that `copy` has room for */
    return STATUS_OK;
}

/* ---- the index ---- */

void table_cursor_init(struct table_cursor *cursor, struct table *table)
{
    *cursor = (struct table_cursor){.table = table};
}

void table_cursor_done(struct table_cursor *cursor)
{
    free(cursor->bytes);
    free(cursor->key);
    *cursor = (struct table_cursor){0};
}

static enum status make_block_room(struct table_cursor *cursor, size_t bytes)
{
    if (bytes <= cursor->capacity)
        return STATUS_OK;
    free(cursor->bytes);
    cursor->bytes = malloc(bytes);
    cursor->capacity = cursor->bytes != NULL ? bytes : 0;
    return cursor->bytes != NULL ? STATUS_OK : STATUS_NO_MEMORY;
}

static enum status read_block(struct table_cursor *cursor, const struct table_block_header *block)
{
    enum status status = make_block_room(cursor, block->bytes);
    if (status != STATUS_OK)
        return status;
    status = read_exactly(cursor->table->file, block->offset, cursor->bytes, block->bytes);
    if (status == STATUS_CORRUPT_LOG ||
        (status == STATUS_OK && checksum64(cursor->bytes, block->bytes, 0) != block->check))
        return STATUS_CORRUPT;
    return status;
}

/* After a failure no block is loaded, and the next step tries this one again. */
static enum status load_block(struct table_cursor *cursor, uint32_t index)
{
    const struct table_block_header *block = cursor->table->blocks[index];
    cursor->block = cursor->next_block = index;
    cursor->left = 0;
    cursor->entry.key.size = 0;
    enum status status = read_block(cursor, block);
    if (status != STATUS_OK)
        return status;
    cursor->next_block = index + 1;
    cursor->left = block->records;
    cursor->position = 0;
    cursor->count = block->bytes;
    cursor->next_offset = block->first_record;
    return STATUS_OK;
}

uint64_t table_cursor_offset(const struct table_cursor *cursor)
{
    return cursor->table->blocks[cursor->block]->offset;
}

void table_cursor_skip_block(struct table_cursor *cursor)
{
    cursor->next_block = cursor->block + 1;
    cursor->left = 0;
}

static bool take(struct table_cursor *cursor, void *out_bytes, size_t size)
{
    if (cursor->count - cursor->position < size)
        return false;
    memcpy(out_bytes, cursor->bytes + cursor->position, size);
    cursor->position += size;
    return true;
}

static enum status make_key_room(struct table_cursor *cursor, size_t bytes)
{
    if (bytes <= cursor->key_capacity)
        return STATUS_OK;
    unsigned char *grown = realloc(cursor->key, bytes * 2);
    if (grown == NULL)
        return STATUS_NO_MEMORY;
    cursor->key = grown;
    cursor->key_capacity = bytes * 2;
    return STATUS_OK;
}

enum status table_cursor_reserve(struct table_cursor *cursor, const struct table *table)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < table->properties->blocks; i++)
        if (table->blocks[i]->bytes > most)
            most = table->blocks[i]->bytes;
    enum status status = make_block_room(cursor, most);
    return status == STATUS_OK ? make_key_room(cursor, UINT16_MAX) : status;
}

void table_cursor_aim(struct table_cursor *cursor, struct table *table)
{
    *cursor = (struct table_cursor){
        .table = table,
        .bytes = cursor->bytes,
        .capacity = cursor->capacity,
        .key = cursor->key,
        .key_capacity = cursor->key_capacity,
    };
}

/* The key stands behind what it shares with the one before it. */
static enum status decode_key(struct table_cursor *cursor, const struct table_entry_header *header)
{
    size_t bytes = (size_t)header->shared_bytes + header->suffix_bytes;
    if (bytes == 0 || bytes > UINT16_MAX || header->shared_bytes > cursor->entry.key.size)
        return STATUS_CORRUPT;
    enum status status = make_key_room(cursor, bytes);
    if (status != STATUS_OK)
        return status;
    cursor->entry.key = (struct bytes){cursor->key, bytes};
    return take(cursor, cursor->key + header->shared_bytes, header->suffix_bytes) ? STATUS_OK
                                                                                  : STATUS_CORRUPT;
}

/* Whether a record of that key can stand where the entry says. */
static bool is_possible(const struct table *table, const struct table_entry *entry)
{
    return entry->type >= RECORD_PUT && entry->type <= RECORD_EXPIRE &&
           entry->offset % FORMAT_RECORD_ALIGNMENT == 0 &&
           entry->record_bytes % FORMAT_RECORD_ALIGNMENT == 0 &&
           entry->record_bytes >= record_size(entry->key.size, 0, 0) &&
           entry->offset >= sizeof(struct table_header) && entry->offset <= table->records_end &&
           entry->record_bytes <= table->records_end - entry->offset;
}

/* The block is checked: a contradiction in it means a bug or a forgery, and is still no crash. */
static enum status decode_entry(struct table_cursor *cursor)
{
    struct table_entry_header header;
    struct table_entry *entry = &cursor->entry;
    if (!take(cursor, &header, sizeof header))
        return STATUS_CORRUPT;
    enum status status = decode_key(cursor, &header);
    if (status != STATUS_OK)
        return status;
    entry->expires_ms = 0;
    if ((header.word & TABLE_ENTRY_EXPIRES) != 0 &&
        !take(cursor, &entry->expires_ms, sizeof entry->expires_ms))
        return STATUS_CORRUPT;
    entry->sequence = header.word & TABLE_ENTRY_SEQUENCE_MASK;
    entry->type = (enum record_type)(header.word >> TABLE_ENTRY_TYPE_SHIFT & TABLE_ENTRY_TYPE_MASK);
    entry->record_bytes = header.record_bytes;
    entry->offset = cursor->next_offset;
    cursor->next_offset += header.record_bytes;
    cursor->left--;
    return is_possible(cursor->table, entry) ? STATUS_OK : STATUS_CORRUPT;
}

enum status table_cursor_begin(struct table_cursor *cursor, uint32_t block)
{
    return load_block(cursor, block);
}

enum status table_cursor_next(struct table_cursor *cursor)
{
    while (cursor->left == 0) {
        if (cursor->next_block == cursor->table->properties->blocks)
            return STATUS_NOT_FOUND;
        enum status status = load_block(cursor, cursor->next_block);
        if (status != STATUS_OK)
            return status;
    }
    return decode_entry(cursor);
}

uint32_t table_block_of(const struct table *table, struct bytes key)
{
    uint32_t low = 0, high = table->properties->blocks;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (bytes_compare(block_key(table->blocks[middle]), key) <= 0)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static enum status step_to(struct table_cursor *cursor, struct bytes key)
{
    for (;;) {
        enum status status = table_cursor_next(cursor);
        if (status != STATUS_OK || bytes_compare(cursor->entry.key, key) >= 0)
            return status;
    }
}

enum status table_cursor_seek(struct table_cursor *cursor, struct bytes key)
{
    enum status status = load_block(cursor, table_block_of(cursor->table, key));
    return status == STATUS_OK ? step_to(cursor, key) : status;
}

enum status table_cursor_seek_on(struct table_cursor *cursor, struct bytes key)
{
    bool inside = cursor->entry.key.size > 0;
    if (inside && bytes_compare(cursor->entry.key, key) >= 0)
        return STATUS_OK;
    return inside && cursor->block == table_block_of(cursor->table, key)
               ? step_to(cursor, key)
               : table_cursor_seek(cursor, key);
}

enum status table_find(struct table *table, struct bytes key, uint64_t *out_sequence)
{
    if (bytes_compare(key, table_first_key(table)) < 0 ||
        bytes_compare(key, table_last_key(table)) > 0)
        return STATUS_NOT_FOUND;
    struct table_cursor cursor;
    table_cursor_init(&cursor, table);
    enum status status = table_cursor_seek(&cursor, key);
    if (status == STATUS_OK && !bytes_equal(cursor.entry.key, key))
        status = STATUS_NOT_FOUND;
    if (status == STATUS_OK)
        *out_sequence = cursor.entry.sequence;
    table_cursor_done(&cursor);
    return status;
}
