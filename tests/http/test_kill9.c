/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hundred times kill -9 under writing clients, over one data directory, most of the time amid
 * dumps and compactions, now and then again while the store is loading. Each client owns keys, keeps
 * a model of them, and judges every answer by it. After each restart every key must be as answered,
 * with the same ETag; only the one write per client that was under way may have gone either way. A
 * counter shared by all counts what they could increment. Nothing else may be in the store.
 * KEYREST_KILLS=1000 makes it a soak.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#include "../../engine/random.h"
#include "../lib/child.h"
#include "../lib/test.h"
#include "../lib/wire.h"

enum {
    KILLS = 100,
    LOADING_KILLS_MAX = 3, /* in a row */
    CLIENTS = 8,
    KEYS = 16, /* per client */
    SMALL_BYTES_MAX = 3000,
    LARGE_BYTES = 100000, /* now and then: a record of its own */
    RUN_MS_MAX = 400,
};

/* Small segments, so that the journal rotates often; the smallest memtables, a few dozen writes. */
#define SMALL_SEGMENTS "--value-bytes-max", "256KiB", "--journal-segment-bytes", "64KiB"
static const char *const journal_only[] = {SMALL_SEGMENTS, NULL};
static const char *const with_tables[] = {
    SMALL_SEGMENTS, "--memtable-bytes", "64KiB", "--compaction-interval-ms", "100ms", NULL};

struct version {
    bool present;
    char etag[40];
    uint64_t seed; /* what the value is made of */
    uint32_t size;
};

struct client {
    pthread_t thread;
    unsigned number;
    uint16_t port;
    uint64_t random;
    uint64_t last_sequence; /* of the ETags it was given: they only grow */
    struct version keys[KEYS];
    /* the write under way, when the server dies */
    bool pending;
    unsigned pending_key;
    struct version pending_version;
    /* of the shared counter */
    unsigned increments, increments_pending;
    unsigned writes, conflicts;
    char failure[300]; /* the first answer that should not be */
};

static struct client clients[CLIENTS];
static unsigned counter_before; /* its value at the start of the cycle */

/* Asks for compactions and what the server has done, until it dies. */
struct watcher {
    pthread_t thread;
    uint16_t port;
    unsigned refused;            /* compactions */
    unsigned dumps, compactions; /* of this cycle, as last told */
};

/* What the test has put the store through. */
static struct {
    unsigned kills, loading_kills, dumps, compactions;
} figures;

/* ---- values and versions ---- */

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void sleep_us(long us)
{
    nanosleep(&(struct timespec){us / 1000000, us % 1000000 * 1000}, NULL);
}

static void fill(char *buffer, const struct version *version)
{
    uint64_t state = version->seed;
    for (uint32_t i = 0; i < version->size; i++)
        buffer[i] = (char)next_random(&state);
}

static bool is_value_of(const struct version *version, const struct wire_response *response)
{
    static _Thread_local char buffer[LARGE_BYTES];
    fill(buffer, version);
    return response->body_bytes == version->size &&
           memcmp(response->body, buffer, version->size) == 0;
}

static bool fail_client(struct client *client, const char *what, unsigned key, unsigned status)
{
    if (client->failure[0] == '\0')
        snprintf(client->failure, sizeof client->failure, "client %u, key %u: %s, status %u",
                 client->number, key, what, status);
    return false;
}

static void write_target(const struct client *client, unsigned key, char out_target[48])
{
    snprintf(out_target, 48, "/keys/client-%u/%u", client->number, key);
}

/* Takes the ETag of an answer, which must be younger than all before. */
static bool take_etag(struct client *client, unsigned key, const struct wire_response *response,
                      char out_etag[40])
{
    unsigned long long epoch, sequence;
    wire_header(response, "ETag", out_etag, 40);
    if (sscanf(out_etag, "\"%12llx-%llx\"", &epoch, &sequence) != 2)
        return fail_client(client, "no ETag", key, response->status);
    if (sequence <= client->last_sequence)
        return fail_client(client, "an ETag that is not younger than all before", key,
                           response->status);
    client->last_sequence = sequence;
    return true;
}

/* ---- one step of a client: false ends its run ---- */

