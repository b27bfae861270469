/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole exchanges over a store in memory, separated by 0x1e: a byte of flags, the target up to a
 * newline, fields a line each up to an empty line, the body. An input that begins with `?` says up to
 * a newline how the engine fails (engine/memory/inject.h). In a field `@` stands for the last ETag.
 * What is put comes back, HEAD tells what GET does, and a refusal is one in every respect. The clock
 * stands still: nothing expires.
 */
#include <jansson.h>

#include "../../api/router.h"
#include "../../api/target.h"
#include "../lib/fuzz.h"
#include "../lib/manual_time.h"
#include "../unit/api/client.h"

enum { FIELDS_MAX = 20, FIELD_BYTES_MAX = 3000, EXCHANGES_MAX = 8, KEYS_MAX = 8 };

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

/* The text with every `@` replaced, in place of the text itself. */
static char *with_etag(char *text, const char *etag)
{
    char *out = malloc(strlen(text) * (strlen(etag) + 1) + 1), *next = out;
    for (const char *at = text; *at != '\0'; at++) {
        if (*at == '@')
            next = stpcpy(next, etag);
        else
            *next++ = *at;
    }
    *next = '\0';
    free(text);
    return out;
}

static void read_message(struct fuzz_input *input, const char *etag, struct message *message)
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
        char *text = with_etag(fuzz_text(input, '\n'), etag);
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

static bool has(const struct answer *answer, const char *name)
{
    return header_of(answer, name)[0] != '\0';
}

