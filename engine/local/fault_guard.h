/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a mapped file whose page the disk cannot deliver (a read error, a file cut short) raises
 * SIGBUS. The guard's handler puts a page of zeros there and the read goes on: the reader's checksum
 * tells. Faults outside guarded ranges end the process as ever.
 *
 * Threads: any; the handler runs in whichever thread met the fault.
 */
#ifndef KEYREST_ENGINE_LOCAL_FAULT_GUARD_H
#define KEYREST_ENGINE_LOCAL_FAULT_GUARD_H

#include <stdbool.h>
#include <stddef.h>

/* Guards `bytes` at `map` until the removal. False: too many ranges. The first call installs the
 * handler for the whole process. */
bool fault_guard_add(const void *map, size_t bytes);
void fault_guard_remove(const void *map);

#endif
