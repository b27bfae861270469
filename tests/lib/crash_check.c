/* SPDX-License-Identifier: Apache-2.0 */
/* Recovering a state, comparing it with the model, and dying again on the way. */
#include "crash_check.h"

#include <inttypes.h>

#include "../../engine/local/checksum.h"
#include "../../engine/local/local.h"
#include "../../engine/local/verify.h"
#include "test.h"

enum {
    DEPTH_MAX = 2,    /* a crash, and one more while recovering from it */
    DEEP_EVERY = 499, /* so many states, one is crashed again while it recovers */
    FOLLOW_EVERY = 5, /* ... and of so many the feed of changes is read */
};

/* Where in a life a state was met, for the message of a failure. */
struct place {
    struct trial *trial;
    struct expectation expectation;
    struct crash_disk *disk;
    const char *what;
};

void trial_broken(const struct trial *trial, const char *what, const char *wrong)
{
    print_message("# alone: KEYREST_CRASH_SEED=%" PRIu64 " KEYREST_CRASH_STATE=%" PRIu64 "\n",
                  trial->seed, trial->states);
    fail_msg("seed %" PRIu64 "%s%s, state %" PRIu64 " (%s): %s", trial->seed,
             trial->note != NULL ? ", " : "", trial->note != NULL ? trial->note : "", trial->states,
             what, wrong);
}

/* ---- what is expected, and what is there ---- */

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
        trial_broken(trial, what, wrong);
    }
    const char *wrong = model_compare(engine, &trial->model.states[state], health.epoch);
    if (wrong == NULL && expectation->epoch != 0 && health.epoch != expectation->epoch)
        wrong = "the epoch has changed";
    if (wrong == NULL && expectation->forbidden == health.epoch)
        wrong = "the epoch has not changed";
    if (wrong == NULL && trial->states % FOLLOW_EVERY == 0)
        wrong = model_follow(engine, &trial->model, state, health.epoch,
                             trial->states % (health.sequence + 1), &trial->changes_told);
    if (wrong != NULL)
        trial_broken(trial, what, wrong);
    return state;
}

uint64_t epoch_of(struct engine *engine)
{
    struct engine_health health;
    engine_health(engine, &health);
    return health.epoch;
}

struct expectation expectation_of(size_t state, bool lazy, uint64_t epoch)
{
    return (struct expectation){
        .least = state,
        .most = state,
        .epoch = lazy ? 0 : epoch,
        .forbidden = lazy ? epoch : 0,
    };
}

struct expectation expectation_of_clean(size_t state, uint64_t epoch)
{
    return (struct expectation){.least = state, .most = state, .epoch = epoch};
}

struct expectation expectation_while_opening(struct expectation expectation, bool lazy)
{
    if (lazy)
        expectation.epoch = 0;
    return expectation;
}

void close_dead(struct crash_disk *disk, struct engine *engine)
{
    crash_disk_kill(disk);
    engine_close(engine);
}

/* ---- verifying ---- */

static void tell_finding(void *context, const char *finding)
{
    char *first = context;
    if (first[0] == '\0')
        snprintf(first, 200, "%s", finding);
}

/* A power cut damages nothing: what it leaves, and what a recovery leaves of that, is clean. */
static void verify(struct trial *trial, struct crash_disk *disk, const char *what)
{
    char finding[200] = "";
    struct engine_verification found = {0};
    struct failure failure = {0};
    struct verify verify = {.disk = crash_disk_attach(disk),
                            .on_finding = tell_finding,
                            .context = finding,
                            .found = &found};
    enum status status = verify_run(&verify, &failure);
    disk_close(verify.disk);
    if (status != STATUS_OK && status != STATUS_NOT_FOUND) /* there may be no store yet */
        trial_broken(trial, what, finding[0] != '\0' ? finding : failure.message);
}

/* ---- recovering one state ---- */

