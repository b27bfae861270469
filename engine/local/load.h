/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the tables to the keys in memory: opens what the manifest lists, merges the indexes and makes
 * an entry of each key whose newest version is a put. Reads no values. Uses several threads, each
 * with a range of keys.
 */
#ifndef KEYREST_ENGINE_LOCAL_LOAD_H
#define KEYREST_ENGINE_LOCAL_LOAD_H

#include "manifest.h"
#include "store.h"

struct load {
    /* set by the caller */
    struct disk *disk;
    const struct manifest *manifest;
    struct store *store;        /* without keys; filled */
    const atomic_bool *closing; /* raised: give up with CANCELLED */
    _Atomic uint64_t *bytes_done;
    unsigned threads; /* 1 to LOAD_THREADS_MAX */
};

enum { LOAD_THREADS_MAX = 8 };

/* CORRUPT_LOG, FORMAT, IO, NO_MEMORY with file and offset in `failure`; CANCELLED. */
MUST_CHECK enum status load_tables(struct load *load, struct failure *failure);

#endif
