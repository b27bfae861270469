/* SPDX-License-Identifier: Apache-2.0 */
/* The table of refusals, and which row answers which engine status. */
#include "problem.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct problem_row rows[] = {
#define X(name, code, status, retry_after_s, title, hint)                                          \
    [PROBLEM_##name] = {code, status, retry_after_s, title, hint},
#include "problem.def"
};

const struct problem_row *problem_row(enum problem_code code)
{
    assert(code != PROBLEM_NONE && code < PROBLEM_COUNT);
    return &rows[code];
}

enum problem_code problem_find(struct bytes text)
{
    for (enum problem_code code = PROBLEM_NONE + 1; code < PROBLEM_COUNT; code++)
        if (bytes_equal(bytes_of(rows[code].code), text))
            return code;
    return PROBLEM_NONE;
}

enum problem_code problem_of_status(enum status status)
{
    switch (status) {
    case STATUS_OK:
        return PROBLEM_NONE;
    case STATUS_NOT_FOUND:
        return PROBLEM_KEY_NOT_FOUND;
    case STATUS_CONFLICT:
        return PROBLEM_PRECONDITION_FAILED;
    case STATUS_NOT_A_NUMBER:
        return PROBLEM_NOT_A_NUMBER;
    case STATUS_TOO_LARGE:
        return PROBLEM_VALUE_TOO_LARGE;
    case STATUS_BUSY:
        return PROBLEM_BUSY;
    case STATUS_LOADING:
        return PROBLEM_LOADING;
    case STATUS_UNAVAILABLE:
        return PROBLEM_WRITE_NOT_APPLIED;
    case STATUS_UNKNOWN:
        return PROBLEM_OUTCOME_UNKNOWN;
    case STATUS_READ_ONLY:
        return PROBLEM_READ_ONLY;
    case STATUS_NO_SPACE:
        return PROBLEM_DISK_FULL;
    case STATUS_NO_MEMORY:
        return PROBLEM_MEMORY_FULL;
    case STATUS_CORRUPT:
        return PROBLEM_DATA_CORRUPT;
    case STATUS_RUNNING:
        return PROBLEM_COMPACTION_RUNNING;
    case STATUS_UNSUPPORTED:
        return PROBLEM_UNSUPPORTED;
    case STATUS_CANCELLED: /* whose client still listens, was cancelled by a stop */
        return PROBLEM_DRAINING;
    case STATUS_INVALID: /* none of these answers a read or a write of one key */
    case STATUS_GONE:
    case STATUS_LOCKED:
    case STATUS_CORRUPT_LOG:
    case STATUS_FORMAT:
    case STATUS_IO:
        return PROBLEM_INTERNAL;
    }
    return PROBLEM_INTERNAL;
}

bool problem_set(struct problem *problem, enum problem_code code)
{
    problem->code = code;
    problem->detail[0] = '\0';
    problem->pointer[0] = '\0';
    problem->member_count = 0;
    return false;
}

bool problem_set_detail(struct problem *problem, enum problem_code code, const char *format, ...)
{
    problem_set(problem, code);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(problem->detail, sizeof problem->detail, format, arguments);
    va_end(arguments);
    return false;
}

void problem_done(struct problem *problem)
{
    free(problem->failed);
    problem->failed = NULL;
    problem->failed_count = 0;
}

unsigned problem_retry_after_s(const struct problem *problem)
{
    return problem->retry_after_s > 0 ? problem->retry_after_s
                                      : problem_row(problem->code)->retry_after_s;
}

void problem_add_number(struct problem *problem, const char *name, uint64_t number)
{
    assert(problem->member_count < PROBLEM_MEMBERS_MAX);
    problem->members[problem->member_count++] = (struct problem_member){name, number};
}
