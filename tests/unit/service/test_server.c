/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server over real sockets, with an api of this file's own behind it: what it makes of a request
 * is written down in `seen`, what it answers goes by the target's words.
 */
#include "../../lib/test.h"
#include "../../lib/threads.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../../service/listener.h"
#include "../../../service/server.h"

enum { TEXT_BYTES = 1 << 16, BODY_BYTES_MAX = 100000 };

/* ---- the api behind the server ---- */

struct api {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    /* guarded by mutex */
    unsigned begun, finished, ended, released;
    bool waiting, go_on;
    unsigned last_status; /* of the last api_end */
    uint64_t last_received, last_sent;
    char target[1024], headers[TEXT_BYTES];
    bool target_has_nul, head_is_ambiguous, http_1_1;
};

struct api_request {
    size_t size;
    char body[BODY_BYTES_MAX];
};

static struct api seen;

static bool asks(const struct exchange *exchange, const char *word)
{
    return strstr(exchange->target, word) != NULL;
}

static void release_body(void *owner)
{
    free(owner);
    pthread_mutex_lock(&seen.mutex);
    seen.released++;
    pthread_cond_broadcast(&seen.changed);
    pthread_mutex_unlock(&seen.mutex);
}

static void answer_owned(struct response *response, const char *text, size_t size)
{
    char *copy = malloc(size + 1);
    assert_non_null(copy);
    memcpy(copy, text, size);
    response->body_kind = RESPONSE_OWNED;
    response->body = copy;
    response->body_bytes = size;
    response->release = release_body;
    response->owner = copy;
}

void api_refuse(struct api *api, const struct exchange *exchange, const char *problem_code,
                unsigned retry_after_s, struct response *out_response)
{
    (void)api, (void)exchange, (void)retry_after_s;
    *out_response = (struct response){.status = 503, .problem_code = problem_code};
    answer_owned(out_response, problem_code, strlen(problem_code));
}

void response_done(struct response *response)
{
    assert_null(response->texts);
}

size_t api_exchange_bytes(const char *target)
{
    (void)target;
    return 1;
}

enum api_verdict api_begin(struct api *api, struct exchange *exchange,
                           struct response *out_response)
{
    pthread_mutex_lock(&api->mutex);
    api->begun++;
    api->target_has_nul = exchange->target_has_nul;
    api->head_is_ambiguous = exchange->head_is_ambiguous;
    api->http_1_1 = exchange->http_1_1;
    snprintf(api->target, sizeof api->target, "%s", exchange->target);
    api->headers[0] = '\0';
    for (size_t i = 0, size = 0; i < exchange->header_count; i++)
        size += (size_t)snprintf(api->headers + size, sizeof api->headers - size, "%s=%s;",
                                 exchange->headers[i].name, exchange->headers[i].value);
    pthread_mutex_unlock(&api->mutex);
    if (exchange->refusal != NULL) {
        api_refuse(api, exchange, exchange->refusal, 0, out_response);
        out_response->close = true;
        return API_REFUSE;
    }
    if (asks(exchange, "refuse")) {
        api_refuse(api, exchange, "refused", 0, out_response);
        return API_REFUSE;
    }
    exchange->request = calloc(1, sizeof *exchange->request);
    assert_non_null(exchange->request);
    return strcmp(exchange->method, "PUT") == 0 ? API_BODY : API_NO_BODY;
}

bool api_body(struct api *api, struct exchange *exchange, const void *piece, size_t size)
{
    (void)api;
    struct api_request *request = exchange->request;
    if (request->size + size > BODY_BYTES_MAX)
        return false;
    memcpy(request->body + request->size, piece, size);
    request->size += size;
    return true;
}

static void wait_to_go_on(struct api *api, const struct exchange *exchange)
{
    pthread_mutex_lock(&api->mutex);
    api->waiting = true;
    pthread_cond_broadcast(&api->changed);
    while (!api->go_on && !cancel_fired(exchange->cancel)) {
        struct timespec soon;
        clock_gettime(CLOCK_REALTIME, &soon);
        soon.tv_nsec = (soon.tv_nsec + 1000000) % 1000000000;
        pthread_cond_timedwait(&api->changed, &api->mutex, &soon); /* cancel wakes nobody */
    }
    pthread_mutex_unlock(&api->mutex);
}

