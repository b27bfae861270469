/* SPDX-License-Identifier: Apache-2.0 */
/* Visiting keys, folding them, and where the next page begins. */
#include "listing.h"

#include <stdlib.h>
#include <string.h>

enum { PAGE_BYTES_MAX = 2 << 20 /* of values; at least one is told */ };

static void clear(struct listing *listing)
{
    for (size_t i = 0; i < listing->item_count; i++) {
        free((void *)listing->items[i].key.data);
        engine_item_done(&listing->items[i].item);
    }
    for (size_t i = 0; i < listing->prefix_count; i++)
        free((void *)listing->prefixes[i].data);
    listing->item_count = listing->prefix_count = 0;
    listing->value_bytes = 0;
    listing->more = false;
}

void listing_close(struct listing *listing)
{
    clear(listing);
    free(listing->items);
    free(listing->prefixes);
    free(listing->bounds[0]);
    free(listing->bounds[1]);
    query_done(&listing->query);
}

bool listing_open(struct api *api, struct api_request *request, struct listing *listing)
{
    const struct engine_limits *limits = engine_limits(api->engine);
    struct engine_health health;
    *listing = (struct listing){.more = false};
    engine_health(api->engine, &health);
    if (health.state == ENGINE_LOADING)
        return request_fail(api, request, STATUS_LOADING);
    if (!query_read(&request->parameters, limits, health.epoch, &listing->query, &request->problem))
        return false;
    listing->before = (struct engine_version){health.epoch, health.sequence};
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

static uint64_t value_bytes(const struct engine_item *item)
{
    return item->value.data != NULL ? item->value.size : 0;
}

static bool is_full(const struct listing *listing, const struct engine_item *next)
{
    uint64_t bytes = listing->value_bytes;
    return listing->item_count + listing->prefix_count == listing->query.limit ||
           (bytes > 0 && bytes + value_bytes(next) > PAGE_BYTES_MAX);
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
    if (is_full(listing, item)) {
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
    listing->value_bytes += value_bytes(item);
    *item = (struct engine_item){0};
    move_bound(listing, key);
    return true;
}

enum status listing_fill(struct listing *listing, struct engine *engine,
                         const struct engine_context *context)
{
    bool with_values = (listing->query.fields & QUERY_VALUE) != 0;
    enum status status;
    clear(listing);
    do {
        struct engine_range range = listing->query.range; /* which the visitor moves */
        listing->skips = false;
        listing->side ^= 1;
        status = engine_scan(engine, &range, with_values, list_key, listing, context);
    } while (status == STATUS_OK && listing->skips && !listing->no_memory);
    if (listing->no_memory)
        return STATUS_NO_MEMORY;
    if (status == STATUS_BUSY && listing->item_count + listing->prefix_count > 0) {
        listing->more = true;
        return STATUS_OK;
    }
    return status;
}
