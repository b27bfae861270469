/* SPDX-License-Identifier: Apache-2.0 */
/* Many clients at one key over HTTP: conditions are decided once, at the commit. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "../lib/child.h"
#include "../lib/test.h"
#include "../lib/wire.h"

enum { WRITERS = 64, ROUNDS = 5, ROUNDS_MAX = 500, INCREMENTS = 10, SWAPPERS = 16, SWAPS = 12 };

/* Small enough to be dumped and compacted under the races. */
static const char *const small[] = {
    "--memtable-bytes", "64KiB", "--reserve-bytes", "0", "--compaction-interval-ms", "100ms", NULL};

static struct child server;
static pthread_barrier_t line;

struct writer {
    pthread_t thread;
    const char *target, *condition;
    unsigned status, failed;
    char etag[64];
};

/* Connects first, so that all requests come at once. */
static void *put_at_the_signal(void *context)
{
    struct writer *writer = context;
    struct wire_response response;
    struct wire *wire = wire_make(server.port);
    pthread_barrier_wait(&line);
    if (wire != NULL &&
        wire_request(wire, "PUT", writer->target, writer->condition, "mine", 4, &response)) {
        writer->status = response.status;
        wire_header(&response, "ETag", writer->etag, sizeof writer->etag);
        wire_response_done(&response);
    }
    wire_free(wire);
    return NULL;
}

/* All but one are refused with the winner's ETag. */
static void race(const char *target, const char *condition, unsigned winners_status)
{
    static struct writer writers[WRITERS];
    const struct writer *winner = NULL;
    pthread_barrier_init(&line, NULL, WRITERS);
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){.target = target, .condition = condition};
        assert_int_equal(pthread_create(&writers[i].thread, NULL, put_at_the_signal, &writers[i]),
                         0);
    }
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(writers[i].thread, NULL);
        if (writers[i].status == winners_status) {
            assert_null(winner);
            winner = &writers[i];
        }
    }
    pthread_barrier_destroy(&line);
    assert_non_null(winner);
    for (int i = 0; i < WRITERS; i++) {
        assert_string_equal(writers[i].etag, winner->etag);
        if (&writers[i] != winner)
            assert_int_equal(writers[i].status, 412);
    }
}

static void of_64_creators_one_creates(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        char target[32];
        snprintf(target, sizeof target, "/keys/race-%d", round);
        race(target, "If-None-Match: *\r\n", 201);
    }
}

static bool etag_of(struct wire *wire, const char *target, char *out_etag, size_t capacity)
{
    struct wire_response response;
    if (!wire_request(wire, "HEAD", target, "", NULL, 0, &response))
        return false;
    wire_response_done(&response);
    return response.status == 200 && wire_header(&response, "ETag", out_etag, capacity);
}

static void race_with_one_etag(const char *target)
{
    char etag[64], condition[96];
    struct wire *wire = wire_make(server.port);
    assert_non_null(wire);
    assert_true(etag_of(wire, target, etag, sizeof etag));
    wire_free(wire);
    snprintf(condition, sizeof condition, "If-Match: %s\r\n", etag);
    race(target, condition, 204);
}

static void of_64_with_one_etag_one_replaces(void **state)
{
    (void)state;
    assert_int_equal(wire_ask(server.port, "PUT", "/keys/cas", "", "0", 1, NULL), 201);
    for (int round = 0; round < ROUNDS; round++)
        race_with_one_etag("/keys/cas");
}

/* ---- the same under compaction ---- */

static atomic_bool enough;

/* Makes garbage. */
static void *overwrite(void *context)
{
    (void)context;
    static const char value[2000];
    struct wire *wire = wire_make(server.port);
    for (int i = 0; wire != NULL && !atomic_load(&enough); i++) {
        struct wire_response response;
        char target[32];
        snprintf(target, sizeof target, "/keys/garbage-%d", i % 20);
        if (!wire_request(wire, "PUT", target, "", value, sizeof value, &response))
            break;
        wire_response_done(&response);
    }
    wire_free(wire);
    return NULL;
}

static int figure(const char *line_begin)
{
    char *metrics = NULL;
    assert_int_equal(wire_ask(server.port, "GET", "/metrics", "", NULL, 0, &metrics), 200);
    const char *found = strstr(metrics, line_begin);
    assert_non_null(found);
    int value = atoi(found + strlen(line_begin));
    free(metrics);
    return value;
}

static void one_wins_under_compaction(void **state)
{
    (void)state;
    pthread_t writer;
    int begun = figure("\nkeyrest_compactions_total "), compactions = 0;
    assert_int_equal(pthread_create(&writer, NULL, overwrite, NULL), 0);
    for (int round = 0; round < ROUNDS_MAX && compactions < 3; round++) {
        char target[40];
        snprintf(target, sizeof target, "/keys/compacted-%d", round);
        race(target, "If-None-Match: *\r\n", 201);
        race_with_one_etag(target);
        assert_int_equal(wire_ask(server.port, "DELETE", target, "", NULL, 0, NULL), 204);
        race(target, "If-None-Match: *\r\n", 201);
        compactions = figure("\nkeyrest_compactions_total ") - begun;
    }
    atomic_store(&enough, true);
    pthread_join(writer, NULL);
    assert_true(compactions >= 3);
}

