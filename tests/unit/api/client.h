/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drives the api as the service does, over an engine opened by URL: one exchange per send(), its
 * answer copied out, everything released. The engine is the memory engine of the test build.
 */
#ifndef KEYREST_TESTS_UNIT_API_CLIENT_H
#define KEYREST_TESTS_UNIT_API_CLIENT_H

#include <strings.h>

#include "../../../api/api.h"
#include "../../lib/test.h"

struct client {
    struct engine *engine;
    struct api *api;
    bool draining;
    struct cancel cancel;
};

/* What to send: Host and Content-Length come by themselves unless `bare`. */
struct request {
    const char *method, *target;
    const char *headers[24]; /* "Name: value" */
    struct bytes body;
    size_t piece_bytes; /* of api_body's pieces; 0: the whole body at once */
    bool chunked, bare, http_1_0, target_has_nul, head_is_ambiguous;
    bool gone; /* the client goes away once the body is there */
    const char *refusal;
    uint64_t deadline_ns; /* 0: none */
    bool slow;            /* it has not read the answer's body yet: answer_read() */
};

struct answer {
    enum api_verdict verdict;
    bool cut; /* api_body said so, or a stream failed */
    struct response response;
    char *headers; /* "Name: value\n" each */
    char *body;    /* with a NUL behind */
};

static inline void answer_done(struct answer *answer)
{
    free(answer->headers);
    free(answer->body);
    *answer = (struct answer){0};
}

/* Released at the scope's end, also when a test looks at it no further. */
#define ANSWER __attribute__((cleanup(answer_done), unused)) struct answer

static inline struct client client_open_with(const char *url, struct api_options options,
                                             struct engine_options limits)
{
    struct client client = {0};
    struct failure failure = {0};
    limits.url = url;
    if (engine_open(&limits, &client.engine, &failure) != STATUS_OK)
        fail_msg("%s", failure.message);
    if (options.time == NULL)
        options.time = time_source_system();
    options.version = "1.2.3";
    if (options.batch_get_keys_max == 0)
        options.batch_get_keys_max = 512;
    if (options.wait_ms_max == 0)
        options.wait_ms_max = 60000;
    if (options.watchers_max == 0)
        options.watchers_max = 2;
    if (options.heartbeat_ms == 0)
        options.heartbeat_ms = 1;
    assert_int_equal(api_open(client.engine, &options, &client.api), STATUS_OK);
    return client;
}

static inline struct client client_open(const char *url)
{
    return client_open_with(url, (struct api_options){.loopback = true}, engine_options_default());
}

static inline void client_close(struct client *client)
{
    api_close(client->api);
    engine_close(client->engine);
}

#define CLIENT __attribute__((cleanup(client_close))) struct client

/* ---- one exchange ---- */

struct outgoing {
    struct api_header fields[26];
    size_t count;
    char texts[4096];
    size_t used;
};

static inline void add_field(struct outgoing *outgoing, const char *name, size_t name_bytes,
                             const char *value)
{
    char *room = outgoing->texts + outgoing->used;
    size_t bytes = name_bytes + strlen(value) + 2;
    assert_true(outgoing->used + bytes <= sizeof outgoing->texts);
    memcpy(room, name, name_bytes);
    room[name_bytes] = '\0';
    memcpy(room + name_bytes + 1, value, strlen(value) + 1);
    outgoing->fields[outgoing->count++] = (struct api_header){room, room + name_bytes + 1};
    outgoing->used += bytes;
}

static inline void add_fields(struct outgoing *outgoing, const struct request *request)
{
    char length[24];
    for (const char *const *field = request->headers; *field != NULL; field++) {
        const char *colon = strstr(*field, ": ");
        assert_non_null(colon);
        add_field(outgoing, *field, (size_t)(colon - *field), colon + 2);
    }
    if (request->bare)
        return;
    add_field(outgoing, "Host", 4, "localhost:7070");
    snprintf(length, sizeof length, "%zu", request->body.size);
    if (request->chunked)
        add_field(outgoing, "Transfer-Encoding", 17, "chunked");
    else if (request->body.data != NULL)
        add_field(outgoing, "Content-Length", 14, length);
}

/* In memory that holds the rest of another exchange, as a connection's does. */
static inline enum api_verdict begin_exchange(struct client *client, struct exchange *exchange,
                                              struct response *response)
{
    size_t bytes = api_exchange_bytes(exchange->target);
    exchange->memory = malloc(bytes);
    assert_non_null(exchange->memory);
    memset(exchange->memory, 0xa5, bytes);
    return api_begin(client->api, exchange, response);
}

static inline void end_exchange(struct client *client, struct exchange *exchange,
                                const struct api_result *result)
{
    api_end(client->api, exchange, result);
    assert_null(exchange->request);
    free(exchange->memory);
}

static inline bool feed(struct client *client, struct exchange *exchange,
                        const struct request *request)
{
    size_t piece = request->piece_bytes > 0 ? request->piece_bytes : request->body.size;
    for (size_t at = 0; at < request->body.size; at += piece) {
        size_t left = request->body.size - at;
        if (!api_body(client->api, exchange, (const char *)request->body.data + at,
                      left < piece ? left : piece))
            return false;
    }
    return true;
}

