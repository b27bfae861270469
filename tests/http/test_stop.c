/* SPDX-License-Identifier: Apache-2.0 */
/* A stop under load: what was begun is finished, what is answered is kept, and it ends in time. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "../lib/served.h"
#include "../lib/wire.h"

enum { WRITERS = 8, PUTS_MAX = 5000 };

static struct wire *connect_to(const struct fixture *fixture)
{
    struct wire *wire = wire_make(fixture->server.port);
    assert_non_null(wire);
    return wire;
}

/* A PUT of "halfwhole" whose second half is still to come. */
static struct wire *begin_put(const struct fixture *fixture)
{
    struct wire *wire = connect_to(fixture);
    assert_true(wire_print(wire, "PUT /keys/k HTTP/1.1\r\nHost: localhost\r\n"
                                 "Expect: 100-continue\r\nContent-Length: 9\r\n\r\n"));
    struct wire_response response;
    assert_true(wire_read(wire, false, &response)); /* 100: the service has it in hand */
    wire_response_done(&response);
    assert_true(wire_print(wire, "half"));
    return wire;
}

static void signal_and_wait_for_draining(struct fixture *fixture)
{
    kill(fixture->server.pid, SIGTERM);
    assert_true(child_log_gets(&fixture->server, "msg=stopping"));
}

static void assert_closing(const struct wire_response *response)
{
    char connection[32];
    wire_header(response, "Connection", connection, sizeof connection);
    assert_string_equal(connection, "close");
}

static void a_request_under_way_is_finished(void **state)
{
    struct fixture *fixture = *state;
    struct wire_response response;
    served_start(state, NULL);
    struct wire *put = begin_put(fixture), *idle = connect_to(fixture);
    assert_true(wire_request(idle, "GET", "/readyz", "", NULL, 0, &response));
    assert_int_equal(response.status, 200);
    wire_response_done(&response);
    signal_and_wait_for_draining(fixture);

    assert_true(wire_request(idle, "GET", "/readyz", "", NULL, 0, &response));
    assert_int_equal(response.status, 503);
    assert_closing(&response);
    wire_response_done(&response);
    assert_int_equal(wire_ask(fixture->server.port, "GET", "/livez", "", NULL, 0, NULL), 0);

    assert_true(wire_print(put, "whole"));
    assert_true(wire_read(put, false, &response));
    assert_int_equal(response.status, 201);
    assert_closing(&response);
    wire_response_done(&response);
    assert_int_equal(child_wait(&fixture->server, 20), 0);
    wire_free(put);
    wire_free(idle);

    char *body = NULL;
    served_start(state, NULL);
    assert_int_equal(wire_ask(fixture->server.port, "GET", "/keys/k", "", NULL, 0, &body), 200);
    assert_string_equal(body, "halfwhole");
    free(body);
    assert_int_equal(child_end(&fixture->server, SIGTERM), 0);
}

static void a_compaction_is_not_begun_any_more(void **state)
{
    struct fixture *fixture = *state;
    struct wire_response response;
    served_start(state, NULL);
    struct wire *put = begin_put(fixture), *asking = connect_to(fixture);
    assert_true(wire_request(asking, "GET", "/livez", "", NULL, 0, &response));
    wire_response_done(&response);
    signal_and_wait_for_draining(fixture);
    assert_true(wire_request(asking, "POST", "/admin/compact", "", NULL, 0, &response));
    assert_int_equal(response.status, 503);
    assert_non_null(strstr(response.body, "\"draining\""));
    assert_closing(&response);
    wire_response_done(&response);
    assert_true(wire_print(put, "whole"));
    assert_true(wire_read(put, false, &response));
    assert_int_equal(response.status, 201);
    wire_response_done(&response);
    assert_int_equal(child_wait(&fixture->server, 20), 0);
    wire_free(put);
    wire_free(asking);
}

