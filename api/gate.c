/* SPDX-License-Identifier: Apache-2.0 */
/* A semaphore, slept at in slices, so that a fired cancel is seen. */
#include "gate.h"

#include <time.h>

enum { SLICE_NS = 250000000, NS_PER_S = 1000000000 };

void gate_init(struct gate *gate, unsigned places, const struct time_source *time)
{
    sem_init(&gate->places, 0, places);
    gate->time = time;
}

void gate_done(struct gate *gate)
{
    sem_destroy(&gate->places);
}

/* By the machine's clock, whichever the deadline is by. False: not within a slice. */
static bool take_place(struct gate *gate)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += SLICE_NS;
    until.tv_sec += until.tv_nsec / NS_PER_S;
    until.tv_nsec %= NS_PER_S;
    return sem_clockwait(&gate->places, CLOCK_MONOTONIC, &until) == 0;
}

enum status gate_enter(struct gate *gate, const struct engine_context *context)
{
    while (!take_place(gate)) {
        if (cancel_fired(context->cancel))
            return STATUS_CANCELLED;
        if (gate->time->monotonic_ns(gate->time) >= context->deadline_ns)
            return STATUS_BUSY;
    }
    return STATUS_OK;
}

void gate_leave(struct gate *gate)
{
    sem_post(&gate->places);
}
