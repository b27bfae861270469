/* SPDX-License-Identifier: Apache-2.0 */
/* What every engine promises of an addition: which values are numbers, limits, races. */
#include <inttypes.h>
#include <pthread.h>

#include "../../engine/number.h"
#include "../lib/subject.h"

static struct engine_operation add_operation(const char *key, int64_t by)
{
    return (struct engine_operation){.type = ENGINE_ADD, .key = bytes_of(key), .by = by};
}

static void assert_adds(struct subject *subject, const char *key, int64_t by, int64_t number,
                        enum engine_outcome outcome)
{
    struct engine_operation addition = add_operation(key, by);
    assert_int_equal(subject_commit(subject, &addition, 1), STATUS_OK);
    assert_int_equal(addition.number, number);
    assert_int_equal(addition.outcome, outcome);
    assert_null(addition.value);
    assert_true(engine_version_equal(addition.version, subject_version(subject, bytes_of(key))));
    char text[NUMBER_BYTES_MAX + 1] = "";
    snprintf(text, sizeof text, "%" PRId64, number);
    subject_assert_value(subject, key, text);
}

static void assert_refuses(struct subject *subject, const char *key, int64_t by)
{
    struct engine_operation addition = add_operation(key, by);
    struct engine_version before = subject_version(subject, bytes_of(key));
    assert_int_equal(subject_commit(subject, &addition, 1), STATUS_NOT_A_NUMBER);
    assert_int_equal(addition.outcome, ENGINE_FAILED);
    assert_true(engine_version_equal(addition.version, before));
    assert_true(engine_version_equal(subject_version(subject, bytes_of(key)), before));
}

static void an_absent_key_counts_from_zero(void **state)
{
    struct subject *subject = *state;
    assert_adds(subject, "n", 5, 5, ENGINE_CREATED);
    assert_adds(subject, "n", -7, -2, ENGINE_REPLACED);
    assert_int_equal(subject_delete(subject, "n"), ENGINE_DELETED);
    assert_adds(subject, "n", 0, 0, ENGINE_CREATED);
    assert_int_equal(subject_sequence(subject), 4);
    assert_int_equal(subject_stat(subject, STATS_keys), 1);
}

static void every_spelling_of_a_number_is_counted_on(void **state)
{
    struct subject *subject = *state;
    static const struct {
        const char *text;
        int64_t number;
    } rows[] = {
        {"0", 0},
        {"-0", 0},
        {"42", 42},
        {"-1", -1},
        {"007", 7},
        {"-0000000000000000001", -1},
        {"9223372036854775807", INT64_MAX},
        {"-9223372036854775808", INT64_MIN},
        {"00000000000000000001", 1},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        subject_put(subject, "n", rows[i].text);
        assert_adds(subject, "n", 0, rows[i].number, ENGINE_REPLACED);
    }
}

static void what_is_no_number_is_refused_and_stays(void **state)
{
    struct subject *subject = *state;
    static const char *const texts[] = {
        "",
        "-",
        "+1",
        "1 ",
        " 1",
        "1\n",
        "0x1",
        "1.5",
        "1e3",
        "--1",
        "1-",
        "ten",
        "\xd9\xa1",
        "9223372036854775808",
        "-9223372036854775809",
        "000000000000000000001",
        "99999999999999999999",
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        subject_put(subject, "n", texts[i]);
        assert_refuses(subject, "n", 1);
        subject_assert_value(subject, "n", texts[i]);
    }
    static const unsigned char nul[] = {'1', 0};
    subject_put_bytes(subject, bytes_of("n"), (struct bytes){nul, sizeof nul});
    assert_refuses(subject, "n", 1);
    AUTO_FREE char *ones = malloc(SUBJECT_VALUE_BYTES_MAX);
    memset(ones, '1', SUBJECT_VALUE_BYTES_MAX);
    subject_put_bytes(subject, bytes_of("n"), (struct bytes){ones, SUBJECT_VALUE_BYTES_MAX});
    assert_refuses(subject, "n", 1);
}

