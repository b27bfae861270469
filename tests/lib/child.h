/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real binary as a child process: $KEYREST_BUILD/keyrest (default build/test) on a free port of
 * 127.0.0.1, with its log in a file. A child that is still there when the test ends is killed. What
 * it answered, by its access log, is added to $KEYREST_BUILD/http-statuses (tests/README.md).
 *
 * Threads: one thread starts and ends a child; child_log_has: any.
 */
#ifndef KEYREST_TESTS_LIB_CHILD_H
#define KEYREST_TESTS_LIB_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct child {
    pid_t pid; /* 0: not running */
    int code;  /* once it has ended: its exit code, or 128 + the signal that ended it */
    uint16_t port;
    char log_path[300];
};

/*
 * Starts it over `directory`/data, with more arguments, a NULL-ended list or NULL. The log is
 * `directory`/log.
 */
void child_launch(struct child *child, const char *directory, const char *const *arguments);

/* Waits until /readyz answers 200. False: the process ended before. */
bool child_comes_up(struct child *child);

/* Both: launches it, and waits until /readyz answers 200. Fails the test when the process ends before. */
void child_start(struct child *child, const char *directory, const char *const *arguments);

/* Sends `signal`, waits for the end; returns the exit code, or 128 + the signal that ended it. */
int child_end(struct child *child, int signal);

/* Waits for a process that was signalled by other means, at most `seconds`; -1: still running. */
int child_wait(struct child *child, unsigned seconds);

/* Whether the log holds `text` by now; the other waits for it, at most 10 s. */
bool child_log_has(const struct child *child, const char *text);
bool child_log_gets(const struct child *child, const char *text);
size_t child_log_count(const struct child *child, const char *text);

/* Fails the test when the log tells of an error, or of what a sanitizer found. */
void child_expect_no_errors(const struct child *child);

#endif
