/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one file that says what counts: rewritten whole under a temporary name, synced, renamed, the
 * directory synced. The rename is the commit point; until then the old manifest holds.
 *
 * Threads: a struct manifest has one owner; of a running store that is the catalog.
 */
#ifndef KEYREST_ENGINE_LOCAL_MANIFEST_H
#define KEYREST_ENGINE_LOCAL_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../status.h"
#include "disk.h"
#include "format.h"
#include "table_writer.h"

/* One table that counts. */
struct manifest_table {
    struct table_identity identity;
    uint64_t flags;
};

enum manifest_table_flag { /* on disk: never renumber */
                           MANIFEST_TOMBSTONES_KEPT =
                               1 << 0, /* the compaction that wrote it could not drop them */
};

struct manifest {
    uint8_t uuid[FORMAT_UUID_BYTES];
    uint64_t epoch; /* 48 bits */
    uint64_t next_table_id;
    uint64_t next_journal_id;
    uint64_t flushed_sequence; /* all up to it is in tables: replay skips it */
    uint64_t durable_sequence; /* all up to it was durable when this was written */
    uint64_t journal_first;    /* lowest segment to replay */
    uint64_t journal_kept;     /* lowest segment kept for the change feed */
    bool lazy; /* the last start was in interval mode: unless it ended clean, a tail may be lost */
    uint64_t table_count;
    struct manifest_table *tables; /* in no order; owned */
};

/* A new store's manifest: fresh uuid and epoch, no tables. */
void manifest_init(struct manifest *manifest);
void manifest_done(struct manifest *manifest); /* a zero one, too */

/* `*out_copy` need not be initialised. NO_MEMORY. */
MUST_CHECK enum status manifest_copy(const struct manifest *manifest, struct manifest *out_copy);

/* Lists one more table. NO_MEMORY. */
MUST_CHECK enum status manifest_add(struct manifest *manifest, const struct manifest_table *table);
void manifest_remove(struct manifest *manifest, uint64_t table_id);

/* Takes MANIFEST_TOMBSTONES_KEPT from a table. */
void manifest_forgive(struct manifest *manifest, uint64_t table_id);

/* Whether the manifest lists table `id`. */
bool manifest_lists(const struct manifest *manifest, uint64_t table_id);

/* 48 random bits, never 0. */
uint64_t manifest_new_epoch(void);

/* NOT_FOUND: there is none. CORRUPT_LOG, FORMAT, IO, with the file and offset in `failure`. */
MUST_CHECK enum status manifest_read(struct disk *disk, struct manifest *out_manifest,
                                     struct failure *failure);

/*
 * Makes `manifest` the one that counts. NO_SPACE, IO before the rename: the old one holds.
 * UNKNOWN: the rename was done but may not be durable; nothing may be unlinked on its strength.
 */
MUST_CHECK enum status manifest_write(struct disk *disk, const struct manifest *manifest);

#endif
