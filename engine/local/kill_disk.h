/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests: ends the process at a named disk operation. In the test build (-DKEYREST_TEST) the
 * environment variable KEYREST_KILL_AT=OPERATION:NAME:NTH[:after] makes it kill itself (SIGKILL)
 * right before, or after, the NTH call of OPERATION (create, open, rename, remove, reserve, write,
 * truncate, fdatasync, fsync) on a file whose name begins with NAME; fsync is the directory's, whose
 * name is empty. In other builds there is nothing of this.
 *
 * Threads: kill_disk_arm: the one that opens the disk, before others use it.
 */
#ifndef KEYREST_ENGINE_LOCAL_KILL_DISK_H
#define KEYREST_ENGINE_LOCAL_KILL_DISK_H

#include "disk.h"

#ifdef KEYREST_TEST
void kill_disk_arm(struct disk *disk);
#else
static inline void kill_disk_arm(struct disk *disk)
{
    (void)disk;
}
#endif

#endif
