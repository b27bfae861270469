/* SPDX-License-Identifier: Apache-2.0 */
/* Changes as server-sent events (HTML standard, section 9.2), for as long as the client stays. */
#ifndef KEYREST_API_EVENTS_H
#define KEYREST_API_EVENTS_H

#include "feed.h"
#include "request.h"

#define EVENTS_TYPE "text/event-stream"

enum { EVENTS_BYTES_MAX = 64 << 10 }; /* of one text, but for one change of any size */

/* Answers with the changes from where the feed stands, or sets the request's problem. */
void events_answer(struct api *api, const struct exchange *exchange, const struct feed *feed,
                   struct response *response);

#endif