static bool judge_put(struct client *client, unsigned key, bool holds, const struct version *next,
                      const struct wire_response *response)
{
    struct version *version = &client->keys[key];
    char etag[40];
    if (!holds) {
        client->conflicts++;
        wire_header(response, "ETag", etag, sizeof etag);
        if (response->status != 412 || strcmp(etag, version->present ? version->etag : "") != 0)
            return fail_client(client, "a condition that fails should say so", key,
                               response->status);
        return true;
    }
    if (response->status != (version->present ? 204 : 201))
        return fail_client(client, "a put", key, response->status);
    *version = *next;
    client->writes++;
    return take_etag(client, key, response, version->etag);
}

/* Plain, If-None-Match: *, If-Match with the right ETag or with a wrong one. */
static bool put(struct client *client, struct wire *wire, unsigned key)
{
    static _Thread_local char buffer[LARGE_BYTES];
    const struct version *version = &client->keys[key];
    struct wire_response response;
    char target[48], condition[96] = "";
    bool holds = true;
    struct version next = {.present = true, .seed = next_random(&client->random)};
    next.size = next_random(&client->random) % 50 == 0
                    ? LARGE_BYTES
                    : (uint32_t)(next_random(&client->random) % SMALL_BYTES_MAX);
    switch (next_random(&client->random) % 4) {
    case 0:
        snprintf(condition, sizeof condition, "If-None-Match: *\r\n");
        holds = !version->present;
        break;
    case 1:
        snprintf(condition, sizeof condition, "If-Match: %s\r\n",
                 version->present ? version->etag : "*");
        holds = version->present;
        break;
    case 2:
        if (version->present && next_random(&client->random) % 4 == 0) {
            snprintf(condition, sizeof condition, "If-Match: \"000000000000-1\"\r\n");
            holds = false;
        }
        break;
    }
    fill(buffer, &next);
    write_target(client, key, target);
    client->pending = holds;
    client->pending_key = key;
    client->pending_version = next;
    if (!wire_request(wire, "PUT", target, condition, buffer, next.size, &response))
        return false;
    client->pending = false;
    bool good = judge_put(client, key, holds, &next, &response);
    wire_response_done(&response);
    return good;
}

static bool erase(struct client *client, struct wire *wire, unsigned key)
{
    struct version *version = &client->keys[key];
    struct wire_response response;
    char target[48], condition[96] = "";
    if (version->present && next_random(&client->random) % 2 == 0)
        snprintf(condition, sizeof condition, "If-Match: %s\r\n", version->etag);
    write_target(client, key, target);
    client->pending = version->present;
    client->pending_key = key;
    client->pending_version = (struct version){.present = false};
    if (!wire_request(wire, "DELETE", target, condition, NULL, 0, &response))
        return false;
    client->pending = false;
    wire_response_done(&response);
    if (response.status != (version->present ? 204 : 404))
        return fail_client(client, "a delete", key, response.status);
    version->present = false;
    client->writes++;
    return true;
}

/* Compares the stored key with what `version` says of it. */
static bool look(struct client *client, struct wire *wire, unsigned key,
                 const struct version *version, bool *out_same)
{
    struct wire_response response;
    char target[48], etag[40];
    write_target(client, key, target);
    if (!wire_request(wire, "GET", target, "", NULL, 0, &response))
        return false;
    wire_header(&response, "ETag", etag, sizeof etag);
    *out_same = version->present
                    ? response.status == 200 && is_value_of(version, &response) &&
                          (version->etag[0] == '\0' || strcmp(etag, version->etag) == 0)
                    : response.status == 404;
    wire_response_done(&response);
    return true;
}

static bool read_own(struct client *client, struct wire *wire, unsigned key)
{
    bool same;
    if (!look(client, wire, key, &client->keys[key], &same))
        return false;
    return same || fail_client(client, "a read that differs from what was answered", key, 0);
}

/* Tries once; a conflict is another client's success. */
static bool increment(struct client *client, struct wire *wire)
{
    struct wire_response response;
    char etag[40], condition[80], next[16];
    if (!wire_request(wire, "GET", "/keys/counter", "", NULL, 0, &response))
        return false;
    wire_header(&response, "ETag", etag, sizeof etag);
    snprintf(next, sizeof next, "%d", atoi(response.body) + 1);
    wire_response_done(&response);
    snprintf(condition, sizeof condition, "If-Match: %s\r\n", etag);
    client->increments_pending = 1;
    if (!wire_request(wire, "PUT", "/keys/counter", condition, next, strlen(next), &response))
        return false;
    wire_response_done(&response);
    client->increments_pending = 0;
    client->increments += response.status == 204;
    return response.status == 204 || response.status == 412 ||
           fail_client(client, "an increment", KEYS, response.status);
}

