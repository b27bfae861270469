/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one file that says what counts: rewritten whole under a temporary name, synced, renamed, the
 * directory synced. The rename is the commit point; until then the old manifest holds.
 */
#ifndef KEYREST_ENGINE_LOCAL_MANIFEST_H
#define KEYREST_ENGINE_LOCAL_MANIFEST_H

#include <stdint.h>

#include "../status.h"
#include "disk.h"
#include "format.h"

struct manifest {
    uint8_t uuid[FORMAT_UUID_BYTES];
    uint64_t epoch; /* 48 bits */
    uint64_t next_table_id;
    uint64_t next_journal_id;
    uint64_t flushed_sequence; /* all up to it is in tables: replay skips it */
    uint64_t durable_sequence; /* all up to it was durable when this was written */
    uint64_t journal_first;    /* lowest segment to replay */
    uint64_t journal_kept;     /* lowest segment kept for the change feed */
};

/* A new store's manifest: fresh uuid and epoch. */
void manifest_init(struct manifest *manifest);

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
