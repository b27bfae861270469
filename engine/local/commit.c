/* SPDX-License-Identifier: Apache-2.0 */
/* Preparing a request, queueing, leading. */
#include "commit.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>

#include "../number.h"
#include "bell.h"

enum {
    WAIT_SLICE_MS = 50,         /* how soon a fired cancel is seen */
    GATHER_SYNC_SHARE = 4,      /* a leader waits at most 1/4 of the last group's time ... */
    GATHER_NS_MAX = 2000000,    /* ... and not longer than a crowd needs to come back */
    CROWD_BITS = 4,             /* of the bell, for all who queued behind the same group ... */
    OWN_BITS = 32 - CROWD_BITS, /* ... and for one of them, and by chance a few others */
};

enum request_state { REQUEST_QUEUED, REQUEST_GATHERED, REQUEST_LEADS, REQUEST_DONE };

/* One waiting writer, on its stack. */
struct request {
    struct group_request body; /* first: the leader reaches the request through it */
    struct request *next, *previous;
    uint32_t crowd_bit, own_bit; /* set when queued; of the bell */
    /* atomic: written under the queue's mutex, DONE by the leader; read by its writer. Release, pairs
     * with: is_called. Else a writer would look at its answer, or at what its leader left to it, too
     * early. */
    _Atomic enum request_state state;
};

struct commit {
    /* set at open, then constant */
    struct commit_options options;
    struct group *group;
    uint64_t group_bytes_max; /* of several requests together; one larger goes alone */
    /* owned by the leader */
    struct group_request *members[GROUP_OPERATIONS_MAX];
    uint32_t last_members;
    uint64_t last_ns;
    /* atomic: written under the mutex, read by a gathering leader */
    _Atomic uint32_t queued;
    _Atomic uint64_t last_group_ns;
    struct bell bell; /* rung when requests are done, and when one leads */
    pthread_mutex_t mutex;
    pthread_cond_t room; /* monotonic clock; signalled when queued_bytes falls */
    /* guarded by mutex */
    struct request *oldest, *newest;
    uint64_t queued_bytes;
    uint32_t room_waiters;
    uint32_t crowds, tickets; /* counts of gathers and of requests, for the bits */
    bool led;
};

enum status commit_open(const struct commit_options *options, struct commit **out_commit)
{
    struct commit *commit = calloc(1, sizeof *commit);
    if (commit == NULL)
        return STATUS_NO_MEMORY;
    commit->options = *options;
    commit->group_bytes_max = journal_payload_bytes_max(options->journal);
    if (commit->group_bytes_max > GROUP_BYTES_MAX)
        commit->group_bytes_max = GROUP_BYTES_MAX;
    pthread_mutex_init(&commit->mutex, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&commit->room, &monotonic);
    pthread_condattr_destroy(&monotonic);
    struct group_options group = {
        .store = options->store,
        .journal = options->journal,
        .sync = options->sync,
        .unseal = options->unseal,
        .on_frozen = options->on_frozen,
        .context = options->context,
    };
    enum status status = group_open(&group, &commit->group);
    if (status != STATUS_OK) {
        commit_close(commit);
        return status;
    }
    *out_commit = commit;
    return STATUS_OK;
}

void commit_close(struct commit *commit)
{
    if (commit == NULL)
        return;
    group_close(commit->group);
    pthread_cond_destroy(&commit->room);
    pthread_mutex_destroy(&commit->mutex);
    free(commit);
}

uint64_t commit_last_group_ns(const struct commit *commit)
{
    return atomic_load_explicit(&commit->last_group_ns, memory_order_relaxed);
}

uint32_t commit_queued(const struct commit *commit)
{
    return atomic_load_explicit(&commit->queued, memory_order_relaxed);
}

static uint64_t now_ns(const struct commit *commit)
{
    const struct time_source *time = commit->options.store->time;
    return time->monotonic_ns(time);
}

/* ---- the queue ---- */

static void set_state(struct request *request, enum request_state state)
{
    atomic_store_explicit(&request->state, state, memory_order_release);
}

