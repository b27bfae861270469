/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A caller's way to give up on a blocking call: one flag, raised once, seen within 50 ms by whoever
 * waits. Raised by the thread that notices that the client has gone; read by the thread that waits.
 */
#ifndef KEYREST_ENGINE_CANCEL_H
#define KEYREST_ENGINE_CANCEL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct cancel {
    atomic_bool fired; /* relaxed on both sides: it carries no data, only a hint to stop waiting */
};

static inline void cancel_fire(struct cancel *cancel)
{
    atomic_store_explicit(&cancel->fired, true, memory_order_relaxed);
}

static inline bool cancel_fired(const struct cancel *cancel)
{
    return cancel != NULL && atomic_load_explicit(&cancel->fired, memory_order_relaxed);
}

#endif
