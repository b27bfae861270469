/* SPDX-License-Identifier: Apache-2.0 */
/* What every engine promises of one key: reading, replacing, deleting, limits, expiry, memory. */
#include <pthread.h>

#include "../lib/subject.h"

enum { LARGE_BYTES = 200 << 10 }; /* over what an engine would copy */

static void a_put_is_read_back_with_all_that_belongs_to_it(void **state)
{
    struct subject *subject = *state;
    struct engine_operation put = {.type = ENGINE_PUT, .key = bytes_of("k")};
    assert_int_equal(
        engine_value_open(subject->engine, put.key, bytes_of("the meta"), 16, &put.value),
        STATUS_OK);
    assert_true(put.value->capacity >= 16);
    memcpy(put.value->data, "value", 5);
    put.value->size = 5; /* less than its room */
    assert_int_equal(subject_commit(subject, &put, 1), STATUS_OK);
    assert_int_equal(put.outcome, ENGINE_CREATED);
    assert_null(put.value);

    struct engine_item item = {0};
    assert_int_equal(engine_get(subject->engine, bytes_of("k"), &item), STATUS_OK);
    assert_true(engine_version_equal(item.version, put.version));
    assert_int_equal(item.modified_ms, subject->clock.wall_ms);
    assert_int_equal(item.expires_ms, 0);
    assert_true(bytes_equal(item.meta, bytes_of("the meta")));
    assert_true(bytes_equal(item.value, bytes_of("value")));
    engine_item_done(&item);
    assert_null(item.release);
    engine_item_done(&item); /* zero: nothing to do */
}

static void head_tells_the_size_and_carries_no_value(void **state)
{
    struct subject *subject = *state;
    struct engine_version version = subject_put(subject, "k", "twelve bytes");
    struct engine_item item = {0};
    assert_int_equal(engine_head(subject->engine, bytes_of("k"), &item), STATUS_OK);
    assert_int_equal(item.value.size, 12);
    assert_null(item.value.data);
    assert_true(engine_version_equal(item.version, version));
    engine_item_done(&item);
}

static void an_absent_key_is_not_found(void **state)
{
    struct subject *subject = *state;
    subject_assert_absent(subject, "k");
    subject_put(subject, "k", "v");
    subject_assert_absent(subject, "kk");
    subject_assert_absent(subject, "K");
}

static void a_replaced_key_has_another_version_and_value(void **state)
{
    struct subject *subject = *state;
    struct engine_version first = subject_put(subject, "k", "first");
    struct engine_operation put =
        subject_put_operation(subject, bytes_of("k"), bytes_of("the second"));
    assert_int_equal(subject_commit(subject, &put, 1), STATUS_OK);
    assert_int_equal(put.outcome, ENGINE_REPLACED);
    assert_false(engine_version_equal(put.version, first));
    subject_assert_value(subject, "k", "the second");
    assert_int_equal(subject_stat(subject, STATS_keys), 1);
}

static void a_deleted_key_is_gone_and_comes_back_as_a_new_version(void **state)
{
    struct subject *subject = *state;
    struct engine_version first = subject_put(subject, "k", "same");
    assert_int_equal(subject_delete(subject, "k"), ENGINE_DELETED);
    subject_assert_absent(subject, "k");
    assert_int_equal(subject_stat(subject, STATS_keys), 0);
    struct engine_version again = subject_put(subject, "k", "same");
    assert_false(engine_version_equal(first, again));
    subject_assert_value(subject, "k", "same");
}

static void deleting_an_absent_key_writes_nothing(void **state)
{
    struct subject *subject = *state;
    subject_put(subject, "other", "v");
    uint64_t before = subject_sequence(subject);
    assert_int_equal(subject_delete(subject, "k"), ENGINE_ABSENT);
    assert_int_equal(subject_sequence(subject), before);
    assert_int_equal(subject_stat(subject, STATS_deletes), 0);
}

