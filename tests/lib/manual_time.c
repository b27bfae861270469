/* SPDX-License-Identifier: Apache-2.0 */
/* One counter behind both clocks. */
#include "manual_time.h"

enum { WALL_START_S = 1700000000 };

static uint64_t monotonic_ns(const struct time_source *source)
{
    struct manual_time *time = (struct manual_time *)source;
    return atomic_load(&time->ns) + atomic_fetch_add(&time->looked_ns, time->look_ns);
}

static int64_t wall_ms(const struct time_source *source)
{
    return WALL_START_S * INT64_C(1000) +
           (int64_t)(atomic_load(&((const struct manual_time *)source)->ns) / 1000000);
}

void manual_time_init(struct manual_time *time)
{
    time->source = (struct time_source){.monotonic_ns = monotonic_ns, .wall_ms = wall_ms};
    atomic_init(&time->ns, UINT64_C(1000000));
    atomic_init(&time->looked_ns, 0);
    time->look_ns = 0;
}

void manual_time_advance_ms(struct manual_time *time, uint64_t ms)
{
    atomic_fetch_add(&time->ns, ms * UINT64_C(1000000));
}
