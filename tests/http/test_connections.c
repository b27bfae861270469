/* SPDX-License-Identifier: Apache-2.0 */
/* Clients that are many, idle, slow or gone: the service goes on, and nothing half is stored. */
#include <sys/resource.h>
#include <sys/socket.h>

#include "../lib/served.h"
#include "../lib/wire.h"

enum { IDLE = 1000, LARGE_BYTES = 16 << 20, HALF_BYTES = 100000, TRIES = 1000 };

static uint16_t start(void **state, const char *const *arguments)
{
    return served_start(state, arguments)->server.port;
}

static unsigned get(uint16_t port, const char *target)
{
    return wire_ask(port, "GET", target, "", NULL, 0, NULL);
}

static unsigned get_on(struct wire *wire, const char *target)
{
    struct wire_response response;
    if (!wire_request(wire, "GET", target, "", NULL, 0, &response))
        return 0;
    wire_response_done(&response);
    return response.status;
}

/* Asks again until it is so: for what the server notices in its own time. */
static bool comes_to(uint16_t port, const char *target, unsigned status)
{
    for (int tries = 0; tries < TRIES; tries++) {
        if (get(port, target) == status)
            return true;
        pause_ms(10);
    }
    return false;
}

/* ---- many ---- */

static void a_thousand_idle_connections_are_held(void **state)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_cur < IDLE + 100)
        skip();
    uint16_t port = start(state, (const char *const[]){"--connections-max", "1100", "--idle-ms-max",
                                                       "10m", "--header-ms-max", "10m", NULL});
    static struct wire *idle[IDLE];
    for (int i = 0; i < IDLE; i++) {
        idle[i] = wire_make(port);
        assert_non_null(idle[i]);
        if (i % 2 == 0) /* half of them have asked something, half of them nothing */
            assert_int_equal(get_on(idle[i], "/livez"), 200);
    }
    for (int i = 0; i < 20; i++) {
        assert_int_not_equal(wire_ask(port, "PUT", "/keys/k", "", "v", 1, NULL), 0);
        assert_int_equal(get(port, "/keys/k"), 200);
    }
    for (int i = 0; i < IDLE; i++) {
        assert_int_equal(get_on(idle[i], "/keys/k"), 200);
        wire_free(idle[i]);
    }
}

static void one_connection_too_many_is_told(void **state, const char *setting)
{
    enum { MOST = 8 };
    uint16_t port = start(state, (const char *const[]){setting, "8", NULL});
    struct wire *wires[MOST];
    /* the start's own request may hold a place for a moment */
    for (int i = 0, tries = 0; i < MOST && tries < TRIES; tries++) {
        wires[i] = wire_make(port);
        assert_non_null(wires[i]);
        if (get_on(wires[i], "/livez") == 200) {
            i++;
        } else {
            wire_free(wires[i]);
            pause_ms(10);
        }
    }
    struct wire_response response;
    char retry[16];
    struct wire *extra = wire_make(port);
    assert_non_null(extra);
    assert_true(wire_request(extra, "GET", "/keys/k", "", NULL, 0, &response));
    assert_int_equal(response.status, 503);
    assert_non_null(strstr(response.body, "\"too-many-connections\""));
    assert_true(wire_header(&response, "Retry-After", retry, sizeof retry));
    wire_response_done(&response);
    assert_true(wire_is_closed(extra));
    wire_free(extra);
    extra = wire_make(port);
    assert_non_null(extra);
    assert_int_equal(get_on(extra, "/livez"), 200); /* the process does live */
    assert_true(wire_is_closed(extra));
    wire_free(extra);
    for (int i = 0; i < MOST; i++) {
        assert_int_equal(get_on(wires[i], "/livez"), 200); /* those within go on */
        wire_free(wires[i]);
    }
    assert_true(comes_to(port, "/livez", 200));
}

static void one_connection_over_the_cap_is_told(void **state)
{
    one_connection_too_many_is_told(state, "--connections-max");
}

