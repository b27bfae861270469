/* SPDX-License-Identifier: Apache-2.0 */
/* GET /keys and DELETE /keys?prefix=: pages, cursors, folding, fields, and what is refused. */
#include <jansson.h>

#include "client.h"

/* Puts each key, separated by spaces, with itself as its value. */
static void put_keys(struct client *client, const char *keys)
{
    AUTO_FREE char *copy = strdup(keys);
    for (char *rest = copy, *key; (key = strtok_r(rest, " ", &rest)) != NULL;) {
        char target[64];
        snprintf(target, sizeof target, "/keys/%s", key);
        ANSWER answer = put(client, target, key);
        assert_int_equal(answer.response.status, 201);
    }
}

/* A page as text: "key key [prefix prefix] ..." ; the dots when there is a next one. */
static const char *page_text(const struct answer *answer)
{
    static char text[8192];
    size_t used = 0, i;
    json_t *page = json_loads(answer->body, 0, NULL), *row;
    assert_int_equal(answer->response.status, 200);
    assert_non_null(page);
    json_array_foreach(json_object_get(page, "items"), i, row)
    {
        const char *key = json_string_value(json_object_get(row, "key"));
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s", used > 0 ? " " : "",
                                 key != NULL ? key : "?");
    }
    json_array_foreach(json_object_get(page, "prefixes"), i, row) used += (size_t)snprintf(
        text + used, sizeof text - used, "%s[%s]", used > 0 ? " " : "", json_string_value(row));
    bool more = json_object_get(page, "next") != NULL;
    assert_int_equal(more, header_of(answer, "Link")[0] != '\0');
    snprintf(text + used, sizeof text - used, "%s", more ? " ..." : "");
    json_decref(page);
    return text;
}

static void check_page(struct client *client, const char *target, const char *expected)
{
    ANSWER answer = get(client, target);
    assert_string_equal(page_text(&answer), expected);
}

/* The target of the page after this one, to be freed. */
static char *next_target(const struct answer *answer)
{
    char *target = NULL;
    json_t *page = json_loads(answer->body, 0, NULL);
    const char *next = json_string_value(json_object_get(page, "next"));
    assert_non_null(next);
    assert_true(asprintf(&target, "/keys?cursor=%s", next) > 0);
    json_decref(page);
    return target;
}

/* Follows the cursors: all pages as one text. */
static void check_pages(struct client *client, const char *target, const char *expected)
{
    char all[8192] = "";
    char *at = strdup(target);
    for (bool more = true; more;) {
        ANSWER answer = get(client, at);
        char *text = strdup(page_text(&answer)), *dots = strstr(text, " ...");
        more = dots != NULL;
        if (more)
            *dots = '\0';
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", all[0] != '\0' ? " | " : "",
                 text);
        free(text);
        free(at);
        at = more ? next_target(&answer) : NULL;
    }
    assert_string_equal(all, expected);
}

static void pages_follow_each_other_to_the_end(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    check_page(&client, "/keys", "");
    put_keys(&client, "b a d c e");
    check_page(&client, "/keys", "a b c d e");
    check_page(&client, "/keys?limit=5", "a b c d e");
    check_page(&client, "/keys?limit=4", "a b c d ...");
    check_pages(&client, "/keys?limit=2", "a b | c d | e");
    check_pages(&client, "/keys?limit=2&reverse", "e d | c b | a");
    check_pages(&client, "/keys?limit=1&start=b&end=d", "b | c");
    check_pages(&client, "/keys?limit=1&start=b&end=d&reverse=true", "c | b");
}

static void a_prefix_is_a_range(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    put_keys(&client, "a a/1 a/2 a0 b %ff %ff%ff %ff%ff1");
    check_page(&client, "/keys?prefix=a/", "a/1 a/2");
    check_page(&client, "/keys?prefix=a", "a a/1 a/2 a0");
    check_page(&client, "/keys?prefix=a&start=a/2", "a/2 a0");
    check_page(&client, "/keys?prefix=a&end=a/2&reverse", "a/1 a");
    check_page(&client, "/keys?prefix=%ff%ff", "? ?");
    check_page(&client, "/keys?prefix=c", "");
    check_page(&client, "/keys?prefix=b&end=a", "");
}

