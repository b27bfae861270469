/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations of the disk that fail: the first, the second and so on, once or for ever, with a broken
 * or a full disk. A failed sync leaves in the cache what is not on the disk. Whatever the engine
 * answers must be true: after it, after a kill, and after a power cut.
 */
#include <inttypes.h>

#include "../../engine/local/local.h"
#include "../lib/crash_trial.h"
#include "../lib/test.h"

enum {
    STEPS = 24,
    FILL_COMMITS = 14,
    VALUE_BYTES = 8000,
    TICK_MS = 1100,
    RETRY_MS = 6000, /* what has failed is tried again */
    RETRIES = 4,
    JOURNAL_SEED = 5, /* lives of large values: all in the journal, or dumped often */
    DUMPS_SEED = 7,
    DEEP_EVERY = 11
};

struct fault_case {
    struct crash_fault fault;
    bool lazy;
    uint64_t seed;
};

static char *describe(const struct fault_case *fault_case)
{
    static char text[160];
    const struct crash_fault *fault = &fault_case->fault;
    snprintf(text, sizeof text, "operations %x, number %" PRIu64 "%s, %s, %s", fault->operations,
             fault->nth, fault->for_ever ? " and all after it" : "", status_text(fault->status),
             fault_case->lazy ? "interval" : "always");
    return text;
}

static void broken(const struct fault_case *fault_case, const char *wrong)
{
    fail_msg("%s: %s", describe(fault_case), wrong);
}

/* ---- what is left on the disk ---- */

/* Kills, starts again from the cache, and then loses the power: the disk must hold the same. */
static void check_restart(struct trial *trial)
{
    struct crash_disk *disk = crash_disk_fork(trial->disk);
    struct expectation killed = trial->expectation;
    if (killed.least < trial->answered)
        killed.least = trial->answered;
    struct engine *engine;
    size_t state = trial_recover(trial, disk, trial->lazy, &killed, &engine);
    crash_disk_kill(disk);
    engine_close(engine);
    struct expectation same = {.least = state, .most = state};
    struct crash_disk *cut = crash_disk_cut(disk, false);
    trial_recover(trial, cut, trial->lazy, &same, NULL);
    crash_disk_close(cut);
    crash_disk_close(disk);
}

/* The power fails: all that is pending is lost, or nothing. */
static void check_power(struct trial *trial)
{
    for (int keep = 0; keep < 2; keep++) {
        struct crash_disk *cut = crash_disk_cut(trial->disk, keep == 1);
        trial_recover(trial, cut, trial->lazy, &trial->expectation, NULL);
        crash_disk_close(cut);
    }
}

/* Every power cut where one fault struck; now and then every power cut inside a restart, too. */
static void check_disk(const struct fault_case *fault_case, struct trial *trial)
{
    if (fault_case->fault.for_ever)
        check_power(trial);
    else
        trial_check_cuts(trial, trial->disk, &trial->expectation);
    check_restart(trial);
    if (!fault_case->fault.for_ever && fault_case->fault.nth % DEEP_EVERY == 1)
        trial_check_kill(trial);
}

/* ---- while it serves ---- */

static bool is_not_applied(enum status status)
{
    return status == STATUS_BUSY || status == STATUS_NO_SPACE || status == STATUS_UNAVAILABLE ||
           status == STATUS_READ_ONLY;
}

