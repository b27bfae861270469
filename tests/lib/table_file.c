/* SPDX-License-Identifier: Apache-2.0 */
/* Rows to records to files. */
#include "table_file.h"

#include "test.h"

const uint8_t table_file_uuid[FORMAT_UUID_BYTES] = "sixteen bytes...";

struct record *table_row_record(const struct table_row *row)
{
    enum record_type type = row->type != 0 ? row->type : RECORD_PUT;
    struct record *record = calloc(1, record_size(row->key.size, 0, row->value_bytes));
    record_init(record, type, row->key, (struct bytes){NULL, 0});
    memset(record->data + row->key.size, (int)(row->sequence % 251), row->value_bytes);
    record->expires_ms = row->expires_ms;
    record_seal_value(record, (uint32_t)row->value_bytes);
    record_seal_head(record, row->sequence, 1700000000000);
    return record;
}

bool table_row_matches(const struct table_row *row, const struct record *record)
{
    struct record *expected = table_row_record(row);
    uint64_t bytes = record_bytes(expected);
    bool same = record_bytes(record) == bytes &&
                memcmp(expected, record, sizeof *record + row->key.size + row->value_bytes) == 0;
    free(expected);
    return same;
}

enum status table_file_write(struct disk *disk, uint64_t id, const struct table_row *rows,
                             size_t count, struct table_identity *out_identity)
{
    struct table_writer *writer;
    enum status status = table_writer_open(disk, table_file_uuid, id, 0, &writer);
    if (status != STATUS_OK)
        return status;
    for (size_t i = 0; i < count && status == STATUS_OK; i++) {
        struct record *record = table_row_record(&rows[i]);
        uint64_t offset;
        status = table_writer_add(writer, record, &offset);
        free(record);
    }
    if (status == STATUS_OK)
        status = table_writer_finish(writer, out_identity);
    table_writer_close(writer);
    return status;
}

struct table *table_file_make(struct disk *disk, uint64_t id, const struct table_row *rows,
                              size_t count)
{
    struct table_identity identity;
    struct table *table;
    struct failure failure = {0};
    assert_int_equal(table_file_write(disk, id, rows, count, &identity), STATUS_OK);
    if (table_open(disk, table_file_uuid, &identity, &table, &failure) != STATUS_OK)
        fail_msg("%s", failure.message);
    return table;
}

struct record *table_file_record(const struct table *table, uint64_t offset)
{
    struct record head;
    if (table_head(table, offset, &head) != STATUS_OK)
        return NULL;
    struct record *copy = malloc(record_bytes(&head));
    bool good = table_read(table, offset, &head, record_bytes(&head), copy) == STATUS_OK &&
                record_head_is_valid(copy, record_bytes(&head)) &&
                record_value_is_valid(copy, record_value(copy));
    if (good)
        return copy;
    free(copy);
    return NULL;
}
