/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An allocator that fails where a test says: the n-th allocation from now on, alone or with all that
 * follow. It takes the place of malloc in the whole program, libraries included, and of the
 * sanitizers' too, which stay behind it and find leaks. One file of a program includes it.
 *
 * Threads: one arms and disarms; allocations fail in that one, or in all others.
 */
#ifndef KEYREST_TESTS_LIB_SHORT_MEMORY_H
#define KEYREST_TESTS_LIB_SHORT_MEMORY_H

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define REAL(name) __interceptor_##name
#else
#define REAL(name) __libc_##name
#endif

/* Allocations begin before a sanitizer is ready to look at them. */
#define UNSANITIZED __attribute__((no_sanitize("address", "thread", "undefined")))

void *REAL(malloc)(size_t size);
void *REAL(calloc)(size_t count, size_t size);
void *REAL(realloc)(void *pointer, size_t size);
void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *pointer, size_t size);

enum short_memory { SHORT_ONCE, SHORT_FROM_THEN_ON };

static struct {
    atomic_bool armed;
    atomic_long left; /* allocations that go well before one fails; below 0: one has */
    bool others, from_then_on;
} short_memory;

static _Thread_local bool arms_short_memory, is_spared;

UNSANITIZED static bool short_memory_fails(void)
{
    if (!atomic_load(&short_memory.armed) || is_spared || arms_short_memory == short_memory.others)
        return false;
    long left = atomic_fetch_sub(&short_memory.left, 1);
    return short_memory.from_then_on ? left <= 0 : left == 0;
}

static void short_memory_arm(size_t successes, enum short_memory how, bool others)
{
    arms_short_memory = true;
    short_memory.others = others;
    short_memory.from_then_on = how == SHORT_FROM_THEN_ON;
    atomic_store(&short_memory.left, (long)successes);
    atomic_store(&short_memory.armed, true);
}

/* Whether an allocation has failed since. */
static bool short_memory_disarm(void)
{
    atomic_store(&short_memory.armed, false);
    return atomic_load(&short_memory.left) < 0;
}

UNSANITIZED void *malloc(size_t size)
{
    return short_memory_fails() ? NULL : REAL(malloc)(size);
}

UNSANITIZED void *calloc(size_t count, size_t size)
{
    return short_memory_fails() ? NULL : REAL(calloc)(count, size);
}

UNSANITIZED void *realloc(void *pointer, size_t size)
{
    return short_memory_fails() ? NULL : REAL(realloc)(pointer, size);
}

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
/* The sanitizers ask this of each new thread; it takes memory, and they bear no failure. */
UNSANITIZED int pthread_getattr_np(pthread_t thread, pthread_attr_t *out_attributes)
{
    static int (*real)(pthread_t, pthread_attr_t *);
    is_spared = true;
    if (real == NULL) /* the main thread, before there are others */
        *(void **)&real = dlsym(RTLD_NEXT, "pthread_getattr_np");
    int failed = real(thread, out_attributes);
    is_spared = false;
    return failed;
}
#endif

#endif