static void *work_until_the_end(void *context)
{
    struct client *client = context;
    struct wire *wire = wire_make(client->port);
    for (bool going_on = wire != NULL; going_on;) {
        unsigned key = (unsigned)(next_random(&client->random) % KEYS);
        switch (next_random(&client->random) % 8) {
        case 0:
            going_on = increment(client, wire);
            break;
        case 1:
        case 2:
            going_on = erase(client, wire, key);
            break;
        case 3:
            going_on = read_own(client, wire, key);
            break;
        default:
            going_on = put(client, wire, key);
            break;
        }
    }
    wire_free(wire);
    return NULL;
}

/* ---- after a restart ---- */

/* The write under way was applied or was not: whichever, it is what counts from now on. */
static void settle_pending(struct client *client, struct wire *wire)
{
    bool as_before, as_written;
    struct version *version = &client->keys[client->pending_key];
    if (!client->pending)
        return;
    client->pending = false;
    assert_true(look(client, wire, client->pending_key, version, &as_before));
    assert_true(look(client, wire, client->pending_key, &client->pending_version, &as_written));
    if (!as_before && !as_written)
        fail_msg("client %u, key %u: neither as answered nor as last written", client->number,
                 client->pending_key);
    if (as_before || !as_written)
        return;
    *version = client->pending_version;
    if (!version->present)
        return;
    struct wire_response response;
    char target[48];
    write_target(client, client->pending_key, target);
    assert_true(wire_request(wire, "HEAD", target, "", NULL, 0, &response));
    wire_response_done(&response);
    assert_true(take_etag(client, client->pending_key, &response, version->etag));
}

static unsigned verify_client(struct client *client, struct wire *wire)
{
    unsigned present = 0;
    settle_pending(client, wire);
    for (unsigned key = 0; key < KEYS; key++) {
        bool good = read_own(client, wire, key);
        if (!good || client->failure[0] != '\0')
            fail_msg("after kill -9: %s", client->failure);
        present += client->keys[key].present;
    }
    return present;
}

static void verify_counter(uint16_t port)
{
    char *body = NULL;
    unsigned answered = counter_before, possible;
    assert_int_equal(wire_ask(port, "GET", "/keys/counter", "", NULL, 0, &body), 200);
    for (unsigned i = 0; i < CLIENTS; i++)
        answered += clients[i].increments;
    possible = answered;
    for (unsigned i = 0; i < CLIENTS; i++)
        possible += clients[i].increments_pending;
    unsigned counter = (unsigned)atoi(body);
    free(body);
    assert_in_range(counter, answered, possible);
    counter_before = counter;
    for (unsigned i = 0; i < CLIENTS; i++)
        clients[i].increments = clients[i].increments_pending = 0;
}

static void verify_nothing_else(uint16_t port, unsigned keys)
{
    char *metrics = NULL, line[48];
    snprintf(line, sizeof line, "\nkeyrest_keys %u\n", keys);
    assert_int_equal(wire_ask(port, "GET", "/metrics", "", NULL, 0, &metrics), 200);
    bool same = strstr(metrics, line) != NULL;
    free(metrics);
    if (!same)
        fail_msg("the store holds other keys than the %u that were put", keys);
}

static void verify(uint16_t port)
{
    struct wire *wire = wire_make(port);
    unsigned present = 1; /* the counter */
    assert_non_null(wire);
    for (unsigned i = 0; i < CLIENTS; i++)
        present += verify_client(&clients[i], wire);
    wire_free(wire);
    verify_counter(port);
    verify_nothing_else(port, present);
}

/* ---- the cycles ---- */

static unsigned figure(const char *metrics, const char *line_begin)
{
    const char *line = strstr(metrics, line_begin);
    return line != NULL ? (unsigned)atoi(line + strlen(line_begin)) : 0;
}

