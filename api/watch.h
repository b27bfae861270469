/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that sleep until something is written. Each holds a connection and its thread for as long
 * as it likes, so that there is a cap on them, below that on connections: what is left is for requests
 * that do not wait. They end early when their client goes or the service stops.
 *
 * Threads: a watch belongs to its request's; any number of them at once.
 */
#ifndef KEYREST_API_WATCH_H
#define KEYREST_API_WATCH_H

#include "request.h"

/* Zero: it holds no place. */
struct watch {
    struct api *api;
    const struct exchange *exchange;
};

/* The parameter `wait` in ms; 0: it was not sent. bad-parameter. */
MUST_CHECK bool watch_read_wait(const struct api *api, struct api_request *request,
                                uint64_t *out_ms);

/* The time, in ns, by which a wait of `ms` from now on is over; 0: now. */
uint64_t watch_until(const struct api *api, uint64_t ms);

/* Takes a place; false: too-many-watchers. */
MUST_CHECK bool watch_begin(struct api *api, const struct exchange *exchange,
                            struct watch *out_watch);
/* Gives it back; a watch that was not begun, or has ended, may end. */
void watch_end(struct watch *watch);

/*
 * Sleeps until more than `*sequence` is published, and sets it to what is. BUSY: not before
 * `until_ns`. CANCELLED: the client goes, or the service stops. UNSUPPORTED, LOADING.
 */
MUST_CHECK enum status watch_wait(const struct watch *watch, uint64_t *sequence, uint64_t until_ns);

/*
 * The parameter `wait` of a key, whose conditions were read: lets time pass while its answer would be
 * 304, which is judged anew after each write, of whatever key, and when it expires. False: refused.
 */
MUST_CHECK bool watch_key(struct api *api, const struct exchange *exchange);

#endif
