/* SPDX-License-Identifier: Apache-2.0 */
/* When a key expires, by a request's parameters, over a clock that stands still. */
#include "../../../api/timestamp.h"
#include "../../lib/manual_time.h"
#include "client.h"

static struct manual_time clock_by_hand;

static struct client client_at_noon(void)
{
    struct engine_options limits = engine_options_default();
    manual_time_init(&clock_by_hand);
    limits.time = &clock_by_hand.source;
    return client_open_with(
        "memory:", (struct api_options){.loopback = true, .time = &clock_by_hand.source}, limits);
}

/* The text of `ms` from now. */
static const char *from_now(int64_t ms)
{
    static char text[TIMESTAMP_BYTES];
    timestamp_write(clock_by_hand.source.wall_ms(&clock_by_hand.source) + ms, text);
    return text;
}

static void a_key_is_there_up_to_its_time_and_not_from_then_on(void **state)
{
    (void)state;
    CLIENT client = client_at_noon();
    ANSWER made = put(&client, "/keys/k?ttl=90s", "v");
    assert_int_equal(made.response.status, 201);
    assert_header(&made, "Keyrest-Expires", from_now(90000));
    manual_time_advance_ms(&clock_by_hand, 89999);
    ANSWER last = get(&client, "/keys/k");
    assert_int_equal(last.response.status, 200);
    assert_header(&last, "Keyrest-Expires", from_now(1));
    ANSWER head = SEND(&client, .method = "HEAD", .target = "/keys/k");
    assert_header(&head, "Keyrest-Expires", from_now(1));
    manual_time_advance_ms(&clock_by_hand, 1);
    ANSWER gone = get(&client, "/keys/k");
    assert_problem(&gone, 404, "key-not-found");
    ANSWER removed = SEND(&client, .method = "DELETE", .target = "/keys/k");
    assert_problem(&removed, 404, "key-not-found");
    ANSWER listed = get(&client, "/keys");
    assert_contains(listed.body, "\"items\":[]");
    ANSWER anew = SEND(&client, .method = "PUT", .target = "/keys/k",
                       .headers = {"If-None-Match: *"}, .body = bytes_of("w"));
    assert_int_equal(anew.response.status, 201);
    assert_header(&anew, "Keyrest-Expires", "");
}

static void a_time_may_be_named(void **state)
{
    (void)state;
    CLIENT client = client_at_noon();
    char target[100];
    snprintf(target, sizeof target, "/keys/k?expires-at=%s", from_now(1));
    ANSWER made = put(&client, target, "v");
    assert_int_equal(made.response.status, 201);
    assert_header(&made, "Keyrest-Expires", from_now(1));
    manual_time_advance_ms(&clock_by_hand, 1);
    ANSWER gone = get(&client, "/keys/k");
    assert_int_equal(gone.response.status, 404);
    ANSWER late = put(&client, target, "v");
    assert_problem(&late, 400, "bad-parameter");
    assert_contains(late.body, "a time to come");
}

static void a_plain_put_clears_it_and_keep_keeps_it(void **state)
{
    (void)state;
    CLIENT client = client_at_noon();
    ANSWER absent = put(&client, "/keys/k?ttl=keep", "0");
    assert_int_equal(absent.response.status, 201);
    assert_header(&absent, "Keyrest-Expires", "");
    ANSWER made = put(&client, "/keys/k?ttl=1h", "1");
    manual_time_advance_ms(&clock_by_hand, 1000);
    ANSWER kept = put(&client, "/keys/k?ttl=keep", "2");
    assert_int_equal(kept.response.status, 204);
    assert_header(&kept, "Keyrest-Expires", from_now(3599000));
    ANSWER read = get(&client, "/keys/k");
    assert_string_equal(read.body, "2");
    assert_header(&read, "Keyrest-Expires", from_now(3599000));
    ANSWER plain = put(&client, "/keys/k", "3");
    assert_header(&plain, "Keyrest-Expires", "");
    manual_time_advance_ms(&clock_by_hand, 3600000);
    ANSWER stays = get(&client, "/keys/k");
    assert_string_equal(stays.body, "3");
}

