/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON bodies: the first byte chooses between /batch and /batch/get, the rest is the body. What is
 * applied is valid JSON to a parser that reads it as a whole, and is what that parser finds in it; what
 * is refused changes nothing.
 */
#include <jansson.h>

#include "../../api/base64.h"
#include "../lib/fuzz.h"
#include "../unit/api/client.h"

static struct client open_client(void)
{
    struct engine_options limits = engine_options_default();
    limits.value_bytes_max = 4096;
    limits.memory_bytes_max = 8 << 20;
    limits.batch_operations_max = 20;
    return client_open_with("memory:", (struct api_options){.loopback = true}, limits);
}

static json_t *parse(struct bytes text)
{
    return json_loadb(text.data, text.size,
                      JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL | JSON_DECODE_ANY, NULL);
}

/* A text member, or the bytes that its twin in base64 stands for; `buffer` has room for them. */
static struct bytes bytes_of_member(const json_t *object, const char *name, const char *base64_name,
                                    unsigned char *buffer)
{
    const json_t *text = json_object_get(object, name);
    const json_t *base64 = json_object_get(object, base64_name);
    struct bytes bytes = {json_string_value(text), json_string_length(text)};
    if (text == NULL)
        assert_true(base64_read(
            (struct bytes){json_string_value(base64), json_string_length(base64)}, buffer, &bytes));
    return bytes;
}

static void check_value(const json_t *operation, struct bytes stored)
{
    unsigned char buffer[8192];
    const json_t *json = json_object_get(operation, "json");
    if (json != NULL) {
        json_t *read = parse(stored);
        assert_true(json_equal(read, json));
        json_decref(read);
        return;
    }
    struct bytes value = bytes_of_member(operation, "value", "value_base64", buffer);
    assert_true(bytes_equal(value, stored));
}

/* A key is written once in a batch, so that what it says is what is there now. */
static void check_applied(struct client *client, const json_t *operation)
{
    unsigned char buffer[8192];
    const char *op = json_string_value(json_object_get(operation, "op"));
    struct bytes key = bytes_of_member(operation, "key", "key_base64", buffer);
    struct engine_item item = {0};
    if (strcmp(op, "check") == 0)
        return;
    enum status status = engine_get(client->engine, key, &item);
    bool expires = json_object_get(operation, "ttl") != NULL;
    if (strcmp(op, "delete") == 0 || (expires && status == STATUS_NOT_FOUND)) {
        assert_int_equal(status, STATUS_NOT_FOUND);
        return;
    }
    assert_int_equal(status, STATUS_OK);
    assert_int_equal(item.expires_ms != 0, expires);
    check_value(operation, item.value);
    engine_item_done(&item);
}

static uint64_t sequence_of(struct client *client)
{
    struct engine_health health;
    engine_health(client->engine, &health);
    return health.sequence;
}

static void check_problem(const struct answer *answer)
{
    static const char *const codes[] = {"bad-json", "bad-shape", "batch-too-large",
                                        "precondition-failed"};
    json_t *body = json_loads(answer->body, 0, NULL);
    bool known = false;
    assert_non_null(body);
    for (size_t i = 0; i < COUNT_OF(codes); i++)
        known |= strcmp(answer->response.problem_code, codes[i]) == 0;
    assert_true(known);
    assert_string_equal(json_string_value(json_object_get(body, "code")),
                        answer->response.problem_code);
    json_decref(body);
}

static void check_answer(struct client *client, bool is_get, struct bytes text,
                         const struct answer *answer)
{
    json_t *asked = parse(text);
    if (answer->response.status != 200) {
        check_problem(answer);
        assert_int_equal(sequence_of(client), 0);
        assert_true(asked != NULL || answer->response.status != 412);
        json_decref(asked);
        return;
    }
    assert_non_null(asked);
    const json_t *list = json_object_get(asked, is_get ? "keys" : "ops");
    json_t *told = json_loads(answer->body, 0, NULL);
    assert_int_equal(json_array_size(list),
                     json_array_size(json_object_get(told, is_get ? "items" : "results")));
    for (size_t i = 0; i < json_array_size(list) && !is_get; i++)
        check_applied(client, json_array_get(list, i));
    json_decref(told);
    json_decref(asked);
}

static void bodies_are_read(struct fuzz_input *input)
{
    CLIENT client = open_client();
    bool is_get = (fuzz_byte(input) & 1) != 0;
    struct bytes text = fuzz_bytes(input, input->size);
    ANSWER answer = SEND(&client, .method = "POST", .target = is_get ? "/batch/get" : "/batch",
                         .headers = {"Content-Type: application/json"}, .body = text);
    check_answer(&client, is_get, text, &answer);
}

FUZZ_TARGET("fuzz_batch", "a JSON body is applied as it says, or refused and changes nothing",
            bodies_are_read)
