/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where time comes from: monotonic for waiting, wall for what is stored. Tests put a clock of their
 * own here and move it by hand. Any thread may call.
 */
#ifndef KEYREST_ENGINE_TIME_SOURCE_H
#define KEYREST_ENGINE_TIME_SOURCE_H

#include <stdint.h>

struct time_source {
    uint64_t (*monotonic_ns)(const struct time_source *source);
    int64_t (*wall_ms)(const struct time_source *source); /* Unix time */
};

/* The machine's clocks. */
const struct time_source *time_source_system(void);

#endif
