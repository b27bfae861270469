/* SPDX-License-Identifier: Apache-2.0 */
/* What every engine promises of a commit: conditions, all or nothing, order, races. */
#include <pthread.h>

#include "../lib/subject.h"

static const struct engine_condition if_present = {.kind = ENGINE_IF_PRESENT};
static const struct engine_condition if_absent = {.kind = ENGINE_IF_ABSENT};

static struct engine_operation delete_operation(const char *key)
{
    return (struct engine_operation){.type = ENGINE_DELETE, .key = bytes_of(key)};
}

static struct engine_operation check_operation(const char *key,
                                               const struct engine_condition *condition)
{
    return (struct engine_operation){
        .type = ENGINE_CHECK, .key = bytes_of(key), .conditions = condition, .condition_count = 1};
}

static struct engine_operation put_operation(struct subject *subject, const char *key,
                                             const char *value)
{
    return subject_put_operation(subject, bytes_of(key), bytes_of(value));
}

/* ---- conditions ---- */

static void each_kind_of_condition_holds_when_it_should(void **state)
{
    struct subject *subject = *state;
    const struct engine_version here = subject_put(subject, "here", "v");
    const struct engine_version foreign = {here.epoch ^ 1, here.sequence};
    const struct engine_version mixed[] = {foreign, {here.epoch, here.sequence + 1}, here};
    const struct {
        struct engine_condition condition;
        bool holds_when_present, holds_when_absent;
    } rows[] = {
        {{ENGINE_IF_PRESENT, NULL, 0}, true, false}, {{ENGINE_IF_ABSENT, NULL, 0}, false, true},
        {{ENGINE_IF_ONE_OF, mixed, 3}, true, false}, {{ENGINE_IF_ONE_OF, mixed, 2}, false, false},
        {{ENGINE_IF_ONE_OF, NULL, 0}, false, false}, {{ENGINE_IF_NONE_OF, mixed, 3}, false, true},
        {{ENGINE_IF_NONE_OF, mixed, 2}, true, true}, {{ENGINE_IF_NONE_OF, NULL, 0}, true, true},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct engine_operation present = check_operation("here", &rows[i].condition);
        struct engine_operation absent = check_operation("gone", &rows[i].condition);
        assert_int_equal(subject_commit(subject, &present, 1),
                         rows[i].holds_when_present ? STATUS_OK : STATUS_CONFLICT);
        assert_int_equal(subject_commit(subject, &absent, 1),
                         rows[i].holds_when_absent ? STATUS_OK : STATUS_CONFLICT);
    }
}

static void all_conditions_of_an_operation_must_hold(void **state)
{
    struct subject *subject = *state;
    const struct engine_version version = subject_put(subject, "k", "v");
    const struct engine_version other = {version.epoch, version.sequence + 1};
    const struct engine_condition one_of = {ENGINE_IF_ONE_OF, &version, 1};
    const struct engine_condition none_of = {ENGINE_IF_NONE_OF, &other, 1};
    const struct engine_condition holding[] = {if_present, one_of, none_of};
    const struct engine_condition failing_last[] = {if_present, one_of, if_absent};
    const struct engine_condition failing_first[] = {if_absent, if_present, one_of};
    const struct {
        const struct engine_condition *conditions;
        enum status status;
    } rows[] = {
        {failing_last, STATUS_CONFLICT}, {failing_first, STATUS_CONFLICT}, {holding, STATUS_OK}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct engine_operation put = put_operation(subject, "k", "new");
        put.conditions = rows[i].conditions;
        put.condition_count = 3;
        assert_int_equal(subject_commit(subject, &put, 1), rows[i].status);
        subject_give_back(subject, &put, 1);
    }
    subject_assert_value(subject, "k", "new");
}

static void a_refusal_tells_the_current_version(void **state)
{
    struct subject *subject = *state;
    struct engine_version current;
    assert_int_equal(subject_try_put(subject, "k", "v", &if_present, &current), STATUS_CONFLICT);
    assert_int_equal(current.sequence, 0);
    struct engine_version version = subject_put(subject, "k", "v");
    assert_int_equal(subject_try_put(subject, "k", "new", &if_absent, &current), STATUS_CONFLICT);
    assert_true(engine_version_equal(current, version));
    subject_assert_value(subject, "k", "v");
    assert_int_equal(subject_stat(subject, STATS_conflicts), 2);
}

