/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks that stand still until the test moves them. One thread moves them, any reads. */
#ifndef KEYREST_TESTS_LIB_MANUAL_TIME_H
#define KEYREST_TESTS_LIB_MANUAL_TIME_H

#include <stdatomic.h>

#include "../../engine/time_source.h"

struct manual_time {
    struct time_source source; /* first: what the engine is given */
    _Atomic uint64_t ns;       /* monotonic; the wall clock runs along with it */
    uint64_t look_ns; /* each look moves the monotonic clock: who waits, waits not for ever */
    _Atomic uint64_t looked_ns;
};

/* Starts soon after the machine's boot, so that a wait for a deadline of this clock ends at once. */
void manual_time_init(struct manual_time *time);

void manual_time_advance_ms(struct manual_time *time, uint64_t ms);

#endif