/* Fields are a line each, of a token and a value without control bytes, and none comes twice. */
static void check_headers(const struct answer *answer)
{
    char name[64], seen[4096] = "\n";
    for (const char *line = answer->headers; *line != '\0';) {
        const char *end = strchr(line, '\n');
        size_t size = strspn(line, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-");
        assert_true(size > 0 && size < sizeof name - 2 && strncmp(line + size, ": ", 2) == 0);
        for (const char *at = line + size; at < end; at++)
            assert_true((unsigned char)*at >= ' ' && *at != 0x7f);
        snprintf(name, sizeof name, "\n%.*s\n", (int)size, line);
        assert_null(strcasestr(seen, name));
        assert_true(strlen(seen) + size + 2 < sizeof seen);
        strcat(seen, name + 1);
        line = end + 1;
    }
    assert_null(strcasestr(seen, "\ncontent-length\n"));
    assert_non_null(strcasestr(seen, "\nrequest-id\n"));
}

static void check_problem_body(const struct answer *answer, const struct problem_row *row)
{
    const char *detail, *title, *code, *type;
    int status;
    json_t *body = json_loadb(answer->body, answer->response.body_bytes, 0, NULL);
    assert_non_null(body);
    assert_int_equal(json_unpack(body, "{s:s, s:s, s:s, s:s, s:i}", "detail", &detail, "title",
                                 &title, "code", &code, "type", &type, "status", &status),
                     0);
    assert_string_equal(code, row->code);
    assert_int_equal(status, row->status);
    assert_true(*detail != '\0' && *title != '\0');
    assert_true(strncmp(type, "/problems/", 10) == 0 && strcmp(type + 10, code) == 0);
    json_decref(body);
}

static void check_problem(const struct answer *answer, bool to_head)
{
    const struct response *response = &answer->response;
    enum problem_code code = problem_find(bytes_of(response->problem_code));
    assert_true(code != PROBLEM_NONE);
    assert_int_equal(problem_row(code)->status, response->status);
    assert_header(answer, "Content-Type", "application/problem+json");
    assert_int_equal(response->status == 405, has(answer, "Allow"));
    assert_true((response->status != 503 && response->status != 507) || has(answer, "Retry-After"));
    if (to_head)
        assert_header(answer, "Keyrest-Problem", response->problem_code);
    else
        check_problem_body(answer, problem_row(code));
}

static bool is_route(const char *path)
{
    for (size_t i = 0; i < router_path_count(); i++)
        if (router_path(i) != NULL && strcmp(router_path(i), path) == 0)
            return true;
    return false;
}

/* A probe that fails is no refusal: its text says which check did. */
static bool is_failed_probe(const struct response *response)
{
    bool probe = response->route[strlen(response->route) - 1] == 'z';
    return probe && response->status == 503 && response->problem_code == NULL;
}

static void check_answer(const struct request *request, const struct answer *answer)
{
    static const unsigned successes[] = {200, 201, 202, 204, 206, 304};
    const struct response *response = &answer->response;
    bool to_head = strcmp(request->method, "HEAD") == 0, succeeded = false;
    for (size_t i = 0; i < COUNT_OF(successes); i++)
        succeeded |= successes[i] == response->status;
    assert_true(succeeded || response->problem_code != NULL || is_failed_probe(response));
    assert_true(!succeeded || response->problem_code == NULL);
    assert_true(is_route(response->route));
    assert_true(answer->verdict != API_REFUSE || (response->close && !succeeded));
    check_headers(answer);
    if (to_head || response->status == 204 || response->status == 304)
        assert_true(response->body_kind == RESPONSE_NONE ||
                    response->body_kind == RESPONSE_OMITTED ||
                    (to_head && response->body_kind == RESPONSE_STREAM)); /* of no length */
    if (response->problem_code != NULL)
        check_problem(answer, to_head);
}

/* ---- what the values must be ---- */

/* One key, by its path as the service writes it. */
struct row {
    char *path;
    char etag[ETAG_BYTES];
    unsigned char *value;
    size_t size;
};

struct talk {
    struct manual_time time;
    struct client client;
    char etag[ETAG_BYTES]; /* the last one answered */
    bool unknown;          /* what the values are: the engine fails, or many keys were changed */
    struct row rows[KEYS_MAX];
    size_t row_count;
};

static void copy_etag(const struct answer *answer, char out[static ETAG_BYTES])
{
    const char *etag = header_of(answer, "ETag");
    assert_true(strlen(etag) < ETAG_BYTES);
    strcpy(out, etag);
}

static struct row *row_of(struct talk *talk, const char *path)
{
    for (size_t i = 0; i < talk->row_count; i++)
        if (strcmp(talk->rows[i].path, path) == 0)
            return &talk->rows[i];
    return NULL;
}

static void drop_row(struct talk *talk, struct row *row)
{
    free(row->path);
    free(row->value);
    *row = talk->rows[--talk->row_count];
}

/* Malloc'ed; NULL: the target names no key. Two spellings of a key are one. */
static char *path_of(const char *raw)
{
    struct target target;
    struct problem problem = {.code = PROBLEM_NONE};
    struct bytes tail, key;
    if (!target_read(raw, false, &target, &problem))
        return NULL;
    const struct route *route = router_find(target.path, &tail);
    if (route == NULL || strcmp(route->path, "/keys/{key}") != 0)
        return NULL;
    AUTO_FREE unsigned char *buffer = malloc(tail.size + 1);
    if (!target_read_key(tail, UINT16_MAX, buffer, &key, &problem))
        return NULL;
    char *path = calloc(1, strlen("/keys/") + 3 * key.size + 1);
    target_write_key(key, stpcpy(path, "/keys/"));
    return path;
}

static void check_given_back(const struct row *row, const struct answer *answer)
{
    assert_non_null(row);
    assert_header(answer, "Keyrest-Previous-ETag", row->etag);
    assert_int_equal(answer->response.body_bytes, row->size);
    assert_memory_equal(answer->body, row->value, row->size);
}

static void note_put(struct talk *talk, struct row *row, const char *path,
                     const struct request *request, const struct answer *answer)
{
    if (answer->response.status == 200)
        check_given_back(row, answer);
    else
        assert_int_equal(answer->response.status, row == NULL ? 201 : 204);
    if (row == NULL) {
        assert_header(answer, "Location", path);
        assert_true(talk->row_count < KEYS_MAX);
        row = &talk->rows[talk->row_count++];
        *row = (struct row){.path = strdup(path)};
    }
    free(row->value);
    row->value = fuzz_copy(request->body);
    row->size = request->body.size;
    assert_string_not_equal(row->etag, header_of(answer, "ETag"));
    copy_etag(answer, row->etag);
}

/* What Content-Range says is what comes. */
static void check_part(const struct row *row, const struct answer *answer)
{
    size_t first, last, size;
    assert_int_equal(
        sscanf(header_of(answer, "Content-Range"), "bytes %zu-%zu/%zu", &first, &last, &size), 3);
    assert_true(first <= last && last < size && size == row->size);
    assert_int_equal(answer->response.body_bytes, last - first + 1);
    assert_memory_equal(answer->body, row->value + first, last - first + 1);
}

static void check_value(const struct row *row, const struct answer *answer)
{
    assert_non_null(row);
    assert_header(answer, "ETag", row->etag);
    if (answer->response.status == 206) {
        check_part(row, answer);
        return;
    }
    assert_int_equal(answer->response.body_bytes, row->size);
    if (answer->response.body_kind == RESPONSE_STATIC ||
        answer->response.body_kind == RESPONSE_OWNED)
        assert_memory_equal(answer->body, row->value, row->size);
}

/* Whether other keys than the one that the target names, or in other ways than known here. */
static bool changes_elsewhere(const char *method, const char *route)
{
    return strcmp(route, "/keys/{key}") != 0 &&
           (strcmp(method, "DELETE") == 0 || strcmp(method, "PUT") == 0 ||
            strcmp(method, "POST") == 0);
}

static void check_model(struct talk *talk, const struct request *request,
                        const struct answer *answer)
{
    AUTO_FREE char *path = talk->unknown ? NULL : path_of(request->target);
    unsigned status = answer->response.status;
    const char *code = answer->response.problem_code;
    if (status < 300 && changes_elsewhere(request->method, answer->response.route))
        talk->unknown = true;
    if (path == NULL)
        return;
    struct row *row = row_of(talk, path);
    if (code != NULL && strcmp(code, "key-not-found") == 0)
        assert_null(row);
    if (strcmp(request->method, "PUT") == 0 && status < 300) {
        note_put(talk, row, path, request, answer);
    } else if (strcmp(request->method, "DELETE") == 0 && status < 300) {
        assert_non_null(row);
        if (status == 200)
            check_given_back(row, answer);
        drop_row(talk, row);
    } else if (status == 200 || status == 206 || status == 304) {
        check_value(row, answer);
    } else if (status == 412 && has(answer, "ETag")) {
        assert_non_null(row);
        assert_header(answer, "ETag", row->etag);
    }
}

/* ---- HEAD is GET without the body ---- */

static void skip_field(const char **line, const char *name)
{
    if (strncmp(*line, name, strlen(name)) == 0)
        *line = strchr(*line, '\n') + 1;
}

static void check_same(const struct answer *got, const struct answer *told)
{
    const char *a = got->headers, *b = told->headers;
    assert_int_equal(got->response.status, told->response.status);
    while (*a != '\0' || *b != '\0') {
        skip_field(&b, "Keyrest-Problem: ");
        skip_field(&a, "Request-Id: ");
        skip_field(&b, "Request-Id: ");
        size_t size = strcspn(a, "\n");
        assert_int_equal(strcspn(b, "\n"), size);
        assert_memory_equal(a, b, size);
        a += size + (a[size] == '\n');
        b += size + (b[size] == '\n');
    }
    if (strcmp(got->response.route, "/keys/{key}") == 0)
        assert_int_equal(got->response.body_bytes, told->response.body_bytes);
}

static void check_by_head(struct client *client, struct request request, const struct answer *got)
{
    if (got->response.status == 206 || got->response.status == 416)
        return; /* HEAD has no ranges */
    request.method = "HEAD";
    ANSWER told = send_request(client, &request);
    check_answer(&request, &told);
    check_same(got, &told);
}

/* ---- all of it ---- */

static void exchange_one(struct talk *talk, struct fuzz_input *input)
{
    struct message message;
    read_message(input, talk->etag, &message);
    const struct request *request = &message.request;
    ANSWER answer = send_request(&talk->client, request);
    if (answer.response.status == 0) { /* the client went away, or its body was cut */
        assert_true(answer.cut || request->gone);
    } else {
        check_answer(request, &answer);
        check_model(talk, request, &answer);
        if (strcmp(request->method, "GET") == 0 && !answer.cut && !talk->unknown)
            check_by_head(&talk->client, *request, &answer);
        if (has(&answer, "ETag"))
            copy_etag(&answer, talk->etag);
    }
    free_message(&message);
}

/* Small limits, so that small inputs reach them. False: there is no such failure. */
static bool open_talk(struct talk *talk, struct fuzz_input *input)
{
    struct engine_options limits = engine_options_default();
    struct api_options options = {.version = "1.2.3",
                                  .loopback = true,
                                  .batch_get_keys_max = 4,
                                  .watchers_max = 1,
                                  .wait_ms_max = 1,
                                  .time = &talk->time.source};
    struct failure failure = {0};
    bool fails = input->size > 0 && *input->data == '?';
    AUTO_FREE char *parameters = fails ? fuzz_text(input, '\n') : strdup("");
    AUTO_FREE char *url = NULL;
    assert_true(asprintf(&url, "memory:%s", parameters) > 0);
    limits.url = url;
    limits.key_bytes_max = 40;
    limits.meta_bytes_max = 60;
    limits.value_bytes_max = 100;
    *talk = (struct talk){.unknown = fails};
    manual_time_init(&talk->time);
    talk->time.look_ns = 1000000; /* a wait is over when it is looked at */
    limits.time = &talk->time.source;
    if (engine_open(&limits, &talk->client.engine, &failure) != STATUS_OK) {
        assert_true(fails && failure.message[0] != '\0');
        return false;
    }
    assert_int_equal(api_open(talk->client.engine, &options, &talk->client.api), STATUS_OK);
    return true;
}

static void exchanges_are_answered(struct fuzz_input *input)
{
    struct talk talk;
    if (!open_talk(&talk, input))
        return;
    for (int count = 0; input->size > 0 && count < EXCHANGES_MAX; count++) {
        const uint8_t *end = memchr(input->data, 0x1e, input->size);
        size_t bytes = end != NULL ? (size_t)(end - input->data) : input->size;
        struct bytes one = fuzz_bytes(input, bytes);
        exchange_one(&talk, &(struct fuzz_input){one.data, one.size});
        fuzz_bytes(input, 1);
    }
    client_close(&talk.client);
    while (talk.row_count > 0)
        drop_row(&talk, &talk.rows[0]);
}

FUZZ_TARGET("fuzz_exchange",
            "every exchange gets an answer of the contract, and what is put comes back",
            exchanges_are_answered)
