/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients that follow /changes over real sockets: across twenty kills they miss nothing and hear of
 * nothing that nobody wrote; they are noticed when they leave, cut when they do not read, kept under
 * their cap, and leave the rest of the connections to others. KEYREST_KILLS=200 makes it a soak.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "../lib/served.h"
#include "../lib/wire.h"

enum {
    TRIES = 2000,
    KILLS = 20,
    WRITERS = 2,
    KEYS = 16,
    WRITES_MAX = 200000,
    CROWD = 64,
    CROWD_WRITES = 300
};

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 }; /* their own memory is a multiple */
#else
enum { SANITIZED = 0 };
#endif

/* ---- a stream of events ---- */

/* By HTTP/1.0, which knows no chunks. */
struct stream {
    FILE *lines; /* NULL: refused, or not connected */
    char id[40]; /* the last one of a whole event */
};

struct event {
    char id[40], name[16];
    char *data; /* malloc'ed */
};

static void stream_open(struct stream *stream, uint16_t port, const char *query)
{
    struct wire wire;
    char *line = NULL, last[80] = "";
    size_t capacity = 0;
    stream->lines = NULL;
    if (stream->id[0] != '\0')
        snprintf(last, sizeof last, "Last-Event-ID: %s\r\n", stream->id);
    if (!wire_open(&wire, port))
        return;
    wire_print(&wire,
               "GET /changes?%s HTTP/1.0\r\nHost: localhost\r\nAccept: text/event-stream\r\n%s\r\n",
               query, last);
    stream->lines = fdopen(wire.fd, "r");
    assert_non_null(stream->lines);
    if (getline(&line, &capacity, stream->lines) < 0 || strstr(line, " 200 ") == NULL) {
        fclose(stream->lines);
        stream->lines = NULL;
    }
    while (stream->lines != NULL && getline(&line, &capacity, stream->lines) > 2)
        ; /* the headers */
    free(line);
}

static void stream_close(struct stream *stream)
{
    if (stream->lines != NULL)
        fclose(stream->lines);
    stream->lines = NULL;
}

static void event_done(struct event *event)
{
    free(event->data);
    *event = (struct event){.data = NULL};
}

static void take_field(struct event *event, const char *line)
{
    sscanf(line, "id: %39s", event->id);
    sscanf(line, "event: %15s", event->name);
    if (strncmp(line, "data: ", 6) == 0)
        event->data = strdup(line + 6);
}

/* The next block, an event or one of an id alone; one that is cut off is none. False: the end. */
static bool stream_next(struct stream *stream, struct event *event)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t size = 0;
    *event = (struct event){.data = NULL};
    while (stream->lines != NULL && (size = getline(&line, &capacity, stream->lines)) > 1)
        take_field(event, line);
    bool whole = size == 1 && line[0] == '\n';
    free(line);
    if (!whole)
        event_done(event);
    else if (event->id[0] != '\0')
        memcpy(stream->id, event->id, sizeof stream->id);
    return whole;
}

static uint64_t sequence_of(const char *id)
{
    const char *dash = strchr(id, '-');
    return dash != NULL ? strtoull(dash + 1, NULL, 16) : 0;
}

/* ---- figures ---- */

static uint64_t metric(uint16_t port, const char *name)
{
    char *body = NULL, wanted[80];
    assert_int_equal(wire_ask(port, "GET", "/metrics", "", NULL, 0, &body), 200);
    snprintf(wanted, sizeof wanted, "\nkeyrest_%s ", name);
    const char *found = strstr(body, wanted);
    assert_non_null(found);
    uint64_t value = strtoull(found + strlen(wanted), NULL, 10);
    free(body);
    return value;
}

static bool comes_to(uint16_t port, const char *name, uint64_t value)
{
    for (int tries = 0; tries < TRIES; tries++) {
        if (metric(port, name) == value)
            return true;
        pause_ms(10);
    }
    return false;
}

/* ---- across kills ---- */