void api_finish(struct api *api, struct exchange *exchange, struct response *out_response)
{
    pthread_mutex_lock(&api->mutex);
    api->finished++;
    pthread_mutex_unlock(&api->mutex);
    *out_response = (struct response){.status = 200, .route = "other"};
    out_response->headers[out_response->header_count++] = (struct api_header){"X-Mark", "here"};
    out_response->close = asks(exchange, "close");
    if (asks(exchange, "wait"))
        wait_to_go_on(api, exchange);
    if (asks(exchange, "304"))
        out_response->status = 304;
    if (asks(exchange, "omit") || asks(exchange, "304")) {
        out_response->body_kind = RESPONSE_OMITTED;
        out_response->body_bytes = 12345;
    } else if (asks(exchange, "echo")) {
        answer_owned(out_response, exchange->request->body, exchange->request->size);
    } else if (!asks(exchange, "none")) {
        out_response->body_kind = RESPONSE_STATIC;
        out_response->body = "hello";
        out_response->body_bytes = 5;
    }
}

void api_end(struct api *api, struct exchange *exchange, const struct api_result *result)
{
    free(exchange->request);
    exchange->request = NULL;
    pthread_mutex_lock(&api->mutex);
    api->ended++;
    api->last_status = result->status;
    api->last_received = result->received_bytes;
    api->last_sent = result->sent_bytes;
    pthread_cond_broadcast(&api->changed);
    pthread_mutex_unlock(&api->mutex);
}

/* ---- the fixture ---- */

struct fixture {
    struct listener listener;
    struct logger *logger;
    struct server *server;
};

static struct fixture fixture;

static void start(uint64_t connections_max, uint64_t per_client_max)
{
    struct listener_address address;
    struct failure failure;
    assert_int_equal(listener_parse("127.0.0.1:0", &address, &failure), STATUS_OK);
    assert_int_equal(listener_open(&address, &fixture.listener, &failure), STATUS_OK);
    fixture.logger = logger_open(STDERR_FILENO, LOGGER_FATAL, time_source_system());
    const struct server_options options = {
        .logger = fixture.logger,
        .time = time_source_system(),
        .listen_fd = fixture.listener.fd,
        .connections_max = connections_max,
        .connections_per_client_max = per_client_max,
        .header_bytes_max = 24 << 10,
        .header_ms_max = 60000,
        .idle_ms_max = 60000,
        .request_ms_max = 60000,
        .body_bytes_per_second_min = 1024,
    };
    assert_int_equal(server_open(&options, &fixture.server), STATUS_OK);
    assert_int_equal(server_start(fixture.server, &seen, &failure), STATUS_OK);
}

static int setup(void **state)
{
    (void)state;
    seen = (struct api){.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    server_close(fixture.server);
    listener_close(&fixture.listener);
    logger_close(fixture.logger);
    return 0;
}

/* ---- a client ---- */

static int dial(void)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    assert_int_equal(getsockname(fixture.listener.fd, (struct sockaddr *)&address, &size), 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, size), 0);
    return fd;
}

static void send_bytes(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);
        if (sent <= 0)
            return; /* the server has cut: the test reads what came of it */
        bytes += sent;
        size -= (size_t)sent;
    }
}

static char reply[TEXT_BYTES];

/* Reads until `end` (NULL: the end of the stream) has come; returns how much. */
static size_t read_until(int fd, const char *end)
{
    size_t size = 0;
    reply[0] = '\0';
    while (size + 1 < sizeof reply && (end == NULL || strstr(reply, end) == NULL)) {
        ssize_t got = recv(fd, reply + size, sizeof reply - 1 - size, 0);
        if (got <= 0)
            break;
        size += (size_t)got;
        reply[size] = '\0';
    }
    return size;
}

/* Sends all and reads all until the server closes. */
static void talk(const char *bytes, size_t size)
{
    int fd = dial();
    send_bytes(fd, bytes, size);
    read_until(fd, NULL);
    close(fd);
}

#define TALK(literal) talk(literal, sizeof literal - 1)

static unsigned count_of(const char *text, const char *word)
{
    unsigned count = 0;
    for (const char *at = strstr(text, word); at != NULL; at = strstr(at + 1, word))
        count++;
    return count;
}

static void assert_reply_has(const char *word, unsigned times)
{
    if (count_of(reply, word) != times)
        fail_msg("'%s' is not %u times in:\n%s", word, times, reply);
}

/* Until api_end was called `ended` times. */
static void wait_for_end(unsigned ended)
{
    pthread_mutex_lock(&seen.mutex);
    while (seen.ended < ended)
        pthread_cond_wait(&seen.changed, &seen.mutex);
    pthread_mutex_unlock(&seen.mutex);
}

