/* SPDX-License-Identifier: Apache-2.0 */
/* /keys/{key} with If-Match and If-None-Match: what is judged when, and what is told. */
#include "client.h"

#include <pthread.h>

static void a_matching_if_none_match_is_304_with_the_true_length(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER made = put(&client, "/keys/k", "12345");
    char condition[80];
    snprintf(condition, sizeof condition, "If-None-Match: \"x\", W/%.40s",
             header_of(&made, "ETag"));
    static const char *const methods[] = {"GET", "HEAD"};
    for (size_t i = 0; i < COUNT_OF(methods); i++) {
        ANSWER read =
            SEND(&client, .method = methods[i], .target = "/keys/k", .headers = {condition});
        assert_int_equal(read.response.status, 304);
        assert_int_equal(read.response.body_kind, RESPONSE_OMITTED);
        assert_int_equal(read.response.body_bytes, 5);
        assert_header(&read, "Content-Type", "");
        assert_header(&read, "Cache-Control", "no-cache");
        assert_string_not_equal(header_of(&read, "ETag"), "");
    }
    ANSWER any =
        SEND(&client, .method = "GET", .target = "/keys/k", .headers = {"If-None-Match: *"});
    assert_int_equal(any.response.status, 304);
    ANSWER other =
        SEND(&client, .method = "GET", .target = "/keys/k", .headers = {"If-None-Match: \"x\""});
    assert_int_equal(other.response.status, 200);
}

static void a_304_reads_no_value(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:?fail=get:CORRUPT");
    ANSWER made = put(&client, "/keys/k", "v");
    ANSWER read =
        SEND(&client, .method = "GET", .target = "/keys/k", .headers = {"If-None-Match: *"});
    assert_int_equal(read.response.status, 304);
}

static void a_key_deleted_between_judging_and_reading_is_404(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:?fail=get:NOT_FOUND");
    ANSWER made = put(&client, "/keys/k", "v");
    ANSWER read = SEND(&client, .method = "GET", .target = "/keys/k", .headers = {"If-Match: *"});
    assert_problem(&read, 404, "key-not-found");
}

static void a_failed_if_match_is_412_with_the_current_etag(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER made = put(&client, "/keys/k", "v");
    char tag[64], weak[80], member[80];
    snprintf(tag, sizeof tag, "%.60s", header_of(&made, "ETag"));
    snprintf(weak, sizeof weak, "If-Match: W/%s", tag);
    snprintf(member, sizeof member, "\"etag\":\"\\%.*s\\\"\"", (int)strlen(tag) - 1, tag);
    static const char *const methods[] = {"GET", "PUT", "DELETE"};
    for (size_t i = 0; i < COUNT_OF(methods); i++) {
        ANSWER answer = SEND(&client, .method = methods[i], .target = "/keys/k", .headers = {weak});
        assert_problem(&answer, 412, "precondition-failed");
        assert_header(&answer, "ETag", tag);
        assert_contains(answer.body, member);
    }
    ANSWER read = get(&client, "/keys/k");
    assert_header(&read, "ETag", tag);
}

static void conditions_on_an_absent_key(void **state)
{
    (void)state;
    static const struct {
        const char *method, *condition;
        unsigned status;
    } rows[] = {
        {"GET", "If-Match: *", 404},         {"GET", "If-None-Match: *", 404},
        {"DELETE", "If-Match: *", 404},      {"DELETE", "If-Match: \"x\"", 404},
        {"PUT", "If-Match: *", 412},         {"PUT", "If-Match: \"x\"", 412},
        {"DELETE", "If-None-Match: *", 404},
    };
    CLIENT client = client_open("memory:");
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        ANSWER answer = SEND(&client, .method = rows[i].method, .target = "/keys/k",
                             .headers = {rows[i].condition});
        assert_int_equal(answer.response.status, rows[i].status);
        assert_header(&answer, "ETag", "");
    }
}

static void compare_and_swap_goes_on_with_the_current_etag_only(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER made = SEND(&client, .method = "PUT", .target = "/keys/k", .body = bytes_of("1"),
                       .headers = {"If-None-Match: *"});
    assert_int_equal(made.response.status, 201);
    char condition[80];
    snprintf(condition, sizeof condition, "If-Match: %.40s", header_of(&made, "ETag"));
    ANSWER swapped = SEND(&client, .method = "PUT", .target = "/keys/k", .body = bytes_of("2"),
                          .headers = {condition});
    assert_int_equal(swapped.response.status, 204);
    ANSWER again = SEND(&client, .method = "PUT", .target = "/keys/k", .body = bytes_of("3"),
                        .headers = {condition});
    assert_problem(&again, 412, "precondition-failed");
    assert_int_equal(again.verdict, API_BODY); /* the connection is kept */
    ANSWER create = SEND(&client, .method = "PUT", .target = "/keys/k", .body = bytes_of("4"),
                         .headers = {"If-None-Match: *"});
    assert_problem(&create, 412, "precondition-failed");
    snprintf(condition, sizeof condition, "If-Match: %.40s", header_of(&swapped, "ETag"));
    ANSWER gone = SEND(&client, .method = "DELETE", .target = "/keys/k", .headers = {condition});
    assert_int_equal(gone.response.status, 204);
}

