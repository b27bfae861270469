/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a key is to expire, as a request says it: after a time from now, at a time, or as what it
 * replaces did. A time from now counts from the commit, not from the request's head.
 */
#ifndef KEYREST_API_EXPIRY_H
#define KEYREST_API_EXPIRY_H

#include "duration.h"
#include "target.h"
#include "timestamp.h"

enum expiry_kind { EXPIRY_NEVER, EXPIRY_AFTER, EXPIRY_AT, EXPIRY_KEPT };

struct expiry {
    enum expiry_kind kind;
    int64_t ms; /* AFTER: from now; AT: wall time */
};

#define EXPIRY_AT_SHAPE                                                                            \
    "a time to come, as RFC 3339 writes it, such as 2030-01-31T12:00:00Z, up to the year 9999"

/* What one text says of it, at `now_ms`. False: it is not DURATION_SHAPE, or not EXPIRY_AT_SHAPE. */
bool expiry_read_after(struct bytes text, int64_t now_ms, struct expiry *out_expiry);
bool expiry_read_at(struct bytes text, int64_t now_ms, struct expiry *out_expiry);

/* By the parameters `ttl` and `expires-at`; without one: NEVER. bad-parameter. */
MUST_CHECK bool expiry_read(const struct parameters *parameters, int64_t now_ms,
                            struct expiry *out_expiry, struct problem *problem);

/* As the engine has it: 0 is never. `replaced_ms`: of the version that is replaced. */
int64_t expiry_ms(const struct expiry *expiry, int64_t now_ms, int64_t replaced_ms);

#endif
