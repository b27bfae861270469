/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A real disk in a directory whose writes and syncs can be counted, held back and made to fail: for
 * tests of threads that meet at the disk. Any thread may call.
 */
#ifndef KEYREST_TESTS_LIB_HELD_DISK_H
#define KEYREST_TESTS_LIB_HELD_DISK_H

#include "../../engine/local/disk.h"

/* Opens `path`; one at a time in a process. To be closed as any disk. */
struct disk *held_disk_open(const char *path);

/* From now on each file_sync stops before it begins, until held_disk_release(). */
void held_disk_hold(void);
void held_disk_release(void);

/* Lets the one that is held go on, and holds the next. */
void held_disk_release_one(void);

/* Waits until a file_sync is held. */
void held_disk_wait_held(void);

enum held_operation { HELD_WRITE, HELD_SYNC };

/* All such calls fail with `status` from now on; STATUS_OK: they work again. */
void held_disk_fail(enum held_operation operation, enum status status);

/* Calls since the disk was opened. */
uint64_t held_disk_count(enum held_operation operation);

#endif