static void one_connection_over_a_clients_cap_is_told(void **state)
{
    one_connection_too_many_is_told(state, "--connections-per-client-max");
}

/* ---- slow ---- */

static const char *const impatient[] = {
    "--header-ms-max", "300ms", "--idle-ms-max", "300ms", "--body-bytes-per-second-min",
    "100MiB",          NULL};

static void a_head_that_does_not_end_is_cut(void **state)
{
    uint16_t port = start(state, impatient);
    struct wire *wire = wire_make(port);
    assert_non_null(wire);
    assert_true(wire_print(wire, "GET /livez HTTP/1.1\r\nHost: local"));
    assert_true(wire_is_closed(wire));
    wire_free(wire);
}

/* Sends a byte now and then until the other side has had enough. */
static bool dribble(struct wire *wire)
{
    for (int sent = 0; sent < TRIES; sent++) {
        if (!wire_send(wire, "x", 1))
            return true;
        pause_ms(20);
    }
    return false;
}

static void a_head_that_dribbles_is_cut(void **state)
{
    uint16_t port = start(state, impatient);
    struct wire *wire = wire_make(port);
    assert_non_null(wire);
    assert_true(wire_print(wire, "GET /livez HTTP/1.1\r\nX: "));
    assert_true(dribble(wire));
    wire_free(wire);
}

static void a_body_that_dribbles_is_cut_and_not_stored(void **state)
{
    uint16_t port = start(state, impatient);
    struct wire *wire = wire_make(port);
    assert_non_null(wire);
    assert_true(wire_print(wire, "PUT /keys/slow HTTP/1.1\r\nHost: localhost\r\n"
                                 "Content-Length: 100000\r\n\r\n"));
    assert_true(dribble(wire));
    wire_free(wire);
    assert_int_equal(get(port, "/keys/slow"), 404);
}

static void an_idle_connection_is_closed(void **state)
{
    uint16_t port = start(state, impatient);
    struct wire *asked = wire_make(port), *silent = wire_make(port);
    assert_true(asked != NULL && silent != NULL);
    assert_int_equal(get_on(asked, "/livez"), 200);
    assert_true(wire_is_closed(asked));
    assert_true(wire_is_closed(silent));
    wire_free(asked);
    wire_free(silent);
}

/* An impatient server on a busy machine may cut even this client: what is cut is not stored. */
static void put_large(uint16_t port)
{
    char *value = malloc(LARGE_BYTES);
    unsigned status = 0;
    memset(value, 'v', LARGE_BYTES);
    for (int tries = 0; tries < 50 && status == 0; tries++)
        status = wire_ask(port, "PUT", "/keys/large", "", value, LARGE_BYTES, NULL);
    assert_int_equal(status, 201);
    free(value);
}

/* What arrives when a little is read for a while, and then all that is left. */
static size_t read_slowly(struct wire *wire)
{
    size_t total = 0;
    for (int reads = 0;; reads++) {
        ssize_t got = recv(wire->fd, wire->buffer, reads < 100 ? 100 : WIRE_BUFFER_BYTES, 0);
        if (got <= 0)
            return total;
        total += (size_t)got;
        if (reads < 100)
            pause_ms(15);
    }
}

