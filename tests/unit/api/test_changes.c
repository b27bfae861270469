/* SPDX-License-Identifier: Apache-2.0 */
/* GET /changes and `?wait=`: lists, events, who is woken by what, and what is refused. */
#include <jansson.h>
#include <pthread.h>

#include "../../../api/request.h"
#include "../../lib/threads.h"
#include "client.h"

#define EVENTS "Accept: text/event-stream"

static void write_some(struct client *client, const char *const *targets)
{
    for (; *targets != NULL; targets++) {
        bool deletes = **targets == '-';
        ANSWER answer = deletes ? SEND(client, .method = "DELETE", .target = *targets + 1)
                                : put(client, *targets, "v");
        assert_true(answer.response.status < 300);
    }
}

#define WRITE(client, ...) write_some(client, (const char *const[]){__VA_ARGS__, NULL})

/* A list as text, "op:key op:key"; `out_next` takes the cursor. */
static const char *list_text(const struct answer *answer, char out_next[ETAG_BYTES])
{
    static char text[8192];
    size_t used = 0, i;
    json_t *page = json_loads(answer->body, 0, NULL), *row;
    text[0] = '\0';
    assert_int_equal(answer->response.status, 200);
    assert_non_null(page);
    json_array_foreach(json_object_get(page, "changes"), i, row)
    {
        const char *op, *key;
        assert_int_equal(json_unpack(row, "{s:s, s:s}", "op", &op, "key", &key), 0);
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%s:%s", used > 0 ? " " : "",
                                 op, key);
    }
    snprintf(out_next, ETAG_BYTES, "%s", json_string_value(json_object_get(page, "next")));
    json_decref(page);
    return text;
}

static void check_list(struct client *client, const char *query, const char *since,
                       const char *expected, char out_next[ETAG_BYTES])
{
    char target[200];
    snprintf(target, sizeof target, "/changes?%s&since=%s", query, since);
    ANSWER answer = get(client, target);
    assert_header(&answer, "Content-Type", "application/json");
    assert_header(&answer, "Cache-Control", "no-store");
    assert_string_equal(list_text(&answer, out_next), expected);
}

/* ---- lists ---- */

static void every_change_is_told_once_in_order(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    char next[ETAG_BYTES], end[ETAG_BYTES];
    WRITE(&client, "/keys/a", "/keys/b", "/keys/a", "-/keys/b");
    ANSWER counted = SEND(&client, .method = "POST", .target = "/incr/n");
    check_list(&client, "limit=3", "0", "put:a put:b put:a", next);
    check_list(&client, "limit=3", next, "delete:b put:n", next);
    check_list(&client, "limit=3", next, "", end);
    assert_string_equal(next, end);
    ANSWER read = get(&client, "/keys/n");
    char quoted[ETAG_BYTES + 2];
    snprintf(quoted, sizeof quoted, "\"%s\"", next);
    assert_header(&read, "ETag", quoted); /* an ETag without its quotes is a cursor */
    ANSWER now = get(&client, "/changes");
    list_text(&now, end);
    assert_string_equal(next, end);
}

static void a_prefix_picks_and_the_cursor_passes_over_the_rest(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    char next[ETAG_BYTES], last[ETAG_BYTES];
    WRITE(&client, "/keys/a/1", "/keys/b/1", "/keys/a/2", "/keys/b/2", "/keys/b/3");
    check_list(&client, "prefix=a/", "0", "put:a/1 put:a/2", next);
    check_list(&client, "", next, "", last);
    check_list(&client, "prefix=c/", "0", "", next);
    assert_string_equal(next, last);
    check_list(&client, "prefix=b/&limit=2", "0", "put:b/1 put:b/2", next);
    check_list(&client, "prefix=b/&limit=2", next, "put:b/3", next);
}

static void a_long_way_without_a_match_is_told_in_bounded_steps(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    char next[ETAG_BYTES], target[48];
    unsigned steps = 0;
    for (int i = 0; i < 10000; i++) {
        snprintf(target, sizeof target, "/keys/other/%d", i);
        WRITE(&client, target);
    }
    WRITE(&client, "/keys/mine");
    snprintf(next, sizeof next, "0");
    for (bool found = false; !found; steps++) {
        char query[100];
        assert_true(steps < 100);
        snprintf(query, sizeof query, "/changes?prefix=mine&since=%s", next);
        ANSWER list = get(&client, query);
        found = strcmp(list_text(&list, next), "put:mine") == 0;
    }
    assert_true(steps > 1);
}

