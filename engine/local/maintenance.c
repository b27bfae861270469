/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each round looks at the clock and at the journal and does what is due; between rounds the threads
 * sleep until a segment or a dump is wanted or the next time is reached.
 */
#include "maintenance.h"

#include "space.h"
#include "worker.h"

enum {
    TICK_MS = 1000, /* free space is looked at */
    RETRY_MS_MAX = 300000,
    RETRY_NO_SPACE_MS = 5000, /* unless room is seen earlier */
    SEALS_APART_MS = 60000,   /* a journal that fails again within this time is given up */
    IDLE_MARK_MS = 1000,      /* after the last group: its EMPTY frame */
    PRESSED_SHARE = 8, /* of the memory limit left: the memtable is dumped before it is full */
    EARLY_SHARE = 16,  /* ... unless it holds less than this share of its size */
    IDLE_SHARE = 20,   /* of the index: full memory is fine again when deletes have left so much */
};

#define NS_PER_MS UINT64_C(1000000)

struct maintenance {
    /* set at open, then constant */
    struct maintenance_options options;
    struct worker *housekeeper, *dumper;
    /* owned by the dump thread */
    uint64_t dump_retry_ms; /* 0: the last one succeeded */
    enum status dump_told;  /* the failure that was told last; OK: none since a success */
    /* the leader's */
    uint64_t unsealed_ns;    /* 0: never */
    bool unseal_needs_space; /* it was tried, then: to be tried again */
    /* owned by the housekeeping thread */
    uint64_t next_tick_ns;
    uint64_t next_sync_ns;
    uint64_t marked_sequence; /* of the last group that an EMPTY frame follows */
    uint64_t next_prepare_ns; /* not earlier, since the last one failed */
    bool told_memory_full;
    struct space space; /* synchronises itself */
    /* atomic: written by the housekeeping thread, read by anyone */
    atomic_bool given_up;       /* the leader's: read-only until the next start */
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

/* That new keys are likely to be refused, and not just for a moment. */
static bool memory_is_full(const struct maintenance *maintenance)
{
    const struct store *store = maintenance->options.store;
    return store_index_is_full(store) &&
           entry_pool_idle_bytes(store->entries) < store->index_bytes_max / IDLE_SHARE;
}

enum status maintenance_writable(const struct maintenance *maintenance)
{
    if (atomic_load_explicit(&maintenance->given_up, memory_order_acquire))
        return STATUS_READ_ONLY;
    if (space_is_low(&maintenance->space))
        return STATUS_NO_SPACE;
    return memory_is_full(maintenance) ? STATUS_NO_MEMORY : STATUS_OK;
}

const struct space *maintenance_space(const struct maintenance *maintenance)
{
    return &maintenance->space;
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

static void look_at_space(struct maintenance *maintenance)
{
    if (!space_look(&maintenance->space))
        return;
    maintenance->next_prepare_ns = 0;
    worker_wake(maintenance->dumper);
}

/* ---- memory ---- */

static void look_at_memory(struct maintenance *maintenance)
{
    bool full = memory_is_full(maintenance);
    if (full != maintenance->told_memory_full)
        tell(maintenance,
             (struct engine_event){.name = full ? EVENT_MEMORY_FULL : EVENT_MEMORY_OK,
                                   .bytes = store_index_bytes(maintenance->options.store)});
    maintenance->told_memory_full = full;
}

/* The leader's place is held: the active memtable may be looked at and replaced. */
static enum status freeze_early(void *context)
{
    struct maintenance *maintenance = context;
    struct store *store = maintenance->options.store;
    bool worth_it =
        memtable_record_bytes(store->memtable) >= store->memtable_bytes_max / EARLY_SHARE;
    if (!worth_it && !(store_index_is_full(store) && store_would_bury(store)))
        return STATUS_NOT_FOUND;
    return store_freeze(store);
}

/* Before puts are refused for want of memory that a dump would free, and while new keys are. */
static void relieve_memory(struct maintenance *maintenance)
{
    const struct store *store = maintenance->options.store;
    uint64_t limit = store->budget.limit;
    bool pressed = budget_used(&store->budget) >= limit - limit / PRESSED_SHARE;
    if ((!pressed && !store_index_is_full(store)) || !store_has_room(store))
        return;
    if (commit_alone(maintenance->options.commit, freeze_early, maintenance) == STATUS_OK)
        maintenance_wake_dump(maintenance);
}

/* ---- what is due ---- */

static void prepare_segment(struct maintenance *maintenance, uint64_t now)
{
    look_at_space(maintenance);
    enum status status = journal_prepare(maintenance->options.journal);
    maintenance->next_prepare_ns = status == STATUS_OK ? 0 : now + RETRY_NO_SPACE_MS * NS_PER_MS;
    space_wants(&maintenance->space, SPACE_SEGMENT, status == STATUS_NO_SPACE);
    if (status == STATUS_NO_SPACE)
        look_at_space(maintenance);
}

/* Who unseals the journal makes a segment, too: then nothing waits for room here any more. */
static void keep_segment_ready(struct maintenance *maintenance, uint64_t now)
{
    if (!journal_prepare_is_due(maintenance->options.journal))
        space_wants(&maintenance->space, SPACE_SEGMENT, false);
    else if (now >= maintenance->next_prepare_ns)
        prepare_segment(maintenance, now);
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

/* ---- a sealed journal ---- */

void maintenance_give_up(struct maintenance *maintenance, const char *why)
{
    if (!atomic_exchange(&maintenance->given_up, true))
        tell(maintenance, (struct engine_event){
                              .name = EVENT_READ_ONLY, .status = STATUS_READ_ONLY, .detail = why});
}

static enum status give_up(struct maintenance *maintenance, const char *why)
{
    maintenance_give_up(maintenance, why);
    return STATUS_READ_ONLY;
}

static enum status go_on(struct maintenance *maintenance, uint64_t sequence)
{
    struct journal *journal = maintenance->options.journal;
    uint64_t next_id;
    enum status status = journal_next_ready(journal, &next_id);
    if (status == STATUS_OK)
        status = dump_all(maintenance->options.dump, next_id);
    return status == STATUS_OK ? journal_unseal(journal, sequence) : status;
}

enum status maintenance_unseal(struct maintenance *maintenance)
{
    if (atomic_load_explicit(&maintenance->given_up, memory_order_acquire))
        return STATUS_READ_ONLY;
    uint64_t now = now_ns(maintenance), since = now - maintenance->unsealed_ns;
    if (maintenance->unseal_needs_space && since < TICK_MS * NS_PER_MS)
        return STATUS_NO_SPACE;
    if (maintenance->unsealed_ns != 0 && !maintenance->unseal_needs_space &&
        since < SEALS_APART_MS * NS_PER_MS)
        return give_up(maintenance, "the journal failed twice within a minute");
    maintenance->unsealed_ns = now;
    uint64_t sequence = store_sequence(maintenance->options.store);
    enum status status = go_on(maintenance, sequence);
    maintenance->unseal_needs_space = status == STATUS_NO_SPACE;
    space_wants(&maintenance->space, SPACE_UNSEAL, status == STATUS_NO_SPACE);
    if (status == STATUS_NO_SPACE)
        return status;
    if (status != STATUS_OK)
        return give_up(maintenance, "the journal failed, and so did dumping what it held");
    tell(maintenance, (struct engine_event){.name = EVENT_JOURNAL_UNSEALED, .sequence = sequence});
    return STATUS_OK;
}

static enum status unseal(void *context)
{
    return maintenance_unseal(context);
}

/* Without a writer nobody else would. True: the journal can be written again. */
static bool unseal_alone(struct maintenance *maintenance)
{
    if (atomic_load_explicit(&maintenance->given_up, memory_order_acquire))
        return false;
    return commit_alone(maintenance->options.commit, unseal, maintenance) == STATUS_OK;
}

/* ---- rounds ---- */

static void housekeep(struct maintenance *maintenance)
{
    uint64_t now = now_ns(maintenance);
    bool tick = now >= maintenance->next_tick_ns;
    if (tick) {
        maintenance->next_tick_ns = now + TICK_MS * NS_PER_MS;
        look_at_space(maintenance);
        look_at_memory(maintenance);
    }
    if (journal_is_sealed(maintenance->options.journal) && !unseal_alone(maintenance))
        return;
    keep_segment_ready(maintenance, now);
    if (maintenance->options.sync_interval_ms > 0 && now >= maintenance->next_sync_ns)
        sync_interval(maintenance, now);
    if (mark_is_due(maintenance, now))
        mark_idle(maintenance);
    relieve_memory(maintenance);
}

/* ---- dumps ---- */

static uint64_t dump_retry_ms(const struct maintenance *maintenance, enum status status)
{
    uint64_t doubled = maintenance->dump_retry_ms * 2;
    if (status == STATUS_NO_SPACE)
        return RETRY_NO_SPACE_MS;
    return doubled == 0 ? TICK_MS : doubled < RETRY_MS_MAX ? doubled : RETRY_MS_MAX;
}

/* What may stay so for long, once: a full disk, a manifest that nobody may change any more. */
static void tell_dump_failed(struct maintenance *maintenance, enum status status)
{
    enum status told = maintenance->dump_told;
    maintenance->dump_told = status;
    if (told != status || (status != STATUS_NO_SPACE && status != STATUS_UNKNOWN))
        tell(maintenance, (struct engine_event){.name = EVENT_DUMP_FAILED,
                                                .status = status,
                                                .ms = maintenance->dump_retry_ms});
}

static void dump_frozen(struct maintenance *maintenance)
{
    enum status status;
    while ((status = dump_oldest(maintenance->options.dump)) == STATUS_OK)
        if (maintenance->options.on_dumped != NULL)
            maintenance->options.on_dumped(maintenance->options.context);
    space_wants(&maintenance->space, SPACE_DUMP, status == STATUS_NO_SPACE);
    if (status == STATUS_NOT_FOUND) {
        maintenance->dump_retry_ms = 0;
        maintenance->dump_told = STATUS_OK;
        journal_trim(maintenance->options.journal);
        return;
    }
    if (status == STATUS_UNKNOWN)
        maintenance_give_up(maintenance, "a manifest could not be made durable");
    maintenance->dump_retry_ms = dump_retry_ms(maintenance, status);
    tell_dump_failed(maintenance, status);
}

void maintenance_wake_housekeeping(struct maintenance *maintenance)
{
    worker_wake(maintenance->housekeeper);
}

void maintenance_wake_dump(struct maintenance *maintenance)
{
    worker_wake(maintenance->dumper);
}

/* ---- the threads ---- */

static uint64_t run_housekeeping(void *context)
{
    struct maintenance *maintenance = context;
    housekeep(maintenance);
    uint64_t now = now_ns(maintenance), next = maintenance->next_tick_ns;
    if (maintenance->options.sync_interval_ms > 0 && maintenance->next_sync_ns < next)
        next = maintenance->next_sync_ns;
    return next > now ? next - now : 0;
}

static uint64_t run_dump(void *context)
{
    struct maintenance *maintenance = context;
    dump_frozen(maintenance);
    return maintenance->dump_retry_ms > 0 ? maintenance->dump_retry_ms * NS_PER_MS
                                          : RETRY_MS_MAX * NS_PER_MS;
}

void maintenance_run(struct maintenance *maintenance)
{
    housekeep(maintenance);
    dump_frozen(maintenance);
}

static void on_segment_due(void *context)
{
    struct maintenance *maintenance = context;
    worker_wake(maintenance->housekeeper);
}

enum status maintenance_open(const struct maintenance_options *options,
                             struct maintenance **out_maintenance)
{
    struct maintenance *maintenance = calloc(1, sizeof *maintenance);
    if (maintenance == NULL)
        return STATUS_NO_MEMORY;
    maintenance->options = *options;
    maintenance->marked_sequence = journal_written_sequence(options->journal);
    atomic_init(&maintenance->synced_ns, now_ns(maintenance));
    space_init(&maintenance->space, &(struct space_options){
                                        .disk = options->disk,
                                        .store = options->store,
                                        .journal = options->journal,
                                        .segment_bytes = options->segment_bytes,
                                        .reserve_bytes = options->reserve_bytes,
                                        .ballast_bytes = options->ballast_bytes,
                                        .events = options->events,
                                    });
    enum status status =
        worker_open("housekeeping", run_housekeeping, maintenance, &maintenance->housekeeper);
    if (status == STATUS_OK)
        status = worker_open("dump", run_dump, maintenance, &maintenance->dumper);
    if (status != STATUS_OK) {
        maintenance_close(maintenance);
        return status;
    }
    journal_on_due(options->journal, on_segment_due, maintenance);
    *out_maintenance = maintenance;
    return STATUS_OK;
}

enum status maintenance_start(struct maintenance *maintenance)
{
    enum status status = worker_start(maintenance->housekeeper);
    return status == STATUS_OK ? worker_start(maintenance->dumper) : status;
}

void maintenance_stop(struct maintenance *maintenance)
{
    if (maintenance == NULL)
        return;
    worker_stop(maintenance->dumper);
    worker_stop(maintenance->housekeeper);
}

void maintenance_close(struct maintenance *maintenance)
{
    if (maintenance == NULL)
        return;
    maintenance_stop(maintenance);
    journal_on_due(maintenance->options.journal, NULL, NULL);
    worker_close(maintenance->dumper);
    worker_close(maintenance->housekeeper);
    free(maintenance);
}
