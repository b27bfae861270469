/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /changes: what was written, in the order of commits, from a cursor on: as a list, at once or when
 * there is something to tell, or as server-sent events (HTML standard, section 9.2) for as long as the
 * client stays. A list may be empty although its cursor has moved: over changes of other keys.
 */
#include <stdlib.h>
#include <string.h>

#include "codec.h"
#include "feed.h"
#include "handlers.h"
#include "query.h"
#include "reply.h"
#include "watch.h"

#define EVENTS_TYPE "text/event-stream"

enum {
    LIST_BYTES_MAX = 1 << 20,
    LIST_READS_MAX = 16, /* of the engine, about 1 MiB each, for one list */
    EVENTS_BYTES_MAX = 64 << 10,
    RETRY_MS = 2000, /* after which a browser connects again */
};

/* ---- what is asked for ---- */

static bool stop(void *visitor, const struct engine_change *change)
{
    (void)visitor;
    (void)change;
    return false;
}

/* `oldest`: the lowest place that is still known. */
static bool refuse_gone(struct problem *problem, struct engine_version oldest)
{
    problem_set(problem, PROBLEM_CHANGES_GONE);
    etag_write_cursor(oldest, problem->oldest);
    return false;
}

static bool refuse(const struct api *api, struct api_request *request, const struct feed *feed,
                   enum status status)
{
    struct problem *problem = &request->problem;
    if (status == STATUS_GONE)
        return refuse_gone(problem, (struct engine_version){feed->at.epoch, feed->oldest});
    if (status == STATUS_INVALID)
        return problem_set_detail(problem, PROBLEM_CURSOR_BAD,
                                  "The cursor is ahead of all changes: send one as it came.");
    if (status == STATUS_CORRUPT || status == STATUS_IO)
        return problem_set_detail(
            problem, PROBLEM_DATA_CORRUPT,
            "A part of the journal cannot be read, so that changes behind this "
            "cursor cannot be told; the log names the file. Begin anew with "
            "GET /keys.");
    request_fail(api, request, status);
    if (status == STATUS_BUSY)
        problem_set_detail(problem, PROBLEM_BUSY, "No change was read in time: ask again.");
    if (status == STATUS_UNSUPPORTED)
        problem_set_detail(problem, PROBLEM_UNSUPPORTED,
                           "The engine %s: lacks the capability changes.",
                           engine_limits(api->engine)->scheme);
    return false;
}