static void values_are_told_when_asked_for(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER text = put(&client, "/keys/t", "\"hello\"");
    ANSWER bytes = SEND(&client, .method = "PUT", .target = "/keys/%ff", .body = {"\xfe\0", 2});
    WRITE(&client, "-/keys/t");
    ANSWER plain = get(&client, "/changes?since=0");
    assert_null(strstr(plain.body, "value"));
    ANSWER full = get(&client, "/changes?since=0&values=true");
    assert_contains(full.body, "\"key\":\"t\",");
    assert_contains(full.body, "\"value\":\"\\\"hello\\\"\"}");
    assert_contains(full.body, "\"key_base64\":\"/w==\",");
    assert_contains(full.body, "\"value_base64\":\"/gA=\"}");
    assert_contains(full.body, "{\"op\":\"delete\",\"key\":\"t\",\"etag\":");
    assert_null(strstr(strstr(full.body, "delete"), "value"));
}

static void large_values_end_a_list_early(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    AUTO_FREE char *large = calloc(1, 400001);
    memset(large, 'x', 400000);
    for (int i = 0; i < 5; i++) {
        ANSWER answer = put(&client, "/keys/k", large);
    }
    char next[ETAG_BYTES];
    ANSWER list = get(&client, "/changes?since=0&values");
    assert_string_equal(list_text(&list, next), "put:k put:k put:k");
    check_list(&client, "values", next, "put:k put:k", next);
}

static void a_listing_says_where_changes_go_on(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    char next[ETAG_BYTES], cursor[ETAG_BYTES];
    WRITE(&client, "/keys/a", "/keys/b");
    ANSWER page = get(&client, "/keys?limit=1");
    snprintf(cursor, sizeof cursor, "%.*s", ETAG_BYTES - 1,
             header_of(&page, "Keyrest-Changes-Cursor"));
    WRITE(&client, "/keys/c");
    check_list(&client, "", cursor, "put:c", next);
    ANSWER lines = SEND(&client, .method = "GET", .target = "/keys",
                        .headers = {"Accept: application/x-ndjson"});
    assert_header(&lines, "Keyrest-Changes-Cursor", next);
}

/* ---- cursors that do not do ---- */

static void nonsense_is_refused(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    static const char *const targets[] = {"/changes?since=",
                                          "/changes?since=x",
                                          "/changes?since=00",
                                          "/changes?since=0123456789ab-",
                                          "/changes?since=0123456789aB-0",
                                          "/changes?since=%220123456789ab-1%22"};
    for (size_t i = 0; i < COUNT_OF(targets); i++) {
        ANSWER answer = get(&client, targets[i]);
        assert_problem(&answer, 400, "cursor-bad");
    }
    static const char *const parameters[] = {
        "/changes?limit=0", "/changes?limit=1001", "/changes?values=1", "/changes?wait=0s",
        "/changes?wait=1",  "/changes?wait=",      "/keys/a?wait=1s"};
    for (size_t i = 0; i < COUNT_OF(parameters); i++) {
        ANSWER answer = get(&client, parameters[i]);
        assert_problem(&answer, 400, "bad-parameter");
    }
    ANSWER long_wait = get(&client, "/changes?wait=61s");
    assert_problem(&long_wait, 400, "bad-parameter");
    assert_contains(long_wait.body, "\"limit\":60000,\"actual\":61000");
    ANSWER limited =
        SEND(&client, .method = "GET", .target = "/changes?limit=1", .headers = {EVENTS});
    assert_problem(&limited, 400, "bad-parameter");
    ANSWER last = SEND(&client, .method = "GET", .target = "/changes",
                       .headers = {EVENTS, "Last-Event-ID: x"});
    assert_problem(&last, 400, "cursor-bad");
}

