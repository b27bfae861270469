/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine's changes as text, from a place in their order on: those of one prefix, a bounded part at
 * a time, as a JSON list's elements or as server-sent events. Nothing is kept of what was told.
 */
#ifndef KEYREST_API_FEED_H
#define KEYREST_API_FEED_H

#include "../engine/engine.h"
#include "etag.h"
#include "gate.h"
#include "problem.h"
#include "text.h"
#include "text_budget.h"

/* Stands before the first element of a list. */
#define FEED_LIST_HEAD "{\"changes\":["

struct api;
struct api_request;

struct feed {
    /* set by the caller, then constant */
    struct engine *engine;
    struct gate *gate; /* to reading: all wake at once, and a read may be as large as a value */
    struct text_budget *budget; /* of values that are told */
    struct bytes prefix;
    bool with_values;
    bool as_events;   /* else as elements of a list */
    uint32_t limit;   /* of changes at a time */
    size_t bytes_max; /* of text at a time, but for one change of any size */
    /* moved on by feed_read() */
    struct engine_version at; /* all up to it was told, or is of other keys */
    uint64_t oldest;          /* the lowest place that is still known */
    struct text text;         /* `out` NULL: nothing is in it */
    uint32_t count;           /* of changes in the text */
    size_t bytes;
    uint64_t charged; /* for its values */
    bool no_memory, no_room;
};

/* Opens the text, if it is not yet. False: no memory. */
MUST_CHECK bool feed_open_text(struct feed *feed);

/* Adds the changes that one call of the engine visits. As engine_changes(); BUSY also, with `no_room`,
 * when others' texts fill the budget and nothing was added. */
MUST_CHECK enum status feed_read(struct feed *feed, const struct engine_context *context);
/* The same for who has passed the gate. */
MUST_CHECK enum status feed_read_admitted(struct feed *feed, const struct engine_context *context);

/* Whether no more fits into the text. */
bool feed_is_full(const struct feed *feed);

/* The text, malloc'ed, with what is charged for it, and an empty one in its place; NULL: no memory. */
char *feed_take(struct feed *feed, size_t *out_size, uint64_t *out_charged);

/* Drops the text. */
void feed_close(struct feed *feed);

/* Sets the problem changes-gone, with the oldest place. */
void feed_tell_gone(const struct feed *feed, struct problem *problem);

/* Sets the request's problem by what feed_read() said. Always false. */
bool feed_refuse(const struct feed *feed, const struct api *api, struct api_request *request,
                 enum status status);

#endif
