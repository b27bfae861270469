/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records pass through one buffer of 1 MiB; the index grows beside it in memory and is written at
 * the end. A long file is synced piece by piece, so that the journal's syncs never wait for one
 * large one.
 */
#include "table_writer.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "checksum.h"

enum {
    BUFFER_BYTES = 1 << 20,
    SYNC_BYTES = 8 << 20,
};

/* Bytes that grow. */
struct growing {
    unsigned char *bytes;
    size_t count, capacity;
};

struct table_writer {
    struct disk *disk;
    struct disk_file *file;
    uint64_t id;
    bool finished;
    /* the file */
    unsigned char *buffer;
    size_t buffered;
    uint64_t written; /* bytes before the buffer's */
    uint64_t synced;
    /* the index */
    struct growing index;       /* finished blocks and the open one */
    struct growing block_heads; /* struct table_block_header and first key, padded, of each block */
    struct table_block_header block; /* the open one; `offset` counts from the index's start */
    size_t block_head;               /* where its head stands in block_heads */
    unsigned char last_key[UINT16_MAX];
    size_t last_key_bytes;
    struct growing expiries; /* int64_t of each expiring put */
    struct table_properties properties;
};

/* ---- names ---- */

void table_name(uint64_t id, char out_name[64])
{
    snprintf(out_name, 64, FORMAT_TABLE_NAME, id);
}

bool table_name_parse(const char *name, uint64_t *out_id)
{
    return format_name_parse(name, FORMAT_TABLE_NAME, out_id);
}

/* ---- bytes ---- */

static enum status growing_room(struct growing *growing, size_t bytes)
{
    if (growing->count + bytes <= growing->capacity)
        return STATUS_OK;
    size_t capacity = growing->capacity * 2 + bytes + 256;
    unsigned char *grown = realloc(growing->bytes, capacity);
    if (grown == NULL)
        return STATUS_NO_MEMORY;
    growing->bytes = grown;
    growing->capacity = capacity;
    return STATUS_OK;
}

/* After growing_room(). `size` 0: `data` may be NULL. */
static void growing_add(struct growing *growing, const void *data, size_t size)
{
    if (size > 0)
        memcpy(growing->bytes + growing->count, data, size);
    growing->count += size;
}

static void growing_pad(struct growing *growing)
{
    size_t padded = format_align(growing->count, FORMAT_RECORD_ALIGNMENT);
    memset(growing->bytes + growing->count, 0, padded - growing->count);
    growing->count = padded;
}

static enum status write_at_end(struct table_writer *writer, const void *data, size_t size)
{
    struct iovec piece = {(void *)data, size};
    enum status status = disk_file_write(writer->file, writer->written, &piece, 1);
    if (status != STATUS_OK)
        return status;
    writer->written += size;
    if (writer->written - writer->synced < SYNC_BYTES)
        return STATUS_OK;
    writer->synced = writer->written;
    return disk_file_sync(writer->file);
}

static enum status flush(struct table_writer *writer)
{
    if (writer->buffered == 0)
        return STATUS_OK;
    size_t size = writer->buffered;
    writer->buffered = 0;
    return write_at_end(writer, writer->buffer, size);
}

static enum status put_bytes(struct table_writer *writer, const void *data, size_t size)
{
    if (size > BUFFER_BYTES - writer->buffered) {
        enum status status = flush(writer);
        if (status != STATUS_OK)
            return status;
    }
    if (size > BUFFER_BYTES)
        return write_at_end(writer, data, size);
    memcpy(writer->buffer + writer->buffered, data, size);
    writer->buffered += size;
    return STATUS_OK;
}

static uint64_t position(const struct table_writer *writer)
{
    return writer->written + writer->buffered;
}

/* ---- the index ---- */

static enum status begin_block(struct table_writer *writer, struct bytes key)
{
    enum status status = growing_room(&writer->block_heads,
                                      sizeof writer->block + key.size + FORMAT_RECORD_ALIGNMENT);
    if (status != STATUS_OK)
        return status;
    writer->block = (struct table_block_header){
        .offset = writer->index.count,
        .first_record = position(writer),
        .key_bytes = (uint32_t)key.size,
    };
    writer->block_head = writer->block_heads.count;
    growing_add(&writer->block_heads, &writer->block, sizeof writer->block);
    growing_add(&writer->block_heads, key.data, key.size);
    growing_pad(&writer->block_heads);
    writer->properties.blocks++;
    return STATUS_OK;
}

static bool block_is_open(const struct table_writer *writer)
{
    return writer->block.records > 0;
}

static void end_block(struct table_writer *writer)
{
    growing_pad(&writer->index);
    struct table_block_header *block = &writer->block;
    block->bytes = (uint32_t)(writer->index.count - block->offset);
    block->check = checksum64(writer->index.bytes + block->offset, block->bytes, 0);
    memcpy(writer->block_heads.bytes + writer->block_head, block, sizeof *block);
    block->records = 0;
}

