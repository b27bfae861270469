/* SPDX-License-Identifier: Apache-2.0 */
/* What every engine promises of itself: capabilities, limits, health, figures, closing and opening. */
#include "../lib/subject.h"

static bool is_durable(struct subject *subject)
{
    return (engine_limits(subject->engine)->capabilities & ENGINE_DURABLE) != 0;
}

static void limits_are_those_it_was_opened_with(void **state)
{
    struct subject *subject = *state;
    const struct engine_limits *limits = engine_limits(subject->engine);
    assert_int_equal(limits->key_bytes_max, subject->options.key_bytes_max);
    assert_int_equal(limits->meta_bytes_max, subject->options.meta_bytes_max);
    assert_int_equal(limits->batch_operations_max, subject->options.batch_operations_max);
    assert_int_equal(limits->value_bytes_max, subject->options.value_bytes_max);
    assert_string_equal(limits->scheme, subject->kind->scheme);
    assert_int_equal(is_durable(subject), subject->kind->durable);
}

static void every_capability_has_a_name(void **state)
{
    struct subject *subject = *state;
    uint32_t left = engine_limits(subject->engine)->capabilities;
    for (uint32_t bit = 0; engine_capability_name(bit) != NULL; bit++)
        left &= ~(UINT32_C(1) << bit);
    assert_int_equal(left, 0);
}

static void health_tells_a_ready_store(void **state)
{
    struct subject *subject = *state;
    struct engine_version version = subject_put(subject, "k", "v");
    struct engine_health health;
    engine_health(subject->engine, &health);
    assert_int_equal(health.state, ENGINE_READY);
    assert_int_equal(health.writable, STATUS_OK);
    assert_int_equal(health.epoch, version.epoch);
    assert_int_equal(health.sequence, version.sequence);
    assert_int_equal(health.loaded, health.to_load);
    assert_string_equal(health.reason, "");
    assert_true(health.epoch != 0 && health.epoch < UINT64_C(1) << 48);
}

static void what_happens_is_counted(void **state)
{
    struct subject *subject = *state;
    const struct engine_condition if_absent = {.kind = ENGINE_IF_ABSENT};
    subject_put(subject, "key", "value");
    subject_put(subject, "key", "value");
    subject_put(subject, "gone", "");
    subject_delete(subject, "gone");
    assert_int_equal(subject_try_put(subject, "key", "v", &if_absent, NULL), STATUS_CONFLICT);
    subject_assert_value(subject, "key", "value"); /* one get */
    subject_assert_absent(subject, "gone");        /* one get, one head */
    assert_int_equal(subject_stat(subject, STATS_puts), 3);
    assert_int_equal(subject_stat(subject, STATS_deletes), 1);
    assert_int_equal(subject_stat(subject, STATS_conflicts), 1);
    assert_int_equal(subject_stat(subject, STATS_gets), 3);
    assert_int_equal(subject_stat(subject, STATS_get_misses), 2);
    assert_int_equal(subject_stat(subject, STATS_keys), 1);
    assert_int_equal(subject_stat(subject, STATS_accepted), 2 * 8 + 4 + 4);
    assert_int_equal(subject_stat(subject, STATS_memory_limit), SUBJECT_MEMORY_BYTES_MAX);
}

static void fill(struct subject *subject, unsigned char *noise, struct engine_version versions[4])
{
    struct engine_operation batch[2];
    versions[0] = subject_put(subject, "small", "value");
    versions[1] = subject_put_bytes(subject, bytes_of("large"), subject_noise(noise, 300000, 1));
    subject_put(subject, "deleted", "v");
    subject_delete(subject, "deleted");
    batch[0] = subject_put_operation(subject, bytes_of("batch a"), bytes_of("1"));
    batch[1] = subject_put_operation(subject, bytes_of("batch b"), bytes_of("2"));
    assert_int_equal(subject_commit(subject, batch, 2), STATUS_OK);
    versions[2] = batch[0].version;
    versions[3] = batch[1].version;
}

static void assert_filled(struct subject *subject, const unsigned char *noise,
                          const struct engine_version versions[4])
{
    const char *const keys[] = {"small", "large", "batch a", "batch b"};
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        assert_true(engine_version_equal(subject_version(subject, bytes_of(keys[i])), versions[i]));
    struct engine_item item = {0};
    assert_int_equal(engine_get(subject->engine, bytes_of("large"), &item), STATUS_OK);
    assert_true(bytes_equal(item.value, (struct bytes){noise, 300000}));
    engine_item_done(&item);
    subject_assert_value(subject, "small", "value");
    subject_assert_absent(subject, "deleted");
    assert_int_equal(subject_stat(subject, STATS_keys), 4);
}

