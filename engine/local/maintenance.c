/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each round looks at the clock and at the journal and does what is due; between rounds the thread
 * sleeps until a segment is wanted or the next time is reached.
 */
#include "maintenance.h"

#include <pthread.h>

enum {
    TICK_MS = 1000,       /* free space is looked at, failures are tried again */
    IDLE_MARK_MS = 1000,  /* after the last group: its EMPTY frame */
    MEMORY_OK_SHARE = 20, /* memory is told to be fine again when 1/20 of the limit is free */
};

#define NS_PER_MS UINT64_C(1000000)

struct maintenance {
    struct maintenance_options options; /* set at open, then constant */
    bool threaded;
    pthread_t thread;
    atomic_bool closing;
    /* owned by the housekeeping thread */
    uint64_t next_tick_ns;
    uint64_t next_sync_ns;
    uint64_t marked_sequence; /* of the last group that an EMPTY frame follows */
    bool prepare_failed;      /* try again at the next tick, not at once */
    bool told_read_only, told_memory_full;
    /* atomic: written by the housekeeping thread, read by anyone */
    atomic_bool space_is_low;
    _Atomic uint64_t free_bytes;
    _Atomic uint64_t synced_ns; /* all that was written at this time is durable */
};

static uint64_t now_ns(const struct maintenance *maintenance)
{
    const struct time_source *time = maintenance->options.store->time;
    return time->monotonic_ns(time);
}

static void tell(const struct maintenance *maintenance, struct engine_event event)
{
    event_tell(&maintenance->options.events, event);
}

/* ---- figures ---- */

static bool memory_is_full(const struct maintenance *maintenance)
{
    const struct budget *budget = &maintenance->options.store->budget;
    return budget_used(budget) >= budget->limit;
}

enum status maintenance_writable(const struct maintenance *maintenance)
{
    if (journal_is_sealed(maintenance->options.journal))
        return STATUS_READ_ONLY;
    if (atomic_load_explicit(&maintenance->space_is_low, memory_order_relaxed))
        return STATUS_NO_SPACE;
    return memory_is_full(maintenance) ? STATUS_NO_MEMORY : STATUS_OK;
}

uint64_t maintenance_free_bytes(const struct maintenance *maintenance)
{
    return atomic_load_explicit(&maintenance->free_bytes, memory_order_relaxed);
}

static bool has_unsynced(const struct maintenance *maintenance)
{
    const struct journal *journal = maintenance->options.journal;
    return journal_written_sequence(journal) > journal_durable_sequence(journal);
}

uint64_t maintenance_unsynced_ms(const struct maintenance *maintenance)
{
    if (maintenance->options.sync_interval_ms == 0 || !has_unsynced(maintenance))
        return 0;
    uint64_t synced = atomic_load_explicit(&maintenance->synced_ns, memory_order_relaxed);
    return (now_ns(maintenance) - synced) / NS_PER_MS;
}

/* ---- space ---- */

static void set_space_is_low(struct maintenance *maintenance, bool low)
{
    if (atomic_exchange_explicit(&maintenance->space_is_low, low, memory_order_relaxed) == low)
        return;
    tell(maintenance, (struct engine_event){.name = low ? EVENT_SPACE_LOW : EVENT_SPACE_OK,
                                            .bytes = maintenance_free_bytes(maintenance)});
}

/* Puts must leave room for the next segment, so that deletes can go on in it. */
static void look_at_space(struct maintenance *maintenance)
{
    uint64_t free_bytes;
    if (disk_free_bytes(maintenance->options.disk, &free_bytes) != STATUS_OK)
        return; /* told by the disk; the last answer stands */
    atomic_store_explicit(&maintenance->free_bytes, free_bytes, memory_order_relaxed);
    uint64_t needed = maintenance->options.reserve_bytes;
    if (journal_prepare_is_due(maintenance->options.journal))
        needed += maintenance->options.segment_bytes;
    set_space_is_low(maintenance, free_bytes < needed);
}

static void look_at_memory(struct maintenance *maintenance)
{
    const struct budget *budget = &maintenance->options.store->budget;
    uint64_t used = budget_used(budget);
    if (!maintenance->told_memory_full && used >= budget->limit) {
        maintenance->told_memory_full = true;
        tell(maintenance, (struct engine_event){.name = EVENT_MEMORY_FULL, .bytes = used});
    } else if (maintenance->told_memory_full &&
               used < budget->limit - budget->limit / MEMORY_OK_SHARE) {
        maintenance->told_memory_full = false;
        tell(maintenance, (struct engine_event){.name = EVENT_MEMORY_OK, .bytes = used});
    }
}