static size_t shared_prefix(const struct table_writer *writer, struct bytes key)
{
    const unsigned char *bytes = key.data;
    size_t most = key.size < writer->last_key_bytes ? key.size : writer->last_key_bytes;
    size_t shared = 0;
    while (shared < most && bytes[shared] == writer->last_key[shared])
        shared++;
    return shared;
}

static enum status add_entry(struct table_writer *writer, const struct record *record)
{
    struct bytes key = record_key(record);
    size_t shared = block_is_open(writer) ? shared_prefix(writer, key) : 0;
    enum status status = STATUS_OK;
    if (!block_is_open(writer))
        status = begin_block(writer, key);
    if (status == STATUS_OK) /* room for the padding of the block's end, too */
        status = growing_room(&writer->index, sizeof(struct table_entry_header) + key.size +
                                                  sizeof(int64_t) + FORMAT_RECORD_ALIGNMENT);
    if (status != STATUS_OK)
        return status;
    struct table_entry_header entry = {
        .word = record->sequence | (uint64_t)record->type << TABLE_ENTRY_TYPE_SHIFT |
                (record->expires_ms != 0 ? TABLE_ENTRY_EXPIRES : 0),
        .record_bytes = (uint32_t)record_bytes(record),
        .shared_bytes = (uint16_t)shared,
        .suffix_bytes = (uint16_t)(key.size - shared),
    };
    growing_add(&writer->index, &entry, sizeof entry);
    growing_add(&writer->index, (const unsigned char *)key.data + shared, key.size - shared);
    if (record->expires_ms != 0)
        growing_add(&writer->index, &record->expires_ms, sizeof record->expires_ms);
    writer->block.records++;
    return STATUS_OK;
}

/* ---- records ---- */

static enum status note_properties(struct table_writer *writer, const struct record *record)
{
    struct table_properties *properties = &writer->properties;
    uint64_t bytes = record_bytes(record);
    if (properties->records == 0 || record->sequence < properties->first_sequence)
        properties->first_sequence = record->sequence;
    if (record->sequence > properties->last_sequence)
        properties->last_sequence = record->sequence;
    properties->records++;
    properties->record_bytes += bytes;
    if (record->type != RECORD_PUT) {
        properties->tombstones++;
        properties->tombstone_bytes += bytes;
        return STATUS_OK;
    }
    if (record->expires_ms == 0)
        return STATUS_OK;
    properties->expiring++;
    enum status status = growing_room(&writer->expiries, sizeof record->expires_ms);
    if (status == STATUS_OK)
        growing_add(&writer->expiries, &record->expires_ms, sizeof record->expires_ms);
    return status;
}

enum status table_writer_add(struct table_writer *writer, const struct record *record,
                             uint64_t *out_offset)
{
    struct bytes key = record_key(record);
    struct bytes last = {writer->last_key, writer->last_key_bytes};
    assert(bytes_compare(last, key) < 0);
    assert(record->sequence <= TABLE_ENTRY_SEQUENCE_MASK);
    uint64_t offset = position(writer);
    enum status status = add_entry(writer, record);
    if (status == STATUS_OK)
        status = note_properties(writer, record);
    if (status == STATUS_OK)
        status = put_bytes(writer, record, record_bytes(record));
    if (status != STATUS_OK)
        return status;
    memcpy(writer->last_key, key.data, key.size);
    writer->last_key_bytes = key.size;
    if (writer->index.count - writer->block.offset >= TABLE_BLOCK_BYTES)
        end_block(writer);
    *out_offset = offset;
    return STATUS_OK;
}

/* ---- finishing ---- */

static int compare_times(const void *left, const void *right)
{
    const int64_t *a = left, *b = right;
    return (*a > *b) - (*a < *b);
}

static void set_expiry_quantiles(struct table_writer *writer)
{
    int64_t *times = (int64_t *)writer->expiries.bytes;
    uint64_t count = writer->properties.expiring;
    if (count == 0)
        return;
    qsort(times, count, sizeof *times, compare_times);
    for (uint64_t i = 0; i < TABLE_EXPIRY_QUANTILES; i++)
        writer->properties.expiry[i] = times[((i + 1) * count - 1) / TABLE_EXPIRY_QUANTILES];
}

/* The blocks' offsets count from the index's start until it is known where that is. */
static void place_blocks(struct table_writer *writer, uint64_t index_offset)
{
    size_t at = 0;
    for (uint32_t i = 0; i < writer->properties.blocks; i++) {
        struct table_block_header *head =
            (struct table_block_header *)(writer->block_heads.bytes + at);
        head->offset += index_offset;
        at += format_align(sizeof *head + head->key_bytes, FORMAT_RECORD_ALIGNMENT);
    }
}

