/* SPDX-License-Identifier: Apache-2.0 */
/* Living, and looking at every state in which the life could end. */
#include "../../engine/local/local.h"
#include "crash_check.h"

enum {
    VALUE_BYTES_MAX = 8192,
    VALUE_BYTES_SMALL = 300,
    INTERVAL_MS = 120,
    IDLE_MS = 1100,  /* long enough for an EMPTY frame */
    FORK_EVERY = 47, /* so many disk operations, the process dies and the power fails later */
    CALM_MS = 61000, /* a journal that fails twice within a minute is given up */
    RETRY_MS = 6000, /* what has failed is tried again */
    TROUBLED_COMMITS = 6,
    SWEEPS_MAX = 20,
    ROOM_BYTES = 20000, /* of a disk that is full: too little for a segment */
};

/* ---- life and its settings ---- */

void trial_init(struct trial *trial, uint64_t seed, enum crash_mode mode)
{
    const char *only = getenv("KEYREST_CRASH_STATE");
    *trial = (struct trial){.seed = seed, .mode = mode, .random = seed * 2654435761u + 1};
    trial->only = only != NULL ? strtoull(only, NULL, 10) : 0;
    trial->share = trial_share();
    trial->disk = crash_disk_open();
    manual_time_init(&trial->time);
    trial->time.look_ns = 1000;
    model_init(&trial->model);
}

void trial_done(struct trial *trial)
{
    crash_disk_close(trial->disk);
    model_done(&trial->model);
    free(trial->seen);
}

/*
 * Four kinds of lives, by seed: large values fill segments, small ones put many frames into one; a
 * small memtable is dumped all the time, a large one leaves all to the journal.
 */
static uint32_t value_bytes_max(const struct trial *trial)
{
    return (trial->seed & 1) != 0 ? VALUE_BYTES_MAX : VALUE_BYTES_SMALL;
}

static bool dumps_often(const struct trial *trial)
{
    return (trial->seed & 2) != 0;
}

/* From none to many segments. */
static uint64_t changes_bytes_max(const struct trial *trial)
{
    static const uint64_t choices[] = {256 << 10, 1 << 20, 256 << 10, 0};
    return choices[(trial->seed + trial->mode) % COUNT_OF(choices)];
}

struct engine_options trial_options(const struct trial *trial, bool lazy)
{
    struct engine_options options = engine_options_default();
    options.durability_interval_ms = lazy ? INTERVAL_MS : 0;
    options.key_bytes_max = MODEL_KEY_BYTES_MAX;
    options.meta_bytes_max = 64;
    options.batch_operations_max = MODEL_OPERATIONS_MAX;
    options.value_bytes_max = VALUE_BYTES_MAX;
    options.memory_bytes_max = 256 << 20;
    options.journal_segment_bytes = 0; /* as small as it goes */
    options.memtable_bytes = dumps_often(trial) ? 600 : 64 << 20;
    options.changes_bytes_max = changes_bytes_max(trial);
    options.ballast_bytes = 0;
    options.reserve_bytes = 0;
    options.time = &trial->time.source;
    return options;
}

uint64_t trial_deadline_ns(const struct trial *trial)
{
    return trial->time.source.monotonic_ns(&trial->time.source) + UINT64_C(1000000);
}

uint64_t trial_seed_from_environment(uint64_t otherwise)
{
    const char *seed = getenv("KEYREST_CRASH_SEED");
    return seed != NULL ? strtoull(seed, NULL, 10) : otherwise;
}

unsigned trial_share(void)
{
    const char *share = getenv("KEYREST_CRASH_SHARE");
    return share != NULL && atoi(share) > 1 ? (unsigned)atoi(share) : 1;
}

bool trial_choose_lazy(struct trial *trial)
{
    if (trial->mode == CRASH_MIXED)
        return model_random(&trial->random) >> 63;
    return trial->mode == CRASH_INTERVAL;
}

/* ---- living ---- */

/* Whatever else is going on, a compaction that has begun tells so. */
static bool is_compacting(const struct trial *trial)
{
    struct engine_compaction newest;
    size_t count;
    return engine_compactions(trial->engine, &newest, 1, &count) == STATUS_OK && count > 0 &&
           newest.state == ENGINE_COMPACTION_RUNNING;
}

static enum crash_phase phase_of(struct trial *trial)
{
    if (trial->engine == NULL)
        return PHASE_RECOVERY;
    struct crash_last last = crash_disk_last(trial->disk);
    crash_course_follow(&trial->course, &last, !trial->stopping && is_compacting(trial));
    return trial->stopping                      ? PHASE_STOP
           : trial->sealed                      ? PHASE_SEALING
           : crash_disk_is_limited(trial->disk) ? PHASE_FULL_DISK
                                                : trial->course.phase;
}