static void keep_obeys_the_request_s_conditions(void **state)
{
    (void)state;
    CLIENT client = client_at_noon();
    ANSWER made = put(&client, "/keys/k?ttl=1h", "1");
    ANSWER failed = SEND(&client, .method = "PUT", .target = "/keys/k?ttl=keep",
                         .headers = {"If-None-Match: *"}, .body = bytes_of("2"));
    assert_problem(&failed, 412, "precondition-failed");
    ANSWER applied = SEND(&client, .method = "PUT", .target = "/keys/k?ttl=keep",
                          .headers = {"If-Match: *"}, .body = bytes_of("3"));
    assert_int_equal(applied.response.status, 204);
}

static void a_304_and_a_sum_tell_it_too(void **state)
{
    (void)state;
    CLIENT client = client_at_noon();
    ANSWER made = put(&client, "/keys/n?ttl=1h", "1");
    ANSWER sum = SEND(&client, .method = "POST", .target = "/incr/n");
    assert_string_equal(sum.body, "2");
    assert_header(&sum, "Keyrest-Expires", from_now(3600000));
    ANSWER same =
        SEND(&client, .method = "GET", .target = "/keys/n", .headers = {"If-None-Match: *"});
    assert_int_equal(same.response.status, 304);
    assert_header(&same, "Keyrest-Expires", from_now(3600000));
    ANSWER endless = SEND(&client, .method = "POST", .target = "/incr/m");
    assert_header(&endless, "Keyrest-Expires", "");
}

static void what_is_no_time_is_refused_and_writes_nothing(void **state)
{
    (void)state;
    static const char *const queries[] = {
        "ttl=",
        "ttl",
        "ttl=0s",
        "ttl=-1s",
        "ttl=60",
        "ttl=36501d",
        "ttl=Keep",
        "ttl=never",
        "expires-at=",
        "expires-at=tomorrow",
        "expires-at=1999-12-31T23:59:59Z",
        "expires-at=9999-12-31T23:59:59-01:00",
        "ttl=1s&expires-at=2999-01-01T00:00:00Z",
        "ttl=keep&expires-at=2999-01-01T00:00:00Z",
        "return=",
        "return=representation",
    };
    CLIENT client = client_at_noon();
    for (size_t i = 0; i < COUNT_OF(queries); i++) {
        char target[100];
        snprintf(target, sizeof target, "/keys/k?%s", queries[i]);
        ANSWER refused = put(&client, target, "v");
        assert_problem(&refused, 400, "bad-parameter");
        assert_contains(refused.body, i < 8    ? "ttl is a number above 0"
                                      : i < 12 ? "expires-at is a time to come"
                                      : i < 14 ? "give one of them"
                                               : "return is previous");
    }
    ANSWER twice = put(&client, "/keys/k?ttl=1s&ttl=2s", "v");
    assert_problem(&twice, 400, "repeated-parameter");
    ANSWER read = get(&client, "/keys/k?ttl=1s");
    assert_problem(&read, 400, "unknown-parameter");
    ANSWER absent = get(&client, "/keys/k");
    assert_int_equal(absent.response.status, 404);
}

static uint64_t no_ns(const struct time_source *source)
{
    (void)source;
    return 0;
}

static int64_t five_seconds_before_the_end(const struct time_source *source)
{
    (void)source;
    return TIMESTAMP_MS_MAX - 5000;
}

static void no_key_outlives_the_year_9999(void **state)
{
    (void)state;
    static const struct time_source source = {no_ns, five_seconds_before_the_end};
    CLIENT client =
        client_open_with("memory:", (struct api_options){.loopback = true, .time = &source},
                         engine_options_default());
    ANSWER last = put(&client, "/keys/k?ttl=5s", "v");
    assert_header(&last, "Keyrest-Expires", "9999-12-31T23:59:59.999Z");
    ANSWER beyond = put(&client, "/keys/k?ttl=5001ms", "v");
    assert_problem(&beyond, 400, "bad-parameter");
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("a key is there up to its time, and from then on not",
             a_key_is_there_up_to_its_time_and_not_from_then_on),
        TEST("a time may be named, if it is to come", a_time_may_be_named),
        TEST("a plain PUT clears it, and ttl=keep keeps it",
             a_plain_put_clears_it_and_keep_keeps_it),
        TEST("ttl=keep obeys the request's conditions", keep_obeys_the_request_s_conditions),
        TEST("a 304 and a sum tell it, too", a_304_and_a_sum_tell_it_too),
        TEST("what is no time is refused and writes nothing",
             what_is_no_time_is_refused_and_writes_nothing),
        TEST("no key outlives the year 9999", no_key_outlives_the_year_9999),
    };
    return test_main(argc, argv, "expiry", tests);
}
