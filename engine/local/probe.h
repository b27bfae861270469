/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether tables that a compaction leaves alone hold an older version of a key: what decides if a
 * tombstone must stay. Keys are asked for in ascending order, so that each index is read at most
 * once. One thread; the tables are pinned by the caller.
 */
#ifndef KEYREST_ENGINE_LOCAL_PROBE_H
#define KEYREST_ENGINE_LOCAL_PROBE_H

#include "view.h"

struct probe {
    struct table_cursor *cursors; /* one per table that is no victim */
    size_t count;
};

/* Over those of the view's tables that are no victims. NO_MEMORY. */
MUST_CHECK enum status probe_open(struct probe *probe, const struct view *view);
void probe_close(struct probe *probe); /* a zero one, too */

/* What cannot be answered counts as yes. `key` is not less than the one before. */
bool probe_finds_older(struct probe *probe, struct bytes key, uint64_t sequence);

#endif
