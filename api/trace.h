/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What ties a request to log lines here and elsewhere: its Request-Id, echoed or made, and the W3C
 * Trace Context header. A malformed one is treated as absent.
 */
#ifndef KEYREST_API_TRACE_H
#define KEYREST_API_TRACE_H

#include "../engine/bytes.h"

enum {
    TRACE_REQUEST_ID_BYTES = 64, /* with NUL; as in struct response */
    TRACE_PARENT_BYTES = 56,
};

/* Copies `sent` if it is safe in a log line and not too long; otherwise makes one. */
void trace_write_request_id(struct bytes sent, char out_text[static TRACE_REQUEST_ID_BYTES]);

/* Copies version, trace, parent and flags (W3C Trace Context section 3.2); else the empty text. */
void trace_write_parent(struct bytes sent, char out_text[static TRACE_PARENT_BYTES]);

#endif
