/* SPDX-License-Identifier: Apache-2.0 */
/* Opening in order, closing in reverse; and what the parts tell each other meanwhile. */
#include "local_parts.h"

#include <stdio.h>
#include <unistd.h>

#include "ballast.h"
#include "dump.h"
#include "load.h"

#define NS_PER_MS UINT64_C(1000000)

enum {
    ROTATE_WAIT_MS = 1000,        /* how long a leader waits for the next journal segment */
    QUEUE_BYTES_MAX = 32 << 20,   /* of records waiting for a leader */
    QUEUE_MEMORY_SHARE = 8,       /* ... and not more than this share of the memory */
    OUTPUT_BYTES_MAX = 256 << 20, /* a table that compaction writes ends there */
    FRAME_ROOM_BYTES = 64 << 10,  /* a segment holds the largest commit and this much beside it */
    RETRY_NO_SPACE_MS = 5000,
    RETRY_SLICE_MS = 50, /* how soon a close is seen */
};

enum status local_has_writers(const struct local *local)
{
    switch (local_state_of(local)) {
    case LOCAL_READY:
        return STATUS_OK;
    case LOCAL_READABLE:
        return STATUS_NO_SPACE;
    case LOCAL_LOADING:
    case LOCAL_UNUSABLE:
        break;
    }
    return STATUS_LOADING;
}

/* ---- the manifest ---- */

static void on_disk_failure(void *context, const char *operation, const char *name,
                            const char *reason)
{
    struct local *local = context;
    char detail[160];
    snprintf(detail, sizeof detail, "%s: %s", operation, reason);
    stats_add(local->stats, STATS_disk_failures, 1);
    event_tell(&local->events,
               (struct engine_event){.name = EVENT_DISK_FAILURE, .file = name, .detail = detail});
}

static enum status refuse_foreign(void *context, const char *name, uint64_t bytes)
{
    (void)bytes;
    if (strcmp(name, FORMAT_LOCK_NAME) == 0 || strcmp(name, FORMAT_MANIFEST_TEMPORARY) == 0)
        return STATUS_OK;
    return failure_set(context, STATUS_FORMAT,
                       "the directory has no " FORMAT_MANIFEST_NAME " but holds '%s': it is not a "
                       "Keyrest data directory, or it lost its manifest; give an empty directory, "
                       "or restore this one from a copy",
                       name);
}

/* Only an empty directory becomes a store: a lost manifest must not look like a new one. */
static enum status create_store(struct local *local, struct failure *failure)
{
    enum status status = disk_list(local->disk, refuse_foreign, failure);
    if (status == STATUS_FORMAT)
        return status;
    if (status != STATUS_OK)
        return failure_set(failure, status, "listing the data directory: %s", status_text(status));
    manifest_init(&local->manifest);
    status = manifest_write(local->disk, &local->manifest);
    if (status != STATUS_OK) {
        /* Its name may never become durable: the next start makes another. */
        enum status ignored = disk_remove(local->disk, FORMAT_MANIFEST_NAME);
        (void)ignored;
        return failure_set(failure, status, "writing a new " FORMAT_MANIFEST_NAME ": %s",
                           status_text(status));
    }
    event_tell(&local->events, (struct engine_event){.name = EVENT_STORE_CREATED,
                                                     .file = FORMAT_MANIFEST_NAME,
                                                     .detail = local->durability});
    return STATUS_OK;
}

static enum status open_manifest(struct local *local, struct failure *failure)
{
    enum status status = disk_lock(local->disk);
    if (status == STATUS_LOCKED)
        return failure_set(failure, status,
                           "another process uses the data directory; stop it, or choose another "
                           "directory");
    if (status != STATUS_OK)
        return failure_set(failure, status, "locking the data directory: %s", status_text(status));
    status = manifest_read(local->disk, &local->manifest, failure);
    if (status == STATUS_NOT_FOUND)
        return create_store(local, failure);
    /* Who wrote it may have died before its name was durable: before anything builds on it. */
    if (status == STATUS_OK && disk_sync_directory(local->disk) != STATUS_OK)
        status = failure_set(failure, STATUS_IO, "the data directory cannot be synced");
    return status;
}

