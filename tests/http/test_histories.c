/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What concurrent clients are told about a few keys, over kill -9 and restarts, is what a single
 * register per key could have answered (lib/linear.h). Clients put, delete, get and head, with and
 * without conditions; some hang up without waiting for the answer, some in the middle of a body. A
 * history runs through several eras, a server process each, of either durability: a process that
 * dies takes no write with it in interval mode either.
 *
 * Each put has a number for itself, its version: the body is made of it, and Content-Type carries
 * it, so that HEAD tells it too. ETags are checked beside: one version, one sequence.
 * KEYREST_HISTORIES=500 makes it a soak.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#include "../../engine/random.h"
#include "../lib/child.h"
#include "../lib/linear.h"
#include "../lib/test.h"
#include "../lib/threads.h"
#include "../lib/wire.h"

enum {
    HISTORIES = 12,
    ERAS = 8,
    CLIENTS = 12,
    KEYS = 3,
    RUN_MS_MIN = 20,
    RUN_MS_MAX = 250,
    CUTS_PER_ERA = 2, /* of a client: each leaves an unknown write until the era's end */
    SMALL_BYTES_MAX = 1500,
    LARGE_BYTES = 100000,
    VERSIONS_MAX = 1 << 20, /* in one history */
    SHOWN = 12,             /* operations before one that nothing explains */
};

#define SMALL_EVERYTHING                                                                           \
    "--value-bytes-max", "256KiB", "--journal-segment-bytes", "64KiB", "--memtable-bytes",         \
        "64KiB", "--compaction-interval-ms", "100ms"
static const char *const durable[] = {SMALL_EVERYTHING, NULL};
static const char *const lazy[] = {SMALL_EVERYTHING, "--durability", "interval:50ms", NULL};

/* An ETag, taken apart. sequence 0: none. */
struct tag {
    uint64_t epoch, sequence;
};

struct record {
    unsigned key;
    struct linear_operation operation;
    struct tag tag; /* that the answer told */
};

/* A version that a client once saw. */
struct known {
    uint32_t version; /* 0: none yet */
    struct tag tag;
};

struct client {
    pthread_t thread;
    unsigned number;
    uint64_t random;
    struct wire *wire;
    unsigned cuts; /* left in this era */
    struct known last[KEYS], earlier[KEYS];
    struct record *records; /* of this era */
    size_t count, capacity;
    char failure[200]; /* the first answer that should not be */
};

/* Of the history under way. */
static struct client clients[CLIENTS];
static struct linear_operation *histories[KEYS];
static size_t history_counts[KEYS], history_capacities[KEYS];
static uint32_t version_of_sequence[VERSIONS_MAX];
static uint64_t sequence_of_version[VERSIONS_MAX];
static _Atomic uint32_t last_version;
static _Atomic uint64_t ticks; /* the clock of all histories */
/* of the era under way */
static uint16_t port;
static uint64_t epoch;
/* of all */
static struct {
    unsigned eras, kills, unknown;
    size_t operations, longest;
} figures;

static uint64_t tick(void)
{
    return atomic_fetch_add(&ticks, 1) + 1;
}

static unsigned below(struct client *client, unsigned end)
{
    return (unsigned)(threads_random(&client->random) % end);
}

static bool fail_client(struct client *client, const char *what, unsigned status)
{
    if (client->failure[0] == '\0')
        snprintf(client->failure, sizeof client->failure, "client %u: %s, status %u",
                 client->number, what, status);
    return false;
}

/* ---- values ---- */

static size_t fill(uint32_t version, char *buffer)
{
    uint64_t random = version;
    uint64_t kind = threads_random(&random);
    size_t size = kind % 64 == 0 ? LARGE_BYTES : kind % SMALL_BYTES_MAX;
    for (size_t i = 0; i < size; i++)
        buffer[i] = (char)threads_random(&random);
    return size;
}

static bool is_value_of(uint32_t version, const struct wire_response *response)
{
    static _Thread_local char buffer[LARGE_BYTES];
    size_t size = fill(version, buffer);
    return response->body_bytes == size && memcmp(response->body, buffer, size) == 0;
}

static uint32_t told_version(const struct wire_response *response)
{
    char type[64];
    unsigned version = 0;
    wire_header(response, "Content-Type", type, sizeof type);
    sscanf(type, "application/x-version-%u", &version);
    return version;
}

static struct tag told_tag(const struct wire_response *response)
{
    char etag[64];
    unsigned long long of_epoch, sequence;
    wire_header(response, "ETag", etag, sizeof etag);
    if (sscanf(etag, "\"%12llx-%llx\"", &of_epoch, &sequence) != 2)
        return (struct tag){0};
    return (struct tag){of_epoch, sequence};
}

/* ---- one request ---- */

