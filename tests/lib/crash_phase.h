/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a store was doing when the power failed: told from the operations that its disk saw, so that
 * a test can show that it looked at each. One thread.
 */
#ifndef KEYREST_TESTS_LIB_CRASH_PHASE_H
#define KEYREST_TESTS_LIB_CRASH_PHASE_H

#include "crash_disk.h"

enum crash_phase {
    PHASE_RECOVERY,
    PHASE_JOURNAL,     /* a group, or a mark, into the active segment */
    PHASE_PREPARATION, /* a segment is made ready from a new file */
    PHASE_RECYCLING,   /* or from one that is needed no more */
    PHASE_ROTATION,    /* the first write into the next segment, and its sync */
    PHASE_SEALING,     /* from a failed write or sync of the journal until it goes on */
    PHASE_DUMP,
    PHASE_COMPACTION,
    PHASE_EDIT, /* of the manifest */
    PHASE_REMOVAL,
    PHASE_FULL_DISK, /* whatever of these, with a disk that is full */
    PHASE_STOP,
    PHASE_COUNT
};

/* What has been seen; zero at first, and once the process is another one. */
struct crash_course {
    bool recycling;
    bool rotating;
    char active[64]; /* the segment that was written last */
    enum crash_phase phase;
};

/* Follows one operation. `compacting`: a table that is written now is a compaction's. */
void crash_course_follow(struct crash_course *course, const struct crash_last *last,
                         bool compacting);

const char *crash_phase_text(enum crash_phase phase);

#endif
