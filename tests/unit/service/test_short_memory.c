/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server, api and memory engine in one process, whose first, second, ... allocation fails from
 * when a client connects until its answer is there, alone or with all that follow, the HTTP library's
 * and those of a new thread included. Each time the client gets a whole answer or a closed
 * connection, what an answer says of the key is true, and the next client is served.
 */
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "../../../api/api.h"
#include "../../../service/listener.h"
#include "../../../service/server.h"
#include "../../lib/short_memory.h"
#include "../../lib/test.h"
#include "../../lib/wire.h"

enum { ALLOCATIONS_MAX = 1000, VALUE_BYTES = 20000, PATIENCE_MS = 20000 };

/* ---- a service ---- */

struct fixture {
    struct engine *engine;
    struct api *api;
    struct listener listener;
    struct logger *logger;
    struct server *server;
    uint16_t port;
};

static struct fixture fixture;

static int set_up(void **state)
{
    (void)state;
    struct listener_address address;
    struct failure failure;
    struct engine_options limits = engine_options_default();
    struct api_options options = {.loopback = true, .version = "1", .time = time_source_system()};
    limits.url = "memory:";
    assert_int_equal(engine_open(&limits, &fixture.engine, &failure), STATUS_OK);
    assert_int_equal(api_open(fixture.engine, &options, &fixture.api), STATUS_OK);
    assert_int_equal(listener_parse("127.0.0.1:0", &address, &failure), STATUS_OK);
    assert_int_equal(listener_open(&address, &fixture.listener, &failure), STATUS_OK);
    fixture.port = (uint16_t)atoi(strrchr(fixture.listener.name, ':') + 1);
    fixture.logger = logger_open(STDERR_FILENO, LOGGER_FATAL, time_source_system());
    const struct server_options server = {
        .logger = fixture.logger,
        .time = time_source_system(),
        .listen_fd = fixture.listener.fd,
        .connections_max = 100,
        .connections_per_client_max = 50,
        .header_bytes_max = 24 << 10,
        .header_ms_max = 60000,
        .idle_ms_max = 60000,
        .request_ms_max = 60000,
        .body_bytes_per_second_min = 1024,
    };
    assert_int_equal(server_open(&server, &fixture.server), STATUS_OK);
    assert_int_equal(server_start(fixture.server, fixture.api, &failure), STATUS_OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    server_close(fixture.server);
    listener_close(&fixture.listener);
    logger_close(fixture.logger);
    api_close(fixture.api);
    engine_close(fixture.engine);
    return 0;
}

static uint64_t open_connections(void)
{
    struct api_figure rows[32];
    size_t count = server_figures(fixture.server, rows, COUNT_OF(rows));
    for (size_t i = 0; i < count; i++)
        if (strcmp(rows[i].name, "connections") == 0)
            return rows[i].value;
    fail_msg("connections are not counted");
    return 0;
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){0, ms * 1000000}, NULL);
}

static void wait_until_all_are_gone(void)
{
    for (int waited_ms = 0; open_connections() > 0; waited_ms++) {
        assert_true(waited_ms < PATIENCE_MS);
        pause_ms(1);
    }
}

/* ---- one request that fails at the `at`-th allocation ---- */

struct request {
    const char *method, *target, *headers;
    const char *body;
    size_t body_bytes;
    unsigned status; /* when there is memory */
};

/* Its status; 0: the connection was closed. */
static unsigned ask_without_memory(const struct request *request, size_t at, enum short_memory how,
                                   bool *out_failed)
{
    struct wire_response response = {0};
    short_memory_arm(at, how, true);
    struct wire *wire = wire_make(fixture.port);
    assert_non_null(wire);
    bool answered = wire_request(wire, request->method, request->target, request->headers,
                                 request->body, request->body_bytes, &response);
    *out_failed = short_memory_disarm();
    if (!answered)
        assert_true(wire_is_closed(wire));
    if (answered && response.status == 507)
        assert_non_null(strstr(response.body, "\"memory-full\""));
    wire_response_done(&response);
    wire_free(wire);
    return answered ? response.status : 0;
}

