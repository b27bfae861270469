/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fails the first, second, ... allocation of an exchange until one runs without a failure, alone and
 * with all that follow, over both engines: each time the answer is a whole one, what it says of the
 * key is true, and nothing is lost.
 */
#include <unistd.h>

#include "../../lib/short_memory.h"
#include "client.h"

enum { ALLOCATIONS_MAX = 1000, LARGE_BYTES = 200000, LOADING_MS_MAX = 10000 };

static const char old_value[] = "old";
static char large_value[LARGE_BYTES + 1];

/* ---- a client over either engine ---- */

struct fixture {
    char *directory; /* NULL: the memory engine */
    struct client client;
};

static void wait_until_loaded(struct engine *engine)
{
    struct engine_health health = {.state = ENGINE_LOADING};
    for (int waited_ms = 0; health.state == ENGINE_LOADING; waited_ms++) {
        assert_true(waited_ms < LOADING_MS_MAX);
        engine_health(engine, &health);
        usleep(1000);
    }
}

static void begin(struct fixture *fixture, bool local)
{
    char url[300] = "memory:";
    struct engine_options limits = engine_options_default();
    limits.value_bytes_max = 1 << 20;
    limits.reserve_bytes = limits.ballast_bytes = 0;
    fixture->directory = local ? test_directory_make() : NULL;
    if (local)
        snprintf(url, sizeof url, "file:%s", fixture->directory);
    fixture->client = client_open_with(url, (struct api_options){.loopback = true}, limits);
    wait_until_loaded(fixture->client.engine);
}

static void end(struct fixture *fixture)
{
    client_close(&fixture->client);
    if (fixture->directory != NULL)
        test_directory_remove(fixture->directory);
}

/* ---- one exchange that fails at its `at`-th allocation ---- */

static bool fail_at(struct client *client, const struct request *request, size_t at,
                    enum short_memory how, struct answer *out_answer)
{
    struct outgoing outgoing = {.count = 0};
    add_fields(&outgoing, request);
    struct exchange exchange = {.method = request->method,
                                .target = request->target,
                                .http_1_1 = true,
                                .headers = outgoing.fields,
                                .header_count = outgoing.count,
                                .deadline_ns = UINT64_MAX,
                                .cancel = &client->cancel,
                                .memory = malloc(api_exchange_bytes(request->target))};
    *out_answer = (struct answer){0};
    struct response *response = &out_answer->response;
    short_memory_arm(at, how, false);
    out_answer->verdict = api_begin(client->api, &exchange, response);
    if (out_answer->verdict != API_REFUSE) {
        assert_true(feed(client, &exchange, request));
        api_finish(client->api, &exchange, response);
    }
    bool failed = short_memory_disarm();
    copy_answer(out_answer);
    end_exchange(client, &exchange, &(struct api_result){.status = response->status});
    return failed;
}

static void check_answer(const struct answer *answer, unsigned status, bool failed)
{
    const struct response *response = &answer->response;
    bool refused = failed && response->status == 507;
    if (refused)
        assert_string_equal(response->problem_code, "memory-full");
    else
        assert_int_equal(response->status, status); /* what only counts may fail unseen */
    if (response->problem_code != NULL && response->body_kind != RESPONSE_OMITTED)
        assert_contains(answer->body, response->problem_code);
}

/* ---- the key before and after ---- */

static void make_key(struct client *client, bool present)
{
    ANSWER made = present ? put(client, "/keys/k", old_value)
                          : SEND(client, .method = "DELETE", .target = "/keys/k");
    assert_true(made.response.status / 100 == 2 || made.response.status == 404);
}

/* What was answered is so, and a refusal changed nothing. */
static void check_key(struct client *client, const struct request *request, unsigned status,
                      bool was_present)
{
    bool done = status / 100 == 2, put = strcmp(request->method, "PUT") == 0;
    bool deleted = done && strcmp(request->method, "DELETE") == 0;
    struct bytes wanted = done && put ? request->body : bytes_of(old_value);
    ANSWER found = get(client, "/keys/k");
    if (deleted || (!was_present && !(done && put))) {
        assert_int_equal(found.response.status, 404);
        return;
    }
    assert_int_equal(found.response.status, 200);
    assert_int_equal(found.response.body_bytes, wanted.size);
    assert_memory_equal(found.body, wanted.data, wanted.size);
}