struct request {
    const char *method;
    unsigned key;
    bool has_body;
    size_t body_bytes;
    char headers[200];
    char body[LARGE_BYTES];
};

/* Mostly what was seen last; sometimes what was seen before, whose epoch may be over. */
static void write_tag_condition(struct client *client, unsigned key, bool match, char *out_header,
                                struct linear_operation *operation)
{
    const struct known *known = below(client, 5) == 0 ? &client->earlier[key] : &client->last[key];
    if (known->version == 0)
        return;
    operation->condition = match ? LINEAR_IF_IS : LINEAR_IF_NOT;
    operation->expected = known->tag.epoch == epoch ? known->version : LINEAR_UNTOLD;
    sprintf(out_header, "If-%sMatch: \"%012llx-%llx\"\r\n", match ? "" : "None-",
            (unsigned long long)known->tag.epoch, (unsigned long long)known->tag.sequence);
}

static void write_condition(struct client *client, unsigned key, char *out_header,
                            struct linear_operation *operation)
{
    *out_header = '\0';
    switch (below(client, 8)) {
    case 0:
        operation->condition = LINEAR_IF_ABSENT;
        strcpy(out_header, "If-None-Match: *\r\n");
        break;
    case 1:
        operation->condition = LINEAR_IF_PRESENT;
        strcpy(out_header, "If-Match: *\r\n");
        break;
    case 2:
        write_tag_condition(client, key, false, out_header, operation);
        break;
    case 3:
    case 4:
    case 5:
        write_tag_condition(client, key, true, out_header, operation);
        break;
    }
}

static void make_request(struct client *client, struct request *request,
                         struct linear_operation *operation)
{
    static const char *const methods[] = {"GET", "GET", "GET", "HEAD",   "PUT",   "PUT",
                                          "PUT", "PUT", "PUT", "DELETE", "DELETE"};
    request->method = methods[below(client, sizeof methods / sizeof methods[0])];
    request->key = below(client, KEYS);
    request->has_body = request->method[0] == 'P';
    request->body_bytes = 0;
    *operation = (struct linear_operation){
        .kind = request->has_body           ? LINEAR_PUT
                : request->method[0] == 'D' ? LINEAR_DELETE
                                            : LINEAR_READ,
        .client = client->number,
    };
    write_condition(client, request->key, request->headers, operation);
    if (!request->has_body)
        return;
    operation->version = atomic_fetch_add(&last_version, 1) + 1;
    request->body_bytes = fill(operation->version, request->body);
    sprintf(request->headers + strlen(request->headers),
            "Content-Type: application/x-version-%u\r\nContent-Length: %zu\r\n", operation->version,
            request->body_bytes);
}

/* The first `body_bytes` of the body only. */
static bool send_request(struct client *client, const struct request *request, size_t body_bytes)
{
    return wire_print(client->wire, "%s /keys/%u HTTP/1.1\r\nHost: localhost\r\n%s\r\n",
                      request->method, request->key, request->headers) &&
           wire_send(client->wire, request->body, body_bytes);
}

/* ---- the answer ---- */

static enum linear_outcome outcome_of(enum linear_kind kind, unsigned status)
{
    switch (status) {
    case 200:
        return LINEAR_FOUND;
    case 201:
        return LINEAR_CREATED;
    case 204:
        return kind == LINEAR_PUT ? LINEAR_REPLACED : LINEAR_DELETED;
    case 404:
        return LINEAR_MISSED;
    case 304:
    case 412:
        return LINEAR_FAILED;
    default:
        return LINEAR_UNKNOWN;
    }
}

static void remember(struct client *client, unsigned key, uint32_t version, struct tag tag)
{
    client->earlier[key] = client->last[key];
    client->last[key] = (struct known){version, tag};
}

/* False: not an answer that the request can have. */
static bool read_answer(struct client *client, const struct request *request,
                        const struct wire_response *response, struct record *record)
{
    struct linear_operation *operation = &record->operation;
    operation->outcome = outcome_of(operation->kind, response->status);
    record->tag = told_tag(response);
    bool has_tag = record->tag.sequence != 0;
    if (has_tag && record->tag.epoch != epoch)
        return fail_client(client, "an ETag of another epoch", response->status);
    switch (operation->outcome) {
    case LINEAR_FOUND:
        operation->seen = told_version(response);
        if (!has_tag || operation->seen == 0 || operation->kind != LINEAR_READ ||
            (request->method[0] == 'G' && !is_value_of(operation->seen, response)))
            return fail_client(client, "a value that nobody put", response->status);
        remember(client, request->key, operation->seen, record->tag);
        return true;
    case LINEAR_CREATED:
    case LINEAR_REPLACED:
        remember(client, request->key, operation->version, record->tag);
        return has_tag || fail_client(client, "no ETag", response->status);
    case LINEAR_FAILED:
        operation->seen = has_tag ? LINEAR_UNTOLD : LINEAR_ABSENT;
        return true;
    case LINEAR_DELETED:
    case LINEAR_MISSED:
        return true;
    case LINEAR_UNKNOWN:
        return response->status == 504 || fail_client(client, request->method, response->status);
    }
    return false;
}

