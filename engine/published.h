/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sequence up to which an engine shows its commits, and those who wait for it to rise. The word
 * itself is what they sleep on (futex(2)): raising it costs a look at how many they are, and a system
 * call only if there are any.
 *
 * Threads: one raises, any read and wait.
 */
#ifndef KEYREST_ENGINE_PUBLISHED_H
#define KEYREST_ENGINE_PUBLISHED_H

#include <stdatomic.h>
#include <stdint.h>

#include "engine.h"

struct published {
    _Atomic uint64_t sequence;
    _Atomic uint32_t waiting;
};

static inline uint64_t published_sequence(const struct published *published)
{
    return atomic_load_explicit(&published->sequence, memory_order_acquire);
}

void published_wake(struct published *published);

/* Pairs with: published_wait, which counts itself before it looks at the sequence. Both sides are
 * sequentially consistent: else each might miss what the other has just stored. */
static inline void published_raise(struct published *published, uint64_t sequence)
{
    atomic_store(&published->sequence, sequence);
    if (atomic_load(&published->waiting) > 0)
        published_wake(published);
}

/* As engine_wait(); `time` is whose clock the deadline is by. */
MUST_CHECK enum status published_wait(struct published *published, uint64_t sequence,
                                      uint64_t *out_sequence, const struct time_source *time,
                                      const struct engine_context *context);

#endif