static void a_delimiter_folds_keys_into_prefixes(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    put_keys(&client, "a a/1 a/2 a/b/1 a/b/2 b/1 c");
    check_page(&client, "/keys?delimiter=/", "a c [a/] [b/]");
    check_page(&client, "/keys?delimiter=/&prefix=a/", "a/1 a/2 [a/b/]");
    check_pages(&client, "/keys?delimiter=/&limit=1", "a | [a/] | [b/] | c");
    check_pages(&client, "/keys?delimiter=/&limit=1&reverse", "c | [b/] | [a/] | a");
    check_pages(&client, "/keys?delimiter=/&prefix=a/&limit=2&reverse", "a/2 [a/b/] | a/1");
    check_page(&client, "/keys?delimiter=b/", "a a/1 a/2 c [a/b/] [b/]");
}

static void keys_that_are_no_utf8_and_odd_values_come_as_base64(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER stored =
        SEND(&client, .method = "PUT", .target = "/keys/%ff%2f%20", .body = {"\xfe\x01", 2});
    assert_int_equal(stored.response.status, 201);
    ANSWER answer = get(&client, "/keys?fields=value,size");
    assert_string_equal(answer.body,
                        "{\"items\":[{\"key_base64\":\"/y8g\",\"href\":\"/keys/%FF/%20\","
                        "\"size\":2,\"value_base64\":\"/gE=\"}],\"prefixes\":[]}\n");
}

static void an_item_tells_what_was_asked_for(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER stored = SEND(&client, .method = "PUT", .target = "/keys/k",
                         .headers = {"Content-Type: text/plain"}, .body = bytes_of("value"));
    ANSWER answer = get(&client, "/keys"), bare = get(&client, "/keys?fields=key"),
           value = get(&client, "/keys?fields=value,content_type");
    json_t *page = json_loads(answer.body, 0, NULL);
    const json_t *item = json_array_get(json_object_get(page, "items"), 0);
    assert_string_equal(json_string_value(json_object_get(item, "etag")),
                        header_of(&stored, "ETag"));
    assert_int_equal(json_integer_value(json_object_get(item, "size")), 5);
    assert_string_equal(json_string_value(json_object_get(item, "content_type")), "text/plain");
    assert_string_equal(json_string_value(json_object_get(item, "href")), "/keys/k");
    assert_int_equal(json_string_length(json_object_get(item, "modified")), 24);
    assert_true(json_is_null(json_object_get(item, "expires")));
    assert_null(json_object_get(item, "value"));
    json_decref(page);
    assert_string_equal(bare.body,
                        "{\"items\":[{\"key\":\"k\",\"href\":\"/keys/k\"}],\"prefixes\":[]}\n");
    assert_contains(value.body, "\"content_type\":\"text/plain\",\"value\":\"value\"");
}

static void a_page_of_large_values_ends_early(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    AUTO_FREE char *large = malloc(3 << 20);
    memset(large, 'x', 3 << 20);
    for (char key = 'a'; key <= 'e'; key++) {
        char target[16];
        snprintf(target, sizeof target, "/keys/%c", key);
        ANSWER stored = SEND(&client, .method = "PUT", .target = target, .body = {large, 3 << 20});
        assert_int_equal(stored.response.status, 201);
    }
    put_keys(&client, "f g");
    check_pages(&client, "/keys?fields=value", "a | b | c | d | e | f g");
    check_page(&client, "/keys", "a b c d e f g");
}

static void values_that_json_would_blow_up_are_base64(void **state)
{
    (void)state;
    static const struct {
        struct bytes value;
        const char *told;
    } cases[] = {{{"\t\r\n\x7f", 4}, "\"value\":\"\\t\\r\\n\x7f\""},
                 {{"a\0", 2}, "\"value_base64\":\"YQA=\""},
                 {{"\x1b[0m", 4}, "\"value_base64\":\"G1swbQ==\""},
                 {{"\xff", 1}, "\"value_base64\":\"/w==\""},
                 {{"", 0}, "\"value\":\"\""}};
    CLIENT client = client_open("memory:");
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        ANSWER stored = SEND(&client, .method = "PUT", .target = "/keys/k", .body = cases[i].value);
        assert_int_equal(stored.response.status / 100, 2);
        ANSWER page = get(&client, "/keys?fields=value");
        assert_contains(page.body, cases[i].told);
    }
}