/* True: the key has the value; false: it is absent. Nothing else is allowed. */
static bool is_there(const char *value, size_t bytes)
{
    struct wire_response response;
    struct wire *wire = wire_make(fixture.port);
    assert_non_null(wire);
    assert_true(wire_request(wire, "GET", "/keys/k", "", NULL, 0, &response));
    if (response.status == 200) {
        assert_int_equal(response.body_bytes, bytes);
        assert_memory_equal(response.body, value, bytes);
    } else {
        assert_int_equal(response.status, 404);
    }
    wire_response_done(&response);
    wire_free(wire);
    return response.status == 200;
}

static char value[VALUE_BYTES];

static void make_key(bool present)
{
    const char *method = present ? "PUT" : "DELETE";
    unsigned status = wire_ask(fixture.port, method, "/keys/k", "", present ? value : NULL,
                               present ? sizeof value : 0, NULL);
    assert_true(status / 100 == 2 || status == 404);
}

static void check_each(const struct request *request, bool present, enum short_memory how)
{
    bool failed = true, put = strcmp(request->method, "PUT") == 0;
    for (size_t at = 0; failed; at++) {
        assert_true(at < ALLOCATIONS_MAX);
        make_key(present);
        wait_until_all_are_gone();
        unsigned status = ask_without_memory(request, at, how, &failed);
        if (status != 0 && status != 507)
            assert_int_equal(status, request->status);
        if (!failed)
            assert_int_equal(status, request->status);
        bool there = is_there(value, sizeof value), changes = put || request->status == 204;
        if (changes && status == request->status)
            assert_int_equal(there, put);
        else if (!changes || status == 507)
            assert_int_equal(there, present);
        assert_int_equal(wire_ask(fixture.port, "GET", "/livez", "", NULL, 0, NULL), 200);
    }
}

static void check(bool present, struct request request)
{
    memset(value, 'v', sizeof value);
    check_each(&request, present, SHORT_ONCE);
    check_each(&request, present, SHORT_FROM_THEN_ON);
    wait_until_all_are_gone();
}

/* ---- the promises ---- */

static void a_reader_gets_all_or_is_told(void **state)
{
    (void)state;
    check(true, (struct request){"GET", "/keys/k", "", NULL, 0, 200});
    check(true, (struct request){"GET", "/keys/k", "If-None-Match: *\r\n", NULL, 0, 304});
    check(false, (struct request){"GET", "/keys/k", "", NULL, 0, 404});
    check(false, (struct request){"GET", "/", "", NULL, 0, 200});
    check(false, (struct request){"GET", "/metrics", "", NULL, 0, 200});
}

static void a_write_is_applied_whole_or_not_at_all(void **state)
{
    (void)state;
    check(false, (struct request){"PUT", "/keys/k", "", value, sizeof value, 201});
    check(true, (struct request){"DELETE", "/keys/k", "", NULL, 0, 204});
    check(true,
          (struct request){"PUT", "/keys/k", "If-Match: \"x\"\r\n", value, sizeof value, 412});
}

/* Whoever says nothing is known to the reaper, or closed at once. */
static bool comes_to_be_held_or_closed(int fd)
{
    for (int waited_ms = 0; waited_ms < PATIENCE_MS; waited_ms++) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        if (open_connections() > 0 || poll(&poll_fd, 1, 1) == 1)
            return true;
    }
    return false;
}

static void a_silent_client_is_held_to_its_deadline_or_closed(void **state)
{
    (void)state;
    bool failed = true;
    for (size_t at = 0; failed; at++) {
        assert_true(at < ALLOCATIONS_MAX);
        wait_until_all_are_gone();
        short_memory_arm(at, SHORT_ONCE, true);
        struct wire *wire = wire_make(fixture.port);
        assert_non_null(wire);
        assert_true(comes_to_be_held_or_closed(wire->fd));
        wire_ask(fixture.port, "GET", "/livez", "", NULL, 0, NULL); /* past where it was accepted */
        failed = short_memory_disarm();
        wire_free(wire);
    }
    assert_int_equal(wire_ask(fixture.port, "GET", "/livez", "", NULL, 0, NULL), 200);
}

#define CASE(promise, function)                                                                    \
    {                                                                                              \
        promise, function, set_up, tear_down, NULL                                                 \
    }

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        CASE("a reader gets all or is told", a_reader_gets_all_or_is_told),
        CASE("a write is applied whole or not at all", a_write_is_applied_whole_or_not_at_all),
        CASE("a silent client is held to its deadline or closed",
             a_silent_client_is_held_to_its_deadline_or_closed),
    };
    return test_main(argc, argv, "short_memory", tests);
}
