/* SPDX-License-Identifier: Apache-2.0 */
/* /incr/{key}, over the memory engine. */
#include "client.h"

static struct answer incr(struct client *client, const char *target)
{
    return SEND(client, .method = "POST", .target = target);
}

static void counts_up_and_down_and_answers_the_sum(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    static const struct {
        const char *target, *sum;
    } rows[] = {
        {"/incr/a/b", "1"},
        {"/incr/a%2Fb?by=41", "42"},
        {"/incr/a/b?by=-50", "-8"},
        {"/incr/a/b?by=0", "-8"},
        {"/incr/a/b?by=9223372036854775807", "9223372036854775799"},
        {"/incr/a/b?by=-9223372036854775808", "-9"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        ANSWER sum = incr(&client, rows[i].target);
        assert_int_equal(sum.response.status, 200);
        assert_string_equal(sum.body, rows[i].sum);
        assert_header(&sum, "Content-Type", "text/plain");
        char tag[64];
        snprintf(tag, sizeof tag, "%.60s", header_of(&sum, "ETag"));
        ANSWER read = get(&client, "/keys/a/b");
        assert_string_equal(read.body, rows[i].sum);
        assert_header(&read, "ETag", tag);
    }
}

static void what_is_not_a_number_is_422(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER made = put(&client, "/keys/k", "12\n");
    ANSWER refused = incr(&client, "/incr/k");
    assert_problem(&refused, 422, "not-a-number");
    ANSWER most = put(&client, "/keys/k", "9223372036854775807");
    ANSWER over = incr(&client, "/incr/k");
    assert_problem(&over, 422, "not-a-number");
    ANSWER read = get(&client, "/keys/k");
    assert_string_equal(read.body, "9223372036854775807");
}

static void by_must_be_a_number(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    static const char *const refused[] = {
        "/incr/k?by=",
        "/incr/k?by",
        "/incr/k?by=x",
        "/incr/k?by=1.5",
        "/incr/k?by=%201",
        "/incr/k?by=+1",
        "/incr/k?by=9223372036854775808",
    };
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        ANSWER answer = incr(&client, refused[i]);
        assert_problem(&answer, 400, "bad-parameter");
    }
    ANSWER twice = incr(&client, "/incr/k?by=1&by=2");
    assert_problem(&twice, 400, "repeated-parameter");
    ANSWER unknown = incr(&client, "/incr/k?bye=1");
    assert_problem(&unknown, 400, "unknown-parameter");
    ANSWER none = get(&client, "/keys/k");
    assert_problem(&none, 404, "key-not-found");
}

static void kept_headers_stay(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER made = SEND(&client, .method = "PUT", .target = "/keys/k", .body = bytes_of("1"),
                       .headers = {"Content-Type: text/x-count", "Content-Language: de"});
    ANSWER sum = incr(&client, "/incr/k");
    ANSWER read = get(&client, "/keys/k");
    assert_string_equal(read.body, "2");
    assert_header(&read, "Content-Type", "text/x-count");
    assert_header(&read, "Content-Language", "de");
}

static void conditions_are_obeyed(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER absent =
        SEND(&client, .method = "POST", .target = "/incr/k", .headers = {"If-Match: *"});
    assert_problem(&absent, 412, "precondition-failed");
    ANSWER made = incr(&client, "/incr/k");
    char tag[64], field[80];
    snprintf(tag, sizeof tag, "%.60s", header_of(&made, "ETag"));
    snprintf(field, sizeof field, "If-Match: %s", tag);
    ANSWER again =
        SEND(&client, .method = "POST", .target = "/incr/k", .headers = {"If-None-Match: *"});
    assert_problem(&again, 412, "precondition-failed");
    assert_header(&again, "ETag", tag);
    ANSWER counted = SEND(&client, .method = "POST", .target = "/incr/k", .headers = {field});
    assert_string_equal(counted.body, "2");
    ANSWER lost = SEND(&client, .method = "POST", .target = "/incr/k", .headers = {field});
    assert_problem(&lost, 412, "precondition-failed");
    ANSWER bad = SEND(&client, .method = "POST", .target = "/incr/k", .headers = {"If-Match: x"});
    assert_problem(&bad, 400, "bad-condition");
}

static void only_post_counts(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER read = get(&client, "/incr/k");
    assert_problem(&read, 405, "method-not-allowed");
    assert_header(&read, "Allow", "POST, OPTIONS");
    ANSWER empty = incr(&client, "/incr/");
    assert_problem(&empty, 400, "key-empty");
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("counts up and down and answers the sum", counts_up_and_down_and_answers_the_sum),
        TEST("what is not a number is 422", what_is_not_a_number_is_422),
        TEST("by must be a number", by_must_be_a_number),
        TEST("kept headers stay", kept_headers_stay),
        TEST("conditions are obeyed", conditions_are_obeyed),
        TEST("only POST counts", only_post_counts),
    };
    return test_main(argc, argv, "incr", tests);
}
