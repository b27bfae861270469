/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The embedded engine behind the face, with the disk and the threads left to the caller: what
 * engine_open() does for `file:DIR`, and what the tests do over a disk of their own.
 *
 * Threads: as engine.h; local_housekeep only where `threaded` is false, then by the one caller.
 */
#ifndef KEYREST_ENGINE_LOCAL_LOCAL_H
#define KEYREST_ENGINE_LOCAL_LOCAL_H

#include "../engine.h"
#include "disk.h"

/*
 * Opens the store on `disk`, which the engine owns from now on, also when this fails. `threaded`
 * false: recovers before it returns (its failure is this call's), starts no thread, and leaves
 * housekeeping to local_housekeep(). Statuses as engine_open(), with recovery's when not threaded.
 */
MUST_CHECK enum status local_open(const struct engine_options *options, struct disk *disk,
                                  bool threaded, struct engine **out_engine,
                                  struct failure *failure);

/*
 * One round of what the housekeeping thread does: makes the next segment ready, syncs in interval
 * mode, writes an EMPTY frame once idle, looks at the free space, frees what was retired.
 */
void local_housekeep(struct engine *engine);

#endif