static void a_delete_obeys_its_condition(void **state)
{
    struct subject *subject = *state;
    struct engine_version version = subject_put(subject, "k", "v");
    const struct engine_condition none_of = {ENGINE_IF_NONE_OF, &version, 1};
    const struct engine_condition one_of = {ENGINE_IF_ONE_OF, &version, 1};
    struct engine_operation erase = delete_operation("k");
    erase.condition_count = 1;
    erase.conditions = &none_of;
    assert_int_equal(subject_commit(subject, &erase, 1), STATUS_CONFLICT);
    assert_int_equal(erase.outcome, ENGINE_FAILED);
    subject_assert_value(subject, "k", "v");
    erase.conditions = &one_of;
    assert_int_equal(subject_commit(subject, &erase, 1), STATUS_OK);
    assert_int_equal(erase.outcome, ENGINE_DELETED);
    /* on a key that is gone, the same condition fails: only the HTTP layer makes 404 of it */
    assert_int_equal(subject_commit(subject, &erase, 1), STATUS_CONFLICT);
}

static void a_check_writes_nothing(void **state)
{
    struct subject *subject = *state;
    struct engine_version version = subject_put(subject, "k", "v");
    uint64_t before = subject_sequence(subject);
    struct engine_operation checks[] = {check_operation("k", &if_present),
                                        check_operation("absent", &if_absent)};
    assert_int_equal(subject_commit(subject, checks, 2), STATUS_OK);
    assert_int_equal(checks[0].outcome, ENGINE_CHECKED);
    assert_true(engine_version_equal(checks[0].version, version));
    assert_int_equal(checks[1].version.sequence, 0);
    assert_int_equal(subject_sequence(subject), before);
}

/* ---- batches ---- */

static void a_batch_is_applied_whole(void **state)
{
    struct subject *subject = *state;
    subject_put(subject, "old", "v");
    subject_put(subject, "doomed", "v");
    uint64_t before = subject_sequence(subject);
    struct engine_operation batch[] = {
        put_operation(subject, "new", "1"),   put_operation(subject, "old", "2"),
        delete_operation("doomed"),           delete_operation("never was"),
        check_operation("other", &if_absent),
    };
    const enum engine_outcome outcomes[] = {ENGINE_CREATED, ENGINE_REPLACED, ENGINE_DELETED,
                                            ENGINE_ABSENT, ENGINE_CHECKED};
    assert_int_equal(subject_commit(subject, batch, COUNT_OF(batch)), STATUS_OK);
    for (size_t i = 0; i < COUNT_OF(batch); i++) {
        assert_int_equal(batch[i].outcome, outcomes[i]);
        assert_null(batch[i].value);
    }
    subject_assert_value(subject, "new", "1");
    subject_assert_value(subject, "old", "2");
    subject_assert_absent(subject, "doomed");
    assert_int_equal(subject_sequence(subject), before + 3);
    for (uint64_t i = 0; i < 3; i++)
        assert_int_equal(batch[i].version.sequence, before + 1 + i);
}

static void a_refused_batch_changes_nothing_and_can_be_tried_again(void **state)
{
    struct subject *subject = *state;
    subject_put(subject, "old", "v");
    subject_put(subject, "present", "v");
    uint64_t before = subject_sequence(subject);
    struct engine_operation batch[] = {
        put_operation(subject, "new", "1"),
        delete_operation("old"),
        check_operation("missing", &if_present),
        check_operation("present", &if_absent),
    };
    assert_int_equal(subject_commit(subject, batch, COUNT_OF(batch)), STATUS_CONFLICT);
    assert_int_not_equal(batch[0].outcome, ENGINE_FAILED);
    assert_int_not_equal(batch[1].outcome, ENGINE_FAILED);
    assert_int_equal(batch[2].outcome, ENGINE_FAILED);
    assert_int_equal(batch[3].outcome, ENGINE_FAILED);
    subject_assert_absent(subject, "new");
    subject_assert_value(subject, "old", "v");
    assert_int_equal(subject_sequence(subject), before);
    assert_non_null(batch[0].value);
    assert_int_equal(subject_commit(subject, batch, 2), STATUS_OK);
    subject_assert_value(subject, "new", "1");
    subject_assert_absent(subject, "old");
}

static void a_judged_commit_tells_the_versions_before(void **state)
{
    struct subject *subject = *state;
    struct engine_version kept = subject_put(subject, "kept", "v");
    struct engine_version doomed = subject_put(subject, "doomed", "v");
    struct engine_operation batch[] = {
        put_operation(subject, "new", "1"),
        put_operation(subject, "kept", "2"),
        delete_operation("doomed"),
        check_operation("absent", &if_absent),
    };
    assert_int_equal(subject_commit(subject, batch, COUNT_OF(batch)), STATUS_OK);
    const struct engine_version none = {0, 0}, before[] = {none, kept, doomed, none};
    for (size_t i = 0; i < COUNT_OF(batch); i++)
        assert_true(engine_version_equal(batch[i].before, before[i]));
}

