/* SPDX-License-Identifier: Apache-2.0 */
/* Lives of a store, and every state in which a power cut or a kill could leave its journal. */
#include <inttypes.h>

#include "../lib/crash_trial.h"
#include "../lib/test.h"

enum { LIVES = 4, STEPS = 80, FIRST_SEED = 1 };

static void live(enum crash_mode mode)
{
    uint64_t seed = trial_seed_from_environment(0);
    uint64_t first = seed != 0 ? seed : FIRST_SEED, states = 0, rotations = 0;
    int lives = seed != 0 ? 1 : LIVES;
    for (int i = 0; i < lives; i++) {
        struct trial trial;
        trial_init(&trial, first + (uint64_t)i, mode);
        trial_live(&trial, STEPS);
        states += trial.states;
        rotations += trial.rotations;
        trial_done(&trial);
    }
    print_message("# %" PRIu64 " crash states, %" PRIu64 " rotations, seed %" PRIu64 " and on\n",
                  states, rotations, first);
    if (seed == 0)
        assert_true(rotations > 0);
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
    struct trial trial;
    trial_init(&trial, FIRST_SEED, CRASH_INTERVAL);
    trial_open(&trial);
    for (uint64_t i = 0; trial.rotations == 0; i++) {
        assert_true(i < 40);
        struct model_commit commit = {.count = 1};
        commit.operations[0] = (struct model_operation){
            .type = ENGINE_PUT, .key = i % MODEL_KEYS, .seed = i, .value_bytes = 8000};
        trial_idle(&trial, 0);
        trial_commit(&trial, &commit);
    }
    trial_kill(&trial);
    print_message("# %" PRIu64 " crash states\n", trial.states);
    trial_done(&trial);
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
    };
    return test_main(argc, argv, "crash_journal", tests);
}