static void enqueue_locked(struct commit *commit, struct request *request)
{
    set_state(request, REQUEST_QUEUED);
    request->crowd_bit = UINT32_C(1) << commit->crowds % CROWD_BITS;
    request->own_bit = UINT32_C(1) << (CROWD_BITS + commit->tickets++ % OWN_BITS);
    request->next = NULL;
    request->previous = commit->newest;
    if (commit->newest != NULL)
        commit->newest->next = request;
    else
        commit->oldest = request;
    commit->newest = request;
    commit->queued_bytes += request->body.bytes;
    atomic_fetch_add_explicit(&commit->queued, 1, memory_order_relaxed);
}

static void dequeue_locked(struct commit *commit, struct request *request)
{
    if (request->previous != NULL)
        request->previous->next = request->next;
    else
        commit->oldest = request->next;
    if (request->next != NULL)
        request->next->previous = request->previous;
    else
        commit->newest = request->previous;
    commit->queued_bytes -= request->body.bytes;
    atomic_fetch_sub_explicit(&commit->queued, 1, memory_order_relaxed);
    if (commit->room_waiters > 0)
        pthread_cond_broadcast(&commit->room);
}

/* ---- leading ---- */

/*
 * With a crowd, those whom the last group answered are about to ask again: yielding to them for a
 * moment makes the next group larger. One writer alone never waits. Nor does it pay to wait long
 * after a group that took long for another reason than its sync: a segment to come, a large value.
 */
static void let_the_crowd_queue(struct commit *commit)
{
    if (commit->last_members < 2)
        return;
    uint64_t share_ns = commit->last_ns / GATHER_SYNC_SHARE;
    uint64_t until = now_ns(commit) + (share_ns < GATHER_NS_MAX ? share_ns : GATHER_NS_MAX);
    while (commit_queued(commit) < commit->last_members && now_ns(commit) < until)
        sched_yield();
}

static uint32_t gather(struct commit *commit)
{
    uint32_t members = 0, operations = 0;
    uint64_t bytes = 0;
    pthread_mutex_lock(&commit->mutex);
    commit->crowds++;
    while (commit->oldest != NULL) {
        struct request *request = commit->oldest;
        operations += request->body.count;
        bytes += request->body.bytes;
        if (members > 0 && (operations > GROUP_OPERATIONS_MAX || bytes > commit->group_bytes_max))
            break;
        dequeue_locked(commit, request);
        set_state(request, REQUEST_GATHERED);
        commit->members[members++] = &request->body;
    }
    pthread_mutex_unlock(&commit->mutex);
    return members;
}

/* Whoever waits longest leads next; nobody: the next to come. */
static void hand_over(struct commit *commit)
{
    uint32_t next_bit = 0;
    pthread_mutex_lock(&commit->mutex);
    struct request *next = commit->oldest;
    commit->led = next != NULL;
    if (next != NULL) {
        next_bit = next->own_bit;
        set_state(next, REQUEST_LEADS);
    }
    pthread_mutex_unlock(&commit->mutex);
    if (next_bit != 0)
        bell_ring(&commit->bell, next_bit);
}

/* Returns the bits to ring for. */
static uint32_t answer_others(struct commit *commit, uint32_t count)
{
    uint32_t bits = 0;
    for (uint32_t i = 1; i < count; i++) {
        struct request *member = (struct request *)commit->members[i];
        bits |= member->crowd_bit;
        set_state(member, REQUEST_DONE); /* its stack may be gone after this */
    }
    return bits;
}

static void lead(struct commit *commit, struct request *self)
{
    let_the_crowd_queue(commit);
    uint32_t count = gather(commit);
    assert(count > 0 && commit->members[0] == &self->body);
    uint64_t begun = now_ns(commit);
    group_run(commit->group, commit->members, count, begun + commit->options.rotate_wait_ns);
    uint64_t ended = now_ns(commit);
    commit->last_members = count;
    commit->last_ns = ended - begun;
    atomic_store_explicit(&commit->last_group_ns, ended, memory_order_relaxed);

    /* The members list is the next leader's after the hand-over. */
    uint32_t others = answer_others(commit, count);
    hand_over(commit);
    if (others != 0)
        bell_ring(&commit->bell, others);
}