/* ---- everything that writes ---- */

static enum status unseal(void *context)
{
    struct local *local = context;
    return maintenance_unseal(local->maintenance);
}

static void on_frozen(void *context)
{
    struct local *local = context;
    maintenance_wake_dump(local->maintenance);
}

static void on_memtable_free(void *context)
{
    struct local *local = context;
    commit_room_changed(local->commit);
}

static enum status open_commit(struct local *local)
{
    struct commit_options commit = {
        .store = &local->store,
        .journal = local->journal,
        .limits = &local->face.limits,
        .sync = local->options.durability_interval_ms == 0,
        .queue_bytes_max = QUEUE_BYTES_MAX,
        .rotate_wait_ns = ROTATE_WAIT_MS * NS_PER_MS,
        .unseal = unseal,
        .on_frozen = on_frozen,
        .context = local,
    };
    if (commit.queue_bytes_max > local->options.memory_bytes_max / QUEUE_MEMORY_SHARE)
        commit.queue_bytes_max = local->options.memory_bytes_max / QUEUE_MEMORY_SHARE;
    enum status status = commit_open(&commit, &local->commit);
    if (status == STATUS_OK) {
        local->store.memtables.on_free_context = local;
        local->store.memtables.on_free = on_memtable_free;
    }
    return status;
}

static enum status open_dump(struct local *local)
{
    struct dump_options dump = {
        .store = &local->store,
        .journal = local->journal,
        .catalog = &local->catalog,
        .lazy = local->options.durability_interval_ms > 0,
    };
    return dump_open(&dump, &local->dump);
}

static void on_dumped(void *context)
{
    struct local *local = context;
    compactor_wake(local->compactor);
}

static enum status open_maintenance(struct local *local)
{
    struct maintenance_options maintenance = {
        .disk = local->disk,
        .store = &local->store,
        .journal = local->journal,
        .commit = local->commit,
        .dump = local->dump,
        .sync_interval_ms = local->options.durability_interval_ms,
        .segment_bytes = local->options.journal_segment_bytes,
        .reserve_bytes = local->options.reserve_bytes,
        .ballast_bytes = local->options.ballast_bytes,
        .on_dumped = on_dumped,
        .context = local,
        .events = local->events,
    };
    return maintenance_open(&maintenance, &local->maintenance);
}

static uint64_t free_bytes(void *context)
{
    const struct local *local = context;
    uint64_t bytes;
    return disk_free_bytes(local->disk, &bytes) == STATUS_OK
               ? bytes
               : space_free_bytes(maintenance_space(local->maintenance));
}

/* The journal that is kept for readers of changes. */
static bool make_room(void *context)
{
    const struct local *local = context;
    bool any = supply_give_up(journal_supply(local->journal), UINT64_MAX) > 0;
    journal_trim(local->journal);
    return any;
}

static void on_uncertain(void *context)
{
    const struct local *local = context;
    maintenance_give_up(local->maintenance, "a manifest could not be made durable");
}

static enum status writable(void *context)
{
    const struct local *local = context;
    return maintenance_writable(local->maintenance);
}

static enum status open_sweep(struct local *local)
{
    struct sweep_options options = {
        .store = &local->store,
        .commit = local->commit,
        .operations_max = local->options.batch_operations_max,
        .writable = writable,
        .context = local,
    };
    return sweep_open(&options, &local->sweep);
}