static void a_cursor_ahead_of_all_changes_is_bad(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    char target[64];
    struct engine_health health;
    engine_health(client.engine, &health);
    snprintf(target, sizeof target, "/changes?since=%012lx-1", (unsigned long)health.epoch);
    ANSWER answer = get(&client, target);
    assert_problem(&answer, 400, "cursor-bad");
}

/* `answer` is 410, and what it calls the oldest cursor is good. */
static void check_gone(struct client *client, const struct answer *answer)
{
    const char *oldest, *code;
    char target[64];
    json_t *problem = json_loads(answer->body, 0, NULL);
    assert_problem(answer, 410, "changes-gone");
    assert_int_equal(json_unpack(problem, "{s:s, s:s}", "oldest", &oldest, "code", &code), 0);
    snprintf(target, sizeof target, "/changes?since=%s", oldest);
    json_decref(problem);
    ANSWER goes_on = get(client, target);
    assert_int_equal(goes_on.response.status, 200);
    assert_contains(goes_on.body, "\"op\":\"put\"");
}

static void of_another_life_of_the_store_changes_are_gone(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    WRITE(&client, "/keys/a");
    ANSWER answer = get(&client, "/changes?since=0123456789ab-1");
    check_gone(&client, &answer);
    ANSWER first = get(&client, "/changes?since=0123456789ab-0");
    check_gone(&client, &first);
}

static struct client client_with_short_memory(void)
{
    struct engine_options limits = engine_options_default();
    limits.changes_bytes_max = 4096;
    return client_open_with("memory:", (struct api_options){.loopback = true}, limits);
}

static void what_is_not_kept_is_gone_and_told(void **state)
{
    (void)state;
    CLIENT client = client_with_short_memory();
    for (int i = 0; i < 1000; i++)
        WRITE(&client, "/keys/a");
    ANSWER list = get(&client, "/changes?since=0");
    check_gone(&client, &list);
    ANSWER events =
        SEND(&client, .method = "GET", .target = "/changes?since=0", .headers = {EVENTS});
    check_gone(&client, &events);
    ANSWER head = SEND(&client, .method = "HEAD", .target = "/changes?since=0");
    assert_header(&head, "Keyrest-Problem", "changes-gone");
}

/* ---- waiting ---- */

/* One request on a thread of its own. */
struct asking {
    struct client *client;
    const char *target, *header;
    struct answer answer;
};

static void *ask(void *argument)
{
    struct asking *asking = argument;
    asking->answer = SEND(asking->client, .method = "GET", .target = asking->target,
                          .headers = {asking->header});
    return NULL;
}

static void until_watchers(const struct client *client, uint64_t count)
{
    while (atomic_load(&client->api->watchers) != count)
        sched_yield();
}

/* Begins the request and returns once it waits. */
static pthread_t begin(struct asking *asking)
{
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, ask, asking), 0);
    until_watchers(asking->client, 1);
    return thread;
}

static void end(pthread_t thread, struct asking *asking)
{
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(atomic_load(&asking->client->api->watchers), 0);
}

static void a_list_waits_for_its_first_change(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    char next[ETAG_BYTES];
    struct asking asking = {&client, "/changes?prefix=a&wait=60s", NULL, {0}};
    pthread_t thread = begin(&asking);
    WRITE(&client, "/keys/b", "/keys/a");
    end(thread, &asking);
    assert_string_equal(list_text(&asking.answer, next), "put:a");
    answer_done(&asking.answer);
}

static void an_empty_list_comes_when_the_time_is_over(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    char first[ETAG_BYTES], next[ETAG_BYTES];
    WRITE(&client, "/keys/b");
    check_list(&client, "wait=5ms", "now", "", first);
    WRITE(&client, "/keys/c");
    check_list(&client, "wait=5ms&prefix=x", first, "", next);
    assert_string_not_equal(first, next); /* passed over what is of others */
    assert_int_equal(atomic_load(&client.api->watchers), 0);
}

static char *condition_of(struct client *client, const char *target)
{
    char *condition = NULL;
    ANSWER read = get(client, target);
    assert_true(asprintf(&condition, "If-None-Match: %s", header_of(&read, "ETag")) > 0);
    return condition;
}

