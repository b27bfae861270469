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
    struct event_sink events;
    /* where damage was found: set with the failure, else empty */
    struct chain_place failed;
    struct recovered *recovered; /* between the steps */
    /* progress, read by anyone */
    _Atomic uint64_t bytes_done, bytes_to_do;
};

/*
 * The first step: the store holds all that is kept, with the epoch that it will have. It is not to be
 * read yet: some of it may not be durable. CORRUPT_LOG, FORMAT: `failure` names file, offset and
 * sequences, nothing was changed. CANCELLED, NO_MEMORY, IO.
 */
MUST_CHECK enum status recovery_replay(struct recovery *recovery, struct failure *failure);

/*
 * The second: makes all of it durable. OK: `*out_journal` is ready for its first group. NO_SPACE:
 * nothing has changed, and it may be tried again. IO, NO_MEMORY.
 */
MUST_CHECK enum status recovery_begin_journal(struct recovery *recovery,
                                              struct journal **out_journal,
                                              struct failure *failure);

/* For want of room: removes the segments that only readers of changes would use. False: there are
 * none. Between the steps. */
bool recovery_give_up_kept(struct recovery *recovery);

/*
 * When there is no room for the second: makes what was replayed durable where it stands, so that it
 * may be read. The bytes that may not be on the disk are written again, though nothing is written
 * over otherwise: a sync alone might call pages clean that an earlier one failed to write, and the
 * same bytes cannot be torn. Once only: a failed sync is not to be repeated.
 */
MUST_CHECK enum status recovery_settle(struct recovery *recovery);

void recovery_done(struct recovery *recovery); /* after a failure, and before any step, too */

#endif