static void keep(struct client *client, const struct record *record)
{
    if (client->count == client->capacity) {
        client->capacity = client->capacity * 2 + 1024;
        client->records = realloc(client->records, client->capacity * sizeof *client->records);
        if (client->records == NULL)
            abort();
    }
    client->records[client->count++] = *record;
}

/* ---- a client ---- */

static bool reconnect(struct client *client)
{
    wire_free(client->wire);
    client->wire = wire_make(port);
    return client->wire != NULL;
}

/* A write whose answer nobody waits for; one in two is not even sent whole, and must not happen. */
static bool hang_up(struct client *client, const struct request *request, struct record *record)
{
    bool whole = below(client, 2) == 0 || request->body_bytes < 2;
    client->cuts--;
    send_request(client, request, whole ? request->body_bytes : request->body_bytes / 2);
    if (whole)
        keep(client, record);
    return reconnect(client);
}

/* False: the server is gone. */
static bool step(struct client *client)
{
    static _Thread_local struct request request;
    struct record record = {0};
    struct wire_response response;
    make_request(client, &request, &record.operation);
    record.key = request.key;
    record.operation.outcome = LINEAR_UNKNOWN;
    record.operation.invoked = tick();
    bool writes = record.operation.kind != LINEAR_READ;
    if (writes && client->cuts > 0 && below(client, 100) == 0)
        return hang_up(client, &request, &record);
    if (!send_request(client, &request, request.body_bytes) ||
        !wire_read(client->wire, request.method[0] == 'H', &response)) {
        if (writes)
            keep(client, &record);
        return false;
    }
    bool refused = response.status == 503; /* not applied, it says */
    bool good = refused || read_answer(client, &request, &response, &record);
    record.operation.answered = tick();
    wire_response_done(&response);
    if (!refused)
        keep(client, &record);
    return good;
}

static void *work_until_the_end(void *context)
{
    struct client *client = context;
    client->cuts = CUTS_PER_ERA;
    for (bool going_on = reconnect(client); going_on;)
        going_on = step(client);
    wire_free(client->wire);
    client->wire = NULL;
    return NULL;
}

/* ---- an era ---- */

/* Which version has which sequence never changes, over all eras. */
static void note_tag(uint32_t version, uint64_t sequence)
{
    assert_in_range(sequence, 1, VERSIONS_MAX - 1);
    assert_in_range(version, 1, VERSIONS_MAX - 1);
    if (sequence_of_version[version] == 0 && version_of_sequence[sequence] == 0) {
        sequence_of_version[version] = sequence;
        version_of_sequence[sequence] = version;
    }
    if (sequence_of_version[version] != sequence || version_of_sequence[sequence] != version)
        fail_msg("version %u has sequence %llu, which had version %u", version,
                 (unsigned long long)sequence, version_of_sequence[sequence]);
}

static void note_tag_of(const struct record *record)
{
    const struct linear_operation *operation = &record->operation;
    if (operation->outcome == LINEAR_CREATED || operation->outcome == LINEAR_REPLACED)
        note_tag(operation->version, record->tag.sequence);
    if (operation->outcome == LINEAR_FOUND)
        note_tag(operation->seen, record->tag.sequence);
}

static void add_to_history(const struct record *record, uint64_t end)
{
    unsigned key = record->key;
    if (history_counts[key] == history_capacities[key]) {
        history_capacities[key] = history_capacities[key] * 2 + 4096;
        histories[key] = realloc(histories[key], history_capacities[key] * sizeof *histories[key]);
        assert_non_null(histories[key]);
    }
    struct linear_operation *operation = &histories[key][history_counts[key]++];
    *operation = record->operation;
    if (operation->outcome == LINEAR_UNKNOWN)
        operation->answered = end;
    if (operation->outcome == LINEAR_FAILED && operation->seen == LINEAR_UNTOLD &&
        version_of_sequence[record->tag.sequence] != 0)
        operation->seen = version_of_sequence[record->tag.sequence];
    figures.unknown += operation->outcome == LINEAR_UNKNOWN;
}

/* What was under way has happened by now, or never will. */
static void gather_era(void)
{
    uint64_t end = tick();
    for (unsigned i = 0; i < CLIENTS; i++)
        for (size_t j = 0; j < clients[i].count; j++)
            note_tag_of(&clients[i].records[j]);
    for (unsigned i = 0; i < CLIENTS; i++) {
        for (size_t j = 0; j < clients[i].count; j++)
            add_to_history(&clients[i].records[j], end);
        clients[i].count = 0;
    }
}