static void keys_of_every_byte_are_kept_apart(void **state)
{
    struct subject *subject = *state;
    for (int i = 0; i < 256; i++) {
        unsigned char one = (unsigned char)i, three[] = {one, one, 0};
        subject_put_bytes(subject, (struct bytes){&one, 1}, (struct bytes){&one, 1});
        subject_put_bytes(subject, (struct bytes){three, 3}, (struct bytes){three, 3});
    }
    for (int i = 0; i < 256; i++) {
        unsigned char one = (unsigned char)i, three[] = {one, one, 0};
        const struct bytes keys[] = {{&one, 1}, {three, 3}};
        for (size_t k = 0; k < COUNT_OF(keys); k++) {
            struct engine_item item = {0};
            assert_int_equal(engine_get(subject->engine, keys[k], &item), STATUS_OK);
            assert_true(bytes_equal(item.value, keys[k]));
            engine_item_done(&item);
        }
    }
    assert_int_equal(subject_stat(subject, STATS_keys), 512);
}

static void limits_are_reached_exactly_and_not_passed(void **state)
{
    struct subject *subject = *state;
    const struct engine_limits *limits = engine_limits(subject->engine);
    AUTO_FREE unsigned char *noise = malloc(SUBJECT_VALUE_BYTES_MAX);
    struct bytes value = subject_noise(noise, SUBJECT_VALUE_BYTES_MAX, 1);
    struct bytes key = {noise, limits->key_bytes_max}, meta = {noise, limits->meta_bytes_max};
    struct engine_operation put = {.type = ENGINE_PUT, .key = key};
    assert_int_equal(engine_value_open(subject->engine, key, meta, value.size, &put.value),
                     STATUS_OK);
    memcpy(put.value->data, value.data, value.size);
    put.value->size = value.size;
    assert_int_equal(subject_commit(subject, &put, 1), STATUS_OK);

    struct engine_item item = {0};
    assert_int_equal(engine_get(subject->engine, key, &item), STATUS_OK);
    assert_true(bytes_equal(item.value, value));
    assert_true(bytes_equal(item.meta, meta));
    engine_item_done(&item);

    struct engine_value *none = NULL;
    key.size++;
    assert_int_equal(engine_value_open(subject->engine, key, meta, 1, &none), STATUS_INVALID);
    key.size = 1;
    assert_int_equal(engine_value_open(subject->engine, key, meta, value.size + 1, &none),
                     STATUS_TOO_LARGE);
    meta.size++;
    assert_int_equal(engine_value_open(subject->engine, key, meta, 1, &none), STATUS_INVALID);
    assert_null(none);
}

static void an_empty_value_is_a_value(void **state)
{
    struct subject *subject = *state;
    subject_put(subject, "k", "");
    struct engine_item item = {0};
    assert_int_equal(engine_get(subject->engine, bytes_of("k"), &item), STATUS_OK);
    assert_int_equal(item.value.size, 0);
    assert_int_equal(item.meta.size, 0);
    engine_item_done(&item);
}

static void a_value_grows_and_keeps_its_bytes(void **state)
{
    struct subject *subject = *state;
    AUTO_FREE unsigned char *noise = malloc(LARGE_BYTES);
    struct bytes whole = subject_noise(noise, LARGE_BYTES, 2);
    struct engine_operation put = subject_put_operation(subject, bytes_of("k"), bytes_of(""));
    for (size_t have = 0, step = 100; have < whole.size; have += step, step *= 2) {
        if (have + step > whole.size)
            step = whole.size - have;
        assert_int_equal(engine_value_grow(subject->engine, &put.value, have + step), STATUS_OK);
        memcpy(put.value->data + have, noise + have, step);
        put.value->size = have + step;
    }
    assert_int_equal(engine_value_grow(subject->engine, &put.value, SUBJECT_VALUE_BYTES_MAX + 1),
                     STATUS_TOO_LARGE);
    assert_int_equal(put.value->size, whole.size);
    assert_int_equal(subject_commit(subject, &put, 1), STATUS_OK);
    struct engine_item item = {0};
    assert_int_equal(engine_get(subject->engine, bytes_of("k"), &item), STATUS_OK);
    assert_true(bytes_equal(item.value, whole));
    engine_item_done(&item);
}

