/* SPDX-License-Identifier: Apache-2.0 */
/* /keys/{key} with conditions: what is judged when, and what is told. */
#include <pthread.h>

#include "../../lib/manual_time.h"
#include "client.h"

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

/* ---- dates ---- */

/* The clock stands at the begin: Tue, 14 Nov 2023 22:13:20 GMT. */
#define WRITTEN "Tue, 14 Nov 2023 22:13:20 GMT"
#define BEFORE  "Tue, 14 Nov 2023 22:13:19 GMT"

static struct client open_with_clock(struct manual_time *time)
{
    struct engine_options limits = engine_options_default();
    manual_time_init(time);
    limits.time = &time->source;
    return client_open_with(
        "memory:", (struct api_options){.loopback = true, .time = &time->source}, limits);
}

static void last_modified_is_never_in_the_future(void **state)
{
    (void)state;
    struct manual_time time;
    CLIENT client = open_with_clock(&time);
    manual_time_advance_ms(&time, 5000);
    ANSWER made = put(&client, "/keys/k", "v");
    manual_time_advance_ms(&time, 90000);
    ANSWER later = get(&client, "/keys/k");
    assert_header(&later, "Last-Modified", "Tue, 14 Nov 2023 22:13:25 GMT");
    ANSWER head = SEND(&client, .method = "HEAD", .target = "/keys/k");
    assert_header(&head, "Last-Modified", "Tue, 14 Nov 2023 22:13:25 GMT");
    manual_time_advance_ms(&time, (uint64_t)-95000); /* the clock is set back */
    ANSWER earlier = get(&client, "/keys/k");
    assert_header(&earlier, "Last-Modified", WRITTEN);
}

static void reads_are_judged_by_date(void **state)
{
    (void)state;
    static const struct {
        const char *condition;
        unsigned status;
    } rows[] = {
        {"If-Modified-Since: " WRITTEN, 304},  {"If-Modified-Since: " BEFORE, 200},
        {"If-Modified-Since: yesterday", 200}, {"If-Unmodified-Since: " WRITTEN, 200},
        {"If-Unmodified-Since: " BEFORE, 412}, {"If-Unmodified-Since: yesterday", 200},
    };
    static const char *const methods[] = {"GET", "HEAD"};
    struct manual_time time;
    CLIENT client = open_with_clock(&time);
    ANSWER made = put(&client, "/keys/k", "v");
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        for (size_t m = 0; m < COUNT_OF(methods); m++) {
            ANSWER answer = SEND(&client, .method = methods[m], .target = "/keys/k",
                                 .headers = {rows[i].condition});
            assert_int_equal(answer.response.status, rows[i].status);
        }
    ANSWER absent = SEND(&client, .method = "GET", .target = "/keys/l",
                         .headers = {"If-Unmodified-Since: " BEFORE});
    assert_problem(&absent, 404, "key-not-found");
}

static void writes_are_judged_by_date(void **state)
{
    (void)state;
    static const struct {
        const char *method, *target, *condition;
        unsigned status;
    } rows[] = {
        {"PUT", "/keys/k", "If-Unmodified-Since: " BEFORE, 412},
        {"DELETE", "/keys/k", "If-Unmodified-Since: " BEFORE, 412},
        {"POST", "/incr/k", "If-Unmodified-Since: " BEFORE, 412},
        {"PUT", "/keys/l", "If-Unmodified-Since: " BEFORE, 201}, /* what is absent has no date */
        {"DELETE", "/keys/m", "If-Unmodified-Since: " BEFORE, 404},
        {"PUT", "/keys/k", "If-Unmodified-Since: " WRITTEN, 204},
        {"POST", "/incr/k", "If-Unmodified-Since: " WRITTEN, 200},
        {"PUT", "/keys/k", "If-Modified-Since: " WRITTEN, 204}, /* no condition of a write */
        {"DELETE", "/keys/k", "If-Unmodified-Since: " WRITTEN, 204},
    };
    struct manual_time time;
    CLIENT client = open_with_clock(&time);
    ANSWER made = put(&client, "/keys/k", "1");
    char tag[64];
    snprintf(tag, sizeof tag, "%.60s", header_of(&made, "ETag"));
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        ANSWER answer = SEND(&client, .method = rows[i].method, .target = rows[i].target,
                             .headers = {rows[i].condition}, .body = bytes_of("2"));
        assert_int_equal(answer.response.status, rows[i].status);
        if (rows[i].status == 412)
            assert_header(&answer, "ETag", tag);
    }
}

static void a_waiting_client_hears_of_a_failed_date(void **state)
{
    (void)state;
    struct manual_time time;
    CLIENT client = open_with_clock(&time);
    ANSWER made = put(&client, "/keys/k", "1");
    ANSWER early = SEND(&client, .method = "PUT", .target = "/keys/k", .body = bytes_of("2"),
                        .headers = {"Expect: 100-continue", "If-Unmodified-Since: " BEFORE});
    assert_int_equal(early.verdict, API_REFUSE);
    assert_problem(&early, 412, "precondition-failed");
}

static void a_date_that_cannot_be_judged_writes_nothing(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:?fail=head:CORRUPT");
    ANSWER made = put(&client, "/keys/k", "1");
    ANSWER write = SEND(&client, .method = "PUT", .target = "/keys/k", .body = bytes_of("2"),
                        .headers = {"If-Unmodified-Since: Fri, 31 Dec 9999 23:59:59 GMT"});
    assert_problem(&write, 500, "data-corrupt");
    ANSWER read = get(&client, "/keys/k");
    assert_string_equal(read.body, "1");
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

static void *replace_unmodified(void *context)
{
    struct racer *racer = context;
    ANSWER answer = SEND(racer->client, .method = "PUT", .target = "/keys/k", .body = bytes_of("v"),
                         .headers = {"If-Unmodified-Since: " WRITTEN});
    if (answer.response.status == 204)
        atomic_fetch_add(racer->created, 1);
    if (answer.response.status == 412)
        atomic_fetch_add(racer->failed, 1);
    return NULL;
}

static void of_racing_dated_writers_one_wins(void **state)
{
    (void)state;
    enum { RACERS = 16 };
    struct manual_time time;
    CLIENT client = open_with_clock(&time);
    ANSWER made = put(&client, "/keys/k", "1");
    manual_time_advance_ms(&time, 1000);
    _Atomic unsigned replaced = 0, failed = 0;
    struct racer racer = {&client, &replaced, &failed};
    pthread_t threads[RACERS];
    for (size_t i = 0; i < RACERS; i++)
        pthread_create(&threads[i], NULL, replace_unmodified, &racer);
    for (size_t i = 0; i < RACERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(replaced, 1);
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
        TEST("Last-Modified is never in the future", last_modified_is_never_in_the_future),
        TEST("reads are judged by date", reads_are_judged_by_date),
        TEST("writes are judged by date", writes_are_judged_by_date),
        TEST("a waiting client hears of a failed date before its body",
             a_waiting_client_hears_of_a_failed_date),
        TEST("a date that cannot be judged writes nothing",
             a_date_that_cannot_be_judged_writes_nothing),
        TEST("of racing dated writers one wins", of_racing_dated_writers_one_wins),
        TEST("a malformed condition is told", a_malformed_condition_is_told),
        TEST("of racing creators one wins", of_racing_creators_one_wins),
    };
    return test_main(argc, argv, "conditional", tests);
}
