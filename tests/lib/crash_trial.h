/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One seeded life of a store on a disk that can lose power: commits, keys that expire, idle times,
 * compactions, clean stops, kills, power cuts, writes and syncs that fail, and times in which the disk
 * is full, with the real engine. Behind every operation on the disk all states that a power cut could
 * leave are verified, recovered and compared with the model:
 *
 * (a) every answered commit is there; (b) the store is as it was after some commit, and nothing is
 * invented: only the one under way may go either way; (c) commits whole or absent, since only whole
 * ones are states; (d) recovering again, killed or cut in between, changes nothing; (e) every key
 * verifies, with the version that was answered; (f) the feed of changes, from wherever it is still
 * kept, tells these commits and nothing else. In interval mode what was answered after the last
 * sync may be lost with the power, but not with the process, and the epoch is then a new one.
 *
 * A failure prints how to run its state alone. One thread.
 */
#ifndef KEYREST_TESTS_LIB_CRASH_TRIAL_H
#define KEYREST_TESTS_LIB_CRASH_TRIAL_H

#include "crash_phase.h"
#include "manual_time.h"
#include "store_model.h"

enum crash_mode { CRASH_ALWAYS, CRASH_INTERVAL, CRASH_MIXED, CRASH_MODES };

/* What a recovery may find. */
struct expectation {
    size_t least, most; /* states of the model */
    uint64_t epoch;     /* 0: any but `forbidden` */
    uint64_t forbidden; /* 0: none */
};

struct trial {
    uint64_t seed;
    enum crash_mode mode;
    const char *note; /* what else a failure should say */
    uint64_t random;
    struct manual_time time;
    struct crash_disk *disk;
    struct model model;
    /* the process that runs, when there is one */
    struct engine *engine;
    bool lazy;
    uint64_t epoch;
    size_t answered; /* state of the model that every answer so far belongs to */
    /* after a power cut now */
    struct expectation expectation;
    /* what it is doing */
    struct crash_course course;
    bool sealed;   /* its journal */
    bool unknown;  /* the outcome of its last commit */
    bool stopping; /* cleanly */
    enum crash_phase phase;
    /* states seen */
    uint64_t *seen;
    size_t seen_capacity;
    uint64_t states, states_by_phase[PHASE_COUNT], checked;
    uint64_t changes_told; /* by the feeds of all states */
    uint64_t refused_for_room, starts_refused_for_room;
    uint64_t only; /* check this one alone; 0: one of `share` */
    unsigned share;
    unsigned depth;
};

void trial_init(struct trial *trial, uint64_t seed, enum crash_mode mode);
void trial_done(struct trial *trial);

/* Options of a store whose segments hold a dozen commits. */
struct engine_options trial_options(const struct trial *trial, bool lazy);

/* The deadline of a commit that should not wait: soon. */
uint64_t trial_deadline_ns(const struct trial *trial);

/* KEYREST_CRASH_SHARE: a run tries one of so many cases; else all. */
unsigned trial_share(void);

/* KEYREST_CRASH_SEED, or `otherwise`. */
uint64_t trial_seed_from_environment(uint64_t otherwise);

/* A whole life of `steps`, every state checked. */
void trial_live(struct trial *trial, int steps);

/* The parts of which a life is made. Each fails the test where the engine breaks a promise. */
void trial_open(struct trial *trial);
void trial_start(struct trial *trial); /* opens without looking at each state */
void trial_commit(struct trial *trial, const struct model_commit *commit);
void trial_idle(struct trial *trial, uint64_t ms); /* the clocks move, housekeeping runs */
void trial_compact(struct trial *trial);
void trial_fault(struct trial *trial); /* one write or sync fails while it commits */
void trial_fill(struct trial *trial);  /* the disk is full while it commits */
void trial_close(struct trial *trial);
void trial_kill(struct trial *trial); /* and start again */
void trial_cut(struct trial *trial);  /* a power cut into one of the states, and start again */

/*
 * Recovers `disk` (its cache), which must be as expected, and returns the state that it is in.
 * `*out_engine` (NULL: closed again) is then open on it.
 */
size_t trial_recover(struct trial *trial, struct crash_disk *disk, bool lazy,
                     const struct expectation *expectation, struct engine **out_engine);

/* Checks all states that a power cut could leave of `disk` now. */
void trial_check_cuts(struct trial *trial, struct crash_disk *disk,
                      const struct expectation *expectation);

/*
 * Kills the process on a copy of the disk, recovers from what the cache holds, and checks what a
 * power cut leaves behind each operation of that recovery.
 */
void trial_check_kill(struct trial *trial);

#endif
