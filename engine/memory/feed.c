/* SPDX-License-Identifier: Apache-2.0 */
/* The memory engine's feed: a page of its history, visited without the mutex. */
#include "memory.h"

enum {
    PAGE_CHANGES = 512,
    PAGE_BYTES = 1 << 20,
    HISTORY_SHARE = 8, /* of the memory limit: the feed's part, beside what keys take */
};

void memory_feed_init(struct memory_engine *engine, uint64_t changes_bytes_max)
{
    uint64_t share = engine->memory_bytes_max / HISTORY_SHARE;
    history_init(&engine->history, changes_bytes_max < share ? changes_bytes_max : share);
}

static enum status take_page(struct memory_engine *engine, uint64_t after,
                             struct past_change **page, size_t *out_count,
                             struct engine_feed *out_feed)
{
    enum status status = STATUS_OK;
    pthread_mutex_lock(&engine->mutex);
    struct engine_feed feed = {after, engine->history.first - 1};
    if (after > engine->sequence)
        status = STATUS_INVALID;
    else if (after < feed.oldest)
        status = STATUS_GONE;
    else
        *out_count = history_take_locked(&engine->history, after, page, PAGE_CHANGES, PAGE_BYTES);
    pthread_mutex_unlock(&engine->mutex);
    *out_feed = feed;
    return status;
}

static enum status visit_page(const struct memory_engine *engine, struct past_change *const *page,
                              size_t count, engine_visit_change *visit, void *visitor,
                              struct engine_feed *feed, const struct engine_context *context)
{
    for (size_t i = 0; i < count; i++) {
        const struct engine_change *change = &page[i]->change;
        if (cancel_fired(context->cancel))
            return STATUS_CANCELLED;
        if (engine->time->monotonic_ns(engine->time) >= context->deadline_ns)
            return STATUS_BUSY;
        feed->after = change->version.sequence;
        if (!visit(visitor, change))
            return STATUS_OK;
    }
    return STATUS_OK;
}

enum status memory_changes(struct engine *face, uint64_t after, engine_visit_change *visit,
                           void *visitor, struct engine_feed *out_feed,
                           const struct engine_context *context)
{
    struct memory_engine *engine = of_face(face);
    struct past_change *page[PAGE_CHANGES];
    size_t count = 0;
    enum status status = inject_next(engine->inject, INJECT_CHANGES);
    if (status == STATUS_OK)
        status = take_page(engine, after, page, &count, out_feed);
    if (status == STATUS_OK)
        status = visit_page(engine, page, count, visit, visitor, out_feed, context);
    for (size_t i = 0; i < count; i++)
        past_change_unref(page[i]);
    return status;
}

enum status memory_wait(struct engine *face, uint64_t sequence, uint64_t *out_sequence,
                        const struct engine_context *context)
{
    struct memory_engine *engine = of_face(face);
    enum status status = inject_next(engine->inject, INJECT_WAIT);
    return status == STATUS_OK
               ? published_wait(&engine->published, sequence, out_sequence, engine->time, context)
               : status;
}