static uint64_t ask_epoch(void)
{
    char *body = NULL;
    unsigned long long told = 0;
    assert_int_equal(wire_ask(port, "GET", "/", "", NULL, 0, &body), 200);
    const char *member = strstr(body, "\"epoch\"");
    assert_non_null(member);
    assert_int_equal(sscanf(member, "\"epoch\": \"%12llx\"", &told), 1);
    free(body);
    return told;
}

/* A new epoch comes only where a power cut could have taken sequences back. */
static void begin_era(struct child *server, const char *directory, bool is_lazy, bool lazy_kill)
{
    uint64_t before = epoch;
    child_start(server, directory, is_lazy ? lazy : durable);
    port = server->port;
    epoch = ask_epoch();
    if (before != 0)
        assert_int_equal(epoch != before, lazy_kill);
    figures.eras++;
}

static void run_clients(struct child *server, long run_ms, bool kill)
{
    for (unsigned i = 0; i < CLIENTS; i++)
        assert_int_equal(pthread_create(&clients[i].thread, NULL, work_until_the_end, &clients[i]),
                         0);
    nanosleep(&(struct timespec){0, run_ms * 1000000}, NULL);
    int code = child_end(server, kill ? SIGKILL : SIGTERM);
    if (code != (kill ? 128 + SIGKILL : 0))
        fail_msg("the server ended with %d; its log: %s", code, server->log_path);
    figures.kills += kill;
    for (unsigned i = 0; i < CLIENTS; i++)
        pthread_join(clients[i].thread, NULL);
    for (unsigned i = 0; i < CLIENTS; i++)
        if (clients[i].failure[0] != '\0')
            fail_msg("%s", clients[i].failure);
    child_expect_no_errors(server);
}

/* ---- a history ---- */

static void fail_history(unsigned key, size_t stuck)
{
    char line[LINEAR_LINE_BYTES];
    for (size_t i = stuck > SHOWN ? stuck - SHOWN : 0; i <= stuck; i++) {
        linear_describe(&histories[key][i], line);
        print_message("# %s\n", line);
    }
    fail_msg("key %u: no order of what was done explains the last of these answers", key);
}

static void judge(void)
{
    for (unsigned key = 0; key < KEYS; key++) {
        size_t stuck = 0, count = history_counts[key];
        enum linear_verdict verdict = linear_check(histories[key], count, &stuck);
        if (verdict == LINEAR_BAD)
            fail_history(key, stuck);
        assert_int_equal(verdict, LINEAR_GOOD);
        figures.operations += count;
        figures.longest = count > figures.longest ? count : figures.longest;
    }
}

static void begin_history(uint64_t *random)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        free(clients[i].records);
        clients[i] = (struct client){.number = i, .random = threads_random(random) | 1};
    }
    memset(version_of_sequence, 0, sizeof version_of_sequence);
    memset(sequence_of_version, 0, sizeof sequence_of_version);
    memset(history_counts, 0, sizeof history_counts);
    last_version = 0;
    epoch = 0;
}

static void run_history(uint64_t *random)
{
    struct child server = {0};
    bool lazy_kill = false;
    char *directory = test_directory_make();
    begin_history(random);
    for (unsigned era = 0; era < ERAS; era++) {
        bool is_lazy = threads_random(random) % 2 == 0, kill = threads_random(random) % 5 != 0;
        begin_era(&server, directory, is_lazy, lazy_kill);
        run_clients(&server,
                    RUN_MS_MIN + (long)(threads_random(random) % (RUN_MS_MAX - RUN_MS_MIN)), kill);
        gather_era();
        lazy_kill = is_lazy && kill;
    }
    judge();
    test_directory_remove(directory);
}

static void what_clients_are_told_is_linearizable(void **state)
{
    (void)state;
    const char *wanted = getenv("KEYREST_HISTORIES");
    uint64_t seed = random_u64() | 1, random = seed;
    print_message("# seed %016llx\n", (unsigned long long)seed);
    for (int left = wanted != NULL ? atoi(wanted) : HISTORIES; left > 0; left--)
        run_history(&random);
    print_message("# %u eras, %u of them ended by kill -9\n", figures.eras, figures.kills);
    print_message("# %zu operations, %u of them unknown; %zu in the longest history\n",
                  figures.operations, figures.unknown, figures.longest);
    for (unsigned i = 0; i < CLIENTS; i++)
        free(clients[i].records);
    for (unsigned key = 0; key < KEYS; key++)
        free(histories[key]);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest promises[] = {
        TEST("what clients are told is linearizable, over kill -9 and restarts",
             what_clients_are_told_is_linearizable),
    };
    return test_main(argc, argv, "histories", promises);
}
