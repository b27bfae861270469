/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads of a stress test: started together, joined together, each with numbers of its own that
 * are the same in every run.
 */
#ifndef KEYREST_TESTS_LIB_THREADS_H
#define KEYREST_TESTS_LIB_THREADS_H

#include <assert.h>
#include <pthread.h>
#include <stdint.h>

enum { THREADS_MAX = 64 };

/* Stops the program, from whichever thread: cmocka's assertions are for the main thread alone. */
#define THREAD_ASSERT(condition) assert(condition)

struct threads {
    pthread_t all[THREADS_MAX];
    int count;
};

static inline void threads_start(struct threads *threads, void *(*run)(void *), void *context)
{
    assert(threads->count < THREADS_MAX);
    int failed = pthread_create(&threads->all[threads->count++], NULL, run, context);
    assert(failed == 0);
}

static inline void threads_join(struct threads *threads)
{
    while (threads->count > 0)
        pthread_join(threads->all[--threads->count], NULL);
}

/* xorshift64*: `state` is any number but 0. */
static inline uint64_t threads_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717) >> 16;
}

#endif
