/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a store that nobody has open from end to end and tells whatever is not as it must be: of the
 * manifest, of each table (verify_table.h), of the journal, and of the files that are there or not.
 * Changes nothing. One thread.
 */
#ifndef KEYREST_ENGINE_LOCAL_VERIFY_H
#define KEYREST_ENGINE_LOCAL_VERIFY_H

#include "../engine.h"
#include "disk.h"

struct verify {
    /* set by the caller */
    struct disk *disk;
    void (*on_finding)(void *context, const char *finding);
    void *context;
    struct engine_verification *found; /* zero; counted */
};

/* As engine_verify(), over a disk; takes its lock. */
MUST_CHECK enum status verify_run(struct verify *verify, struct failure *failure);

/* Tells one finding: "FILE: offset N: WHAT". */
void verify_tell(struct verify *verify, const char *file, uint64_t offset, const char *what);

#endif
