/* SPDX-License-Identifier: Apache-2.0 */
/* POST /batch, from its JSON to what is stored, over the memory engine. */
#include "client.h"

static struct answer batch(struct client *client, const char *body)
{
    return SEND(client, .method = "POST", .target = "/batch", .body = bytes_of(body),
                .headers = {"Content-Type: application/json"});
}

static void assert_value(struct client *client, const char *target, const char *value)
{
    ANSWER read = get(client, target);
    assert_int_equal(read.response.status, 200);
    assert_string_equal(read.body, value);
}

static void assert_absent(struct client *client, const char *target)
{
    ANSWER read = get(client, target);
    assert_int_equal(read.response.status, 404);
}

static void keep_etag(const struct answer *answer, char out_text[static 64])
{
    snprintf(out_text, 64, "%.60s", header_of(answer, "ETag"));
}

/* `text` with its quotes escaped. */
static const char *escaped(const char *text)
{
    static char out[128];
    char *next = out;
    for (; *text != '\0'; text++) {
        if (*text == '"')
            *next++ = '\\';
        *next++ = *text;
    }
    *next = '\0';
    return out;
}

static void each_operation_is_answered_in_order(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER old = put(&client, "/keys/old", "v");
    ANSWER doomed = put(&client, "/keys/doomed", "v");
    ANSWER done = batch(&client, "{\"ops\":[{\"op\":\"put\",\"key\":\"new\",\"value\":\"1\"},"
                                 "{\"key\":\"old\",\"value\":\"2\",\"op\":\"put\"},"
                                 "{\"op\":\"delete\",\"key\":\"doomed\"},"
                                 "{\"op\":\"delete\",\"key\":\"never was\"},"
                                 "{\"op\":\"check\",\"key\":\"other\",\"if_none_match\":\"*\"}]}");
    assert_int_equal(done.response.status, 200);
    assert_header(&done, "Content-Type", "application/json");
    struct engine_health health;
    engine_health(client.engine, &health);
    char expected[300];
    unsigned long epoch = (unsigned long)health.epoch;
    snprintf(expected, sizeof expected,
             "{\"results\":[{\"status\":201,\"etag\":\"\\\"%012lx-3\\\"\"},"
             "{\"status\":204,\"etag\":\"\\\"%012lx-4\\\"\"},{\"status\":204},{\"status\":404},"
             "{\"status\":200}]}\n",
             epoch, epoch);
    assert_string_equal(done.body, expected);
    assert_value(&client, "/keys/new", "1");
    assert_value(&client, "/keys/old", "2");
    assert_absent(&client, "/keys/doomed");
}

static void values_come_as_text_json_or_base64(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER done = batch(
        &client, " { \"ops\" : [ {\"op\":\"put\",\"key\":\"t\",\"value\":\"a\\u00e9\\n\"},\n"
                 "{\"op\":\"put\",\"key\":\"j\",\"json\": {\"b\": [1.10, 1e2],\t\"a\":null} },"
                 "{\"op\":\"put\",\"key\":\"n\",\"json\":12345678901234567890},"
                 "{\"op\":\"put\",\"key\":\"b\",\"value_base64\":\"AAEC/w==\"},"
                 "{\"op\":\"put\",\"key\":\"e\",\"value_base64\":\"\"},"
                 "{\"op\":\"put\",\"key_base64\":\"/wE\",\"value\":\"\"},"
                 "{\"op\":\"put\",\"key\":\"c\",\"value\":\"<p>\",\"content_type\":\"text/html\"}"
                 "] } ");
    assert_int_equal(done.response.status, 200);
    assert_value(&client, "/keys/t", "a\xc3\xa9\n");
    assert_value(&client, "/keys/j", "{\"b\": [1.10, 1e2],\t\"a\":null}");
    assert_value(&client, "/keys/n", "12345678901234567890");
    assert_value(&client, "/keys/e", "");
    assert_value(&client, "/keys/%ff%01", "");
    ANSWER text = get(&client, "/keys/t"), json = get(&client, "/keys/j");
    assert_header(&text, "Content-Type", "application/octet-stream");
    assert_header(&json, "Content-Type", "application/json");
    ANSWER html = get(&client, "/keys/c"), bytes = get(&client, "/keys/b");
    assert_header(&html, "Content-Type", "text/html");
    assert_int_equal(bytes.response.body_bytes, 4);
    assert_memory_equal(bytes.body, "\0\1\2\xff", 4);
}

