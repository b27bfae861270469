/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One text after the other: changes, or after a while without any a heartbeat. Those who follow all
 * changes without their values take what another one was told just now, if they stand there.
 */
#include "events.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec.h"
#include "reply.h"
#include "told.h"
#include "watch.h"

enum { RETRY_MS = 2000 /* after which a browser connects again */ };

struct stream {
    struct feed feed;
    struct watch watch;
    struct told_tail *tail; /* NULL: what it tells is of no use to others */
    struct told *told;      /* on its way */
    size_t sent;
    uint64_t charged; /* for it */
    uint64_t beat_ns; /* when a client that heard nothing hears that nothing is to be heard */
    bool ended;       /* the text is the last */
    unsigned char prefix[];
};

static void drop_text(struct stream *stream)
{
    text_budget_release(stream->feed.budget, stream->charged);
    told_unref(stream->told);
    stream->told = NULL;
    stream->sent = stream->charged = 0;
}

/* What was written is on its way from now on: all that there was behind `from`. */
static enum status take_text(struct stream *stream, uint64_t from)
{
    size_t size;
    char *text = feed_take(&stream->feed, &size, &stream->charged);
    stream->told = told_make(text, size, from, stream->feed.at.sequence);
    return stream->told != NULL ? STATUS_OK : STATUS_NO_MEMORY;
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
    feed_tell_gone(feed, &problem);
    AUTO_FREE char *object = codec_problem(&problem, &size);
    if (object == NULL || !feed_open_text(feed))
        return STATUS_NO_MEMORY;
    fprintf(feed->text.out, "event: gone\ndata: %s\n", object);
    stream->ended = true;
    return take_text(stream, feed->at.sequence);
}

static enum status write_heartbeat(struct stream *stream)
{
    enum status status = write_cursor(stream, ":");
    return status == STATUS_OK ? take_text(stream, stream->feed.at.sequence) : status;
}

/* Waits until there may be more to read, or it is time for a heartbeat. */
static enum status wait_for_more(struct stream *stream)
{
    uint64_t published = stream->feed.at.sequence;
    enum status status = watch_wait(&stream->watch, &published, stream->beat_ns);
    return status == STATUS_BUSY ? write_heartbeat(stream) : status;
}

/* ---- changes ---- */

/* What another one was told that stood where this one stands. */
static bool take_shared(struct stream *stream)
{
    struct feed *feed = &stream->feed;
    if (stream->tail == NULL)
        return false;
    stream->told = told_tail_find(stream->tail, feed->at.sequence);
    if (stream->told != NULL)
        feed->at.sequence = stream->told->to;
    return stream->told != NULL;
}

static enum status read_anew(struct stream *stream, const struct engine_context *context)
{
    struct feed *feed = &stream->feed;
    uint64_t from = feed->at.sequence;
    enum status status = feed_read_admitted(feed, context);
    if (feed->count == 0 || status == STATUS_NO_MEMORY)
        return status;
    status = take_text(stream, from); /* what else there is, is met again */
    if (status == STATUS_OK && stream->tail != NULL)
        told_tail_add(stream->tail, stream->told);
    return status;
}

/* OK without a text: there is nothing to tell. All wake at once, and while they wait for the gate, one
 * who has passed it may have read for all. */
static enum status read_changes(struct stream *stream, const struct engine_context *context)
{
    if (take_shared(stream))
        return STATUS_OK;
    enum status status = gate_enter(stream->feed.gate, context);
    if (status != STATUS_OK)
        return status;
    if (!take_shared(stream))
        status = read_anew(stream, context);
    gate_leave(stream->feed.gate);
    return status;
}

/* Puts on its way what comes next: changes, a heartbeat, or why there is an end. */
static enum status go_on(struct stream *stream, uint64_t deadline_ns)
{
    struct feed *feed = &stream->feed;
    const struct engine_context context = {deadline_ns, stream->watch.exchange->cancel};
    enum status status = STATUS_OK;
    while (status == STATUS_OK && stream->told == NULL) {
        uint64_t before = feed->at.sequence;
        status = read_changes(stream, &context);
        if (stream->told != NULL || feed->no_room)
            return status;
        if (status == STATUS_GONE)
            status = write_gone(stream);
        else if (status == STATUS_BUSY || watch_until(stream->watch.api, 0) >= stream->beat_ns)
            status = write_heartbeat(stream);
        else if (status == STATUS_OK && feed->at.sequence == before)
            status = wait_for_more(stream);
    }
    return status;
}

static ssize_t stream_read(void *owner, char *buffer, size_t capacity, uint64_t deadline_ns)
{
    struct stream *stream = owner;
    if (stream->told == NULL || stream->sent == stream->told->size) {
        drop_text(stream);
        set_beat(stream);
        enum status status = stream->ended ? STATUS_CANCELLED : go_on(stream, deadline_ns);
        if (status == STATUS_CANCELLED)
            return API_STREAM_END;
        if (status != STATUS_OK)
            return API_STREAM_FAILED;
    }
    size_t left = stream->told->size - stream->sent, part = left < capacity ? left : capacity;
    memcpy(buffer, stream->told->bytes + stream->sent, part);
    stream->sent += part;
    return (ssize_t)part;
}

/* NULL: no memory. The prefix's bytes outlive the request. */
static struct stream *stream_open(struct api *api, const struct feed *feed)
{
    struct stream *stream = calloc(1, sizeof *stream + feed->prefix.size);
    if (stream == NULL)
        return NULL;
    stream->feed = *feed;
    stream->feed.limit = UINT32_MAX;
    stream->tail = feed->prefix.size == 0 && !feed->with_values ? &api->tail : NULL;
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
        return feed_refuse(&stream->feed, api, exchange->request, status);
    status = take_text(stream, 0);
    return (status == STATUS_OK || request_fail(api, exchange->request, status)) &&
           watch_begin(api, exchange, &stream->watch);
}

void events_answer(struct api *api, const struct exchange *exchange, const struct feed *feed,
                   struct response *response)
{
    struct stream *stream = stream_open(api, feed);
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