/* Memory for JSON has a limit; what a slow reader holds of it comes back when it has read. */
static void answers_that_are_not_read_yet_leave_room_or_are_waited_for(void **state)
{
    (void)state;
    enum { VALUE_BYTES = 1 << 20, READERS = 8 };
    struct engine_options limits = engine_options_default();
    limits.value_bytes_max = VALUE_BYTES;
    CLIENT client = client_open_with("memory:", (struct api_options){.loopback = true}, limits);
    AUTO_FREE char *large = calloc(1, VALUE_BYTES);
    ANSWER stored =
        SEND(&client, .method = "PUT", .target = "/keys/k", .body = {large, VALUE_BYTES});
    assert_int_equal(stored.response.status, 201);
    struct answer readers[READERS];
    int count = 0;
    do {
        assert_true(count < READERS);
        readers[count] =
            SEND(&client, .method = "GET", .target = "/keys?fields=value", .slow = true);
    } while (readers[count++].response.status == 200);
    assert_true(count > 1);
    answer_read(&readers[--count]);
    ANSWER refused = get(&client, "/keys?fields=value");
    assert_problem(&refused, 503, "busy");
    ANSWER refused_too =
        SEND(&client, .method = "POST", .target = "/batch/get",
             .body = bytes_of("{\"keys\":[\"k\"]}"), .headers = {"Content-Type: application/json"});
    assert_problem(&refused_too, 503, "busy");
    check_page(&client, "/keys", "k"); /* which needs next to nothing */
    while (count > 0)
        answer_read(&readers[--count]);
    check_page(&client, "/keys?fields=value", "k");
}

/* ---- lines ---- */

#define LINES(client_, target_)                                                                    \
    SEND(client_, .method = "GET", .target = target_, .headers = {"Accept: application/x-ndjson"})

static void all_keys_come_as_lines_with_an_end(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER none = LINES(&client, "/keys");
    assert_string_equal(none.body, "{\"end\":true,\"count\":0}\n");
    put_keys(&client, "b a/1 a/2 c");
    ANSWER all = LINES(&client, "/keys?fields=key&limit=1");
    assert_int_equal(all.response.status, 200);
    assert_header(&all, "Content-Type", "application/x-ndjson");
    assert_string_equal(all.body, "{\"key\":\"a/1\",\"href\":\"/keys/a/1\"}\n"
                                  "{\"key\":\"a/2\",\"href\":\"/keys/a/2\"}\n"
                                  "{\"key\":\"b\",\"href\":\"/keys/b\"}\n"
                                  "{\"key\":\"c\",\"href\":\"/keys/c\"}\n"
                                  "{\"end\":true,\"count\":4}\n");
    ANSWER folded = LINES(&client, "/keys?fields=value&delimiter=/&reverse&start=a&end=c");
    assert_string_equal(folded.body, "{\"key\":\"b\",\"href\":\"/keys/b\",\"value\":\"b\"}\n"
                                     "{\"prefix\":\"a/\"}\n"
                                     "{\"end\":true,\"count\":2}\n");
}

static void a_stream_that_fails_has_no_end(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:?fail=scan:CORRUPT:2");
    put_keys(&client, "a b c");
    ANSWER answer = LINES(&client, "/keys?fields=key&limit=1");
    assert_int_equal(answer.response.status, 200);
    assert_true(answer.cut);
    assert_string_equal(answer.body, "{\"key\":\"a\",\"href\":\"/keys/a\"}\n");
    CLIENT refusing = client_open("memory:?fail=scan:CORRUPT:1");
    ANSWER refused = LINES(&refusing, "/keys");
    assert_problem(&refused, 500, "data-corrupt");
}

/* ---- refusals ---- */

static void check_refused(struct client *client, const char *target, unsigned status,
                          const char *code)
{
    ANSWER answer = get(client, target);
    if (answer.response.status != status)
        fail_msg("%s: %u", target, answer.response.status);
    assert_string_equal(answer.response.problem_code, code);
}

static void bad_parameters_are_refused(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    static const char *const bad[] = {"/keys?limit=0",
                                      "/keys?limit=1001",
                                      "/keys?limit=",
                                      "/keys?limit=-1",
                                      "/keys?limit=1x",
                                      "/keys?reverse=yes",
                                      "/keys?fields=",
                                      "/keys?fields=key,,size",
                                      "/keys?fields=value,",
                                      "/keys?fields=name",
                                      "/keys?limit=99999999999999999999"};
    for (size_t i = 0; i < COUNT_OF(bad); i++)
        check_refused(&client, bad[i], 400, "bad-parameter");
    check_refused(&client, "/keys?what=1", 400, "unknown-parameter");
    check_refused(&client, "/keys?limit=1&limit=1", 400, "repeated-parameter");
    char target[1200] = "/keys?prefix=";
    memset(target + strlen(target), 'x', 1025);
    check_refused(&client, target, 400, "bad-parameter");
}

