/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables: the input is a byte and the file. Bits of the byte (forged_table.h) leave checksums as the
 * fuzzer made them; all others are made right, so that what stands behind them is reached, too.
 */
#include "../../engine/local/table.h"
#include "../../engine/local/verify_table.h"
#include "../lib/crash_disk.h"
#include "../lib/forged_table.h"
#include "../lib/fuzz.h"
#include "record_check.h"

enum { TABLE_ID = 1 };

/* ---- reading ---- */

/* Reads the record at `offset` as every reader of a table does. True: it is good. */
static bool read_record(const struct table *table, uint64_t offset,
                        const struct forged_table *image)
{
    struct record head;
    if (table_head(table, offset, &head) != STATUS_OK)
        return false;
    uint64_t bytes = record_bytes(&head);
    struct record *copy = malloc(bytes);
    bool good = table_read(table, offset, &head, bytes, copy) == STATUS_OK;
    assert_true(good && memcmp(copy, image->bytes + offset, bytes) == 0);
    good = record_head_is_valid(copy, bytes) && record_value_is_valid(copy, record_value(copy));
    if (good)
        check_record(copy, bytes);
    free(copy);
    return good;
}

/* Every entry of the index, damaged blocks passed over, and each record that one tells of. */
static void read_all(struct table *table, const struct forged_table *image)
{
    struct table_cursor cursor;
    uint64_t sequence;
    table_cursor_init(&cursor, table);
    for (;;) {
        enum status status = table_cursor_next(&cursor);
        if (status == STATUS_NOT_FOUND)
            break;
        assert_true(status == STATUS_OK || status == STATUS_CORRUPT);
        assert_true(table_cursor_offset(&cursor) <= image->size);
        if (status == STATUS_CORRUPT) {
            table_cursor_skip_block(&cursor);
            continue;
        }
        unsigned char *key = fuzz_copy(cursor.entry.key);
        read_record(table, cursor.entry.offset, image);
        status = table_find(table, (struct bytes){key, cursor.entry.key.size}, &sequence);
        assert_true(status == STATUS_OK || status == STATUS_NOT_FOUND || status == STATUS_CORRUPT);
        free(key);
    }
    table_cursor_done(&cursor);
}

/* ---- a table without faults: what it says is so, and a writer would say the same ---- */

static void copy_all(struct table *table, const struct forged_table *image,
                     struct table_writer *writer)
{
    struct table_cursor cursor;
    table_cursor_init(&cursor, table);
    while (table_cursor_next(&cursor) == STATUS_OK) {
        const struct table_entry *entry = &cursor.entry;
        uint64_t sequence = 0, offset;
        assert_true(read_record(table, entry->offset, image));
        assert_true(table_find(table, entry->key, &sequence) == STATUS_OK);
        assert_true(sequence == entry->sequence);
        const struct record *record = (const struct record *)(image->bytes + entry->offset);
        assert_true(table_writer_add(writer, record, &offset) == STATUS_OK);
        assert_true(offset == entry->offset);
    }
    table_cursor_done(&cursor);
}

static void check_same(struct table *a, struct table *b)
{
    struct table_cursor left, right;
    table_cursor_init(&left, a);
    table_cursor_init(&right, b);
    enum status status;
    do {
        status = table_cursor_next(&left);
        assert_true(table_cursor_next(&right) == status);
        assert_true(status != STATUS_OK || (bytes_equal(left.entry.key, right.entry.key) &&
                                            left.entry.sequence == right.entry.sequence &&
                                            left.entry.type == right.entry.type &&
                                            left.entry.expires_ms == right.entry.expires_ms));
    } while (status == STATUS_OK);
    assert_true(status == STATUS_NOT_FOUND);
    table_cursor_done(&left);
    table_cursor_done(&right);
}

static void write_again(struct disk *disk, struct table *table, const struct forged_table *image)
{
    struct table_writer *writer;
    struct table_identity identity;
    struct table *again;
    struct failure failure = {0};
    assert_true(table_writer_open(disk, forged_uuid, TABLE_ID + 1, 0, &writer) == STATUS_OK);
    copy_all(table, image, writer);
    assert_true(table_writer_finish(writer, &identity) == STATUS_OK);
    table_writer_close(writer);
    assert_true(table_open(disk, forged_uuid, &identity, &again, &failure) == STATUS_OK);
    check_same(table, again);
    table_close(again);
}

/* ---- all of it ---- */

static void note_finding(void *context, const char *finding)
{
    (void)context;
    assert_true(strstr(finding, ": offset ") != NULL);
}

static bool is_sound(struct disk *disk, const struct table_identity *identity)
{
    struct engine_verification found = {0};
    struct verify verify = {.disk = disk, .on_finding = note_finding, .found = &found};
    struct manifest manifest = {.flushed_sequence = UINT64_MAX};
    struct failure failure = {0};
    memcpy(manifest.uuid, forged_uuid, sizeof manifest.uuid);
    assert_true(verify_table(&verify, &manifest, identity, &failure) == STATUS_OK);
    return found.findings == 0 && found.records > 0;
}

static void read_table(struct disk *disk, const struct forged_table *image)
{
    const struct table_identity *identity = &image->identity;
    struct table *table;
    struct failure failure = {0};
    enum status status = table_open(disk, forged_uuid, identity, &table, &failure);
    if (status != STATUS_OK) {
        assert_true(status == STATUS_CORRUPT_LOG || status == STATUS_FORMAT);
        assert_true(strstr(failure.message, ": offset ") != NULL);
        return;
    }
    read_all(table, image);
    if (is_sound(disk, identity))
        write_again(disk, table, image);
    table_close(table);
}

static void table_is_read(struct fuzz_input *input)
{
    unsigned leave = fuzz_byte(input);
    struct forged_table image;
    if (forged_table_make(&image, TABLE_ID, fuzz_bytes(input, input->size), leave)) {
        struct crash_disk *crash = crash_disk_open();
        struct disk *disk = crash_disk_attach(crash);
        forged_table_write(&image, disk);
        read_table(disk, &image);
        disk_close(disk);
        crash_disk_close(crash);
    }
    forged_table_done(&image);
}

FUZZ_TARGET("fuzz_table",
            "no file leads a reader out of it, and only records whose checksums are right come out",
            table_is_read)
