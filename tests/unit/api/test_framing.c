/* SPDX-License-Identifier: Apache-2.0 */
/* Heads that could be read in two ways, hosts that are not ours, pages of other sites. */
#include "client.h"

static void check_bad(struct client *client, const struct request *request, unsigned status,
                      const char *code)
{
    ANSWER answer = send_request(client, request);
    if (answer.response.problem_code == NULL)
        fail_msg("accepted: %s", request->headers[0]);
    assert_string_equal(answer.response.problem_code, code);
    assert_int_equal(answer.response.status, status);
    assert_int_equal(answer.verdict, API_REFUSE);
    assert_true(answer.response.close);
}

#define BAD(...) check_bad(&client, &(struct request){__VA_ARGS__}, 400, "bad-framing")
#define BARE(...)                                                                                  \
    .method = "PUT", .target = "/keys/k", .bare = true, .headers = {"Host: localhost", __VA_ARGS__}

static void ambiguous_lengths_are_refused(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    BAD(BARE("Transfer-Encoding: chunked", "Content-Length: 4"));
    BAD(BARE("Content-Length: 4", "Content-Length: 4"));
    BAD(BARE("Content-Length: 4", "content-length: 5"));
    BAD(BARE("Transfer-Encoding: gzip, chunked"));
    BAD(BARE("Transfer-Encoding: xchunked"));
    BAD(BARE("Transfer-Encoding: identity"));
    BAD(BARE("Transfer-Encoding: "));
    BAD(BARE("Transfer-Encoding: chunked "));
    BAD(BARE("Transfer-Encoding: chunked\t"));
    BAD(BARE("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"));
    BAD(BARE("Transfer-Encoding: chunked"), .http_1_0 = true);
    BAD(BARE("Content-Length: +4"));
    BAD(BARE("Content-Length: 4, 4"));
    BAD(BARE("Content-Length: -1"));
    BAD(BARE("Content-Length: "));
    BAD(BARE("Content-Length: 0x10"));
    BAD(BARE("Content-Length: 9999999999999999999"));
}

static void malformed_fields_are_refused(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    BAD(BARE("Content-Length : 4"));
    BAD(BARE(": v"));
    BAD(BARE("X\tY: v"));
    BAD(BARE("X(: v"));
    BAD(BARE("X\xc3\xa4: v"));
    BAD(BARE("X: a\x01z"));
    BAD(BARE("X: a\rb"));
    BAD(BARE("X: a\nb"));
    BAD(BARE("X: a\x7fz"));
    BAD(BARE("Content-Type: a/b", "Content-Type: c/d"));
    BAD(BARE("X: v"), .target_has_nul = true);
    BAD(BARE("X: v"), .head_is_ambiguous = true);
    ANSWER tab = SEND(&client, BARE("X: a\tb"));
    assert_int_equal(tab.response.status, 201);
}

static void chunked_in_any_case_is_understood(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER answer = SEND(&client, BARE("Transfer-Encoding: \t Chunked"), .body = bytes_of("v"));
    assert_int_equal(answer.response.status, 201);
}

static void host_must_come_once(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    static const struct request none = {
        .method = "GET", .target = "/livez", .bare = true, .headers = {"X: v"}};
    static const struct request two = {.method = "GET",
                                       .target = "/livez",
                                       .bare = true,
                                       .headers = {"Host: localhost", "Host: localhost"}};
    check_bad(&client, &none, 400, "bad-host");
    check_bad(&client, &two, 400, "bad-host");
    ANSWER old = SEND(&client, .method = "GET", .target = "/livez", .bare = true, .http_1_0 = true);
    assert_int_equal(old.response.status, 200);
}

/* ---- hosts ---- */

static const char *ask_host(struct client *client, const char *target, const char *host)
{
    static char code[64];
    char field[300];
    snprintf(field, sizeof field, "Host: %s", host);
    ANSWER answer =
        SEND(client, .method = "GET", .target = target, .bare = true, .headers = {field});
    snprintf(code, sizeof code, "%s",
             answer.response.problem_code != NULL ? answer.response.problem_code : "");
    assert_int_equal(answer.response.status, strcmp(code, "host-not-allowed") == 0 ? 403
                                             : strcmp(code, "bad-host") == 0       ? 400
                                                                                   : 200);
    return code;
}

static void check_hosts(const struct api_options *options, const char *const *hosts,
                        const char *code)
{
    CLIENT client = client_open_with("memory:", *options, engine_options_default());
    for (; *hosts != NULL; hosts++)
        if (strcmp(ask_host(&client, "/", *hosts), code) != 0)
            fail_msg("Host: %s: %s", *hosts, ask_host(&client, "/", *hosts));
}

static const struct api_options loopback = {.loopback = true};

static void on_loopback_only_loopback_hosts_are_answered(void **state)
{
    (void)state;
    static const char *const good[] = {
        "localhost", "LOCALHOST:7070", "127.0.0.1",  "127.9.9.9:7070",
        "[::1]",     "[::1]:7070",     "localhost:", NULL};
    static const char *const others[] = {"evil.example",
                                         "localhost.evil.example",
                                         "evil.example:7070",
                                         "128.0.0.1",
                                         "[::2]",
                                         "127.0.0.1.nip.io:1",
                                         "1270.0.1",
                                         "",
                                         NULL};
    static const char *const bad[] = {
        "local host", "localhost:70a", "[::1",        "[::1]x",         "[localhost]",
        "a:1:2",      "localhost/x",   "u@localhost", "[local host]:1", NULL};
    check_hosts(&loopback, good, "");
    check_hosts(&loopback, others, "host-not-allowed");
    check_hosts(&loopback, bad, "bad-host");
}

