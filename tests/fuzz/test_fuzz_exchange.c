/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole exchanges over a store in memory, separated by 0x1e: a byte of flags, the target up to a
 * newline, fields a line each up to an empty line, the body. What is put comes back, HEAD tells what
 * GET does, and a refusal is one in every respect.
 */
#include <jansson.h>

#include "../lib/fuzz.h"
#include "../unit/api/client.h"

enum { FIELDS_MAX = 20, FIELD_BYTES_MAX = 3000, EXCHANGES_MAX = 8 };

static const char *const methods[] = {"GET",  "PUT",     "DELETE", "HEAD",
                                      "POST", "OPTIONS", "PATCH",  "get"};

struct message {
    struct request request;
    char *texts[FIELDS_MAX + 1];
    size_t text_count;
};

static bool is_field(const char *text)
{
    return strstr(text, ": ") != NULL;
}

static void read_message(struct fuzz_input *input, struct message *message)
{
    uint8_t flags = fuzz_byte(input);
    size_t fields = 0, bytes = 0;
    *message = (struct message){.request = {.method = methods[flags % 8],
                                            .chunked = (flags & 8) != 0,
                                            .bare = (flags & 16) != 0,
                                            .http_1_0 = (flags & 32) != 0,
                                            .gone = (flags & 64) != 0,
                                            .piece_bytes = (flags & 128) != 0 ? 3 : 0}};
    message->request.target = message->texts[message->text_count++] = fuzz_text(input, '\n');
    while (input->size > 0 && message->text_count <= FIELDS_MAX) {
        char *text = fuzz_text(input, '\n');
        message->texts[message->text_count++] = text;
        bytes += strlen(text) + 2;
        if (*text == '\0')
            break;
        if (is_field(text) && bytes < FIELD_BYTES_MAX)
            message->request.headers[fields++] = text;
    }
    message->request.body = fuzz_bytes(input, input->size);
}

static void free_message(struct message *message)
{
    while (message->text_count > 0)
        free(message->texts[--message->text_count]);
}

/* ---- what every answer must be ---- */

static bool has_control_bytes(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < ' ' && *text != '\t' && *text != '\n')
            return true;
    return false;
}

static void check_problem(const struct answer *answer, bool to_head)
{
    assert_header(answer, "Content-Type", "application/problem+json");
    if (to_head)
        return;
    json_t *body = json_loads(answer->body, 0, NULL);
    assert_non_null(body);
    assert_int_equal(json_integer_value(json_object_get(body, "status")), answer->response.status);
    assert_string_equal(json_string_value(json_object_get(body, "code")),
                        answer->response.problem_code);
    assert_true(json_string_length(json_object_get(body, "detail")) > 0);
    json_decref(body);
}

static void check_answer(const struct message *message, const struct answer *answer)
{
    unsigned status = answer->response.status;
    if (status == 0) { /* the client went away, or its body was cut */
        assert_true(answer->cut || message->request.gone);
        return;
    }
    assert_true(status >= 200 && status < 600);
    assert_int_equal(status >= 400, answer->response.problem_code != NULL);
    assert_false(has_control_bytes(answer->headers));
    if (answer->response.problem_code != NULL)
        check_problem(answer, strcmp(message->request.method, "HEAD") == 0);
}

/* ---- what goes together ---- */

static void check_same_by_head(struct client *client, const char *target)
{
    ANSWER got = get(client, target);
    ANSWER told = SEND(client, .method = "HEAD", .target = target);
    assert_int_equal(got.response.status, told.response.status);
    assert_int_equal(got.response.body_bytes, told.response.body_bytes);
    assert_string_equal(header_of(&told, "ETag"), header_of(&got, "ETag"));
    assert_true(told.response.body_kind == RESPONSE_OMITTED ||
                told.response.body_kind == RESPONSE_NONE || told.response.body_bytes == 0);
}

static void check_stored(struct client *client, const struct message *message)
{
    ANSWER got = get(client, message->request.target);
    assert_int_equal(got.response.status, 200);
    assert_int_equal(got.response.body_bytes, message->request.body.size);
    if (message->request.body.size > 0)
        assert_memory_equal(got.body, message->request.body.data, message->request.body.size);
    check_same_by_head(client, message->request.target);
}

static void exchange_one(struct client *client, struct fuzz_input *input)
{
    struct message message;
    read_message(input, &message);
    ANSWER answer = send_request(client, &message.request);
    check_answer(&message, &answer);
    unsigned status = answer.response.status;
    bool stored = strcmp(message.request.method, "PUT") == 0 && (status == 201 || status == 204);
    /* an absolute target needs a Host of its own; the others are asked for again by path */
    if (stored && message.request.target[0] == '/' && strchr(message.request.target, '?') == NULL)
        check_stored(client, &message);
    free_message(&message);
}

static void exchanges_are_answered(struct fuzz_input *input)
{
    static struct client client;
    if (client.api == NULL) {
        struct engine_options limits = engine_options_default();
        limits.value_bytes_max = 4096;
        limits.memory_bytes_max = 8 << 20;
        client = client_open_with("memory:", (struct api_options){.loopback = true}, limits);
    }
    for (int count = 0; input->size > 0 && count < EXCHANGES_MAX; count++) {
        const uint8_t *end = memchr(input->data, 0x1e, input->size);
        size_t bytes = end != NULL ? (size_t)(end - input->data) : input->size;
        struct bytes one = fuzz_bytes(input, bytes);
        exchange_one(&client, &(struct fuzz_input){one.data, one.size});
        fuzz_bytes(input, 1);
    }
}

FUZZ_TARGET("fuzz_exchange", "every exchange gets a whole answer, and what is put comes back",
            exchanges_are_answered)
