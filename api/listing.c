/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /keys: keys in order, a page at a time, and their deletion by prefix. A page is what the engine's
 * scan visits until the limit is reached and one key more was seen; so `next` is there if and only if
 * something was left. Keys that share a prefix up to the delimiter are told once, and scanned past.
 */
#include <stdlib.h>
#include <string.h>

#include "codec.h"
#include "handlers.h"
#include "query.h"
#include "reply.h"
#include "request.h"

enum { PAGE_BYTES_MAX = 4 << 20 /* of values; at least one is told */ };

/* One page on its way. */
struct listing {
    struct query query;
    struct listed *items;
    struct bytes *prefixes;
    size_t item_count, prefix_count;
    uint64_t value_bytes;
    unsigned char
        *bounds[2]; /* of what is left, and of the scan that runs: the longest key, and more */
    unsigned side;  /* the one that the visitor writes */
    bool more;      /* there is something left, perhaps */
    bool skips;     /* the scan goes on behind a prefix */
    bool no_memory;
};

static void listing_close(struct listing *listing)
{
    for (size_t i = 0; i < listing->item_count; i++) {
        free((void *)listing->items[i].key.data);
        engine_item_done(&listing->items[i].item);
    }
    for (size_t i = 0; i < listing->prefix_count; i++)
        free((void *)listing->prefixes[i].data);
    free(listing->items);
    free(listing->prefixes);
    free(listing->bounds[0]);
    free(listing->bounds[1]);
    query_done(&listing->query);
}

static bool listing_open(struct api *api, struct api_request *request, struct listing *listing)
{
    const struct engine_limits *limits = engine_limits(api->engine);
    struct engine_health health;
    *listing = (struct listing){.more = false};
    engine_health(api->engine, &health);
    if (health.state == ENGINE_LOADING)
        return request_fail(api, request, STATUS_LOADING);
    if (!query_read(&request->parameters, limits, health.epoch, &listing->query, &request->problem))
        return false;
    listing->items = calloc(listing->query.limit, sizeof *listing->items);
    listing->prefixes = calloc(listing->query.limit, sizeof *listing->prefixes);
    for (size_t i = 0; i < COUNT_OF(listing->bounds); i++)
        listing->bounds[i] = malloc(UINT16_MAX + 1);
    if (listing->items == NULL || listing->prefixes == NULL || listing->bounds[0] == NULL ||
        listing->bounds[1] == NULL)
        return problem_set(&request->problem, PROBLEM_MEMORY_FULL);
    return true;
}

/* ---- what a scan visits ---- */

static bool is_full(const struct listing *listing)
{
    return listing->item_count + listing->prefix_count == listing->query.limit ||
           listing->value_bytes >= PAGE_BYTES_MAX;
}

static void *copy_of(struct listing *listing, struct bytes bytes)
{
    void *copy = malloc(bytes.size);
    listing->no_memory |= copy == NULL;
    return copy != NULL ? memcpy(copy, bytes.data, bytes.size) : NULL;
}

/* What is left begins behind `key`, in reverse ends before it. */
static void move_bound(struct listing *listing, struct bytes key)
{
    struct engine_range *range = &listing->query.range;
    unsigned char *bound = listing->bounds[listing->side];
    memcpy(bound, key.data, key.size);
    bound[key.size] = 0;
    if (range->reverse)
        range->until = (struct bytes){bound, key.size};
    else
        range->from = (struct bytes){bound, key.size + 1};
}

/* The same for all keys that begin with `prefix`. */
static void move_bound_past(struct listing *listing, struct bytes prefix)
{
    struct engine_range *range = &listing->query.range;
    unsigned char *bound = listing->bounds[listing->side];
    memcpy(bound, prefix.data, prefix.size);
    if (range->reverse) {
        range->until = (struct bytes){bound, prefix.size};
        listing->skips = bytes_compare(range->from, range->until) < 0;
        return;
    }
    range->from = (struct bytes){bound, query_successor(bound, prefix.size)};
    listing->skips = range->from.size > 0 &&
                     (range->until.size == 0 || bytes_compare(range->from, range->until) < 0);
}

/* The part of `key` that a delimiter folds; empty: it is told as it is. */
static struct bytes folded(const struct query *query, struct bytes key)
{
    const char *start = (const char *)key.data + query->prefix.size;
    const char *found = query->delimiter.size > 0
                            ? memmem(start, key.size - query->prefix.size, query->delimiter.data,
                                     query->delimiter.size)
                            : NULL;
    if (found == NULL)
        return (struct bytes){NULL, 0};
    return (struct bytes){key.data,
                          (size_t)(found - (const char *)key.data) + query->delimiter.size};
}

static bool fold(struct listing *listing, struct bytes prefix)
{
    void *copy = copy_of(listing, prefix);
    if (copy != NULL)
        listing->prefixes[listing->prefix_count++] = (struct bytes){copy, prefix.size};
    move_bound_past(listing, prefix);
    return false;
}

