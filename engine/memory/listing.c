/* SPDX-License-Identifier: Apache-2.0 */
/* Scans of the memory engine: a walk through the whole tree, for it is no engine for large stores. */
#include <search.h>

#include "memory.h"

/* The versions of a range, in order, each with a reference. */
struct listing {
    struct memory_engine *engine;
    const struct engine_range *range;
    struct version **versions;
    size_t count;
};

static bool is_in_range(const struct engine_range *range, struct bytes key)
{
    return bytes_compare(key, range->from) >= 0 &&
           (range->until.size == 0 || bytes_compare(key, range->until) < 0);
}

/* twalk_r() comes to each node in the order of the keys: once between its children, or at a leaf. */
static void list_node(const void *node, VISIT visit, void *context)
{
    struct listing *listing = context;
    struct version *version = *(struct version *const *)node;
    if ((visit != postorder && visit != leaf) || !is_in_range(listing->range, version->key) ||
        !is_live(listing->engine, version))
        return;
    atomic_fetch_add_explicit(&version->references, 1, memory_order_relaxed);
    listing->versions[listing->count++] = version;
}

static enum status list_range(struct listing *listing)
{
    struct memory_engine *engine = listing->engine;
    pthread_mutex_lock(&engine->mutex);
    listing->versions = calloc(engine->keys + 1, sizeof(struct version *));
    if (listing->versions != NULL)
        twalk_r(engine->tree, list_node, listing);
    pthread_mutex_unlock(&engine->mutex);
    return listing->versions != NULL ? STATUS_OK : STATUS_NO_MEMORY;
}

static enum status visit_listed(struct listing *listing, bool with_values, engine_visit *visit,
                                void *visitor, const struct engine_context *context)
{
    const struct memory_engine *engine = listing->engine;
    enum status status = STATUS_OK;
    bool go_on = true;
    for (size_t i = 0; i < listing->count; i++) {
        size_t at = listing->range->reverse ? listing->count - 1 - i : i;
        struct engine_item item = item_of(engine, listing->versions[at]);
        struct bytes key = listing->versions[at]->key;
        if (!with_values)
            item.value.data = NULL;
        if (cancel_fired(context->cancel))
            status = STATUS_CANCELLED;
        else if (engine->time->monotonic_ns(engine->time) >= context->deadline_ns)
            status = STATUS_BUSY;
        go_on = go_on && status == STATUS_OK && visit(visitor, key, STATUS_OK, &item);
        engine_item_done(&item);
    }
    return status;
}

enum status memory_scan(struct engine *face, const struct engine_range *range, bool with_values,
                        engine_visit *visit, void *visitor, const struct engine_context *context)
{
    struct listing listing = {.engine = of_face(face), .range = range};
    enum status status = inject_next(listing.engine->inject, INJECT_SCAN);
    if (status != STATUS_OK)
        return status;
    stats_add(listing.engine->stats, STATS_scans, 1);
    status = list_range(&listing);
    if (status == STATUS_OK)
        status = visit_listed(&listing, with_values, visit, visitor, context);
    free(listing.versions);
    return status;
}