/* Returns what the engine said; the model keeps what may have been applied. */
static enum status commit(const struct fault_case *fault_case, struct trial *trial, bool *unknown)
{
    struct model_commit wanted = model_make_commit(&trial->random, VALUE_BYTES);
    struct model_state before = trial->model.states[trial->answered], after;
    enum status predicted =
        model_predict(&before, &wanted, trial->time.source.wall_ms(&trial->time.source), &after);
    bool allowed = predicted == STATUS_OK;
    bool writes = allowed && after.sequence != before.sequence;
    const char *wrong;
    enum status status = model_run(trial->engine, &wanted, &before, allowed ? &after : NULL,
                                   trial->epoch, trial_deadline_ns(trial), &wrong);
    if (wrong != NULL)
        broken(fault_case, wrong);
    if (!is_not_applied(status) && status != STATUS_UNKNOWN && status != predicted)
        broken(fault_case, status_text(status));
    if (writes && (status == STATUS_OK || status == STATUS_UNKNOWN)) {
        trial->model.count = trial->answered + 1; /* an older one that was not settled is gone */
        model_add(&trial->model, after);
        trial->expectation.most = trial->answered + 1;
    }
    if (writes && status == STATUS_OK && *unknown)
        broken(fault_case, "a write is taken although the end of the journal is not known");
    *unknown = *unknown || status == STATUS_UNKNOWN;
    if (writes && status == STATUS_OK)
        trial->answered++;
    if (!trial->lazy)
        trial->expectation.least = trial->answered;
    wrong = model_compare(trial->engine, &trial->model.states[trial->answered], trial->epoch);
    if (wrong != NULL)
        broken(fault_case, wrong);
    return status;
}

static struct engine_health health_of(struct trial *trial)
{
    struct engine_health health;
    engine_health(trial->engine, &health);
    return health;
}

static void serve(const struct fault_case *fault_case, struct trial *trial)
{
    bool unknown = false;
    for (int i = 0; i < STEPS; i++) {
        manual_time_advance_ms(&trial->time, i % 8 == 7 ? TICK_MS : 30);
        local_housekeep(trial->engine);
        if (i % 8 == 7 && health_of(trial).oldest_unsynced_ms == 0) /* so it says */
            trial->expectation.least = trial->answered;
        commit(fault_case, trial, &unknown);
    }
}

/* The disk is well again: soon so are writes, unless the journal's end is not known. */
static void resume(const struct fault_case *fault_case, struct trial *trial)
{
    crash_disk_fail(trial->disk, (struct crash_fault){0});
    if (health_of(trial).state == ENGINE_READ_ONLY)
        return;
    bool unknown = false;
    enum status status = STATUS_BUSY;
    for (int i = 0; i < RETRIES; i++) {
        manual_time_advance_ms(&trial->time, RETRY_MS);
        local_housekeep(trial->engine);
        status = commit(fault_case, trial, &unknown);
    }
    if (status != STATUS_OK && status != STATUS_CONFLICT)
        fail_msg("%s: writes do not resume: %s; %s", describe(fault_case), status_text(status),
                 health_of(trial).reason);
}

static bool survives_while_serving(const struct fault_case *fault_case)
{
    struct trial trial;
    trial_init(&trial, fault_case->seed, fault_case->lazy ? CRASH_INTERVAL : CRASH_ALWAYS);
    trial.note = describe(fault_case);
    trial_start(&trial);
    crash_disk_fail(trial.disk, fault_case->fault);
    serve(fault_case, &trial);
    bool struck = crash_disk_failed(trial.disk);
    resume(fault_case, &trial);
    check_disk(fault_case, &trial);
    crash_disk_kill(trial.disk);
    engine_close(trial.engine);
    trial_done(&trial);
    return struck;
}

/* ---- while it starts ---- */

/* A store with a journal of two segments and a group that no later frame proves durable. */
static void fill(struct trial *trial, bool empty)
{
    trial_start(trial);
    for (int i = 0; i < (empty ? 0 : FILL_COMMITS); i++) {
        struct model_commit wanted = model_make_commit(&trial->random, VALUE_BYTES);
        trial_idle(trial, 0);
        trial_commit(trial, &wanted);
    }
    crash_disk_kill(trial->disk);
    engine_close(trial->engine);
}

