/* SPDX-License-Identifier: Apache-2.0 */
/* A wall clock that is moved by hand, over the machine's monotonic one, by which engines wait. Any
 * thread moves it, any reads. */
#ifndef KEYREST_TESTS_LIB_WALL_TIME_H
#define KEYREST_TESTS_LIB_WALL_TIME_H

#include <stdatomic.h>

#include "../../engine/time_source.h"

struct wall_time {
    struct time_source source; /* first */
    _Atomic int64_t ms;
};

static inline uint64_t wall_time_ns(const struct time_source *source)
{
    (void)source;
    return time_source_system()->monotonic_ns(time_source_system());
}

static inline int64_t wall_time_ms(const struct time_source *source)
{
    return atomic_load(&((const struct wall_time *)source)->ms);
}

static inline void wall_time_init(struct wall_time *time, int64_t ms)
{
    time->source = (struct time_source){wall_time_ns, wall_time_ms};
    atomic_init(&time->ms, ms);
}

#endif