/* One more, by reading and putting with the ETag that was read, until nobody came between. */
static bool increment(struct wire *wire)
{
    for (;;) {
        struct wire_response response;
        char etag[64], condition[96], next[16];
        if (!wire_request(wire, "GET", "/keys/counter", "", NULL, 0, &response))
            return false;
        snprintf(next, sizeof next, "%d", atoi(response.body) + 1);
        bool read = response.status == 200 && wire_header(&response, "ETag", etag, sizeof etag);
        wire_response_done(&response);
        snprintf(condition, sizeof condition, "If-Match: %s\r\n", etag);
        if (!read ||
            !wire_request(wire, "PUT", "/keys/counter", condition, next, strlen(next), &response))
            return false;
        wire_response_done(&response);
        if (response.status != 412)
            return response.status == 204;
    }
}

static void *increment_often(void *context)
{
    struct writer *writer = context;
    struct wire *wire = wire_make(server.port);
    for (int i = 0; i < INCREMENTS; i++)
        writer->failed += wire == NULL || !increment(wire);
    wire_free(wire);
    return NULL;
}

static void no_increment_of_a_shared_counter_is_lost(void **state)
{
    (void)state;
    struct writer writers[16] = {{0}};
    char *body = NULL, expected[16];
    assert_int_equal(wire_ask(server.port, "PUT", "/keys/counter", "", "0", 1, NULL), 201);
    for (size_t i = 0; i < 16; i++)
        assert_int_equal(pthread_create(&writers[i].thread, NULL, increment_often, &writers[i]), 0);
    for (size_t i = 0; i < 16; i++) {
        pthread_join(writers[i].thread, NULL);
        assert_int_equal(writers[i].failed, 0);
    }
    snprintf(expected, sizeof expected, "%d", 16 * INCREMENTS);
    assert_int_equal(wire_ask(server.port, "GET", "/keys/counter", "", NULL, 0, &body), 200);
    assert_string_equal(body, expected);
    free(body);
}

/* Puts numbers of its own, and counts at each number how often it was given back. */
struct swapper {
    pthread_t thread;
    int first;
    unsigned failed;
    atomic_int *given_back;
};

static void note(struct swapper *swapper, const struct wire_response *response)
{
    char *end;
    long number = strtol(response->body, &end, 10);
    if (response->status != 200 || *end != '\0' || number < 0 || number > SWAPPERS * SWAPS)
        swapper->failed++;
    else
        atomic_fetch_add(&swapper->given_back[number], 1);
}

static void *swap_often(void *context)
{
    struct swapper *swapper = context;
    struct wire *wire = wire_make(server.port);
    for (int i = 0; i < SWAPS; i++) {
        struct wire_response response;
        char number[16];
        snprintf(number, sizeof number, "%d", swapper->first + i);
        if (wire == NULL || !wire_request(wire, "PUT", "/keys/swap?return=previous", "", number,
                                          strlen(number), &response)) {
            swapper->failed++;
            continue;
        }
        note(swapper, &response);
        wire_response_done(&response);
    }
    wire_free(wire);
    return NULL;
}

static void each_value_is_given_back_exactly_once(void **state)
{
    (void)state;
    struct swapper swappers[SWAPPERS];
    atomic_int given_back[SWAPPERS * SWAPS + 1] = {0};
    char *body = NULL;
    assert_int_equal(wire_ask(server.port, "PUT", "/keys/swap", "", "0", 1, NULL), 201);
    for (int i = 0; i < SWAPPERS; i++) {
        swappers[i] = (struct swapper){.first = 1 + i * SWAPS, .given_back = given_back};
        assert_int_equal(pthread_create(&swappers[i].thread, NULL, swap_often, &swappers[i]), 0);
    }
    for (int i = 0; i < SWAPPERS; i++) {
        pthread_join(swappers[i].thread, NULL);
        assert_int_equal(swappers[i].failed, 0);
    }
    assert_int_equal(
        wire_ask(server.port, "DELETE", "/keys/swap?return=previous", "", NULL, 0, &body), 200);
    atomic_fetch_add(&given_back[atoi(body)], 1);
    free(body);
    for (size_t i = 0; i < COUNT_OF(given_back); i++)
        assert_int_equal(given_back[i], 1);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest promises[] = {
        TEST("of 64 racing creators exactly one creates, the others learn its ETag",
             of_64_creators_one_creates),
        TEST("of 64 racing writers with one ETag exactly one replaces",
             of_64_with_one_etag_one_replaces),
        TEST("and so it is while tables are compacted", one_wins_under_compaction),
        TEST("no increment of a shared counter is lost", no_increment_of_a_shared_counter_is_lost),
        TEST("of many that swap one value each is given back exactly once",
             each_value_is_given_back_exactly_once),
    };
    char *directory = test_directory_make();
    child_start(&server, directory, small);
    int failed = test_main(argc, argv, "races", promises);
    int code = child_end(&server, SIGTERM);
    test_directory_remove(directory);
    return failed != 0 || code != 0;
}
