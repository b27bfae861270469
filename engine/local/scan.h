/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys of a range in their order, each once, with its newest value: candidates come from the
 * tables' indexes and the memtables' runs, merged, and the keymap says of each what it is now. So a
 * key that has a value throughout is never missed, and one that has none is never told of.
 *
 * Threads: any. The view is pinned anew every SCAN_PINNED_MAX candidates: a long scan keeps no
 * memtable from being freed.
 */
#ifndef KEYREST_ENGINE_LOCAL_SCAN_H
#define KEYREST_ENGINE_LOCAL_SCAN_H

#include "store.h"

enum { SCAN_PINNED_MAX = 4096 };

/* As engine_scan(). CORRUPT: an index block that is needed is damaged. */
MUST_CHECK enum status scan_run(struct store *store, const struct engine_range *range,
                                bool with_values, engine_visit *visit, void *visitor,
                                const struct engine_context *context);

#endif
