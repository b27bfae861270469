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

/* `run` returns the ns after which it wants to run again; `name` has at most 15 bytes. It runs once
 * at the start. NO_MEMORY. */
MUST_CHECK enum status worker_open(const char *name, uint64_t (*run)(void *context), void *context,
                                   struct worker **out_worker);

/* Ends the thread after its run. NULL is allowed. */
void worker_close(struct worker *worker);

/* Makes it run soon. Any thread, its own too. NULL is allowed. */
void worker_wake(struct worker *worker);

#endif
