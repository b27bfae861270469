/* SPDX-License-Identifier: Apache-2.0 */
/* /keys: a page of keys, all of them as lines, or the deletion of those with a prefix. */
#include <stdlib.h>
#include <string.h>

#include "handlers.h"
#include "listing.h"
#include "reply.h"

static enum status fill(struct api *api, const struct exchange *exchange, struct listing *listing)
{
    const struct engine_context context = {exchange->deadline_ns, exchange->cancel};
    return listing_fill(listing, api->engine, &context);
}

/* ---- a page ---- */

static char *next_cursor(struct api *api, const struct listing *listing)
{
    struct engine_health health;
    engine_health(api->engine, &health);
    return query_write_cursor(&listing->query, health.epoch);
}

static void add_link(struct response *response, const char *cursor)
{
    static const char before[] = "</keys?cursor=", behind[] = ">; rel=\"next\"";
    char *room =
        reply_header_room(response, "Link", sizeof before + strlen(cursor) + sizeof behind);
    if (room != NULL)
        stpcpy(stpcpy(stpcpy(room, before), cursor), behind);
}

/* The feed from there on has all that the listing may have missed. */
static void add_changes_cursor(struct response *response, const struct listing *listing)
{
    char *room = reply_header_room(response, "Keyrest-Changes-Cursor", ETAG_BYTES);
    if (room != NULL)
        etag_write_cursor(listing->before, room);
}

static void answer_page(struct api *api, struct api_request *request, const struct listing *listing,
                        struct response *response)
{
    uint64_t charged;
    if (!request_charge_values(api, request, listing->value_bytes, &charged))
        return;
    AUTO_FREE char *next = listing->more ? next_cursor(api, listing) : NULL;
    const struct page page = {
        .items = listing->items,
        .item_count = listing->item_count,
        .prefixes = listing->prefixes,
        .prefix_count = listing->prefix_count,
        .fields = listing->query.fields,
        .next = next,
    };
    size_t size = 0;
    char *body = next == NULL && listing->more ? NULL : codec_page(&page, &size);
    reply_charged(response, "application/json", body, size, &api->texts, charged);
    reply_header(response, "Cache-Control", "no-store");
    add_changes_cursor(response, listing);
    if (next != NULL)
        add_link(response, next);
}

/* ---- lines ---- */

#define LINES_TYPE "application/x-ndjson"

/* All that is left, a page at a time: what memory it takes does not depend on how much there is. */
struct stream {
    struct api *api;
    const struct cancel *cancel;
    struct listing listing;
    size_t told; /* of the page at hand */
    char *line;  /* the next one, without its terminator */
    size_t size, sent;
    uint64_t charged; /* for it */
    uint64_t count;
    bool ended; /* it is the last one */
};

static void drop_line(struct stream *stream)
{
    text_budget_release(&stream->api->texts, stream->charged);
    free(stream->line);
    stream->line = NULL;
    stream->charged = stream->size = stream->sent = 0;
}

static void stream_close(void *owner)
{
    struct stream *stream = owner;
    drop_line(stream);
    listing_close(&stream->listing);
    free(stream);
}

static char *write_item(struct stream *stream, const struct listed *listed)
{
    uint64_t charge = listed->item.value.size * CODEC_BYTES_PER_VALUE_BYTE;
    if (!text_budget_charge(&stream->api->texts, charge))
        return NULL;
    stream->charged = charge;
    return codec_listed(listed, stream->listing.query.fields, &stream->size);
}

/* The next line, or after the last of a page, the next page and no line. False: that failed. */
static bool go_on(struct stream *stream, uint64_t deadline_ns)
{
    const struct listing *listing = &stream->listing;
    size_t told = stream->told++;
    drop_line(stream);
    if (told < listing->item_count)
        stream->line = write_item(stream, &listing->items[told]);
    else if (told < listing->item_count + listing->prefix_count)
        stream->line = codec_prefix(listing->prefixes[told - listing->item_count], &stream->size);
    else if (listing->more) {
        const struct engine_context context = {deadline_ns, stream->cancel};
        stream->told = 0;
        return listing_fill(&stream->listing, stream->api->engine, &context) == STATUS_OK;
    } else {
        stream->line = codec_list_end(stream->count, &stream->size);
        stream->ended = true;
        return stream->line != NULL;
    }
    stream->count++;
    return stream->line != NULL;
}

static bool page_is_told(const struct stream *stream)
{
    return stream->told >= stream->listing.item_count + stream->listing.prefix_count;
}

static ssize_t stream_read(void *owner, char *buffer, size_t capacity, uint64_t deadline_ns)
{
    struct stream *stream = owner;
    size_t written = 0;
    while (written < capacity && !(stream->ended && stream->sent == stream->size)) {
        if (stream->sent == stream->size) {
            if (written > 0 && page_is_told(stream))
                break; /* what is there need not wait for the next page */
            if (!go_on(stream, deadline_ns))
                return API_STREAM_FAILED;
            continue; /* the next page may be there and no line of it yet */
        }
        size_t left = stream->size - stream->sent, room = capacity - written;
        size_t part = left < room ? left : room;
        memcpy(buffer + written, stream->line + stream->sent, part);
        stream->sent += part;
        written += part;
    }
    return written > 0 ? (ssize_t)written : API_STREAM_END;
}

