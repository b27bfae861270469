/* SPDX-License-Identifier: Apache-2.0 */
/* Probes, discovery, tracing, and the end of an exchange at any point. */
#include "client.h"

#include "../../../api/trace.h"

static void check_probe(const char *url, const char *target, unsigned status, const char *part)
{
    CLIENT client = client_open(url);
    ANSWER answer = get(&client, target);
    assert_int_equal(answer.response.status, status);
    assert_header(&answer, "Cache-Control", "no-store");
    assert_contains(answer.body, part);
    assert_int_equal(*header_of(&answer, "Retry-After") != '\0', status == 503);
}

static void a_passing_probe_says_ok(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    static const char *const targets[] = {"/livez", "/readyz", "/healthz"};
    for (size_t i = 0; i < COUNT_OF(targets); i++) {
        ANSWER answer = get(&client, targets[i]);
        assert_int_equal(answer.response.status, 200);
        assert_string_equal(answer.body, "ok");
        assert_string_equal(answer.response.route, targets[i]);
    }
}

static void verbose_shows_every_check(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER live = get(&client, "/livez?verbose");
    assert_string_equal(live.body, "[+]ping ok\nlivez check passed\n");
    ANSWER ready = get(&client, "/readyz?verbose=1");
    assert_string_equal(ready.body, "[+]ping ok\n[+]shutdown ok\n[+]loaded ok\n[+]writable ok\n"
                                    "[+]durability ok: none\nreadyz check passed\n");
}

static void loading_is_alive_and_not_ready(void **state)
{
    (void)state;
    check_probe("memory:?state=loading", "/livez", 200, "ok");
    check_probe("memory:?state=loading", "/readyz", 503, "[-]loaded failed: ");
    check_probe("memory:?state=loading", "/readyz", 503, "readyz check failed");
    check_probe("memory:?state=loading", "/healthz", 503, "healthz check failed");
    check_probe("memory:?state=unusable", "/readyz", 503, "[-]loaded failed");
    check_probe("memory:?state=unusable", "/livez", 200, "ok");
}

static void a_store_that_takes_no_writes_stays_ready(void **state)
{
    (void)state;
    check_probe("memory:?state=read_only", "/readyz", 200, "ok");
    check_probe("memory:?state=read_only", "/readyz?verbose", 200, "[-]writable failed: ");
    check_probe("memory:?fail=value_open:NO_SPACE", "/readyz", 200, "ok");
    check_probe("memory:?fail=value_open:NO_SPACE", "/readyz?verbose", 200,
                "[-]writable failed: the disk is full");
    check_probe("memory:?fail=value_open:NO_SPACE", "/readyz?verbose", 200, "readyz check passed");
}

static void too_many_connections_fail_all_but_livez(void **state)
{
    (void)state;
    static const char *const targets[] = {"/keys/k", "/readyz", "/metrics", "/no/such", "/livez/"};
    static const char code[] = "too-many-connections";
    CLIENT client = client_open("memory:");
    for (size_t i = 0; i < COUNT_OF(targets); i++) {
        ANSWER refused = SEND(&client, .method = "GET", .target = targets[i], .refusal = code);
        assert_problem(&refused, 503, "too-many-connections");
        assert_true(refused.response.close);
    }
    ANSWER written =
        SEND(&client, .method = "PUT", .target = "/keys/k", .refusal = code, .body = bytes_of("v"));
    assert_problem(&written, 503, "too-many-connections");
    ANSWER posted = SEND(&client, .method = "POST", .target = "/livez", .refusal = code);
    assert_problem(&posted, 503, "too-many-connections");
    ANSWER alive = SEND(&client, .method = "GET", .target = "/livez", .refusal = code);
    assert_int_equal(alive.response.status, 200);
    assert_true(alive.response.close);
    ANSWER absent = get(&client, "/keys/k");
    assert_problem(&absent, 404, "key-not-found");
}

static void exclude_leaves_checks_out(void **state)
{
    (void)state;
    check_probe("memory:?state=loading", "/readyz?exclude=loaded", 200, "ok");
    check_probe("memory:?state=loading", "/readyz?exclude=ping&exclude=loaded&verbose", 200,
                "[+]ping excluded: ok\n[+]shutdown ok\n[+]loaded excluded: ok\n");
    check_probe("memory:", "/readyz?exclude=etcd&verbose", 200,
                "warn: no check is called \"etcd\"");
    check_probe("memory:", "/readyz?exclude=etcd", 200, "ok");
}

static void a_draining_service_is_alive_and_closes(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER before = get(&client, "/readyz");
    assert_false(before.response.close);
    api_drain(client.api);
    ANSWER ready = get(&client, "/readyz");
    assert_int_equal(ready.response.status, 503);
    assert_contains(ready.body, "[-]shutdown failed");
    assert_true(ready.response.close);
    ANSWER live = get(&client, "/livez");
    assert_int_equal(live.response.status, 200);
    ANSWER made = put(&client, "/keys/k", "v");
    assert_int_equal(made.response.status, 201);
    assert_true(made.response.close);
}

static void an_exchange_can_say_that_the_service_drains(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    client.draining = true;
    ANSWER ready = get(&client, "/readyz");
    assert_int_equal(ready.response.status, 503);
    assert_true(ready.response.close);
}

/* ---- discovery ---- */

