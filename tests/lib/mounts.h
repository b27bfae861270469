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

/* Makes a sparse file `image` of `bytes` with an ext4 in it, and mounts that at `path`. */
void mounts_ext4(const char *image, uint64_t bytes, const char *path);

/* Bytes that are free where `path` lies. */
uint64_t mounts_free_bytes(const char *path);

/* Grows the file `path` until only `bytes` or less are free there. */
void mounts_fill(const char *path, uint64_t bytes);

#endif