static void check_each(struct client *client, const struct request *request, bool present,
                       unsigned status, enum short_memory how)
{
    bool failed = true;
    for (size_t at = 0; failed; at++) {
        struct answer answer;
        assert_true(at < ALLOCATIONS_MAX);
        make_key(client, present);
        failed = fail_at(client, request, at, how, &answer);
        check_answer(&answer, status, failed);
        check_key(client, request, answer.response.status, present);
        answer_done(&answer);
    }
}

static void check_over_both(const struct request *request, bool present, unsigned status)
{
    for (int local = 0; local <= 1; local++) {
        struct fixture fixture;
        begin(&fixture, local);
        check_each(&fixture.client, request, present, status, SHORT_ONCE);
        check_each(&fixture.client, request, present, status, SHORT_FROM_THEN_ON);
        end(&fixture);
    }
}

#define WITH_KEY(expected, ...)    check_over_both(&(struct request){__VA_ARGS__}, true, expected)
#define WITHOUT_KEY(expected, ...) check_over_both(&(struct request){__VA_ARGS__}, false, expected)

/* ---- the promises ---- */

static void a_read_is_whole_or_refused(void **state)
{
    (void)state;
    WITH_KEY(200, .method = "GET", .target = "/keys/k");
    WITH_KEY(200, .method = "HEAD", .target = "/keys/k");
    WITH_KEY(304, .method = "GET", .target = "/keys/k", .headers = {"If-None-Match: *"});
    WITH_KEY(412, .method = "GET", .target = "/keys/k", .headers = {"If-Match: \"x\""});
    WITHOUT_KEY(404, .method = "GET", .target = "/keys/k");
}

static void a_write_is_applied_if_and_only_if_the_answer_says_so(void **state)
{
    (void)state;
    memset(large_value, 'l', LARGE_BYTES);
    WITH_KEY(204, .method = "PUT", .target = "/keys/k", .body = bytes_of("new"),
             .headers = {"Content-Type: a/b"});
    WITHOUT_KEY(201, .method = "PUT", .target = "/keys/k", .body = bytes_of("new"));
    WITHOUT_KEY(201, .method = "PUT", .target = "/keys/k", .body = bytes_of(large_value),
                .piece_bytes = 16000, .chunked = true);
    WITH_KEY(204, .method = "PUT", .target = "/keys/k?ttl=keep", .body = bytes_of("new"));
    WITH_KEY(200, .method = "PUT", .target = "/keys/k?return=previous&ttl=1h",
             .body = bytes_of("new"));
    WITH_KEY(200, .method = "DELETE", .target = "/keys/k?return=previous");
    WITH_KEY(204, .method = "DELETE", .target = "/keys/k");
    WITHOUT_KEY(404, .method = "DELETE", .target = "/keys/k");
    WITH_KEY(200, .method = "DELETE", .target = "/keys?prefix=k");
    WITHOUT_KEY(200, .method = "DELETE", .target = "/keys?prefix=k");
}

static void a_count_is_counted_if_and_only_if_the_answer_says_so(void **state)
{
    (void)state;
    static const struct request request = {.method = "POST", .target = "/incr/k"};
    for (int local = 0; local <= 1; local++) {
        struct fixture fixture;
        begin(&fixture, local);
        bool failed = true;
        int counted = 0;
        for (size_t at = 0; failed; at++) {
            struct answer answer;
            assert_true(at < ALLOCATIONS_MAX);
            failed = fail_at(&fixture.client, &request, at, SHORT_ONCE, &answer);
            check_answer(&answer, 200, failed);
            counted += answer.response.status == 200;
            if (answer.response.status == 200)
                assert_int_equal(atoi(answer.body), counted);
            answer_done(&answer);
        }
        end(&fixture);
    }
}

