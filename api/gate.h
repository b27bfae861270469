/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many may do something at once. Whoever cannot, sleeps until another one is through.
 *
 * Threads: any.
 */
#ifndef KEYREST_API_GATE_H
#define KEYREST_API_GATE_H

#include <semaphore.h>

#include "../engine/engine.h"

struct gate {
    sem_t places;
    const struct time_source *time;
};

void gate_init(struct gate *gate, unsigned places, const struct time_source *time);
void gate_done(struct gate *gate);

/* gate_leave() after OK. BUSY at the deadline, CANCELLED. */
MUST_CHECK enum status gate_enter(struct gate *gate, const struct engine_context *context);
void gate_leave(struct gate *gate);

#endif
