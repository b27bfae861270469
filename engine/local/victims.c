/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cost against benefit: reading and writing a table's live bytes frees its dead ones, so the share
 * that is dead decides. Taking the deadest first keeps the bytes written per byte freed lowest.
 */
#include "victims.h"

#include <stdlib.h>

enum {
    DEAD_PERCENT_MAX = 50,   /* a table with more is rewritten */
    TOTAL_PERCENT_MAX = 140, /* of the live bytes, of all tables together */
    WORTH_DEAD_PERCENT = 20, /* a table with less is not, even if the sum is over */
    OVERLAP_MAX = 64,        /* of tables at one key */
    OVERLAP_VICTIMS = 16,
    TOGETHER_BYTES = 32 << 20, /* live bytes enough for one run, so that outputs are not small */
};

static uint64_t live_bytes(const struct table *table)
{
    return atomic_load_explicit(&table->live_bytes, memory_order_relaxed);
}

/* Tombstones that the last rewrite had to keep are not dead yet. */
static uint64_t kept_bytes(const struct table *table)
{
    bool kept = atomic_load_explicit(&table->tombstones_were_kept, memory_order_relaxed);
    return kept ? table->properties->tombstone_bytes : 0;
}

uint64_t victims_dead_bytes(const struct table *table)
{
    uint64_t used = live_bytes(table) + kept_bytes(table);
    uint64_t all = table->properties->record_bytes;
    return used < all ? all - used : 0;
}

static unsigned dead_percent(const struct table *table)
{
    return (unsigned)(victims_dead_bytes(table) * 100 / (table->properties->record_bytes + 1));
}

static bool can_be_rewritten(const struct table *table)
{
    return atomic_load_explicit(&table->settled, memory_order_acquire) &&
           !atomic_load_explicit(&table->damaged, memory_order_relaxed);
}

static bool may_be_victim(const struct table *table, uint64_t table_id_end)
{
    return table->identity.id < table_id_end && can_be_rewritten(table);
}

static enum status victims_open(const struct view *view, struct victims *victims)
{
    *victims = (struct victims){.tables = calloc(view->table_count + 1, sizeof(struct table *))};
    return victims->tables != NULL ? STATUS_OK : STATUS_NO_MEMORY;
}

void victims_done(struct victims *victims)
{
    free(victims->tables);
    *victims = (struct victims){0};
}

static void add(struct victims *victims, struct table *table)
{
    victims->tables[victims->count++] = table;
    victims->live_bytes += live_bytes(table) + kept_bytes(table);
}

static void add_if_it_fits(struct victims *victims, struct table *table, uint64_t live_bytes_max)
{
    if (victims->live_bytes + live_bytes(table) + kept_bytes(table) <= live_bytes_max)
        add(victims, table);
    else
        victims->some_do_not_fit = true;
}

/* ---- space ---- */

/* The deadest first; of equals the older. */
static int compare_by_deadness(const void *left, const void *right)
{
    const struct table *const *a = left, *const *b = right;
    unsigned dead_a = dead_percent(*a), dead_b = dead_percent(*b);
    if (dead_a != dead_b)
        return dead_a < dead_b ? 1 : -1;
    uint64_t id_a = (*a)->identity.id, id_b = (*b)->identity.id;
    return (id_a > id_b) - (id_a < id_b);
}

/* Of all tables, also those too new to be victims: without them the old ones' share of dead bytes
 * would look larger than the store's. Tables that cannot be rewritten would stay due for ever. */
static bool space_is_due(const struct view *view)
{
    uint64_t total = 0, dead = 0;
    for (size_t i = 0; i < view->table_count; i++) {
        if (!can_be_rewritten(view->tables[i]))
            continue;
        total += view->tables[i]->properties->record_bytes;
        dead += victims_dead_bytes(view->tables[i]);
        if (dead_percent(view->tables[i]) > DEAD_PERCENT_MAX)
            return true;
    }
    return total > (total - dead) * TOTAL_PERCENT_MAX / 100;
}

static void pick_deadest(const struct view *view, unsigned dead_percent_min, uint64_t table_id_end,
                         uint64_t live_bytes_max, struct victims *victims)
{
    struct victims all = *victims; /* sorted in place, then thinned out */
    for (size_t i = 0; i < view->table_count; i++)
        if (may_be_victim(view->tables[i], table_id_end) &&
            victims_dead_bytes(view->tables[i]) > 0 &&
            dead_percent(view->tables[i]) >= dead_percent_min)
            add(&all, view->tables[i]);
    if (all.count > 1)
        qsort(all.tables, all.count, sizeof *all.tables, compare_by_deadness);
    for (size_t i = 0; i < all.count && victims->live_bytes < TOGETHER_BYTES; i++)
        add_if_it_fits(victims, all.tables[i], live_bytes_max);
}

/* ---- fan-in ---- */

static size_t overlap_at(const struct view *view, struct bytes key)
{
    size_t overlap = 0;
    for (size_t i = 0; i < view->table_count; i++)
        overlap += bytes_compare(table_first_key(view->tables[i]), key) <= 0 &&
                   bytes_compare(table_last_key(view->tables[i]), key) >= 0;
    return overlap;
}

/* The most tables overlap where some table begins. NULL: nowhere too many. */
static const struct table *too_many_at(const struct view *view)
{
    size_t most = OVERLAP_MAX;
    const struct table *where = NULL;
    for (size_t i = 0; i < view->table_count && view->table_count > OVERLAP_MAX; i++) {
        size_t overlap = overlap_at(view, table_first_key(view->tables[i]));
        if (overlap > most) {
            most = overlap;
            where = view->tables[i];
        }
    }
    return where;
}

static int compare_by_size(const void *left, const void *right)
{
    const struct table *const *a = left, *const *b = right;
    uint64_t bytes_a = live_bytes(*a), bytes_b = live_bytes(*b);
    return (bytes_a > bytes_b) - (bytes_a < bytes_b);
}

static void pick_smallest(const struct view *view, const struct table *where, uint64_t table_id_end,
                          uint64_t live_bytes_max, struct victims *victims)
{
    struct bytes key = table_first_key(where);
    struct victims all = *victims;
    for (size_t i = 0; i < view->table_count; i++)
        if (may_be_victim(view->tables[i], table_id_end) &&
            bytes_compare(table_first_key(view->tables[i]), key) <= 0 &&
            bytes_compare(table_last_key(view->tables[i]), key) >= 0)
            add(&all, view->tables[i]);
    if (all.count > 1)
        qsort(all.tables, all.count, sizeof *all.tables, compare_by_size);
    for (size_t i = 0; i < all.count && victims->count < OVERLAP_VICTIMS; i++)
        add_if_it_fits(victims, all.tables[i], live_bytes_max);
    if (victims->count < 2) /* one alone gains nothing */
        victims->count = 0;
}

/* ---- picking ---- */

enum status victims_pick(const struct view *view, enum victims_mode mode, uint64_t table_id_end,
                         uint64_t live_bytes_max, struct victims *out_victims)
{
    enum status status = victims_open(view, out_victims);
    if (status != STATUS_OK)
        return status;
    if (mode == VICTIMS_ALL)
        pick_deadest(view, 0, table_id_end, live_bytes_max, out_victims);
    else if (space_is_due(view))
        pick_deadest(view, WORTH_DEAD_PERCENT, table_id_end, live_bytes_max, out_victims);
    const struct table *where = mode == VICTIMS_DUE ? too_many_at(view) : NULL;
    if (out_victims->count == 0 && where != NULL)
        pick_smallest(view, where, table_id_end, live_bytes_max, out_victims);
    return STATUS_OK;
}
