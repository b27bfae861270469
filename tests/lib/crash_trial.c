/* SPDX-License-Identifier: Apache-2.0 */
/* Living, and looking at every state in which the life could end. */
#include "crash_trial.h"

#include <inttypes.h>

#include "../../engine/local/checksum.h"
#include "../../engine/local/local.h"
#include "test.h"

enum {
    VALUE_BYTES_MAX = 8192,
    VALUE_BYTES_SMALL = 300,
    INTERVAL_MS = 120,
    IDLE_MS = 1100,   /* long enough for an EMPTY frame */
    DEPTH_MAX = 2,    /* a crash, and one more while recovering from it */
    DEEP_EVERY = 151, /* so many states, one is crashed again while it recovers */
    FORK_EVERY = 7,   /* so many disk operations, the process dies and the power fails later */
};

/* Where in a life a state was met, for the message of a failure. */
struct place {
    struct trial *trial;
    struct expectation expectation;
    struct crash_disk *disk;
    const char *what;
};

/* ---- life and its settings ---- */

void trial_init(struct trial *trial, uint64_t seed, enum crash_mode mode)
{
    const char *only = getenv("KEYREST_CRASH_STATE");
    *trial = (struct trial){.seed = seed, .mode = mode, .random = seed * 2654435761u + 1};
    trial->only = only != NULL ? strtoull(only, NULL, 10) : 0;
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

static bool choose_lazy(struct trial *trial)
{
    if (trial->mode == CRASH_MIXED)
        return model_random(&trial->random) >> 63;
    return trial->mode == CRASH_INTERVAL;
}

static void broken(const struct trial *trial, const char *what, const char *wrong)
{
    print_message("# alone: KEYREST_CRASH_SEED=%" PRIu64 " KEYREST_CRASH_STATE=%" PRIu64 "\n",
                  trial->seed, trial->states);
    fail_msg("seed %" PRIu64 "%s%s, state %" PRIu64 " (%s): %s", trial->seed,
             trial->note != NULL ? ", " : "", trial->note != NULL ? trial->note : "", trial->states,
             what, wrong);
}

/* ---- recovering one state ---- */

static size_t identify(struct trial *trial, struct engine *engine, const char *what,
                       const struct expectation *expectation)
{
    struct engine_health health;
    engine_health(engine, &health);
    size_t state = expectation->least;
    while (state <= expectation->most && trial->model.states[state].sequence != health.sequence)
        state++;
    if (state > expectation->most) {
        char wrong[200];
        snprintf(wrong, sizeof wrong,
                 "recovered sequence %" PRIu64 ", expected %" PRIu64 " to %" PRIu64,
                 health.sequence, trial->model.states[expectation->least].sequence,
                 trial->model.states[expectation->most].sequence);
        broken(trial, what, wrong);
    }
    const char *wrong = model_compare(engine, &trial->model.states[state], health.epoch);
    if (wrong == NULL && expectation->epoch != 0 && health.epoch != expectation->epoch)
        wrong = "the epoch has changed";
    if (wrong == NULL && expectation->forbidden == health.epoch)
        wrong = "the epoch has not changed";
    if (wrong != NULL)
        broken(trial, what, wrong);
    return state;
}

static uint64_t epoch_of(struct engine *engine)
{
    struct engine_health health;
    engine_health(engine, &health);
    return health.epoch;
}

static void count_event(void *context, const struct engine_event *event)
{
    if (event->name == EVENT_JOURNAL_ROTATED)
        ++*(uint64_t *)context;
}

static size_t recover(struct trial *trial, struct crash_disk *disk, bool lazy, const char *what,
                      const struct expectation *expectation, struct engine **out_engine)
{
    struct engine_options options = trial_options(trial, lazy);
    options.on_event = count_event;
    options.on_event_context = &trial->rotations;
    struct failure failure = {0};
    enum status status = local_open(&options, crash_disk_attach(disk), false, out_engine, &failure);
    if (status != STATUS_OK)
        broken(trial, what, failure.message[0] != '\0' ? failure.message : status_text(status));
    return identify(trial, *out_engine, what, expectation);
}

size_t trial_recover(struct trial *trial, struct crash_disk *disk, bool lazy,
                     const struct expectation *expectation, struct engine **out_engine)
{
    struct engine *engine;
    size_t state = recover(trial, disk, lazy, "recovered", expectation, &engine);
    if (out_engine != NULL)
        *out_engine = engine;
    else
        engine_close(engine);
    return state;
}

/* What holds after a crash of the process that has recovered `state`. */
static struct expectation expectation_of(size_t state, bool lazy, uint64_t epoch)
{
    return (struct expectation){
        .least = state,
        .most = state,
        .epoch = lazy ? 0 : epoch,
        .forbidden = lazy ? epoch : 0,
    };
}

static struct expectation expectation_of_clean(size_t state, uint64_t epoch)
{
    return (struct expectation){.least = state, .most = state, .epoch = epoch};
}

/* While a store is opened: in interval mode it may count as unclean as soon as its LINK is there. */
static struct expectation expectation_while_opening(struct expectation expectation, bool lazy)
{
    if (lazy)
        expectation.epoch = 0;
    return expectation;
}

/* ---- looking at every state ---- */

static bool seen_before(struct trial *trial, uint64_t hash)
{
    if (trial->states * 2 >= trial->seen_capacity) {
        size_t capacity = trial->seen_capacity * 2 + 1024;
        uint64_t *seen = calloc(capacity, sizeof *seen);
        for (size_t i = 0; i < trial->seen_capacity; i++) {
            if (trial->seen[i] == 0)
                continue;
            size_t slot = trial->seen[i] % capacity;
            while (seen[slot] != 0)
                slot = (slot + 1) % capacity;
            seen[slot] = trial->seen[i];
        }
        free(trial->seen);
        trial->seen = seen;
        trial->seen_capacity = capacity;
    }
    hash += hash == 0;
    size_t slot = hash % trial->seen_capacity;
    for (; trial->seen[slot] != 0; slot = (slot + 1) % trial->seen_capacity)
        if (trial->seen[slot] == hash)
            return true;
    trial->seen[slot] = hash;
    return false;
}

static void close_dead(struct crash_disk *disk, struct engine *engine)
{
    crash_disk_kill(disk);
    engine_close(engine);
}

/* Recovered once: recovers again, after the power fails or the process is killed. */
static void check_again(struct trial *trial, struct place *place, struct engine *engine,
                        size_t state, bool lazy, bool power)
{
    struct expectation again = expectation_of(state, lazy, epoch_of(engine));
    close_dead(place->disk, engine);
    struct crash_disk *disk = power ? crash_disk_cut(place->disk, false) : place->disk;
    recover(trial, disk, lazy, place->what, &again, &engine);
    close_dead(disk, engine);
    if (power)
        crash_disk_close(disk);
}

/* Recovered once: goes on with a commit, stops, loses the power, and starts again. */
static void check_life_goes_on(struct trial *trial, struct place *place, struct engine *engine,
                               size_t state, bool lazy)
{
    uint64_t epoch = epoch_of(engine);
    struct model model = trial->model, own = model_copy(&model);
    own.count = state + 1;
    struct model_commit commit = {.operations = {{.type = ENGINE_PUT, .key = 3, .seed = 77}},
                                  .count = 1};
    struct model_state after;
    const char *wrong;
    enum status status = model_predict(model_newest(&own), &commit,
                                       trial->time.source.wall_ms(&trial->time.source), &after);
    assert_int_equal(status, STATUS_OK);
    local_housekeep(engine); /* makes the room that a commit waits for */
    status = model_run(engine, &commit, model_newest(&own), &after, epoch, trial_deadline_ns(trial),
                       &wrong);
    if (status != STATUS_OK || wrong != NULL)
        broken(trial, place->what, wrong != NULL ? wrong : "the recovered store takes no writes");
    model_add(&own, after);
    engine_close(engine);
    trial->model = own;
    struct expectation expectation = expectation_of_clean(state + 1, epoch);
    struct crash_disk *disk = crash_disk_cut(place->disk, false);
    recover(trial, disk, lazy, place->what, &expectation, &engine);
    close_dead(disk, engine);
    crash_disk_close(disk);
    model_done(&own);
    trial->model = model;
}

static void check_cuts_while_opening(struct trial *trial, struct crash_disk *disk, bool lazy,
                                     struct expectation cut, struct expectation killed);

static void check_state(struct place *place)
{
    struct trial *trial = place->trial;
    struct engine *engine;
    bool lazy = trial->mode == CRASH_MIXED ? trial->states % 2 : trial->mode == CRASH_INTERVAL;
    bool deep = trial->states % DEEP_EVERY == 1 && trial->depth < DEPTH_MAX;
    struct crash_disk *copy = deep ? crash_disk_fork(place->disk) : NULL;
    size_t state = recover(trial, place->disk, lazy, place->what, &place->expectation, &engine);
    if (deep) {
        struct expectation again = place->expectation;
        again.least = again.most = state;
        check_cuts_while_opening(trial, copy, lazy, again, again);
        crash_disk_close(copy);
    }
    if (trial->states % 3 == 0)
        check_life_goes_on(trial, place, engine, state, lazy);
    else
        check_again(trial, place, engine, state, lazy, trial->states % 3 == 1);
}

static void visit_state(void *context, struct crash_state state)
{
    struct place *place = context;
    struct trial *trial = place->trial;
    const uint64_t parts[] = {crash_disk_hash(state.disk), place->expectation.least,
                              place->expectation.most, place->expectation.epoch,
                              place->expectation.forbidden};
    if (!seen_before(trial, checksum64(parts, sizeof parts, 0))) {
        trial->states++;
        place->disk = state.disk;
        place->what = state.what;
        if (trial->only == 0 || trial->only == trial->states)
            check_state(place);
    }
    crash_disk_close(state.disk);
}

void trial_check_cuts(struct trial *trial, struct crash_disk *disk,
                      const struct expectation *expectation)
{
    struct place place = {.trial = trial, .expectation = *expectation};
    trial->depth++;
    crash_disk_each_state(disk, visit_state, &place);
    trial->depth--;
}

static void check_cuts_here(void *context)
{
    struct place *place = context;
    trial_check_cuts(place->trial, place->disk, &place->expectation);
}

/*
 * Recovers `disk` and lets the power fail behind each of its operations. `killed`: what it finds in
 * the cache; `cut`: what may be found once the power has failed before it has ended.
 */
static void check_cuts_while_opening(struct trial *trial, struct crash_disk *disk, bool lazy,
                                     struct expectation cut, struct expectation killed)
{
    struct place place = {
        .trial = trial, .expectation = expectation_while_opening(cut, lazy), .disk = disk};
    struct engine *engine;
    crash_disk_watch(disk, check_cuts_here, &place);
    size_t state = recover(trial, disk, lazy, "while recovering", &killed, &engine);
    crash_disk_watch(disk, NULL, NULL);
    struct expectation after = expectation_of(state, lazy, epoch_of(engine));
    trial_check_cuts(trial, disk, &after);
    close_dead(disk, engine);
}

/* ---- living ---- */

/* What a killed process leaves in the cache: all that it was answered. */
static struct expectation expectation_killed(const struct trial *trial)
{
    struct expectation killed = trial->expectation;
    if (killed.least < trial->answered)
        killed.least = trial->answered;
    return killed;
}

void trial_check_kill(struct trial *trial)
{
    struct crash_disk *killed = crash_disk_fork(trial->disk);
    bool lazy = choose_lazy(trial);
    trial->depth++;
    check_cuts_while_opening(trial, killed, lazy, trial->expectation, expectation_killed(trial));
    trial->depth--;
    crash_disk_close(killed);
}

static void watch_life(void *context)
{
    struct trial *trial = context;
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
    trial->lazy = choose_lazy(trial);
    trial->answered = found.least; /* a power cut may have taken back the rest */
    trial->expectation = expectation_while_opening(trial->expectation, trial->lazy);
    size_t state = recover(trial, trial->disk, trial->lazy, "life", &found, &trial->engine);
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

void trial_commit(struct trial *trial, const struct model_commit *commit)
{
    const struct model_state *before = model_newest(&trial->model);
    struct model_state after;
    enum status predicted = model_predict(before, commit, wall_ms(trial), &after);
    bool allowed = predicted == STATUS_OK;
    bool writes = allowed && after.sequence != before->sequence;
    if (writes) {
        model_add(&trial->model, after);
        trial->expectation.most = trial->answered + 1;
    }
    before = &trial->model.states[trial->answered];
    const char *wrong;
    enum status status = model_run(trial->engine, commit, before, allowed ? &after : NULL,
                                   trial->epoch, trial_deadline_ns(trial), &wrong);
    if (wrong != NULL)
        broken(trial, "life", wrong);
    if (status != predicted)
        broken(trial, "life", status_text(status));
    if (writes)
        trial->answered++;
    if (!trial->lazy)
        trial->expectation.least = trial->answered;
}

void trial_idle(struct trial *trial, uint64_t ms)
{
    manual_time_advance_ms(&trial->time, ms);
    local_housekeep(trial->engine);
    if (ms >= INTERVAL_MS)
        trial->expectation.least = trial->answered;
}

void trial_close(struct trial *trial)
{
    trial->expectation.epoch = trial->lazy ? 0 : trial->epoch;
    trial->expectation.forbidden = 0;
    engine_close(trial->engine);
    trial->engine = NULL;
    trial->expectation = expectation_of_clean(trial->answered, trial->epoch);
    trial_check_cuts(trial, trial->disk, &trial->expectation);
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
    } else {
        struct model_commit commit = model_make_commit(&trial->random, value_bytes_max(trial));
        trial_idle(trial, 0);
        trial_commit(trial, &commit);
    }
}

void trial_live(struct trial *trial, int steps)
{
    trial_open(trial);
    for (int i = 0; i < steps; i++)
        step(trial);
    trial_close(trial);
}
