/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sorted table on disk, from its beginning:
 *
 *     header | records, ascending keys, one version of a key | index blocks | tail | footer
 *
 * The footer vouches for the tail, the tail for each index block, and the manifest for the footer;
 * records vouch for themselves. The index tells of every record what recovery and compaction ask,
 * so that neither reads values: its entries follow the records' order, and a record begins where
 * the one before it ends.
 */
#ifndef KEYREST_ENGINE_LOCAL_TABLE_FORMAT_H
#define KEYREST_ENGINE_LOCAL_TABLE_FORMAT_H

#include "format.h"

enum {
    TABLE_BLOCK_BYTES = 8 << 10, /* an index block ends with the entry that reaches this */
    TABLE_EXPIRY_QUANTILES = 16,
};

struct table_header {
    uint64_t magic;
    uint32_t format;
    uint32_t features; /* a bit that a program does not know: it must not open the file */
    uint8_t uuid[FORMAT_UUID_BYTES];
    uint64_t id;
    uint64_t zero[2];
    uint64_t check; /* of all before it */
};
_Static_assert(sizeof(struct table_header) == 64, "on disk");

/* One record, told by its index block; the key's suffix follows, then, if it has one, its expiry. */
struct table_entry_header {
    uint64_t word; /* sequence in the low 56 bits, type in the next 4, flags above */
    uint32_t record_bytes;
    uint16_t shared_bytes; /* of the key, with the key before it; 0 at a block's start */
    uint16_t suffix_bytes;
};
_Static_assert(sizeof(struct table_entry_header) == 16, "on disk");

#define TABLE_ENTRY_SEQUENCE_MASK ((UINT64_C(1) << 56) - 1)
enum { TABLE_ENTRY_TYPE_SHIFT = 56, TABLE_ENTRY_TYPE_MASK = 15 };
#define TABLE_ENTRY_EXPIRES (UINT64_C(1) << 60)

/* One index block, told by the tail; its first key follows, padded to 8. */
struct table_block_header {
    uint64_t offset;
    uint64_t first_record; /* offset of the block's first record */
    uint64_t check;
    uint32_t bytes;
    uint32_t records;
    uint32_t key_bytes;
    uint32_t zero;
};
_Static_assert(sizeof(struct table_block_header) == 40, "on disk");

/* The tail begins with this; the last key follows, padded to 8, then the blocks' headers. */
struct table_properties {
    uint64_t records, tombstones;
    uint64_t record_bytes, tombstone_bytes;
    uint64_t first_sequence, last_sequence; /* lowest and highest */
    uint64_t expiring;                      /* puts that will expire */
    int64_t expiry[TABLE_EXPIRY_QUANTILES]; /* ascending: when 1/16, 2/16, ... of them have */
    uint32_t blocks;
    uint32_t last_key_bytes;
};
_Static_assert(sizeof(struct table_properties) == 192, "on disk");

struct table_footer {
    uint64_t magic;
    uint64_t id;
    uint64_t records_end; /* where the index begins */
    uint64_t tail_offset;
    uint64_t tail_bytes;
    uint64_t tail_check;
    uint64_t zero;
    uint64_t check; /* of all before it; the manifest repeats it */
};
_Static_assert(sizeof(struct table_footer) == 64, "on disk");

#endif
