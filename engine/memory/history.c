/* SPDX-License-Identifier: Apache-2.0 */
/* A ring of changes, for their sequences have no gaps. */
#include "history.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { CAPACITY_MIN = 64 };

void history_init(struct history *history, uint64_t bytes_max)
{
    *history = (struct history){.first = 1, .next = 1, .bytes_max = bytes_max};
}

/* Pairs with: the same in other threads; the last one must see their reads done before it frees. */
void past_change_unref(struct past_change *change)
{
    if (atomic_fetch_sub_explicit(&change->references, 1, memory_order_acq_rel) == 1)
        free(change);
}

static struct past_change **row_of(const struct history *history, uint64_t sequence)
{
    return &history->rows[sequence & (history->capacity - 1)];
}

static void forget_oldest(struct history *history)
{
    struct past_change *oldest = *row_of(history, history->first++);
    history->bytes -= oldest->bytes;
    past_change_unref(oldest);
}

static void forget_above(struct history *history, uint64_t bytes)
{
    while (history->first < history->next && history->bytes > bytes)
        forget_oldest(history);
}

void history_done(struct history *history)
{
    forget_above(history, 0);
    free(history->rows);
}

/* ---- adding ---- */

static struct bytes append(unsigned char **end, struct bytes bytes)
{
    struct bytes copy = {*end, bytes.size};
    if (bytes.size > 0)
        memcpy(*end, bytes.data, bytes.size);
    *end += bytes.size;
    return copy;
}

static struct past_change *copy_of(const struct engine_change *change)
{
    uint64_t bytes =
        sizeof(struct past_change) + change->key.size + change->meta.size + change->value.size;
    struct past_change *copy = malloc(bytes);
    if (copy == NULL)
        return NULL;
    copy->change = *change;
    atomic_init(&copy->references, 1);
    copy->bytes = bytes;
    unsigned char *end = copy->data;
    copy->change.key = append(&end, change->key);
    copy->change.meta = append(&end, change->meta);
    copy->change.value = append(&end, change->value);
    return copy;
}

static bool make_room(struct history *history)
{
    if (history->next - history->first < history->capacity)
        return true;
    struct history grown = *history;
    grown.capacity = history->capacity == 0 ? CAPACITY_MIN : history->capacity * 2;
    grown.rows = calloc(grown.capacity, sizeof(struct past_change *));
    if (grown.rows == NULL)
        return false;
    for (uint64_t sequence = history->first; sequence < history->next; sequence++)
        *row_of(&grown, sequence) = *row_of(history, sequence);
    free(history->rows);
    *history = grown;
    return true;
}

void history_add_locked(struct history *history, const struct engine_change *change)
{
    struct past_change *copy = history->bytes_max > 0 ? copy_of(change) : NULL;
    if (copy == NULL || !make_room(history)) {
        free(copy);
        forget_above(history, 0);
        history->first = ++history->next;
        return;
    }
    *row_of(history, history->next++) = copy;
    history->bytes += copy->bytes;
    forget_above(history, history->bytes_max);
}

/* ---- reading ---- */

size_t history_take_locked(const struct history *history, uint64_t after,
                           struct past_change **out_changes, size_t count_max, uint64_t bytes_max)
{
    size_t count = 0;
    uint64_t bytes = 0;
    for (uint64_t sequence = after + 1;
         sequence < history->next && count < count_max && bytes < bytes_max; sequence++) {
        struct past_change *change = *row_of(history, sequence);
        atomic_fetch_add_explicit(&change->references, 1, memory_order_relaxed);
        bytes += change->bytes;
        out_changes[count++] = change;
    }
    return count;
}
