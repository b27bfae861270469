/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the HTTP library does not say of a request's head. libmicrohttpd 0.9.75 ends texts at a NUL,
 * appends a folded line to the name of the field before it, and takes a field without a name for the
 * end of the head: another program could read the same bytes as another request. All its texts point
 * into the head as it came, so that where they stand tells what lies between them.
 */
#ifndef KEYREST_SERVICE_HEAD_H
#define KEYREST_SERVICE_HEAD_H

#include <stdbool.h>
#include <stddef.h>

#include "../api/api.h"

/* The library's texts of one head, borrowed. */
struct head {
    const char *method; /* where the head begins */
    const char *url, *version;
    size_t bytes; /* of the head, with the empty line */
    const struct api_header *fields;
    size_t field_count;
};

/* Whether the request line holds a NUL. `target` is the raw one, with the query. */
bool head_line_has_nul(const struct head *head, const char *target);

/*
 * Whether the fields and the ends of lines are all that follows the request line. One case looks like
 * an end: a lone colon on a line whose end is not of the kind of the line before, CR LF or bare LF.
 */
bool head_is_all_told(const struct head *head);

#endif