static void *watch_until_the_end(void *context)
{
    struct watcher *watcher = context;
    struct wire_response response;
    struct wire *wire = wire_make(watcher->port);
    while (wire != NULL && wire_request(wire, "GET", "/metrics", "", NULL, 0, &response)) {
        watcher->dumps = figure(response.body, "\nkeyrest_dumps_total ");
        watcher->compactions = figure(response.body, "\nkeyrest_compactions_total ");
        wire_response_done(&response);
        sleep_us(10000);
        if (!wire_request(wire, "POST", "/admin/compact", "", NULL, 0, &response))
            break;
        watcher->refused += response.status != 200;
        wire_response_done(&response);
    }
    wire_free(wire);
    return NULL;
}

static void kill_server(struct child *server)
{
    child_end(server, SIGKILL);
    figures.kills++;
    child_expect_no_errors(server);
}

static void run_clients_and_kill(struct child *server, uint64_t *random)
{
    struct watcher watcher = {.port = server->port};
    for (unsigned i = 0; i < CLIENTS; i++) {
        clients[i].port = server->port;
        assert_int_equal(pthread_create(&clients[i].thread, NULL, work_until_the_end, &clients[i]),
                         0);
    }
    assert_int_equal(pthread_create(&watcher.thread, NULL, watch_until_the_end, &watcher), 0);
    sleep_us((long)(next_random(random) % (RUN_MS_MAX * 1000)));
    kill_server(server);
    pthread_join(watcher.thread, NULL);
    assert_int_equal(watcher.refused, 0);
    figures.dumps += watcher.dumps;
    figures.compactions += watcher.compactions;
    for (unsigned i = 0; i < CLIENTS; i++) {
        pthread_join(clients[i].thread, NULL);
        if (clients[i].failure[0] != '\0')
            fail_msg("before kill -9: %s", clients[i].failure);
    }
}

/* Every other time it is killed before it is through, as far as the last start's time tells. */
static void restart(struct child *server, const char *directory, uint64_t *random)
{
    static uint64_t start_us = 25000;
    const char *const *settings = next_random(random) % 4 == 0 ? journal_only : with_tables;
    for (int i = 0; i < LOADING_KILLS_MAX && next_random(random) % 2 == 0; i++) {
        child_launch(server, directory, settings);
        sleep_us((long)(next_random(random) % start_us));
        kill_server(server);
        figures.loading_kills += child_log_has(server, "\"recovery started\"") &&
                                 !child_log_has(server, "\"store opened\"");
    }
    uint64_t begun_us = now_us();
    child_start(server, directory, settings);
    start_us = now_us() - begun_us;
}

static void print_figures(void)
{
    unsigned writes = 0, conflicts = 0;
    for (unsigned i = 0; i < CLIENTS; i++) {
        writes += clients[i].writes;
        conflicts += clients[i].conflicts;
    }
    print_message("# %u kills, %u of them while loading, %u dumps, %u compactions\n", figures.kills,
                  figures.loading_kills, figures.dumps, figures.compactions);
    print_message("# %u answered writes, %u failed conditions, counter %u\n", writes, conflicts,
                  counter_before);
}

static unsigned kills_wanted(void)
{
    const char *wanted = getenv("KEYREST_KILLS");
    return wanted != NULL ? (unsigned)atoi(wanted) : KILLS;
}

static void a_hundred_kills_lose_no_answered_write_and_invent_none(void **state)
{
    (void)state;
    struct child server = {0};
    char *directory = test_directory_make();
    uint64_t seed = random_u64(), random = seed;
    print_message("# seed %016llx\n", (unsigned long long)seed);
    for (unsigned i = 0; i < CLIENTS; i++)
        clients[i] = (struct client){.number = i, .random = next_random(&random)};
    child_start(&server, directory, with_tables);
    assert_int_equal(wire_ask(server.port, "PUT", "/keys/counter", "", "0", 1, NULL), 201);
    while (figures.kills < kills_wanted()) {
        run_clients_and_kill(&server, &random);
        restart(&server, directory, &random);
        verify(server.port);
    }
    assert_int_equal(child_end(&server, SIGTERM), 0);
    child_start(&server, directory, journal_only); /* a clean stop keeps it as well */
    verify(server.port);
    assert_int_equal(child_end(&server, SIGTERM), 0);
    print_figures();
    assert_true(figures.loading_kills > 0 && figures.dumps > 0 && figures.compactions > 0);
    test_directory_remove(directory);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest promises[] = {
        TEST("a hundred times kill -9 lose no answered write and invent none",
             a_hundred_kills_lose_no_answered_write_and_invent_none),
    };
    return test_main(argc, argv, "kill9", promises);
}
