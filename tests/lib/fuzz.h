/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fuzz target reads any bytes at all and asserts what must hold for them:
 *
 *     static void target_is_read(struct fuzz_input *input) { ... assert_true(...) ... }
 *     FUZZ_TARGET("target", "a key that is read is written back the same", target_is_read)
 *
 * Built with libFuzzer (make soak) the bytes come from it; else the program is a test that feeds the
 * files of tests/fuzz/corpus/<suite>/ and a number of changes of each, the same at every run.
 *
 * Threads: one.
 */
#ifndef KEYREST_TESTS_LIB_FUZZ_H
#define KEYREST_TESTS_LIB_FUZZ_H

#include "../../engine/bytes.h"
#include "test.h"

/* What is left to read. */
struct fuzz_input {
    const uint8_t *data;
    size_t size;
};

/* Each takes from the front; zeros once there is nothing left. */
uint8_t fuzz_byte(struct fuzz_input *input);
uint32_t fuzz_number(struct fuzz_input *input, unsigned bytes); /* little-endian, at most 4 */
/* At most `size` bytes, borrowed from the input. */
struct bytes fuzz_bytes(struct fuzz_input *input, size_t size);
/* Up to the next byte `end`, which is dropped, or all; as text of its own with its NULs replaced,
 * to be freed. */
char *fuzz_text(struct fuzz_input *input, char end);

/* A copy with room for not a byte more, to be freed: a sanitizer sees a step beyond. */
unsigned char *fuzz_copy(struct bytes bytes);

typedef void fuzz_target(struct fuzz_input *input);

int fuzz_main(int argc, char **argv, const char *suite, const char *promise, fuzz_target *target);

#ifdef KEYREST_FUZZER
#define FUZZ_TARGET(suite, promise, target)                                                        \
    int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);                                  \
    int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)                                   \
    {                                                                                              \
        target(&(struct fuzz_input){data, size});                                                  \
        return 0;                                                                                  \
    }
#else
#define FUZZ_TARGET(suite, promise, target)                                                        \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        return fuzz_main(argc, argv, suite, promise, target);                                      \
    }
#endif

#endif