static void a_key_in_two_operations_is_invalid(void **state)
{
    struct subject *subject = *state;
    subject_put(subject, "k", "v");
    uint64_t before = subject_sequence(subject);
    struct engine_operation batches[][3] = {
        {put_operation(subject, "k", "1"), delete_operation("a"), delete_operation("k")},
        {delete_operation("k"), check_operation("k", &if_present), delete_operation("a")},
        {put_operation(subject, "k", "1"), delete_operation("a"), put_operation(subject, "k", "2")},
    };
    for (size_t i = 0; i < COUNT_OF(batches); i++) {
        assert_int_equal(subject_commit(subject, batches[i], 3), STATUS_INVALID);
        subject_give_back(subject, batches[i], 3);
    }
    subject_assert_value(subject, "k", "v");
    assert_int_equal(subject_sequence(subject), before);
}

static void malformed_commits_are_refused(void **state)
{
    struct subject *subject = *state;
    static const char long_key[2000];
    struct engine_operation empty_key = {.type = ENGINE_DELETE, .key = {"", 0}};
    struct engine_operation over_long = {.type = ENGINE_DELETE, .key = {long_key, 1025}};
    assert_int_equal(subject_commit(subject, &empty_key, 1), STATUS_INVALID);
    assert_int_equal(subject_commit(subject, &over_long, 1), STATUS_INVALID);
    assert_int_equal(subject_commit(subject, &empty_key, 0), STATUS_INVALID);
}

static void make_many(struct engine_operation *operations, char (*keys)[8], uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        snprintf(keys[i], sizeof keys[i], "%u", i);
        operations[i] = delete_operation(keys[i]);
    }
}

static void the_most_operations_are_taken_and_not_one_more(void **state)
{
    struct subject *subject = *state;
    struct engine_operation operations[SUBJECT_OPERATIONS_MAX + 1];
    char keys[SUBJECT_OPERATIONS_MAX + 1][8];
    make_many(operations, keys, SUBJECT_OPERATIONS_MAX + 1);
    assert_int_equal(subject_commit(subject, operations, SUBJECT_OPERATIONS_MAX + 1),
                     STATUS_TOO_LARGE);
    for (uint32_t i = 0; i < SUBJECT_OPERATIONS_MAX; i++)
        operations[i] = put_operation(subject, keys[i], keys[i]);
    assert_int_equal(subject_commit(subject, operations, SUBJECT_OPERATIONS_MAX), STATUS_OK);
    assert_int_equal(subject_stat(subject, STATS_keys), SUBJECT_OPERATIONS_MAX);
    subject_assert_value(subject, keys[SUBJECT_OPERATIONS_MAX - 1],
                         keys[SUBJECT_OPERATIONS_MAX - 1]);
}

static void values_together_may_reach_the_value_limit_and_not_pass_it(void **state)
{
    struct subject *subject = *state;
    AUTO_FREE unsigned char *noise = malloc(SUBJECT_VALUE_BYTES_MAX);
    struct bytes all = subject_noise(noise, SUBJECT_VALUE_BYTES_MAX, 1);
    struct bytes half = {noise, all.size / 2};
    struct engine_operation batch[] = {
        subject_put_operation(subject, bytes_of("a"), half),
        subject_put_operation(subject, bytes_of("b"), half),
        subject_put_operation(subject, bytes_of("c"), bytes_of("x")),
    };
    assert_int_equal(subject_commit(subject, batch, 3), STATUS_TOO_LARGE);
    subject_assert_absent(subject, "a");
    assert_int_equal(subject_commit(subject, batch, 2), STATUS_OK);
    subject_give_back(subject, batch, 3);
}

/* ---- deadlines ---- */

static void past_its_deadline_a_commit_is_not_applied(void **state)
{
    struct subject *subject = *state;
    struct engine_operation put = put_operation(subject, "k", "v");
    struct engine_context over = {.deadline_ns = 1};
    assert_int_equal(engine_commit(subject->engine, &put, 1, &over), STATUS_BUSY);
    subject_assert_absent(subject, "k");
    assert_int_equal(subject_stat(subject, STATS_busy), 1);
    assert_int_equal(subject_commit(subject, &put, 1), STATUS_OK);
}

