/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header fields that this service understands, found in one pass over a request's list. Values
 * are borrowed from the exchange, without surrounding white space. Which may repeat is decided by
 * whoever uses them.
 */
#ifndef KEYREST_API_HEADERS_H
#define KEYREST_API_HEADERS_H

#include <stdbool.h>
#include <stdint.h>

#include "../engine/bytes.h"
#include "api.h"
#include "problem.h"

enum header_name {
    HEADER_HOST,
    HEADER_CONTENT_LENGTH,
    HEADER_TRANSFER_ENCODING,
    HEADER_EXPECT,
    HEADER_ORIGIN,
    HEADER_SEC_FETCH_SITE,
    HEADER_IF_MATCH,
    HEADER_IF_NONE_MATCH,
    HEADER_IF_MODIFIED_SINCE,
    HEADER_IF_UNMODIFIED_SINCE,
    HEADER_IF_RANGE,
    HEADER_RANGE,
    HEADER_CONTENT_TYPE, /* these four in the order of meta.h */
    HEADER_CONTENT_ENCODING,
    HEADER_CONTENT_LANGUAGE,
    HEADER_CONTENT_DISPOSITION,
    HEADER_CONTENT_RANGE,
    HEADER_ACCEPT,
    HEADER_LAST_EVENT_ID,
    HEADER_REQUEST_ID,
    HEADER_TRACEPARENT,
    HEADER_COUNT,
    HEADER_OTHER = HEADER_COUNT,
};

struct headers {
    struct bytes values[HEADER_COUNT]; /* of the first field of that name */
    uint32_t counts[HEADER_COUNT];
};

/* Refuses a name that is no token and a value with control bytes (RFC 9110 section 5.6.2, 5.5). */
MUST_CHECK bool headers_read(const struct exchange *exchange, struct headers *out_headers,
                             struct problem *problem);

/* As a client writes it. */
const char *header_name_text(enum header_name name);

/*
 * The next value of a field that may repeat, from `*index` on, which starts at 0 and is moved on.
 * False: there is none left.
 */
bool headers_next(const struct exchange *exchange, enum header_name name, size_t *index,
                  struct bytes *out_value);

/* Whether Accept asks for the media type by its name, and not with `q=0`. */
bool headers_accept(const struct exchange *exchange, const char *media_type);

/* Whether `value` is `text`, letter case aside. */
bool header_is(struct bytes value, const char *text);

#endif