static void a_waiting_client_hears_of_a_failed_condition_before_its_body(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER made = put(&client, "/keys/k", "1");
    ANSWER early = SEND(&client, .method = "PUT", .target = "/keys/k", .body = bytes_of("2"),
                        .headers = {"Expect: 100-continue", "If-None-Match: *"});
    assert_int_equal(early.verdict, API_REFUSE);
    assert_problem(&early, 412, "precondition-failed");
    ANSWER absent = SEND(&client, .method = "PUT", .target = "/keys/l", .body = bytes_of("2"),
                         .headers = {"Expect: 100-continue", "If-Match: *"});
    assert_int_equal(absent.verdict, API_REFUSE);
    ANSWER fine = SEND(&client, .method = "PUT", .target = "/keys/l", .body = bytes_of("2"),
                       .headers = {"Expect: 100-continue", "If-None-Match: *"});
    assert_int_equal(fine.response.status, 201);
}

static void dates_are_no_conditions(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER made = put(&client, "/keys/k", "1");
    ANSWER read = SEND(&client, .method = "GET", .target = "/keys/k",
                       .headers = {"If-Modified-Since: Fri, 31 Dec 9999 23:59:59 GMT",
                                   "If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT"});
    assert_int_equal(read.response.status, 200);
    assert_header(&read, "Last-Modified", "");
}

static void a_malformed_condition_is_told(void **state)
{
    (void)state;
    static const char *const methods[] = {"GET", "HEAD", "PUT", "DELETE"};
    CLIENT client = client_open("memory:");
    for (size_t i = 0; i < COUNT_OF(methods); i++) {
        ANSWER answer =
            SEND(&client, .method = methods[i], .target = "/keys/k", .headers = {"If-Match: abc"});
        assert_int_equal(answer.response.status, 400);
        assert_string_equal(answer.response.problem_code, "bad-condition");
    }
}

struct racer {
    struct client *client;
    _Atomic unsigned *created, *failed;
};

static void *create_once(void *context)
{
    struct racer *racer = context;
    ANSWER answer = SEND(racer->client, .method = "PUT", .target = "/keys/k", .body = bytes_of("v"),
                         .headers = {"If-None-Match: *"});
    if (answer.response.status == 201)
        atomic_fetch_add(racer->created, 1);
    if (answer.response.status == 412)
        atomic_fetch_add(racer->failed, 1);
    return NULL;
}

static void of_racing_creators_one_wins(void **state)
{
    (void)state;
    enum { RACERS = 16 };
    CLIENT client = client_open("memory:");
    _Atomic unsigned created = 0, failed = 0;
    struct racer racer = {&client, &created, &failed};
    pthread_t threads[RACERS];
    for (size_t i = 0; i < RACERS; i++)
        pthread_create(&threads[i], NULL, create_once, &racer);
    for (size_t i = 0; i < RACERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(created, 1);
    assert_int_equal(failed, RACERS - 1);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("a matching If-None-Match is 304 with the true length",
             a_matching_if_none_match_is_304_with_the_true_length),
        TEST("a 304 reads no value", a_304_reads_no_value),
        TEST("a key deleted between judging and reading is 404",
             a_key_deleted_between_judging_and_reading_is_404),
        TEST("a failed If-Match is 412 with the current ETag",
             a_failed_if_match_is_412_with_the_current_etag),
        TEST("conditions on an absent key are 404, or 412 for PUT", conditions_on_an_absent_key),
        TEST("compare and swap goes on with the current ETag only",
             compare_and_swap_goes_on_with_the_current_etag_only),
        TEST("a waiting client hears of a failed condition before its body",
             a_waiting_client_hears_of_a_failed_condition_before_its_body),
        TEST("dates are no conditions", dates_are_no_conditions),
        TEST("a malformed condition is told", a_malformed_condition_is_told),
        TEST("of racing creators one wins", of_racing_creators_one_wins),
    };
    return test_main(argc, argv, "conditional", tests);
}
