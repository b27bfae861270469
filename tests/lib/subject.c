/* SPDX-License-Identifier: Apache-2.0 */
/* Opens each kind of engine for each promise, and speaks to it. */
#include "subject.h"

#include <time.h>

static const struct subject_kind kinds[] = {
    {"memory", "memory", 0, false},
    {"file", "file", 0, true},
    {"file at intervals", "file", 20, true},
};

enum { PATIENCE_NS = 1000000000 };

/* ---- the clock ---- */

static uint64_t monotonic_ns(const struct time_source *source)
{
    (void)source;
    return time_source_system()->monotonic_ns(time_source_system());
}

static int64_t wall_ms(const struct time_source *source)
{
    return ((const struct subject_clock *)source)->wall_ms;
}

/* ---- opening and closing ---- */

static void wait_until_ready(struct engine *engine)
{
    for (int tries = 0; tries < 10000; tries++) {
        struct engine_health health;
        engine_health(engine, &health);
        assert_int_not_equal(health.state, ENGINE_UNUSABLE);
        if (health.state != ENGINE_LOADING)
            return;
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    }
    fail_msg("the engine is still loading after 10 s");
}

void subject_open(struct subject *subject)
{
    struct failure failure = {0};
    enum status status = engine_open(&subject->options, &subject->engine, &failure);
    if (status != STATUS_OK)
        fail_msg("open: %s: %s", status_text(status), failure.message);
    wait_until_ready(subject->engine);
}

void subject_close(struct subject *subject)
{
    engine_close(subject->engine);
    subject->engine = NULL;
}

void subject_reopen(struct subject *subject)
{
    subject_close(subject);
    subject_open(subject);
}

static int set_up(void **state)
{
    struct subject *subject = calloc(1, sizeof *subject);
    subject->kind = *state;
    subject->directory = test_directory_make();
    bool on_disk = strcmp(subject->kind->scheme, "file") == 0;
    snprintf(subject->url, sizeof subject->url, "%s:%s", subject->kind->scheme,
             on_disk ? subject->directory : "");
    subject->clock = (struct subject_clock){{monotonic_ns, wall_ms}, 1700000000000};
    subject->options = engine_options_default();
    subject->options.url = subject->url;
    subject->options.time = &subject->clock.source;
    subject->options.durability_interval_ms = subject->kind->durability_interval_ms;
    subject->options.value_bytes_max = SUBJECT_VALUE_BYTES_MAX;
    subject->options.memory_bytes_max = SUBJECT_MEMORY_BYTES_MAX;
    subject->options.batch_operations_max = SUBJECT_OPERATIONS_MAX;
    subject->options.journal_segment_bytes = 4 << 20;
    subject->options.reserve_bytes = 1 << 20;
    subject_open(subject);
    *state = subject;
    return 0;
}

static int tear_down(void **state)
{
    struct subject *subject = *state;
    subject_close(subject);
    test_directory_remove(subject->directory);
    free(subject);
    return 0;
}

int subject_main_(int argc, char **argv, const char *suite, const struct CMUnitTest *promises,
                  size_t count)
{
    struct CMUnitTest *tests = calloc(count * COUNT_OF(kinds), sizeof *tests);
    char(*names)[200] = calloc(count * COUNT_OF(kinds), sizeof *names);
    for (size_t i = 0; i < count * COUNT_OF(kinds); i++) {
        const struct subject_kind *kind = &kinds[i / count];
        const struct CMUnitTest *promise = &promises[i % count];
        snprintf(names[i], sizeof names[i], "%s: %s", kind->name, promise->name);
        tests[i] = (struct CMUnitTest){names[i], promise->test_func, set_up, tear_down,
                                       (void *)(uintptr_t)kind};
    }
    int result = test_main_(argc, argv, suite, tests, count * COUNT_OF(kinds));
    free(names);
    free(tests);
    return result;
}

/* ---- speaking to it ---- */