static void room_that_is_given_back_is_counted_back(void **state)
{
    struct subject *subject = *state;
    uint64_t before = subject_stat(subject, STATS_inflight);
    struct engine_value *value = NULL;
    assert_int_equal(
        engine_value_open(subject->engine, bytes_of("k"), bytes_of("m"), LARGE_BYTES, &value),
        STATUS_OK);
    assert_true(subject_stat(subject, STATS_inflight) >= before + LARGE_BYTES);
    assert_int_equal(engine_value_grow(subject->engine, &value, 2 * LARGE_BYTES), STATUS_OK);
    assert_true(subject_stat(subject, STATS_inflight) >= before + 2 * LARGE_BYTES);
    engine_value_close(subject->engine, value);
    engine_value_close(subject->engine, NULL);
    assert_int_equal(subject_stat(subject, STATS_inflight), before);
}

static void room_of_a_stored_value_is_in_flight_no_more(void **state)
{
    struct subject *subject = *state;
    AUTO_FREE unsigned char *noise = malloc(LARGE_BYTES);
    uint64_t before = subject_stat(subject, STATS_inflight);
    subject_put(subject, "small", "value");
    subject_put_bytes(subject, bytes_of("large"), subject_noise(noise, LARGE_BYTES, 3));
    assert_int_equal(subject_stat(subject, STATS_inflight), before);
    assert_true(subject_stat(subject, STATS_memtable) >= LARGE_BYTES);
}

static void an_item_stays_whole_while_its_key_changes(void **state)
{
    struct subject *subject = *state;
    AUTO_FREE unsigned char *noise = malloc(LARGE_BYTES);
    const size_t sizes[] = {1, 1000, LARGE_BYTES};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        struct bytes value = subject_noise(noise, sizes[i], i);
        struct engine_item item = {0};
        subject_put_bytes(subject, bytes_of("k"), value);
        assert_int_equal(engine_get(subject->engine, bytes_of("k"), &item), STATUS_OK);
        for (int round = 0; round < 50; round++)
            subject_put(subject, "k", "another value");
        assert_true(bytes_equal(item.value, value));
        subject_delete(subject, "k");
        assert_true(bytes_equal(item.value, value));
        engine_item_done(&item);
    }
}

static void *finish_item(void *item)
{
    engine_item_done(item);
    return NULL;
}

static void an_item_may_be_released_by_another_thread(void **state)
{
    struct subject *subject = *state;
    AUTO_FREE unsigned char *noise = malloc(LARGE_BYTES);
    subject_put_bytes(subject, bytes_of("k"), subject_noise(noise, LARGE_BYTES, 4));
    struct engine_item item = {0};
    assert_int_equal(engine_get(subject->engine, bytes_of("k"), &item), STATUS_OK);
    subject_delete(subject, "k");
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, finish_item, &item), 0);
    pthread_join(thread, NULL);
    assert_null(item.owner);
}

static void put_expiring(struct subject *subject, const char *key, int64_t expires_ms)
{
    struct engine_operation put = subject_put_operation(subject, bytes_of(key), bytes_of("v"));
    put.expires_ms = expires_ms;
    assert_int_equal(subject_commit(subject, &put, 1), STATUS_OK);
}

static void expiry_is_exact_to_the_millisecond(void **state)
{
    struct subject *subject = *state;
    int64_t now = subject->clock.wall_ms;
    put_expiring(subject, "k", now + 1000);
    put_expiring(subject, "never", 0);
    struct engine_item item = {0};
    subject->clock.wall_ms = now + 999;
    assert_int_equal(engine_get(subject->engine, bytes_of("k"), &item), STATUS_OK);
    assert_int_equal(item.expires_ms, now + 1000);
    engine_item_done(&item);
    subject->clock.wall_ms = now + 1000;
    subject_assert_absent(subject, "k");
    subject->clock.wall_ms = now + 1000000000;
    subject_assert_value(subject, "never", "v");
}