static enum status open_compactor(struct local *local)
{
    struct compactor_options options = {
        .compaction = {.store = &local->store,
                       .journal = local->journal,
                       .catalog = &local->catalog,
                       .lazy = local->options.durability_interval_ms > 0,
                       .output_bytes_max = OUTPUT_BYTES_MAX,
                       .bytes_per_second_max = local->options.compaction_bytes_per_second_max,
                       .events = local->events},
        .sweep = local->sweep,
        .interval_ms = local->options.compaction_interval_ms,
        .free_bytes = free_bytes,
        .make_room = make_room,
        .on_uncertain = on_uncertain,
        .context = local,
    };
    return compactor_open(&options, local->threaded, &local->compactor);
}

static enum status start_writers(struct local *local)
{
    catalog_init(&local->catalog, local->disk, &local->manifest);
    enum status status = open_dump(local);
    if (status == STATUS_OK)
        status = open_commit(local);
    if (status != STATUS_OK)
        return status;
    status = open_maintenance(local);
    if (status == STATUS_OK)
        status = open_sweep(local);
    if (status == STATUS_OK)
        status = open_compactor(local);
    return status == STATUS_OK && local->threaded ? maintenance_start(local->maintenance) : status;
}

/* ---- recovery ---- */

static uint64_t now_ns(const struct local *local)
{
    return local->options.time->monotonic_ns(local->options.time);
}

static void set_state(struct local *local, enum local_state state)
{
    atomic_store_explicit(&local->state, state, memory_order_release);
}

/* From now on readers are answered. */
static void tell_recovered(struct local *local, enum local_state state)
{
    local->recovery_ns = now_ns(local) - local->recovery_begun_ns;
    set_state(local, state);
    event_tell(&local->events,
               (struct engine_event){.name = EVENT_RECOVERY_DONE,
                                     .count = atomic_load(&local->store.keys),
                                     .bytes = atomic_load(&local->recovery.bytes_done),
                                     .sequence = store_sequence(&local->store),
                                     .ms = local->recovery_ns / NS_PER_MS});
}

static void tell_recovery_failed(struct local *local)
{
    event_tell(&local->events, (struct engine_event){.name = EVENT_RECOVERY_FAILED,
                                                     .file = local->recovery.failed.file,
                                                     .offset = local->recovery.failed.offset,
                                                     .status = local->failure.status,
                                                     .detail = local->failure.message});
}

/* ---- recovery on a full disk ---- */

static bool pause_before_retry(const struct local *local)
{
    for (int waited_ms = 0; waited_ms < RETRY_NO_SPACE_MS; waited_ms += RETRY_SLICE_MS) {
        if (atomic_load(&local->closing))
            return false;
        usleep(RETRY_SLICE_MS * 1000);
    }
    return true;
}

/* What cannot be made durable now cannot be shown either. */
static void serve_reads(struct local *local)
{
    if (recovery_settle(&local->recovery) == STATUS_OK)
        tell_recovered(local, LOCAL_READABLE);
    event_tell(&local->events,
               (struct engine_event){.name = EVENT_NO_JOURNAL,
                                     .bytes = local->recovery.journal.first_segment_bytes});
}

static enum status try_journal(struct local *local)
{
    local->failure = (struct failure){0};
    return recovery_begin_journal(&local->recovery, &local->journal, &local->failure);
}

/* What can be spared for a segment: the feed of changes first, then the ballast. */
static enum status try_with_less(struct local *local)
{
    struct ballast ballast;
    enum status status = STATUS_NO_SPACE;
    if (recovery_give_up_kept(&local->recovery))
        status = try_journal(local);
    ballast_init(&ballast, local->disk, local->options.ballast_bytes, local->options.reserve_bytes);
    if (status == STATUS_NO_SPACE && ballast_release(&ballast))
        status = try_journal(local);
    return status;
}

