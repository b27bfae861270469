/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP server: the only file that knows the HTTP library. It accepts connections up to its caps,
 * turns what arrives into a struct exchange for api, and api's struct response into bytes; it keeps
 * every connection's deadline. What a request means is api's business.
 *
 * Threads: one that accepts, one per connection, all the library's, and the reaper (deadline.h).
 * The calls below are main's.
 */
#ifndef KEYREST_SERVICE_SERVER_H
#define KEYREST_SERVICE_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../api/api.h"
#include "../engine/scope.h"
#include "../engine/status.h"
#include "logger.h"

enum { SERVER_REFUSED_MAX = 64 }; /* connections over the cap that are open to be told so */

struct server;

struct server_options {
    struct logger *logger; /* borrowed until server_close */
    const struct time_source *time;
    int listen_fd; /* bound, listening, non-blocking; stays the caller's */
    uint64_t connections_max;
    uint64_t connections_per_client_max; /* 0: no limit */
    uint64_t header_bytes_max; /* of a request's head, each of its fields counting 64 more */
    uint64_t kept_bytes_max;   /* of an answer's head: what was stored with a value */
    uint64_t header_ms_max, idle_ms_max, request_ms_max;
    uint64_t body_bytes_per_second_min;
    bool access_log;
};

/* Prepares; nothing is accepted yet. NO_MEMORY. */
MUST_CHECK enum status server_open(const struct server_options *options,
                                   struct server **out_server);

/* Serves `api`, borrowed until server_stop. IO: the library could not start. */
MUST_CHECK enum status server_start(struct server *server, struct api *api,
                                    struct failure *failure);

/* The stop, in this order. Accepts no more; connections that are open go on. */
void server_quiesce(struct server *server);
/* Requests under way. */
size_t server_busy(struct server *server);
/* Ends every wait in the engine. */
void server_cancel(struct server *server);
/* Cuts what is still open and waits for its threads. NULL is allowed, and a second call. */
void server_stop(struct server *server);
void server_close(struct server *server); /* NULL is allowed; stops when that was not done */

/* Rows for /metrics; returns how many. */
size_t server_figures(struct server *server, struct api_figure *out_rows, size_t capacity);

#endif
