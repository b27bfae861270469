/* SPDX-License-Identifier: Apache-2.0 */
/* Golden files, and their checksums from the inside to the outside. */
#include "golden.h"

#include <dirent.h>

#include "../../engine/local/frame.h"
#include "../../engine/local/manifest.h"
#include "../../engine/local/record.h"
#include "../../engine/local/segment.h"
#include "../../engine/local/table_format.h"
#include "test.h"

#define DIRECTORY "tests/golden/format-1/always/"

enum { SEGMENT_CHECK_OFFSET = 56, SEGMENT_ID_OFFSET = 32, SEGMENT_SALT_OFFSET = 40 };
enum { MANIFEST_HEADER_BYTES = 96 };

static const char *const names[GOLDEN_FILES] = {
    "MANIFEST", "journal-0000000000000002.log", "table-0000000000000001.tbl",
    "table-0000000000000003.tbl", "table-0000000000000004.tbl"};

const char *golden_file_name(size_t i)
{
    return names[i % GOLDEN_FILES];
}

/* ---- files ---- */

void golden_file_write(struct crash_disk *crash, const char *name, struct bytes content)
{
    struct disk *disk = crash_disk_attach(crash);
    struct disk_file *file;
    struct iovec piece = {(void *)content.data, content.size};
    if (disk_remove(disk, name) != STATUS_OK && disk_remove(disk, name) != STATUS_NOT_FOUND)
        fail_msg("%s cannot be removed", name);
    assert_int_equal(disk_create(disk, name, &file), STATUS_OK);
    assert_int_equal(disk_file_write(file, 0, &piece, 1), STATUS_OK);
    assert_int_equal(disk_file_sync(file), STATUS_OK);
    assert_int_equal(disk_sync_directory(disk), STATUS_OK);
    disk_file_close(file);
    disk_close(disk);
}

unsigned char *golden_file_read(struct crash_disk *crash, const char *name, size_t *out_size)
{
    struct disk *disk = crash_disk_attach(crash);
    struct disk_file *file;
    uint64_t bytes;
    assert_int_equal(disk_open_file(disk, name, &file), STATUS_OK);
    assert_int_equal(disk_file_size(file, &bytes), STATUS_OK);
    unsigned char *content = malloc(bytes + 1);
    assert_int_equal(disk_file_read(file, 0, content, bytes, out_size), STATUS_OK);
    disk_file_close(file);
    disk_close(disk);
    return content;
}

struct crash_disk *golden_disk_open(void)
{
    struct crash_disk *crash = crash_disk_open();
    for (size_t i = 0; i < GOLDEN_FILES; i++) {
        static unsigned char content[256 << 10];
        char path[200];
        snprintf(path, sizeof path, DIRECTORY "%s", names[i]);
        FILE *file = fopen(path, "rb");
        if (file == NULL)
            fail_msg("%s is not there: run this from the root of the tree", path);
        size_t size = fread(content, 1, sizeof content, file);
        fclose(file);
        golden_file_write(crash, names[i], (struct bytes){content, size});
    }
    return crash;
}

/* ---- checksums ---- */

static bool holds(size_t size, uint64_t offset, uint64_t bytes)
{
    return offset <= size && bytes <= size - offset && offset % 8 == 0;
}

static void fix_record(unsigned char *bytes, size_t available)
{
    struct record *record = (struct record *)bytes;
    if (available < sizeof *record || record_bytes(record) > available)
        return;
    record_seal_value(record, record->value_bytes);
    record_seal_head(record, record->sequence, record->modified_ms);
}

static void fix_manifest(unsigned char *bytes, size_t size)
{
    if (size < sizeof(uint64_t))
        return;
    uint64_t check = checksum64(bytes, size - sizeof check, 0);
    memcpy(bytes + size - sizeof check, &check, sizeof check);
}