static void closing_and_opening_keeps_all_and_its_versions_or_says_that_it_does_not(void **state)
{
    struct subject *subject = *state;
    AUTO_FREE unsigned char *noise = malloc(300000);
    struct engine_version versions[4];
    fill(subject, noise, versions);
    uint64_t sequence = subject_sequence(subject);
    subject_reopen(subject);
    if (is_durable(subject)) {
        assert_int_equal(subject_sequence(subject), sequence);
        assert_filled(subject, noise, versions);
        subject_reopen(subject); /* an opening that wrote nothing */
        assert_filled(subject, noise, versions);
        return;
    }
    subject_assert_absent(subject, "small");
    assert_int_equal(subject_sequence(subject), 0);
}

static void versions_do_not_repeat_over_a_restart(void **state)
{
    struct subject *subject = *state;
    struct engine_version before[20];
    for (size_t i = 0; i < COUNT_OF(before); i++) {
        before[i] = subject_put(subject, "k", "the same");
        if (i % 5 == 4)
            subject_reopen(subject);
    }
    for (size_t i = 0; i < COUNT_OF(before); i++)
        for (size_t k = 0; k < i; k++)
            assert_false(engine_version_equal(before[i], before[k]));
}

static void deletes_survive_a_restart_and_do_not_come_back(void **state)
{
    struct subject *subject = *state;
    for (int round = 0; round < 3; round++) {
        subject_put(subject, "k", "v");
        subject_reopen(subject);
        subject_delete(subject, "k");
        subject_reopen(subject);
        subject_assert_absent(subject, "k");
    }
}

static void expiry_survives_a_restart(void **state)
{
    struct subject *subject = *state;
    struct engine_operation put = subject_put_operation(subject, bytes_of("k"), bytes_of("v"));
    put.expires_ms = subject->clock.wall_ms + 5000;
    assert_int_equal(subject_commit(subject, &put, 1), STATUS_OK);
    subject_reopen(subject);
    if (is_durable(subject))
        subject_assert_value(subject, "k", "v");
    subject->clock.wall_ms += 5000;
    subject_assert_absent(subject, "k");
}

static void a_store_in_use_is_not_opened_twice(void **state)
{
    struct subject *subject = *state;
    if (!is_durable(subject))
        return; /* every opening is a store of its own */
    struct engine *second = NULL;
    struct failure failure = {0};
    assert_int_equal(engine_open(&subject->options, &second, &failure), STATUS_LOCKED);
    assert_null(second);
    assert_int_equal(failure.status, STATUS_LOCKED);
    assert_true(strlen(failure.message) > 0);
    subject_put(subject, "k", "v"); /* the first one goes on */
}

static void an_unknown_scheme_is_refused_with_the_known_ones(void **state)
{
    struct subject *subject = *state;
    const char *const urls[] = {"redis:x", "", "file", "memor:", "file//x"};
    for (size_t i = 0; i < COUNT_OF(urls); i++) {
        struct engine_options options = subject->options;
        struct engine *engine = NULL;
        struct failure failure = {0};
        options.url = urls[i];
        assert_int_equal(engine_open(&options, &engine, &failure), STATUS_INVALID);
        assert_non_null(strstr(failure.message, "memory:"));
        assert_null(engine);
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest promises[] = {
        TEST("limits are those it was opened with", limits_are_those_it_was_opened_with),
        TEST("every capability has a name", every_capability_has_a_name),
        TEST("health tells a ready store", health_tells_a_ready_store),
        TEST("what happens is counted", what_happens_is_counted),
        TEST("closing and opening keeps all and its versions, or says that it does not",
             closing_and_opening_keeps_all_and_its_versions_or_says_that_it_does_not),
        TEST("versions do not repeat over a restart", versions_do_not_repeat_over_a_restart),
        TEST("deletes survive a restart and do not come back",
             deletes_survive_a_restart_and_do_not_come_back),
        TEST("expiry survives a restart", expiry_survives_a_restart),
        TEST("a store in use is not opened twice", a_store_in_use_is_not_opened_twice),
        TEST("an unknown scheme is refused with the known ones",
             an_unknown_scheme_is_refused_with_the_known_ones),
    };
    return subject_main(argc, argv, "engine_life", promises);
}
