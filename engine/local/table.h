/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One sorted table on disk, open for reading: records by offset through a read-only mapping, and
 * its index in key order through a cursor. Immutable; what changes is how much of it is still live.
 *
 * Threads: any. A table is kept open by its pin: views and readers take it, the store retires it.
 * Nothing read from the file is believed before its checksum: not a length, not a key.
 */
#ifndef KEYREST_ENGINE_LOCAL_TABLE_H
#define KEYREST_ENGINE_LOCAL_TABLE_H

#include <stdatomic.h>

#include "disk.h"
#include "pin.h"
#include "reclaim.h"
#include "record.h"
#include "table_format.h"
#include "table_writer.h"

struct slots;

struct table {
    /* set at open, then constant */
    struct table_identity identity;
    struct disk_file *file;
    const unsigned char *map;
    uint64_t records_end; /* records stand before it */
    const struct table_properties *properties;
    unsigned char *tail; /* as on disk: properties, last key, blocks' heads */
    const struct table_block_header **blocks;
    /* set when it joins the store, then constant */
    uint32_t slot;
    struct slots *slots; /* set at retirement */
    /* atomic: by the compaction that wrote it, until a table goes that they may have hidden versions
     * in: no use in trying again before */
    atomic_bool tombstones_were_kept;
    /* atomic: changed by whoever moves a key's place to or from here, read by anyone; relaxed */
    _Atomic uint64_t live_records, live_bytes;
    atomic_bool settled; /* the keys' places have moved here: it may be rewritten */
    atomic_bool damaged; /* a checksum failed: never rewritten, never removed */
    /* the sweep's: when its next live record expires, as of the last look; 0: it was not looked at */
    int64_t next_expiry_ms;
    /* the running compaction's: its number for this victim, from 1; 0: it is none */
    uint32_t victim;
    struct pin pin;
    struct retired retired;
};

/*
 * Opens the table that the manifest lists. CORRUPT_LOG: size, footer, tail or header differ, with
 * file and offset in `failure`. FORMAT, NOT_FOUND, IO, NO_MEMORY.
 */
MUST_CHECK enum status table_open(struct disk *disk, const uint8_t uuid[FORMAT_UUID_BYTES],
                                  const struct table_identity *identity, struct table **out_table,
                                  struct failure *failure);

/* Unmaps and closes; the file stays. Who brings the pin to {0, RETIRED} calls it. NULL is allowed. */
void table_close(struct table *table);

struct bytes table_first_key(const struct table *table);
struct bytes table_last_key(const struct table *table);
struct bytes table_block_key(const struct table *table, uint32_t block); /* its first */

/*
 * The header of the record at `offset`, unchecked, but with lengths that stay inside the file.
 * It may have to be read from the disk: the caller holds a pin, not an epoch section. CORRUPT.
 */
MUST_CHECK enum status table_head(const struct table *table, uint64_t offset,
                                  struct record *out_head);

/*
 * Copies the record's first `bytes` bytes, as `head` says they are, to `copy`; the caller checks the
 * copy, not the mapping, which may change under a check. CORRUPT: they cannot be read.
 */
MUST_CHECK enum status table_read(const struct table *table, uint64_t offset,
                                  const struct record *head, uint64_t bytes, struct record *copy);

/* ---- the index in key order ---- */

/* What the index tells of one record. */
struct table_entry {
    struct bytes key; /* valid until the cursor moves */
    uint64_t sequence;
    uint64_t offset;
    uint32_t record_bytes;
    enum record_type type;
    int64_t expires_ms; /* 0: never */
};

struct table_cursor {
    struct table *table;
    struct table_entry entry; /* the current one, after an OK */
    uint32_t block;           /* loaded, or failed to be */
    uint32_t next_block;      /* to load */
    uint32_t left;            /* entries of the loaded block still to come */
    unsigned char *bytes;     /* a checked copy of the loaded block */
    size_t position, count, capacity;
    uint64_t next_offset; /* of the next record */
    unsigned char *key;
    size_t key_capacity;
};

/* Before the first entry. The table is pinned by the caller while the cursor is in use. */
void table_cursor_init(struct table_cursor *cursor, struct table *table);
void table_cursor_done(struct table_cursor *cursor);

/* Takes all the room that going through `table` needs: then that cannot answer NO_MEMORY. A cursor
 * may have room for several, and be aimed at one after the other. NO_MEMORY. */
MUST_CHECK enum status table_cursor_reserve(struct table_cursor *cursor, const struct table *table);
void table_cursor_aim(struct table_cursor *cursor, struct table *table);

/* Moves to the next entry. NOT_FOUND: past the last. CORRUPT: a block differs. IO, NO_MEMORY. */
MUST_CHECK enum status table_cursor_next(struct table_cursor *cursor);

/* Before the first entry of a block. CORRUPT, IO, NO_MEMORY. */
MUST_CHECK enum status table_cursor_begin(struct table_cursor *cursor, uint32_t block);

/* The last block that begins at `key` or before it; the first when all begin after it. */
uint32_t table_block_of(const struct table *table, struct bytes key);

/* Past the rest of the block at hand, or past the one that could not be loaded. */
void table_cursor_skip_block(struct table_cursor *cursor);

/* Moves to the first entry whose key is `key` or greater. */
MUST_CHECK enum status table_cursor_seek(struct table_cursor *cursor, struct bytes key);

/* The same for a key that is not less than the one sought before: without a seek when it is near. */
MUST_CHECK enum status table_cursor_seek_on(struct table_cursor *cursor, struct bytes key);

/* Where in the file the block stands that the cursor is in, or that it failed to read. */
uint64_t table_cursor_offset(const struct table_cursor *cursor);

/* Looks one key up in the index. NOT_FOUND: the table has no record of it. CORRUPT, IO, NO_MEMORY. */
MUST_CHECK enum status table_find(struct table *table, struct bytes key, uint64_t *out_sequence);

#endif
