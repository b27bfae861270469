/* SPDX-License-Identifier: Apache-2.0 */
/* From the records to the footer: what vouches comes after what it vouches for. */
#include "forged_table.h"

#include <stdlib.h>

#include "../../engine/local/checksum.h"
#include "../../engine/local/table_format.h"

const uint8_t forged_uuid[FORMAT_UUID_BYTES] = "the fuzzed store";

/* One being made. Its structs may stand anywhere: they are copied out and in. */
struct forgery {
    struct forged_table *table;
    struct table_footer footer;
    uint64_t footer_offset;
};

/* ---- records ---- */

/* As on disk, spelled out a second time: 4 bytes of check, then all up to the value. */
bool forged_record_seal(unsigned char *record, uint64_t available, uint64_t *out_bytes)
{
    struct record head;
    if (available < sizeof head)
        return false;
    memcpy(&head, record, sizeof head);
    if (record_bytes(&head) > available)
        return false;
    size_t value_offset = sizeof head + head.key_bytes + head.meta_bytes;
    uint32_t check = checksum32(record + value_offset, head.value_bytes, 0);
    memcpy(record + offsetof(struct record, value_check), &check, sizeof check);
    check = checksum32(record + sizeof check, value_offset - sizeof check, 0);
    memcpy(record, &check, sizeof check);
    *out_bytes = record_bytes(&head);
    return true;
}

static void seal_records(const struct forgery *forgery)
{
    uint64_t at = sizeof(struct table_header), end = forgery->footer.records_end, bytes;
    if (end > forgery->footer_offset)
        end = forgery->footer_offset;
    while (at < end && forged_record_seal(forgery->table->bytes + at, end - at, &bytes))
        at += bytes;
}

/* ---- what tells of them ---- */

static void seal_header(const struct forgery *forgery)
{
    unsigned char *bytes = forgery->table->bytes;
    uint64_t check = checksum64(bytes, offsetof(struct table_header, check), 0);
    memcpy(bytes + offsetof(struct table_header, check), &check, sizeof check);
}

/* Reads the footer, and brings the places in it into the file. */
static void place_parts(struct forgery *forgery, unsigned leave)
{
    struct table_footer *footer = &forgery->footer;
    uint64_t end = forgery->footer_offset;
    memcpy(footer, forgery->table->bytes + end, sizeof *footer);
    if ((leave & FORGED_LEAVE_PLACES) != 0)
        return;
    if (footer->tail_offset > end)
        footer->tail_offset %= end + 1;
    if (footer->records_end > footer->tail_offset)
        footer->records_end = footer->tail_offset;
    footer->tail_bytes = end - footer->tail_offset;
}

static void seal_block(const struct forgery *forgery, unsigned char *place)
{
    const struct forged_table *table = forgery->table;
    struct table_block_header block;
    memcpy(&block, place, sizeof block);
    if (block.offset > table->size || block.bytes > table->size - block.offset)
        return;
    block.check = checksum64(table->bytes + block.offset, block.bytes, 0);
    memcpy(place, &block, sizeof block);
}

static void seal_blocks(const struct forgery *forgery)
{
    unsigned char *bytes = forgery->table->bytes;
    struct table_properties properties;
    uint64_t at = forgery->footer.tail_offset, end = forgery->footer_offset;
    if (at > end || end - at < sizeof properties)
        return;
    memcpy(&properties, bytes + at, sizeof properties);
    at += sizeof properties + format_align(properties.last_key_bytes, FORMAT_RECORD_ALIGNMENT);
    for (uint32_t i = 0; i < properties.blocks; i++) {
        struct table_block_header block;
        if (at > end || end - at < sizeof block)
            return;
        seal_block(forgery, bytes + at);
        memcpy(&block, bytes + at, sizeof block);
        at += format_align(sizeof block + block.key_bytes, FORMAT_RECORD_ALIGNMENT);
    }
}

static void seal_tail(struct forgery *forgery)
{
    struct table_footer *footer = &forgery->footer;
    const struct forged_table *table = forgery->table;
    if (footer->tail_offset <= table->size &&
        footer->tail_bytes <= table->size - footer->tail_offset)
        footer->tail_check = checksum64(table->bytes + footer->tail_offset, footer->tail_bytes, 0);
}

/* ---- all of it ---- */

static void seal(struct forgery *forgery, unsigned leave)
{
    struct table_footer *footer = &forgery->footer;
    place_parts(forgery, leave);
    if ((leave & FORGED_LEAVE_HEADER) == 0)
        seal_header(forgery);
    if ((leave & FORGED_LEAVE_RECORDS) == 0)
        seal_records(forgery);
    if ((leave & FORGED_LEAVE_BLOCKS) == 0)
        seal_blocks(forgery);
    if ((leave & FORGED_LEAVE_TAIL) == 0)
        seal_tail(forgery);
    if ((leave & FORGED_LEAVE_FOOTER) == 0)
        footer->check = checksum64(footer, offsetof(struct table_footer, check), 0);
    memcpy(forgery->table->bytes + forgery->footer_offset, footer, sizeof *footer);
}

bool forged_table_make(struct forged_table *table, uint64_t id, struct bytes content,
                       unsigned leave)
{
    *table = (struct forged_table){.size = content.size};
    if (content.size < sizeof(struct table_header) + sizeof(struct table_footer))
        return false;
    table->bytes = malloc(content.size);
    if (table->bytes == NULL)
        abort();
    memcpy(table->bytes, content.data, content.size);
    struct forgery forgery = {.table = table,
                              .footer_offset = content.size - sizeof(struct table_footer)};
    seal(&forgery, leave);
    table->identity = (struct table_identity){id, content.size, forgery.footer.check};
    return true;
}

void forged_table_done(struct forged_table *table)
{
    free(table->bytes);
    *table = (struct forged_table){0};
}

/* ---- files ---- */

void forged_file_write(struct disk *disk, const char *name, struct bytes content)
{
    struct disk_file *file;
    struct iovec piece = {(void *)content.data, content.size};
    if (disk_create(disk, name, &file) != STATUS_OK ||
        disk_file_write(file, 0, &piece, 1) != STATUS_OK)
        abort();
    disk_file_close(file);
}

void forged_table_write(const struct forged_table *table, struct disk *disk)
{
    char name[64];
    table_name(table->identity.id, name);
    forged_file_write(disk, name, (struct bytes){table->bytes, table->size});
}