/* All writes have numbers, which are their values. Those of one writer leave its remainder. */
struct writer {
    pthread_t thread;
    uint16_t port;
    unsigned number;
    unsigned long attempted; /* how many */
};

static struct writer writers[WRITERS];
static uint64_t answered[WRITES_MAX * WRITERS]; /* the sequence of each; 0: nobody knows */

static struct {
    struct stream stream;
    uint64_t last;                        /* the sequence of the last event */
    uint64_t heard[WRITES_MAX * WRITERS]; /* the sequence of each write's event */
    unsigned long events;
    char failure[200];
} follower;

static void *write_until_it_ends(void *argument)
{
    struct writer *writer = argument;
    struct wire *wire = wire_make(writer->port);
    struct wire_response response;
    bool going_on = wire != NULL;
    while (going_on && writer->attempted < WRITES_MAX) {
        char target[40], value[24], etag[40] = "";
        unsigned long write = writer->attempted++ * WRITERS + writer->number;
        snprintf(target, sizeof target, "/keys/w/%lu", write % KEYS);
        snprintf(value, sizeof value, "%lu", write);
        going_on = wire_request(wire, "PUT", target, "", value, strlen(value), &response);
        if (!going_on)
            break;
        going_on = response.status == 201 || response.status == 204;
        if (going_on && wire_header(&response, "ETag", etag, sizeof etag))
            answered[write] = sequence_of(etag);
        wire_response_done(&response);
    }
    wire_free(wire);
    return NULL;
}

static bool fail_follower(const char *what, const struct event *event)
{
    if (follower.failure[0] == '\0')
        snprintf(follower.failure, sizeof follower.failure, "%s: id %s, data %.80s", what,
                 event->id, event->data != NULL ? event->data : "");
    return false;
}

/* Each event is the next sequence's, and tells a write that somebody sent. */
static bool take_event(const struct event *event)
{
    uint64_t sequence = sequence_of(event->id);
    if (event->data == NULL)
        return sequence >= follower.last || fail_follower("a heartbeat goes back", event);
    const char *value = strstr(event->data, "\"value\":\"");
    if (strcmp(event->name, "put") != 0 || value == NULL)
        return fail_follower("no put", event);
    unsigned long write = strtoul(value + 9, NULL, 10);
    if (sequence != follower.last + 1)
        return fail_follower("a gap", event);
    if (write >= WRITES_MAX * WRITERS || follower.heard[write] != 0)
        return fail_follower("a write that comes again", event);
    follower.heard[write] = follower.last = sequence;
    follower.events++;
    return true;
}

/* Until the stream ends, or `until` was heard. */
static void follow(uint16_t port, uint64_t until)
{
    struct event event;
    stream_open(&follower.stream, port, "since=0&values=true&prefix=w/");
    while (follower.last < until && stream_next(&follower.stream, &event)) {
        bool good = take_event(&event);
        event_done(&event);
        if (!good)
            break;
    }
    stream_close(&follower.stream);
}

static void *follow_until_it_ends(void *argument)
{
    follow(*(const uint16_t *)argument, UINT64_MAX);
    return NULL;
}

static void run_and_kill(struct fixture *fixture, long run_ms)
{
    pthread_t thread;
    uint16_t port = fixture->server.port;
    assert_int_equal(pthread_create(&thread, NULL, follow_until_it_ends, &port), 0);
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i].port = port;
        writers[i].number = i;
        assert_int_equal(pthread_create(&writers[i].thread, NULL, write_until_it_ends, &writers[i]),
                         0);
    }
    pause_ms(run_ms);
    child_end(&fixture->server, SIGKILL);
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_join(writers[i].thread, NULL);
    pthread_join(thread, NULL);
}

/* What was answered was heard, at its place; what was heard was sent. */
static void check_all(void)
{
    unsigned long unanswered = 0;
    assert_string_equal(follower.failure, "");
    for (unsigned long write = 0; write < WRITES_MAX * WRITERS; write++) {
        bool sent = write / WRITERS < writers[write % WRITERS].attempted;
        if (answered[write] != 0)
            assert_int_equal(follower.heard[write], answered[write]);
        else if (follower.heard[write] != 0)
            unanswered++;
        assert_true(sent || follower.heard[write] == 0);
    }
    printf("# %lu events, %lu of writes whose answers were lost\n", follower.events, unanswered);
}

