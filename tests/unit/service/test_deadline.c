/* SPDX-License-Identifier: Apache-2.0 */
#include "../../lib/test.h"

#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../../service/deadline.h"
#include "../../lib/manual_time.h"

enum { HEADER_MS = 1000, IDLE_MS = 5000, BYTES_PER_SECOND = 100 };

/* One connection under a deadline: `client` is the far end of its socket. */
struct fixture {
    struct manual_time time;
    struct deadlines *deadlines;
    struct deadline deadline;
    int client, server;
};

static int setup(void **state)
{
    static struct fixture fixture;
    const struct deadlines_options options = {
        .time = &fixture.time.source,
        .header_ms = HEADER_MS,
        .idle_ms = IDLE_MS,
        .bytes_per_second_min = BYTES_PER_SECOND,
    };
    int ends[2];
    manual_time_init(&fixture.time);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) != 0 ||
        deadlines_open(&options, &fixture.deadlines) != STATUS_OK)
        return -1;
    fixture.client = ends[0];
    fixture.server = ends[1];
    deadlines_add(fixture.deadlines, &fixture.deadline, fixture.server);
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    deadlines_remove(fixture->deadlines, &fixture->deadline);
    assert_int_equal(deadlines_figures(fixture->deadlines).open, 0);
    deadlines_close(fixture->deadlines);
    close(fixture->client);
    close(fixture->server);
    return 0;
}

/* Lets `ms` pass, and the reaper look. */
static void pass_ms(struct fixture *fixture, uint64_t ms)
{
    manual_time_advance_ms(&fixture->time, ms);
    deadlines_scan(fixture->deadlines);
}

static uint64_t now_ns(const struct fixture *fixture)
{
    return fixture->time.source.monotonic_ns(&fixture->time.source);
}

/* The client reads the end of the stream. */
static bool is_cut(const struct fixture *fixture)
{
    char byte;
    return recv(fixture->client, &byte, 1, MSG_DONTWAIT) == 0;
}

/* Cut between `ms` and 1 ms later, in `phase`. */
static void assert_cut_after(struct fixture *fixture, uint64_t ms, enum deadline_phase phase)
{
    pass_ms(fixture, ms);
    assert_false(is_cut(fixture));
    pass_ms(fixture, 1);
    assert_true(is_cut(fixture));
    pass_ms(fixture, 1000);
    assert_int_equal(deadlines_figures(fixture->deadlines).cut[phase], 1);
}

static void a_silent_connection_is_cut(void **state)
{
    assert_cut_after(*state, HEADER_MS, DEADLINE_FRESH);
}

static void slow_headers_are_cut(void **state)
{
    struct fixture *fixture = *state;
    pass_ms(fixture, HEADER_MS - 1);
    deadline_headers(fixture->deadlines, &fixture->deadline, now_ns(fixture));
    assert_cut_after(fixture, HEADER_MS, DEADLINE_HEADERS);
}

static void a_body_is_cut_when_it_stands_still(void **state)
{
    struct fixture *fixture = *state;
    deadline_body(fixture->deadlines, &fixture->deadline, now_ns(fixture));
    assert_cut_after(fixture, HEADER_MS, DEADLINE_BODY);
}

static void every_received_byte_buys_a_body_time(void **state)
{
    struct fixture *fixture = *state;
    deadline_body(fixture->deadlines, &fixture->deadline, now_ns(fixture));
    for (uint64_t bytes = 50; bytes <= 1000; bytes += 50) {
        pass_ms(fixture, 500);
        assert_false(is_cut(fixture));
        deadline_body_grows(fixture->deadlines, &fixture->deadline, bytes);
    }
    assert_cut_after(fixture, HEADER_MS, DEADLINE_BODY);
}

static void a_slow_reader_is_cut_by_the_answers_size(void **state)
{
    struct fixture *fixture = *state;
    deadline_sending(fixture->deadlines, &fixture->deadline, now_ns(fixture),
                     10 * BYTES_PER_SECOND);
    assert_cut_after(fixture, HEADER_MS + 10000, DEADLINE_SENDING);
}

static void a_request_at_work_is_never_cut(void **state)
{
    struct fixture *fixture = *state;
    deadline_working(&fixture->deadline);
    pass_ms(fixture, UINT64_C(365) * 86400 * 1000);
    assert_false(is_cut(fixture));
    assert_false(cancel_fired(&fixture->deadline.cancel));
}