static void the_root_tells_limits_and_links(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER answer = get(&client, "/");
    assert_int_equal(answer.response.status, 200);
    assert_header(&answer, "Content-Type", "application/json");
    assert_contains(answer.body, "\"name\": \"keyrest\"");
    assert_contains(answer.body, "\"version\": \"1.2.3\"");
    assert_contains(answer.body, "\"key_bytes_max\": 1024");
    assert_contains(answer.body, "\"value_bytes_max\": 16777216");
    assert_contains(answer.body, "\"scheme\": \"memory\"");
    assert_contains(answer.body, "\"gapless\"");
    assert_contains(answer.body, "\"keys\": \"/keys/{key}\"");
    assert_null(strstr(answer.body, "\"epoch\": null"));
}

static void the_epoch_is_null_while_loading(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:?state=loading");
    ANSWER answer = get(&client, "/");
    assert_int_equal(answer.response.status, 200);
    assert_contains(answer.body, "\"epoch\": null");
}

static void the_description_is_the_file(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER answer = get(&client, "/openapi.yaml");
    assert_int_equal(answer.response.status, 200);
    assert_contains(answer.body, "openapi: 3.1.0");
    assert_contains(answer.body, "/keys/{key}:");
    assert_int_equal(answer.body[answer.response.body_bytes - 1], '\n');
}

/* ---- tracing ---- */

static void a_request_id_is_echoed_or_made(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER echoed =
        SEND(&client, .method = "GET", .target = "/livez", .headers = {"Request-Id: ab-12_3.4"});
    assert_header(&echoed, "Request-Id", "ab-12_3.4");
    assert_string_equal(echoed.response.request_id, "ab-12_3.4");
    ANSWER first = get(&client, "/livez");
    ANSWER second = get(&client, "/nothing");
    assert_int_equal(strlen(first.response.request_id), 16);
    assert_string_not_equal(first.response.request_id, second.response.request_id);
    assert_header(&second, "Request-Id", second.response.request_id);
    ANSWER refused = SEND(&client, .method = "GET", .target = "keys", .headers = {"Request-Id: x"});
    assert_header(&refused, "Request-Id", "x");
}

static void an_unsafe_request_id_is_replaced(void **state)
{
    (void)state;
    char longest[64], over[65], out[TRACE_REQUEST_ID_BYTES];
    memset(longest, 'a', 63);
    longest[63] = '\0';
    memset(over, 'a', 64);
    over[64] = '\0';
    trace_write_request_id(bytes_of(longest), out);
    assert_string_equal(out, longest);
    const char *const unsafe[] = {over, "a b", "a\"b", "a\\b", "\xc3\xa4", "a,b", ""};
    for (size_t i = 0; i < COUNT_OF(unsafe); i++) {
        trace_write_request_id(bytes_of(unsafe[i]), out);
        assert_int_equal(strlen(out), 16);
    }
}

static void a_valid_traceparent_is_kept_for_the_log(void **state)
{
    (void)state;
    static const char valid[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    static const char *const bad[] = {
        "",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
        "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333g-01",
    };
    char out[TRACE_PARENT_BYTES];
    CLIENT client = client_open("memory:");
    ANSWER answer = SEND(&client, .method = "GET", .target = "/livez",
                         .headers = {"Traceparent: 00-0af7651916cd43dd8448eb211c80319c-"
                                     "b7ad6b7169203331-01"});
    assert_string_equal(answer.response.traceparent, valid);
    trace_write_parent(bytes_of("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-new"),
                       out);
    assert_int_equal(strlen(out), 55);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        trace_write_parent(bytes_of(bad[i]), out);
        assert_string_equal(out, "");
    }
}

/* ---- ends ---- */

static void an_exchange_may_end_at_any_point(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    static const struct api_header fields[] = {{"Host", "localhost"}, {"Content-Length", "4"}};
    for (int steps = 1; steps <= 4; steps++) {
        struct exchange exchange = {.method = "PUT",
                                    .target = "/keys/k",
                                    .http_1_1 = true,
                                    .headers = fields,
                                    .header_count = 2,
                                    .deadline_ns = UINT64_MAX};
        struct response response = {0};
        assert_int_equal(begin_exchange(&client, &exchange, &response), API_BODY);
        if (steps > 1)
            assert_true(api_body(client.api, &exchange, "ab", 2));
        if (steps > 2)
            assert_true(api_body(client.api, &exchange, "cd", 2));
        if (steps > 3)
            api_finish(client.api, &exchange, &response);
        api_end(client.api, &exchange, &(struct api_result){0});
        response_done(&response);
        end_exchange(&client, &exchange, &(struct api_result){0}); /* nothing is left */
    }
    struct engine_health health;
    engine_health(client.engine, &health);
    assert_int_equal(health.sequence, 1);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("a passing probe says ok", a_passing_probe_says_ok),
        TEST("verbose shows every check", verbose_shows_every_check),
        TEST("loading is alive and not ready", loading_is_alive_and_not_ready),
        TEST("a store that takes no writes stays ready", a_store_that_takes_no_writes_stays_ready),
        TEST("too many connections fail all but /livez", too_many_connections_fail_all_but_livez),
        TEST("exclude leaves checks out", exclude_leaves_checks_out),
        TEST("a draining service is alive and closes", a_draining_service_is_alive_and_closes),
        TEST("an exchange can say that the service drains",
             an_exchange_can_say_that_the_service_drains),
        TEST("the root tells limits and links", the_root_tells_limits_and_links),
        TEST("the epoch is null while loading", the_epoch_is_null_while_loading),
        TEST("the description is the file", the_description_is_the_file),
        TEST("a request id is echoed or made", a_request_id_is_echoed_or_made),
        TEST("an unsafe request id is replaced", an_unsafe_request_id_is_replaced),
        TEST("a valid traceparent is kept for the log", a_valid_traceparent_is_kept_for_the_log),
        TEST("an exchange may end at any point", an_exchange_may_end_at_any_point),
    };
    return test_main(argc, argv, "health", tests);
}