static void a_key_is_waited_for(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    WRITE(&client, "/keys/k", "/keys/other");
    AUTO_FREE char *condition = condition_of(&client, "/keys/k");
    struct asking asking = {&client, "/keys/k?wait=60s", condition, {0}};
    pthread_t thread = begin(&asking);
    WRITE(&client, "/keys/other", "-/keys/other"); /* wakes it for nothing */
    assert_int_equal(atomic_load(&client.api->watchers), 1);
    ANSWER made = put(&client, "/keys/k", "new");
    end(thread, &asking);
    assert_int_equal(asking.answer.response.status, 200);
    assert_string_equal(asking.answer.body, "new");
    answer_done(&asking.answer);

    AUTO_FREE char *again = condition_of(&client, "/keys/k");
    asking.header = again;
    thread = begin(&asking);
    WRITE(&client, "-/keys/k");
    end(thread, &asking);
    assert_problem(&asking.answer, 404, "key-not-found");
    answer_done(&asking.answer);
}

static void what_is_not_304_does_not_wait(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    WRITE(&client, "/keys/k");
    ANSWER absent = SEND(&client, .method = "GET", .target = "/keys/none?wait=60s",
                         .headers = {"If-None-Match: *"});
    assert_problem(&absent, 404, "key-not-found");
    ANSWER other = SEND(&client, .method = "GET", .target = "/keys/k?wait=60s",
                        .headers = {"If-None-Match: \"000000000000-1\""});
    assert_int_equal(other.response.status, 200);
    ANSWER failed = SEND(&client, .method = "GET", .target = "/keys/k?wait=60s",
                         .headers = {"If-None-Match: *", "If-Match: \"000000000000-1\""});
    assert_problem(&failed, 412, "precondition-failed");
}

static void a_key_that_stays_is_304_in_the_end(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    WRITE(&client, "/keys/k");
    ANSWER same = SEND(&client, .method = "GET", .target = "/keys/k?wait=5ms",
                       .headers = {"If-None-Match: *"});
    assert_int_equal(same.response.status, 304);
    ANSWER head = SEND(&client, .method = "HEAD", .target = "/keys/k?wait=5ms",
                       .headers = {"If-None-Match: *"});
    assert_int_equal(head.response.status, 304);
}

static void expiry_ends_a_wait(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER made = SEND(&client, .method = "POST", .target = "/batch",
                       .headers = {"Content-Type: application/json"},
                       .body = bytes_of("{\"ops\":[{\"op\":\"put\",\"key\":\"k\",\"value\":\"v\","
                                        "\"ttl\":\"200ms\"}]}"));
    assert_int_equal(made.response.status, 200);
    ANSWER gone = SEND(&client, .method = "GET", .target = "/keys/k?wait=60s",
                       .headers = {"If-None-Match: *"});
    assert_problem(&gone, 404, "key-not-found");
}

static void waiting_ends_with_the_client_and_with_the_service(void **state)
{
    (void)state;
    char next[ETAG_BYTES];
    static const char *const targets[] = {"/changes?wait=60s", "/keys/k?wait=60s"};
    static const unsigned statuses[] = {200, 304};
    for (size_t i = 0; i < 4; i++) {
        CLIENT client = client_open("memory:");
        WRITE(&client, "/keys/k");
        struct asking asking = {&client, targets[i % 2], "If-None-Match: *", {0}};
        pthread_t thread = begin(&asking);
        if (i < 2)
            cancel_fire(&client.cancel);
        else
            api_drain(client.api);
        end(thread, &asking);
        assert_int_equal(asking.answer.response.status, statuses[i % 2]);
        assert_int_equal(asking.answer.response.close, i >= 2);
        if (i % 2 == 0)
            assert_string_equal(list_text(&asking.answer, next), "");
        answer_done(&asking.answer);
    }
}

static void time_slept_is_no_latency(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER slow = get(&client, "/changes?wait=20ms"); /* client.h tells a duration of 1 ms */
    ANSWER metrics = get(&client, "/metrics");
    assert_contains(metrics.body, "duration_seconds_bucket{route=\"/changes\",le=\"5e-05\"} 1\n");
    assert_contains(metrics.body, "keyrest_watchers 0\n");
}