static void elsewhere_hosts_are_checked_only_by_list(void **state)
{
    (void)state;
    static const char *const any[] = {"evil.example", "10.0.0.1:7070", "", NULL};
    static const char *const list[] = {"kv.example", "other.example:80", NULL};
    static const char *const listed[] = {"kv.example", "KV.example:7070", "other.example:80", NULL};
    static const char *const unlisted[] = {"localhost", "other.example", "other.example:81",
                                           "xkv.example", NULL};
    static const char *const local[] = {"localhost", "kv.example", NULL};
    check_hosts(&(struct api_options){.loopback = false}, any, "");
    check_hosts(&(struct api_options){.allowed_hosts = list}, listed, "");
    check_hosts(&(struct api_options){.allowed_hosts = list}, unlisted, "host-not-allowed");
    check_hosts(&(struct api_options){.allowed_hosts = list, .loopback = true}, local, "");
    check_hosts(&(struct api_options){.loopback = true, .unix_socket = true}, any, "");
}

static void probes_may_name_any_host_but_on_loopback(void **state)
{
    (void)state;
    static const char *const probes[] = {"/livez", "/readyz?verbose", "/healthz"};
    const char *list[] = {"kv.example", NULL};
    CLIENT pod = client_open_with("memory:", (struct api_options){.allowed_hosts = list},
                                  engine_options_default());
    CLIENT local =
        client_open_with("memory:", (struct api_options){.allowed_hosts = list, .loopback = true},
                         engine_options_default());
    for (size_t i = 0; i < COUNT_OF(probes); i++) {
        assert_string_equal(ask_host(&pod, probes[i], "10.1.2.3:7070"), "");
        assert_string_equal(ask_host(&pod, probes[i], "a b"), "bad-host");
        assert_string_equal(ask_host(&local, probes[i], "10.1.2.3:7070"), "host-not-allowed");
    }
    assert_string_equal(ask_host(&pod, "/metrics", "10.1.2.3:7070"), "host-not-allowed");
    assert_string_equal(ask_host(&pod, "/keys/livez", "10.1.2.3:7070"), "host-not-allowed");
}

static void an_absolute_target_names_the_host(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    assert_string_equal(ask_host(&client, "http://localhost:7070/livez", "evil.example"), "");
    assert_string_equal(ask_host(&client, "http://evil.example/livez", "localhost"),
                        "host-not-allowed");
}

/* ---- origins ---- */

static void check_origin(struct client *client, const char *method, const char *field,
                         const char *host, bool accepted)
{
    char host_field[100];
    snprintf(host_field, sizeof host_field, "Host: %s", host);
    ANSWER answer = SEND(client, .method = method, .target = "/keys/k", .bare = true,
                         .headers = {host_field, field});
    bool refused = answer.response.problem_code != NULL &&
                   strcmp(answer.response.problem_code, "cross-site") == 0;
    if (refused == accepted)
        fail_msg("%s %s on %s", method, field, host);
    if (refused)
        assert_int_equal(answer.response.status, 403);
}

static void a_write_of_another_sites_page_is_refused(void **state)
{
    (void)state;
    static const char *const fields[] = {
        "Sec-Fetch-Site: cross-site",
        "Origin: http://evil.example",
        "Origin: null",
        "Origin: http://localhost:3000",
        "Origin: http://localhost",
        "Origin: http://localhost:70700",
        "Origin: http://u@localhost:70",
        "Origin: file://",
    };
    CLIENT client = client_open("memory:");
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        check_origin(&client, "PUT", fields[i], "localhost:7070", false);
        check_origin(&client, "DELETE", fields[i], "localhost:7070", false);
        check_origin(&client, "POST", fields[i], "localhost:7070", false);
        check_origin(&client, "GET", fields[i], "localhost:7070", true);
        check_origin(&client, "HEAD", fields[i], "localhost:7070", true);
        check_origin(&client, "OPTIONS", fields[i], "localhost:7070", true);
    }
}

static void a_write_of_the_same_origin_is_taken(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    check_origin(&client, "PUT", "Origin: http://localhost:7070", "localhost:7070", true);
    check_origin(&client, "PUT", "Origin: HTTP://LocalHost:7070", "localhost:7070", true);
    check_origin(&client, "PUT", "Origin: http://[::1]:7070", "[::1]:7070", true);
    check_origin(&client, "PUT", "Origin: https://localhost", "localhost", true);
    check_origin(&client, "PUT", "Origin: https://localhost", "localhost:443", true);
    check_origin(&client, "PUT", "Origin: http://localhost:80", "localhost", true);
    check_origin(&client, "PUT", "Sec-Fetch-Site: same-origin", "localhost", true);
    check_origin(&client, "PUT", "Sec-Fetch-Site: none", "localhost", true);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("ambiguous lengths are refused", ambiguous_lengths_are_refused),
        TEST("malformed fields are refused", malformed_fields_are_refused),
        TEST("chunked in any case is understood", chunked_in_any_case_is_understood),
        TEST("Host must come once", host_must_come_once),
        TEST("on loopback only loopback hosts are answered",
             on_loopback_only_loopback_hosts_are_answered),
        TEST("elsewhere hosts are checked only by list", elsewhere_hosts_are_checked_only_by_list),
        TEST("probes may name any host, but on loopback", probes_may_name_any_host_but_on_loopback),
        TEST("an absolute target names the host", an_absolute_target_names_the_host),
        TEST("a write of another site's page is refused", a_write_of_another_sites_page_is_refused),
        TEST("a write of the same origin is taken", a_write_of_the_same_origin_is_taken),
    };
    return test_main(argc, argv, "framing", tests);
}