#define JSON .headers = {"Content-Type: application/json"}
#define BATCH                                                                                      \
    .method = "POST", .target = "/batch", JSON,                                                    \
    .body = bytes_of(                                                                              \
        "{\"ops\":[{\"op\":\"put\",\"key\":\"b\",\"json\":[1,{\"a\":\"x\"}]},"                     \
        "{\"op\":\"put\",\"key_base64\":\"Yw==\",\"value\":\"1\",\"content_type\":\"a/b\"},"       \
        "{\"op\":\"delete\",\"key\":\"k\"},{\"op\":\"check\",\"key\":\"k\",\"if_match\":\"*\"}]}")

static void a_batch_is_applied_if_and_only_if_the_answer_says_so(void **state)
{
    (void)state;
    static const char *const others[] = {"/keys/b", "/keys/c"};
    const struct request request = {BATCH};
    for (int local = 0; local <= 1; local++) {
        struct fixture fixture;
        begin(&fixture, local);
        bool failed = true;
        for (size_t at = 0; failed; at++) {
            struct answer answer;
            assert_true(at < ALLOCATIONS_MAX);
            make_key(&fixture.client, true);
            failed = fail_at(&fixture.client, &request, at, SHORT_ONCE, &answer);
            check_answer(&answer, 200, failed);
            bool done = answer.response.status == 200;
            ANSWER deleted = get(&fixture.client, "/keys/k");
            assert_int_equal(deleted.response.status, done ? 404 : 200);
            for (size_t i = 0; i < COUNT_OF(others); i++) {
                ANSWER other = SEND(&fixture.client, .method = "DELETE", .target = others[i]);
                assert_int_equal(other.response.status, done ? 204 : 404);
            }
            answer_done(&answer);
        }
        end(&fixture);
    }
}

static void a_refused_batch_says_why_or_has_no_memory(void **state)
{
    (void)state;
    WITHOUT_KEY(412, BATCH);
    WITH_KEY(422, .method = "POST", .target = "/batch", JSON,
             .body = bytes_of("{\"ops\":[{\"op\":\"delete\",\"key\":7}]}"));
    WITH_KEY(400, .method = "POST", .target = "/batch", JSON,
             .body = bytes_of("{\"ops\":[{\"op\":\"put\",\"key\":\"k\",\"json\":{\"a\":nul}}]}"));
}

/* The value stays, whatever becomes of its expiry, which is told if and only if it is set. */
static void an_expiry_is_set_if_and_only_if_the_answer_says_so(void **state)
{
    (void)state;
    const struct request request = {
        .method = "PUT", .target = "/ttl/k", JSON, .body = bytes_of("{\"ttl\":\"1h\"}")};
    for (int local = 0; local <= 1; local++) {
        struct fixture fixture;
        begin(&fixture, local);
        bool failed = true;
        for (size_t at = 0; failed; at++) {
            struct answer answer;
            assert_true(at < ALLOCATIONS_MAX);
            make_key(&fixture.client, true);
            failed = fail_at(&fixture.client, &request, at, SHORT_ONCE, &answer);
            check_answer(&answer, 204, failed);
            ANSWER read = get(&fixture.client, "/keys/k");
            assert_string_equal(read.body, old_value);
            assert_int_equal(header_of(&read, "Keyrest-Expires")[0] != '\0',
                             answer.response.status == 204);
            answer_done(&answer);
        }
        end(&fixture);
    }
}

static void a_refused_write_changes_nothing(void **state)
{
    (void)state;
    WITH_KEY(412, .method = "PUT", .target = "/keys/k", .body = bytes_of("new"),
             .headers = {"If-None-Match: *"});
    WITH_KEY(412, .method = "PUT", .target = "/keys/k", .body = bytes_of("new"),
             .headers = {"If-None-Match: *", "Expect: 100-continue"});
    WITH_KEY(412, .method = "DELETE", .target = "/keys/k", .headers = {"If-Match: \"x\""});
    WITH_KEY(400, .method = "PUT", .target = "/keys/k", .body = bytes_of("new"),
             .headers = {"Content-Range: bytes 0-1/2"});
    WITH_KEY(413, .method = "PUT", .target = "/keys/k",
             .headers = {"Content-Length: 99999999", "Host: localhost"}, .bare = true);
}

