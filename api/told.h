/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Texts of changes on their way to clients, and the latest of them that tell all there was from one
 * place to another: whoever stands where one begins is told it, too, and reads nothing.
 *
 * Threads: any; a text does not change once it is made.
 */
#ifndef KEYREST_API_TOLD_H
#define KEYREST_API_TOLD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "../engine/scope.h"

struct told {
    /* set when made, then constant */
    uint64_t from, to; /* sequences: behind the first, up to the other */
    char *bytes;
    size_t size;
    /* atomic: raised by who has one already or under the tail's mutex; the last to lower it frees */
    _Atomic uint32_t references;
};

/* Takes the malloc'ed bytes over; NULL: there were none, or no memory. */
MUST_CHECK struct told *told_make(char *bytes, size_t size, uint64_t from, uint64_t to);
void told_unref(struct told *told); /* NULL is allowed */

enum { TOLD_TAIL_TEXTS = 8 }; /* for those who fell behind a little */

struct told_tail {
    pthread_mutex_t mutex;
    /* guarded by mutex */
    struct told *texts[TOLD_TAIL_TEXTS];
    size_t next; /* the one to go */
};

void told_tail_init(struct told_tail *tail);
void told_tail_done(struct told_tail *tail);

/* Keeps it, as one of the latest. */
void told_tail_add(struct told_tail *tail, struct told *told);

/* A reference to the one that begins there; NULL: there is none. */
MUST_CHECK struct told *told_tail_find(struct told_tail *tail, uint64_t from);

#endif
