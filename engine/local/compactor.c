/* SPDX-License-Identifier: Apache-2.0 */
/* One job at a time, each a row that is kept for a while; a job is as many runs as find victims. */
#include "compactor.h"

#include <stdlib.h>

#include "worker.h"

#define NS_PER_MS UINT64_C(1000000)

enum {
    WAIT_SLICE_MS = 50, /* how soon a fired cancel is seen */
    RETRY_MS_MIN = 1000,
    RETRY_MS_MAX = 300000,
};

struct compactor {
    /* set at open, then constant */
    struct compactor_options options;
    struct worker *worker;
    atomic_bool closing;
    /* the job's, read by anyone */
    struct compaction_progress progress;
    /* owned by the worker */
    uint64_t retry_ms;    /* 0: the last one did not fail */
    uint64_t retry_at_ns; /* not by itself before */
    uint64_t sweep_at_ns; /* the sweep goes on then; UINT64_MAX: at the next interval */
    pthread_mutex_t mutex;
    pthread_cond_t ended; /* monotonic clock: a job has */
    /* guarded by mutex */
    struct engine_compaction rows[ENGINE_COMPACTIONS_KEPT]; /* by id modulo their count */
    uint64_t last_id, begun_ns;                             /* of the newest */
    bool requested, running;
};

static const struct time_source *time_of(const struct compactor *compactor)
{
    return compactor->options.compaction.store->time;
}

static uint64_t now_ns(const struct compactor *compactor)
{
    return time_of(compactor)->monotonic_ns(time_of(compactor));
}

static struct engine_compaction *row_of(struct compactor *compactor, uint64_t id)
{
    return &compactor->rows[id % ENGINE_COMPACTIONS_KEPT];
}

/* ---- one job ---- */

static void reset_progress(struct compaction_progress *progress)
{
    atomic_store(&progress->files_before, 0);
    atomic_store(&progress->files_after, 0);
    atomic_store(&progress->bytes_before, 0);
    atomic_store(&progress->bytes_after, 0);
    atomic_store(&progress->bytes_read, 0);
    atomic_store(&progress->bytes_written, 0);
    atomic_store(&progress->records_done, 0);
    atomic_store(&progress->records_to_do, 0);
}

static void begin_row_locked(struct compactor *compactor)
{
    const struct time_source *time = time_of(compactor);
    uint64_t id = ++compactor->last_id;
    reset_progress(&compactor->progress);
    *row_of(compactor, id) = (struct engine_compaction){
        .id = id,
        .state = ENGINE_COMPACTION_RUNNING,
        .started_ms = time->wall_ms(time),
    };
    compactor->begun_ns = now_ns(compactor);
    compactor->running = true;
}

/* The figures of a running job, or its last ones. */
static void fill_row_locked(struct compactor *compactor, struct engine_compaction *row)
{
    struct compaction_progress *progress = &compactor->progress;
    row->files_before = atomic_load(&progress->files_before);
    row->files_after = atomic_load(&progress->files_after);
    row->bytes_before = atomic_load(&progress->bytes_before);
    row->bytes_after = atomic_load(&progress->bytes_after);
    row->bytes_read = atomic_load(&progress->bytes_read);
    row->bytes_written = atomic_load(&progress->bytes_written);
    uint64_t to_do = atomic_load(&progress->records_to_do);
    uint64_t done = atomic_load(&progress->records_done);
    row->percent = to_do == 0 ? 0 : done >= to_do ? 99 : (unsigned)(done * 100 / to_do);
    row->duration_ms = (now_ns(compactor) - compactor->begun_ns) / NS_PER_MS;
}

/* Outputs must fit beside what they replace, and leave as much to others. */
static uint64_t live_bytes_max(const struct compactor *compactor)
{
    return compactor->options.free_bytes(compactor->options.context) / 2;
}

/* One run. NOT_FOUND: no victims; NO_SPACE: none whose outputs would fit. */
static enum status run_once(struct compactor *compactor, enum victims_mode mode,
                            uint64_t table_id_end)
{
    struct views *views = &compactor->options.compaction.store->views;
    const struct view *view = views_pin_tables(views);
    if (view == NULL)
        return STATUS_NO_MEMORY;
    struct victims victims;
    enum status status =
        victims_pick(view, mode, table_id_end, live_bytes_max(compactor), &victims);
    if (status == STATUS_OK && victims.count == 0)
        status = victims.some_do_not_fit ? STATUS_NO_SPACE : STATUS_NOT_FOUND;
    if (status == STATUS_OK)
        status = compaction_run(&compactor->options.compaction, view, &victims, &compactor->closing,
                                &compactor->progress);
    victims_done(&victims);
    view_unpin(view);
    return status;
}

static bool make_room(const struct compactor *compactor)
{
    const struct compactor_options *options = &compactor->options;
    return options->make_room != NULL && options->make_room(options->context);
}

/* Runs until there are no victims among the tables that were there at the beginning. A damaged one
 * is not picked again, so it does not keep the others from being rewritten; nor do those that do not
 * fit, even with the room that could be made, which is a failure only when nothing else was. */
