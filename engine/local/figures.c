/* SPDX-License-Identifier: Apache-2.0 */
/* Asking the parts, where they are open. */
#include "figures.h"

#include <stdio.h>

#include "victims.h"

static void describe_space(struct engine_health *health, const struct space *space)
{
    snprintf(health->reason, sizeof health->reason,
             "%" PRIu64 " bytes are free, writes that grow the store need %" PRIu64
             " (reserve_bytes) and room for the files under way",
             space_free_bytes(space), space_needed_bytes(space));
}

static void describe(struct engine_health *health, const struct local *local)
{
    if (health->state == ENGINE_UNUSABLE)
        snprintf(health->reason, sizeof health->reason, "%s", local->failure.message);
    else if (health->state == ENGINE_LOADING)
        snprintf(health->reason, sizeof health->reason, "the journal is being replayed");
    else if (local_state_of(local) == LOCAL_READABLE)
        snprintf(health->reason, sizeof health->reason,
                 "there is no room for a journal segment of %" PRIu64 " bytes; when there is, "
                 "writes are taken without a restart",
                 local->recovery.journal.first_segment_bytes);
    else if (health->writable == STATUS_NO_SPACE)
        describe_space(health, maintenance_space(local->maintenance));
    else if (health->writable != STATUS_OK)
        snprintf(health->reason, sizeof health->reason, "%s", status_text(health->writable));
}

static void add_writers(struct engine_health *health, const struct local *local)
{
    health->writable = maintenance_writable(local->maintenance);
    if (health->writable == STATUS_READ_ONLY)
        health->state = ENGINE_READ_ONLY;
    health->oldest_unsynced_ms = maintenance_unsynced_ms(local->maintenance);
}

void figures_health(struct local *local, struct engine_health *out_health)
{
    static const enum engine_state states[] = {
        [LOCAL_LOADING] = ENGINE_LOADING,
        [LOCAL_READABLE] = ENGINE_READY,
        [LOCAL_READY] = ENGINE_READY,
        [LOCAL_UNUSABLE] = ENGINE_UNUSABLE,
    };
    enum local_state state = local_state_of(local);
    struct engine_health health = {.state = states[state], .writable = local_has_writers(local)};
    if (state == LOCAL_READY)
        add_writers(&health, local);
    if (state == LOCAL_READY || state == LOCAL_READABLE) {
        health.epoch = local->store.epoch;
        health.sequence = store_sequence(&local->store);
    } else {
        health.loaded = atomic_load(&local->recovery.bytes_done);
        health.to_load = atomic_load(&local->recovery.bytes_to_do);
    }
    describe(&health, local);
    *out_health = health;
}

static void refresh_tables(struct local *local)
{
    const struct view *view = views_pin(&local->store.views);
    uint64_t bytes = 0, live = 0, dead = 0, tombstones = 0;
    for (size_t i = 0; i < view->table_count; i++) {
        const struct table *table = view->tables[i];
        bytes += table->identity.bytes;
        live += atomic_load_explicit(&table->live_bytes, memory_order_relaxed);
        dead += victims_dead_bytes(table);
        tombstones += table->properties->tombstone_bytes;
    }
    stats_set(local->stats, STATS_tables, view->table_count);
    stats_set(local->stats, STATS_table, bytes);
    stats_set(local->stats, STATS_table_live, live);
    stats_set(local->stats, STATS_table_dead, dead);
    stats_set(local->stats, STATS_table_tombstone, tombstones);
    view_unpin(view);
}

static void refresh_memory(struct local *local)
{
    struct store *store = &local->store;
    uint64_t index = keymap_bytes(store->keymap) + entry_pool_bytes(store->entries);
    const struct view *view = views_pin(&store->views);
    uint64_t memtables = 0, used = budget_used(&store->budget);
    for (size_t i = 0; i < view->memtable_count; i++)
        memtables += memtable_bytes(view->memtables[i]);
    view_unpin(view);
    refresh_tables(local);
    stats_set(local->stats, STATS_keys, atomic_load(&store->keys));
    stats_set(local->stats, STATS_keymap, index);
    stats_set(local->stats, STATS_memtable, memtables);
    stats_set(local->stats, STATS_inflight,
              used > index + memtables ? used - index - memtables : 0);
    stats_set(local->stats, STATS_retired, reclaim_bytes(store->reclaim));
    stats_set(local->stats, STATS_memory_limit, store->budget.limit);
}

struct stats *figures_stats(struct local *local)
{
    enum local_state state = local_state_of(local);
    refresh_memory(local);
    stats_set(local->stats, STATS_loading, state == LOCAL_LOADING);
    if (state != LOCAL_READY)
        return local->stats;
    struct journal_figures figures = journal_figures(local->journal);
    stats_set(local->stats, STATS_journal, figures.bytes);
    stats_set(local->stats, STATS_journal_segments, figures.segments);
    stats_set(local->stats, STATS_journal_kept, figures.kept_bytes);
    stats_set(local->stats, STATS_disk_free,
              space_free_bytes(maintenance_space(local->maintenance)));
    stats_set(local->stats, STATS_read_only,
              maintenance_writable(local->maintenance) == STATUS_READ_ONLY);
    stats_set(local->stats, STATS_recovery, local->recovery_ns);
    return local->stats;
}
