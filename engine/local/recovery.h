/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the files to a store that serves: loads the tables, replays the journal behind them, decides
 * what of its end may be cut, makes sure that all that is kept is durable, and begins a fresh
 * segment. What was replayed stays in memtables, and where it is in the journal; they are dumped as
 * any others.
 *
 * A frame may be cut only above every durable_sequence that the manifest or any valid frame states;
 * missing or damaged frames below it are corruption, and the store does not open.
 *
 * Threads: one, before any reader or writer. Each step may be repeated after a crash at any point.
 */
#ifndef KEYREST_ENGINE_LOCAL_RECOVERY_H
#define KEYREST_ENGINE_LOCAL_RECOVERY_H

#include "chain.h"
#include "journal.h"
#include "manifest.h"
#include "store.h"

struct recovery {
    /* set by the caller */
    struct disk *disk;
    struct manifest *manifest;      /* as read; brought up to date */
    struct store *store;            /* empty; filled */
    struct journal_options journal; /* ids and sequences are filled in */
    const atomic_bool *closing;     /* raised: give up with CANCELLED */
    unsigned threads;               /* for loading tables */
    bool patient;                   /* a full disk: wait for room instead of NO_SPACE */
    struct event_sink events;
    /* where damage was found: set with the failure, else empty */
    struct chain_place failed;
    /* progress, read by anyone */
    _Atomic uint64_t bytes_done, bytes_to_do;
};

/*
 * OK: `*out_journal` is ready for its first group. CORRUPT_LOG, FORMAT: `failure` names file,
 * offset and sequences, nothing was changed. NO_SPACE: nothing was changed but stray files perhaps.
 * CANCELLED, NO_MEMORY, IO.
 */
MUST_CHECK enum status recovery_run(struct recovery *recovery, struct journal **out_journal,
                                    struct failure *failure);

#endif
