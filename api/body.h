/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request's body on its way in: copied once, into room that the engine gave and counts, or
 * dropped when nobody wants it. What goes over the limit is swallowed for a while, so that the
 * client reads its refusal instead of a reset connection.
 */
#ifndef KEYREST_API_BODY_H
#define KEYREST_API_BODY_H

#include "../engine/engine.h"
#include "api.h"

enum { BODY_FIRST_BYTES = 16 << 10 }; /* the first room of a body without a length; it doubles */

/* Zero: no body, and room for none. */
struct body {
    struct engine_value *value; /* NULL: bytes are dropped */
    uint64_t limit;             /* lowered to what was received when the room cannot grow */
    uint64_t received;
    enum status failed; /* why the room could not grow */
};

/* Room for `length` bytes that were announced, or for the first of an unknown number. As
 * engine_value_open(). */
MUST_CHECK enum status body_open(struct engine *engine, struct body *body, struct bytes key,
                                 struct bytes meta, bool has_length, uint64_t length);

/* False: more than API_IGNORED_BODY_BYTES_MAX over the limit. */
MUST_CHECK bool body_take(struct engine *engine, struct body *body, const void *piece, size_t size);

static inline bool body_is_over(const struct body *body)
{
    return body->received > body->limit;
}

/* Gives the room back, if a commit did not take it over. */
void body_close(struct engine *engine, struct body *body);

#endif
