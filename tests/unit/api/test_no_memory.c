/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fails the first, second, ... allocation of an exchange until one runs without a failure: each time
 * the answer is a whole one, and nothing is lost. Needs an allocator of its own, which the sanitizers
 * have too: their builds skip it.
 */
#include "client.h"

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__

int main(void)
{
    puts("1..1\nok 1 - no memory # SKIP the sanitizers replace malloc");
    return 0;
}

#else

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *pointer, size_t size);
void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *pointer, size_t size);

static size_t left; /* allocations that go well before one fails */
static bool armed, failed;

static bool must_fail(void)
{
    if (!armed || left-- > 0)
        return false;
    armed = false;
    failed = true;
    return true;
}

void *malloc(size_t size)
{
    return must_fail() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return must_fail() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *pointer, size_t size)
{
    return must_fail() ? NULL : __libc_realloc(pointer, size);
}

/* One exchange with a failure at its `at`-th allocation; returns its status. */
static unsigned exchange_failing_at(struct client *client, const struct request *request, size_t at,
                                    struct response *out_response)
{
    struct outgoing outgoing = {.count = 0};
    add_fields(&outgoing, request);
    struct exchange exchange = {.method = request->method,
                                .target = request->target,
                                .http_1_1 = true,
                                .headers = outgoing.fields,
                                .header_count = outgoing.count,
                                .deadline_ns = UINT64_MAX};
    *out_response = (struct response){0};
    left = at;
    failed = false;
    armed = true;
    if (api_begin(client->api, &exchange, out_response) != API_REFUSE) {
        assert_true(feed(client, &exchange, request));
        api_finish(client->api, &exchange, out_response);
    }
    armed = false;
    api_end(client->api, &exchange, &(struct api_result){.status = out_response->status});
    return out_response->status;
}

static void check_request(const char *method, const char *target, const char *header,
                          const char *body, unsigned status)
{
    CLIENT client = client_open("memory:");
    ANSWER made = SEND(&client, .method = "PUT", .target = "/keys/k", .body = bytes_of("v"),
                       .headers = {"Content-Type: text/plain"});
    struct request request = {
        .method = method, .target = target, .headers = {header}, .body = bytes_of(body)};
    for (size_t at = 0;; at++) {
        struct answer answer = {0};
        unsigned got = exchange_failing_at(&client, &request, at, &answer.response);
        bool met = failed;
        copy_answer(&answer);
        if (answer.response.problem_code != NULL)
            assert_contains(answer.body, answer.response.problem_code);
        if (got == 507)
            assert_problem(&answer, 507, "memory-full");
        else
            assert_int_equal(got, status); /* an allocation that only counts may fail unseen */
        answer_done(&answer);
        if (!met)
            break;
        assert_true(at < 1000);
    }
}

static void a_read_is_whole_or_refused(void **state)
{
    (void)state;
    check_request("GET", "/keys/k", "X: y", "", 200);
    check_request("GET", "/keys/k", "If-None-Match: *", "", 304);
    check_request("GET", "/keys/k", "If-Match: \"x\"", "", 412);
    check_request("GET", "/keys/absent", "X: y", "", 404);
}

static void a_write_is_whole_or_refused(void **state)
{
    (void)state;
    check_request("PUT", "/keys/k", "Content-Type: a/b", "value", 204);
    check_request("DELETE", "/keys/absent", "X: y", "", 404);
    check_request("PUT", "/keys/k", "Content-Range: bytes 0-1/2", "", 400);
}

static void other_resources_are_whole_or_refused(void **state)
{
    (void)state;
    check_request("GET", "/", "X: y", "", 200);
    check_request("GET", "/readyz?verbose", "X: y", "", 200);
    check_request("GET", "/problems/busy", "X: y", "", 200);
    check_request("OPTIONS", "/keys/k", "X: y", "", 204);
    check_request("POST", "/keys/k", "X: y", "", 405);
}

static void a_failed_opening_leaves_nothing(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    struct api_options options = {.version = "1", .time = time_source_system()};
    for (size_t at = 0;; at++) {
        struct api *api = NULL;
        left = at;
        failed = false;
        armed = true;
        enum status status = api_open(client.engine, &options, &api);
        armed = false;
        api_close(api);
        if (!failed)
            break;
        assert_int_equal(status, STATUS_NO_MEMORY);
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("a read is whole or refused", a_read_is_whole_or_refused),
        TEST("a write is whole or refused", a_write_is_whole_or_refused),
        TEST("other resources are whole or refused", other_resources_are_whole_or_refused),
        TEST("a failed opening leaves nothing", a_failed_opening_leaves_nothing),
    };
    return test_main(argc, argv, "no_memory", tests);
}

#endif
