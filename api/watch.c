/* SPDX-License-Identifier: Apache-2.0 */
/* A cap, a sleep in slices, the time slept; and a key that is looked at between sleeps. */
#include "watch.h"

#include "duration.h"

enum { SLICE_MS = 250 /* how soon those who sleep are told that the service stops */ };

uint64_t watch_until(const struct api *api, uint64_t ms)
{
    return api->options.time->monotonic_ns(api->options.time) + ms * UINT64_C(1000000);
}

bool watch_read_wait(const struct api *api, struct api_request *request, uint64_t *out_ms)
{
    const struct parameter *wait = parameters_find(&request->parameters, "wait");
    uint64_t limit = api->options.wait_ms_max;
    int64_t ms = 0;
    *out_ms = 0;
    if (wait == NULL)
        return true;
    if (!duration_read(wait->value, &ms))
        return problem_set_detail(&request->problem, PROBLEM_BAD_PARAMETER,
                                  "wait is " DURATION_SHAPE ".");
    *out_ms = (uint64_t)ms;
    if (*out_ms <= limit)
        return true;
    problem_set_detail(&request->problem, PROBLEM_BAD_PARAMETER,
                       "wait is longer than `limit` ms: wait for less, and ask again.");
    problem_add_number(&request->problem, "limit", limit);
    problem_add_number(&request->problem, "actual", *out_ms);
    return false;
}

/* Counted before it is judged, so that of two for the last place one at most gets it. */
bool watch_begin(struct api *api, const struct exchange *exchange, struct watch *out_watch)
{
    struct problem *problem = &exchange->request->problem;
    uint64_t limit = api->options.watchers_max;
    if (atomic_fetch_add_explicit(&api->watchers, 1, memory_order_relaxed) < limit) {
        *out_watch = (struct watch){api, exchange};
        return true;
    }
    atomic_fetch_sub_explicit(&api->watchers, 1, memory_order_relaxed);
    problem_set(problem, PROBLEM_TOO_MANY_WATCHERS);
    problem_add_number(problem, "limit", limit);
    return false;
}

void watch_end(struct watch *watch)
{
    if (watch->api != NULL)
        atomic_fetch_sub_explicit(&watch->api->watchers, 1, memory_order_relaxed);
    *watch = (struct watch){.api = NULL};
}

static enum status sleep_until(const struct watch *watch, uint64_t *sequence, uint64_t until_ns)
{
    struct api *api = watch->api;
    for (;;) {
        uint64_t slice_ns = watch_until(api, SLICE_MS);
        bool last = slice_ns >= until_ns;
        struct engine_context context = {last ? until_ns : slice_ns, watch->exchange->cancel};
        if (request_is_draining(api, watch->exchange))
            return STATUS_CANCELLED;
        enum status status = engine_wait(api->engine, *sequence, sequence, &context);
        if (status != STATUS_BUSY || last)
            return status;
    }
}

enum status watch_wait(const struct watch *watch, uint64_t *sequence, uint64_t until_ns)
{
    uint64_t began_ns = watch_until(watch->api, 0);
    enum status status = sleep_until(watch, sequence, until_ns);
    watch->exchange->request->waited_ns += watch_until(watch->api, 0) - began_ns;
    return status;
}

/* ---- one key ---- */

/* When to look again at a key with that expiry, by the clock that waiting goes by. */
static uint64_t look_again_ns(const struct api *api, int64_t expires_ms, uint64_t until_ns)
{
    const struct time_source *time = api->options.time;
    int64_t left_ms = expires_ms - time->wall_ms(time);
    if (expires_ms == 0 || left_ms > (int64_t)api->options.wait_ms_max)
        return until_ns;
    uint64_t expiry_ns = watch_until(api, left_ms > 0 ? (uint64_t)left_ms : 1);
    return expiry_ns < until_ns ? expiry_ns : until_ns;
}

/* Whether the answer would be 304; the key's expiry is set then. */
static bool is_unchanged(struct api *api, struct api_request *request, int64_t *out_expires_ms)
{
    struct engine_item item = {0};
    bool unchanged = engine_head(api->engine, request->key, &item) == STATUS_OK &&
                     conditions_judge(&request->conditions, &item) == CONDITIONS_NOT_MODIFIED;
    *out_expires_ms = item.expires_ms;
    engine_item_done(&item);
    return unchanged;
}

static bool sleep_while_unchanged(struct api *api, const struct exchange *exchange,
                                  uint64_t until_ns, struct watch *watch)
{
    struct api_request *request = exchange->request;
    uint64_t sequence = 0; /* the first sleep is none: what it looked at may be younger than that */
    int64_t expires_ms;
    while (is_unchanged(api, request, &expires_ms)) {
        if (watch->api == NULL && !watch_begin(api, exchange, watch))
            return false;
        uint64_t again_ns = look_again_ns(api, expires_ms, until_ns);
        enum status status = watch_wait(watch, &sequence, again_ns);
        if (status == STATUS_CANCELLED || (status == STATUS_BUSY && again_ns == until_ns))
            return true;
        if (status != STATUS_OK && status != STATUS_BUSY)
            return request_fail(api, request, status);
    }
    return true;
}

bool watch_key(struct api *api, const struct exchange *exchange)
{
    struct api_request *request = exchange->request;
    struct watch watch = {.api = NULL};
    uint64_t wait_ms;
    if (!watch_read_wait(api, request, &wait_ms))
        return false;
    if (wait_ms == 0)
        return true;
    if (request->headers.counts[HEADER_IF_NONE_MATCH] == 0)
        return problem_set_detail(&request->problem, PROBLEM_BAD_PARAMETER,
                                  "wait goes with If-None-Match: send the ETag of what you have, "
                                  "and the answer comes once it is another.");
    bool waited = sleep_while_unchanged(api, exchange, watch_until(api, wait_ms), &watch);
    watch_end(&watch);
    return waited;
}