enum status commit_alone(struct commit *commit, enum status (*act)(void *context), void *context)
{
    pthread_mutex_lock(&commit->mutex);
    bool busy = commit->led || commit->oldest != NULL;
    if (!busy)
        commit->led = true;
    pthread_mutex_unlock(&commit->mutex);
    if (busy)
        return STATUS_BUSY;
    enum status status = act(context);
    hand_over(commit);
    return status;
}

struct mark {
    struct journal *journal;
    enum frame_flag flag;
};

static enum status write_mark(void *context)
{
    const struct mark *mark = context;
    return journal_mark(mark->journal, mark->flag);
}

enum status commit_mark(struct commit *commit, enum frame_flag flag)
{
    struct mark mark = {commit->options.journal, flag};
    return commit_alone(commit, write_mark, &mark);
}

void commit_room_changed(struct commit *commit)
{
    pthread_mutex_lock(&commit->mutex);
    if (commit->room_waiters > 0)
        pthread_cond_broadcast(&commit->room);
    pthread_mutex_unlock(&commit->mutex);
}

/* ---- waiting ---- */

static struct timespec slice_end(const struct commit *commit, const struct engine_context *context)
{
    uint64_t until = now_ns(commit) + WAIT_SLICE_MS * UINT64_C(1000000);
    if (context->deadline_ns < until)
        until = context->deadline_ns;
    return (struct timespec){(time_t)(until / 1000000000u), (long)(until % 1000000000u)};
}

static enum status waited_enough(const struct commit *commit, const struct engine_context *context)
{
    if (cancel_fired(context->cancel))
        return STATUS_CANCELLED;
    return now_ns(commit) >= context->deadline_ns ? STATUS_BUSY : STATUS_OK;
}

/* Memory for what waits, and for what is written: one larger request may wait alone. */
static bool has_room_locked(const struct commit *commit, const struct request *request)
{
    uint64_t bytes = commit->queued_bytes + request->body.bytes;
    return store_has_room(commit->options.store) &&
           (commit->queued_bytes == 0 || bytes <= commit->options.queue_bytes_max);
}

static void count_stall(struct commit *commit)
{
    const struct store *store = commit->options.store;
    stats_add(store->stats,
              store_has_room(store) ? STATS_write_stalls_queue : STATS_write_stalls_memtables, 1);
}

static enum status wait_for_room_locked(struct commit *commit, const struct request *request,
                                        const struct engine_context *context)
{
    if (has_room_locked(commit, request))
        return STATUS_OK;
    enum status status = STATUS_OK;
    uint64_t begun_ns = now_ns(commit);
    count_stall(commit);
    commit->room_waiters++;
    while (status == STATUS_OK && !has_room_locked(commit, request)) {
        status = waited_enough(commit, context);
        struct timespec until = slice_end(commit, context);
        if (status == STATUS_OK)
            pthread_cond_timedwait(&commit->room, &commit->mutex, &until);
    }
    commit->room_waiters--;
    stats_observe(commit->options.store->stats, STATS_write_stall, now_ns(commit) - begun_ns);
    return status;
}

/* True: the request is out of the queue again, nobody has seen it. */
static bool leave_queue(struct commit *commit, struct request *request)
{
    pthread_mutex_lock(&commit->mutex);
    bool queued = atomic_load_explicit(&request->state, memory_order_relaxed) == REQUEST_QUEUED;
    if (queued)
        dequeue_locked(commit, request);
    pthread_mutex_unlock(&commit->mutex);
    return queued;
}

static bool is_called(const struct request *request)
{
    return atomic_load_explicit(&request->state, memory_order_acquire) >= REQUEST_LEADS;
}