static void follow_event(void *context, const struct engine_event *event)
{
    struct trial *trial = context;
    if (event->name == EVENT_JOURNAL_SEALED)
        trial->sealed = true;
    if (event->name == EVENT_JOURNAL_UNSEALED)
        trial->sealed = false;
}

static enum status open_disk(struct trial *trial, struct crash_disk *disk, bool lazy,
                             struct engine **out_engine, struct failure *failure)
{
    struct engine_options options = trial_options(trial, lazy);
    if (disk == trial->disk) { /* the life's own, not a copy that dies soon */
        options.on_event = follow_event;
        options.on_event_context = trial;
    }
    return local_open(&options, crash_disk_attach(disk), false, out_engine, failure);
}

static size_t recover(struct trial *trial, struct crash_disk *disk, bool lazy, const char *what,
                      const struct expectation *expectation, struct engine **out_engine)
{
    struct failure failure = {0};
    enum status status = open_disk(trial, disk, lazy, out_engine, &failure);
    if (status != STATUS_OK)
        trial_broken(trial, what,
                     failure.message[0] != '\0' ? failure.message : status_text(status));
    return identify(trial, *out_engine, what, expectation);
}

/*
 * With a disk that is full: either there is room enough for a start, or it is refused once reads
 * would be answered. What they would have shown, no power cut may take back.
 */
static void recover_full(struct trial *trial, struct crash_disk *disk, bool lazy, const char *what,
                         struct expectation *expectation)
{
    struct engine *engine;
    struct failure failure = {0};
    enum status status = open_disk(trial, disk, lazy, &engine, &failure);
    if (status == STATUS_OK) {
        size_t state = identify(trial, engine, what, expectation);
        *expectation = expectation_of(state, lazy, epoch_of(engine));
        close_dead(disk, engine);
    } else if (status != STATUS_NO_SPACE) {
        trial_broken(trial, what, failure.message);
    }
    crash_disk_limit(disk, CRASH_NO_LIMIT);
    if (status != STATUS_NO_SPACE)
        return;
    trial->starts_refused_for_room++;
    struct crash_disk *cut = crash_disk_cut(disk, false);
    struct crash_disk *kept = crash_disk_fork(disk);
    size_t state = recover(trial, kept, lazy, what, expectation, &engine);
    close_dead(kept, engine);
    expectation->least = expectation->most = state;
    recover(trial, cut, lazy, what, expectation, &engine);
    close_dead(cut, engine);
    crash_disk_close(kept);
    crash_disk_close(cut);
}

size_t trial_recover_as(struct trial *trial, struct crash_disk *disk, bool lazy, const char *what,
                        const struct expectation *expectation, struct engine **out_engine)
{
    struct expectation found = *expectation;
    verify(trial, disk, what);
    if (crash_disk_is_limited(disk))
        recover_full(trial, disk, lazy, what, &found);
    return recover(trial, disk, lazy, what, &found, out_engine);
}