static enum status run_all(struct compactor *compactor, enum victims_mode mode)
{
    struct catalog *catalog = compactor->options.compaction.catalog;
    uint64_t table_id_end = catalog_next_table_id(catalog);
    enum status status;
    do
        status = run_once(compactor, mode, table_id_end);
    while (status == STATUS_OK || (status == STATUS_CORRUPT && !atomic_load(&compactor->closing)) ||
           (status == STATUS_NO_SPACE && make_room(compactor)));
    bool ended = status == STATUS_NOT_FOUND ||
                 (status == STATUS_NO_SPACE && atomic_load(&compactor->progress.files_before) > 0);
    return ended ? STATUS_OK : status;
}

static void end_job(struct compactor *compactor, enum status status)
{
    pthread_mutex_lock(&compactor->mutex);
    struct engine_compaction *row = row_of(compactor, compactor->last_id);
    fill_row_locked(compactor, row);
    if (status == STATUS_OK)
        row->percent = 100;
    row->failure = status;
    row->state = status != STATUS_OK     ? ENGINE_COMPACTION_FAILED
                 : row->files_before > 0 ? ENGINE_COMPACTION_DONE
                                         : ENGINE_COMPACTION_NOTHING;
    compactor->running = false;
    pthread_cond_broadcast(&compactor->ended);
    pthread_mutex_unlock(&compactor->mutex);
}

static void back_off(struct compactor *compactor)
{
    uint64_t doubled = compactor->retry_ms * 2;
    compactor->retry_ms = doubled < RETRY_MS_MIN   ? RETRY_MS_MIN
                          : doubled < RETRY_MS_MAX ? doubled
                                                   : RETRY_MS_MAX;
    compactor->retry_at_ns = now_ns(compactor) + compactor->retry_ms * NS_PER_MS;
}

/* Tables of a few records can become larger: the output has a header and an index of its own. */
static uint64_t bytes_freed(const struct compaction_progress *progress)
{
    uint64_t before = atomic_load(&progress->bytes_before);
    uint64_t after = atomic_load(&progress->bytes_after);
    return before > after ? before - after : 0;
}

static void tell(struct compactor *compactor, enum status status, uint64_t ns)
{
    const struct compaction_options *options = &compactor->options.compaction;
    if (status == STATUS_OK) {
        stats_add(options->store->stats, STATS_compactions, 1);
        stats_observe(options->store->stats, STATS_compaction, ns);
        event_tell(&options->events,
                   (struct engine_event){.name = EVENT_COMPACTION_DONE,
                                         .count = atomic_load(&compactor->progress.files_before),
                                         .bytes = bytes_freed(&compactor->progress),
                                         .ms = ns / NS_PER_MS});
    } else if (status != STATUS_CANCELLED) {
        stats_add(options->store->stats, STATS_compaction_failures, 1);
        event_tell(&options->events, (struct engine_event){.name = EVENT_COMPACTION_FAILED,
                                                           .status = status,
                                                           .ms = compactor->retry_ms});
    }
    stats_add(options->store->stats, STATS_compaction_read,
              atomic_load(&compactor->progress.bytes_read));
    stats_add(options->store->stats, STATS_table_written,
              atomic_load(&compactor->progress.bytes_after));
}

static enum status run_job(struct compactor *compactor, enum victims_mode mode)
{
    uint64_t begun = now_ns(compactor);
    enum status status = run_all(compactor, mode);
    if (status == STATUS_OK)
        compactor->retry_ms = compactor->retry_at_ns = 0;
    else
        back_off(compactor);
    if (status == STATUS_UNKNOWN)
        compactor->options.on_uncertain(compactor->options.context);
    uint64_t ns = now_ns(compactor) - begun;
    if (atomic_load(&compactor->progress.files_before) > 0 || status != STATUS_OK)
        tell(compactor, status, ns);
    end_job(compactor, status);
    return status;
}

/* ---- what is due ---- */

static bool is_due(struct compactor *compactor)
{
    if (catalog_is_uncertain(compactor->options.compaction.catalog))
        return false;
    const struct view *view = views_pin(&compactor->options.compaction.store->views);
    struct victims victims;
    bool due = victims_pick(view, VICTIMS_DUE, UINT64_MAX, live_bytes_max(compactor), &victims) ==
                   STATUS_OK &&
               victims.count > 0;
    victims_done(&victims);
    view_unpin(view);
    return due;
}

/* Takes what was asked for, or begins what is due. False: neither. */
static bool take_job(struct compactor *compactor, bool due, enum victims_mode *out_mode)
{
    pthread_mutex_lock(&compactor->mutex);
    bool any = compactor->requested || due;
    *out_mode = compactor->requested ? VICTIMS_ALL : VICTIMS_DUE;
    if (any && !compactor->requested)
        begin_row_locked(compactor);
    compactor->requested = false;
    pthread_mutex_unlock(&compactor->mutex);
    return any;
}

