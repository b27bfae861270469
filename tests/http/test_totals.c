/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What many clients count and move at once adds up, over kill -9 and restarts of either durability.
 *
 * A counter that is counted by one is linearizable if and only if no two are told the same number,
 * whoever is answered before another asks knows of no more than the other, and no number is missing
 * but for requests whose answer never came. Money that batches move between accounts, under the ETags
 * that were read, is as much as it was. KEYREST_HISTORIES=500 makes it a soak.
 */
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#include "../../engine/random.h"
#include "../lib/child.h"
#include "../lib/test.h"
#include "../lib/threads.h"
#include "../lib/wire.h"

enum {
    HISTORIES = 2,
    ERAS = 6,
    CLIENTS = 12,
    RUN_MS_MIN = 20,
    RUN_MS_MAX = 250,
    COUNTS_MAX = 1 << 20,
    ACCOUNTS = 6,
    MONEY = 100, /* in each, at first */
};

#define SMALL_EVERYTHING                                                                           \
    "--value-bytes-max", "256KiB", "--journal-segment-bytes", "64KiB", "--memtable-bytes",         \
        "64KiB", "--compaction-interval-ms", "100ms"
static const char *const durable[] = {SMALL_EVERYTHING, NULL};
static const char *const lazy[] = {SMALL_EVERYTHING, "--durability", "interval:50ms", NULL};

/* One request and what it was told. */
struct told {
    uint64_t asked, answered; /* ticks */
    int64_t number;
    bool counts; /* else it read */
};

struct client {
    pthread_t thread;
    uint64_t random;
    struct wire *wire;
    struct told *told;
    size_t count, capacity;
    uint64_t unknown;
    char failure[200]; /* the first answer that should not be */
};

static struct client clients[CLIENTS];
static _Atomic uint64_t ticks;
static uint16_t port;
static _Atomic uint64_t moves, conflicts;

static uint64_t tick(void)
{
    return atomic_fetch_add(&ticks, 1) + 1;
}

static bool fail_client(struct client *client, const char *what, const struct wire_response *answer)
{
    if (client->failure[0] == '\0')
        snprintf(client->failure, sizeof client->failure, "%s: %u %.100s", what, answer->status,
                 answer->body);
    return false;
}

/* ---- counting ---- */

static void keep(struct client *client, const struct told *told)
{
    if (client->count == client->capacity) {
        client->capacity = client->capacity * 2 + 1024;
        client->told = realloc(client->told, client->capacity * sizeof *client->told);
        if (client->told == NULL)
            abort();
    }
    client->told[client->count++] = *told;
}

/* False: the server is gone, or said what it must not. */
static bool count_once(struct client *client)
{
    struct wire_response response;
    struct told told = {.counts = threads_random(&client->random) % 4 != 0, .asked = tick()};
    bool answered = told.counts
                        ? wire_request(client->wire, "POST", "/incr/n", "", NULL, 0, &response)
                        : wire_request(client->wire, "GET", "/keys/n", "", NULL, 0, &response);
    told.answered = tick();
    if (!answered || response.status == 504) {
        client->unknown += told.counts;
        if (answered)
            wire_response_done(&response);
        return answered;
    }
    bool good = response.status == 503 || response.status == 404 || response.status == 200;
    if (!good)
        fail_client(client, "a count", &response);
    told.number = response.status == 200 ? strtoll(response.body, NULL, 10) : 0;
    if (response.status != 503)
        keep(client, &told);
    wire_response_done(&response);
    return good;
}

static int by_answered(const void *left, const void *right)
{
    const struct told *a = left, *b = right;
    return (a->answered > b->answered) - (a->answered < b->answered);
}

static int by_asked(const void *left, const void *right)
{
    const struct told *a = left, *b = right;
    return (a->asked > b->asked) - (a->asked < b->asked);
}