static void watch_life(void *context)
{
    struct trial *trial = context;
    trial->phase = phase_of(trial);
    trial_check_cuts(trial, trial->disk, &trial->expectation);
    if (model_random(&trial->random) % FORK_EVERY == 0)
        trial_check_kill(trial);
}

static int64_t wall_ms(const struct trial *trial)
{
    return trial->time.source.wall_ms(&trial->time.source);
}

static void start(struct trial *trial, struct expectation found)
{
    trial->lazy = trial_choose_lazy(trial);
    trial->answered = found.least; /* a power cut may have taken back the rest */
    trial->expectation = expectation_while_opening(trial->expectation, trial->lazy);
    trial->engine = NULL;
    trial->sealed = false;
    trial->course = (struct crash_course){0};
    struct engine *engine;
    size_t state = trial_recover_as(trial, trial->disk, trial->lazy, "life", &found, &engine);
    trial->engine = engine;
    trial->epoch = epoch_of(trial->engine);
    trial->answered = state;
    trial->model.count = state + 1;
    trial->expectation = expectation_of(state, trial->lazy, trial->epoch);
}

void trial_open(struct trial *trial)
{
    crash_disk_watch(trial->disk, watch_life, trial);
    start(trial, trial->expectation);
}

void trial_start(struct trial *trial)
{
    start(trial, trial->expectation);
}

static struct engine_health health_of(const struct trial *trial)
{
    struct engine_health health;
    engine_health(trial->engine, &health);
    return health;
}

/* What the engine answers, and should answer on a disk that is well; the model follows. */
static enum status try_commit(struct trial *trial, const struct model_commit *commit,
                              enum status *out_predicted)
{
    struct model_state before = trial->model.states[trial->answered], after;
    *out_predicted = model_predict(&before, commit, wall_ms(trial), &after);
    bool allowed = *out_predicted == STATUS_OK;
    bool writes = allowed && after.sequence != before.sequence;
    trial->model.count = trial->answered + 1;
    if (writes) {
        model_add(&trial->model, after);
        trial->expectation.most = trial->answered + 1;
    }
    const char *wrong;
    enum status status = model_run(trial->engine, commit, &before, allowed ? &after : NULL,
                                   trial->epoch, trial_deadline_ns(trial), &wrong);
    if (wrong != NULL)
        trial_broken(trial, "life", wrong);
    if (writes && status == STATUS_OK)
        trial->answered++;
    if (status != STATUS_UNKNOWN)
        trial->expectation.most = trial->answered;
    if (!trial->lazy)
        trial->expectation.least = trial->answered;
    return status;
}

void trial_commit(struct trial *trial, const struct model_commit *commit)
{
    enum status predicted, status = try_commit(trial, commit, &predicted);
    if (status != predicted)
        trial_broken(trial, "life", status_text(status));
}

void trial_idle(struct trial *trial, uint64_t ms)
{
    manual_time_advance_ms(&trial->time, ms);
    local_housekeep(trial->engine);
    if (ms >= INTERVAL_MS && health_of(trial).oldest_unsynced_ms == 0) /* so it says */
        trial->expectation.least = trial->answered;
}

static void commit_something(struct trial *trial)
{
    struct model_commit commit = model_make_commit(&trial->random, value_bytes_max(trial));
    trial_idle(trial, 0);
    trial_commit(trial, &commit);
}

/* Nobody sees the delete, but it has a sequence. */
static void sweep(struct trial *trial)
{
    struct model_state swept = model_swept(&trial->model.states[trial->answered]);
    model_add(&trial->model, swept);
    trial->expectation.most = trial->answered + 1;
    for (int i = 0; i < SWEEPS_MAX && health_of(trial).sequence != swept.sequence; i++)
        trial_idle(trial, 1);
    if (health_of(trial).sequence != swept.sequence)
        trial_broken(trial, "life", "what has expired is not deleted");
    trial->expectation.most = ++trial->answered;
    if (!trial->lazy)
        trial->expectation.least = trial->answered;
}

/* The key's older versions, in whichever table, must stay hidden. */
static void expire_something(struct trial *trial)
{
    struct model_commit commit = model_make_commit(&trial->random, value_bytes_max(trial));
    commit.count = 1;
    commit.operations[0].type = ENGINE_PUT;
    commit.operations[0].condition = MODEL_NONE;
    commit.operations[0].expired = true;
    trial_idle(trial, 0);
    trial_commit(trial, &commit);
    sweep(trial);
}

void trial_compact(struct trial *trial)
{
    uint64_t id;
    enum status status = engine_compact(trial->engine, &id);
    if (status != STATUS_OK)
        trial_broken(trial, "life", status_text(status));
    local_housekeep(trial->engine);
}