static void watchers_have_a_cap(void **state)
{
    (void)state;
    struct api_options options = {.loopback = true, .watchers_max = 1};
    CLIENT client = client_open_with("memory:", options, engine_options_default());
    WRITE(&client, "/keys/k");
    struct asking asking = {&client, "/changes?wait=60s", NULL, {0}};
    pthread_t thread = begin(&asking);
    ANSWER list = get(&client, "/changes?wait=60s");
    assert_problem(&list, 503, "too-many-watchers");
    assert_header(&list, "Retry-After", "5");
    assert_contains(list.body, "\"limit\":1");
    ANSWER events = SEND(&client, .method = "GET", .target = "/changes", .headers = {EVENTS});
    assert_problem(&events, 503, "too-many-watchers");
    ANSWER key = SEND(&client, .method = "GET", .target = "/keys/k?wait=60s",
                      .headers = {"If-None-Match: *"});
    assert_problem(&key, 503, "too-many-watchers");
    ANSWER at_once = get(&client, "/changes?wait=60s&since=0"); /* has something to tell */
    assert_int_equal(at_once.response.status, 200);
    WRITE(&client, "/keys/k");
    end(thread, &asking);
    answer_done(&asking.answer);
    ANSWER fits = get(&client, "/changes?wait=1ms");
    assert_int_equal(fits.response.status, 200);
}

/* ---- events ---- */

static void changes_come_as_events(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    WRITE(&client, "/keys/a", "-/keys/a", "/keys/b");
    ANSWER events = SEND(&client, .method = "GET", .target = "/changes?since=0&prefix=a",
                         .headers = {"Accept: text/html, text/event-stream;q=0.5"});
    struct engine_health health;
    char expected[1000];
    engine_health(client.engine, &health);
    unsigned long epoch = (unsigned long)health.epoch;
    snprintf(expected, sizeof expected,
             "retry: 2000\nid: %012lx-0\n\nid: %012lx-1\nevent: put\ndata: "
             "{\"op\":\"put\",\"key\":\"a\","
             "\"etag\":\"\\\"%012lx-1\\\"\",\"modified\":\"",
             epoch, epoch, epoch);
    assert_int_equal(events.response.status, 200);
    assert_header(&events, "Content-Type", "text/event-stream");
    assert_header(&events, "Cache-Control", "no-store");
    assert_header(&events, "X-Accel-Buffering", "no");
    assert_memory_equal(events.body, expected, strlen(expected));
    snprintf(expected, sizeof expected, "\n\nid: %012lx-2\nevent: delete\ndata: {\"op\":\"delete\"",
             epoch);
    assert_contains(events.body, expected);
    snprintf(expected, sizeof expected, "\n\n:\nid: %012lx-3\n\n", epoch); /* passed over b */
    assert_contains(events.body, expected);
    assert_int_equal(atomic_load(&client.api->watchers), 0);
}

static void last_event_id_is_stronger_than_since(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    char id[64];
    struct engine_health health;
    WRITE(&client, "/keys/a", "/keys/b", "/keys/c");
    engine_health(client.engine, &health);
    snprintf(id, sizeof id, "Last-Event-ID: %012lx-2", (unsigned long)health.epoch);
    ANSWER events =
        SEND(&client, .method = "GET", .target = "/changes?since=0", .headers = {EVENTS, id});
    assert_null(strstr(events.body, "\"b\""));
    assert_contains(events.body, "\"key\":\"c\"");
    ANSWER list = SEND(&client, .method = "GET", .target = "/changes?since=0", .headers = {id});
    assert_contains(list.body, "\"key\":\"a\""); /* is for events only */
}

/* Reads one piece of a stream that `answer` would be. */
static const char *read_piece(const struct response *response)
{
    static char piece[1 << 16];
    ssize_t got = response->read(response->owner, piece, sizeof piece - 1, UINT64_MAX);
    if (got < 0)
        return got == API_STREAM_END ? "(end)" : "(failed)";
    piece[got] = '\0';
    return piece;
}

/* A stream that is left open. */
struct open_stream {
    struct exchange exchange;
    struct api_header fields[2];
    struct response response;
};

