/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process as the kernel sees it, under the names that every Prometheus client library uses:
 * process_cpu_seconds_total, process_open_fds, ... Reads /proc/self at each call.
 */
#ifndef KEYREST_API_PROCESS_H
#define KEYREST_API_PROCESS_H

#include <stdio.h>

/* A figure that the kernel does not give is left out. */
void process_write(FILE *out);

#endif