static bool list_key(void *visitor, struct bytes key, enum status status, struct engine_item *item)
{
    struct listing *listing = visitor;
    (void)status; /* a damaged one has a zero item */
    if (is_full(listing)) {
        listing->more = true;
        return false;
    }
    struct bytes prefix = folded(&listing->query, key);
    if (prefix.size > 0)
        return fold(listing, prefix);
    void *copy = copy_of(listing, key);
    if (copy == NULL)
        return false;
    listing->items[listing->item_count++] = (struct listed){.key = {copy, key.size}, .item = *item};
    listing->value_bytes += item->value.data != NULL ? item->value.size : 0;
    *item = (struct engine_item){0};
    move_bound(listing, key);
    return true;
}

/* A page that is not whole at the deadline is told as far as it came. */
static enum status scan(struct api *api, struct exchange *exchange, struct listing *listing)
{
    const struct engine_context context = {exchange->deadline_ns, exchange->cancel};
    bool with_values = (listing->query.fields & QUERY_VALUE) != 0;
    enum status status;
    do {
        struct engine_range range = listing->query.range; /* which the visitor moves */
        listing->skips = false;
        listing->side ^= 1;
        status = engine_scan(api->engine, &range, with_values, list_key, listing, &context);
    } while (status == STATUS_OK && listing->skips && !listing->no_memory);
    if (listing->no_memory)
        return STATUS_NO_MEMORY;
    if (status == STATUS_BUSY && listing->item_count + listing->prefix_count > 0) {
        listing->more = true;
        return STATUS_OK;
    }
    return status;
}

/* ---- answering ---- */

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

static void answer_page(struct api *api, const struct listing *listing, struct response *response)
{
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
    reply_owned(response, 200, "application/json", body, size);
    reply_header(response, "Cache-Control", "no-store");
    if (next != NULL)
        add_link(response, next);
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
        enum status status = scan(api, exchange, &listing);
        if (status == STATUS_OK)
            answer_page(api, &listing, out_response);
        else
            refuse(api, exchange->request, status);
    }
    listing_close(&listing);
}

/* ---- deleting ---- */

/* Commits one batch of the listed keys. Those that are gone by now are not counted. */
static enum status delete_some(struct api *api, struct exchange *exchange,
                               const struct listed *items, size_t count, uint64_t *deleted)
{
    const struct engine_context context = {exchange->deadline_ns, exchange->cancel};
    AUTO_FREE struct engine_operation *operations = calloc(count, sizeof *operations);
    if (operations == NULL)
        return STATUS_NO_MEMORY;
    for (size_t i = 0; i < count; i++)
        operations[i] = (struct engine_operation){.type = ENGINE_DELETE, .key = items[i].key};
    enum status status = engine_commit(api->engine, operations, (uint32_t)count, &context);
    for (size_t i = 0; i < count && status == STATUS_OK; i++)
        *deleted += operations[i].outcome == ENGINE_DELETED;
    return status;
}

static enum status delete_listed(struct api *api, struct exchange *exchange,
                                 const struct listing *listing, uint64_t *out_deleted)
{
    size_t most = engine_limits(api->engine)->batch_operations_max, done = 0;
    enum status status = STATUS_OK;
    *out_deleted = 0;
    while (done < listing->item_count && status == STATUS_OK) {
        size_t count = listing->item_count - done < most ? listing->item_count - done : most;
        status = delete_some(api, exchange, &listing->items[done], count, out_deleted);
        done += count;
    }
    return status;
}

static bool accept_prefix(const struct listing *listing, struct problem *problem)
{
    return listing->query.prefix.size > 0 ||
           problem_set_detail(problem, PROBLEM_BAD_PARAMETER,
                              "Name a prefix that is not empty: all keys at once are not deleted.");
}

static void answer_deleted(struct api *api, const struct listing *listing, uint64_t deleted,
                           struct response *response)
{
    size_t size = 0;
    AUTO_FREE char *next = listing->more ? next_cursor(api, listing) : NULL;
    char *body = next == NULL && listing->more ? NULL : codec_deleted(deleted, next, &size);
    reply_owned(response, 200, "application/json", body, size);
}

void keys_delete(struct api *api, struct exchange *exchange, struct response *out_response)
{
    struct api_request *request = exchange->request;
    struct listing listing;
    uint64_t deleted = 0;
    bool accepted =
        listing_open(api, request, &listing) && accept_prefix(&listing, &request->problem);
    listing.query.delimiter.size = 0; /* of a cursor that a listing gave */
    if (accepted) {
        enum status status = scan(api, exchange, &listing);
        if (status == STATUS_OK)
            status = delete_listed(api, exchange, &listing, &deleted);
        if (status == STATUS_OK)
            answer_deleted(api, &listing, deleted, out_response);
        else
            refuse(api, request, status);
    }
    listing_close(&listing);
}