static enum status build_tail(struct table_writer *writer, struct growing *tail)
{
    size_t bytes = sizeof writer->properties + writer->last_key_bytes + FORMAT_RECORD_ALIGNMENT +
                   writer->block_heads.count;
    enum status status = growing_room(tail, bytes);
    if (status != STATUS_OK)
        return status;
    set_expiry_quantiles(writer);
    writer->properties.last_key_bytes = (uint32_t)writer->last_key_bytes;
    growing_add(tail, &writer->properties, sizeof writer->properties);
    growing_add(tail, writer->last_key, writer->last_key_bytes);
    growing_pad(tail);
    growing_add(tail, writer->block_heads.bytes, writer->block_heads.count);
    return STATUS_OK;
}

static enum status write_rest(struct table_writer *writer, const struct growing *tail,
                              uint64_t records_end, struct table_identity *out_identity)
{
    struct table_footer footer = {
        .magic = FORMAT_TABLE_MAGIC,
        .id = writer->id,
        .records_end = records_end,
        .tail_offset = records_end + writer->index.count,
        .tail_bytes = tail->count,
        .tail_check = checksum64(tail->bytes, tail->count, 0),
    };
    footer.check = checksum64(&footer, offsetof(struct table_footer, check), 0);
    enum status status = put_bytes(writer, writer->index.bytes, writer->index.count);
    if (status == STATUS_OK)
        status = put_bytes(writer, tail->bytes, tail->count);
    if (status == STATUS_OK)
        status = put_bytes(writer, &footer, sizeof footer);
    if (status == STATUS_OK)
        status = flush(writer);
    if (status == STATUS_OK) /* what was reserved and not used */
        status = disk_file_truncate(writer->file, writer->written);
    if (status == STATUS_OK)
        status = disk_file_sync(writer->file);
    if (status != STATUS_OK)
        return status;
    writer->finished = true;
    *out_identity = (struct table_identity){writer->id, writer->written, footer.check};
    return STATUS_OK;
}

enum status table_writer_finish(struct table_writer *writer, struct table_identity *out_identity)
{
    assert(writer->properties.records > 0 && !writer->finished);
    if (block_is_open(writer))
        end_block(writer);
    uint64_t records_end = position(writer);
    place_blocks(writer, records_end);
    struct growing tail = {0};
    enum status status = build_tail(writer, &tail);
    if (status == STATUS_OK)
        status = write_rest(writer, &tail, records_end, out_identity);
    free(tail.bytes);
    return status;
}

uint64_t table_writer_index_bytes(const struct table_writer *writer)
{
    return writer->index.count + writer->block_heads.count;
}

uint64_t table_writer_bytes(const struct table_writer *writer)
{
    return position(writer) + table_writer_index_bytes(writer) + sizeof writer->properties +
           format_align(writer->last_key_bytes, FORMAT_RECORD_ALIGNMENT) +
           sizeof(struct table_footer);
}

/* ---- opening and closing ---- */

static enum status begin_file(struct table_writer *writer, const uint8_t uuid[FORMAT_UUID_BYTES],
                              uint64_t bytes_expected)
{
    char name[64];
    table_name(writer->id, name);
    enum status status = disk_check_room(writer->disk, bytes_expected);
    if (status == STATUS_OK)
        status = disk_create(writer->disk, name, &writer->file);
    if (status == STATUS_OK)
        status = disk_file_reserve(writer->file, bytes_expected);
    struct table_header header = {
        .magic = FORMAT_TABLE_MAGIC,
        .format = FORMAT_VERSION,
        .id = writer->id,
    };
    memcpy(header.uuid, uuid, FORMAT_UUID_BYTES);
    header.check = checksum64(&header, offsetof(struct table_header, check), 0);
    return status == STATUS_OK ? put_bytes(writer, &header, sizeof header) : status;
}

enum status table_writer_open(struct disk *disk, const uint8_t uuid[FORMAT_UUID_BYTES], uint64_t id,
                              uint64_t bytes_expected, struct table_writer **out_writer)
{
    struct table_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL)
        return STATUS_NO_MEMORY;
    writer->disk = disk;
    writer->id = id;
    writer->buffer = malloc(BUFFER_BYTES);
    enum status status =
        writer->buffer == NULL ? STATUS_NO_MEMORY : begin_file(writer, uuid, bytes_expected);
    if (status != STATUS_OK) {
        table_writer_close(writer);
        return status;
    }
    *out_writer = writer;
    return STATUS_OK;
}

void table_writer_close(struct table_writer *writer)
{
    if (writer == NULL)
        return;
    disk_file_close(writer->file);
    if (writer->file != NULL && !writer->finished) {
        char name[64];
        table_name(writer->id, name);
        /* A stray that cannot be removed now is removed at the next start. */
        enum status ignored = disk_remove(writer->disk, name);
        (void)ignored;
    }
    free(writer->buffer);
    free(writer->index.bytes);
    free(writer->block_heads.bytes);
    free(writer->expiries.bytes);
    free(writer);
}
