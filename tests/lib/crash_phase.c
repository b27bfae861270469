/* SPDX-License-Identifier: Apache-2.0 */
/* Names of files, and what is done to them. */
#include "crash_phase.h"

#include <stdio.h>
#include <string.h>

static bool is(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

static enum crash_phase spare_phase(const struct crash_course *course)
{
    return course->recycling ? PHASE_RECYCLING : PHASE_PREPARATION;
}

static enum crash_phase journal_phase(struct crash_course *course, const struct crash_last *last)
{
    if (last->operation == CRASH_WRITE) {
        course->rotating = course->active[0] != '\0' && strcmp(course->active, last->name) != 0;
        snprintf(course->active, sizeof course->active, "%s", last->name);
    }
    return course->rotating ? PHASE_ROTATION : PHASE_JOURNAL;
}

static enum crash_phase phase_of(struct crash_course *course, const struct crash_last *last,
                                 bool compacting)
{
    if (last->operation == CRASH_SYNC_DIRECTORY)
        return course->phase;
    if (last->operation == CRASH_RENAME && is(last->name, "journal-"))
        course->recycling = true;
    if (last->operation == CRASH_CREATE && is(last->name, "spare-"))
        course->recycling = false;
    if (is(last->name, "spare-") || is(last->to, "spare-"))
        return spare_phase(course);
    if (last->operation == CRASH_REMOVE)
        return PHASE_REMOVAL;
    if (is(last->name, "MANIFEST"))
        return PHASE_EDIT;
    if (is(last->name, "table-"))
        return compacting ? PHASE_COMPACTION : PHASE_DUMP;
    return journal_phase(course, last);
}

void crash_course_follow(struct crash_course *course, const struct crash_last *last,
                         bool compacting)
{
    course->phase = phase_of(course, last, compacting);
}

const char *crash_phase_text(enum crash_phase phase)
{
    static const char *const texts[PHASE_COUNT] = {
        [PHASE_RECOVERY] = "recovery",
        [PHASE_JOURNAL] = "journal",
        [PHASE_PREPARATION] = "preparation",
        [PHASE_RECYCLING] = "recycling",
        [PHASE_ROTATION] = "rotation",
        [PHASE_SEALING] = "sealing",
        [PHASE_DUMP] = "dump",
        [PHASE_COMPACTION] = "compaction",
        [PHASE_EDIT] = "edit",
        [PHASE_REMOVAL] = "removal",
        [PHASE_FULL_DISK] = "full disk",
        [PHASE_STOP] = "stop",
    };
    return texts[phase];
}