struct engine_context subject_patience(void)
{
    return (struct engine_context){monotonic_ns(NULL) + 10 * (uint64_t)PATIENCE_NS, NULL};
}

struct engine_operation subject_put_operation(struct subject *subject, struct bytes key,
                                              struct bytes value)
{
    struct engine_operation operation = {.type = ENGINE_PUT, .key = key};
    assert_int_equal(engine_value_open(subject->engine, key, (struct bytes){NULL, 0}, value.size,
                                       &operation.value),
                     STATUS_OK);
    if (value.size > 0)
        memcpy(operation.value->data, value.data, value.size);
    operation.value->size = value.size;
    return operation;
}

enum status subject_commit(struct subject *subject, struct engine_operation *operations,
                           uint32_t count)
{
    struct engine_context patience = subject_patience();
    return engine_commit(subject->engine, operations, count, &patience);
}

void subject_give_back(struct subject *subject, struct engine_operation *operations, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        engine_value_close(subject->engine, operations[i].value);
        operations[i].value = NULL;
    }
}

enum status subject_try_put(struct subject *subject, const char *key, const char *value,
                            const struct engine_condition *condition,
                            struct engine_version *out_version)
{
    struct engine_operation operation =
        subject_put_operation(subject, bytes_of(key), bytes_of(value));
    operation.conditions = condition;
    operation.condition_count = condition != NULL;
    enum status status = subject_commit(subject, &operation, 1);
    subject_give_back(subject, &operation, 1);
    if (out_version != NULL)
        *out_version = operation.version;
    return status;
}

struct engine_version subject_put_bytes(struct subject *subject, struct bytes key,
                                        struct bytes value)
{
    struct engine_operation operation = subject_put_operation(subject, key, value);
    assert_int_equal(subject_commit(subject, &operation, 1), STATUS_OK);
    assert_null(operation.value);
    return operation.version;
}

struct engine_version subject_put(struct subject *subject, const char *key, const char *value)
{
    return subject_put_bytes(subject, bytes_of(key), bytes_of(value));
}

enum engine_outcome subject_delete(struct subject *subject, const char *key)
{
    struct engine_operation operation = {.type = ENGINE_DELETE, .key = bytes_of(key)};
    assert_int_equal(subject_commit(subject, &operation, 1), STATUS_OK);
    return operation.outcome;
}

struct engine_version subject_version(struct subject *subject, struct bytes key)
{
    struct engine_item item = {0};
    enum status status = engine_head(subject->engine, key, &item);
    assert_true(status == STATUS_OK || status == STATUS_NOT_FOUND);
    struct engine_version version = item.version;
    engine_item_done(&item);
    return version;
}

void subject_assert_value(struct subject *subject, const char *key, const char *value)
{
    struct engine_item item = {0};
    assert_int_equal(engine_get(subject->engine, bytes_of(key), &item), STATUS_OK);
    assert_int_equal(item.value.size, strlen(value));
    assert_memory_equal(item.value.data, value, strlen(value));
    engine_item_done(&item);
}

void subject_assert_absent(struct subject *subject, const char *key)
{
    struct engine_item item = {0};
    assert_int_equal(engine_get(subject->engine, bytes_of(key), &item), STATUS_NOT_FOUND);
    assert_int_equal(engine_head(subject->engine, bytes_of(key), &item), STATUS_NOT_FOUND);
}

uint64_t subject_sequence(struct subject *subject)
{
    struct engine_health health;
    engine_health(subject->engine, &health);
    return health.sequence;
}

uint64_t subject_stat(struct subject *subject, enum stats_name counter_or_gauge)
{
    return stats_read(engine_stats(subject->engine), counter_or_gauge);
}

struct bytes subject_noise(unsigned char *buffer, size_t size, uint64_t seed)
{
    uint64_t state = seed * 0x9E3779B97F4A7C15u + 1;
    for (size_t i = 0; i < size; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        buffer[i] = (unsigned char)(state >> 56);
    }
    return (struct bytes){buffer, size};
}