static bool survives_while_starting(const struct fault_case *fault_case, bool absent, bool empty)
{
    struct trial trial;
    trial_init(&trial, fault_case->seed, fault_case->lazy ? CRASH_INTERVAL : CRASH_ALWAYS);
    trial.note = describe(fault_case);
    if (!absent)
        fill(&trial, empty);
    struct engine_options options = trial_options(&trial, fault_case->lazy);
    struct failure failure = {0};
    crash_disk_fail(trial.disk, fault_case->fault);
    enum status status =
        local_open(&options, crash_disk_attach(trial.disk), false, &trial.engine, &failure);
    bool struck = crash_disk_failed(trial.disk);
    crash_disk_fail(trial.disk, (struct crash_fault){0});
    if (status == STATUS_CORRUPT_LOG || status == STATUS_FORMAT)
        broken(fault_case, failure.message);
    if (status != STATUS_OK && failure.message[0] == '\0')
        broken(fault_case, "nothing says why the store does not open");
    crash_disk_kill(trial.disk);
    if (status == STATUS_OK)
        engine_close(trial.engine);
    if (absent) /* whatever epoch it had, nobody was given an answer */
        trial.expectation = (struct expectation){0};
    check_disk(fault_case, &trial);
    trial_done(&trial);
    return struck;
}

/* ---- every fault ---- */

enum scene { SERVING, MAKING, STARTING_EMPTY, RECOVERING };

static bool run(const struct fault_case *fault_case, enum scene scene)
{
    return scene == SERVING
               ? survives_while_serving(fault_case)
               : survives_while_starting(fault_case, scene == MAKING, scene == STARTING_EMPTY);
}

/* Every `stride`th, once, with a broken disk in always mode; a quarter of them of the other kinds. */
static unsigned each_fault(unsigned operation, enum scene scene, uint64_t seed, unsigned stride)
{
    unsigned cases = 0;
    for (unsigned i = 0; i < 8; i++) {
        struct fault_case fault_case = {
            .fault = {.operations = operation,
                      .nth = 1,
                      .for_ever = (i & 1) != 0,
                      .status = (i & 2) != 0 ? STATUS_NO_SPACE : STATUS_IO},
            .lazy = (i & 4) != 0,
            .seed = seed,
        };
        if (operation == CRASH_READ && fault_case.fault.status != STATUS_IO)
            continue; /* reading needs no room */
        for (; run(&fault_case, scene); fault_case.fault.nth += i == 0 ? stride : 4 * stride)
            cases++;
    }
    return cases;
}

static void each_operation(enum scene scene, uint64_t seed, unsigned stride)
{
    unsigned cases = 0;
    /* A running store that cannot read a table it has just written ends itself. */
    unsigned last = scene == SERVING ? CRASH_TRUNCATE : CRASH_READ;
    for (unsigned operation = CRASH_WRITE; operation <= last; operation <<= 1)
        cases += each_fault(operation, scene, trial_seed_from_environment(seed), stride);
    print_message("# %u faults\n", cases);
}

static void answers_stay_true_while_the_disk_fails(void **state)
{
    (void)state;
    each_operation(SERVING, JOURNAL_SEED, 1);
    each_operation(SERVING, DUMPS_SEED, 8);
}

static void making_a_store_may_fail_at_any_point(void **state)
{
    (void)state;
    each_operation(MAKING, JOURNAL_SEED, 1);
}

static void starting_an_empty_store_may_fail_at_any_point(void **state)
{
    (void)state;
    each_operation(STARTING_EMPTY, JOURNAL_SEED, 1);
}

static void recovery_may_fail_at_any_point(void **state)
{
    (void)state;
    each_operation(RECOVERING, JOURNAL_SEED, 1);
    each_operation(RECOVERING, DUMPS_SEED, 8);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("answers stay true while the disk fails", answers_stay_true_while_the_disk_fails),
        TEST("making a store may fail at any point", making_a_store_may_fail_at_any_point),
        TEST("starting an empty store may fail at any point",
             starting_an_empty_store_may_fail_at_any_point),
        TEST("recovery may fail at any point", recovery_may_fail_at_any_point),
    };
    return test_main(argc, argv, "crash_faults", tests);
}
