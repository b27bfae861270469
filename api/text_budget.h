/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory of all JSON that is on its way in or out, whoever sends or asks for it: the engine, which
 * counts values, knows nothing of it. Any thread.
 */
#ifndef KEYREST_API_TEXT_BUDGET_H
#define KEYREST_API_TEXT_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct text_budget {
    uint64_t limit;
    _Atomic uint64_t used; /* relaxed: a count, it orders nothing */
};

static inline void text_budget_release(struct text_budget *budget, uint64_t bytes)
{
    atomic_fetch_sub_explicit(&budget->used, bytes, memory_order_relaxed);
}

/* False: others hold too much for now. */
static inline bool text_budget_charge(struct text_budget *budget, uint64_t bytes)
{
    uint64_t before = atomic_fetch_add_explicit(&budget->used, bytes, memory_order_relaxed);
    if (before + bytes <= budget->limit)
        return true;
    text_budget_release(budget, bytes);
    return false;
}

#endif