/* Whoever asks after others were answered knows of no less than they; who counts, of more. */
static void check_order(const struct told *all, size_t count)
{
    struct told *answered = malloc(count * sizeof *answered);
    struct told *asked = malloc(count * sizeof *asked);
    int64_t most = 0;
    memcpy(answered, all, count * sizeof *answered);
    memcpy(asked, all, count * sizeof *asked);
    qsort(answered, count, sizeof *answered, by_answered);
    qsort(asked, count, sizeof *asked, by_asked);
    for (size_t i = 0, before = 0; i < count; i++) {
        for (; answered[before].answered < asked[i].asked; before++)
            most = answered[before].number > most ? answered[before].number : most;
        if (asked[i].number < most + asked[i].counts)
            fail_msg("%" PRId64 " was told after %" PRId64, asked[i].number, most);
    }
    free(answered);
    free(asked);
}

static void check_counts(int64_t final)
{
    static bool seen[COUNTS_MAX];
    struct told *all = NULL;
    size_t count = 0;
    uint64_t counted = 0, unknown = 0;
    memset(seen, 0, sizeof seen);
    for (unsigned i = 0; i < CLIENTS; i++) {
        all = realloc(all, (count + clients[i].count + 1) * sizeof *all);
        memcpy(all + count, clients[i].told, clients[i].count * sizeof *all);
        count += clients[i].count;
        unknown += clients[i].unknown;
    }
    for (size_t i = 0; i < count; i++) {
        assert_in_range(all[i].number, all[i].counts, final);
        if (!all[i].counts)
            continue;
        if (seen[all[i].number])
            fail_msg("%" PRId64 " was told twice", all[i].number);
        seen[all[i].number] = true;
        counted++;
    }
    assert_in_range(final, counted, counted + unknown);
    check_order(all, count);
    print_message("# %" PRIu64 " counted, %" PRIu64 " unknown, %" PRId64 " in the end\n", counted,
                  unknown, final);
    free(all);
}

/* ---- moving ---- */

struct account {
    char etag[48]; /* as it stands in JSON, within its quotes */
    long money;
};

static bool read_account(struct client *client, unsigned number, struct account *out_account)
{
    char target[32], etag[64];
    struct wire_response response;
    snprintf(target, sizeof target, "/keys/account/%u", number);
    if (!wire_request(client->wire, "GET", target, "", NULL, 0, &response))
        return false;
    bool good = response.status == 200 && wire_header(&response, "ETag", etag, sizeof etag);
    if (good) {
        snprintf(out_account->etag, sizeof out_account->etag, "\\\"%.*s\\\"", (int)strlen(etag) - 2,
                 etag + 1);
        out_account->money = strtol(response.body, NULL, 10);
    } else {
        fail_client(client, "an account", &response);
    }
    wire_response_done(&response);
    return good;
}

static bool move_once(struct client *client)
{
    static const char put[] =
        "{\"op\":\"put\",\"key\":\"account/%u\",\"value\":\"%ld\",\"if_match\":\"%s\"}";
    unsigned from = (unsigned)(threads_random(&client->random) % ACCOUNTS);
    unsigned to =
        (from + 1 + (unsigned)(threads_random(&client->random) % (ACCOUNTS - 1))) % ACCOUNTS;
    struct account payer, payee;
    struct wire_response response;
    char body[400], first[180], second[180];
    if (!read_account(client, from, &payer) || !read_account(client, to, &payee))
        return false;
    long sum = (long)(threads_random(&client->random) % 20);
    snprintf(first, sizeof first, put, from, payer.money - sum, payer.etag);
    snprintf(second, sizeof second, put, to, payee.money + sum, payee.etag);
    snprintf(body, sizeof body, "{\"ops\":[%s,%s]}", first, second);
    if (!wire_request(client->wire, "POST", "/batch", "Content-Type: application/json\r\n", body,
                      strlen(body), &response))
        return false;
    bool good = response.status == 200 || response.status == 412 || response.status == 503 ||
                response.status == 504;
    moves += response.status == 200;
    conflicts += response.status == 412;
    if (!good)
        fail_client(client, "a move", &response);
    wire_response_done(&response);
    return good;
}

static void make_accounts(void)
{
    char body[1000], *next = stpcpy(body, "{\"ops\":[");
    for (unsigned i = 0; i < ACCOUNTS; i++)
        next += sprintf(next, "%s{\"op\":\"put\",\"key\":\"account/%u\",\"value\":\"%d\"}",
                        i > 0 ? "," : "", i, MONEY);
    stpcpy(next, "]}");
    assert_int_equal(wire_ask(port, "POST", "/batch", "Content-Type: application/json\r\n", body,
                              strlen(body), NULL),
                     200);
}

