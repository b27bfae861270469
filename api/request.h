/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the handlers share: the api itself, and what is known of one request. A request lies in its
 * exchange's memory, from api_begin() to api_end(); one thread drives it.
 */
#ifndef KEYREST_API_REQUEST_H
#define KEYREST_API_REQUEST_H

#include <stdatomic.h>

#include "../engine/engine.h"
#include "api.h"
#include "body.h"
#include "conditions.h"
#include "expiry.h"
#include "framing.h"
#include "gate.h"
#include "headers.h"
#include "metrics.h"
#include "problem.h"
#include "router.h"
#include "target.h"
#include "told.h"

struct api {
    /* set at open, then constant */
    struct engine *engine;
    struct api_options options;
    struct metrics *metrics;
    struct bytes plain_problems[PROBLEM_COUNT]; /* bodies of refusals without particulars */
    struct text_budget texts;                   /* JSON with values, in and out */
    struct gate feeds;                          /* those who read changes */
    struct told_tail tail;                      /* the latest that were told */
    /* atomic: set by api_drain, read by every request; relaxed, it carries no data */
    atomic_bool draining;
    /* atomic: requests that wait for changes, counted by each of them; relaxed: a number alone */
    _Atomic uint64_t watchers;
};

struct api_request {
    enum method method;
    const struct route *route;     /* of the path; NULL: other */
    const struct route *operation; /* of path and method; NULL: OPTIONS */
    struct headers headers;
    struct framing framing;
    struct target target;
    struct bytes tail; /* of the path: what stands for the route's `{name}`, still encoded */
    struct bytes key;
    struct parameters parameters;
    struct conditions conditions;
    struct expiry expiry;  /* put */
    bool returns_previous; /* put, delete: the answer is the value that was there */
    struct body body;
    struct problem problem;  /* set: this is the answer */
    uint64_t waited_ns;      /* for changes: no part of how long the answer took */
    unsigned char decoded[]; /* key and parameters */
};

/* Whether the service is stopping. */
bool request_is_draining(const struct api *api, const struct exchange *exchange);

/* Sets the problem that answers an engine's status, with the figures that help. Always false. */
bool request_fail(const struct api *api, struct api_request *request, enum status status);

/* The same for a body that is over its limit, or had no room. */
bool request_fail_body(const struct api *api, struct api_request *request);

/* Charges what values take that are told as JSON. False: others hold too much; the problem is set. */
MUST_CHECK bool request_charge_values(struct api *api, struct api_request *request,
                                      uint64_t value_bytes, uint64_t *out_charged);

/* The largest text that is taken as a body. */
uint64_t request_text_bytes_max(const struct api *api);

/* Begins to receive a JSON body of at most that size. media-type, batch-too-large, busy, memory-full. */
MUST_CHECK bool request_begin_json(struct api *api, struct api_request *request);

/* Reads the request's conditions. bad-condition. */
MUST_CHECK bool request_read_conditions(const struct api *api, struct exchange *exchange);

/* The problem of a condition that does not hold: tells the current version. */
bool request_fail_condition(struct api_request *request, struct engine_version current);

#endif
