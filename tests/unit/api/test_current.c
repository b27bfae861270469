/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes that depend on what is there, while somebody else writes between the look and the commit:
 * whenever such a write asks the time, which it does in between, another one comes.
 */
#include "../../../api/timestamp.h"
#include "../../lib/manual_time.h"
#include "client.h"

struct meddler {
    struct time_source source; /* first */
    struct client *client;
    int writes_left;
    int written;
    uint64_t ns;
    struct manual_time clock; /* the engine's: a second passes before each write */
};

/* For the engine's clock this is far away. */
#define DEADLINE_NS (UINT64_MAX / 2)

static struct meddler meddler;

static uint64_t meddler_ns(const struct time_source *source)
{
    (void)source;
    return meddler.ns += 1000000;
}

/* Writes "between-1", "between-2", ... each with an expiry of its own. */
static int64_t meddler_wall_ms(const struct time_source *source)
{
    (void)source;
    if (meddler.writes_left > 0) {
        meddler.writes_left--;
        manual_time_advance_ms(&meddler.clock, 1000);
        char value[24];
        int size = snprintf(value, sizeof value, "between-%d", ++meddler.written);
        struct engine_operation operation = {.type = ENGINE_PUT, .key = bytes_of("k")};
        struct engine_context context = {.deadline_ns = UINT64_MAX};
        struct engine *engine = meddler.client->engine;
        assert_int_equal(
            engine_value_open(engine, operation.key, (struct bytes){NULL, 0}, 24, &operation.value),
            STATUS_OK);
        memcpy(operation.value->data, value, (size_t)size);
        operation.value->size = (size_t)size;
        operation.expires_ms = TIMESTAMP_MS_MAX - meddler.written;
        assert_int_equal(engine_commit(engine, &operation, 1, &context), STATUS_OK);
    }
    return 1000;
}

static struct client client_with_meddler(void)
{
    meddler = (struct meddler){
        .source = {meddler_ns, meddler_wall_ms},
        .ns = DEADLINE_NS - 10000000,
    };
    struct engine_options limits = engine_options_default();
    manual_time_init(&meddler.clock);
    limits.time = &meddler.clock.source;
    return client_open_with(
        "memory:", (struct api_options){.loopback = true, .time = &meddler.source}, limits);
}

/* The first look at the time is the parameters': it comes before the version is read. */
static void meddle(struct client *client, int writes)
{
    meddler.client = client;
    meddler.writes_left = writes;
}

static void keep_keeps_the_expiry_of_what_it_replaces(void **state)
{
    (void)state;
    CLIENT client = client_with_meddler();
    ANSWER made = put(&client, "/keys/k", "v");
    meddle(&client, 5);
    ANSWER kept = put(&client, "/keys/k?ttl=keep", "mine");
    assert_int_equal(kept.response.status, 204);
    assert_int_equal(meddler.written, 5);
    assert_header(&kept, "Keyrest-Expires", "9999-12-31T23:59:59.994Z");
    ANSWER read = get(&client, "/keys/k");
    assert_string_equal(read.body, "mine");
}

static void the_value_answered_is_the_one_replaced(void **state)
{
    (void)state;
    CLIENT client = client_with_meddler();
    ANSWER made = put(&client, "/keys/k", "v");
    meddle(&client, 3);
    ANSWER swapped = put(&client, "/keys/k?return=previous", "mine");
    assert_int_equal(swapped.response.status, 200);
    assert_string_equal(swapped.body, "between-3");
    meddle(&client, 2);
    ANSWER removed = SEND(&client, .method = "DELETE", .target = "/keys/k?return=previous");
    assert_int_equal(removed.response.status, 200);
    assert_string_equal(removed.body, "between-5");
    ANSWER absent = get(&client, "/keys/k");
    assert_int_equal(absent.response.status, 404);
}

static void a_key_that_comes_in_between_is_replaced(void **state)
{
    (void)state;
    CLIENT client = client_with_meddler();
    ANSWER warm_up = put(&client, "/keys/other", "v");
    meddle(&client, 2);
    ANSWER swapped = put(&client, "/keys/k?return=previous", "mine");
    assert_int_equal(swapped.response.status, 200);
    assert_string_equal(swapped.body, "between-2");
}

static void a_condition_of_the_request_ends_it(void **state)
{
    (void)state;
    CLIENT client = client_with_meddler();
    ANSWER made = put(&client, "/keys/k", "v");
    char condition[64];
    snprintf(condition, sizeof condition, "If-Match: %.40s", header_of(&made, "ETag"));
    meddle(&client, 1);
    ANSWER lost = SEND(&client, .method = "PUT", .target = "/keys/k?return=previous",
                       .headers = {condition}, .body = bytes_of("mine"));
    assert_problem(&lost, 412, "precondition-failed");
    ANSWER read = get(&client, "/keys/k");
    assert_string_equal(read.body, "between-1");
    assert_header(&lost, "ETag", header_of(&read, "ETag"));
}

/* The first look at the time is the date's: it comes before the version is read. */
static void a_date_is_judged_by_what_is_deleted(void **state)
{
    (void)state;
    static const char condition[] = "If-Unmodified-Since: Tue, 14 Nov 2023 22:13:21 GMT";
    CLIENT client = client_with_meddler();
    ANSWER made = put(&client, "/keys/k", "v");
    meddle(&client, 2);
    ANSWER lost = SEND(&client, .method = "DELETE", .target = "/keys/k", .headers = {condition});
    assert_problem(&lost, 412, "precondition-failed");
    ANSWER read = get(&client, "/keys/k");
    assert_string_equal(read.body, "between-2");
    assert_header(&lost, "ETag", header_of(&read, "ETag"));
}

static void a_date_ahead_holds_whoever_writes(void **state)
{
    (void)state;
    CLIENT client = client_with_meddler();
    ANSWER made = put(&client, "/keys/k", "1");
    meddle(&client, 5);
    ANSWER replaced = SEND(&client, .method = "PUT", .target = "/keys/k", .body = bytes_of("mine"),
                           .headers = {"If-Unmodified-Since: Fri, 31 Dec 9999 23:59:59 GMT"});
    assert_int_equal(replaced.response.status, 204);
    assert_int_equal(meddler.written, 5);
}

static void who_always_loses_is_told_busy_at_the_deadline(void **state)
{
    (void)state;
    CLIENT client = client_with_meddler();
    ANSWER made = put(&client, "/keys/k", "v");
    meddle(&client, 1000000);
    ANSWER busy = SEND(&client, .method = "PUT", .target = "/keys/k?ttl=keep",
                       .body = bytes_of("mine"), .deadline_ns = DEADLINE_NS);
    assert_problem(&busy, 503, "busy");
    assert_true(meddler.written > 5);
    ANSWER read = get(&client, "/keys/k");
    assert_contains(read.body, "between-");
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("ttl=keep keeps the expiry of what it replaces, whoever wrote it",
             keep_keeps_the_expiry_of_what_it_replaces),
        TEST("the value answered is the one replaced", the_value_answered_is_the_one_replaced),
        TEST("a key that comes in between is replaced", a_key_that_comes_in_between_is_replaced),
        TEST("a condition of the request ends it with 412", a_condition_of_the_request_ends_it),
        TEST("a date is judged by what is deleted", a_date_is_judged_by_what_is_deleted),
        TEST("a date that lies ahead holds whoever writes", a_date_ahead_holds_whoever_writes),
        TEST("who always loses is told busy at the deadline, and wrote nothing",
             who_always_loses_is_told_busy_at_the_deadline),
    };
    return test_main(argc, argv, "current", tests);
}
