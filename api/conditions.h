/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preconditions (RFC 9110 section 13) as data for the engine: If-Match and If-None-Match, in the
 * order of section 13.2.2. Values have no date here, so that If-Modified-Since and
 * If-Unmodified-Since are ignored, as sections 13.1.3 and 13.1.4 demand.
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
};

/* bad-condition. `out_conditions->count` is 0 when none was sent. */
MUST_CHECK bool conditions_read(const struct exchange *exchange, const struct headers *headers,
                                struct conditions *out_conditions, struct problem *problem);

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

/* Judges them for a key whose version is `current` (sequence 0: absent). */
enum conditions_verdict conditions_judge(const struct conditions *conditions,
                                         struct engine_version current);

#endif