static void the_limits_are_reached_and_not_passed(void **state)
{
    struct subject *subject = *state;
    assert_adds(subject, "up", INT64_MAX, INT64_MAX, ENGINE_CREATED);
    assert_refuses(subject, "up", 1);
    assert_refuses(subject, "up", INT64_MAX);
    assert_adds(subject, "up", INT64_MIN, -1, ENGINE_REPLACED);
    assert_adds(subject, "down", INT64_MIN, INT64_MIN, ENGINE_CREATED);
    assert_refuses(subject, "down", -1);
    assert_refuses(subject, "down", INT64_MIN);
    assert_adds(subject, "down", INT64_MAX, -1, ENGINE_REPLACED);
}

/* ---- what stays ---- */

static void put_with_meta(struct subject *subject, const char *text, int64_t expires_ms)
{
    struct engine_operation put = {
        .type = ENGINE_PUT, .key = bytes_of("n"), .expires_ms = expires_ms};
    assert_int_equal(
        engine_value_open(subject->engine, put.key, bytes_of("META"), strlen(text), &put.value),
        STATUS_OK);
    memcpy(put.value->data, text, strlen(text));
    put.value->size = strlen(text);
    assert_int_equal(subject_commit(subject, &put, 1), STATUS_OK);
}

static void meta_and_expiry_are_kept(void **state)
{
    struct subject *subject = *state;
    int64_t expires_ms = subject->clock.wall_ms + 5000;
    put_with_meta(subject, "9", expires_ms);
    atomic_fetch_add(&subject->clock.wall_ms, 1000);
    assert_adds(subject, "n", 1, 10, ENGINE_REPLACED);
    struct engine_item item = {0};
    assert_int_equal(engine_get(subject->engine, bytes_of("n"), &item), STATUS_OK);
    assert_true(bytes_equal(item.meta, bytes_of("META")));
    assert_int_equal(item.expires_ms, expires_ms);
    assert_int_equal(item.modified_ms, subject->clock.wall_ms);
    engine_item_done(&item);
}

static void an_expired_key_counts_as_absent(void **state)
{
    struct subject *subject = *state;
    put_with_meta(subject, "9", subject->clock.wall_ms + 1000);
    atomic_fetch_add(&subject->clock.wall_ms, 1000);
    assert_adds(subject, "n", 1, 1, ENGINE_CREATED);
    struct engine_item item = {0};
    assert_int_equal(engine_get(subject->engine, bytes_of("n"), &item), STATUS_OK);
    assert_int_equal(item.meta.size, 0);
    assert_int_equal(item.expires_ms, 0);
    engine_item_done(&item);
}

static void a_count_outlives_the_engine(void **state)
{
    struct subject *subject = *state;
    if (!subject->kind->durable)
        return;
    put_with_meta(subject, "41", 0);
    assert_adds(subject, "n", 1, 42, ENGINE_REPLACED);
    subject_reopen(subject);
    subject_assert_value(subject, "n", "42");
    assert_adds(subject, "n", 1, 43, ENGINE_REPLACED);
}

/* ---- conditions and batches ---- */

static void a_condition_is_judged_before_the_number(void **state)
{
    struct subject *subject = *state;
    static const struct engine_condition if_absent = {.kind = ENGINE_IF_ABSENT};
    struct engine_version version = subject_put(subject, "n", "text");
    struct engine_operation addition = add_operation("n", 1);
    addition.conditions = &if_absent;
    addition.condition_count = 1;
    assert_int_equal(subject_commit(subject, &addition, 1), STATUS_CONFLICT);
    assert_true(engine_version_equal(addition.version, version));
    version = subject_put(subject, "n", "1");
    const struct engine_condition unchanged = {ENGINE_IF_ONE_OF, &version, 1};
    addition.conditions = &unchanged;
    assert_int_equal(subject_commit(subject, &addition, 1), STATUS_OK);
    assert_int_equal(addition.number, 2);
    assert_int_equal(subject_commit(subject, &addition, 1), STATUS_CONFLICT);
    subject_assert_value(subject, "n", "2");
}

