/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From method and path to an operation: the rows of routes.def, and what follows from them alone
 * (405, Allow, HEAD, OPTIONS).
 */
#ifndef KEYREST_API_ROUTER_H
#define KEYREST_API_ROUTER_H

#include <stdbool.h>
#include <stddef.h>

#include "../engine/bytes.h"

struct api;
struct exchange;
struct response;

/* The methods that HTTP/1.1 programs send (RFC 9110 section 9, RFC 5789); all others are unknown.
 */
#define METHODS(X) X(GET) X(HEAD) X(PUT) X(DELETE) X(POST) X(PATCH) X(OPTIONS) X(TRACE) X(CONNECT)

enum method {
#define X(name) METHOD_##name,
    METHODS(X)
#undef X
        METHOD_OTHER,
    METHOD_COUNT
};

/* Case counts. */
enum method method_find(const char *text);
const char *method_text(enum method method); /* METHOD_OTHER: "other" */
/* Whether it asks for no change (RFC 9110 section 9.2.1). */
bool method_is_safe(enum method method);

struct route {
    enum method method;
    const char *path;
    /* Checks what is known before the body; false: the request's problem is set. NULL: no body. */
    bool (*begin)(struct api *api, struct exchange *exchange);
    /* Fills the response, or sets the request's problem instead. */
    void (*finish)(struct api *api, struct exchange *exchange, struct response *out_response);
    const char *parameters;
};

/* The first row of `path`, or NULL; `out_tail` is what stands for its `{name}`, still encoded. */
const struct route *router_find(struct bytes path, struct bytes *out_tail);

/* The row of the same path that serves `method`; NULL: none does. HEAD is served by GET. */
const struct route *router_operation(const struct route *route, enum method method);

enum { ROUTER_ALLOW_BYTES = 64 };

/* The value of Allow for a route's path; NULL: for the service as a whole. */
void router_write_allow(const struct route *route, char out_text[static ROUTER_ALLOW_BYTES]);

/*
 * Paths are numbered for counters, from 0 to router_path_count() - 1; the last is "other", for
 * routes that are none (NULL). Some numbers stand for no path: router_path() is NULL there.
 */
size_t router_path_count(void);
size_t router_path_index(const struct route *route);
const char *router_path(size_t index);
extern const char router_other_path[];

/* The operations themselves, for contract tests: NULL past the last. */
const struct route *router_row(size_t index);

#endif
