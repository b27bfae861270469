/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which part of a value a GET asks for (RFC 9110 sections 13.1.5 and 14). One range of bytes is
 * served; several, another unit, and what is no range are ignored, as section 14.2 allows.
 */
#ifndef KEYREST_API_RANGE_H
#define KEYREST_API_RANGE_H

#include "etag.h"
#include "headers.h"

enum range_kind {
    RANGE_WHOLE,         /* 200: none is asked for, or none that is served */
    RANGE_PART,          /* 206 */
    RANGE_UNSATISFIABLE, /* 416: the value ends before it */
};

struct range {
    enum range_kind kind;
    uint64_t first, count; /* of bytes; a PART has some */
};

/* For a value of `size` bytes whose version is `current`. */
struct range range_select(const struct headers *headers, struct engine_version current,
                          uint64_t size);

enum { RANGE_CONTENT_BYTES = sizeof "bytes -/" + 3 * 20 };

/* The value of Content-Range for a part, and for what is unsatisfiable, of `size` bytes. */
void range_write(const struct range *range, uint64_t size,
                 char out_text[static RANGE_CONTENT_BYTES]);

#endif
