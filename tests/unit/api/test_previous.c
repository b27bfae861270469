/* SPDX-License-Identifier: Apache-2.0 */
/* ?return=previous: the value that a write replaced, with its headers, over the memory engine. */
#include "client.h"

static void a_put_answers_what_it_replaced(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER first = SEND(&client, .method = "PUT", .target = "/keys/k",
                        .headers = {"Content-Type: text/plain", "Content-Language: la"},
                        .body = bytes_of("old"));
    ANSWER swapped = SEND(&client, .method = "PUT", .target = "/keys/k?return=previous",
                          .headers = {"Content-Type: text/html"}, .body = bytes_of("new"));
    assert_int_equal(swapped.response.status, 200);
    assert_string_equal(swapped.body, "old");
    assert_header(&swapped, "Content-Type", "text/plain");
    assert_header(&swapped, "Content-Language", "la");
    assert_header(&swapped, "X-Content-Type-Options", "nosniff");
    assert_header(&swapped, "Content-Security-Policy", "sandbox");
    assert_header(&swapped, "Location", "");
    char before[64], now[64];
    snprintf(before, sizeof before, "%.60s", header_of(&first, "ETag"));
    snprintf(now, sizeof now, "%.60s", header_of(&swapped, "ETag"));
    assert_header(&swapped, "Keyrest-Previous-ETag", before);
    ANSWER read = get(&client, "/keys/k");
    assert_string_equal(read.body, "new");
    assert_header(&read, "ETag", now);
    assert_header(&read, "Content-Type", "text/html");
}

static void a_put_of_a_new_key_answers_201_without_a_value(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER made = put(&client, "/keys/k?return=previous", "v");
    assert_int_equal(made.response.status, 201);
    assert_int_equal(made.response.body_kind, RESPONSE_NONE);
    assert_header(&made, "Location", "/keys/k");
    assert_header(&made, "Keyrest-Previous-ETag", "");
    assert_header(&made, "Content-Type", "");
}

static void a_delete_answers_what_it_removed(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER made = put(&client, "/keys/k", "last");
    ANSWER removed = SEND(&client, .method = "DELETE", .target = "/keys/k?return=previous");
    assert_int_equal(removed.response.status, 200);
    assert_string_equal(removed.body, "last");
    char before[64];
    snprintf(before, sizeof before, "%.60s", header_of(&made, "ETag"));
    assert_header(&removed, "Keyrest-Previous-ETag", before);
    assert_header(&removed, "ETag", "");
    ANSWER again = SEND(&client, .method = "DELETE", .target = "/keys/k?return=previous");
    assert_problem(&again, 404, "key-not-found");
    ANSWER absent = SEND(&client, .method = "DELETE", .target = "/keys/k?return=previous",
                         .headers = {"If-Match: *"});
    assert_problem(&absent, 404, "key-not-found");
    ANSWER other = SEND(&client, .method = "DELETE", .target = "/keys/k?return=all");
    assert_problem(&other, 400, "bad-parameter");
}

static void an_empty_value_is_one_too(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER made = SEND(&client, .method = "PUT", .target = "/keys/k");
    ANSWER swapped = put(&client, "/keys/k?return=previous", "v");
    assert_int_equal(swapped.response.status, 200);
    assert_int_equal(swapped.response.body_bytes, 0);
    assert_header(&swapped, "Content-Type", "application/octet-stream");
}

static void a_failed_condition_tells_no_value(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER made = put(&client, "/keys/k", "v");
    ANSWER refused = SEND(&client, .method = "PUT", .target = "/keys/k?return=previous",
                          .headers = {"If-None-Match: *"}, .body = bytes_of("w"));
    assert_problem(&refused, 412, "precondition-failed");
    assert_header(&refused, "ETag", header_of(&made, "ETag"));
    ANSWER kept = SEND(&client, .method = "DELETE", .target = "/keys/k?return=previous",
                       .headers = {"If-None-Match: *"});
    assert_problem(&kept, 412, "precondition-failed");
    ANSWER read = get(&client, "/keys/k");
    assert_string_equal(read.body, "v");
}

static void what_cannot_be_read_is_not_replaced(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:?fail=get:CORRUPT");
    ANSWER refused = put(&client, "/keys/k?return=previous", "v");
    assert_problem(&refused, 500, "data-corrupt");
    ANSWER plain = put(&client, "/keys/k", "v");
    assert_int_equal(plain.response.status, 201);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("a PUT answers what it replaced", a_put_answers_what_it_replaced),
        TEST("a PUT of a new key answers 201 without a value",
             a_put_of_a_new_key_answers_201_without_a_value),
        TEST("a DELETE answers what it removed", a_delete_answers_what_it_removed),
        TEST("an empty value is one, too", an_empty_value_is_one_too),
        TEST("a failed condition tells no value", a_failed_condition_tells_no_value),
        TEST("what cannot be read is not replaced", what_cannot_be_read_is_not_replaced),
    };
    return test_main(argc, argv, "previous", tests);
}
