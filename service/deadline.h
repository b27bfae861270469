/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a client may take. Every connection carries one deadline; its thread moves it on from
 * phase to phase, and the reaper thread looks at all of them every DEADLINE_SCAN_MS: a connection
 * past its deadline is cut by shutdown(), one whose client has gone while it waits in the engine has
 * its cancel fired.
 *
 *     FRESH --> HEADERS --> (BODY) --> WORKING --> SENDING --> IDLE --> HEADERS ...
 *
 *     FRESH, HEADERS   header_ms, until the headers are complete
 *     BODY, SENDING    header_ms, and the time that the bytes take at bytes_per_second_min
 *     WORKING          no limit here: the engine has its own deadline
 *     IDLE             idle_ms
 *
 * Threads: deadlines_add and _remove by the thread that accepts; the moves by the connection's own
 * thread, one atomic store each; the rest by any.
 */
#ifndef KEYREST_SERVICE_DEADLINE_H
#define KEYREST_SERVICE_DEADLINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../engine/cancel.h"
#include "../engine/scope.h"
#include "../engine/status.h"
#include "../engine/time_source.h"

enum { DEADLINE_SCAN_MS = 250 };

enum deadline_phase {
    DEADLINE_FRESH,   /* no request line yet */
    DEADLINE_IDLE,    /* between requests */
    DEADLINE_HEADERS, /* from here on a request is under way */
    DEADLINE_BODY,
    DEADLINE_WORKING,
    DEADLINE_SENDING,
    DEADLINE_PHASES,
};

struct deadlines;

struct deadline {
    int fd; /* set by deadlines_add, then constant */
    /* fired for good once the client has gone: a connection does not come back */
    struct cancel cancel;
    /* atomic: when the phase ends, in ns, with the phase in the lowest 3 bits. One word, so that the
     * reaper never takes one phase's end for another's. Relaxed: it orders nothing else.
     * Pairs with: deadlines_scan. */
    _Atomic uint64_t ends;
    uint64_t body_began_ns; /* owned by the connection's thread */
    /* guarded by the list's mutex */
    struct deadline *next, *previous;
    bool cut;
};

struct deadlines_options {
    const struct time_source *time;
    uint64_t header_ms, idle_ms;
    uint64_t bytes_per_second_min;
};

MUST_CHECK enum status deadlines_open(const struct deadlines_options *options,
                                      struct deadlines **out_deadlines);
void deadlines_close(struct deadlines *deadlines); /* stops the reaper; NULL is allowed */

/* Starts the reaper thread. NO_MEMORY: there is no room for it. */
MUST_CHECK enum status deadlines_start(struct deadlines *deadlines);

/* Between these two the descriptor must stay open. */
void deadlines_add(struct deadlines *deadlines, struct deadline *deadline, int fd);
void deadlines_remove(struct deadlines *deadlines, struct deadline *deadline);

/* The moves. `now_ns` is the time source's; `bytes` all that came so far, or all that is to go. */
void deadline_headers(const struct deadlines *deadlines, struct deadline *deadline,
                      uint64_t now_ns);
void deadline_body(const struct deadlines *deadlines, struct deadline *deadline, uint64_t now_ns);
void deadline_body_grows(const struct deadlines *deadlines, struct deadline *deadline,
                         uint64_t bytes);
void deadline_working(struct deadline *deadline);
void deadline_sending(const struct deadlines *deadlines, struct deadline *deadline, uint64_t now_ns,
                      uint64_t bytes);
void deadline_idle(const struct deadlines *deadlines, struct deadline *deadline, uint64_t now_ns);

/* One look at every connection: what the reaper does. */
void deadlines_scan(struct deadlines *deadlines);

/* Connections with a request under way. Walks the list. */
size_t deadlines_busy(struct deadlines *deadlines);

/* Fires the cancel of every connection. */
void deadlines_cancel_all(struct deadlines *deadlines);

struct deadlines_figures {
    uint64_t open;                 /* now */
    uint64_t cut[DEADLINE_PHASES]; /* so far, by the phase that took too long */
    uint64_t gone;                 /* clients that left while they waited, so far */
};

struct deadlines_figures deadlines_figures(struct deadlines *deadlines);

#endif
