/* SPDX-License-Identifier: Apache-2.0 */
/* What a life and those who look at its states share; tests include crash_trial.h. */
#ifndef KEYREST_TESTS_LIB_CRASH_CHECK_H
#define KEYREST_TESTS_LIB_CRASH_CHECK_H

#include "crash_trial.h"

/* Fails the test, and says how to run the state alone. */
void trial_broken(const struct trial *trial, const char *what, const char *wrong);

bool trial_choose_lazy(struct trial *trial);

/*
 * As trial_recover(); `what` is told when it fails. The state is verified before. On a full disk the
 * start may be refused: then it is made again with room.
 */
size_t trial_recover_as(struct trial *trial, struct crash_disk *disk, bool lazy, const char *what,
                        const struct expectation *expectation, struct engine **out_engine);

/* Ends an engine as a kill does. */
void close_dead(struct crash_disk *disk, struct engine *engine);

uint64_t epoch_of(struct engine *engine);

/* What holds after a crash of the process that has recovered `state`, and after a clean stop. */
struct expectation expectation_of(size_t state, bool lazy, uint64_t epoch);
struct expectation expectation_of_clean(size_t state, uint64_t epoch);

/* While a store is opened: in interval mode it may count as unclean as soon as its LINK is there. */
struct expectation expectation_while_opening(struct expectation expectation, bool lazy);

/* What a killed process leaves in the cache: all that it was answered. */
struct expectation expectation_killed(const struct trial *trial);

#endif
