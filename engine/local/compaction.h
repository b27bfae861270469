/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rewrites tables without what is dead in them. A put is live if its key's place names it; a
 * tombstone may go when no other table holds an older version of its key. Live records keep their
 * sequence and are never inserted anew: only the place moves, and yields to newer writes.
 *
 * Threads: one compaction at a time, in any thread.
 * Invariants: 1. Before the edit, each victim gave at least as many records as are live in it.
 * 2. What justified leaving a version out is durable before the edit. 3. A probe that cannot be
 * answered counts as "holds an older version".
 */
#ifndef KEYREST_ENGINE_LOCAL_COMPACTION_H
#define KEYREST_ENGINE_LOCAL_COMPACTION_H

#include "catalog.h"
#include "event_sink.h"
#include "journal.h"
#include "store.h"
#include "victims.h"

struct compaction_options {
    struct store *store; /* all are borrowed until close */
    struct journal *journal;
    struct catalog *catalog;
    bool lazy; /* records may be applied before they are durable */
    uint64_t output_bytes_max;
    uint64_t bytes_per_second_max; /* 0: as fast as it goes */
    struct event_sink events;
};

/* What a run has done so far; read by anyone. */
struct compaction_progress {
    _Atomic uint64_t files_before, files_after;
    _Atomic uint64_t bytes_before, bytes_after; /* of the files */
    _Atomic uint64_t bytes_read, bytes_written;
    _Atomic uint64_t records_done, records_to_do;
};

/*
 * Rewrites `victims`, which the caller keeps pinned through `view`. CANCELLED: `closing` was raised.
 * CORRUPT: a victim is damaged; it is marked so and never picked again. NO_SPACE, IO, NO_MEMORY:
 * nothing has changed. UNKNOWN: as catalog_edit.
 */
MUST_CHECK enum status compaction_run(const struct compaction_options *options,
                                      const struct view *view, const struct victims *victims,
                                      const atomic_bool *closing,
                                      struct compaction_progress *progress);

#endif