static void a_client_that_does_not_go_on_is_not_waited_for_longer(void **state)
{
    struct fixture *fixture = *state;
    served_start(state, (const char *const[]){"--drain-ms", "300ms", NULL});
    struct wire *put = begin_put(fixture);
    kill(fixture->server.pid, SIGTERM);
    assert_int_equal(child_wait(&fixture->server, 10), 0);
    assert_true(wire_is_closed(put));
    wire_free(put);
}

static void a_second_signal_ends_it_at_once(void **state)
{
    struct fixture *fixture = *state;
    served_start(state, (const char *const[]){"--drain-ms", "1h", NULL});
    struct wire *put = begin_put(fixture);
    signal_and_wait_for_draining(fixture);
    kill(fixture->server.pid, SIGTERM);
    int code = child_wait(&fixture->server, 10);
    assert_int_not_equal(code, -1);
    wire_free(put);
    served_start(state, NULL); /* and the store is whole */
    assert_int_equal(wire_ask(fixture->server.port, "GET", "/keys/k", "", NULL, 0, NULL), 404);
    assert_int_equal(child_end(&fixture->server, SIGINT), 0);
}

/* ---- under load ---- */

struct writer {
    pthread_t thread;
    uint16_t port;
    unsigned number;
    _Atomic unsigned answered; /* puts answered, in order */
    unsigned refused;
};

/* Puts one key after the other until the service goes away or refuses. */
static void *put_until_refused(void *context)
{
    struct writer *writer = context;
    struct wire *wire = NULL;
    for (unsigned i = 0; i < PUTS_MAX; i++) {
        struct wire_response response;
        char target[48], connection[32];
        if (wire == NULL && (wire = wire_make(writer->port)) == NULL)
            break;
        snprintf(target, sizeof target, "/keys/%u/%u", writer->number, i);
        if (!wire_request(wire, "PUT", target, "", target, strlen(target), &response))
            break;
        bool stored = response.status == 201;
        writer->refused += !stored && response.status != 503;
        wire_header(&response, "Connection", connection, sizeof connection);
        wire_response_done(&response);
        if (!stored)
            break;
        writer->answered++;
        if (strcmp(connection, "close") == 0) {
            wire_free(wire);
            wire = NULL;
        }
    }
    wire_free(wire);
    return NULL;
}

static void every_write_answered_before_the_end_is_kept(void **state)
{
    struct fixture *fixture = *state;
    struct writer writers[WRITERS] = {{0}};
    served_start(state, NULL);
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i].port = fixture->server.port;
        writers[i].number = i;
        assert_int_equal(pthread_create(&writers[i].thread, NULL, put_until_refused, &writers[i]),
                         0);
    }
    while (writers[0].answered < 50)
        sched_yield();
    assert_int_equal(child_end(&fixture->server, SIGTERM), 0);
    for (unsigned i = 0; i < WRITERS; i++) {
        pthread_join(writers[i].thread, NULL);
        assert_int_equal(writers[i].refused, 0);
    }
    served_start(state, NULL);
    struct wire *wire = connect_to(fixture);
    for (unsigned i = 0; i < WRITERS; i++) {
        for (unsigned k = 0; k < writers[i].answered; k++) {
            struct wire_response response;
            char target[48];
            snprintf(target, sizeof target, "/keys/%u/%u", i, k);
            assert_true(wire_request(wire, "GET", target, "", NULL, 0, &response));
            assert_int_equal(response.status, 200);
            assert_string_equal(response.body, target);
            wire_response_done(&response);
        }
    }
    wire_free(wire);
    assert_int_equal(child_end(&fixture->server, SIGTERM), 0);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest promises[] = {
        WITH_SERVER("a request under way is finished, others are told to go elsewhere",
                    a_request_under_way_is_finished),
        WITH_SERVER("a compaction is not begun any more", a_compaction_is_not_begun_any_more),
        WITH_SERVER("a client that does not go on is waited for no longer than drain_ms",
                    a_client_that_does_not_go_on_is_not_waited_for_longer),
        WITH_SERVER("a second signal ends it at once", a_second_signal_ends_it_at_once),
        WITH_SERVER("every write answered before the end is kept",
                    every_write_answered_before_the_end_is_kept),
    };
    return test_main(argc, argv, "stop", promises);
}
