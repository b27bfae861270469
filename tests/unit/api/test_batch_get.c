/* SPDX-License-Identifier: Apache-2.0 */
/* POST /batch/get, over the memory engine. */
#include "client.h"

static struct answer ask(struct client *client, const char *body)
{
    return SEND(client, .method = "POST", .target = "/batch/get", .body = bytes_of(body),
                .headers = {"Content-Type: application/json"});
}

static void items_come_in_the_order_asked_for(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER a = put(&client, "/keys/a/b", "text");
    ANSWER b = put(&client, "/keys/%ff", "\x01\xff");
    ANSWER items = ask(&client, "{\"keys\":[\"a/b\",{\"key_base64\":\"/w==\"},\"none\",\"a/b\"]}");
    assert_int_equal(items.response.status, 200);
    assert_header(&items, "Content-Type", "application/json");
    const char *at = items.body;
    static const char *const parts[] = {
        "{\"items\":[{\"key\":\"a/b\",\"href\":\"/keys/a/b\",\"etag\":\"",
        "\"size\":4,",
        "\"content_type\":\"application/octet-stream\",",
        "\"expires\":null,\"value\":\"text\"},{\"key_base64\":\"/w==\",\"href\":\"/keys/%FF\",",
        "\"value_base64\":\"Af8=\"},null,{\"key\":\"a/b\",",
    };
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        at = strstr(at, parts[i]);
        if (at == NULL)
            fail_msg("'%s' is not in its place in '%s'", parts[i], items.body);
    }
}

static void what_has_another_shape_is_422_and_named(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    static const struct {
        const char *body, *detail;
    } rows[] = {
        {"{}", "\"the body: "},
        {"[]", "\"the body: "},
        {"{\"keys\":\"a\"}", "\"/keys: "},
        {"{\"keys\":[]}", "\"/keys: "},
        {"{\"key\":[\"a\"]}", "\"/key: "},
        {"{\"keys\":[\"a\"],\"keys\":[\"b\"]}", "\"/keys: "},
        {"{\"keys\":[\"a\",7]}", "\"/keys/1: "},
        {"{\"keys\":[\"\"]}", "\"/keys/0: "},
        {"{\"keys\":[\"..\"]}", "\"/keys/0: "},
        {"{\"keys\":[{}]}", "\"/keys/0: "},
        {"{\"keys\":[{\"key\":\"a\"}]}", "\"/keys/0/key: "},
        {"{\"keys\":[{\"key_base64\":\"YQ\",\"key_base64\":\"YQ\"}]}", "\"/keys/0/key_base64: "},
        {"{\"keys\":[{\"key_base64\":\"*\"}]}", "\"/keys/0/key_base64: "},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        ANSWER refused = ask(&client, rows[i].body);
        assert_problem(&refused, 422, "bad-shape");
        assert_contains(refused.body, rows[i].detail);
    }
    ANSWER broken = ask(&client, "{\"keys\":[\"a\"");
    assert_problem(&broken, 400, "bad-json");
}

static void values_together_are_limited(void **state)
{
    (void)state;
    struct engine_options limits = engine_options_default();
    limits.value_bytes_max = 8;
    CLIENT client = client_open_with("memory:", (struct api_options){.loopback = true}, limits);
    ANSWER a = put(&client, "/keys/a", "1234");
    ANSWER b = put(&client, "/keys/b", "12345");
    ANSWER fits = ask(&client, "{\"keys\":[\"a\",\"a\"]}");
    assert_int_equal(fits.response.status, 200);
    ANSWER over = ask(&client, "{\"keys\":[\"a\",\"b\"]}");
    assert_problem(&over, 413, "batch-too-large");
    assert_contains(over.body, "\"limit\":8");
}

static void a_damaged_value_is_told_in_its_place(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:?fail=get:CORRUPT:2");
    ANSWER a = put(&client, "/keys/a", "1");
    ANSWER items = ask(&client, "{\"keys\":[\"a\",\"a\",\"a\"]}");
    assert_int_equal(items.response.status, 200);
    assert_contains(items.body, "\"value\":\"1\"},{\"key\":\"a\",\"href\":\"/keys/a\","
                                "\"error\":\"data-corrupt\"},{\"key\":\"a\"");
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("items come in the order asked for", items_come_in_the_order_asked_for),
        TEST("what has another shape is 422 and named", what_has_another_shape_is_422_and_named),
        TEST("values together are limited", values_together_are_limited),
        TEST("a damaged value is told in its place", a_damaged_value_is_told_in_its_place),
    };
    return test_main(argc, argv, "batch_get", tests);
}
