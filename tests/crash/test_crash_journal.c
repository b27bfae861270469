/* SPDX-License-Identifier: Apache-2.0 */
/* Lives of a store, and every state in which a power cut or a kill could leave its journal. */
#include <inttypes.h>

#include "../lib/crash_trial.h"
#include "../lib/test.h"

enum {
    LIVES = 4,  /* of each mode */
    STEPS = 90, /* KEYREST_CRASH_STEPS=1000 makes them long */
    FIRST_SEED = 1,
    STATES_LEAST = 100000
};

/* Of all lives of this run. */
static struct {
    bool lived[CRASH_MODES];
    uint64_t checked, by_phase[PHASE_COUNT], refused, starts_refused, changes_told;
} seen;

static void add(const struct trial *trial)
{
    seen.checked += trial->checked;
    seen.refused += trial->refused_for_room;
    seen.starts_refused += trial->starts_refused_for_room;
    seen.changes_told += trial->changes_told;
    for (int phase = 0; phase < PHASE_COUNT; phase++)
        seen.by_phase[phase] += trial->states_by_phase[phase];
}

static int steps(void)
{
    const char *wanted = getenv("KEYREST_CRASH_STEPS");
    return wanted != NULL ? atoi(wanted) : STEPS;
}

static void live(enum crash_mode mode)
{
    uint64_t seed = trial_seed_from_environment(0), before = seen.checked;
    uint64_t first = seed != 0 ? seed : FIRST_SEED;
    int lives = seed != 0 ? 1 : LIVES;
    for (int i = 0; i < lives; i++) {
        struct trial trial;
        trial_init(&trial, first + (uint64_t)i, mode);
        trial_live(&trial, steps());
        add(&trial);
        trial_done(&trial);
    }
    seen.lived[mode] = true;
    print_message("# %" PRIu64 " crash states checked, seed %" PRIu64 " and on\n",
                  seen.checked - before, first);
}

static void always_keeps_what_was_answered(void **state)
{
    (void)state;
    live(CRASH_ALWAYS);
}

static void interval_keeps_a_prefix(void **state)
{
    (void)state;
    live(CRASH_INTERVAL);
}

static void the_mode_may_change_between_starts(void **state)
{
    (void)state;
    live(CRASH_MIXED);
}

/* Nothing else makes the segment durable that it leaves. */
static void a_rotation_between_two_syncs_leaves_no_hole(void **state)
{
    (void)state;
    enum { COMMITS = 24 }; /* of one segment, and of the next until what is between them matters */
    struct trial trial;
    trial_init(&trial, FIRST_SEED, CRASH_INTERVAL);
    trial_open(&trial);
    for (uint64_t i = 0; i < COMMITS; i++) {
        struct model_commit commit = {.count = 1};
        commit.operations[0] = (struct model_operation){
            .type = ENGINE_PUT, .key = i % MODEL_KEYS, .seed = i, .value_bytes = 8000};
        trial_idle(&trial, 0);
        trial_commit(&trial, &commit);
    }
    trial_kill(&trial);
    assert_true(trial.states_by_phase[PHASE_ROTATION] > 0);
    print_message("# %" PRIu64 " crash states checked\n", trial.checked);
    trial_done(&trial);
}

static bool is_whole_run(void)
{
    return getenv("KEYREST_CRASH_SEED") == NULL && steps() >= STEPS && trial_share() == 1;
}

/* Runs last, so that the lives have been lived. */
static void nothing_was_left_out(void **state)
{
    (void)state;
    for (int mode = 0; mode < CRASH_MODES; mode++)
        if (!seen.lived[mode])
            live((enum crash_mode)mode);
    print_message("# states by phase:");
    for (int phase = 0; phase < PHASE_COUNT; phase++)
        print_message(" %s %" PRIu64 ",", crash_phase_text((enum crash_phase)phase),
                      seen.by_phase[phase]);
    print_message(" checked %" PRIu64 "\n# refused for want of room: %" PRIu64 " commits, %" PRIu64
                  " starts\n# changes told: %" PRIu64 "\n",
                  seen.checked, seen.refused, seen.starts_refused, seen.changes_told);
    if (!is_whole_run())
        return;
    for (int phase = 0; phase < PHASE_COUNT; phase++)
        if (seen.by_phase[phase] == 0)
            fail_msg("no life met %s", crash_phase_text((enum crash_phase)phase));
    assert_true(seen.checked >= STATES_LEAST);
    assert_true(seen.refused > 0 && seen.starts_refused > 0);
    assert_true(seen.changes_told > seen.checked);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("always mode keeps what was answered", always_keeps_what_was_answered),
        TEST("interval mode keeps a prefix, and all of it when only the process dies",
             interval_keeps_a_prefix),
        TEST("the mode may change between starts", the_mode_may_change_between_starts),
        TEST("a rotation between two syncs leaves no hole",
             a_rotation_between_two_syncs_leaves_no_hole),
        TEST("power cuts are met in every phase", nothing_was_left_out),
    };
    return test_main(argc, argv, "crash_journal", tests);
}
