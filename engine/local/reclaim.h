/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Epoch-based reclamation: readers mark sections, writers retire what they have unlinked, one thread
 * frees it once every section that could still see it has ended. The only user of ck_epoch.
 *
 * Threads: any may enter, leave and retire. A thread gets its epoch record at its first section and
 * returns it when it ends.
 * Invariants: 1. A section never blocks. 2. An object is retired once, after it became unreachable.
 * 3. Only the reclaimer waits for a grace period.
 */
#ifndef KEYREST_ENGINE_LOCAL_RECLAIM_H
#define KEYREST_ENGINE_LOCAL_RECLAIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../status.h"

struct reclaim;

/* Embedded in whatever is retired. */
struct retired {
    struct retired *next; /* of the retire stack */
    void (*release)(struct retired *retired);
    size_t bytes; /* for the gauge */
};

/* `threaded` false: nothing is freed but by reclaim_run(), for tests that want one thread. */
MUST_CHECK enum status reclaim_open(bool threaded, struct reclaim **out_reclaim);

/* Frees all that was retired. No section may be open. NULL is allowed. */
void reclaim_close(struct reclaim *reclaim);

/* What a reader loads between enter and leave stays valid until leave. Sections nest. About 10 ns. */
void reclaim_enter(struct reclaim *reclaim);
void reclaim_leave(struct reclaim *reclaim);

/* Frees `retired` by its release function after the grace period. Never waits. */
void reclaim_retire(struct reclaim *reclaim, struct retired *retired);

/* Waits for a grace period and frees what was retired before the call. Not inside a section. */
void reclaim_run(struct reclaim *reclaim);

/* Bytes retired and not yet freed. */
uint64_t reclaim_bytes(const struct reclaim *reclaim);

#endif
