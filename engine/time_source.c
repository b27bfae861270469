/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's clocks as a time source. */
#include "time_source.h"

#include <time.h>

static uint64_t monotonic_ns(const struct time_source *source)
{
    (void)source;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int64_t wall_ms(const struct time_source *source)
{
    (void)source;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

const struct time_source *time_source_system(void)
{
    static const struct time_source system_source = {monotonic_ns, wall_ms};
    return &system_source;
}
