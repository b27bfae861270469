/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine's memory: bytes in use against a limit. Growth that a client asks for is refused over
 * the limit (budget_take); what must happen anyway is charged without asking (budget_force).
 */
#ifndef KEYREST_ENGINE_LOCAL_BUDGET_H
#define KEYREST_ENGINE_LOCAL_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct budget {
    uint64_t limit;        /* set at open, then constant */
    _Atomic uint64_t used; /* relaxed everywhere: a count, it orders nothing */
};

static inline void budget_force(struct budget *budget, uint64_t bytes)
{
    atomic_fetch_add_explicit(&budget->used, bytes, memory_order_relaxed);
}

static inline void budget_give(struct budget *budget, uint64_t bytes)
{
    atomic_fetch_sub_explicit(&budget->used, bytes, memory_order_relaxed);
}

/* One step: taking first and giving back over the limit would refuse others meanwhile. */
static inline bool budget_take(struct budget *budget, uint64_t bytes)
{
    uint64_t used = atomic_load_explicit(&budget->used, memory_order_relaxed);
    do {
        if (bytes > budget->limit || used > budget->limit - bytes)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&budget->used, &used, used + bytes,
                                                    memory_order_relaxed, memory_order_relaxed));
    return true;
}

static inline uint64_t budget_used(const struct budget *budget)
{
    return atomic_load_explicit(&budget->used, memory_order_relaxed);
}

#endif
