/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys on their way from the tables into the keymap, of one thread. They are gathered by shard: its
 * lock is taken once for many of them, and their slots are near each other and known beforehand, so
 * that they come from memory together.
 */
#ifndef KEYREST_ENGINE_LOCAL_INTAKE_H
#define KEYREST_ENGINE_LOCAL_INTAKE_H

#include "store.h"

enum { INTAKE_GATHERED = 512 }; /* of a shard, before they are inserted */

struct intake {
    struct store *store;
    const struct view *view;
    struct intake_live *live; /* by slot */
    struct entry_cutter entries;
    uint32_t counts[KEYMAP_SHARDS];
    struct keymap_addition gathered[KEYMAP_SHARDS][INTAKE_GATHERED];
};

/* From the tables of `view`; it and `store` are borrowed until close. NULL: no memory. */
MUST_CHECK struct intake *intake_open(struct store *store, const struct view *view);

/* Drops what was not flushed. NULL is allowed. */
void intake_close(struct intake *intake);

/* Gives a key, for the first time, the place in `table` that `loaded` tells. NO_MEMORY. */
MUST_CHECK enum status intake_add(struct intake *intake, struct table *table,
                                  const struct table_entry *loaded);

/* Inserts all that was added, and counts it as live. NO_MEMORY. */
MUST_CHECK enum status intake_flush(struct intake *intake);

#endif