static void an_expired_key_is_absent_to_writes_too(void **state)
{
    struct subject *subject = *state;
    const struct engine_condition if_present = {.kind = ENGINE_IF_PRESENT};
    put_expiring(subject, "k", subject->clock.wall_ms + 10);
    subject->clock.wall_ms += 10;
    struct engine_version version;
    assert_int_equal(subject_try_put(subject, "k", "v", &if_present, &version), STATUS_CONFLICT);
    assert_int_equal(version.sequence, 0);
    uint64_t before = subject_sequence(subject);
    assert_int_equal(subject_delete(subject, "k"), ENGINE_ABSENT);
    assert_int_equal(subject_sequence(subject), before);
    struct engine_operation put = subject_put_operation(subject, bytes_of("k"), bytes_of("new"));
    assert_int_equal(subject_commit(subject, &put, 1), STATUS_OK);
    assert_int_equal(put.outcome, ENGINE_CREATED);
    subject_assert_value(subject, "k", "new"); /* a plain put clears the expiry */
}

static void over_the_memory_limit_puts_are_refused_and_all_else_goes_on(void **state)
{
    struct subject *subject = *state;
    AUTO_FREE unsigned char *noise = malloc(SUBJECT_VALUE_BYTES_MAX);
    struct bytes value = subject_noise(noise, SUBJECT_VALUE_BYTES_MAX, 5);
    enum status status = STATUS_OK;
    unsigned stored = 0;
    while (status == STATUS_OK && stored < 2 * SUBJECT_MEMORY_BYTES_MAX / value.size) {
        char key[16];
        snprintf(key, sizeof key, "%u", stored);
        struct engine_operation put = {.type = ENGINE_PUT, .key = bytes_of(key)};
        status = engine_value_open(subject->engine, put.key, (struct bytes){NULL, 0}, value.size,
                                   &put.value);
        if (status != STATUS_OK)
            break;
        memcpy(put.value->data, value.data, value.size);
        put.value->size = value.size;
        status = subject_commit(subject, &put, 1);
        subject_give_back(subject, &put, 1);
        stored += status == STATUS_OK;
    }
    /* An engine that empties its memory onto a disk keeps up, or says that it is a matter of time. */
    bool durable = (engine_limits(subject->engine)->capabilities & ENGINE_DURABLE) != 0;
    assert_true(durable ? status == STATUS_OK || status == STATUS_BUSY
                        : status == STATUS_NO_MEMORY);
    assert_true(stored > SUBJECT_MEMORY_BYTES_MAX / value.size / 2);
    struct engine_item item = {0};
    assert_int_equal(engine_get(subject->engine, bytes_of("0"), &item), STATUS_OK);
    assert_true(bytes_equal(item.value, value));
    engine_item_done(&item);
    assert_int_equal(subject_delete(subject, "0"), ENGINE_DELETED);
    subject_assert_absent(subject, "0");
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest promises[] = {
        TEST("a put is read back with all that belongs to it",
             a_put_is_read_back_with_all_that_belongs_to_it),
        TEST("head tells the size and carries no value", head_tells_the_size_and_carries_no_value),
        TEST("an absent key is not found", an_absent_key_is_not_found),
        TEST("a replaced key has another version and value",
             a_replaced_key_has_another_version_and_value),
        TEST("a deleted key is gone and comes back as a new version",
             a_deleted_key_is_gone_and_comes_back_as_a_new_version),
        TEST("deleting an absent key writes nothing", deleting_an_absent_key_writes_nothing),
        TEST("keys of every byte are kept apart", keys_of_every_byte_are_kept_apart),
        TEST("limits are reached exactly and not passed",
             limits_are_reached_exactly_and_not_passed),
        TEST("an empty value is a value", an_empty_value_is_a_value),
        TEST("a value grows and keeps its bytes", a_value_grows_and_keeps_its_bytes),
        TEST("room that is given back is counted back", room_that_is_given_back_is_counted_back),
        TEST("room of a stored value is in flight no more",
             room_of_a_stored_value_is_in_flight_no_more),
        TEST("an item stays whole while its key changes",
             an_item_stays_whole_while_its_key_changes),
        TEST("an item may be released by another thread",
             an_item_may_be_released_by_another_thread),
        TEST("expiry is exact to the millisecond", expiry_is_exact_to_the_millisecond),
        TEST("an expired key is absent to writes too", an_expired_key_is_absent_to_writes_too),
        TEST("over the memory limit puts are refused and all else goes on",
             over_the_memory_limit_puts_are_refused_and_all_else_goes_on),
    };
    return subject_main(argc, argv, "engine_keys", promises);
}
