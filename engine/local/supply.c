/* SPDX-License-Identifier: Apache-2.0 */
/* Making segments ahead of need, and using their files again. */
#include "supply.h"

#include <string.h>
#include <time.h>

enum { FILES_KEPT = 1 };

void supply_init(struct supply *supply, const struct supply_options *options)
{
    *supply = (struct supply){
        .disk = options->disk,
        .segment_bytes = options->segment_bytes,
        .kept_bytes_max = options->kept_bytes_max,
        .next_id = options->next_id,
        .past = options->past,
    };
    memcpy(supply->uuid, options->uuid, FORMAT_UUID_BYTES);
    past_segments_keep(&supply->past, supply->kept_bytes_max);
    pthread_mutex_init(&supply->making, NULL);
    pthread_mutex_init(&supply->mutex, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&supply->made, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

void supply_done(struct supply *supply)
{
    segment_close(supply->ready);
    segment_index_close(supply->active);
    past_segments_done(&supply->past);
    pthread_cond_destroy(&supply->made);
    pthread_mutex_destroy(&supply->mutex);
    pthread_mutex_destroy(&supply->making);
}

/* ---- making ---- */

enum status supply_make(struct supply *supply, uint64_t bytes, struct segment **out_segment)
{
    pthread_mutex_lock(&supply->mutex);
    uint64_t id = supply->next_id++;
    uint64_t recycled = past_segments_take(&supply->past, bytes);
    pthread_mutex_unlock(&supply->mutex);
    return segment_make(supply->disk, supply->uuid, id, bytes, recycled, out_segment);
}

static enum status prepare_alone(struct supply *supply)
{
    if (!supply_is_empty(supply))
        return STATUS_OK;
    struct segment *segment = NULL;
    enum status status = supply_make(supply, supply->segment_bytes, &segment);
    pthread_mutex_lock(&supply->mutex);
    supply->ready = segment;
    supply->no_space = status == STATUS_NO_SPACE;
    supply->wanted = supply->wanted && segment == NULL;
    pthread_cond_signal(&supply->made);
    pthread_mutex_unlock(&supply->mutex);
    return status;
}

/* Housekeeping and a leader that unseals must not make two. */
enum status supply_prepare(struct supply *supply)
{
    pthread_mutex_lock(&supply->making);
    enum status status = prepare_alone(supply);
    pthread_mutex_unlock(&supply->making);
    return status;
}

bool supply_is_empty(struct supply *supply)
{
    return supply_ready(supply) == NULL;
}

bool supply_is_wanted(struct supply *supply)
{
    pthread_mutex_lock(&supply->mutex);
    bool wanted = supply->wanted;
    pthread_mutex_unlock(&supply->mutex);
    return wanted;
}

void supply_tell_due(struct supply *supply)
{
    if (supply->on_due != NULL)
        supply->on_due(supply->on_due_context);
}

/* A large frame may not fit long before the segment is half full. */
enum status supply_wait(struct supply *supply, uint64_t deadline_ns)
{
    struct timespec deadline = {(time_t)(deadline_ns / 1000000000u),
                                (long)(deadline_ns % 1000000000u)};
    enum status status = STATUS_OK;
    pthread_mutex_lock(&supply->mutex);
    if (supply->ready == NULL) {
        supply->wanted = true;
        supply_tell_due(supply);
    }
    while (supply->ready == NULL && status == STATUS_OK) {
        if (supply->no_space)
            status = STATUS_NO_SPACE;
        else if (pthread_cond_timedwait(&supply->made, &supply->mutex, &deadline) != 0 &&
                 supply->ready == NULL)
            status = STATUS_BUSY;
    }
    pthread_mutex_unlock(&supply->mutex);
    return status;
}

struct segment *supply_ready(struct supply *supply)
{
    pthread_mutex_lock(&supply->mutex);
    struct segment *ready = supply->ready;
    pthread_mutex_unlock(&supply->mutex);
    return ready;
}

void supply_take(struct supply *supply)
{
    pthread_mutex_lock(&supply->mutex);
    supply->ready = NULL;
    pthread_mutex_unlock(&supply->mutex);
}

uint64_t supply_next_id(struct supply *supply)
{
    pthread_mutex_lock(&supply->mutex);
    uint64_t id = supply->next_id;
    pthread_mutex_unlock(&supply->mutex);
    return id;
}

/* ---- the active segment, and those behind it ---- */

enum status supply_activate(struct supply *supply, struct segment_index *next,
                            const struct segment *old, uint64_t last_sequence, bool failed)
{
    pthread_mutex_lock(&supply->mutex);
    enum status status = past_segments_reserve(&supply->past);
    if (status == STATUS_OK && old != NULL)
        past_segments_add(&supply->past, (struct past_segment){
                                             .id = old->id,
                                             .last_sequence = last_sequence,
                                             .bytes = old->bytes,
                                             .failed = failed,
                                             .index = supply->active,
                                         });
    if (status == STATUS_OK)
        supply->active = next;
    pthread_mutex_unlock(&supply->mutex);
    return status;
}

uint64_t supply_first_needed(struct supply *supply, uint64_t flushed_sequence, uint64_t otherwise)
{
    pthread_mutex_lock(&supply->mutex);
    uint64_t first = past_segments_first_above(&supply->past, flushed_sequence, otherwise);
    pthread_mutex_unlock(&supply->mutex);
    return first;
}

void supply_release(struct supply *supply, uint64_t first_needed)
{
    pthread_mutex_lock(&supply->mutex);
    if (first_needed > supply->past.needed_first)
        supply->past.needed_first = first_needed;
    past_segments_keep(&supply->past, supply->kept_bytes_max);
    pthread_mutex_unlock(&supply->mutex);
}

void supply_forget_below(struct supply *supply, uint64_t first)
{
    pthread_mutex_lock(&supply->mutex);
    if (first > supply->past.kept_first)
        supply->past.kept_first = first;
    pthread_mutex_unlock(&supply->mutex);
}

uint64_t supply_give_up(struct supply *supply, uint64_t bytes)
{
    pthread_mutex_lock(&supply->mutex);
    uint64_t kept = past_segments_kept_bytes(&supply->past);
    uint64_t given_up = past_segments_keep(&supply->past, kept > bytes ? kept - bytes : 0);
    pthread_mutex_unlock(&supply->mutex);
    return given_up;
}

uint64_t supply_kept_first(struct supply *supply)
{
    pthread_mutex_lock(&supply->mutex);
    uint64_t first = supply->past.kept_first;
    pthread_mutex_unlock(&supply->mutex);
    return first;
}

void supply_trim(struct supply *supply)
{
    for (;;) {
        struct past_segment surplus;
        char name[64];
        pthread_mutex_lock(&supply->mutex);
        bool any =
            past_segments_take_surplus(&supply->past, supply->segment_bytes, FILES_KEPT, &surplus);
        pthread_mutex_unlock(&supply->mutex);
        if (!any)
            return;
        segment_name(surplus.id, name);
        /* What cannot be removed now is a stray that the next start removes. */
        enum status ignored = disk_remove(supply->disk, name);
        (void)ignored;
    }
}

void supply_count(struct supply *supply, uint64_t *segments, uint64_t *bytes, uint64_t *kept_bytes)
{
    pthread_mutex_lock(&supply->mutex);
    *kept_bytes += past_segments_kept_bytes(&supply->past);
    *segments += supply->past.count + (supply->ready != NULL);
    for (size_t i = 0; i < supply->past.count; i++)
        *bytes += supply->past.rows[i].bytes;
    if (supply->ready != NULL)
        *bytes += supply->ready->bytes;
    pthread_mutex_unlock(&supply->mutex);
}

/* ---- for readers of changes ---- */

uint64_t supply_oldest(struct supply *supply)
{
    pthread_mutex_lock(&supply->mutex);
    const struct segment_index *oldest = past_segments_oldest(&supply->past);
    uint64_t sequence = oldest != NULL ? oldest->before : supply->active->before;
    pthread_mutex_unlock(&supply->mutex);
    return sequence;
}

struct segment_index *supply_pin(struct supply *supply, uint64_t sequence)
{
    pthread_mutex_lock(&supply->mutex);
    struct segment_index *index = supply->active->before <= sequence
                                      ? supply->active
                                      : past_segments_find(&supply->past, sequence);
    if (index != NULL)
        index->readers++;
    pthread_mutex_unlock(&supply->mutex);
    return index;
}

void supply_unpin(struct supply *supply, struct segment_index *index)
{
    pthread_mutex_lock(&supply->mutex);
    index->readers--;
    pthread_mutex_unlock(&supply->mutex);
}