/* Takes over the listing, whose first page is there: what can be refused was refused by now. */
static void answer_stream(struct api *api, const struct exchange *exchange, struct listing *listing,
                          struct response *response)
{
    struct stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL) {
        reply_owned(response, 200, LINES_TYPE, NULL, 0); /* there is no memory */
        return;
    }
    *stream = (struct stream){.api = api, .cancel = exchange->cancel, .listing = *listing};
    *listing = (struct listing){.more = false};
    reply_stream(response, LINES_TYPE, stream_read, stream_close, stream);
    reply_header(response, "Cache-Control", "no-store");
    add_changes_cursor(response, &stream->listing);
}

static void refuse(const struct api *api, struct api_request *request, enum status status)
{
    request_fail(api, request, status);
    if (status == STATUS_BUSY)
        problem_set_detail(&request->problem, PROBLEM_BUSY,
                           "The range holds too many deleted keys to find one in time: ask again, "
                           "or for a smaller range.");
    if (status == STATUS_CORRUPT)
        problem_set_detail(&request->problem, PROBLEM_DATA_CORRUPT,
                           "A table's index is damaged, so that keys of this range cannot be "
                           "listed; the log names the file. Other ranges may be whole.");
}

void keys_list(struct api *api, struct exchange *exchange, struct response *out_response)
{
    struct listing listing;
    if (listing_open(api, exchange->request, &listing)) {
        enum status status = fill(api, exchange, &listing);
        if (status == STATUS_OK && headers_accept(exchange, LINES_TYPE))
            answer_stream(api, exchange, &listing, out_response);
        else if (status == STATUS_OK)
            answer_page(api, exchange->request, &listing, out_response);
        else
            refuse(api, exchange->request, status);
    }
    listing_close(&listing);
}

/* ---- deleting ---- */

/* All in one commit, or none. Those that are gone by now are not counted. */
static enum status delete_listed(struct api *api, struct exchange *exchange,
                                 const struct listing *listing, uint64_t *out_deleted)
{
    const struct engine_context context = {exchange->deadline_ns, exchange->cancel};
    AUTO_FREE struct engine_operation *operations =
        calloc(listing->item_count + 1, sizeof *operations);
    *out_deleted = 0;
    if (operations == NULL)
        return STATUS_NO_MEMORY;
    if (listing->item_count == 0)
        return STATUS_OK;
    for (size_t i = 0; i < listing->item_count; i++)
        operations[i] =
            (struct engine_operation){.type = ENGINE_DELETE, .key = listing->items[i].key};
    enum status status =
        engine_commit(api->engine, operations, (uint32_t)listing->item_count, &context);
    for (size_t i = 0; i < listing->item_count && status == STATUS_OK; i++)
        *out_deleted += operations[i].outcome == ENGINE_DELETED;
    return status;
}

static bool accept_prefix(const struct listing *listing, struct problem *problem)
{
    return listing->query.prefix.size > 0 ||
           problem_set_detail(problem, PROBLEM_BAD_PARAMETER,
                              "Name a prefix that is not empty: all keys at once are not deleted.");
}

/* Once they are deleted no lack of memory may say that they were not: the answer's room comes first. */
static enum status delete_and_answer(struct api *api, struct exchange *exchange,
                                     const struct listing *listing, struct response *response)
{
    uint64_t deleted;
    AUTO_FREE char *next = listing->more ? next_cursor(api, listing) : NULL;
    AUTO_FREE char *body = malloc(codec_deleted_room(next));
    if ((next == NULL && listing->more) || body == NULL || !reply_reserve(response, 0))
        return STATUS_NO_MEMORY;
    enum status status = delete_listed(api, exchange, listing, &deleted);
    if (status == STATUS_OK) {
        size_t size = codec_deleted(deleted, next, body);
        reply_owned(response, 200, "application/json", TAKE(body), size);
    }
    return status;
}

void keys_delete(struct api *api, struct exchange *exchange, struct response *out_response)
{
    struct api_request *request = exchange->request;
    uint32_t most = engine_limits(api->engine)->batch_operations_max;
    struct listing listing;
    bool accepted =
        listing_open(api, request, &listing) && accept_prefix(&listing, &request->problem);
    listing.query.delimiter.size = 0; /* of a cursor that a listing gave */
    if (listing.query.limit > most)
        listing.query.limit = most; /* one commit */
    if (accepted) {
        enum status status = fill(api, exchange, &listing);
        if (status == STATUS_OK)
            status = delete_and_answer(api, exchange, &listing, out_response);
        if (status != STATUS_OK)
            refuse(api, request, status);
    }
    listing_close(&listing);
}
