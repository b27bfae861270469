/* SPDX-License-Identifier: Apache-2.0 */
/* Building the next view from the current one. */
#include "view.h"

#include <stdlib.h>

static struct view *view_of_retired(struct retired *retired)
{
    return (struct view *)((unsigned char *)retired - offsetof(struct view, retired));
}

static struct view *view_make(size_t table_count, size_t memtable_count)
{
    struct view *view = calloc(1, sizeof *view + (table_count + memtable_count) * sizeof(void *));
    if (view == NULL)
        return NULL;
    view->tables = (struct table **)(view + 1);
    view->memtables = (struct memtable **)(view->tables + table_count);
    return view;
}

static void view_add_table(struct view *view, struct table *table)
{
    pin_take(&table->pin);
    view->tables[view->table_count++] = table;
}

static void view_add_memtable(struct view *view, struct memtable *memtable)
{
    pin_take(memtable_pin(memtable));
    view->memtables[view->memtable_count++] = memtable;
}

static void view_free(struct view *view)
{
    for (size_t i = 0; i < view->table_count; i++)
        if (pin_drop(&view->tables[i]->pin))
            table_close(view->tables[i]);
    for (size_t i = 0; i < view->memtable_count; i++)
        if (pin_drop(memtable_pin(view->memtables[i])))
            memtable_close(view->memtables[i]);
    free(view);
}

/* After the grace period. */
static void view_release(struct retired *retired)
{
    struct view *view = view_of_retired(retired);
    if (pin_retire(&view->pin))
        view_free(view);
}

enum status views_init(struct views *views, struct reclaim *reclaim, struct memtable *active)
{
    struct view *first = view_make(0, 1);
    if (first == NULL)
        return STATUS_NO_MEMORY;
    view_add_memtable(first, active);
    views->reclaim = reclaim;
    atomic_init(&views->current, first);
    pthread_mutex_init(&views->mutex, NULL);
    return STATUS_OK;
}

void views_done(struct views *views)
{
    if (views->reclaim == NULL)
        return;
    struct view *last = atomic_load(&views->current);
    for (size_t i = 0; i < last->table_count; i++) /* the view's own pin is the last one */
        pin_retire(&last->tables[i]->pin);
    for (size_t i = 0; i < last->memtable_count; i++)
        pin_retire(memtable_pin(last->memtables[i]));
    view_free(last);
    pthread_mutex_destroy(&views->mutex);
    views->reclaim = NULL;
}

const struct view *views_pin(struct views *views)
{
    reclaim_enter(views->reclaim);
    struct view *view = atomic_load_explicit(&views->current, memory_order_acquire);
    pin_take(&view->pin);
    reclaim_leave(views->reclaim);
    return view;
}

/* A view that was never current: its pin is the only reference to it. */
const struct view *views_pin_tables(struct views *views)
{
    reclaim_enter(views->reclaim);
    const struct view *current = atomic_load_explicit(&views->current, memory_order_acquire);
    struct view *view = view_make(current->table_count, 0);
    for (size_t i = 0; view != NULL && i < current->table_count; i++)
        view_add_table(view, current->tables[i]);
    reclaim_leave(views->reclaim);
    if (view != NULL)
        atomic_init(&view->pin.word, PIN_ONE + PIN_RETIRED);
    return view;
}

void view_unpin(const struct view *view)
{
    struct view *own = (struct view *)view;
    if (pin_drop(&own->pin))
        view_free(own);
}

static bool has_table(struct table *const *tables, size_t count, const struct table *table)
{
    for (size_t i = 0; i < count; i++)
        if (tables[i] == table)
            return true;
    return false;
}

static bool has_memtable(struct memtable *const *memtables, size_t count,
                         const struct memtable *memtable)
{
    for (size_t i = 0; i < count; i++)
        if (memtables[i] == memtable)
            return true;
    return false;
}

static struct view *changed(const struct view *old, const struct view_change *change)
{
    struct view *view = view_make(old->table_count + change->added_table_count,
                                  old->memtable_count + (change->added_memtable != NULL));
    if (view == NULL)
        return NULL;
    for (size_t i = 0; i < old->table_count; i++)
        if (!has_table(change->removed_tables, change->removed_table_count, old->tables[i]))
            view_add_table(view, old->tables[i]);
    for (size_t i = 0; i < change->added_table_count; i++)
        view_add_table(view, change->added_tables[i]);
    for (size_t i = 0; i < old->memtable_count; i++)
        if (!has_memtable(change->removed_memtables, change->removed_memtable_count,
                          old->memtables[i]))
            view_add_memtable(view, old->memtables[i]);
    if (change->added_memtable != NULL)
        view_add_memtable(view, change->added_memtable);
    return view;
}

enum status views_change(struct views *views, const struct view_change *change)
{
    pthread_mutex_lock(&views->mutex);
    struct view *old = atomic_load(&views->current);
    struct view *view = changed(old, change);
    if (view != NULL)
        atomic_store_explicit(&views->current, view, memory_order_release);
    pthread_mutex_unlock(&views->mutex);
    if (view == NULL)
        return STATUS_NO_MEMORY;
    old->retired = (struct retired){.release = view_release, .bytes = sizeof *old};
    reclaim_retire(views->reclaim, &old->retired);
    return STATUS_OK;
}
