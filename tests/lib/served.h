/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server per promise: a directory for its data, the binary over it once the test has started it, and
 * both gone at the end. A server that is still there then is stopped, and must end well.
 *
 * Threads: one; the fixture is read by any.
 */
#ifndef KEYREST_TESTS_LIB_SERVED_H
#define KEYREST_TESTS_LIB_SERVED_H

#include <signal.h>
#include <time.h>

#include "child.h"
#include "test.h"

struct fixture {
    char *directory;
    struct child server; /* pid 0: not started, or ended by the test */
};

/* A promise of a suite's list. */
#define WITH_SERVER(promise, function)                                                             \
    {                                                                                              \
        promise, function, served_set_up, served_tear_down, NULL                                   \
    }

static inline int served_set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    fixture->directory = test_directory_make();
    *state = fixture;
    return 0;
}

static inline int served_tear_down(void **state)
{
    struct fixture *fixture = *state;
    if (fixture->server.pid != 0)
        assert_int_equal(child_end(&fixture->server, SIGTERM), 0);
    test_directory_remove(fixture->directory);
    free(fixture);
    return 0;
}

/* `arguments`: more settings, a NULL-ended list or NULL. */
static inline struct fixture *served_start(void **state, const char *const *arguments)
{
    struct fixture *fixture = *state;
    child_start(&fixture->server, fixture->directory, arguments);
    return fixture;
}

/* Between two looks at what must come to pass. */
static inline void pause_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

#endif