static void in_a_batch_additions_are_applied_with_the_rest_or_not_at_all(void **state)
{
    struct subject *subject = *state;
    static const struct engine_condition if_present = {.kind = ENGINE_IF_PRESENT};
    subject_put(subject, "text", "none");
    uint64_t before = subject_sequence(subject);
    struct engine_operation batch[] = {
        add_operation("a", 1),
        subject_put_operation(subject, bytes_of("b"), bytes_of("v")),
        add_operation("text", 1),
        {.type = ENGINE_CHECK, .key = bytes_of("c")},
    };
    assert_int_equal(subject_commit(subject, batch, 4), STATUS_NOT_A_NUMBER);
    const enum engine_outcome outcomes[] = {ENGINE_CHECKED, ENGINE_CHECKED, ENGINE_FAILED,
                                            ENGINE_CHECKED};
    for (size_t i = 0; i < COUNT_OF(outcomes); i++)
        assert_int_equal(batch[i].outcome, outcomes[i]);
    batch[3].conditions = &if_present;
    batch[3].condition_count = 1;
    assert_int_equal(subject_commit(subject, batch, 4), STATUS_CONFLICT);
    subject_assert_absent(subject, "a");
    subject_assert_absent(subject, "b");
    subject_assert_value(subject, "text", "none");
    assert_int_equal(subject_sequence(subject), before);
    assert_int_equal(subject_commit(subject, batch, 2), STATUS_OK);
    subject_assert_value(subject, "a", "1");
    subject_assert_value(subject, "b", "v");
}

static void a_key_is_added_to_once_in_a_batch(void **state)
{
    struct subject *subject = *state;
    struct engine_operation batch[] = {add_operation("n", 1), add_operation("n", 1)};
    assert_int_equal(subject_commit(subject, batch, 2), STATUS_INVALID);
    subject_assert_absent(subject, "n");
}

/* ---- races: threads count failures, the test asserts on the sum ---- */

enum { RACERS = 16, ADDITIONS = 100 };

struct racer {
    struct subject *subject;
    uint64_t failed;
    struct engine_operation done[ADDITIONS];
};

static void *add_often(void *context)
{
    struct racer *racer = context;
    for (int i = 0; i < ADDITIONS; i++) {
        racer->done[i] = add_operation("n", 1);
        racer->failed += subject_commit(racer->subject, &racer->done[i], 1) != STATUS_OK;
    }
    return NULL;
}

static void of_racing_additions_each_counts_once_in_the_order_of_versions(void **state)
{
    struct subject *subject = *state;
    AUTO_FREE struct racer *racers = calloc(RACERS, sizeof *racers);
    pthread_t threads[RACERS];
    for (int i = 0; i < RACERS; i++) {
        racers[i].subject = subject;
        assert_int_equal(pthread_create(&threads[i], NULL, add_often, &racers[i]), 0);
    }
    for (int i = 0; i < RACERS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < RACERS; i++) {
        assert_int_equal(racers[i].failed, 0);
        /* Nothing else is written: the count and the sequence are one. */
        for (int k = 0; k < ADDITIONS; k++)
            assert_int_equal(racers[i].done[k].number, racers[i].done[k].version.sequence);
    }
    assert_adds(subject, "n", 0, RACERS * ADDITIONS, ENGINE_REPLACED);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest promises[] = {
        TEST("an absent key counts from zero", an_absent_key_counts_from_zero),
        TEST("every spelling of a number is counted on", every_spelling_of_a_number_is_counted_on),
        TEST("what is no number is refused and stays", what_is_no_number_is_refused_and_stays),
        TEST("the limits are reached and not passed", the_limits_are_reached_and_not_passed),
        TEST("meta and expiry are kept", meta_and_expiry_are_kept),
        TEST("an expired key counts as absent", an_expired_key_counts_as_absent),
        TEST("a count outlives the engine", a_count_outlives_the_engine),
        TEST("a condition is judged before the number", a_condition_is_judged_before_the_number),
        TEST("in a batch additions are applied with the rest or not at all",
             in_a_batch_additions_are_applied_with_the_rest_or_not_at_all),
        TEST("a key is added to once in a batch", a_key_is_added_to_once_in_a_batch),
        TEST("of racing additions each counts once, in the order of versions",
             of_racing_additions_each_counts_once_in_the_order_of_versions),
    };
    return subject_main(argc, argv, "engine_additions", promises);
}