static void an_answer_that_is_not_taken_is_cut(void **state)
{
    uint16_t port = start(state, impatient);
    int receive_bytes = 64 << 10; /* so that most of it waits in the service */
    put_large(port);
    struct wire *wire = wire_make(port);
    assert_non_null(wire);
    setsockopt(wire->fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
    assert_true(wire_print(wire, "GET /keys/large HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    assert_true(read_slowly(wire) < LARGE_BYTES);
    wire_free(wire);
    assert_int_equal(get(port, "/livez"), 200);
}

static uint64_t metric(uint16_t port, const char *name)
{
    char *metrics = NULL, line[80];
    uint64_t value = UINT64_MAX;
    snprintf(line, sizeof line, "\n%s ", name);
    assert_int_equal(wire_ask(port, "GET", "/metrics", "", NULL, 0, &metrics), 200);
    const char *found = strstr(metrics, line);
    if (found != NULL)
        value = strtoull(found + strlen(line), NULL, 10);
    free(metrics);
    return value;
}

static bool comes_into_a_table(uint16_t port, uint64_t bytes)
{
    for (int tries = 0; tries < TRIES && metric(port, "keyrest_table_live_bytes") < bytes; tries++)
        pause_ms(10);
    return metric(port, "keyrest_table_live_bytes") >= bytes;
}

/* The head and the first bytes only: the rest waits in the service. */
static struct wire *begin_get_large(uint16_t port)
{
    int receive_bytes = 64 << 10;
    struct wire *wire = wire_make(port);
    assert_non_null(wire);
    setsockopt(wire->fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
    assert_true(wire_print(wire, "GET /keys/large HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    while (wire->end == 0)
        wire->end = (size_t)recv(wire->fd, wire->buffer, 1000, 0);
    return wire;
}

static void large_answers_stay_whole_and_in_order_when_asked_at_once(void **state)
{
    enum { BYTES = 1 << 20, VALUES = 4 };
    uint16_t port = start(state, NULL);
    char *value = malloc(BYTES), target[16];
    struct wire *wire = wire_make(port);
    assert_non_null(wire);
    for (int i = 0; i < VALUES; i++) {
        memset(value, 'a' + i, BYTES);
        assert_true(wire_print(wire,
                               "PUT /keys/%d HTTP/1.1\r\nHost: localhost\r\n"
                               "Content-Length: %d\r\n\r\n",
                               i, BYTES));
        assert_true(wire_send(wire, value, BYTES));
    }
    free(value);
    for (int i = 0; i < VALUES; i++)
        assert_true(wire_print(wire, "GET /keys/%d HTTP/1.1\r\nHost: localhost\r\n\r\n", i));
    for (int i = 0; i < 2 * VALUES; i++) {
        struct wire_response response;
        bool got = i >= VALUES;
        assert_true(wire_read(wire, false, &response));
        assert_int_equal(response.status, got ? 200 : 201);
        snprintf(target, sizeof target, "/keys/%d", i);
        assert_true(got || strstr(response.head, target) != NULL);
        assert_int_equal(response.body_bytes, got ? BYTES : 0);
        for (size_t at = 0; at < response.body_bytes; at++)
            if (response.body[at] != 'a' + i - VALUES)
                fail_msg("answer %d: byte %zu is %d", i, at, response.body[at]);
        wire_response_done(&response);
    }
    wire_free(wire);
}

/* ---- heads ---- */

/* `text` with a header of so many letters. */
static char *header_of(const char *name, size_t letters, char text[static 64 << 10])
{
    int size = snprintf(text, 64, "%s: ", name);
    memset(text + size, 'h', letters);
    memcpy(text + (size_t)size + letters, "\r\n", 3);
    return text;
}

static void a_head_may_be_as_large_as_its_setting(void **state)
{
    static char text[64 << 10];
    uint16_t port = start(state, (const char *const[]){"--header-bytes-max", "32KiB",
                                                       "--meta-bytes-max", "16KiB", NULL});
    header_of("Content-Disposition", 15 << 10, text);
    assert_int_equal(wire_ask(port, "PUT", "/keys/k", text, "v", 1, NULL), 201);
    header_of("X", 31 << 10, text); /* and all that was kept finds room in the answer */
    assert_int_equal(wire_ask(port, "GET", "/keys/k", text, NULL, 0, NULL), 200);
    header_of("X", 33 << 10, text);
    assert_int_equal(wire_ask(port, "GET", "/keys/k", text, NULL, 0, NULL), 431);
}

/* ---- half-open: the client sends no more, and still listens ---- */

static void say_and_end(uint16_t port, const char *text, unsigned answers, unsigned status)
{
    struct wire *wire = wire_make(port);
    struct wire_response response;
    assert_non_null(wire);
    assert_true(wire_print(wire, "%s", text));
    assert_int_equal(shutdown(wire->fd, SHUT_WR), 0);
    for (unsigned i = 0; i < answers; i++) {
        assert_true(wire_read(wire, false, &response));
        assert_int_equal(response.status, status);
        wire_response_done(&response);
    }
    assert_true(wire_is_closed(wire));
    wire_free(wire);
}

#define GET_LIVE "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"
#define PUT_HALF "PUT /keys/half HTTP/1.1\r\nHost: localhost\r\n"

static void a_half_open_client_is_answered(void **state)
{
    uint16_t port = start(state, NULL);
    say_and_end(port, GET_LIVE, 1, 200);
    say_and_end(port, GET_LIVE GET_LIVE GET_LIVE, 3, 200);
    say_and_end(port, PUT_HALF "Content-Length: 5\r\n\r\nwhole", 1, 201);
    assert_int_equal(get(port, "/keys/half"), 200);
}

static void half_a_request_of_a_half_open_client_does_nothing(void **state)
{
    uint16_t port = start(state, NULL);
    say_and_end(port, "", 0, 0);
    say_and_end(port, "DELETE /keys/half HTTP/1.1\r\nHost: localhost\r\n", 0, 0);
    say_and_end(port, PUT_HALF "Content-Length: 50\r\n\r\nhalf", 0, 0);
    say_and_end(port, PUT_HALF "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", 0, 0);
    say_and_end(port, GET_LIVE PUT_HALF "Content-Length: 50\r\n\r\nhalf", 1, 200);
    assert_int_equal(get(port, "/keys/half"), 404);
    assert_int_equal(get(port, "/livez"), 200);
}

/* ---- gone ---- */

static bool inflight_is_zero(uint16_t port)
{
    for (int tries = 0; tries < TRIES; tries++) {
        char *metrics = NULL;
        bool zero = wire_ask(port, "GET", "/metrics", "", NULL, 0, &metrics) == 200 &&
                    strstr(metrics, "\nkeyrest_inflight_bytes 0\n") != NULL;
        free(metrics);
        if (zero)
            return true;
        pause_ms(10);
    }
    return false;
}

/* Whether the process keeps the disk space of a table that has no name any more. */
static bool holds_removed_table(pid_t pid)
{
    char path[40], line[512];
    bool holds = false;
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    FILE *maps = fopen(path, "r");
    assert_non_null(maps);
    while (fgets(line, sizeof line, maps) != NULL)
        holds = holds || strstr(line, ".tbl (deleted)") != NULL;
    fclose(maps);
    return holds;
}

static void a_slow_reader_gets_a_value_whose_table_is_gone(void **state)
{
    struct fixture *fixture = *state;
    uint16_t port =
        start(state, (const char *const[]){"--memtable-bytes", "1MiB", "--ballast-bytes", "0",
                                           "--reserve-bytes", "0", NULL});
    struct wire *readers[4];
    struct wire_response response;
    put_large(port);
    assert_true(comes_into_a_table(port, LARGE_BYTES));
    for (size_t i = 0; i < COUNT_OF(readers); i++)
        readers[i] = begin_get_large(port);
    assert_int_equal(wire_ask(port, "DELETE", "/keys/large", "", NULL, 0, NULL), 204);
    assert_int_equal(wire_ask(port, "POST", "/admin/compact", "", NULL, 0, NULL), 200);
    assert_int_equal(metric(port, "keyrest_table_live_bytes"), 0);
    for (int tries = 0; tries < TRIES && holds_removed_table(fixture->server.pid); tries++)
        pause_ms(10);
    assert_false(holds_removed_table(fixture->server.pid)); /* they wait for bytes of their own */
    for (size_t i = 0; i < COUNT_OF(readers); i++) {
        assert_true(wire_read(readers[i], false, &response));
        assert_int_equal(response.status, 200);
        assert_int_equal(response.body_bytes, LARGE_BYTES);
        for (size_t at = 0; at < LARGE_BYTES; at++)
            if (response.body[at] != 'v')
                fail_msg("byte %zu is %d", at, response.body[at]);
        wire_response_done(&response);
        wire_free(readers[i]);
    }
    assert_true(inflight_is_zero(port));
    assert_int_equal(get(port, "/keys/large"), 404);
}

/* ---- gone ---- */

static void leave_halfway(uint16_t port, const char *framing, const char *before)
{
    static const char half[HALF_BYTES];
    struct wire *wire = wire_make(port);
    assert_non_null(wire);
    assert_true(wire_print(wire, "PUT /keys/half HTTP/1.1\r\nHost: localhost\r\n%s\r\n\r\n%s",
                           framing, before));
    assert_true(wire_send(wire, half, sizeof half));
    wire_free(wire);
}

static void a_client_gone_halfway_through_a_put_stores_nothing(void **state)
{
    uint16_t port = start(state, NULL);
    assert_true(inflight_is_zero(port));
    leave_halfway(port, "Content-Length: 200000", "");
    leave_halfway(port, "Transfer-Encoding: chunked", "30d40\r\n"); /* 200000 */
    leave_halfway(port, "Transfer-Encoding: chunked", "186a0\r\n"); /* whole chunk, no last one */
    assert_true(inflight_is_zero(port)); /* they are noticed, and their room is given back */
    assert_int_equal(get(port, "/keys/half"), 404);
    assert_int_equal(wire_ask(port, "PUT", "/keys/half", "", "whole", 5, NULL), 201);
    leave_halfway(port, "Content-Length: 200000", "");
    assert_true(inflight_is_zero(port));
    char *body = NULL;
    assert_int_equal(wire_ask(port, "GET", "/keys/half", "", NULL, 0, &body), 200);
    assert_string_equal(body, "whole");
    free(body);
}

static void clients_that_do_not_wait_for_answers_do_no_harm(void **state)
{
    uint16_t port = start(state, NULL);
    put_large(port);
    for (int i = 0; i < 100; i++) {
        struct wire *wire = wire_make(port);
        assert_non_null(wire);
        assert_true(wire_print(wire, "GET /keys/large HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        wire_free(wire);
    }
    assert_true(inflight_is_zero(port));
    assert_int_equal(get(port, "/livez"), 200);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest promises[] = {
        WITH_SERVER("a thousand idle connections are held while requests work",
                    a_thousand_idle_connections_are_held),
        WITH_SERVER("one connection over the cap is told and closed",
                    one_connection_over_the_cap_is_told),
        WITH_SERVER("one connection over a client's cap is told and closed",
                    one_connection_over_a_clients_cap_is_told),
        WITH_SERVER("a head that does not end is cut", a_head_that_does_not_end_is_cut),
        WITH_SERVER("a head that dribbles is cut", a_head_that_dribbles_is_cut),
        WITH_SERVER("a body that dribbles is cut and not stored",
                    a_body_that_dribbles_is_cut_and_not_stored),
        WITH_SERVER("an idle connection is closed", an_idle_connection_is_closed),
        WITH_SERVER("an answer that is not taken is cut", an_answer_that_is_not_taken_is_cut),
        WITH_SERVER("a slow reader gets a value whose table is gone",
                    a_slow_reader_gets_a_value_whose_table_is_gone),
        WITH_SERVER("large answers stay whole and in order when asked at once",
                    large_answers_stay_whole_and_in_order_when_asked_at_once),
        WITH_SERVER("a head may be as large as its setting", a_head_may_be_as_large_as_its_setting),
        WITH_SERVER("a half-open client is answered", a_half_open_client_is_answered),
        WITH_SERVER("half a request of a half-open client does nothing",
                    half_a_request_of_a_half_open_client_does_nothing),
        WITH_SERVER("a client gone halfway through a PUT stores nothing",
                    a_client_gone_halfway_through_a_put_stores_nothing),
        WITH_SERVER("clients that do not wait for answers do no harm",
                    clients_that_do_not_wait_for_answers_do_no_harm),
    };
    return test_main(argc, argv, "connections", promises);
}
