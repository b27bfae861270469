/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine under test, whichever it is: conformance tests are written against the face alone and
 * run once for every row of `kinds` in subject.c (to have a new engine tested: add a row). Also
 * short ways to put, get and delete, and a wall clock moved by hand.
 *
 *     static void keeps(void **state) { struct subject *subject = *state; ... }
 *     subject_main(argc, argv, "engine_keys", promises) with TEST rows, as test_main
 *
 * A test starts with an empty store. Helpers that return no status assert that all went well.
 */
#ifndef KEYREST_TESTS_LIB_SUBJECT_H
#define KEYREST_TESTS_LIB_SUBJECT_H

#include <stdatomic.h>

#include "../../engine/engine.h"
#include "../../engine/stats.h"
#include "test.h"

enum {
    SUBJECT_VALUE_BYTES_MAX = 1 << 20,
    SUBJECT_MEMORY_BYTES_MAX = 64 << 20,
    SUBJECT_OPERATIONS_MAX = 100,
};

struct subject_kind {
    const char *name;
    const char *scheme;
    uint64_t durability_interval_ms;
    bool durable; /* what is expected of it */
};

/* Monotonic time is the machine's, since engines wait by it; wall time stands still. */
struct subject_clock {
    struct time_source source;
    _Atomic int64_t wall_ms;
};

struct subject {
    const struct subject_kind *kind;
    char *directory;
    char url[256];
    struct subject_clock clock;
    struct engine_options options;
    struct engine *engine;
};

#define subject_main(argc, argv, suite, promises)                                                  \
    subject_main_(argc, argv, suite, promises, sizeof(promises) / sizeof((promises)[0]))
int subject_main_(int argc, char **argv, const char *suite, const struct CMUnitTest *promises,
                  size_t count);

void subject_close(struct subject *subject);
void subject_open(struct subject *subject); /* with `options`; returns once the engine is ready */
void subject_reopen(struct subject *subject);

/* A context whose deadline is far away. */
struct engine_context subject_patience(void);

/* A put of `value` under `key` in room of its own; the rest of the operation is zero. */
struct engine_operation subject_put_operation(struct subject *subject, struct bytes key,
                                              struct bytes value);
enum status subject_commit(struct subject *subject, struct engine_operation *operations,
                           uint32_t count);
/* Closes the values that a refused commit left behind. */
void subject_give_back(struct subject *subject, struct engine_operation *operations,
                       uint32_t count);

/* One operation as a commit of its own. `condition` may be NULL, `out_version` too. */
enum status subject_try_put(struct subject *subject, const char *key, const char *value,
                            const struct engine_condition *condition,
                            struct engine_version *out_version);
struct engine_version subject_put(struct subject *subject, const char *key, const char *value);
struct engine_version subject_put_bytes(struct subject *subject, struct bytes key,
                                        struct bytes value);
enum engine_outcome subject_delete(struct subject *subject, const char *key);

/* The key's version (sequence 0: absent). */
struct engine_version subject_version(struct subject *subject, struct bytes key);
void subject_assert_value(struct subject *subject, const char *key, const char *value);
void subject_assert_absent(struct subject *subject, const char *key);

uint64_t subject_sequence(struct subject *subject);
uint64_t subject_stat(struct subject *subject, enum stats_name counter_or_gauge);

/* `size` bytes that only this seed has. */
struct bytes subject_noise(unsigned char *buffer, size_t size, uint64_t seed);

#endif