/* A full disk is no reason to give up: somebody may free space. */
static enum status begin_journal(struct local *local)
{
    enum status status = try_journal(local);
    if (status == STATUS_NO_SPACE)
        status = try_with_less(local);
    if (status != STATUS_NO_SPACE)
        return status;
    serve_reads(local);
    if (!local->threaded) /* it cannot wait */
        return status;
    while (status == STATUS_NO_SPACE && pause_before_retry(local))
        status = try_journal(local);
    return status == STATUS_NO_SPACE ? STATUS_CANCELLED : status;
}

static enum status recover_and_begin(struct local *local)
{
    enum status status = recovery_replay(&local->recovery, &local->failure);
    if (status == STATUS_OK)
        status = begin_journal(local);
    return status == STATUS_OK ? start_writers(local) : status;
}

static enum status recover(struct local *local)
{
    local->recovery_begun_ns = now_ns(local);
    event_tell(&local->events,
               (struct engine_event){.name = EVENT_RECOVERY_STARTED, .file = FORMAT_MANIFEST_NAME});
    enum status status = recover_and_begin(local);
    recovery_done(&local->recovery);
    if (status != STATUS_OK) {
        set_state(local, LOCAL_UNUSABLE);
        if (status != STATUS_CANCELLED)
            tell_recovery_failed(local);
        return status;
    }
    if (local_state_of(local) == LOCAL_READABLE)
        set_state(local, LOCAL_READY);
    else
        tell_recovered(local, LOCAL_READY);
    event_tell(&local->events, (struct engine_event){.name = EVENT_STORE_OPENED,
                                                     .file = FORMAT_MANIFEST_NAME,
                                                     .detail = local->durability});
    return STATUS_OK;
}

static void *recovery_thread(void *context)
{
    pthread_setname_np(pthread_self(), "recovery");
    enum status status = recover(context); /* told by event and health */
    (void)status;
    return NULL;
}

static enum status start_recovery(struct local *local, struct failure *failure)
{
    if (!local->threaded) {
        enum status status = recover(local);
        return status == STATUS_OK ? STATUS_OK
                                   : failure_set(failure, status, "%s", local->failure.message);
    }
    if (pthread_create(&local->recovery_thread, NULL, recovery_thread, local) != 0)
        return failure_set(failure, STATUS_NO_MEMORY, "no thread for recovery");
    local->recovery_started = true;
    return STATUS_OK;
}

/* ---- opening ---- */

/* One commit is one frame in one segment: the largest that the limits allow must fit. */
static uint64_t segment_bytes_min(const struct engine_options *options)
{
    return options->value_bytes_max + FRAME_ROOM_BYTES +
           options->batch_operations_max *
               record_size(options->key_bytes_max, options->meta_bytes_max, 0);
}

static void set_limits(struct local *local)
{
    const struct engine_options *options = &local->options;
    if (options->durability_interval_ms == 0)
        snprintf(local->durability, sizeof local->durability, "always");
    else
        snprintf(local->durability, sizeof local->durability, "interval:%" PRIu64 "ms",
                 options->durability_interval_ms);
    local->face.limits = (struct engine_limits){
        .capabilities =
            ENGINE_DURABLE | ENGINE_GAPLESS | ENGINE_ATOMIC_BATCH | ENGINE_COMPACT | ENGINE_CHANGES,
        .key_bytes_max = options->key_bytes_max,
        .meta_bytes_max = options->meta_bytes_max,
        .batch_operations_max = options->batch_operations_max,
        .value_bytes_max = options->value_bytes_max,
        .changes_bytes_max = options->changes_bytes_max,
        .scheme = local_engine_operations.scheme,
        .durability = local->durability,
    };
}

static unsigned processors(void)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online < 1 ? 1 : online > LOAD_THREADS_MAX ? LOAD_THREADS_MAX : (unsigned)online;
}