static void a_cancelled_commit_is_not_applied(void **state)
{
    struct subject *subject = *state;
    struct engine_operation put = put_operation(subject, "k", "v");
    struct cancel cancel = {false};
    struct engine_context context = subject_patience();
    context.cancel = &cancel;
    cancel_fire(&cancel);
    assert_int_equal(engine_commit(subject->engine, &put, 1, &context), STATUS_CANCELLED);
    subject_assert_absent(subject, "k");
    assert_int_equal(subject_commit(subject, &put, 1), STATUS_OK);
}

/* ---- races: threads count failures, the test asserts on the sum ---- */

enum { RACERS = 16, RACE_KEYS = 40, COUNTERS = 8, INCREMENTS = 60 };

struct racer {
    struct subject *subject;
    unsigned number;
    uint64_t created, failed;
    struct engine_version versions[RACE_KEYS];
};

static void run_racers(struct subject *subject, struct racer *racers, unsigned count,
                       void *(*run)(void *))
{
    pthread_t threads[RACERS];
    for (unsigned i = 0; i < count; i++) {
        racers[i] = (struct racer){.subject = subject, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, run, &racers[i]), 0);
    }
    for (unsigned i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
}

static void *create_each_key(void *context)
{
    struct racer *racer = context;
    for (unsigned i = 0; i < RACE_KEYS; i++) {
        char key[16], value[16];
        snprintf(key, sizeof key, "race %u", i);
        snprintf(value, sizeof value, "%u", racer->number);
        enum status status = subject_try_put(racer->subject, key, value, &if_absent, NULL);
        racer->created += status == STATUS_OK;
        racer->failed += status != STATUS_OK && status != STATUS_CONFLICT;
    }
    return NULL;
}

static void of_racing_creators_exactly_one_creates(void **state)
{
    struct subject *subject = *state;
    struct racer racers[RACERS];
    uint64_t created = 0;
    run_racers(subject, racers, RACERS, create_each_key);
    for (unsigned i = 0; i < RACERS; i++) {
        created += racers[i].created;
        assert_int_equal(racers[i].failed, 0);
    }
    assert_int_equal(created, RACE_KEYS);
    assert_int_equal(subject_sequence(subject), RACE_KEYS);
}

/* Reads the counter, adds one, and tries again until nobody came between. */
static bool increment(struct subject *subject)
{
    for (;;) {
        struct engine_item item = {0};
        char text[16] = "";
        if (engine_get(subject->engine, bytes_of("counter"), &item) != STATUS_OK)
            return false;
        memcpy(text, item.value.data, item.value.size);
        struct engine_version seen = item.version;
        engine_item_done(&item);
        snprintf(text, sizeof text, "%d", atoi(text) + 1);
        const struct engine_condition unchanged = {ENGINE_IF_ONE_OF, &seen, 1};
        enum status status = subject_try_put(subject, "counter", text, &unchanged, NULL);
        if (status != STATUS_CONFLICT)
            return status == STATUS_OK;
    }
}

static void *increment_often(void *context)
{
    struct racer *racer = context;
    for (int i = 0; i < INCREMENTS; i++)
        racer->failed += !increment(racer->subject);
    return NULL;
}

static void no_update_of_a_shared_counter_is_lost(void **state)
{
    struct subject *subject = *state;
    struct racer racers[COUNTERS];
    char expected[16];
    subject_put(subject, "counter", "0");
    run_racers(subject, racers, COUNTERS, increment_often);
    for (unsigned i = 0; i < COUNTERS; i++)
        assert_int_equal(racers[i].failed, 0);
    snprintf(expected, sizeof expected, "%d", COUNTERS * INCREMENTS);
    subject_assert_value(subject, "counter", expected);
}

static void *put_and_remember(void *context)
{
    struct racer *racer = context;
    for (unsigned i = 0; i < RACE_KEYS; i++) {
        char key[16];
        snprintf(key, sizeof key, "key %u", (i * 7 + racer->number) % 5);
        racer->failed +=
            subject_try_put(racer->subject, key, "v", NULL, &racer->versions[i]) != STATUS_OK;
    }
    return NULL;
}

static void versions_never_repeat_and_leave_no_gap(void **state)
{
    struct subject *subject = *state;
    struct racer racers[RACERS];
    bool seen[RACERS * RACE_KEYS + 1] = {false};
    run_racers(subject, racers, RACERS, put_and_remember);
    for (unsigned i = 0; i < RACERS; i++) {
        assert_int_equal(racers[i].failed, 0);
        for (unsigned k = 0; k < RACE_KEYS; k++) {
            uint64_t sequence = racers[i].versions[k].sequence;
            assert_in_range(sequence, 1, RACERS * RACE_KEYS);
            assert_false(seen[sequence]);
            seen[sequence] = true;
            if (k > 0) /* one writer's own writes are in its order */
                assert_true(sequence > racers[i].versions[k - 1].sequence);
        }
    }
    assert_int_equal(subject_sequence(subject), RACERS * RACE_KEYS);
}