static void a_text_may_hold_a_nul(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER done =
        batch(&client, "{\"ops\":[{\"op\":\"put\",\"key\":\"k\",\"value\":\"a\\u0000b\"}]}");
    assert_int_equal(done.response.status, 200);
    ANSWER read = get(&client, "/keys/k");
    assert_int_equal(read.response.body_bytes, 3);
    assert_memory_equal(read.body, "a\0b", 3);
}

static void a_failed_condition_applies_nothing_and_names_each_that_failed(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    char tag[64], body[900];
    ANSWER old = put(&client, "/keys/old", "v");
    keep_etag(&old, tag);
    snprintf(body, sizeof body,
             "{\"ops\":[{\"op\":\"put\",\"key\":\"new\",\"value\":\"1\"},"
             "{\"op\":\"put\",\"key\":\"old\",\"value\":\"2\",\"if_none_match\":\"%s\"},"
             "{\"op\":\"delete\",\"key\":\"gone\",\"if_match\":\"*\"},"
             "{\"op\":\"check\",\"key_base64\":\"/w==\",\"if_match\":\"*\"}]}",
             escaped(tag));
    ANSWER refused = batch(&client, body);
    assert_problem(&refused, 412, "precondition-failed");
    assert_header(&refused, "ETag", "");
    snprintf(body, sizeof body,
             "\"failed\":[{\"index\":1,\"key\":\"old\",\"etag\":\"%s\"},"
             "{\"index\":2,\"key\":\"gone\"},{\"index\":3,\"key_base64\":\"/w==\"}]}",
             escaped(tag));
    assert_contains(refused.body, body);
    assert_absent(&client, "/keys/new");
    assert_value(&client, "/keys/old", "v");
    snprintf(body, sizeof body,
             "{\"ops\":[{\"op\":\"put\",\"key\":\"new\",\"value\":\"1\",\"if_none_match\":\"*\"},"
             "{\"op\":\"delete\",\"key\":\"old\",\"if_match\":\"\\\"x\\\", %s\"}]}",
             escaped(tag));
    ANSWER applied = batch(&client, body);
    assert_int_equal(applied.response.status, 200);
    assert_value(&client, "/keys/new", "1");
    assert_absent(&client, "/keys/old");
}

static void a_key_may_be_checked_and_written(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    char tag[64], body[600];
    ANSWER old = put(&client, "/keys/k", "1");
    keep_etag(&old, tag);
    snprintf(body, sizeof body,
             "{\"ops\":[{\"op\":\"put\",\"key\":\"k\",\"value\":\"2\",\"if_match\":\"*\"},"
             "{\"op\":\"check\",\"key\":\"k\",\"if_match\":\"%s\"}]}",
             escaped(tag));
    ANSWER applied = batch(&client, body);
    assert_int_equal(applied.response.status, 200);
    char expected[200];
    snprintf(expected, sizeof expected, "},{\"status\":200,\"etag\":\"%s\"}]}\n", escaped(tag));
    assert_contains(applied.body, expected);
    assert_value(&client, "/keys/k", "2");
    ANSWER refused = batch(&client, body); /* the check fails now, the put's own condition holds */
    assert_problem(&refused, 412, "precondition-failed");
    assert_contains(refused.body, "\"failed\":[{\"index\":1,\"key\":\"k\",");
    assert_value(&client, "/keys/k", "2");
}

static void a_ttl_is_kept(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    int64_t before = time_source_system()->wall_ms(time_source_system());
    ANSWER done = batch(&client, "{\"ops\":[{\"op\":\"put\",\"key\":\"k\",\"value\":\"\","
                                 "\"ttl\":\"90s\"},{\"op\":\"put\",\"key\":\"l\",\"value\":\"\","
                                 "\"ttl\":\"2h\"},{\"op\":\"put\",\"key\":\"m\",\"value\":\"\"}]}");
    assert_int_equal(done.response.status, 200);
    int64_t after = time_source_system()->wall_ms(time_source_system());
    const struct {
        const char *key;
        int64_t ttl_ms;
    } rows[] = {{"k", 90000}, {"l", 7200000}};
    struct engine_item item = {0};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_int_equal(engine_head(client.engine, bytes_of(rows[i].key), &item), STATUS_OK);
        assert_in_range(item.expires_ms, before + rows[i].ttl_ms, after + rows[i].ttl_ms);
        engine_item_done(&item);
    }
    assert_int_equal(engine_head(client.engine, bytes_of("m"), &item), STATUS_OK);
    assert_int_equal(item.expires_ms, 0);
    engine_item_done(&item);
}

