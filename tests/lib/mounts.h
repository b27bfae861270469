/* SPDX-License-Identifier: Apache-2.0 */
/*
 * File systems of the test's own, so that the real kernel can run out of space or fail: mounted in a
 * mount namespace that ends with the process. One thread.
 */
#ifndef KEYREST_TESTS_LIB_MOUNTS_H
#define KEYREST_TESTS_LIB_MOUNTS_H

#include <stdbool.h>
#include <stdint.h>

#include "test.h"

/*
 * As test_main(), where this process may mount; elsewhere every test is skipped, with the reason.
 * `loops`: the tests also need loop devices and mkfs.ext4.
 */
#define mounts_main(argc, argv, suite, loops, tests)                                               \
    mounts_main_(argc, argv, suite, loops, tests, sizeof(tests) / sizeof((tests)[0]))
int mounts_main_(int argc, char **argv, const char *suite, bool loops,
                 const struct CMUnitTest *tests, size_t count);

/* Mounts an empty tmpfs of `bytes` at `path`, which must be there; and the end of any mount. */
void mounts_tmpfs(const char *path, uint64_t bytes);
void mounts_end(const char *path);

/* Makes a file `image` of `bytes`, all of which it has, with an ext4 in it; and mounts such a one at `path`. */
void mounts_make_ext4(const char *image, uint64_t bytes);
void mounts_ext4(const char *image, const char *path);

/* Where the byte at `offset` of a file lies on the device that its file system is on. */
uint64_t mounts_device_offset(const char *path, uint64_t offset);

/* Ends an ext4 at once: every call fails from now on. The kernel's numbers. */
enum mounts_power_cut {
    MOUNTS_CUT_AFTER_SYNC = 0,    /* all is written first: the cut comes between two calls */
    MOUNTS_CUT_AFTER_JOURNAL = 1, /* names and sizes are written, and no bytes */
    MOUNTS_CUT_AT_ONCE = 2,       /* what has not been written yet is lost */
    MOUNTS_POWER_CUTS
};
void mounts_shut_down(const char *path, enum mounts_power_cut cut);

/* Takes bytes of an image away: they read as zeros, and writing them needs room again. */
void mounts_punch(const char *image, uint64_t offset, uint64_t bytes);

/*
 * The same for nearly all blocks that are free in the ext4 of `image` at `path`: then what it writes
 * about itself still has its room, and new contents of files do not.
 */
void mounts_hollow_out(const char *image, const char *path);

/* Bytes that are free where `path` lies. */
uint64_t mounts_free_bytes(const char *path);

/* Grows the file `path` until only `bytes` or less are free there. */
void mounts_fill(const char *path, uint64_t bytes);

#endif