static void a_feed_has_no_gap_across_kills(void **state)
{
    static const char *const settings[] = {"--value-bytes-max",
                                           "256KiB",
                                           "--journal-segment-bytes",
                                           "64KiB",
                                           "--memtable-bytes",
                                           "64KiB",
                                           "--compaction-interval-ms",
                                           "100ms",
                                           "--heartbeat-ms",
                                           "50ms",
                                           NULL};
    const char *wanted = getenv("KEYREST_KILLS");
    int kills = wanted != NULL ? atoi(wanted) : KILLS;
    uint64_t random = 20261;
    struct fixture *fixture = served_start(state, settings);
    for (int kill = 0; kill < kills && follower.failure[0] == '\0'; kill++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        run_and_kill(fixture, 50 + (long)(random >> 33) % 150);
        served_start(state, settings);
    }
    char *now = NULL;
    assert_int_equal(wire_ask(fixture->server.port, "GET", "/changes", "", NULL, 0, &now), 200);
    follow(fixture->server.port, sequence_of(strstr(now, "next")));
    free(now);
    check_all();
    child_expect_no_errors(&fixture->server);
}

/* ---- coming and going ---- */

static void who_leaves_is_noticed_and_makes_room(void **state)
{
    static const char *const targets[] = {"/changes?wait=60s", "/keys/k?wait=60s", NULL};
    uint16_t port =
        served_start(state, (const char *const[]){"--watchers-max", "1", NULL})->server.port;
    assert_int_equal(wire_ask(port, "PUT", "/keys/k", "", "v", 1, NULL), 201);
    for (size_t i = 0; i < 3; i++) {
        struct wire *wire = wire_make(port);
        assert_non_null(wire);
        assert_true(
            wire_print(wire, "GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n\r\n",
                       targets[i] != NULL ? targets[i] : "/changes",
                       targets[i] != NULL ? "If-None-Match: *" : "Accept: text/event-stream"));
        assert_true(comes_to(port, "watchers", 1));
        assert_int_equal(wire_ask(port, "GET", targets[0], "", NULL, 0, NULL), 503);
        wire_free(wire);
        assert_true(comes_to(port, "watchers", 0));
    }
    assert_true(comes_to(port, "clients_gone_total", 3));
}

/* Ten of twenty connections may watch; the other ten serve. */
static void watchers_leave_connections_to_others(void **state)
{
    struct stream streams[11] = {{.lines = NULL}};
    uint16_t port =
        served_start(state, (const char *const[]){"--connections-max", "20", NULL})->server.port;
    for (int i = 0; i < 11; i++)
        stream_open(&streams[i], port, "");
    assert_non_null(streams[9].lines);
    assert_null(streams[10].lines);
    assert_int_equal(metric(port, "watchers"), 10);
    for (int i = 0; i < 10; i++)
        assert_int_equal(wire_ask(port, "GET", "/keys/none", "", NULL, 0, NULL), 404);
    for (int i = 0; i < 10; i++)
        stream_close(&streams[i]);
    assert_true(comes_to(port, "watchers", 0));
}

static void who_does_not_read_is_cut(void **state)
{
    enum { VALUE_BYTES = 1 << 20, VALUES = 40 };
    static char value[VALUE_BYTES];
    struct stream stream = {.lines = NULL};
    uint16_t port =
        served_start(state, (const char *const[]){"--header-ms-max", "300ms",
                                                  "--body-bytes-per-second-min", "1GiB", NULL})
            ->server.port;
    memset(value, 'x', sizeof value);
    stream_open(&stream, port, "values=true");
    assert_non_null(stream.lines);
    for (int i = 0; i < VALUES; i++)
        assert_true(wire_ask(port, "PUT", "/keys/k", "", value, sizeof value, NULL) < 300);
    assert_true(comes_to(port, "connections_cut_answer_total", 1));
    assert_true(comes_to(port, "watchers", 0));
    stream_close(&stream);
}

