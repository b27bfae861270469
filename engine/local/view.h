/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An immutable list of all tables and memtables that together hold the store: whoever needs every
 * source at one instant pins the current view. A view pins what it lists.
 *
 * Threads: any. view_mutex is held for the exchange of a pointer, never over I/O.
 * Invariant: a version that a key's place names stands in a source of the current view.
 */
#ifndef KEYREST_ENGINE_LOCAL_VIEW_H
#define KEYREST_ENGINE_LOCAL_VIEW_H

#include <pthread.h>

#include "memtable.h"
#include "table.h"

struct view {
    struct pin pin;
    struct retired retired;
    size_t table_count, memtable_count;
    struct table **tables;       /* in no order */
    struct memtable **memtables; /* oldest first; the last is the active one */
};

struct views {
    /* set at open, then constant */
    struct reclaim *reclaim;
    /* written under mutex (release), read inside an epoch section (acquire) */
    _Atomic(struct view *) current;
    pthread_mutex_t mutex; /* view_mutex of the lock order */
};

/* The first view has one memtable and no table. NO_MEMORY. */
MUST_CHECK enum status views_init(struct views *views, struct reclaim *reclaim,
                                  struct memtable *active);
/* Closes all that the current view lists. No view is pinned any more. A zero one, too. */
void views_done(struct views *views);

/* The current view, kept until view_unpin(). Not for long: the memtables in it stay, too, and
 * writers wait when too many do. */
const struct view *views_pin(struct views *views);
void view_unpin(const struct view *view);

/* A view of the current tables alone, for as long as it takes. NULL: no memory. */
MUST_CHECK const struct view *views_pin_tables(struct views *views);

/* What a new view has that the old one has not, and the other way round. */
struct view_change {
    struct table *const *added_tables;
    size_t added_table_count;
    struct table *const *removed_tables;
    size_t removed_table_count;
    struct memtable *added_memtable; /* the new active one */
    struct memtable *const *removed_memtables;
    size_t removed_memtable_count;
};

/* Replaces the current view. NO_MEMORY: nothing has changed. */
MUST_CHECK enum status views_change(struct views *views, const struct view_change *change);

#endif
