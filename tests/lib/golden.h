/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The golden store of format 1 (tests/golden/) on a simulated disk, and the checksums of its files,
 * for tests that change bytes and want to be believed. Run from the root of the tree. One thread.
 */
#ifndef KEYREST_TESTS_LIB_GOLDEN_H
#define KEYREST_TESTS_LIB_GOLDEN_H

#include "../../engine/bytes.h"
#include "crash_disk.h"

/* A new disk with the files of tests/golden/format-1/always: its own salt, uuid and ids. */
struct crash_disk *golden_disk_open(void);

/* The names of its files, the LOCK left out. */
#define GOLDEN_FILES 5
const char *golden_file_name(size_t i);

/* A copy of a file's bytes, to be freed, and back. */
unsigned char *golden_file_read(struct crash_disk *crash, const char *name, size_t *out_size);
void golden_file_write(struct crash_disk *crash, const char *name, struct bytes content);

/* Sets every checksum in a file of that name as its bytes demand, from the innermost to the outermost;
 * what the manifest says of tables is set by golden_disk_fix() alone. */
void golden_file_fix(const char *name, unsigned char *bytes, size_t size);

/* All files; the manifest then names the tables' sizes and footers as they are. */
void golden_disk_fix(struct crash_disk *crash);

#endif