static void an_idle_connection_is_closed_later(void **state)
{
    struct fixture *fixture = *state;
    deadline_idle(fixture->deadlines, &fixture->deadline, now_ns(fixture));
    assert_cut_after(fixture, IDLE_MS, DEADLINE_IDLE);
}

static void a_client_that_left_cancels_its_waiting_request(void **state)
{
    struct fixture *fixture = *state;
    deadline_working(&fixture->deadline);
    assert_int_equal(shutdown(fixture->client, SHUT_WR), 0);
    pass_ms(fixture, 1);
    pass_ms(fixture, 1);
    assert_true(cancel_fired(&fixture->deadline.cancel));
    assert_int_equal(deadlines_figures(fixture->deadlines).gone, 1);
}

static void a_client_that_sends_its_next_request_has_not_left(void **state)
{
    struct fixture *fixture = *state;
    deadline_working(&fixture->deadline);
    assert_int_equal(send(fixture->client, "GET", 3, 0), 3);
    pass_ms(fixture, 1);
    assert_false(cancel_fired(&fixture->deadline.cancel));
}

static void busy_are_those_with_a_request_under_way(void **state)
{
    struct fixture *fixture = *state;
    struct deadlines *deadlines = fixture->deadlines;
    assert_int_equal(deadlines_busy(deadlines), 0);
    deadline_headers(deadlines, &fixture->deadline, now_ns(fixture));
    assert_int_equal(deadlines_busy(deadlines), 1);
    deadline_working(&fixture->deadline);
    assert_int_equal(deadlines_busy(deadlines), 1);
    deadline_sending(deadlines, &fixture->deadline, now_ns(fixture), 1);
    assert_int_equal(deadlines_busy(deadlines), 1);
    deadline_idle(deadlines, &fixture->deadline, now_ns(fixture));
    assert_int_equal(deadlines_busy(deadlines), 0);
}

static void cancel_all_reaches_every_connection(void **state)
{
    struct fixture *fixture = *state;
    struct deadline other;
    deadlines_add(fixture->deadlines, &other, fixture->server);
    deadlines_cancel_all(fixture->deadlines);
    assert_true(cancel_fired(&fixture->deadline.cancel));
    assert_true(cancel_fired(&other.cancel));
    deadlines_remove(fixture->deadlines, &other);
}

static void the_list_survives_removal_in_any_order(void **state)
{
    struct fixture *fixture = *state;
    struct deadline others[4];
    for (size_t i = 0; i < COUNT_OF(others); i++)
        deadlines_add(fixture->deadlines, &others[i], fixture->server);
    static const size_t order[] = {1, 3, 0, 2};
    for (size_t i = 0; i < COUNT_OF(order); i++) {
        deadlines_remove(fixture->deadlines, &others[order[i]]);
        assert_int_equal(deadlines_figures(fixture->deadlines).open, COUNT_OF(others) - i);
        deadlines_scan(fixture->deadlines);
    }
}

static void the_reaper_starts_and_stops(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(deadlines_start(fixture->deadlines), STATUS_OK);
}

#define CASE(promise, function)                                                                    \
    {                                                                                              \
        promise, function, setup, teardown, NULL                                                   \
    }

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        CASE("a silent connection is cut", a_silent_connection_is_cut),
        CASE("slow headers are cut", slow_headers_are_cut),
        CASE("a body is cut when it stands still", a_body_is_cut_when_it_stands_still),
        CASE("every received byte buys a body time", every_received_byte_buys_a_body_time),
        CASE("a slow reader is cut by the answer's size", a_slow_reader_is_cut_by_the_answers_size),
        CASE("a request at work is never cut", a_request_at_work_is_never_cut),
        CASE("an idle connection is closed later", an_idle_connection_is_closed_later),
        CASE("a client that left cancels its waiting request",
             a_client_that_left_cancels_its_waiting_request),
        CASE("a client that sends its next request has not left",
             a_client_that_sends_its_next_request_has_not_left),
        CASE("busy are those with a request under way", busy_are_those_with_a_request_under_way),
        CASE("cancel all reaches every connection", cancel_all_reaches_every_connection),
        CASE("the list survives removal in any order", the_list_survives_removal_in_any_order),
        CASE("the reaper starts and stops", the_reaper_starts_and_stops),
    };
    return test_main(argc, argv, "deadline", tests);
}