static void set_recovery(struct local *local)
{
    uint64_t smallest = format_align(segment_bytes_min(&local->options), FORMAT_BLOCK_BYTES);
    uint64_t asked = format_align(local->options.journal_segment_bytes, FORMAT_BLOCK_BYTES);
    local->options.journal_segment_bytes = asked < smallest ? smallest : asked;
    local->recovery = (struct recovery){
        .disk = local->disk,
        .manifest = &local->manifest,
        .store = &local->store,
        .journal = {.disk = local->disk,
                    .lazy = local->options.durability_interval_ms > 0,
                    .segment_bytes = local->options.journal_segment_bytes,
                    .first_segment_bytes = smallest,
                    .kept_bytes_max = local->options.changes_bytes_max,
                    .time = local->options.time,
                    .stats = local->stats,
                    .events = local->events},
        .closing = &local->closing,
        .threads = local->threaded ? processors() : 1,
        .events = local->events,
    };
    memcpy(local->recovery.journal.uuid, local->manifest.uuid, FORMAT_UUID_BYTES);
}

static enum status check_options(const struct engine_options *options, struct failure *failure)
{
    if (options->key_bytes_max == 0 || options->key_bytes_max > UINT16_MAX ||
        options->meta_bytes_max > UINT16_MAX)
        return failure_set(failure, STATUS_INVALID, "keys: 1 to %u bytes, kept headers: at most %u",
                           UINT16_MAX, UINT16_MAX);
    if (options->batch_operations_max == 0 || options->batch_operations_max > GROUP_OPERATIONS_MAX)
        return failure_set(failure, STATUS_INVALID, "a batch: 1 to %d operations",
                           GROUP_OPERATIONS_MAX);
    if (segment_bytes_min(options) > UINT32_MAX)
        return failure_set(failure, STATUS_INVALID,
                           "the largest commit must stay below 4 GiB: lower value_bytes_max");
    return STATUS_OK;
}

enum status local_parts_open(struct local *local, struct failure *failure)
{
    enum status status = check_options(&local->options, failure);
    if (status != STATUS_OK)
        return status;
    set_limits(local);
    local->stats = stats_open();
    if (local->stats == NULL)
        return failure_set(failure, STATUS_NO_MEMORY, "no memory for the counters");
    local->disk->on_failure = on_disk_failure;
    local->disk->on_failure_context = local;
    status = open_manifest(local, failure);
    if (status != STATUS_OK)
        return status;
    set_recovery(local);
    status =
        store_init(&local->store, local->options.memory_bytes_max, local->options.memtable_bytes,
                   local->stats, local->options.time, local->threaded);
    if (status != STATUS_OK)
        return failure_set(failure, status, "no memory for the index");
    /* Segments are used again as a whole: less than one would be held back for nothing. */
    if (store_journal_limit(&local->store) < local->options.journal_segment_bytes)
        store_limit_journal(&local->store, local->options.journal_segment_bytes);
    return start_recovery(local, failure);
}

/* ---- closing ---- */

static void close_writers(struct local *local)
{
    maintenance_stop(local->maintenance); /* first: its dumps wake the compactor */
    compactor_close(local->compactor);
    sweep_close(local->sweep);
    maintenance_close(local->maintenance);
    if (local_state_of(local) == LOCAL_READY) {
        /* Without the mark the next start only has more to check. */
        enum status ignored = commit_mark(local->commit, FRAME_CLEAN);
        (void)ignored;
        event_tell(&local->events,
                   (struct engine_event){.name = EVENT_STORE_CLOSED,
                                         .file = FORMAT_MANIFEST_NAME,
                                         .sequence = store_sequence(&local->store)});
    }
}

void local_parts_close(struct local *local)
{
    atomic_store(&local->closing, true);
    if (local->recovery_started)
        pthread_join(local->recovery_thread, NULL);
    close_writers(local);
    store_done(&local->store); /* before what it tells that memory was freed */
    commit_close(local->commit);
    dump_close(local->dump);
    journal_close(local->journal);
    catalog_done(&local->catalog);
    manifest_done(&local->manifest);
    disk_close(local->disk);
    stats_close(local->stats);
}
