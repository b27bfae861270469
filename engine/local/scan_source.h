/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One table's or one run's keys, in order or in reverse, for a scan that merges many. A table tells
 * its keys block by block, each from its first: in reverse a block's keys are kept and walked back.
 *
 * Threads: one; the view that lists the table or memtable is pinned meanwhile.
 */
#ifndef KEYREST_ENGINE_LOCAL_SCAN_SOURCE_H
#define KEYREST_ENGINE_LOCAL_SCAN_SOURCE_H

#include "runs.h"
#include "table.h"

struct scan_source {
    struct bytes key; /* the one at hand, after an OK; valid until the source moves */
    bool reverse;
    /* a run */
    struct run *run; /* a reference; NULL: a table */
    uint64_t at;     /* of the next record; in reverse, behind it */
    /* a table */
    struct table_cursor cursor;
    /* in reverse: the keys of one block, one behind the other */
    unsigned char *keys;
    size_t *ends;
    size_t key_bytes, key_capacity, left, end_capacity;
};

/*
 * Moves to the first key that is not less than `bound`, in reverse to the last that is less; an empty
 * bound is before all keys, in reverse behind them. The run's reference is the source's from now on.
 * NOT_FOUND: there is none. CORRUPT, IO, NO_MEMORY. scan_source_done() after all of them.
 */
MUST_CHECK enum status scan_source_open_table(struct scan_source *source, struct table *table,
                                              struct bytes bound, bool reverse);
MUST_CHECK enum status scan_source_open_run(struct scan_source *source, struct run *run,
                                            struct bytes bound, bool reverse);
MUST_CHECK enum status scan_source_next(struct scan_source *source);
void scan_source_done(struct scan_source *source); /* a zero one, too */

#endif