/* To the end when somebody asked for a compaction: it is to leave out what has expired. */
static void run_sweep(struct compactor *compactor)
{
    pthread_mutex_lock(&compactor->mutex);
    bool all = compactor->requested;
    pthread_mutex_unlock(&compactor->mutex);
    uint64_t wait_ns =
        compactor->options.sweep != NULL ? sweep_run(compactor->options.sweep, all) : UINT64_MAX;
    uint64_t now = now_ns(compactor);
    compactor->sweep_at_ns = wait_ns < UINT64_MAX - now ? now + wait_ns : UINT64_MAX;
}

bool compactor_run_due(struct compactor *compactor)
{
    enum victims_mode mode;
    run_sweep(compactor);
    bool due = now_ns(compactor) >= compactor->retry_at_ns && is_due(compactor);
    return take_job(compactor, due, &mode) && run_job(compactor, mode) == STATUS_OK;
}

void compactor_wake(struct compactor *compactor)
{
    if (compactor != NULL)
        worker_wake(compactor->worker);
}

static uint64_t run_worker(void *context)
{
    struct compactor *compactor = context;
    while (compactor_run_due(compactor) && !atomic_load(&compactor->closing))
        continue;
    uint64_t now = now_ns(compactor);
    uint64_t next_ns = compactor->retry_at_ns > now
                           ? compactor->retry_at_ns
                           : now + compactor->options.interval_ms * NS_PER_MS;
    if (compactor->sweep_at_ns < next_ns)
        next_ns = compactor->sweep_at_ns;
    return next_ns > now ? next_ns - now : 0;
}

/* ---- asking ---- */

enum status compactor_start(struct compactor *compactor, uint64_t *out_id)
{
    pthread_mutex_lock(&compactor->mutex);
    enum status status = compactor->running ? STATUS_RUNNING : STATUS_OK;
    if (status == STATUS_OK) {
        begin_row_locked(compactor);
        compactor->requested = true;
    }
    *out_id = compactor->last_id;
    pthread_mutex_unlock(&compactor->mutex);
    worker_wake(compactor->worker);
    return status;
}

static enum status wait_locked(struct compactor *compactor, uint64_t id,
                               const struct engine_context *context)
{
    if (id == 0 || id > compactor->last_id)
        return STATUS_NOT_FOUND;
    for (;;) {
        const struct engine_compaction *row = row_of(compactor, id);
        if (row->id != id) /* others have come since */
            return STATUS_OK;
        if (row->state != ENGINE_COMPACTION_RUNNING)
            return STATUS_OK;
        uint64_t now = now_ns(compactor);
        if (cancel_fired(context->cancel))
            return STATUS_CANCELLED;
        if (now >= context->deadline_ns)
            return STATUS_BUSY;
        uint64_t until_ns = now + WAIT_SLICE_MS * NS_PER_MS;
        struct timespec until = {(time_t)(until_ns / 1000000000u), (long)(until_ns % 1000000000u)};
        pthread_cond_timedwait(&compactor->ended, &compactor->mutex, &until);
    }
}

enum status compactor_wait(struct compactor *compactor, uint64_t id,
                           const struct engine_context *context)
{
    pthread_mutex_lock(&compactor->mutex);
    enum status status = wait_locked(compactor, id, context);
    pthread_mutex_unlock(&compactor->mutex);
    return status;
}

size_t compactor_history(struct compactor *compactor, struct engine_compaction *out_rows,
                         size_t capacity)
{
    size_t count = 0;
    pthread_mutex_lock(&compactor->mutex);
    for (uint64_t id = compactor->last_id;
         id > 0 && count < capacity && row_of(compactor, id)->id == id; id--) {
        struct engine_compaction *row = &out_rows[count++];
        *row = *row_of(compactor, id);
        if (row->state == ENGINE_COMPACTION_RUNNING)
            fill_row_locked(compactor, row);
    }
    pthread_mutex_unlock(&compactor->mutex);
    return count;
}

/* ---- opening and closing ---- */

enum status compactor_open(const struct compactor_options *options, bool threaded,
                           struct compactor **out_compactor)
{
    struct compactor *compactor = calloc(1, sizeof *compactor);
    if (compactor == NULL)
        return STATUS_NO_MEMORY;
    compactor->options = *options;
    pthread_mutex_init(&compactor->mutex, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&compactor->ended, &monotonic);
    pthread_condattr_destroy(&monotonic);
    enum status status = worker_open("compaction", run_worker, compactor, &compactor->worker);
    if (status == STATUS_OK && threaded)
        status = worker_start(compactor->worker);
    if (status != STATUS_OK) {
        compactor_close(compactor);
        return status;
    }
    *out_compactor = compactor;
    return STATUS_OK;
}

void compactor_close(struct compactor *compactor)
{
    if (compactor == NULL)
        return;
    atomic_store(&compactor->closing, true);
    if (compactor->options.sweep != NULL)
        sweep_stop(compactor->options.sweep);
    worker_close(compactor->worker);
    pthread_cond_destroy(&compactor->ended);
    pthread_mutex_destroy(&compactor->mutex);
    free(compactor);
}
