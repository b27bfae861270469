/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Failures on demand for the memory engine, in the test build only, by the URL's parameters:
 *
 *     memory:?fail=CALL:STATUS       every CALL answers STATUS (a name of status.def)
 *     memory:?fail=CALL:STATUS:3     only the third one does
 *     memory:?state=STATE            health tells STATE, and calls answer as in that state
 *
 * CALL: get head scan value_open value_grow commit compact compactions changes wait. STATE: loading read_only
 * unusable. Several stand joined by &; the first that applies wins. A `fail` of every value_open
 * shows in health too. CONFLICT is not to be had: its outcomes come from real conditions. A call that
 * fails did nothing.
 *
 * Threads: inject_next, inject_health: any.
 */
#ifndef KEYREST_ENGINE_MEMORY_INJECT_H
#define KEYREST_ENGINE_MEMORY_INJECT_H

#include "../engine.h"

enum inject_call {
    INJECT_GET,
    INJECT_HEAD,
    INJECT_SCAN,
    INJECT_VALUE_OPEN,
    INJECT_VALUE_GROW,
    INJECT_COMMIT,
    INJECT_COMPACT,
    INJECT_COMPACTIONS,
    INJECT_CHANGES,
    INJECT_WAIT,
    INJECT_CALLS
};

struct inject;

#ifdef KEYREST_TEST

/* `parameters`: the URL after "memory:". INVALID, NO_MEMORY. */
MUST_CHECK enum status inject_open(const char *parameters, struct inject **out_inject,
                                   struct failure *failure);
void inject_close(struct inject *inject); /* NULL is allowed */

/* What this call shall answer; OK: let it do its work. */
MUST_CHECK enum status inject_next(struct inject *inject, enum inject_call call);

/* Changes what is injected, leaves the rest. */
void inject_health(const struct inject *inject, struct engine_health *health);

#else

MUST_CHECK static inline enum status inject_open(const char *parameters, struct inject **out_inject,
                                                 struct failure *failure)
{
    *out_inject = NULL;
    if (*parameters == '\0')
        return STATUS_OK;
    return failure_set(failure, STATUS_INVALID,
                       "memory: takes no '%s': use just memory:", parameters);
}

static inline void inject_close(struct inject *inject)
{
    (void)inject;
}

MUST_CHECK static inline enum status inject_next(struct inject *inject, enum inject_call call)
{
    (void)inject, (void)call;
    return STATUS_OK;
}

static inline void inject_health(const struct inject *inject, struct engine_health *health)
{
    (void)inject, (void)health;
}

#endif
#endif