/* Frames where one would look for them, by the lengths that their headers state. */
static void fix_segment(unsigned char *bytes, size_t size)
{
    if (size < SEGMENT_HEADER_BYTES)
        return;
    uint64_t check = checksum64(bytes, SEGMENT_CHECK_OFFSET, 0), id, salt;
    memcpy(bytes + SEGMENT_CHECK_OFFSET, &check, sizeof check);
    memcpy(&id, bytes + SEGMENT_ID_OFFSET, sizeof id);
    memcpy(&salt, bytes + SEGMENT_SALT_OFFSET, sizeof salt);
    for (uint64_t offset = SEGMENT_HEADER_BYTES;
         holds(size, offset, sizeof(struct frame_header));) {
        struct frame_header *header = (struct frame_header *)(bytes + offset);
        uint64_t payload = offset + sizeof *header, seed = frame_seed(salt, id, offset);
        if (header->magic != FORMAT_FRAME_MAGIC || !holds(size, payload, header->bytes))
            return;
        for (uint64_t at = payload;
             header->records > 0 && at + sizeof(struct record) <= payload + header->bytes;
             at += record_bytes((struct record *)(bytes + at)))
            fix_record(bytes + at, payload + header->bytes - at);
        header->payload_check = checksum64(bytes + payload, header->bytes, seed);
        header->head_check = frame_head_check(header, seed);
        offset += frame_extent(header->bytes, (header->flags & FRAME_LAZY) != 0);
    }
}

static void fix_blocks(unsigned char *bytes, size_t size, const struct table_footer *footer)
{
    struct table_properties *properties = (struct table_properties *)(bytes + footer->tail_offset);
    uint64_t at =
        footer->tail_offset + sizeof *properties + format_align(properties->last_key_bytes, 8);
    for (uint32_t i = 0;
         i < properties->blocks && holds(size, at, sizeof(struct table_block_header)); i++) {
        struct table_block_header *block = (struct table_block_header *)(bytes + at);
        if (holds(size, block->offset, block->bytes))
            block->check = checksum64(bytes + block->offset, block->bytes, 0);
        at += sizeof *block + format_align(block->key_bytes, 8);
    }
}

static void fix_table(unsigned char *bytes, size_t size)
{
    if (size < sizeof(struct table_header) + sizeof(struct table_footer) || size % 8 != 0)
        return;
    struct table_header *header = (struct table_header *)bytes;
    struct table_footer *footer = (struct table_footer *)(bytes + size - sizeof *footer);
    header->check = checksum64(header, offsetof(struct table_header, check), 0);
    for (uint64_t at = sizeof *header;
         at < footer->records_end && holds(size, at, sizeof(struct record));
         at += record_bytes((struct record *)(bytes + at)))
        fix_record(bytes + at, size - at);
    if (holds(size, footer->tail_offset, sizeof(struct table_properties)))
        fix_blocks(bytes, size, footer);
    if (holds(size, footer->tail_offset, footer->tail_bytes))
        footer->tail_check = checksum64(bytes + footer->tail_offset, footer->tail_bytes, 0);
    footer->check = checksum64(footer, offsetof(struct table_footer, check), 0);
}

void golden_file_fix(const char *name, unsigned char *bytes, size_t size)
{
    if (strncmp(name, "table-", 6) == 0)
        fix_table(bytes, size);
    else if (strncmp(name, "journal-", 8) == 0)
        fix_segment(bytes, size);
    else
        fix_manifest(bytes, size);
}

/* ---- the whole disk ---- */

static void fix_row(struct crash_disk *crash, struct manifest_table *row)
{
    char name[64];
    size_t size;
    table_name(row->identity.id, name);
    for (size_t i = 0; i < GOLDEN_FILES; i++) {
        if (strcmp(names[i], name) != 0)
            continue;
        unsigned char *bytes = golden_file_read(crash, name, &size);
        row->identity.bytes = size;
        if (size >= sizeof(struct table_footer) && size % 8 == 0)
            row->identity.check = ((struct table_footer *)(bytes + size) - 1)->check;
        free(bytes);
    }
}

void golden_disk_fix(struct crash_disk *crash)
{
    size_t size;
    for (size_t i = GOLDEN_FILES; i-- > 0;) { /* the manifest last */
        unsigned char *bytes = golden_file_read(crash, names[i], &size);
        if (i == 0)
            for (size_t at = MANIFEST_HEADER_BYTES; at + sizeof(struct manifest_table) + 8 <= size;
                 at += sizeof(struct manifest_table))
                fix_row(crash, (struct manifest_table *)(bytes + at));
        golden_file_fix(names[i], bytes, size);
        golden_file_write(crash, names[i], (struct bytes){bytes, size});
        free(bytes);
    }
}
