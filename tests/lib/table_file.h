/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables made from a few rows, for tests that need files and no store. Values follow from the
 * sequence, so that a reader can tell whose they are. One thread.
 */
#ifndef KEYREST_TESTS_LIB_TABLE_FILE_H
#define KEYREST_TESTS_LIB_TABLE_FILE_H

#include "../../engine/local/table.h"

struct table_row {
    struct bytes key;
    uint64_t sequence;
    enum record_type type; /* 0: a put */
    size_t value_bytes;
    int64_t expires_ms;
};

extern const uint8_t table_file_uuid[FORMAT_UUID_BYTES];

/* A sealed record, to be freed. */
struct record *table_row_record(const struct table_row *row);

/* Whether `record`, a checked copy, is that row's. */
bool table_row_matches(const struct table_row *row, const struct record *record);

/* Writes table `id` of the rows, which ascend. */
enum status table_file_write(struct disk *disk, uint64_t id, const struct table_row *rows,
                             size_t count, struct table_identity *out_identity);

/* Writes and opens it; fails the test when that fails. table_close() ends it. */
struct table *table_file_make(struct disk *disk, uint64_t id, const struct table_row *rows,
                              size_t count);

/* A checked copy of the record at `offset`, to be freed; NULL: it is damaged. */
struct record *table_file_record(const struct table *table, uint64_t offset);

#endif