static void cursors_are_refused_when_they_are_not_ours(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    put_keys(&client, "a b");
    ANSWER page = get(&client, "/keys?limit=1");
    AUTO_FREE char *target = next_target(&page), *with_more = NULL;
    assert_true(asprintf(&with_more, "%s&limit=1", target) > 0);
    check_refused(&client, with_more, 400, "bad-parameter");
    check_refused(&client, "/keys?cursor=", 400, "cursor-bad");
    check_refused(&client, "/keys?cursor=AAAA", 400, "cursor-bad");
    check_refused(&client, "/keys?cursor=%22", 400, "cursor-bad");
    for (size_t i = strlen("/keys?cursor="); i < strlen(target); i++) {
        AUTO_FREE char *changed = strdup(target);
        changed[i] = changed[i] == 'A' ? 'B' : 'A';
        check_refused(&client, changed, 400, "cursor-bad");
    }
    CLIENT other = client_open("memory:"); /* of another epoch */
    check_refused(&other, target, 410, "cursor-gone");
}

static void what_the_engine_refuses_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        unsigned status;
        const char *code;
    } cases[] = {{"memory:?state=loading", 503, "loading"},
                 {"memory:?fail=scan:BUSY", 503, "busy"},
                 {"memory:?fail=scan:CORRUPT", 500, "data-corrupt"},
                 {"memory:?fail=scan:NO_MEMORY", 507, "memory-full"}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        CLIENT client = client_open(cases[i].url);
        check_refused(&client, "/keys", cases[i].status, cases[i].code);
    }
}

/* ---- deleting ---- */

static struct answer delete (struct client *client, const char *target)
{
    return SEND(client, .method = "DELETE", .target = target);
}

static void keys_of_a_prefix_are_deleted_in_bounded_steps(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    put_keys(&client, "a/1 a/2 a/3 a/4 a/5 b");
    ANSWER none = delete (&client, "/keys"), empty = delete (&client, "/keys?prefix=");
    assert_problem(&none, 400, "bad-parameter");
    assert_problem(&empty, 400, "bad-parameter");
    ANSWER first = delete (&client, "/keys?prefix=a/&limit=3");
    assert_int_equal(first.response.status, 200);
    assert_contains(first.body, "{\"deleted\":3,\"next\":\"");
    check_page(&client, "/keys", "a/4 a/5 b");
    AUTO_FREE char *target = next_target(&first);
    ANSWER second = delete (&client, target);
    assert_string_equal(second.body, "{\"deleted\":2}\n");
    check_page(&client, "/keys", "b");
    ANSWER third = delete (&client, "/keys?prefix=a/");
    assert_string_equal(third.body, "{\"deleted\":0}\n");
}

static void a_refused_deletion_is_told(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:?fail=commit:READ_ONLY:2");
    put_keys(&client, "a/1");
    ANSWER answer = delete (&client, "/keys?prefix=a/");
    assert_problem(&answer, 503, "read-only");
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("pages follow each other to the end", pages_follow_each_other_to_the_end),
        TEST("a prefix is a range", a_prefix_is_a_range),
        TEST("a delimiter folds keys into prefixes", a_delimiter_folds_keys_into_prefixes),
        TEST("keys that are no UTF-8 and odd values come as base64",
             keys_that_are_no_utf8_and_odd_values_come_as_base64),
        TEST("an item tells what was asked for", an_item_tells_what_was_asked_for),
        TEST("a page of large values ends early", a_page_of_large_values_ends_early),
        TEST("values that JSON would blow up are base64",
             values_that_json_would_blow_up_are_base64),
        TEST("answers that are not read yet leave room, or are waited for",
             answers_that_are_not_read_yet_leave_room_or_are_waited_for),
        TEST("all keys come as lines, with an end", all_keys_come_as_lines_with_an_end),
        TEST("a stream that fails has no end", a_stream_that_fails_has_no_end),
        TEST("bad parameters are refused", bad_parameters_are_refused),
        TEST("cursors are refused when they are not ours",
             cursors_are_refused_when_they_are_not_ours),
        TEST("what the engine refuses is told", what_the_engine_refuses_is_told),
        TEST("keys of a prefix are deleted in bounded steps",
             keys_of_a_prefix_are_deleted_in_bounded_steps),
        TEST("a refused deletion is told", a_refused_deletion_is_told),
    };
    return test_main(argc, argv, "listing", tests);
}
