/* SPDX-License-Identifier: Apache-2.0 */
/* Each change is written while it is visited: what a watcher holds is one text. */
#include "feed.h"

#include <stdlib.h>
#include <string.h>

#include "codec.h"
#include "request.h"

bool feed_open_text(struct feed *feed)
{
    return feed->text.out != NULL || text_open(&feed->text);
}

bool feed_is_full(const struct feed *feed)
{
    return feed->count >= feed->limit || feed->bytes >= feed->bytes_max;
}

static bool begins_with(struct bytes key, struct bytes prefix)
{
    return key.size >= prefix.size &&
           (prefix.size == 0 || memcmp(key.data, prefix.data, prefix.size) == 0);
}

/* `object` ends with a line feed. */
static void write_event(FILE *out, const struct engine_change *change, const char *object)
{
    char cursor[ETAG_BYTES];
    etag_write_cursor(change->version, cursor);
    fprintf(out, "id: %s\nevent: %s\ndata: %s\n", cursor, codec_change_name(change->type), object);
}

static void write_element(FILE *out, const char *object, size_t size, bool first)
{
    fputs(first ? FEED_LIST_HEAD : ",", out);
    fwrite(object, 1, size - 1, out);
}

static bool charge(struct feed *feed, const struct engine_change *change)
{
    uint64_t bytes = feed->with_values ? change->value.size * CODEC_BYTES_PER_VALUE_BYTE : 0;
    if (!text_budget_charge(feed->budget, bytes))
        return false;
    feed->charged += bytes;
    return true;
}

static bool tell(void *visitor, const struct engine_change *change)
{
    struct feed *feed = visitor;
    size_t size = 0;
    bool picked = begins_with(change->key, feed->prefix);
    if (picked && !charge(feed, change)) {
        feed->no_room = true;
        return false;
    }
    feed->at.sequence = change->version.sequence;
    if (!picked)
        return true;
    AUTO_FREE char *object = codec_change(change, feed->with_values, &size);
    if (object == NULL || !feed_open_text(feed)) {
        feed->no_memory = true;
        return false;
    }
    if (feed->as_events)
        write_event(feed->text.out, change, object);
    else
        write_element(feed->text.out, object, size, feed->count == 0);
    feed->count++;
    feed->bytes += size;
    return !feed_is_full(feed);
}

enum status feed_read(struct feed *feed, const struct engine_context *context)
{
    enum status status = gate_enter(feed->gate, context);
    if (status != STATUS_OK)
        return status;
    status = feed_read_admitted(feed, context);
    gate_leave(feed->gate);
    return status;
}

enum status feed_read_admitted(struct feed *feed, const struct engine_context *context)
{
    struct engine_feed got = {.after = feed->at.sequence};
    feed->no_room = false;
    enum status status = engine_changes(feed->engine, feed->at.sequence, tell, feed, &got, context);
    if (feed->no_memory)
        return STATUS_NO_MEMORY;
    if (feed->no_room)
        return feed->count > 0 ? STATUS_OK : STATUS_BUSY;
    feed->oldest = got.oldest;
    if (status == STATUS_OK)
        feed->at.sequence = got.after;
    return status;
}

char *feed_take(struct feed *feed, size_t *out_size, uint64_t *out_charged)
{
    char *text = feed_open_text(feed) ? text_take(&feed->text) : NULL;
    *out_size = feed->text.size;
    *out_charged = feed->charged;
    feed->text = (struct text){.out = NULL};
    feed->count = 0;
    feed->bytes = 0;
    feed->charged = 0;
    return text;
}

void feed_close(struct feed *feed)
{
    size_t size;
    uint64_t charged = feed->charged;
    if (feed->text.out != NULL)
        free(feed_take(feed, &size, &charged));
    text_budget_release(feed->budget, charged);
    feed->charged = 0;
}

void feed_tell_gone(const struct feed *feed, struct problem *problem)
{
    problem_set(problem, PROBLEM_CHANGES_GONE);
    etag_write_cursor((struct engine_version){feed->at.epoch, feed->oldest}, problem->oldest);
}

bool feed_refuse(const struct feed *feed, const struct api *api, struct api_request *request,
                 enum status status)
{
    struct problem *problem = &request->problem;
    request_fail(api, request, status);
    if (status == STATUS_GONE)
        feed_tell_gone(feed, problem);
    if (status == STATUS_INVALID)
        problem_set_detail(problem, PROBLEM_CURSOR_BAD,
                           "The cursor is ahead of all changes: send one as it came.");
    if (status == STATUS_CORRUPT || status == STATUS_IO)
        problem_set_detail(problem, PROBLEM_DATA_CORRUPT,
                           "A part of the journal cannot be read, so that changes behind this "
                           "cursor cannot be told; the log names the file. Begin anew with GET "
                           "/keys.");
    if (status == STATUS_BUSY)
        problem_set_detail(problem, PROBLEM_BUSY, "No change was read in time: ask again.");
    if (status == STATUS_UNSUPPORTED)
        problem_set_detail(problem, PROBLEM_UNSUPPORTED,
                           "The engine %s: lacks the capability changes.",
                           engine_limits(api->engine)->scheme);
    return false;
}
