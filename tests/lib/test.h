/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a test program is written: cmocka tests whose names are promises, run by test_main().
 *
 *     static void keeps_what_was_answered(void **state) { ... assert_int_equal(...) ... }
 *     int main(int argc, char **argv)
 *     {
 *         static const struct CMUnitTest tests[] = {
 *             TEST("keeps what was answered", keeps_what_was_answered),
 *         };
 *         return test_main(argc, argv, "journal", tests);
 *     }
 *
 * The suite is the part before the slash of `make test T=journal/answered`; the words after it pick
 * the tests whose names contain them. Output is TAP, counted by tests/run.
 */
#ifndef KEYREST_TESTS_LIB_TEST_H
#define KEYREST_TESTS_LIB_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TEST(promise, function)                                                                    \
    {                                                                                              \
        promise, function, NULL, NULL, NULL                                                        \
    }

#define test_main(argc, argv, suite, tests)                                                        \
    test_main_(argc, argv, suite, tests, sizeof(tests) / sizeof((tests)[0]))

/* argv[1], when there, picks the tests whose names contain it. */
int test_main_(int argc, char **argv, const char *suite, const struct CMUnitTest *tests,
               size_t count);

/* A fresh directory under $TMPDIR or /tmp, as a malloc'ed path; test_directory_remove() ends it. */
char *test_directory_make(void);
void test_directory_remove(char *path);

#endif