/* The cursor is of another life of the store, whose sequences say nothing about this one's. */
static bool refuse_stranger(struct api *api, const struct exchange *exchange, struct feed *feed)
{
    const struct engine_context context = {exchange->deadline_ns, exchange->cancel};
    struct engine_feed kept = {.oldest = 0};
    enum status status = engine_changes(api->engine, 0, stop, NULL, &kept, &context);
    feed->oldest = kept.oldest;
    return refuse(api, exchange->request, feed, status == STATUS_OK ? STATUS_GONE : status);
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
            return refuse(api, exchange->request, feed, status);
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
            return refuse(api, exchange->request, feed, status);
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

/* ---- events ---- */

struct stream {
    struct feed feed;
    struct watch watch;
    char *text; /* on its way */
    size_t size, sent;
    uint64_t charged; /* for it */
    uint64_t beat_ns; /* when a client that heard nothing hears that nothing is to be heard */
    bool ended;       /* the text is the last */
    unsigned char prefix[];
};

static void drop_text(struct stream *stream)
{
    text_budget_release(stream->feed.budget, stream->charged);
    free(TAKE(stream->text));
    stream->size = stream->sent = stream->charged = 0;
}

/* False: no memory. */
static bool take_text(struct stream *stream)
{
    stream->text = feed_take(&stream->feed, &stream->size, &stream->charged);
    return stream->text != NULL;
}

static void stream_close(void *owner)
{
    struct stream *stream = owner;
    watch_end(&stream->watch);
    feed_close(&stream->feed);
    drop_text(stream);
    free(stream);
}

static void set_beat(struct stream *stream)
{
    const struct api *api = stream->watch.api;
    stream->beat_ns = watch_until(api, api->options.heartbeat_ms);
}

/* An event of an `id` alone is none to a browser, which yet goes on from there when it comes again. */
static enum status write_cursor(struct stream *stream, const char *before)
{
    char cursor[ETAG_BYTES];
    if (!feed_open_text(&stream->feed))
        return STATUS_NO_MEMORY;
    etag_write_cursor(stream->feed.at, cursor);
    fprintf(stream->feed.text.out, "%s\nid: %s\n\n", before, cursor);
    return STATUS_OK;
}

/* The client was too slow, or asleep: it must learn that it missed something. */
static enum status write_gone(struct stream *stream)
{
    struct feed *feed = &stream->feed;
    struct problem problem = {.code = PROBLEM_NONE};
    size_t size = 0;
    refuse_gone(&problem, (struct engine_version){feed->at.epoch, feed->oldest});
    AUTO_FREE char *object = codec_problem(&problem, &size);
    if (object == NULL || !feed_open_text(feed))
        return STATUS_NO_MEMORY;
    fprintf(feed->text.out, "event: gone\ndata: %s\n", object);
    stream->ended = true;
    return STATUS_OK;
}

/* Waits until there may be more to read, or it is time for a heartbeat. */
static enum status wait_for_more(struct stream *stream)
{
    uint64_t published = stream->feed.at.sequence;
    enum status status = watch_wait(&stream->watch, &published, stream->beat_ns);
    return status == STATUS_BUSY ? write_cursor(stream, ":") : status;
}

/* Writes what comes next: changes, a heartbeat, or why there is an end. */
static enum status write_next(struct stream *stream, uint64_t deadline_ns)
{
    struct feed *feed = &stream->feed;
    const struct engine_context context = {deadline_ns, stream->watch.exchange->cancel};
    enum status status = STATUS_OK;
    while (status == STATUS_OK && feed->text.out == NULL && !stream->ended) {
        uint64_t before = feed->at.sequence;
        status = feed_read(feed, &context);
        if (feed->text.out != NULL && status != STATUS_NO_MEMORY)
            return STATUS_OK; /* what else there is, is met again */
        if (feed->no_room)
            return STATUS_BUSY;
        if (status == STATUS_GONE)
            status = write_gone(stream);
        else if (status == STATUS_BUSY || watch_until(stream->watch.api, 0) >= stream->beat_ns)
            status = write_cursor(stream, ":");
        else if (status == STATUS_OK && feed->at.sequence == before)
            status = wait_for_more(stream);
    }
    return status;
}

static ssize_t stream_read(void *owner, char *buffer, size_t capacity, uint64_t deadline_ns)
{
    struct stream *stream = owner;
    while (stream->sent == stream->size) {
        if (stream->ended)
            return API_STREAM_END;
        drop_text(stream);
        set_beat(stream);
        enum status status = write_next(stream, deadline_ns);
        if (status == STATUS_CANCELLED)
            return API_STREAM_END;
        if (status != STATUS_OK || !take_text(stream))
            return API_STREAM_FAILED;
    }
    size_t left = stream->size - stream->sent, part = left < capacity ? left : capacity;
    memcpy(buffer, stream->text + stream->sent, part);
    stream->sent += part;
    return (ssize_t)part;
}

/* NULL: no memory. The prefix's bytes outlive the request. */
static struct stream *stream_open(const struct feed *feed)
{
    struct stream *stream = calloc(1, sizeof *stream + feed->prefix.size);
    if (stream == NULL)
        return NULL;
    stream->feed = *feed;
    stream->feed.limit = UINT32_MAX;
    if (feed->prefix.size > 0)
        memcpy(stream->prefix, feed->prefix.data, feed->prefix.size);
    stream->feed.prefix.data = stream->prefix;
    return stream;
}

/* What can be refused is refused before anything is sent: so the first changes are read here. */
static bool begin_stream(struct api *api, const struct exchange *exchange, struct stream *stream)
{
    const struct engine_context context = {exchange->deadline_ns, exchange->cancel};
    char retry[24];
    snprintf(retry, sizeof retry, "retry: %d", RETRY_MS);
    enum status status = write_cursor(stream, retry);
    if (status == STATUS_OK)
        status = feed_read(&stream->feed, &context);
    if (status != STATUS_OK && (stream->feed.count == 0 || status == STATUS_NO_MEMORY))
        return refuse(api, exchange->request, &stream->feed, status);
    return (take_text(stream) || request_fail(api, exchange->request, STATUS_NO_MEMORY)) &&
           watch_begin(api, exchange, &stream->watch);
}

static void answer_events(struct api *api, const struct exchange *exchange, const struct feed *feed,
                          struct response *response)
{
    struct stream *stream = stream_open(feed);
    if (stream == NULL) {
        request_fail(api, exchange->request, STATUS_NO_MEMORY);
        return;
    }
    if (!begin_stream(api, exchange, stream)) {
        stream_close(stream);
        return;
    }
    reply_stream(response, EVENTS_TYPE, stream_read, stream_close, stream);
    reply_header(response, "Cache-Control", "no-store");
    reply_header(response, "X-Accel-Buffering", "no"); /* a proxy must not hold events back */
}

void changes_get(struct api *api, struct exchange *exchange, struct response *out_response)
{
    struct feed feed;
    struct watch watch = {.api = NULL};
    uint64_t wait_ms = 0;
    if (!read_query(api, exchange, &feed, &wait_ms))
        return;
    if (feed.as_events)
        answer_events(api, exchange, &feed, out_response);
    else if (gather(api, exchange, wait_ms, &feed, &watch))
        answer_list(&feed, out_response);
    watch_end(&watch);
    feed_close(&feed);
}
