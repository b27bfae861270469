/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which tables are worth rewriting. Space: when much of what is on disk is dead, the tables with
 * most of it. Fan-in: when too many tables overlap, the smallest of them. Pure functions of a view.
 */
#ifndef KEYREST_ENGINE_LOCAL_VICTIMS_H
#define KEYREST_ENGINE_LOCAL_VICTIMS_H

#include "view.h"

enum victims_mode {
    VICTIMS_DUE, /* what the policy finds worth it */
    VICTIMS_ALL, /* whatever has anything dead: somebody asked */
};

struct victims {
    struct table **tables; /* owned by the list; the tables are pinned by the view */
    size_t count;
    uint64_t live_bytes;  /* about what the outputs will take */
    bool some_do_not_fit; /* others were worth it, but their outputs would take too much */
};

/*
 * Picks from `view` tables whose live bytes together stay within `live_bytes_max`, among those whose
 * ids are below `table_id_end`. Count 0: nothing is worth it. NO_MEMORY.
 */
MUST_CHECK enum status victims_pick(const struct view *view, enum victims_mode mode,
                                    uint64_t table_id_end, uint64_t live_bytes_max,
                                    struct victims *out_victims);
void victims_done(struct victims *victims);

/* Bytes of records that rewriting the table would leave out, as far as is known. */
uint64_t victims_dead_bytes(const struct table *table);

#endif
