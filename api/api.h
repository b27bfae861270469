/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The protocol as plain functions: an exchange and an engine in, a response out; no socket and no
 * HTTP library here. The service fills an exchange, feeds the body, sends the response.
 *
 *     api_begin -> API_REFUSE: send the response now, without reading the body (then it closes)
 *               -> API_BODY:   api_body for each piece, then api_finish
 *               -> API_NO_BODY: the same, for a body that nobody asked for: it is dropped
 *     api_end, always, once the response was sent or given up; it counts the exchange.
 *
 * One thread drives an exchange; different exchanges run at once. Calls may block in the engine
 * until the exchange's deadline.
 */
#ifndef KEYREST_API_API_H
#define KEYREST_API_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "../engine/bytes.h"
#include "../engine/cancel.h"
#include "../engine/engine.h"

enum {
    API_RESPONSE_HEADERS_MAX = 24,
    API_IGNORED_BODY_BYTES_MAX = 1 << 20, /* a body nobody asked for: above it, 413 and close */
};

struct api;

struct api_header {
    const char *name;
    const char *value;
};

/* ---- the request ---------------------------------------------------------------------------- */

struct exchange {
    /* set by the service before api_begin, borrowed until api_end */
    const char *method;
    const char *target;     /* raw: as on the request line, still percent-encoded, with the query */
    bool target_has_nul;    /* the request line held a NUL byte: `target` is cut there */
    bool http_1_1;          /* false: HTTP/1.0 */
    bool head_is_ambiguous; /* it holds more than `headers` tell: a NUL, a folded line, no name */
    const struct api_header *headers; /* in the order received, repeated ones too */
    size_t header_count;
    uint64_t deadline_ns; /* for blocking engine calls */
    const struct cancel *cancel;
    bool draining;       /* the service is stopping */
    const char *refusal; /* code of the problem that answers all but GET /livez, or NULL */
    void *memory; /* api_exchange_bytes(target) of it, aligned as malloc's; what is in it: api's */

    /* api's own: zero before api_begin, gone after api_end */
    struct api_request *request;
};

/* ---- the response --------------------------------------------------------------------------- */

enum response_body_kind {
    RESPONSE_NONE,   /* no body; Content-Length: 0 unless the status forbids it */
    RESPONSE_STATIC, /* bytes that live for ever */
    RESPONSE_OWNED,  /* bytes released by `release(owner)` once sent, from whichever thread */
    RESPONSE_STREAM, /* bytes whose number is not known yet, by `read`, until it says that they end */
    RESPONSE_OMITTED, /* HEAD and 304: the true length, and no bytes */
};

enum { API_STREAM_END = -1, API_STREAM_FAILED = -2 };

struct response {
    unsigned status;
    struct api_header headers[API_RESPONSE_HEADERS_MAX]; /* Content-Length, Date, Connection not */
    size_t header_count;
    enum response_body_kind body_kind;
    const void *body;
    size_t body_bytes; /* for OMITTED too */
    /* STREAM: writes the next bytes and returns how many, at least one; or how they end: FAILED, the
     * client must see that some are missing. May wait until the deadline; one of changes waits until
     * its next heartbeat, and ends when the exchange's cancel is fired. */
    ssize_t (*read)(void *owner, char *buffer, size_t capacity, uint64_t deadline_ns);
    void (*release)(void *owner); /* of a STREAM, too: when it was sent or given up */
    void *owner;
    bool close; /* the connection must not be used again */
    /* for the log */
    const char *route;        /* a path of routes.def, or "other" */
    const char *problem_code; /* NULL when not a problem */
    char request_id[64];
    char traceparent[56]; /* empty when none was sent */
    /* owns the texts of `headers`: response_done() */
    struct response_texts *texts;
};

/* Releases the texts of the headers, once the service has copied them; not the body. */
void response_done(struct response *response);

/* ---- the calls ------------------------------------------------------------------------------ */

/* Figures of the service for /metrics: one row each, rendered as keyrest_<name>. */
struct api_figure {
    const char *name, *help;
    bool is_counter; /* else a gauge */
    uint64_t value;
};

struct api_options {
    const char *version;
    const char *const *allowed_hosts; /* NULL-ended list, may be empty */
    bool loopback;                    /* the listener is bound to a loopback address */
    bool unix_socket;                 /* the listener is a Unix socket: Host is not checked */
    uint32_t batch_get_keys_max;
    uint64_t watchers_max; /* requests that wait for changes at once */
    uint64_t wait_ms_max, heartbeat_ms;
    const struct time_source *time;
    /* Writes up to `capacity` rows, returns how many; may be NULL. Any thread may call it. */
    size_t (*figures)(void *context, struct api_figure *out_rows, size_t capacity);
    void *figures_context;
};

/* `engine` is borrowed until api_close. NO_MEMORY. */
MUST_CHECK enum status api_open(struct engine *engine, const struct api_options *options,
                                struct api **out_api);
void api_close(struct api *api); /* NULL is allowed */

/* From now on /readyz answers 503 and every response closes its connection. Any thread. */
void api_drain(struct api *api);

/* What an exchange with this target needs as `memory`: the service keeps it for a connection's next. */
size_t api_exchange_bytes(const char *target);

enum api_verdict { API_REFUSE, API_BODY, API_NO_BODY };

/*
 * Looks at all that is known before the body: framing, route, access, sizes, conditions, room.
 * API_REFUSE sets `out_response`. The others promise that api_finish can be reached.
 */
MUST_CHECK enum api_verdict api_begin(struct api *api, struct exchange *exchange,
                                      struct response *out_response);

/* Takes one piece of the body. False: the body is over its limit and was too large to drain; cut
 * the connection. Small excess is swallowed and answered 413 by api_finish. */
MUST_CHECK bool api_body(struct api *api, struct exchange *exchange, const void *piece,
                         size_t size);

/* The whole request is there: does the work and sets `out_response`. */
void api_finish(struct api *api, struct exchange *exchange, struct response *out_response);

/* What became of the exchange, for the counters. */
struct api_result {
    unsigned status; /* 0: the client went away before a response */
    uint64_t duration_ns;
    uint64_t received_bytes, sent_bytes; /* bodies */
};

/* Releases what the exchange still holds. Safe after api_begin alone, and when nothing was sent. */
void api_end(struct api *api, struct exchange *exchange, const struct api_result *result);

/*
 * A response that the service makes by itself (too many connections, ...), as a problem row of
 * problem.def by its code. `retry_after_s` 0: as the row says.
 */
void api_refuse(struct api *api, const struct exchange *exchange, const char *problem_code,
                unsigned retry_after_s, struct response *out_response);

#endif
