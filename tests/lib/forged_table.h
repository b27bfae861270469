/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table's file from bytes that may be anything, with its checksums made right: so that a fuzzer
 * gets behind them. The layout is the one of table_format.h.
 */
#ifndef KEYREST_TESTS_LIB_FORGED_TABLE_H
#define KEYREST_TESTS_LIB_FORGED_TABLE_H

#include "../../engine/bytes.h"
#include "../../engine/local/table_writer.h"

/* The store that forged files claim to be of. */
extern const uint8_t forged_uuid[FORMAT_UUID_BYTES];

/* What stays as it came. */
enum forged_table_leave {
    FORGED_LEAVE_HEADER = 1 << 0,
    FORGED_LEAVE_RECORDS = 1 << 1,
    FORGED_LEAVE_BLOCKS = 1 << 2,
    FORGED_LEAVE_TAIL = 1 << 3,
    FORGED_LEAVE_FOOTER = 1 << 4,
    FORGED_LEAVE_PLACES =
        1 << 5, /* of tail and records' end: else they are brought into the file */
};

struct forged_table {
    unsigned char *bytes;
    size_t size;
    struct table_identity identity; /* its check is the footer's, right or not */
};

/* False: too short to be a table of any kind. forged_table_done() is right after both. */
bool forged_table_make(struct forged_table *table, uint64_t id, struct bytes content,
                       unsigned leave);
void forged_table_done(struct forged_table *table);

/* Under its name. */
void forged_table_write(const struct forged_table *table, struct disk *disk);

/* Writes a new file; aborts when that fails. */
void forged_file_write(struct disk *disk, const char *name, struct bytes content);

/*
 * Makes both checksums of a record right. False: its lengths go past `available`. `out_bytes` is its
 * size with padding.
 */
bool forged_record_seal(unsigned char *record, uint64_t available, uint64_t *out_bytes);

#endif
