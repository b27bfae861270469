/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys whose time is over are deleted: found in memtables and in tables' indexes, and handed to the
 * commit in batches, as one writer among others. The leader decides again which of them are over, so
 * a newer write wins, and so does a clock that was set back. Readers never needed it: it gives the
 * space back, and tells those who follow the changes.
 *
 * Each source notes when its next record will be over, as of the last look; only those that are due
 * are looked at, and looking takes at most a small share of the time.
 *
 * Threads: sweep_run: one at a time, the compactor's; sweep_stop: any.
 */
#ifndef KEYREST_ENGINE_LOCAL_SWEEP_H
#define KEYREST_ENGINE_LOCAL_SWEEP_H

#include "commit.h"

struct sweep_options {
    struct store *store;
    struct commit *commit;
    uint32_t operations_max; /* of a commit */
    /* Whether deletes may be written: READ_ONLY if not. NULL: always. */
    enum status (*writable)(void *context);
    void *context;
};

struct sweep;

MUST_CHECK enum status sweep_open(const struct sweep_options *options, struct sweep **out_sweep);
void sweep_close(struct sweep *sweep); /* NULL is allowed */

/*
 * Deletes what is over, for about a second; `all`: to the end, whatever it takes. Returns the ns after
 * which there is more to do; UINT64_MAX: when the next time comes.
 */
uint64_t sweep_run(struct sweep *sweep, bool all);

/* Ends a run within a moment, and all later ones. */
void sweep_stop(struct sweep *sweep);

#endif
