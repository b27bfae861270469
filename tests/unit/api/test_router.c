/* SPDX-License-Identifier: Apache-2.0 */
/* Methods and paths, and what follows from the table alone. */
#include "client.h"

#include "../../../api/router.h"

static void a_path_finds_its_row_and_tail(void **state)
{
    (void)state;
    static const struct {
        const char *path, *route, *tail;
    } rows[] = {
        {"/keys/a/b", "/keys/{key}", "a/b"},
        {"/keys/", "/keys/{key}", ""},
        {"/problems/busy", "/problems/{code}", "busy"},
        {"/admin/compactions", "/admin/compactions", ""},
        {"/admin/compactions/7", "/admin/compactions/{id}", "7"},
        {"/livez", "/livez", ""},
        {"/", "/", ""},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct bytes tail;
        const struct route *route = router_find(bytes_of(rows[i].path), &tail);
        assert_non_null(route);
        assert_string_equal(route->path, rows[i].route);
        assert_true(bytes_equal(tail, bytes_of(rows[i].tail)));
    }
}

static void an_unknown_path_is_404(void **state)
{
    (void)state;
    static const char *const paths[] = {
        "/key",    "/key/a",  "/livez/",      "/LIVEZ",    "//",    "/keys%2Fa",  "/livezz",
        "/metric", "/ttls/a", "/favicon.ico", "/problems", "/live", "/problems/", "/problems/x"};
    CLIENT client = client_open("memory:");
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        ANSWER answer = get(&client, paths[i]);
        assert_problem(&answer, 404, "route-not-found");
        assert_false(answer.response.close);
    }
    ANSWER other = get(&client, "/nothing");
    assert_string_equal(other.response.route, "other");
}

static void a_known_method_in_the_wrong_place_is_405_with_allow(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER key = SEND(&client, .method = "POST", .target = "/keys/k");
    assert_problem(&key, 405, "method-not-allowed");
    assert_header(&key, "Allow", "GET, HEAD, PUT, DELETE, OPTIONS");
    assert_string_equal(key.response.route, "/keys/{key}");
    ANSWER probe = SEND(&client, .method = "PUT", .target = "/livez");
    assert_problem(&probe, 405, "method-not-allowed");
    assert_header(&probe, "Allow", "GET, HEAD, OPTIONS");
    static const char *const methods[] = {"PATCH", "TRACE", "CONNECT"};
    for (size_t i = 0; i < COUNT_OF(methods); i++) {
        ANSWER answer = SEND(&client, .method = methods[i], .target = "/keys/k");
        assert_problem(&answer, 405, "method-not-allowed");
    }
}

static void an_unknown_method_is_501(void **state)
{
    (void)state;
    static const char *const methods[] = {"BREW", "get", "GETT", "", "PROPFIND"};
    CLIENT client = client_open("memory:");
    for (size_t i = 0; i < COUNT_OF(methods); i++) {
        ANSWER answer = SEND(&client, .method = methods[i], .target = "/keys/k");
        assert_problem(&answer, 501, "method-unknown");
    }
}

static void options_is_answered_everywhere(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    const struct route *route;
    for (size_t i = 0; (route = router_row(i)) != NULL; i++) {
        char target[40];
        snprintf(target, sizeof target, "%s?any", route->path);
        ANSWER answer = SEND(&client, .method = "OPTIONS", .target = target);
        assert_int_equal(answer.response.status, 204);
        assert_non_null(strstr(header_of(&answer, "Allow"), method_text(route->method)));
        assert_non_null(strstr(header_of(&answer, "Allow"), "OPTIONS"));
    }
    ANSWER all = SEND(&client, .method = "OPTIONS", .target = "*");
    assert_int_equal(all.response.status, 204);
    assert_header(&all, "Allow", "GET, HEAD, PUT, DELETE, POST, OPTIONS");
    ANSWER none = SEND(&client, .method = "OPTIONS", .target = "/nothing");
    assert_problem(&none, 404, "route-not-found");
    ANSWER star = get(&client, "*");
    assert_problem(&star, 404, "route-not-found");
}

static void head_comes_with_every_get(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER made = put(&client, "/keys/%7Bkey%7D", "v");
    const struct route *route;
    for (size_t i = 0; (route = router_row(i)) != NULL; i++) {
        if (route->method != METHOD_GET)
            continue;
        const char *target = strstr(route->path, "{code}") ? "/problems/busy" : route->path;
        ANSWER full = get(&client, target);
        ANSWER head = SEND(&client, .method = "HEAD", .target = target);
        bool unsupported = strncmp(target, "/admin/", 7) == 0; /* by this engine */
        assert_int_equal(full.response.status, unsupported ? 501 : 200);
        assert_int_equal(head.response.status, full.response.status);
        assert_int_equal(head.response.body_kind, RESPONSE_OMITTED);
        char type[100];
        snprintf(type, sizeof type, "%.60s", header_of(&full, "Content-Type"));
        assert_header(&head, "Content-Type", type);
        if (strcmp(route->path, "/metrics") != 0) /* counts the GET before it */
            assert_int_equal(head.response.body_bytes, full.response.body_bytes);
    }
}

static void every_path_has_one_number(void **state)
{
    (void)state;
    const struct route *route;
    for (size_t i = 0; (route = router_row(i)) != NULL; i++)
        assert_string_equal(router_path(router_path_index(route)), route->path);
    assert_string_equal(router_path(router_path_index(NULL)), "other");
    assert_int_equal(router_path_index(NULL), router_path_count() - 1);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("a path finds its row and tail", a_path_finds_its_row_and_tail),
        TEST("an unknown path is 404", an_unknown_path_is_404),
        TEST("a known method in the wrong place is 405 with Allow",
             a_known_method_in_the_wrong_place_is_405_with_allow),
        TEST("an unknown method is 501", an_unknown_method_is_501),
        TEST("OPTIONS is answered everywhere", options_is_answered_everywhere),
        TEST("HEAD comes with every GET", head_comes_with_every_get),
        TEST("every path has one number", every_path_has_one_number),
    };
    return test_main(argc, argv, "router", tests);
}
