/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads one table whole: each index block against its checksum, each record against its checksums
 * and against what the index tells of it, and all together against the table's properties. What is
 * damaged is told and passed over, so that one fault does not hide the others. One thread.
 */
#ifndef KEYREST_ENGINE_LOCAL_VERIFY_TABLE_H
#define KEYREST_ENGINE_LOCAL_VERIFY_TABLE_H

#include "manifest.h"
#include "verify.h"

/* OK: read to its end, with or without findings. CORRUPT_LOG, FORMAT: it could not be opened, and
 * `failure` is the finding. IO, NO_MEMORY. */
MUST_CHECK enum status verify_table(struct verify *verify, const struct manifest *manifest,
                                    const struct table_identity *identity, struct failure *failure);

#endif