/* Returns OK when called: the request is done, or leads. */
static enum status wait_in_queue(struct commit *commit, struct request *request,
                                 const struct engine_context *context)
{
    for (;;) {
        uint32_t heard = bell_heard(&commit->bell);
        if (is_called(request))
            return STATUS_OK;
        enum status status = waited_enough(commit, context);
        if (status != STATUS_OK && leave_queue(commit, request))
            return status;
        struct timespec until = slice_end(commit, context);
        bell_sleep(&commit->bell, heard, request->crowd_bit | request->own_bit,
                   status == STATUS_OK ? &until : NULL); /* too late to leave: until it is done */
    }
}

static enum status queue_and_wait(struct commit *commit, struct request *request,
                                  const struct engine_context *context)
{
    enum status status = waited_enough(commit, context);
    if (status != STATUS_OK)
        return status;
    pthread_mutex_lock(&commit->mutex);
    status = wait_for_room_locked(commit, request, context);
    bool leads = status == STATUS_OK && !commit->led;
    if (status == STATUS_OK)
        enqueue_locked(commit, request);
    if (leads) {
        commit->led = true;
        set_state(request, REQUEST_LEADS);
    }
    pthread_mutex_unlock(&commit->mutex);
    if (status == STATUS_OK && !leads)
        status = wait_in_queue(commit, request, context);
    if (status != STATUS_OK)
        return status;
    if (atomic_load_explicit(&request->state, memory_order_relaxed) == REQUEST_LEADS)
        lead(commit, request);
    return request->body.status;
}

/* A group that found no journal segment in time was not begun: its members ask again. */
static enum status queue_until_done(struct commit *commit, struct request *request,
                                    const struct engine_context *context)
{
    enum status status;
    do
        status = queue_and_wait(commit, request, context);
    while (status == STATUS_BUSY && waited_enough(commit, context) == STATUS_OK);
    return status;
}

/* ---- preparing ---- */

static enum status check(const struct commit *commit, const struct engine_operation *operations,
                         uint32_t count)
{
    const struct engine_limits *limits = commit->options.limits;
    uint64_t value_bytes = 0;
    if (count == 0)
        return STATUS_INVALID;
    if (count > limits->batch_operations_max || count > GROUP_OPERATIONS_MAX)
        return STATUS_TOO_LARGE;
    for (uint32_t i = 0; i < count; i++) {
        size_t key_bytes = operations[i].key.size;
        if (key_bytes == 0 || key_bytes > limits->key_bytes_max)
            return STATUS_INVALID;
        if (operations[i].type == ENGINE_PUT)
            value_bytes += operations[i].value->size;
    }
    return value_bytes > limits->value_bytes_max ? STATUS_TOO_LARGE : STATUS_OK;
}

static int compare_by_key(const void *left, const void *right)
{
    const struct engine_operation *const *a = left, *const *b = right;
    return bytes_compare((*a)->key, (*b)->key);
}

static enum status check_distinct(const struct engine_operation *operations, uint32_t count)
{
    if (count == 1)
        return STATUS_OK;
    AUTO_FREE const struct engine_operation **sorted = malloc(count * sizeof(void *));
    if (sorted == NULL)
        return STATUS_NO_MEMORY;
    for (uint32_t i = 0; i < count; i++)
        sorted[i] = &operations[i];
    qsort(sorted, count, sizeof(void *), compare_by_key);
    for (uint32_t i = 1; i < count; i++)
        if (bytes_equal(sorted[i - 1]->key, sorted[i]->key))
            return STATUS_INVALID;
    return STATUS_OK;
}

static void prepare_put(struct engine_operation *operation, struct group_write *write,
                        uint64_t *out_bytes)
{
    struct value *value = value_of_face(operation->value);
    assert(bytes_equal(record_key(&value->record), operation->key));
    value_seal(value, operation->expires_ms);
    write->value = value;
    *out_bytes = record_bytes(&value->record);
}