static void open_stream(struct client *client, struct open_stream *stream, const char *target)
{
    *stream =
        (struct open_stream){.fields = {{"Host", "localhost"}, {"Accept", "text/event-stream"}}};
    stream->exchange = (struct exchange){.method = "GET",
                                         .target = target,
                                         .http_1_1 = true,
                                         .headers = stream->fields,
                                         .header_count = 2,
                                         .deadline_ns = UINT64_MAX / 2,
                                         .cancel = &client->cancel};
    assert_int_equal(begin_exchange(client, &stream->exchange, &stream->response), API_NO_BODY);
    api_finish(client->api, &stream->exchange, &stream->response);
    assert_int_equal(stream->response.body_kind, RESPONSE_STREAM);
}

static void close_stream(struct client *client, struct open_stream *stream)
{
    struct api_result result = {.status = 200};
    end_exchange(client, &stream->exchange, &result);
    stream->response.release(stream->response.owner);
    response_done(&stream->response);
}

static void a_client_that_is_too_slow_is_told_that_it_missed_something(void **state)
{
    (void)state;
    CLIENT client = client_with_short_memory();
    struct open_stream stream;
    WRITE(&client, "/keys/a");
    open_stream(&client, &stream, "/changes");
    assert_contains(read_piece(&stream.response), "retry: 2000\n");
    for (int i = 0; i < 1000; i++)
        WRITE(&client, "/keys/a");
    const char *gone = read_piece(&stream.response);
    assert_memory_equal(gone, "event: gone\ndata: {", 19);
    assert_contains(gone, "\"code\":\"changes-gone\"");
    assert_contains(gone, "\"oldest\":\"");
    assert_string_equal(read_piece(&stream.response), "(end)");
    close_stream(&client, &stream);
}

static void a_stream_ends_with_the_client_and_with_the_service(void **state)
{
    (void)state;
    for (int drains = 0; drains < 2; drains++) {
        struct api_options options = {.loopback = true, .heartbeat_ms = 60000};
        CLIENT client = client_open_with("memory:", options, engine_options_default());
        struct open_stream stream;
        open_stream(&client, &stream, "/changes");
        read_piece(&stream.response);
        WRITE(&client, "/keys/a");
        assert_contains(read_piece(&stream.response), "event: put\n");
        if (drains)
            api_drain(client.api);
        else
            cancel_fire(&client.cancel);
        assert_string_equal(read_piece(&stream.response), "(end)");
        close_stream(&client, &stream);
        assert_int_equal(atomic_load(&client.api->watchers), 0);
    }
}

/* Of two who stand at one place, the engine is read for one only. */
static void what_one_was_told_is_not_read_again(void **state)
{
    (void)state;
    struct api_options options = {.loopback = true, .watchers_max = 3};
    CLIENT client = client_open_with("memory:?fail=changes:CORRUPT:5&fail=changes:CORRUPT:6",
                                     options, engine_options_default());
    struct open_stream streams[3];
    open_stream(&client, &streams[0], "/changes");          /* reads 1 */
    open_stream(&client, &streams[1], "/changes");          /* 2 */
    open_stream(&client, &streams[2], "/changes?prefix=a"); /* 3 */
    for (size_t i = 0; i < COUNT_OF(streams); i++)
        read_piece(&streams[i].response);
    WRITE(&client, "/keys/a", "/keys/b");
    AUTO_FREE char *first = strdup(read_piece(&streams[0].response)); /* 4 */
    assert_contains(first, "\"key\":\"b\"");
    assert_string_equal(read_piece(&streams[1].response), first);
    assert_string_equal(read_piece(&streams[2].response), "(failed)"); /* 5: wants another text */
    assert_string_equal(read_piece(&streams[1].response), "(failed)"); /* 6: nobody was there yet */
    for (size_t i = 0; i < COUNT_OF(streams); i++)
        close_stream(&client, &streams[i]);
}

/* ---- what the engine refuses ---- */

