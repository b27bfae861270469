/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The versions that will expire, the earliest first: a binary heap in which each knows its place.
 *
 * Threads: `_locked`: whoever holds the engine's mutex.
 */
#ifndef KEYREST_ENGINE_MEMORY_EXPIRIES_H
#define KEYREST_ENGINE_MEMORY_EXPIRIES_H

#include "../engine.h"

struct version;

struct expiries {
    struct version **heap;
    size_t count, capacity;
};

void expiries_done(struct expiries *expiries);

/* Room for `more` of them, so that adding cannot fail. NO_MEMORY. */
MUST_CHECK enum status expiries_reserve_locked(struct expiries *expiries, size_t more);
void expiries_add_locked(struct expiries *expiries, struct version *version);
void expiries_remove_locked(struct expiries *expiries, struct version *version);

/* NULL: there is none. */
struct version *expiries_first_locked(const struct expiries *expiries);

#endif
