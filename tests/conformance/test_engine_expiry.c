/* SPDX-License-Identifier: Apache-2.0 */
/* What every engine promises of keys whose time is over: they are deleted by themselves, and told. */
#include <time.h>

#include "../lib/subject.h"

enum { KEYS = 100, TRIES_MAX = 2000 };

static void put_for(struct subject *subject, const char *key, int64_t ms)
{
    struct engine_operation put = subject_put_operation(subject, bytes_of(key), bytes_of("v"));
    put.expires_ms = subject->clock.wall_ms + ms;
    assert_int_equal(subject_commit(subject, &put, 1), STATUS_OK);
}

static void put_many_for(struct subject *subject, int64_t ms)
{
    for (int i = 0; i < KEYS; i++) {
        char key[16];
        snprintf(key, sizeof key, "key %d", i);
        put_for(subject, key, ms);
    }
}

/* What an engine deletes with other work: a compaction if it has one, and writes. */
static void work(struct subject *subject)
{
    struct engine_context patience = subject_patience();
    uint64_t id;
    enum status status = engine_compact(subject->engine, &id);
    if (status == STATUS_OK || status == STATUS_RUNNING)
        assert_int_equal(engine_compaction_wait(subject->engine, id, &patience), STATUS_OK);
    subject_put(subject, "work", "done");
    nanosleep(&(struct timespec){0, 1000000}, NULL);
}

static void work_until_expired(struct subject *subject, uint64_t count)
{
    for (int tries = 0; tries < TRIES_MAX && subject_stat(subject, STATS_expired) < count; tries++)
        work(subject);
    assert_int_equal(subject_stat(subject, STATS_expired), count);
}

static void expired_keys_are_deleted_by_themselves(void **state)
{
    struct subject *subject = *state;
    put_many_for(subject, 10);
    put_for(subject, "later", 11);
    work(subject);
    assert_int_equal(subject_stat(subject, STATS_expired), 0);
    subject->clock.wall_ms += 10;
    work_until_expired(subject, KEYS);
    assert_int_equal(subject_stat(subject, STATS_keys), 2);
    subject_assert_value(subject, "later", "v");
    subject_assert_absent(subject, "key 1");
    assert_int_equal(subject_stat(subject, STATS_deletes), 0);
}

static void what_was_written_in_time_stays(void **state)
{
    struct subject *subject = *state;
    put_many_for(subject, 10);
    put_for(subject, "key 1", 1000);
    subject_put(subject, "key 2", "for ever");
    subject_delete(subject, "key 3");
    subject->clock.wall_ms += 10;
    work_until_expired(subject, KEYS - 3);
    subject_assert_value(subject, "key 1", "v");
    subject_assert_value(subject, "key 2", "for ever");
}

static void what_was_deleted_stays_so_when_the_clock_is_set_back(void **state)
{
    struct subject *subject = *state;
    put_many_for(subject, 10);
    subject->clock.wall_ms += 10;
    work_until_expired(subject, KEYS);
    put_for(subject, "new", 10);
    subject->clock.wall_ms -= 100000;
    work(subject);
    subject_assert_absent(subject, "key 1");
    subject_assert_value(subject, "new", "v");
    if (subject->kind->durable) {
        subject_reopen(subject);
        subject_assert_absent(subject, "key 1");
        subject_assert_value(subject, "new", "v");
    }
}

/* Waits while there is no memory for a moment. */
static struct engine_value *room_for(struct subject *subject, struct bytes key, size_t size)
{
    struct engine_value *value;
    enum status status = STATUS_BUSY;
    for (int tries = 0; tries < TRIES_MAX && status == STATUS_BUSY; tries++) {
        status = engine_value_open(subject->engine, key, (struct bytes){NULL, 0}, size, &value);
        if (status == STATUS_BUSY)
            nanosleep(&(struct timespec){0, 10000000}, NULL);
    }
    assert_int_equal(status, STATUS_OK);
    return value;
}

/* Twice the memory, a value at a time. */
static void the_memory_of_expired_keys_serves_others(void **state)
{
    struct subject *subject = *state;
    for (int i = 0; i < 2 * SUBJECT_MEMORY_BYTES_MAX / SUBJECT_VALUE_BYTES_MAX; i++) {
        char key[16];
        snprintf(key, sizeof key, "key %d", i);
        struct engine_operation put = {
            .type = ENGINE_PUT,
            .key = bytes_of(key),
            .expires_ms = subject->clock.wall_ms + 1,
            .value = room_for(subject, bytes_of(key), SUBJECT_VALUE_BYTES_MAX),
        };
        memset(put.value->data, i, SUBJECT_VALUE_BYTES_MAX);
        put.value->size = SUBJECT_VALUE_BYTES_MAX;
        assert_int_equal(subject_commit(subject, &put, 1), STATUS_OK);
        subject->clock.wall_ms += 1;
    }
}

/* ---- the feed ---- */

struct listener {
    size_t expired;
    uint64_t last;
    bool told_key_7;
};

static bool listen_to(void *visitor, const struct engine_change *change)
{
    struct listener *listener = visitor;
    listener->last = change->version.sequence;
    if (change->type != ENGINE_CHANGE_EXPIRE)
        return true;
    listener->expired++;
    listener->told_key_7 |= bytes_equal(change->key, bytes_of("key 7"));
    assert_int_equal(change->value.size, 0);
    return true;
}

static void each_is_told_to_those_who_follow_the_changes(void **state)
{
    struct subject *subject = *state;
    struct listener listener = {0};
    struct engine_context patience = subject_patience();
    struct engine_feed feed = {.after = 0};
    if ((engine_limits(subject->engine)->capabilities & ENGINE_CHANGES) == 0)
        skip();
    put_many_for(subject, 10);
    subject->clock.wall_ms += 10;
    work_until_expired(subject, KEYS);
    uint64_t end = subject_sequence(subject);
    while (feed.after < end)
        assert_int_equal(
            engine_changes(subject->engine, feed.after, listen_to, &listener, &feed, &patience),
            STATUS_OK);
    assert_int_equal(listener.last, end);
    assert_int_equal(listener.expired, KEYS);
    assert_true(listener.told_key_7);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest promises[] = {
        TEST("expired keys are deleted by themselves", expired_keys_are_deleted_by_themselves),
        TEST("what was written in time stays", what_was_written_in_time_stays),
        TEST("what was deleted stays so when the clock is set back",
             what_was_deleted_stays_so_when_the_clock_is_set_back),
        TEST("the memory of expired keys serves others", the_memory_of_expired_keys_serves_others),
        TEST("each is told to those who follow the changes",
             each_is_told_to_those_who_follow_the_changes),
    };
    return subject_main(argc, argv, "engine_expiry", promises);
}