static void check_accounts(void)
{
    long sum = 0;
    for (unsigned i = 0; i < ACCOUNTS; i++) {
        char target[32], *body = NULL;
        snprintf(target, sizeof target, "/keys/account/%u", i);
        assert_int_equal(wire_ask(port, "GET", target, "", NULL, 0, &body), 200);
        sum += strtol(body, NULL, 10);
        free(body);
    }
    assert_int_equal(sum, ACCOUNTS * MONEY);
}

/* ---- eras ---- */

static bool (*step)(struct client *client);

static void *work_until_the_end(void *context)
{
    struct client *client = context;
    client->wire = wire_make(port);
    for (bool going_on = client->wire != NULL; going_on;)
        going_on = step(client);
    wire_free(client->wire);
    client->wire = NULL;
    return NULL;
}

static void run_era(struct child *server, uint64_t *random)
{
    long run_ms = RUN_MS_MIN + (long)(threads_random(random) % (RUN_MS_MAX - RUN_MS_MIN));
    bool kill = threads_random(random) % 5 != 0;
    for (unsigned i = 0; i < CLIENTS; i++)
        assert_int_equal(pthread_create(&clients[i].thread, NULL, work_until_the_end, &clients[i]),
                         0);
    nanosleep(&(struct timespec){0, run_ms * 1000000}, NULL);
    assert_int_equal(child_end(server, kill ? SIGKILL : SIGTERM), kill ? 128 + SIGKILL : 0);
    for (unsigned i = 0; i < CLIENTS; i++)
        pthread_join(clients[i].thread, NULL);
    for (unsigned i = 0; i < CLIENTS; i++)
        if (clients[i].failure[0] != '\0')
            fail_msg("%s", clients[i].failure);
    child_expect_no_errors(server);
}

static void begin_history(uint64_t *random)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        free(clients[i].told);
        clients[i] = (struct client){.random = threads_random(random) | 1};
    }
}

/* Runs the eras, each over what the one before left; `begun` sees the first, `ended` what each left. */
static void run_history(uint64_t *random, void (*begun)(void), void (*ended)(void))
{
    struct child server = {0};
    char *directory = test_directory_make();
    begin_history(random);
    for (unsigned era = 0; era <= ERAS; era++) {
        child_start(&server, directory, threads_random(random) % 2 == 0 ? lazy : durable);
        port = server.port;
        if (era == 0)
            begun();
        else
            ended();
        if (era < ERAS)
            run_era(&server, random);
    }
    assert_int_equal(child_end(&server, SIGTERM), 0);
    test_directory_remove(directory);
}

static void run_histories(bool (*of)(struct client *client), void (*begun)(void),
                          void (*ended)(void))
{
    const char *wanted = getenv("KEYREST_HISTORIES");
    uint64_t seed = random_u64() | 1, random = seed;
    step = of;
    print_message("# seed %016" PRIx64 "\n", seed);
    for (int left = wanted != NULL ? atoi(wanted) : HISTORIES; left > 0; left--)
        run_history(&random, begun, ended);
    begin_history(&random);
}

static void begin_counter(void)
{
    assert_int_equal(wire_ask(port, "POST", "/incr/n?by=0", "", NULL, 0, NULL), 200);
}

static void check_counter(void)
{
    char *body = NULL;
    assert_int_equal(wire_ask(port, "GET", "/keys/n", "", NULL, 0, &body), 200);
    check_counts(strtoll(body, NULL, 10));
    free(body);
}

static void counts_are_linearizable(void **state)
{
    (void)state;
    run_histories(count_once, begin_counter, check_counter);
}

static void batches_move_money_and_lose_none(void **state)
{
    (void)state;
    run_histories(move_once, make_accounts, check_accounts);
    print_message("# %" PRIu64 " moves, %" PRIu64 " conflicts\n", (uint64_t)moves,
                  (uint64_t)conflicts);
    assert_true(moves > 0 && conflicts > 0);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest promises[] = {
        TEST("counts are linearizable, over kill -9 and restarts", counts_are_linearizable),
        TEST("batches move money and lose none, over kill -9 and restarts",
             batches_move_money_and_lose_none),
    };
    return test_main(argc, argv, "totals", promises);
}