/* The engine's first commit has no known outcome: who is told 507 must not have come so far. */
static void a_write_whose_outcome_is_unknown_is_not_told_to_have_failed(void **state)
{
    (void)state;
    static const struct request request = {
        .method = "PUT", .target = "/keys/k", .body = {"new", 3}};
    bool failed = true;
    for (size_t at = 0; failed; at++) {
        CLIENT client = client_open("memory:?fail=commit:UNKNOWN:1");
        struct answer answer;
        assert_true(at < ALLOCATIONS_MAX);
        failed = fail_at(&client, &request, at, SHORT_ONCE, &answer);
        check_answer(&answer, 504, failed);
        if (answer.response.status == 507) {
            ANSWER next = put(&client, "/keys/k", "new");
            assert_problem(&next, 504, "outcome-unknown");
        }
        answer_done(&answer);
    }
}

static void other_resources_are_whole_or_refused(void **state)
{
    (void)state;
    WITH_KEY(200, .method = "GET", .target = "/");
    WITH_KEY(200, .method = "GET", .target = "/keys");
    WITH_KEY(200, .method = "GET", .target = "/keys?prefix=k&fields=key,value");
    WITH_KEY(200, .method = "POST", .target = "/batch/get", JSON,
             .body = bytes_of("{\"keys\":[\"k\",{\"key_base64\":\"aw==\"},\"none\"]}"));
    WITH_KEY(200, .method = "GET", .target = "/ttl/k");
    WITH_KEY(304, .method = "GET", .target = "/ttl/k", .headers = {"If-None-Match: *"});
    WITH_KEY(200, .method = "GET", .target = "/readyz?verbose");
    WITH_KEY(200, .method = "GET", .target = "/problems/busy");
    WITH_KEY(200, .method = "GET", .target = "/metrics");
    WITH_KEY(200, .method = "GET", .target = "/openapi.yaml");
    WITH_KEY(204, .method = "OPTIONS", .target = "/keys/k");
    WITH_KEY(405, .method = "POST", .target = "/keys/k");
    WITH_KEY(404, .method = "GET", .target = "/nowhere");
}

static void a_failed_opening_leaves_nothing(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    struct api_options options = {.version = "1", .time = time_source_system()};
    bool failed = true;
    for (size_t at = 0; failed; at++) {
        struct api *api = NULL;
        short_memory_arm(at, SHORT_ONCE, false);
        enum status status = api_open(client.engine, &options, &api);
        failed = short_memory_disarm();
        api_close(api);
        assert_int_equal(status, failed ? STATUS_NO_MEMORY : STATUS_OK);
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("a read is whole or refused", a_read_is_whole_or_refused),
        TEST("a write is applied if and only if the answer says so",
             a_write_is_applied_if_and_only_if_the_answer_says_so),
        TEST("a count is counted if and only if the answer says so",
             a_count_is_counted_if_and_only_if_the_answer_says_so),
        TEST("a batch is applied if and only if the answer says so",
             a_batch_is_applied_if_and_only_if_the_answer_says_so),
        TEST("a refused batch says why, or has no memory",
             a_refused_batch_says_why_or_has_no_memory),
        TEST("an expiry is set if and only if the answer says so",
             an_expiry_is_set_if_and_only_if_the_answer_says_so),
        TEST("a refused write changes nothing", a_refused_write_changes_nothing),
        TEST("a write whose outcome is unknown is not told to have failed",
             a_write_whose_outcome_is_unknown_is_not_told_to_have_failed),
        TEST("other resources are whole or refused", other_resources_are_whole_or_refused),
        TEST("a failed opening leaves nothing", a_failed_opening_leaves_nothing),
    };
    return test_main(argc, argv, "no_memory", tests);
}
