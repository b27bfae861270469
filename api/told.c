/* SPDX-License-Identifier: Apache-2.0 */
/* References counted, and a ring. */
#include "told.h"

struct told *told_make(char *bytes, size_t size, uint64_t from, uint64_t to)
{
    struct told *told = bytes != NULL ? malloc(sizeof *told) : NULL;
    if (told == NULL) {
        free(bytes);
        return NULL;
    }
    *told = (struct told){.from = from, .to = to, .bytes = bytes, .size = size, .references = 1};
    return told;
}

static struct told *told_ref(struct told *told)
{
    atomic_fetch_add_explicit(&told->references, 1, memory_order_relaxed);
    return told;
}

/* Release and acquire: whoever frees it sees that all others have read it. */
void told_unref(struct told *told)
{
    if (told == NULL || atomic_fetch_sub_explicit(&told->references, 1, memory_order_acq_rel) > 1)
        return;
    free(told->bytes);
    free(told);
}

void told_tail_init(struct told_tail *tail)
{
    *tail = (struct told_tail){.next = 0};
    pthread_mutex_init(&tail->mutex, NULL);
}

void told_tail_done(struct told_tail *tail)
{
    for (size_t i = 0; i < TOLD_TAIL_TEXTS; i++)
        told_unref(tail->texts[i]);
    pthread_mutex_destroy(&tail->mutex);
}

void told_tail_add(struct told_tail *tail, struct told *told)
{
    pthread_mutex_lock(&tail->mutex);
    struct told *old = tail->texts[tail->next];
    tail->texts[tail->next] = told_ref(told);
    tail->next = (tail->next + 1) % TOLD_TAIL_TEXTS;
    pthread_mutex_unlock(&tail->mutex);
    told_unref(old);
}

struct told *told_tail_find(struct told_tail *tail, uint64_t from)
{
    struct told *found = NULL;
    pthread_mutex_lock(&tail->mutex);
    for (size_t i = 0; i < TOLD_TAIL_TEXTS && found == NULL; i++)
        if (tail->texts[i] != NULL && tail->texts[i]->from == from)
            found = told_ref(tail->texts[i]);
    pthread_mutex_unlock(&tail->mutex);
    return found;
}
