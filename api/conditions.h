/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preconditions (RFC 9110 section 13), in the order of section 13.2.2: If-Match and If-None-Match as
 * data for the engine, and where one of them is absent its date, If-Unmodified-Since or, of a read,
 * If-Modified-Since. The engine judges no dates: current.h.
 */
#ifndef KEYREST_API_CONDITIONS_H
#define KEYREST_API_CONDITIONS_H

#include "../engine/engine.h"
#include "headers.h"
#include "problem.h"

enum { CONDITIONS_TAGS_MAX = 16, CONDITIONS_MAX = 2 };

/* Points into itself: not to be copied. */
struct conditions {
    struct engine_condition items[CONDITIONS_MAX];
    uint32_t count;
    struct engine_version versions[CONDITIONS_MAX][CONDITIONS_TAGS_MAX];
    /* Unix seconds */
    bool has_unmodified_since, has_modified_since;
    int64_t unmodified_since, modified_since;
};

/* bad-condition. A malformed or repeated date is ignored, as sections 13.1.3 and 13.1.4 demand. */
MUST_CHECK bool conditions_read(const struct exchange *exchange, const struct headers *headers,
                                const struct time_source *time, struct conditions *out_conditions,
                                struct problem *problem);

/* Whether nothing is asked for. */
bool conditions_are_none(const struct conditions *conditions);

/*
 * Adds what a field's text says, read as the header `name` (If-Match or If-None-Match), which was not
 * read before.
 */
MUST_CHECK bool conditions_add(struct conditions *conditions, enum header_name name,
                               struct bytes text, struct problem *problem);

enum conditions_verdict {
    CONDITIONS_HOLD,
    CONDITIONS_FAILED,       /* 412 */
    CONDITIONS_NOT_MODIFIED, /* 304 for a read, 412 for a write */
};

/* Judges them for what a key has now (zero: absent, and then without a date). */
enum conditions_verdict conditions_judge(const struct conditions *conditions,
                                         const struct engine_item *current);

#endif
