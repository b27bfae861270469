/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One word {count, RETIRED} that keeps an object alive while it is used beyond an epoch section.
 * A pin is taken inside a section, where the object cannot have been retired past its grace period;
 * the owner retires it after that period. Whoever brings the word to {0, RETIRED} frees, once.
 */
#ifndef KEYREST_ENGINE_LOCAL_PIN_H
#define KEYREST_ENGINE_LOCAL_PIN_H

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct pin {
    _Atomic uint64_t word; /* count * 2 + RETIRED */
};

enum { PIN_RETIRED = 1, PIN_ONE = 2 };

/* Relaxed: the epoch section already orders it after the object's publication and before its
 * retirement; the count alone carries no data. */
static inline void pin_take(struct pin *pin)
{
    uint64_t before = atomic_fetch_add_explicit(&pin->word, PIN_ONE, memory_order_relaxed);
    assert((before & PIN_RETIRED) == 0);
    (void)before;
}

/* True: the caller frees the object. Pairs with: pin_drop and pin_retire elsewhere; without
 * release/acquire the freeing thread could free while another's last reads are still under way. */
static inline bool pin_drop(struct pin *pin)
{
    uint64_t before = atomic_fetch_sub_explicit(&pin->word, PIN_ONE, memory_order_acq_rel);
    assert(before >= PIN_ONE);
    return before == PIN_ONE + PIN_RETIRED;
}

/* After the grace period; true: the caller frees the object. */
static inline bool pin_retire(struct pin *pin)
{
    uint64_t before = atomic_fetch_or_explicit(&pin->word, PIN_RETIRED, memory_order_acq_rel);
    assert((before & PIN_RETIRED) == 0);
    return before == 0;
}

#endif