static void wait_for_waiter(void)
{
    pthread_mutex_lock(&seen.mutex);
    while (!seen.waiting)
        pthread_cond_wait(&seen.changed, &seen.mutex);
    pthread_mutex_unlock(&seen.mutex);
}

static void let_go_on(void)
{
    pthread_mutex_lock(&seen.mutex);
    seen.go_on = true;
    pthread_cond_broadcast(&seen.changed);
    pthread_mutex_unlock(&seen.mutex);
}

static char filler[1001];

/* ---- the promises ---- */

static void pipelined_requests_are_answered_in_order(void **state)
{
    (void)state;
    start(10, 0);
    TALK("GET /none HTTP/1.1\r\n\r\nGET /1 HTTP/1.1\r\n\r\nGET /close HTTP/1.1\r\n\r\n");
    assert_reply_has("HTTP/1.1 200 OK\r\n", 3);
    assert_reply_has("X-Mark: here\r\n", 3);
    assert_reply_has("Content-Length: 0\r\n", 1);
    assert_reply_has("Connection: close\r\n", 1);
    assert_reply_has("\r\n\r\nhello", 2);
}

static void a_refusal_without_a_body_keeps_the_connection(void **state)
{
    (void)state;
    start(10, 0);
    TALK("GET /refuse HTTP/1.1\r\n\r\nPUT /refuse HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
         "GET /close HTTP/1.1\r\n\r\n");
    assert_reply_has("HTTP/1.1 503", 2);
    assert_reply_has("HTTP/1.1 200 OK\r\n", 1);
    assert_int_equal(seen.finished, 1);
}