/* ---- refusals ---- */

#define OPS(operations) "{\"ops\":[" operations "]}"
#define PUT(members)    "{\"op\":\"put\",\"key\":\"k\"," members "}"

static void what_has_another_shape_is_422_and_named(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    static const struct {
        const char *body, *pointer;
    } rows[] = {
        {"[]", NULL},
        {"7", NULL},
        {"{}", NULL},
        {"{\"ops\":{}}", "/ops"},
        {"{\"ops\":[]}", "/ops"},
        {"{\"atomic\":true,\"ops\":[]}", "/atomic"},
        {OPS("7"), "/ops/0"},
        {OPS("{\"key\":\"k\"}"), "/ops/0/op"},
        {OPS("{\"op\":\"get\",\"key\":\"k\"}"), "/ops/0/op"},
        {OPS("{\"op\":\"delete\"}"), "/ops/0/key"},
        {OPS("{\"op\":\"delete\",\"key\":\"a\",\"key_base64\":\"YQ==\"}"), "/ops/0/key"},
        {OPS("{\"op\":\"delete\",\"key\":\"\"}"), "/ops/0/key"},
        {OPS("{\"op\":\"delete\",\"key\":7}"), "/ops/0/key"},
        {OPS("{\"op\":\"delete\",\"key\":\"a/../b\"}"), "/ops/0/key"},
        {OPS("{\"op\":\"delete\",\"key\":\"a\\u0000\"}"), "/ops/0/key"},
        {OPS("{\"op\":\"delete\",\"key_base64\":\"YQ=\"}"), "/ops/0/key_base64"},
        {OPS("{\"op\":\"delete\",\"key_base64\":\"AA==\"}"), "/ops/0/key_base64"},
        {OPS("{\"op\":\"delete\",\"key\":\"k\",\"value\":\"\"}"), "/ops/0/value"},
        {OPS("{\"op\":\"delete\",\"key\":\"k\",\"ttl\":\"1s\"}"), "/ops/0/ttl"},
        {OPS("{\"op\":\"check\",\"key\":\"k\"}"), "/ops/0"},
        {OPS("{\"op\":\"check\",\"key\":\"k\",\"if_match\":\"x\"}"), "/ops/0/if_match"},
        {OPS("{\"op\":\"check\",\"key\":\"k\",\"if_none_match\":\"\"}"), "/ops/0/if_none_match"},
        {OPS("{\"op\":\"put\",\"key\":\"k\"}"), "/ops/0/value"},
        {OPS(PUT("\"value\":1")), "/ops/0/value"},
        {OPS(PUT("\"value\":\"\",\"json\":1")), "/ops/0/value"},
        {OPS(PUT("\"value\":\"\",\"value\":\"\"")), "/ops/0/value"},
        {OPS(PUT("\"value_base64\":\"A\"")), "/ops/0/value_base64"},
        {OPS(PUT("\"value_base64\":\"A-*A\"")), "/ops/0/value_base64"},
        {OPS(PUT("\"value\":\"\",\"content_type\":\"a\\r\\nb\"")), "/ops/0/content_type"},
        {OPS(PUT("\"value\":\"\",\"content_type\":\"\"")), "/ops/0/content_type"},
        {OPS(PUT("\"value\":\"\",\"ttl\":\"60\"")), "/ops/0/ttl"},
        {OPS(PUT("\"value\":\"\",\"tll\":\"60s\"")), "/ops/0/tll"},
        {OPS(PUT("\"value\":\"\",\"a/~\\u00e9\":1")), "/ops/0/a~1~0??"},
        {OPS(PUT("\"value\":\"\"") ",{\"op\":\"delete\",\"key\":\"k\"}"), "/ops/1/key"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        ANSWER refused = batch(&client, rows[i].body);
        assert_problem(&refused, 422, "bad-shape");
        char member[100];
        snprintf(member, sizeof member, ",\"pointer\":\"%s\"",
                 rows[i].pointer != NULL ? rows[i].pointer : "");
        assert_true((strstr(refused.body, "\"pointer\"") != NULL) == (rows[i].pointer != NULL));
        if (rows[i].pointer != NULL)
            assert_contains(refused.body, member);
    }
    assert_absent(&client, "/keys/k");
}

static void a_key_is_checked_once_and_written_once(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
#define CHECK "{\"op\":\"check\",\"key\":\"k\",\"if_none_match\":\"*\"}"
#define WRITE "{\"op\":\"put\",\"key_base64\":\"aw==\",\"value\":\"\"}"
    static const struct {
        const char *body, *pointer;
    } rows[] = {
        {OPS(WRITE "," WRITE), "/ops/1/key"},
        {OPS(CHECK "," CHECK), "/ops/1/key"},
        {OPS(CHECK "," WRITE "," CHECK), "/ops/2/key"},
        {OPS(WRITE ",{\"op\":\"delete\",\"key\":\"a\"}," CHECK
                   ",{\"op\":\"delete\",\"key\":\"k\"}"),
         "/ops/3/key"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        ANSWER refused = batch(&client, rows[i].body);
        assert_problem(&refused, 422, "bad-shape");
        assert_contains(refused.body, rows[i].pointer);
    }
    assert_absent(&client, "/keys/k");
    ANSWER both = batch(&client, OPS(CHECK "," WRITE));
    assert_int_equal(both.response.status, 200);
}

static void what_is_no_json_is_400(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    static const char *const bodies[] = {
        "",
        " ",
        "{",
        "{\"ops\"",
        "{\"ops\":",
        "{\"ops\":[",
        "{\"ops\":[}",
        "{ops:[]}",
        "nul",
        "{\"ops\":[{\"op\":\"delete\",\"key\":\"k\"}],}",
        "{\"ops\" []}",
        "{\"ops\":[{\"op\":\"put}]}",
        "\xef\xbb\xbf{}",
        OPS(PUT("\"value\":\"\"")) "{}",
        OPS(PUT("\"value\":\"\"") ","),
        OPS(PUT("\"value\":\"\"") " " PUT("\"value\":\"\"")),
        OPS(PUT("\"value\":\"\xff\"")),
        OPS(PUT("\"value\":\"\\ud800\"")),
        OPS(PUT("\"json\":[1,]")),
        OPS(PUT("\"json\":01")),
        OPS(PUT("\"json\":1e999")),
        OPS(PUT("\"json\":")),
        OPS(PUT("\"value\":\"a\nb\"")),
    };
    for (size_t i = 0; i < COUNT_OF(bodies); i++) {
        ANSWER refused = batch(&client, bodies[i]);
        assert_problem(&refused, 400, "bad-json");
    }
    assert_absent(&client, "/keys/k");
}

static void nesting_is_bounded_before_parsing(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    char deep[1 << 20], body[200];
    memset(deep, '[', sizeof deep - 1);
    deep[sizeof deep - 1] = '\0';
    ANSWER brackets = batch(&client, deep);
    assert_problem(&brackets, 400, "bad-json");
    for (int depth = 29; depth <= 30; depth++) { /* three levels are the batch's own */
        snprintf(body, sizeof body, OPS(PUT("\"json\":%.*s%.*s")), depth, deep, depth,
                 "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]");
        ANSWER answer = batch(&client, body);
        assert_int_equal(answer.response.status, depth == 29 ? 200 : 400);
    }
    ANSWER quoted =
        batch(&client, OPS(PUT("\"value\":\"\\\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"")));
    assert_int_equal(quoted.response.status, 200);
}

static void only_json_is_taken(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    static const char *const refused[] = {"Content-Type: text/plain",
                                          "Content-Type: application/jsonx", "X-Other: none",
                                          "Content-Type:  "};
    static const char *const taken[] = {"Content-Type: application/json;charset=utf-8",
                                        "content-type: Application/JSON ; x=y"};
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        ANSWER answer = SEND(&client, .method = "POST", .target = "/batch",
                             .body = bytes_of(OPS(PUT("\"value\":\"\""))), .headers = {refused[i]});
        assert_int_equal(answer.verdict, API_REFUSE);
        assert_problem(&answer, 415, "media-type");
    }
    for (size_t i = 0; i < COUNT_OF(taken); i++) {
        ANSWER answer = SEND(&client, .method = "POST", .target = "/batch",
                             .body = bytes_of(OPS(PUT("\"value\":\"\""))), .headers = {taken[i]});
        assert_int_equal(answer.response.status, 200);
    }
    ANSWER bodiless = SEND(&client, .method = "POST", .target = "/batch",
                           .headers = {"Content-Type: application/json"});
    assert_problem(&bodiless, 400, "bad-json");
}

/* ---- limits ---- */

static char *many_deletes(unsigned count, const char *last)
{
    size_t size = 0;
    char *body = NULL;
    FILE *out = open_memstream(&body, &size);
    fputs("{\"ops\":[", out);
    for (unsigned i = 0; i < count; i++)
        fprintf(out, "{\"op\":\"delete\",\"key\":\"%u\"},", i);
    fprintf(out, "%s]}", last);
    fclose(out);
    return body;
}

static void a_thousand_operations_are_taken_and_not_one_more(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    AUTO_FREE char *most = many_deletes(999, PUT("\"value\":\"last\""));
    ANSWER taken = batch(&client, most);
    assert_int_equal(taken.response.status, 200);
    assert_value(&client, "/keys/k", "last");
    AUTO_FREE char *over = many_deletes(1000, PUT("\"value\":\"over\""));
    ANSWER refused = batch(&client, over);
    assert_problem(&refused, 413, "batch-too-large");
    assert_contains(refused.body, "\"limit\":1000");
    assert_value(&client, "/keys/k", "last");
}

static void values_together_may_reach_the_limit_and_not_pass_it(void **state)
{
    (void)state;
    struct engine_options limits = engine_options_default();
    limits.value_bytes_max = 8;
    CLIENT client = client_open_with("memory:", (struct api_options){.loopback = true}, limits);
    ANSWER fits = batch(&client, OPS(PUT("\"value\":\"1234\"") ",{\"op\":\"put\",\"key\":\"l\","
                                                               "\"value_base64\":\"MTIzNA==\"}"));
    assert_int_equal(fits.response.status, 200);
    ANSWER over = batch(&client, OPS(PUT("\"value\":\"12345\"") ",{\"op\":\"put\",\"key\":\"l\","
                                                                "\"value_base64\":\"MTIzNA==\"}"));
    assert_problem(&over, 413, "batch-too-large");
    assert_contains(over.body, "\"limit\":8");
    assert_value(&client, "/keys/k", "1234");
}

static void a_body_over_its_limit_is_refused(void **state)
{
    (void)state;
    struct engine_options limits = engine_options_default();
    limits.value_bytes_max = 8;
    CLIENT client = client_open_with("memory:", (struct api_options){.loopback = true}, limits);
    const size_t limit = (4 << 20) + 16;
    AUTO_FREE char *body = malloc(limit + 1);
    memset(body, ' ', limit + 1);
    memcpy(body, OPS(PUT("\"value\":\"\"")), strlen(OPS(PUT("\"value\":\"\""))));
    ANSWER fits =
        SEND(&client, .method = "POST", .target = "/batch", .body = {body, limit},
             .headers = {"Content-Type: application/json"}, .piece_bytes = 10000, .chunked = true);
    assert_int_equal(fits.response.status, 200);
    ANSWER announced =
        SEND(&client, .method = "POST", .target = "/batch", .body = {body, limit + 1},
             .headers = {"Content-Type: application/json"});
    assert_int_equal(announced.verdict, API_REFUSE);
    assert_problem(&announced, 413, "batch-too-large");
    ANSWER chunked =
        SEND(&client, .method = "POST", .target = "/batch", .body = {body, limit + 1},
             .headers = {"Content-Type: application/json"}, .piece_bytes = 10000, .chunked = true);
    assert_problem(&chunked, 413, "batch-too-large");
    ANSWER again = batch(&client, OPS(PUT("\"value\":\"\""))); /* what was charged is given back */
    assert_int_equal(again.response.status, 200);
}

static void json_of_too_many_values_is_refused(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    size_t size = 0;
    char *body = NULL;
    FILE *out = open_memstream(&body, &size);
    fputs("{\"ops\":[{\"op\":\"put\",\"key\":\"k\",\"json\":[0", out);
    for (int i = 0; i < 200000; i++)
        fputs(",0", out);
    fputs("]}]}", out);
    fclose(out);
    ANSWER refused = batch(&client, body);
    free(body);
    assert_problem(&refused, 413, "batch-too-large");
}

static void texts_together_are_bounded(void **state)
{
    (void)state;
    struct engine_options limits = engine_options_default();
    limits.value_bytes_max = 8;
    CLIENT client = client_open_with("memory:", (struct api_options){.loopback = true}, limits);
    static const struct api_header fields[] = {{"Host", "localhost"},
                                               {"Content-Type", "application/json"},
                                               {"Transfer-Encoding", "chunked"}};
    const size_t limit = (4 << 20) + 16;
    AUTO_FREE char *body = malloc(limit);
    memset(body, ' ', limit);
    struct exchange exchanges[3];
    struct response response;
    for (size_t i = 0; i < COUNT_OF(exchanges); i++)
        exchanges[i] = (struct exchange){.method = "POST",
                                         .target = "/batch",
                                         .http_1_1 = true,
                                         .headers = fields,
                                         .header_count = COUNT_OF(fields)};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(begin_exchange(&client, &exchanges[i], &response), API_BODY);
        assert_true(api_body(client.api, &exchanges[i], body, limit));
    }
    assert_int_equal(begin_exchange(&client, &exchanges[2], &response), API_REFUSE);
    assert_string_equal(response.problem_code, "busy");
    response_done(&response);
    struct api_result result = {0};
    for (size_t i = 0; i < COUNT_OF(exchanges); i++)
        end_exchange(&client, &exchanges[i], &result);
    ANSWER after = batch(&client, OPS(PUT("\"value\":\"\"")));
    assert_int_equal(after.response.status, 200);
}

static void an_engine_that_refuses_leaves_nothing_behind(void **state)
{
    (void)state;
    static const struct {
        const char *url, *code;
        unsigned status;
    } rows[] = {
        {"memory:?fail=value_open:NO_SPACE:2", "disk-full", 507},
        {"memory:?fail=commit:UNAVAILABLE:1", "write-not-applied", 503},
        {"memory:?fail=commit:UNKNOWN:1", "outcome-unknown", 504},
        {"memory:?fail=commit:TOO_LARGE:1", "batch-too-large", 413},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        CLIENT client = client_open(rows[i].url);
        ANSWER refused = batch(&client, OPS(PUT("\"value\":\"\"") ",{\"op\":\"put\",\"key\":\"l\","
                                                                  "\"value\":\"\"}"));
        assert_string_equal(refused.response.problem_code, rows[i].code);
        assert_int_equal(refused.response.status, rows[i].status);
        assert_absent(&client, "/keys/k");
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("each operation is answered in order", each_operation_is_answered_in_order),
        TEST("values come as text, JSON or base64", values_come_as_text_json_or_base64),
        TEST("a text may hold a NUL", a_text_may_hold_a_nul),
        TEST("a failed condition applies nothing and names each that failed",
             a_failed_condition_applies_nothing_and_names_each_that_failed),
        TEST("a key may be checked and written", a_key_may_be_checked_and_written),
        TEST("a ttl is kept", a_ttl_is_kept),
        TEST("what has another shape is 422 and named", what_has_another_shape_is_422_and_named),
        TEST("a key is checked once and written once", a_key_is_checked_once_and_written_once),
        TEST("what is no JSON is 400", what_is_no_json_is_400),
        TEST("nesting is bounded before parsing", nesting_is_bounded_before_parsing),
        TEST("only JSON is taken", only_json_is_taken),
        TEST("a thousand operations are taken and not one more",
             a_thousand_operations_are_taken_and_not_one_more),
        TEST("values together may reach the limit and not pass it",
             values_together_may_reach_the_limit_and_not_pass_it),
        TEST("a body over its limit is refused", a_body_over_its_limit_is_refused),
        TEST("JSON of too many values is refused", json_of_too_many_values_is_refused),
        TEST("texts together are bounded", texts_together_are_bounded),
        TEST("an engine that refuses leaves nothing behind",
             an_engine_that_refuses_leaves_nothing_behind),
    };
    return test_main(argc, argv, "batch", tests);
}