static atomic_bool writers_done;

static void *overwrite_with_noise(void *context)
{
    struct racer *racer = context;
    for (unsigned i = 0; i < RACE_KEYS; i++) {
        unsigned char noise[3000];
        struct bytes value = subject_noise(noise, 8 + 2000 * (i % 2) + i, racer->number * 100 + i);
        struct engine_operation put = subject_put_operation(racer->subject, bytes_of("k"), value);
        put.value->data[0] = (unsigned char)(racer->number * 100 + i);
        put.value->data[1] = (unsigned char)((racer->number * 100 + i) >> 8);
        racer->failed += subject_commit(racer->subject, &put, 1) != STATUS_OK;
        subject_give_back(racer->subject, &put, 1);
    }
    return NULL;
}

static bool is_whole(struct bytes value)
{
    const unsigned char *data = value.data;
    unsigned char noise[3000];
    uint64_t seed = data[0] | (uint64_t)data[1] << 8;
    struct bytes expected = subject_noise(noise, value.size, seed);
    return value.size == 8 + 2000 * (seed % 100 % 2) + seed % 100 &&
           memcmp(data + 2, (const unsigned char *)expected.data + 2, value.size - 2) == 0;
}

static void *read_until_done(void *context)
{
    struct racer *racer = context;
    uint64_t last = 0;
    while (!atomic_load(&writers_done)) {
        struct engine_item item = {0};
        if (engine_get(racer->subject->engine, bytes_of("k"), &item) != STATUS_OK)
            continue;
        racer->failed += item.version.sequence < last || !is_whole(item.value);
        last = item.version.sequence;
        engine_item_done(&item);
    }
    return NULL;
}

static void readers_see_whole_values_and_never_an_older_one(void **state)
{
    struct subject *subject = *state;
    struct racer writers[4], readers[2];
    pthread_t threads[COUNT_OF(readers)];
    atomic_store(&writers_done, false);
    for (unsigned i = 0; i < COUNT_OF(readers); i++) {
        readers[i] = (struct racer){.subject = subject};
        assert_int_equal(pthread_create(&threads[i], NULL, read_until_done, &readers[i]), 0);
    }
    run_racers(subject, writers, COUNT_OF(writers), overwrite_with_noise);
    atomic_store(&writers_done, true);
    for (unsigned i = 0; i < COUNT_OF(readers); i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(readers[i].failed, 0);
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest promises[] = {
        TEST("each kind of condition holds when it should",
             each_kind_of_condition_holds_when_it_should),
        TEST("all conditions of an operation must hold", all_conditions_of_an_operation_must_hold),
        TEST("a refusal tells the current version", a_refusal_tells_the_current_version),
        TEST("a delete obeys its condition", a_delete_obeys_its_condition),
        TEST("a check writes nothing", a_check_writes_nothing),
        TEST("a batch is applied whole", a_batch_is_applied_whole),
        TEST("a refused batch changes nothing and can be tried again",
             a_refused_batch_changes_nothing_and_can_be_tried_again),
        TEST("a judged commit tells the versions before",
             a_judged_commit_tells_the_versions_before),
        TEST("a key in two operations is INVALID", a_key_in_two_operations_is_invalid),
        TEST("malformed commits are refused", malformed_commits_are_refused),
        TEST("the most operations are taken and not one more",
             the_most_operations_are_taken_and_not_one_more),
        TEST("values together may reach the value limit and not pass it",
             values_together_may_reach_the_value_limit_and_not_pass_it),
        TEST("past its deadline a commit is not applied",
             past_its_deadline_a_commit_is_not_applied),
        TEST("a cancelled commit is not applied", a_cancelled_commit_is_not_applied),
        TEST("of racing creators exactly one creates", of_racing_creators_exactly_one_creates),
        TEST("no update of a shared counter is lost", no_update_of_a_shared_counter_is_lost),
        TEST("versions never repeat and leave no gap", versions_never_repeat_and_leave_no_gap),
        TEST("readers see whole values and never an older one",
             readers_see_whole_values_and_never_an_older_one),
    };
    return subject_main(argc, argv, "engine_commits", promises);
}