static void a_refusal_does_not_wait_for_the_body(void **state)
{
    (void)state;
    start(10, 0);
    TALK("PUT /refuse HTTP/1.1\r\nContent-Length: 1000000\r\n\r\n");
    assert_reply_has("HTTP/1.1 503", 1);
    assert_reply_has("Connection: close\r\n", 1);
    TALK("PUT /refuse HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_reply_has("HTTP/1.1 503", 1);
    assert_int_equal(seen.finished, 0);
}

static void continue_is_said_only_to_a_body_that_is_wanted(void **state)
{
    (void)state;
    start(10, 0);
    int fd = dial();
    static const char head[] = "PUT /echo-close HTTP/1.1\r\nExpect: 100-continue\r\n"
                               "Content-Length: 3\r\n\r\n";
    send_bytes(fd, head, sizeof head - 1);
    read_until(fd, "\r\n\r\n");
    assert_string_equal(reply, "HTTP/1.1 100 Continue\r\n\r\n");
    send_bytes(fd, "abc", 3);
    read_until(fd, NULL);
    assert_reply_has("\r\n\r\nabc", 1);
    close(fd);
    TALK("PUT /refuse HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    assert_reply_has("100 Continue", 0);
    assert_reply_has("HTTP/1.1 503", 1);
}

static void a_body_arrives_whole_however_it_is_framed(void **state)
{
    (void)state;
    start(10, 0);
    static char request[BODY_BYTES_MAX];
    size_t head =
        (size_t)sprintf(request, "PUT /echo-close HTTP/1.1\r\nContent-Length: 60000\r\n\r\n");
    for (size_t i = 0; i < 60000; i++)
        request[head + i] = (char)('a' + i % 26);
    talk(request, head + 60000);
    const char *body = strstr(reply, "\r\n\r\n");
    assert_non_null(body);
    assert_memory_equal(body + 4, request + head, 60000);
    wait_for_end(1);
    assert_int_equal(seen.last_received, 60000);
    assert_int_equal(seen.last_sent, 60000);
    TALK("PUT /echo-close HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
         "3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n");
    assert_reply_has("\r\n\r\nabcdefg", 1);
}

static void an_upload_that_breaks_off_is_never_finished(void **state)
{
    (void)state;
    start(10, 0);
    static const char half[] = "PUT /x HTTP/1.1\r\nContent-Length: 10\r\n\r\nabcde";
    int fd = dial();
    send_bytes(fd, half, sizeof half - 1);
    shutdown(fd, SHUT_WR);
    read_until(fd, NULL);
    close(fd);
    wait_for_end(1);
    assert_int_equal(seen.finished, 0);
    assert_int_equal(seen.last_status, 0);
    assert_int_equal(seen.last_received, 5);
}

static void a_body_that_api_gives_up_on_cuts_the_connection(void **state)
{
    (void)state;
    start(10, 0);
    static char request[2 * BODY_BYTES_MAX];
    size_t head = (size_t)sprintf(request, "PUT /x HTTP/1.1\r\nContent-Length: 10000000\r\n\r\n");
    talk(request, sizeof request - head);
    wait_for_end(1);
    assert_string_equal(reply, "");
    assert_int_equal(seen.finished, 0);
}

static void an_unasked_body_is_dropped_up_to_its_limit(void **state)
{
    (void)state;
    start(10, 0);
    TALK("GET /1 HTTP/1.1\r\nContent-Length: 5\r\n\r\nabcdeGET /close HTTP/1.1\r\n\r\n");
    assert_reply_has("HTTP/1.1 200 OK\r\n", 2);
    size_t size = API_IGNORED_BODY_BYTES_MAX + 100000;
    char *request = calloc(1, size);
    assert_non_null(request);
    sprintf(request, "GET /close HTTP/1.1\r\nContent-Length: %zu\r\n\r\n", 2 * size);
    talk(request, size);
    free(request);
    wait_for_end(3);
    assert_string_equal(reply, "");
    assert_int_equal(seen.finished, 2);
}

static void omitted_bodies_keep_their_true_length(void **state)
{
    (void)state;
    start(10, 0);
    TALK("HEAD /omit HTTP/1.1\r\n\r\nGET /304 HTTP/1.1\r\n\r\nHEAD /none-close HTTP/1.1\r\n\r\n");
    assert_reply_has("Content-Length: 12345\r\n", 2);
    assert_reply_has("HTTP/1.1 304", 1);
    assert_reply_has("Content-Length: 0\r\n", 1);
    wait_for_end(3);
    assert_int_equal(seen.last_sent, 0);
}

static void an_owned_body_is_released_once(void **state)
{
    (void)state;
    start(10, 0);
    TALK("PUT /echo HTTP/1.1\r\nContent-Length: 1\r\n\r\naGET /refuse HTTP/1.1\r\n\r\n"
         "PUT /refuse HTTP/1.1\r\nContent-Length: 5\r\n\r\n");
    assert_reply_has("HTTP/1.1", 3);
    server_stop(fixture.server);
    assert_int_equal(seen.ended, 3);
    assert_int_equal(seen.released, 3);
}

static void targets_arrive_raw(void **state)
{
    (void)state;
    start(10, 0);
    TALK("GET /close/a%00%2F+%zz?x=1&y=%26&close HTTP/1.1\r\n\r\n");
    assert_string_equal(seen.target, "/close/a%00%2F+%zz?x=1&y=%26&close");
    assert_false(seen.target_has_nul);
    TALK("GET   /close?a b HTTP/1.0\r\n\r\n");
    assert_string_equal(seen.target, "/close?a b");
    assert_false(seen.target_has_nul);
    assert_false(seen.http_1_1);
    TALK("GET /close\0/x?y HTTP/1.1\r\n\r\n");
    assert_true(seen.target_has_nul);
    TALK("GE\0T /close HTTP/1.1\r\n\r\n");
    assert_true(seen.target_has_nul);
    assert_true(seen.http_1_1);
    TALK("GET /close HTTP/1.2\r\n\r\n");
    assert_true(seen.http_1_1);
}

static void every_header_arrives_in_order(void **state)
{
    (void)state;
    start(10, 0);
    TALK("GET /close HTTP/1.1\r\nHost: a\r\nX: 1\r\nx: 2\r\nEmpty:\r\nHost: b\r\n\r\n");
    assert_string_equal(seen.headers, "Host=a;X=1;x=2;Empty=;Host=b;");
}

static void more_headers_than_fit_are_refused(void **state)
{
    (void)state;
    start(10, 0);
    char request[4096] = "GET / HTTP/1.1\r\n";
    for (int i = 0; i < 129; i++)
        strcat(request, "A: b\r\n");
    strcat(request, "\r\n");
    talk(request, strlen(request));
    assert_reply_has("headers-too-large", 1);
    assert_int_equal(seen.begun, 0);
    assert_int_equal(seen.ended, 0);
}

static void a_head_that_hides_something_is_told(void **state)
{
    (void)state;
#define HEAD(text)                                                                                 \
    {                                                                                              \
        text "\r\n\r\n", sizeof(text "\r\n\r\n") - 1                                               \
    }
    static const struct bytes heads[] = {
        HEAD("GET /close HTTP/1.1\r\nHost: a\0b"),
        HEAD("GET /close HTTP/1.1\r\nHost: a\0b\r\nX: c"),
        HEAD("GET /close HTTP/1.1\r\nHost: a\0"),
        HEAD("GET /close HTTP/1.1\r\nHost: a\0\r\nX: c"),
        HEAD("GET /close HTTP/1.1\r\nHost:\0 a"),
        HEAD("GET /close HTTP/1.1\0\r\nHost: a"),
        HEAD("GET /close HTTP/1.1\r\nHost: a\r\n b\r\nX: c"),
        HEAD("GET /close HTTP/1.1\r\nHost: a\r\nX: c\r\n\td"),
        HEAD("GET /close HTTP/1.1\r\nHost: a\r\n "),
        HEAD("GET /close HTTP/1.1\r\nHost: a\r\n: v\r\nX: c"),
        HEAD("GET /close HTTP/1.1\r\nHost: a\r\n:\r\nX: c"),
        HEAD("GET /close HTTP/1.1\nHost: a\n:\nX: c"),
    };
#undef HEAD
    start(10, 0);
    for (size_t i = 0; i < COUNT_OF(heads); i++) {
        seen.head_is_ambiguous = false;
        talk(heads[i].data, heads[i].size);
        if (!seen.head_is_ambiguous && strstr(reply, "200 OK") != NULL)
            fail_msg("taken: %s", (const char *)heads[i].data);
    }
}

/* The only one that looks like an end of the head: README, On a network. */
static void a_lone_colon_at_the_end_is_not_seen(void **state)
{
    (void)state;
    start(10, 0);
    TALK("GET /1 HTTP/1.1\r\nHost: a\r\n:\nGET /close HTTP/1.1\r\n\r\n");
    assert_reply_has("HTTP/1.1 200 OK\r\n", 2);
}

/* Appends fields to a head of which `room` bytes are left, and to what is expected of it. */
static size_t add_random_fields(char *head, size_t room, char *expected, uint64_t *random)
{
    static const char *const names[] = {"X", "Cookie", "Accept-Language", "Upgrade", "X-y_Z"};
    static const char *const ends[] = {"\r\n", "\n"};
    size_t size = 0, told = 0;
    unsigned fields = (unsigned)(threads_random(random) % 127);
    size_t longest = threads_random(random) % 3 == 0 ? 1000 : 100;
    for (unsigned i = 0; i < fields && room > size + longest + 100; i++) {
        const char *name = names[threads_random(random) % COUNT_OF(names)];
        int blanks = (int)(threads_random(random) % 3);
        int value = (int)(threads_random(random) % longest);
        size += (size_t)sprintf(head + size, "%s:%*s%.*s%s", name, blanks, "", value, filler,
                                ends[threads_random(random) % 8 == 0]);
        told += (size_t)sprintf(expected + told, "%s=%.*s;", name, value, filler);
    }
    return size;
}

static void heads_of_any_size_in_any_pieces_are_told_whole(void **state)
{
    (void)state;
    enum { HEADS = 300, HEAD_BYTES_MAX = 15000 };
    static char head[HEAD_BYTES_MAX + 1000], expected[TEXT_BYTES];
    uint64_t random = 42;
    const int on = 1;
    memset(filler, 'f', sizeof filler - 1);
    start(10, 0);
    int fd = dial();
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    for (int i = 0; i < HEADS; i++) {
        size_t size = (size_t)sprintf(head, "PUT /echo?%d HTTP/1.1\r\nContent-Length: 3\r\n", i);
        int told = sprintf(expected, "Content-Length=3;");
        size += add_random_fields(head + size, HEAD_BYTES_MAX - size, expected + told, &random);
        strcat(expected, "Last=;");
        size += (size_t)sprintf(head + size, "Last:\r\n\r\nabc");
        for (size_t at = 0, piece; at < size; at += piece) {
            piece = 1 + threads_random(&random) % (size - at);
            send_bytes(fd, head + at, piece);
        }
        read_until(fd, "\r\n\r\nabc");
        assert_reply_has("HTTP/1.1 200 OK\r\n", 1);
        assert_false(seen.head_is_ambiguous);
        assert_string_equal(seen.headers, expected);
    }
    close(fd);
}

/* Opens a connection that has been served once and stays. */
static int dial_and_stay(void)
{
    int fd = dial();
    static const char request[] = "GET /1 HTTP/1.1\r\n\r\n";
    send_bytes(fd, request, sizeof request - 1);
    read_until(fd, "hello");
    assert_reply_has("HTTP/1.1 200 OK\r\n", 1);
    return fd;
}

static uint64_t figure(const char *name)
{
    struct api_figure rows[32];
    size_t count = server_figures(fixture.server, rows, COUNT_OF(rows));
    for (size_t i = 0; i < count; i++)
        if (strcmp(rows[i].name, name) == 0)
            return rows[i].value;
    fail_msg("no figure %s", name);
    return 0;
}

static void connections_over_the_cap_are_told_so(void **state)
{
    (void)state;
    start(2, 0);
    int first = dial_and_stay(), second = dial_and_stay();
    TALK("GET /1 HTTP/1.1\r\n\r\n");
    assert_reply_has("HTTP/1.1 503", 1);
    assert_reply_has("Connection: close\r\n", 1);
    assert_reply_has("too-many-connections", 1);
    assert_int_equal(figure("connections_refused_total"), 1);
    assert_int_equal(seen.finished, 2);
    close(first);
    close(second);
}

static void a_clients_own_cap_is_kept(void **state)
{
    (void)state;
    start(10, 2);
    int first = dial_and_stay(), second = dial_and_stay();
    TALK("GET /1 HTTP/1.1\r\n\r\n");
    assert_reply_has("too-many-connections", 1);
    assert_int_equal(figure("connections_refused_client_total"), 1);
    assert_int_equal(figure("connections_refused_total"), 0);
    close(first);
    close(second);
}

static void a_quiesced_server_finishes_what_is_under_way(void **state)
{
    (void)state;
    start(10, 0);
    int fd = dial();
    static const char request[] = "GET /wait-close HTTP/1.1\r\n\r\n";
    send_bytes(fd, request, sizeof request - 1);
    wait_for_waiter();
    server_quiesce(fixture.server);
    assert_int_equal(server_busy(fixture.server), 1);
    let_go_on();
    read_until(fd, NULL);
    assert_reply_has("\r\n\r\nhello", 1);
    close(fd);
    wait_for_end(1);
    server_stop(fixture.server);
    assert_int_equal(server_busy(fixture.server), 0);
}

static void cancel_ends_a_wait(void **state)
{
    (void)state;
    start(10, 0);
    int fd = dial();
    static const char request[] = "GET /wait-close HTTP/1.1\r\n\r\n";
    send_bytes(fd, request, sizeof request - 1);
    wait_for_waiter();
    server_cancel(fixture.server);
    wait_for_end(1);
    close(fd);
}

#define CASE(promise, function)                                                                    \
    {                                                                                              \
        promise, function, setup, teardown, NULL                                                   \
    }

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        CASE("pipelined requests are answered in order", pipelined_requests_are_answered_in_order),
        CASE("a refusal without a body keeps the connection",
             a_refusal_without_a_body_keeps_the_connection),
        CASE("a refusal does not wait for the body", a_refusal_does_not_wait_for_the_body),
        CASE("continue is said only to a body that is wanted",
             continue_is_said_only_to_a_body_that_is_wanted),
        CASE("a body arrives whole, however it is framed",
             a_body_arrives_whole_however_it_is_framed),
        CASE("an upload that breaks off is never finished",
             an_upload_that_breaks_off_is_never_finished),
        CASE("a body that api gives up on cuts the connection",
             a_body_that_api_gives_up_on_cuts_the_connection),
        CASE("an unasked body is dropped, up to its limit",
             an_unasked_body_is_dropped_up_to_its_limit),
        CASE("omitted bodies keep their true length", omitted_bodies_keep_their_true_length),
        CASE("an owned body is released once", an_owned_body_is_released_once),
        CASE("targets arrive raw", targets_arrive_raw),
        CASE("every header arrives, in order", every_header_arrives_in_order),
        CASE("more headers than fit are refused", more_headers_than_fit_are_refused),
        CASE("a head that hides something is told", a_head_that_hides_something_is_told),
        CASE("a lone colon at the end is not seen", a_lone_colon_at_the_end_is_not_seen),
        CASE("heads of any size, in any pieces, are told whole",
             heads_of_any_size_in_any_pieces_are_told_whole),
        CASE("connections over the cap are told so", connections_over_the_cap_are_told_so),
        CASE("a client's own cap is kept", a_clients_own_cap_is_kept),
        CASE("a quiesced server finishes what is under way",
             a_quiesced_server_finishes_what_is_under_way),
        CASE("cancel ends a wait", cancel_ends_a_wait),
    };
    return test_main(argc, argv, "server", tests);
}