static bool is_trouble(enum status status)
{
    return status == STATUS_BUSY || status == STATUS_NO_SPACE || status == STATUS_UNAVAILABLE ||
           status == STATUS_READ_ONLY || status == STATUS_UNKNOWN;
}

/* Commits on a disk that is not well, until the outcome of one is unknown. */
static void commit_troubled(struct trial *trial)
{
    enum status predicted, status = STATUS_OK;
    for (int i = 0; i < TROUBLED_COMMITS && status != STATUS_UNKNOWN; i++) {
        struct model_commit commit = model_make_commit(&trial->random, value_bytes_max(trial));
        trial_idle(trial, i % 2 == 1 ? IDLE_MS : 0);
        status = try_commit(trial, &commit, &predicted);
        trial->refused_for_room += status == STATUS_NO_SPACE;
        if (status != predicted && !is_trouble(status))
            trial_broken(trial, "life", status_text(status));
    }
    trial->unknown = status == STATUS_UNKNOWN;
}

/* Well again: soon writes are taken, unless only a start can tell what there is. */
static void get_well(struct trial *trial)
{
    crash_disk_fail(trial->disk, (struct crash_fault){0});
    crash_disk_limit(trial->disk, CRASH_NO_LIMIT);
    if (trial->unknown || health_of(trial).state == ENGINE_READ_ONLY)
        trial_kill(trial);
    for (int i = 0; i < 3; i++)
        trial_idle(trial, RETRY_MS);
    commit_something(trial);
}

void trial_fault(struct trial *trial)
{
    trial_idle(trial, CALM_MS);
    uint64_t dice = model_random(&trial->random) >> 20;
    crash_disk_fail(trial->disk, (struct crash_fault){
                                     .operations = (dice & 1) != 0 ? CRASH_SYNC : CRASH_WRITE,
                                     .nth = 1 + dice / 2 % 3,
                                     .status = STATUS_IO,
                                 });
    commit_troubled(trial);
    get_well(trial);
}

void trial_fill(struct trial *trial)
{
    uint64_t left = (model_random(&trial->random) >> 20) % ROOM_BYTES;
    crash_disk_limit(trial->disk, crash_disk_used(trial->disk) + left);
    commit_troubled(trial);
    get_well(trial);
}

void trial_close(struct trial *trial)
{
    trial->expectation.epoch = trial->lazy ? 0 : trial->epoch;
    trial->expectation.forbidden = 0;
    trial->stopping = true;
    engine_close(trial->engine);
    trial->engine = NULL;
    trial->expectation = expectation_of_clean(trial->answered, trial->epoch);
    trial_check_cuts(trial, trial->disk, &trial->expectation);
    trial->stopping = false;
}

void trial_kill(struct trial *trial)
{
    close_dead(trial->disk, trial->engine);
    start(trial, expectation_killed(trial));
}

static void count_state(void *context, struct crash_state state)
{
    ++*(uint64_t *)context;
    crash_disk_close(state.disk);
}

struct choice {
    uint64_t left;
    struct crash_disk *disk;
};

static void choose_state(void *context, struct crash_state state)
{
    struct choice *choice = context;
    if (choice->left-- == 0)
        choice->disk = state.disk;
    else
        crash_disk_close(state.disk);
}

void trial_cut(struct trial *trial)
{
    uint64_t count = 0;
    crash_disk_each_state(trial->disk, count_state, &count);
    struct choice choice = {.left = model_random(&trial->random) % count};
    crash_disk_each_state(trial->disk, choose_state, &choice);
    close_dead(trial->disk, trial->engine);
    crash_disk_close(trial->disk);
    trial->disk = choice.disk;
    crash_disk_watch(trial->disk, watch_life, trial);
    start(trial, trial->expectation);
}

static void step(struct trial *trial)
{
    uint64_t dice = (model_random(&trial->random) >> 20) % 1000;
    if (dice < 6) {
        trial_close(trial);
        trial_open(trial);
    } else if (dice < 12) {
        trial_kill(trial);
    } else if (dice < 18) {
        trial_cut(trial);
    } else if (dice < 70) {
        trial_idle(trial, IDLE_MS);
    } else if (dice < 170) {
        trial_idle(trial, dice);
    } else if (dice < 190) {
        trial_compact(trial);
    } else if (dice < 215) {
        trial_fault(trial);
    } else if (dice < 240) {
        trial_fill(trial);
    } else if (dice < 270) {
        expire_something(trial);
    } else {
        commit_something(trial);
    }
}

void trial_live(struct trial *trial, int steps)
{
    trial_open(trial);
    for (int i = 0; i < steps; i++)
        step(trial);
    trial_close(trial);
}