size_t trial_recover(struct trial *trial, struct crash_disk *disk, bool lazy,
                     const struct expectation *expectation, struct engine **out_engine)
{
    struct engine *engine;
    size_t state = trial_recover_as(trial, disk, lazy, "recovered", expectation, &engine);
    if (out_engine != NULL) {
        *out_engine = engine;
    } else {
        engine_close(engine);
        verify(trial, disk, "closed");
    }
    return state;
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

/* Recovered once: recovers again, after the power fails or the process is killed. */
static void check_again(struct trial *trial, struct place *place, struct engine *engine,
                        size_t state, bool lazy, bool power)
{
    struct expectation again = expectation_of(state, lazy, epoch_of(engine));
    close_dead(place->disk, engine);
    struct crash_disk *disk = power ? crash_disk_cut(place->disk, false) : place->disk;
    trial_recover_as(trial, disk, lazy, place->what, &again, &engine);
    close_dead(disk, engine);
    if (power)
        crash_disk_close(disk);
}

/* Makes the room that a commit waits for, and deletes what has expired. */
static void housekeep(struct engine *engine, struct model *model)
{
    struct model_state swept = model_swept(model_newest(model));
    struct engine_health health;
    local_housekeep(engine);
    engine_health(engine, &health);
    if (health.sequence == swept.sequence && swept.sequence != model_newest(model)->sequence)
        model_add(model, swept);
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
    housekeep(engine, &own);
    enum status status = model_predict(model_newest(&own), &commit,
                                       trial->time.source.wall_ms(&trial->time.source), &after);
    assert_int_equal(status, STATUS_OK);
    status = model_run(engine, &commit, model_newest(&own), &after, epoch, trial_deadline_ns(trial),
                       &wrong);
    if (status != STATUS_OK || wrong != NULL)
        trial_broken(trial, place->what,
                     wrong != NULL ? wrong : "the recovered store takes no writes");
    model_add(&own, after);
    engine_close(engine);
    trial->model = own;
    struct expectation expectation = expectation_of_clean(own.count - 1, epoch);
    struct crash_disk *disk = crash_disk_cut(place->disk, false);
    trial_recover_as(trial, disk, lazy, place->what, &expectation, &engine);
    close_dead(disk, engine);
    crash_disk_close(disk);
    model_done(&own);
    trial->model = model;
}

static void check_cuts_while_opening(struct trial *trial, struct crash_disk *disk, bool lazy,
                                     struct expectation cut, struct expectation killed);

/* Crashed again while it recovers: what that leaves are states with numbers of their own. */
static bool is_deep(const struct trial *trial)
{
    return trial->states % DEEP_EVERY == 1 && trial->depth < DEPTH_MAX;
}

/* One of each share; or one alone, and those that may lead to it. */
static bool is_wanted(const struct trial *trial)
{
    if (trial->only == 0)
        return trial->states % trial->share == 0;
    return trial->only == trial->states || is_deep(trial);
}

static void check_state(struct place *place)
{
    struct trial *trial = place->trial;
    struct engine *engine;
    bool lazy = trial->mode == CRASH_MIXED ? trial->states % 2 : trial->mode == CRASH_INTERVAL;
    bool deep = is_deep(trial);
    struct crash_disk *copy = deep ? crash_disk_fork(place->disk) : NULL;
    size_t state =
        trial_recover_as(trial, place->disk, lazy, place->what, &place->expectation, &engine);
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
    const uint64_t parts[] = {crash_disk_hash(state.disk),  place->expectation.least,
                              place->expectation.most,      place->expectation.epoch,
                              place->expectation.forbidden, crash_disk_is_limited(state.disk)};
    if (!seen_before(trial, checksum64(parts, sizeof parts, 0))) {
        trial->states++;
        trial->states_by_phase[trial->phase]++;
        place->disk = state.disk;
        place->what = state.what;
        if (is_wanted(trial)) {
            trial->checked++;
            check_state(place);
        }
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
    enum crash_phase phase = trial->phase;
    trial->phase = PHASE_RECOVERY;
    crash_disk_watch(disk, check_cuts_here, &place);
    size_t state = trial_recover_as(trial, disk, lazy, "while recovering", &killed, &engine);
    crash_disk_watch(disk, NULL, NULL);
    struct expectation after = expectation_of(state, lazy, epoch_of(engine));
    trial_check_cuts(trial, disk, &after);
    close_dead(disk, engine);
    trial->phase = phase;
}

/* ---- killing ---- */

struct expectation expectation_killed(const struct trial *trial)
{
    struct expectation killed = trial->expectation;
    if (killed.least < trial->answered)
        killed.least = trial->answered;
    return killed;
}

void trial_check_kill(struct trial *trial)
{
    struct crash_disk *killed = crash_disk_fork(trial->disk);
    bool lazy = trial_choose_lazy(trial);
    trial->depth++;
    check_cuts_while_opening(trial, killed, lazy, trial->expectation, expectation_killed(trial));
    trial->depth--;
    crash_disk_close(killed);
}