/* Whatever is written meanwhile has no more meta than the limit; what is there already may. */
static enum status prepare_add(struct commit *commit, const struct engine_operation *operation,
                               uint64_t *out_bytes)
{
    struct engine_item item = {0};
    enum status status =
        store_get_short(commit->options.store, operation->key, NUMBER_BYTES_MAX, &item);
    uint64_t meta_bytes = commit->options.limits->meta_bytes_max;
    if (item.meta.size > meta_bytes)
        meta_bytes = item.meta.size;
    *out_bytes = record_size(operation->key.size, meta_bytes, NUMBER_BYTES_MAX);
    engine_item_done(&item);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

/* Reads what the leader will have to look at, so that no page fault meets it. */
static enum status prepare_one(struct commit *commit, struct engine_operation *operation,
                               bool expires, struct group_write *write, uint64_t *out_bytes)
{
    struct store *store = commit->options.store;
    enum status status = STATUS_OK;
    write->hash = keymap_hash(store->keymap, operation->key);
    if (operation->type == ENGINE_ADD)
        status = prepare_add(commit, operation, out_bytes);
    else if (operation->condition_count > 0 || operation->type == ENGINE_CHECK || expires)
        store_touch(store, write->hash, operation->key);
    if (operation->type == ENGINE_PUT)
        prepare_put(operation, write, out_bytes);
    if (operation->type == ENGINE_DELETE)
        *out_bytes = record_size(operation->key.size, 0, 0);
    if (status != STATUS_OK || operation->type == ENGINE_DELETE || operation->type == ENGINE_CHECK)
        return status;
    write->spare = store_take_entry(store, operation->key);
    return STATUS_OK;
}

static enum status prepare(struct commit *commit, struct group_request *request)
{
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < request->count && status == STATUS_OK; i++) {
        uint64_t bytes = 0;
        status = prepare_one(commit, &request->operations[i], request->expires, &request->writes[i],
                             &bytes);
        request->bytes += bytes;
    }
    /* One commit is one frame: no segment would ever have room for this one. */
    if (status == STATUS_OK && request->bytes > journal_payload_bytes_max(commit->options.journal))
        return STATUS_TOO_LARGE;
    return status;
}

/* Gives back what the group did not use; on OK the values are the store's. */
static void finish(struct commit *commit, struct group_request *request, enum status status)
{
    for (uint32_t i = 0; i < request->count; i++) {
        struct group_write *write = &request->writes[i];
        entry_pool_give(commit->options.store->entries, write->spare);
        if (status != STATUS_OK || write->value == NULL)
            continue;
        if (write->record != &write->value->record) /* a large one is the memtable's own now */
            value_close(write->value);
        request->operations[i].value = NULL;
    }
}

static void count_refusal(struct commit *commit, enum status status)
{
    if (status == STATUS_CONFLICT)
        stats_add(commit->options.store->stats, STATS_conflicts, 1);
    if (status == STATUS_BUSY)
        stats_add(commit->options.store->stats, STATS_busy, 1);
}

static enum status submit(struct commit *commit, struct engine_operation *operations,
                          uint32_t count, bool expires, const struct engine_context *context)
{
    enum status status = check(commit, operations, count);
    if (status == STATUS_OK)
        status = check_distinct(operations, count);
    if (status != STATUS_OK)
        return status;
    struct group_write single = {0};
    AUTO_FREE struct group_write *several = NULL;
    if (count > 1 && (several = calloc(count, sizeof *several)) == NULL)
        return STATUS_NO_MEMORY;
    struct request request = {
        .body = {.operations = operations,
                 .writes = count == 1 ? &single : several,
                 .count = count,
                 .expires = expires},
    };
    uint64_t begun = now_ns(commit);
    status = prepare(commit, &request.body);
    if (status == STATUS_OK)
        status = queue_until_done(commit, &request, context);
    finish(commit, &request.body, status);
    count_refusal(commit, status);
    stats_observe(commit->options.store->stats, STATS_commit, now_ns(commit) - begun);
    return status;
}

enum status commit_submit(struct commit *commit, struct engine_operation *operations,
                          uint32_t count, const struct engine_context *context)
{
    return submit(commit, operations, count, false, context);
}

enum status commit_expired(struct commit *commit, struct engine_operation *operations,
                           uint32_t count, const struct engine_context *context)
{
    return submit(commit, operations, count, true, context);
}
