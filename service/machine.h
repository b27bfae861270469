/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the machine and its container give to this process: memory and descriptors. The defaults of
 * config.def that say `auto` follow from it.
 */
#ifndef KEYREST_SERVICE_MACHINE_H
#define KEYREST_SERVICE_MACHINE_H

#include <stdint.h>

/* The machine's RAM, or the memory limit of the control group (v1 or v2) when that is less. */
uint64_t machine_memory_bytes(void);

/* Raises the soft limit of open descriptors to the hard one; returns the limit in force. */
uint64_t machine_raise_files_max(void);

#endif
