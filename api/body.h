/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request's body on its way in: a value, copied once into room that the engine gave and counts; or
 * a text that is read when it is whole, in a buffer of its own; or dropped when nobody wants it. What
 * goes over the limit is swallowed for a while, so that the client reads its refusal instead of a
 * reset connection.
 */
#ifndef KEYREST_API_BODY_H
#define KEYREST_API_BODY_H

#include "../engine/engine.h"
#include "api.h"
#include "text_budget.h"

enum { BODY_FIRST_BYTES = 16 << 10 }; /* the first room of a body without a length; it doubles */

/* Zero: no body, and room for none. */
struct body {
    struct engine_value *value; /* the room of a value */
    unsigned char *text;        /* the room of a text; both NULL: bytes are dropped */
    uint64_t text_capacity;
    struct text_budget *budget; /* a text's; NULL: it is none */
    uint64_t limit;             /* lowered to what was received when the room cannot grow */
    uint64_t received;
    enum status failed; /* why the room could not grow */
};

/* Room for `length` bytes that were announced, or for the first of an unknown number. As
 * engine_value_open(). */
MUST_CHECK enum status body_open(struct engine *engine, struct body *body, struct bytes key,
                                 struct bytes meta, bool has_length, uint64_t length);

/* The first room of a text of at most `limit` bytes. BUSY: others fill the budget. NO_MEMORY. */
MUST_CHECK enum status body_open_text(struct body *body, struct text_budget *budget,
                                      uint64_t limit);

/* False: more than API_IGNORED_BODY_BYTES_MAX over the limit. */
MUST_CHECK bool body_take(struct engine *engine, struct body *body, const void *piece, size_t size);

static inline bool body_is_over(const struct body *body)
{
    return body->received > body->limit;
}

static inline bool body_is_wanted(const struct body *body)
{
    return body->value != NULL || body->text != NULL;
}

/* A whole text, until the body is closed. */
static inline struct bytes body_text(const struct body *body)
{
    return (struct bytes){body->text, (size_t)body->received};
}

/* Gives the room back, if a commit did not take it over. */
void body_close(struct engine *engine, struct body *body);

#endif
