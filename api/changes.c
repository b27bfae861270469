/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /changes: what was written, in the order of commits, from a cursor on: as a list, at once or when
 * there is something to tell, or as events (events.h). A list may be empty although its cursor has
 * moved: over changes of other keys.
 */
#include <stdlib.h>
#include <string.h>

#include "events.h"
#include "feed.h"
#include "handlers.h"
#include "query.h"
#include "reply.h"
#include "watch.h"

enum {
    LIST_BYTES_MAX = 1 << 20,
    LIST_READS_MAX = 16, /* of the engine, about 1 MiB each, for one list */
};

/* ---- what is asked for ---- */

static bool stop(void *visitor, const struct engine_change *change)
{
    (void)visitor;
    (void)change;
    return false;
}

/* The cursor is of another life of the store, whose sequences say nothing about this one's. */
static bool refuse_stranger(struct api *api, const struct exchange *exchange, struct feed *feed)
{
    const struct engine_context context = {exchange->deadline_ns, exchange->cancel};
    struct engine_feed kept = {.oldest = 0};
    enum status status = gate_enter(feed->gate, &context);
    if (status == STATUS_OK) {
        status = engine_changes(api->engine, 0, stop, NULL, &kept, &context);
        gate_leave(feed->gate);
    }
    feed->oldest = kept.oldest;
    return feed_refuse(feed, api, exchange->request, status == STATUS_OK ? STATUS_GONE : status);
}

static bool read_since(struct api *api, const struct exchange *exchange, struct feed *feed)
{
    struct api_request *request = exchange->request;
    const struct parameter *since = parameters_find(&request->parameters, "since");
    struct bytes last = request->headers.values[HEADER_LAST_EVENT_ID];
    bool goes_on = feed->as_events && last.size > 0;
    struct bytes text = goes_on ? last : since != NULL ? since->value : bytes_of("now");
    struct engine_version cursor;
    struct engine_health health;
    engine_health(api->engine, &health);
    if (health.state == ENGINE_LOADING || health.state == ENGINE_UNUSABLE)
        return request_fail(api, request, STATUS_LOADING);
    feed->at = (struct engine_version){health.epoch, health.sequence};
    if (bytes_equal(text, bytes_of("now")))
        return true;
    if (bytes_equal(text, bytes_of("0")))
        cursor = (struct engine_version){health.epoch, 0};
    else if (!etag_read_cursor(text, &cursor))
        return problem_set_detail(&request->problem, PROBLEM_CURSOR_BAD,
                                  "%s is a cursor that came from here, now, or 0.",
                                  goes_on ? "Last-Event-ID" : "since");
    if (cursor.epoch != health.epoch)
        return refuse_stranger(api, exchange, feed);
    feed->at = cursor;
    return true;
}

/* A stream of events has no end to wait for and no size. */
static bool accept_parameters(const struct parameters *parameters, bool as_events,
                              struct problem *problem)
{
    if (as_events && (parameters_find(parameters, "wait") != NULL ||
                      parameters_find(parameters, "limit") != NULL))
        return problem_set_detail(
            problem, PROBLEM_BAD_PARAMETER,
            "wait and limit are for lists: leave them out of a request for " EVENTS_TYPE ".");
    return true;
}

static bool read_query(struct api *api, const struct exchange *exchange, struct feed *feed,
                       uint64_t *out_wait_ms)
{
    struct api_request *request = exchange->request;
    const struct parameters *parameters = &request->parameters;
    const struct parameter *prefix = parameters_find(parameters, "prefix");
    bool as_events = headers_accept(exchange, EVENTS_TYPE);
    *feed = (struct feed){
        .engine = api->engine,
        .gate = &api->feeds,
        .budget = &api->texts,
        .prefix = prefix != NULL ? prefix->value : (struct bytes){NULL, 0},
        .as_events = as_events,
        .bytes_max = as_events ? EVENTS_BYTES_MAX : LIST_BYTES_MAX,
    };
    return accept_parameters(parameters, as_events, &request->problem) &&
           query_read_limit(parameters, &feed->limit, &request->problem) &&
           query_read_flag(parameters, "values", &feed->with_values, &request->problem) &&
           query_accept_length(feed->prefix, "prefix", engine_limits(api->engine)->key_bytes_max,
                               &request->problem) &&
           watch_read_wait(api, request, out_wait_ms) && read_since(api, exchange, feed);
}

/* ---- a list ---- */

/* Reads until the list is full, or nothing is left, or it has been enough. */
static enum status read_some(struct feed *feed, const struct engine_context *context,
                             bool *out_ended)
{
    uint64_t first = feed->at.sequence, before;
    enum status status;
    unsigned reads = 0;
    do {
        before = feed->at.sequence;
        status = feed_read(feed, context);
        *out_ended = status == STATUS_OK && feed->at.sequence == before;
    } while (status == STATUS_OK && !*out_ended && !feed_is_full(feed) && ++reads < LIST_READS_MAX);
    /* What was read is told first; the next request meets what stands in the way. */
    return feed->at.sequence > first && status != STATUS_NO_MEMORY ? STATUS_OK : status;
}

/* Reads, and sleeps, until there is something to tell or the time is over. False: refused. */
static bool gather(struct api *api, const struct exchange *exchange, uint64_t wait_ms,
                   struct feed *feed, struct watch *watch)
{
    uint64_t until_ns = watch_until(api, wait_ms), published;
    for (;;) {
        /* What it slept is not taken from its time to read. */
        const struct engine_context context = {exchange->deadline_ns + exchange->request->waited_ns,
                                               exchange->cancel};
        bool ended = false;
        enum status status = read_some(feed, &context, &ended);
        if (status != STATUS_OK)
            return feed_refuse(feed, api, exchange->request, status);
        if (feed->count > 0 || watch_until(api, 0) >= until_ns)
            return true;
        if (!ended)
            continue;
        if (watch->api == NULL && !watch_begin(api, exchange, watch))
            return false;
        published = feed->at.sequence;
        status = watch_wait(watch, &published, until_ns);
        if (status == STATUS_BUSY || status == STATUS_CANCELLED)
            return true;
        if (status != STATUS_OK)
            return feed_refuse(feed, api, exchange->request, status);
    }
}

/* {"changes": [...], "next": "..."}: the elements are in the text. */
static void answer_list(struct feed *feed, struct response *response)
{
    char cursor[ETAG_BYTES], *body = NULL;
    size_t size = 0;
    uint64_t charged = 0;
    etag_write_cursor(feed->at, cursor);
    if (feed_open_text(feed)) {
        fprintf(feed->text.out, "%s],\"next\":\"%s\"}\n", feed->count == 0 ? FEED_LIST_HEAD : "",
                cursor);
        body = feed_take(feed, &size, &charged);
    }
    reply_charged(response, "application/json", body, size, feed->budget, charged);
    reply_header(response, "Cache-Control", "no-store");
}

void changes_get(struct api *api, struct exchange *exchange, struct response *out_response)
{
    struct feed feed;
    struct watch watch = {.api = NULL};
    uint64_t wait_ms = 0;
    if (!read_query(api, exchange, &feed, &wait_ms))
        return;
    if (feed.as_events)
        events_answer(api, exchange, &feed, out_response);
    else if (gather(api, exchange, wait_ms, &feed, &watch))
        answer_list(&feed, out_response);
    watch_end(&watch);
    feed_close(&feed);
}