static void all_hear_all_and_a_stop_ends_them(void **state)
{
    struct stream streams[CROWD] = {{.lines = NULL}};
    struct event event;
    struct fixture *fixture = served_start(state, (const char *const[]){"--drain-ms", "1h", NULL});
    uint16_t port = fixture->server.port;
    for (int i = 0; i < CROWD; i++) {
        stream_open(&streams[i], port, "");
        assert_true(stream_next(&streams[i], &event)); /* where it begins */
        event_done(&event);
    }
    for (int i = 0; i < CROWD_WRITES; i++)
        assert_true(wire_ask(port, "PUT", "/keys/k", "", "v", 1, NULL) < 300);
    for (int i = 0; i < CROWD; i++)
        for (uint64_t sequence = 1; sequence <= CROWD_WRITES; sequence++) {
            assert_true(stream_next(&streams[i], &event));
            assert_int_equal(sequence_of(event.id), sequence);
            assert_string_equal(event.name, "put");
            event_done(&event);
        }
    assert_int_equal(metric(port, "watchers"), CROWD);
    assert_int_equal(child_end(&fixture->server, SIGTERM), 0);
    for (int i = 0; i < CROWD; i++) {
        assert_false(stream_next(&streams[i], &event));
        stream_close(&streams[i]);
    }
}

static uint64_t peak_bytes(const struct fixture *fixture)
{
    char path[64], line[256];
    unsigned long kib = 0;
    snprintf(path, sizeof path, "/proc/%d/status", fixture->server.pid);
    FILE *file = fopen(path, "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        sscanf(line, "VmHWM: %lu", &kib);
    if (file != NULL)
        fclose(file);
    return (uint64_t)kib << 10;
}

/* All wake at once, and each would read what was written: its memory would be theirs times that. */
static void a_large_value_takes_no_memory_per_watcher(void **state)
{
    enum { VALUE_BYTES = 16 << 20, PEAK_BYTES_MAX = 600 << 20 };
    struct stream streams[CROWD] = {{.lines = NULL}};
    struct fixture *fixture = served_start(state, NULL);
    uint16_t port = fixture->server.port;
    struct event event;
    AUTO_FREE char *value = calloc(1, VALUE_BYTES);
    for (int i = 0; i < CROWD; i++) {
        stream_open(&streams[i], port, "");
        assert_true(stream_next(&streams[i], &event)); /* where it begins */
    }
    assert_true(wire_ask(port, "PUT", "/keys/k", "", value, VALUE_BYTES, NULL) < 300);
    assert_true(wire_ask(port, "PUT", "/keys/k", "", value, VALUE_BYTES, NULL) < 300);
    for (int i = 0; i < CROWD; i++)
        for (int change = 0; change < 2; change++) {
            assert_true(stream_next(&streams[i], &event));
            assert_string_equal(event.name, "put");
            event_done(&event);
        }
    uint64_t peak = peak_bytes(fixture);
    printf("# %lu MiB at most\n", peak >> 20);
    assert_true(SANITIZED || peak < PEAK_BYTES_MAX);
    for (int i = 0; i < CROWD; i++)
        stream_close(&streams[i]);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest promises[] = {
        WITH_SERVER("across kill -9 a feed has no gap and nothing that nobody wrote",
                    a_feed_has_no_gap_across_kills),
        WITH_SERVER("who leaves is noticed and makes room", who_leaves_is_noticed_and_makes_room),
        WITH_SERVER("watchers leave connections to others", watchers_leave_connections_to_others),
        WITH_SERVER("who does not read is cut", who_does_not_read_is_cut),
        WITH_SERVER("a large value takes no memory per watcher",
                    a_large_value_takes_no_memory_per_watcher),
        WITH_SERVER("all hear all, and a stop ends them", all_hear_all_and_a_stop_ends_them),
    };
    return test_main(argc, argv, "watchers", promises);
}