/* A stream of events ends with its client, which leaves when it has heard a heartbeat. */
static inline bool ends_with_heartbeat(const char *body, size_t size)
{
    if (size < 4 || strcmp(body + size - 2, "\n\n") != 0)
        return false;
    const char *block = body + size - 2;
    while (block > body && (block[-1] != '\n' || block[-2] != '\n'))
        block--;
    return *block == ':';
}

/* In pieces of a few bytes: what a stream says does not depend on how it is asked. */
static inline char *read_stream(struct response *response, bool *out_cut)
{
    char *body = NULL, piece[7];
    size_t size = 0;
    ssize_t got;
    FILE *out = open_memstream(&body, &size);
    while ((got = response->read(response->owner, piece, sizeof piece, UINT64_MAX)) > 0) {
        fwrite(piece, 1, (size_t)got, out);
        fflush(out);
        if (ends_with_heartbeat(body, size))
            break;
    }
    fclose(out);
    *out_cut = got == API_STREAM_FAILED;
    return body;
}

static inline void copy_answer(struct answer *answer)
{
    struct response *response = &answer->response;
    size_t size = 0;
    FILE *out = open_memstream(&answer->headers, &size);
    for (size_t i = 0; i < response->header_count; i++)
        fprintf(out, "%s: %s\n", response->headers[i].name, response->headers[i].value);
    fclose(out);
    if (response->body_kind == RESPONSE_STREAM) {
        answer->body = read_stream(response, &answer->cut);
        response->release(response->owner);
        response_done(response);
        return;
    }
    bool has_bytes =
        response->body_kind == RESPONSE_OWNED || response->body_kind == RESPONSE_STATIC;
    size_t bytes = has_bytes ? response->body_bytes : 0;
    answer->body = calloc(1, bytes + 1);
    if (bytes > 0)
        memcpy(answer->body, response->body, bytes);
    if (response->body_kind == RESPONSE_OWNED)
        response->release(response->owner);
    response_done(response);
}

/* The end of a slow client's answer. */
static inline void answer_read(struct answer *answer)
{
    if (answer->response.body_kind == RESPONSE_OWNED)
        answer->response.release(answer->response.owner);
    response_done(&answer->response);
}

static inline struct answer send_request(struct client *client, const struct request *request)
{
    struct outgoing outgoing = {.count = 0};
    struct answer answer = {0};
    add_fields(&outgoing, request);
    struct exchange exchange = {
        .method = request->method,
        .target = request->target,
        .target_has_nul = request->target_has_nul,
        .head_is_ambiguous = request->head_is_ambiguous,
        .http_1_1 = !request->http_1_0,
        .headers = outgoing.fields,
        .header_count = outgoing.count,
        /* far off, and there is room for what waiting adds */
        .deadline_ns = request->deadline_ns != 0 ? request->deadline_ns : UINT64_MAX / 2,
        .cancel = &client->cancel,
        .draining = client->draining,
        .refusal = request->refusal,
    };
    struct api_result result = {.duration_ns = 1000000, .received_bytes = request->body.size};
    answer.verdict = begin_exchange(client, &exchange, &answer.response);
    if (answer.verdict != API_REFUSE) {
        answer.cut = !feed(client, &exchange, request);
        if (!answer.cut && !request->gone)
            api_finish(client->api, &exchange, &answer.response);
    }
    result.status = answer.response.status;
    if (answer.response.status != 0 && !request->slow)
        copy_answer(&answer);
    end_exchange(client, &exchange, &result);
    return answer;
}

#define SEND(client, ...) send_request(client, &(struct request){__VA_ARGS__})

static inline struct answer get(struct client *client, const char *target)
{
    return SEND(client, .method = "GET", .target = target);
}

static inline struct answer put(struct client *client, const char *target, const char *value)
{
    return SEND(client, .method = "PUT", .target = target, .body = bytes_of(value));
}

/* ---- looking at the answer ---- */

/* The value of a header, as a view up to its newline copied to a static buffer; "" when absent. */
static inline const char *header_of(const struct answer *answer, const char *name)
{
    static char value[8192];
    size_t name_bytes = strlen(name);
    for (const char *line = answer->headers; line != NULL && *line != '\0';) {
        const char *end = strchr(line, '\n');
        if (strncasecmp(line, name, name_bytes) == 0 && line[name_bytes] == ':') {
            snprintf(value, sizeof value, "%.*s", (int)(end - line) - (int)name_bytes - 2,
                     line + name_bytes + 2);
            return value;
        }
        line = end + 1;
    }
    return "";
}

#define assert_header(answer, name, expected) assert_string_equal(header_of(answer, name), expected)

/* A refusal: status, code, JSON body that names both. */
#define assert_problem(answer, expected_status, code)                                              \
    do {                                                                                           \
        assert_non_null((answer)->response.problem_code);                                          \
        assert_string_equal((answer)->response.problem_code, code);                                \
        assert_int_equal((answer)->response.status, expected_status);                              \
        assert_header(answer, "Content-Type", "application/problem+json");                         \
        assert_non_null(strstr((answer)->body, "\"code\":\"" code "\""));                          \
        assert_non_null(strstr((answer)->body, "\"type\":\"/problems/" code "\""));                \
    } while (0)

#define assert_contains(text, part)                                                                \
    do {                                                                                           \
        if (strstr(text, part) == NULL)                                                            \
            fail_msg("'%s' is not in '%s'", part, text);                                           \
    } while (0)

#endif