static void look_at_journal(struct maintenance *maintenance)
{
    if (maintenance->told_read_only || !journal_is_sealed(maintenance->options.journal))
        return;
    maintenance->told_read_only = true;
    tell(maintenance, (struct engine_event){.name = EVENT_READ_ONLY,
                                            .status = STATUS_READ_ONLY,
                                            .detail = "a journal write or fdatasync failed"});
}

/* ---- what is due ---- */

static void prepare_segment(struct maintenance *maintenance)
{
    look_at_space(maintenance);
    enum status status = journal_prepare(maintenance->options.journal);
    maintenance->prepare_failed = status != STATUS_OK;
    if (status == STATUS_NO_SPACE)
        set_space_is_low(maintenance, true);
}

static void sync_interval(struct maintenance *maintenance, uint64_t now)
{
    /* A failure seals the journal, which is told by it. */
    if (has_unsynced(maintenance) && journal_sync(maintenance->options.journal) != STATUS_OK)
        return;
    atomic_store_explicit(&maintenance->synced_ns, now, memory_order_relaxed);
    maintenance->next_sync_ns = now + maintenance->options.sync_interval_ms * NS_PER_MS;
}

/* So that no answered group stays the journal's last frame, where damage would look like a torn
 * write: the mark behind it says that it was durable. */
static void mark_idle(struct maintenance *maintenance)
{
    uint64_t sequence = journal_written_sequence(maintenance->options.journal);
    enum status status = commit_mark(maintenance->options.commit, FRAME_EMPTY);
    if (status != STATUS_BUSY)
        maintenance->marked_sequence = sequence;
}

static bool mark_is_due(const struct maintenance *maintenance, uint64_t now)
{
    uint64_t group_ns = commit_last_group_ns(maintenance->options.commit);
    return journal_written_sequence(maintenance->options.journal) != maintenance->marked_sequence &&
           now >= group_ns + IDLE_MARK_MS * NS_PER_MS;
}

void maintenance_run(struct maintenance *maintenance)
{
    uint64_t now = now_ns(maintenance);
    bool tick = now >= maintenance->next_tick_ns;
    look_at_journal(maintenance);
    if (tick) {
        maintenance->next_tick_ns = now + TICK_MS * NS_PER_MS;
        look_at_space(maintenance);
        look_at_memory(maintenance);
    }
    if (journal_is_sealed(maintenance->options.journal))
        return;
    if (journal_prepare_is_due(maintenance->options.journal) &&
        (tick || !maintenance->prepare_failed))
        prepare_segment(maintenance);
    if (maintenance->options.sync_interval_ms > 0 && now >= maintenance->next_sync_ns)
        sync_interval(maintenance, now);
    if (mark_is_due(maintenance, now))
        mark_idle(maintenance);
}

/* ---- the thread ---- */

static uint64_t sleep_ns(const struct maintenance *maintenance)
{
    uint64_t now = now_ns(maintenance), next = maintenance->next_tick_ns;
    if (maintenance->options.sync_interval_ms > 0 && maintenance->next_sync_ns < next)
        next = maintenance->next_sync_ns;
    return next > now ? next - now : 0;
}

static void *housekeep(void *context)
{
    struct maintenance *maintenance = context;
    pthread_setname_np(pthread_self(), "housekeeping");
    while (!atomic_load(&maintenance->closing)) {
        maintenance_run(maintenance);
        journal_wait_due(maintenance->options.journal, sleep_ns(maintenance),
                         !maintenance->prepare_failed);
    }
    return NULL;
}

enum status maintenance_open(const struct maintenance_options *options, bool threaded,
                             struct maintenance **out_maintenance)
{
    struct maintenance *maintenance = calloc(1, sizeof *maintenance);
    if (maintenance == NULL)
        return STATUS_NO_MEMORY;
    maintenance->options = *options;
    maintenance->marked_sequence = journal_written_sequence(options->journal);
    atomic_init(&maintenance->synced_ns, now_ns(maintenance));
    look_at_space(maintenance);
    if (threaded && pthread_create(&maintenance->thread, NULL, housekeep, maintenance) != 0) {
        free(maintenance);
        return STATUS_NO_MEMORY;
    }
    maintenance->threaded = threaded;
    *out_maintenance = maintenance;
    return STATUS_OK;
}

void maintenance_close(struct maintenance *maintenance)
{
    if (maintenance == NULL)
        return;
    if (maintenance->threaded) {
        atomic_store(&maintenance->closing, true);
        journal_wake(maintenance->options.journal);
        pthread_join(maintenance->thread, NULL);
    }
    free(maintenance);
}
