/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a listing asks for, from parameters or from a cursor, and the cursor that goes on from where a
 * page ended. A cursor names a position, not an iterator: it stays good over restarts, and carries the
 * whole query.
 */
#ifndef KEYREST_API_QUERY_H
#define KEYREST_API_QUERY_H

#include "../engine/engine.h"
#include "problem.h"
#include "target.h"

enum { QUERY_LIMIT_MAX = 1000, QUERY_LIMIT_STANDARD = 100 };

enum query_field {
    QUERY_ETAG = 1 << 0,
    QUERY_SIZE = 1 << 1,
    QUERY_CONTENT_TYPE = 1 << 2,
    QUERY_MODIFIED = 1 << 3,
    QUERY_EXPIRES = 1 << 4,
    QUERY_VALUE = 1 << 5,
    QUERY_KEY = 1 << 6, /* always there: to ask for it alone */
    QUERY_FIELDS_STANDARD = QUERY_VALUE - 1,
};

/* Texts that are views of `memory`. */
struct query {
    struct engine_range range; /* what is left of it */
    struct bytes prefix, delimiter;
    uint32_t limit;
    uint32_t fields; /* of enum query_field */
    unsigned char *memory;
};

/*
 * Reads the parameters: a cursor alone, or any of prefix start end reverse delimiter limit fields.
 * bad-parameter, cursor-bad, cursor-gone (of another epoch), memory-full. query_done() after all.
 */
MUST_CHECK bool query_read(const struct parameters *parameters, const struct engine_limits *limits,
                           uint64_t epoch, struct query *out_query, struct problem *problem);
void query_done(struct query *query);

/* The parameters of other queries that are the same: a number of items; a flag; bytes of keys. */
MUST_CHECK bool query_read_limit(const struct parameters *parameters, uint32_t *out_limit,
                                 struct problem *problem);
MUST_CHECK bool query_read_flag(const struct parameters *parameters, const char *name,
                                bool *out_flag, struct problem *problem);
MUST_CHECK bool query_accept_length(struct bytes text, const char *name, uint32_t key_bytes_max,
                                    struct problem *problem);

/* The cursor for what is left of the query, malloc'ed; NULL: no memory. */
char *query_write_cursor(const struct query *query, uint64_t epoch);

/* The least key behind all keys that begin with `prefix`, written over it; its size, 0: there is none. */
size_t query_successor(unsigned char *prefix, size_t size);

#endif
