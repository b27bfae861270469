/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last changes of the memory engine, copied, as far as they fit. They may all be forgotten at any
 * time, which is what happens without memory for one more.
 *
 * Threads: `_locked`: whoever holds the engine's mutex. A change is constant; whoever has a reference
 * may read it.
 */
#ifndef KEYREST_ENGINE_MEMORY_HISTORY_H
#define KEYREST_ENGINE_MEMORY_HISTORY_H

#include "../engine.h"

struct past_change {
    struct engine_change change; /* its bytes stand in `data` */
    _Atomic uint32_t references;
    uint64_t bytes;
    unsigned char data[]; /* key, meta, value */
};

struct history {
    struct past_change **rows; /* that of sequence s is at s modulo capacity, a power of two */
    uint64_t capacity;
    uint64_t first, next; /* sequences: of the oldest kept, behind the newest */
    uint64_t bytes, bytes_max;
};

/* Keeps at most `bytes_max`. */
void history_init(struct history *history, uint64_t bytes_max);
void history_done(struct history *history);

/* Copies the change that has the next sequence. */
void history_add_locked(struct history *history, const struct engine_change *change);

/* Takes references to the changes above `after`, up to `count_max` and about `bytes_max`: how many.
 * `after` is at least first - 1. */
size_t history_take_locked(const struct history *history, uint64_t after,
                           struct past_change **out_changes, size_t count_max, uint64_t bytes_max);

void past_change_unref(struct past_change *change);

#endif
