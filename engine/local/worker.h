/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that does one thing whenever it is due: when somebody wakes it, or when the time that its
 * last run named is over.
 */
#ifndef KEYREST_ENGINE_LOCAL_WORKER_H
#define KEYREST_ENGINE_LOCAL_WORKER_H

#include <stdint.h>

#include "../status.h"

struct worker;

/* `run` returns the ns after which it wants to run again; `name` has at most 15 bytes and is
 * borrowed until the start. NO_MEMORY. */
MUST_CHECK enum status worker_open(const char *name, uint64_t (*run)(void *context), void *context,
                                   struct worker **out_worker);

/* Begins the thread, which runs once at once: when all that a run may touch is there, other workers
 * too. NO_MEMORY. */
MUST_CHECK enum status worker_start(struct worker *worker);

/* Ends the thread after its run, if there is one; others may still wake it. NULL is allowed. */
void worker_stop(struct worker *worker);

/* Stops it. When nobody can wake it any more. NULL is allowed. */
void worker_close(struct worker *worker);

/* Makes it run soon. Any thread, its own too. NULL is allowed. */
void worker_wake(struct worker *worker);

#endif
