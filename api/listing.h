/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A page of keys: what the engine's scan visits until the limit is reached and one key more was seen;
 * so `more` is true if and only if something was left. Keys that share a prefix up to the delimiter
 * are told once, and scanned past. One thread.
 */
#ifndef KEYREST_API_LISTING_H
#define KEYREST_API_LISTING_H

#include "codec.h"
#include "query.h"
#include "request.h"

/* One page on its way. */
struct listing {
    struct query query;
    struct listed *items;
    struct bytes *prefixes;
    size_t item_count, prefix_count;
    uint64_t value_bytes;
    struct engine_version before; /* published before the first scan began */
    unsigned char
        *bounds[2]; /* of what is left, and of the scan that runs: the longest key, and more */
    unsigned side;  /* the one that the visitor writes */
    bool more;      /* there is something left, perhaps */
    bool skips;     /* the scan goes on behind a prefix */
    bool no_memory;
};

/* By the request's parameters; false: its problem is set. listing_close() after both. */
MUST_CHECK bool listing_open(struct api *api, struct api_request *request,
                             struct listing *out_listing);
void listing_close(struct listing *listing);

/*
 * The next page, in place of the one before. What is not whole at the deadline is told as far as it
 * came. BUSY: nothing came; CORRUPT, NO_MEMORY, CANCELLED, LOADING.
 */
MUST_CHECK enum status listing_fill(struct listing *listing, struct engine *engine,
                                    const struct engine_context *context);

#endif