static void failures_of_the_engine_are_told(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        unsigned status;
        const char *code;
    } rows[] = {
        {"memory:?fail=changes:CORRUPT", 500, "data-corrupt"},
        {"memory:?fail=changes:IO", 500, "data-corrupt"},
        {"memory:?fail=changes:NO_MEMORY", 507, "memory-full"},
        {"memory:?fail=changes:BUSY", 503, "busy"},
        {"memory:?fail=changes:UNSUPPORTED", 501, "unsupported"},
        {"memory:?fail=changes:LOADING", 503, "loading"},
        {"memory:?state=loading", 503, "loading"},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        CLIENT client = client_open(rows[i].url);
        ANSWER list = get(&client, "/changes");
        ANSWER events = SEND(&client, .method = "GET", .target = "/changes", .headers = {EVENTS});
        ANSWER stranger = get(&client, "/changes?since=0123456789ab-1");
        assert_int_equal(list.response.status, rows[i].status);
        assert_string_equal(list.response.problem_code, rows[i].code);
        assert_string_equal(events.response.problem_code, rows[i].code);
        assert_string_equal(stranger.response.problem_code, rows[i].code);
        assert_int_equal(atomic_load(&client.api->watchers), 0);
    }
}

static void a_stream_that_cannot_go_on_is_cut(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:?fail=changes:CORRUPT:2");
    ANSWER events = SEND(&client, .method = "GET", .target = "/changes", .headers = {EVENTS});
    assert_int_equal(events.response.status, 200);
    assert_true(events.cut);
    CLIENT waiting = client_open("memory:?fail=wait:UNSUPPORTED");
    WRITE(&waiting, "/keys/k");
    ANSWER cut = SEND(&waiting, .method = "GET", .target = "/changes", .headers = {EVENTS});
    assert_true(cut.cut);
    ANSWER list = get(&waiting, "/changes?wait=1s");
    assert_problem(&list, 501, "unsupported");
    ANSWER key = SEND(&waiting, .method = "GET", .target = "/keys/k?wait=1s",
                      .headers = {"If-None-Match: *"});
    assert_problem(&key, 501, "unsupported");
    assert_int_equal(atomic_load(&waiting.api->watchers), 0);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("every change is told once, in order", every_change_is_told_once_in_order),
        TEST("a prefix picks, and the cursor passes over the rest",
             a_prefix_picks_and_the_cursor_passes_over_the_rest),
        TEST("a long way without a match is told in bounded steps",
             a_long_way_without_a_match_is_told_in_bounded_steps),
        TEST("values are told when asked for", values_are_told_when_asked_for),
        TEST("large values end a list early", large_values_end_a_list_early),
        TEST("a listing says where changes go on", a_listing_says_where_changes_go_on),
        TEST("nonsense is refused", nonsense_is_refused),
        TEST("a cursor ahead of all changes is bad", a_cursor_ahead_of_all_changes_is_bad),
        TEST("of another life of the store changes are gone",
             of_another_life_of_the_store_changes_are_gone),
        TEST("what is not kept is gone, and told", what_is_not_kept_is_gone_and_told),
        TEST("a list waits for its first change", a_list_waits_for_its_first_change),
        TEST("an empty list comes when the time is over",
             an_empty_list_comes_when_the_time_is_over),
        TEST("a key is waited for", a_key_is_waited_for),
        TEST("what is not 304 does not wait", what_is_not_304_does_not_wait),
        TEST("a key that stays is 304 in the end", a_key_that_stays_is_304_in_the_end),
        TEST("expiry ends a wait", expiry_ends_a_wait),
        TEST("waiting ends with the client, and with the service",
             waiting_ends_with_the_client_and_with_the_service),
        TEST("time slept is no latency", time_slept_is_no_latency),
        TEST("watchers have a cap", watchers_have_a_cap),
        TEST("changes come as events", changes_come_as_events),
        TEST("Last-Event-ID is stronger than since", last_event_id_is_stronger_than_since),
        TEST("a client that is too slow is told that it missed something",
             a_client_that_is_too_slow_is_told_that_it_missed_something),
        TEST("a stream ends with the client, and with the service",
             a_stream_ends_with_the_client_and_with_the_service),
        TEST("what one was told is not read again", what_one_was_told_is_not_read_again),
        TEST("failures of the engine are told", failures_of_the_engine_are_told),
        TEST("a stream that cannot go on is cut", a_stream_that_cannot_go_on_is_cut),
    };
    return test_main(argc, argv, "changes", tests);
}
