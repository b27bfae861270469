/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filling a struct response. Header texts live in a small arena of the response, one allocation for
 * most; when memory runs out midway the response as a whole becomes a constant memory-full refusal,
 * so that handlers need not look.
 */
#ifndef KEYREST_API_REPLY_H
#define KEYREST_API_REPLY_H

#include "api.h"
#include "etag.h"
#include "problem.h"
#include "text_budget.h"

/*
 * Makes sure that a usual response's header texts, and `bytes` beside, need no more memory. False:
 * there is none; nothing must be done then that the answer would have to tell.
 */
MUST_CHECK bool reply_reserve(struct response *response, size_t bytes);

/* A header whose value lives for ever. */
void reply_header(struct response *response, const char *name, const char *value);
/* A header whose value is copied. */
void reply_header_copy(struct response *response, const char *name, struct bytes value);
/* A header whose value of at most `bytes` with its NUL the caller writes; NULL: no memory. */
char *reply_header_room(struct response *response, const char *name, size_t bytes);
/* A version as an entity tag under `name`. */
void reply_tag(struct response *response, const char *name, struct engine_version version);
/* ETag, and Keyrest-Expires unless `expires_ms` is 0. */
void reply_version(struct response *response, struct engine_version version, int64_t expires_ms);
void reply_last_modified(struct response *response, int64_t modified_ms, int64_t now_ms);

/* A body that lives for ever. */
void reply_static(struct response *response, unsigned status, const char *content_type,
                  struct bytes body);
/* A malloc'ed body, taken over; NULL: no memory. */
void reply_owned(struct response *response, unsigned status, const char *content_type, char *body,
                 size_t size);

/* The same, with what was charged for it: given back with the body, or at once when there is none. */
void reply_charged(struct response *response, const char *content_type, char *body, size_t size,
                   struct text_budget *budget, uint64_t charged);

/* 304 with the length that a 200 would have: the headers of RFC 9110 section 15.4.5 but Cache-Control. */
void reply_not_modified(struct response *response, struct engine_version version,
                        int64_t expires_ms, size_t size);

/* A body that is read when it is sent; `release` takes the owner at the end. */
void reply_stream(struct response *response, const char *content_type,
                  ssize_t (*read)(void *owner, char *buffer, size_t capacity, uint64_t deadline_ns),
                  void (*release)(void *owner), void *owner);

/*
 * A refusal. `plain` is the row's body without particulars, used where there are none (data NULL:
 * there is no such body). `head`: the answer to a HEAD, which carries the code in a header.
 */
void reply_problem(struct response *response, const struct problem *problem, struct bytes plain,
                   bool head);

/* The last touch: leaves the body out of an answer to HEAD, and replaces what lacked memory. */
void reply_seal(struct response *response, bool head);

/* The refusal when there is no memory for any other: constant texts only. */
void reply_no_memory(struct response *response);

#endif
