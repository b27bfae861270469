/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Refusals: the rows of problem.def, and one occurrence of a row with what is particular to it.
 * Rendering is codec.h's (the JSON of RFC 9457) and reply.h's (the response around it).
 */
#ifndef KEYREST_API_PROBLEM_H
#define KEYREST_API_PROBLEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../engine/bytes.h"
#include "../engine/scope.h"
#include "../engine/status.h"
#include "etag.h"

enum problem_code {
    PROBLEM_NONE,
#define X(name, code, status, retry_after_s, title, hint) PROBLEM_##name,
#include "problem.def"
    PROBLEM_COUNT
};

struct problem_row {
    const char *code;
    unsigned status;
    unsigned retry_after_s;
    const char *title, *hint;
};

/* Not for PROBLEM_NONE. */
const struct problem_row *problem_row(enum problem_code code);

/* The row whose code is `text`, or PROBLEM_NONE. */
enum problem_code problem_find(struct bytes text);

/* How the HTTP layer answers an engine's status other than OK. */
enum problem_code problem_of_status(enum status status);

enum { PROBLEM_MEMBERS_MAX = 4, PROBLEM_DETAIL_BYTES = 640, PROBLEM_POINTER_BYTES = 100 };

/* An extension member. */
struct problem_member {
    const char *name; /* static */
    uint64_t number;
};

/* One operation of a batch whose condition does not hold. */
struct problem_failed {
    uint32_t index;
    struct bytes key;
    struct engine_version version; /* the current one; sequence 0: absent */
};

/* One refusal. Zero: none yet. */
struct problem {
    enum problem_code code;
    unsigned retry_after_s;              /* overrides the row's when not 0 */
    char detail[PROBLEM_DETAIL_BYTES];   /* empty: the row's hint */
    char etag[ETAG_BYTES];               /* the current version; empty: none to tell */
    char oldest[ETAG_BYTES];             /* where changes still begin; empty: none to tell */
    char pointer[PROBLEM_POINTER_BYTES]; /* into a JSON body (RFC 6901); empty: none to tell */
    struct problem_failed *failed;       /* one allocation, with the keys in it; NULL: none */
    size_t failed_count;
    struct problem_member members[PROBLEM_MEMBERS_MAX];
    size_t member_count;
};

/*
 * Sets the code, with the row's hint or with a detail of its own; members are added afterwards.
 * Always false, so that a check reads `return problem_set(...)`.
 */
bool problem_set(struct problem *problem, enum problem_code code);
bool problem_set_detail(struct problem *problem, enum problem_code code, const char *format, ...)
    PRINTF(3, 4);

/* Frees what it holds. */
void problem_done(struct problem *problem);

/* Seconds after which asking again may help; 0: never. */
unsigned problem_retry_after_s(const struct problem *problem);

void problem_add_number(struct problem *problem, const char *name, uint64_t number);

#endif
