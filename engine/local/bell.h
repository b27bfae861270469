/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One word on which many threads sleep, each for some of 32 bits: ringing for bits wakes all who sleep
 * for one of them, with a single system call (futex(2)). That costs less than a semaphore for each, and
 * whoever rings is preempted by those it wakes once, not by each. Whatever else a thread waits for is
 * stored before the ring and looked at behind bell_heard(); it may also be woken for nothing.
 *
 * Threads: any.
 */
#ifndef KEYREST_ENGINE_LOCAL_BELL_H
#define KEYREST_ENGINE_LOCAL_BELL_H

#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

struct bell {
    _Atomic uint32_t rings;
};

/* Release: whoever hears this ring sees what was stored before it. */
void bell_ring(struct bell *bell, uint32_t bits);

/* To be called before the look that decides whether to sleep. Pairs with: bell_ring. */
static inline uint32_t bell_heard(const struct bell *bell)
{
    return atomic_load_explicit(&bell->rings, memory_order_acquire);
}

/* Sleeps until a ring for one of `bits`, unless there was any since `heard`; until `until` (NULL: no
 * end) at the latest, by the monotonic clock. */
void bell_sleep(struct bell *bell, uint32_t heard, uint32_t bits, const struct timespec *until);

#endif
