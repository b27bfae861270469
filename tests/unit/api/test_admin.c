/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compaction over HTTP: by an engine that cannot, by one whose every answer the test writes, and by
 * the embedded one in a directory.
 */
#include <inttypes.h>
#include <sched.h>

#include "../../../engine/stats.h"
#include "client.h"

static struct answer post(struct client *client, const char *target)
{
    return SEND(client, .method = "POST", .target = target);
}

/* ---- an engine that follows a script ---- */

static struct script {
    enum status start, wait;
    unsigned waits_before; /* that answer BUSY */
    size_t count;
    struct engine_compaction rows[ENGINE_COMPACTIONS_KEPT];
    /* what happened */
    unsigned starts, waits;
    struct api *drains_when_asked; /* in a wait */
} script;

static enum status scripted_compact(struct engine *engine, uint64_t *out_id)
{
    (void)engine;
    script.starts++;
    *out_id = script.rows[0].id;
    return script.start;
}

static enum status scripted_wait(struct engine *engine, uint64_t id,
                                 const struct engine_context *context)
{
    (void)engine;
    assert_int_equal(id, script.rows[0].id);
    assert_non_null(context->cancel);
    if (script.drains_when_asked != NULL)
        api_drain(script.drains_when_asked);
    return script.waits++ < script.waits_before ? STATUS_BUSY : script.wait;
}

static enum status scripted_compactions(struct engine *engine, struct engine_compaction *out_rows,
                                        size_t capacity, size_t *out_count)
{
    (void)engine;
    *out_count = script.count < capacity ? script.count : capacity;
    memcpy(out_rows, script.rows, *out_count * sizeof *out_rows);
    return STATUS_OK;
}

static void scripted_health(struct engine *engine, struct engine_health *out_health)
{
    (void)engine;
    *out_health = (struct engine_health){.state = ENGINE_READY, .epoch = 1};
}

static void scripted_close(struct engine *engine)
{
    (void)engine;
}

static struct client open_scripted(struct script wanted)
{
    static const struct engine_operations operations = {
        .scheme = "script",
        .close = scripted_close,
        .compact = scripted_compact,
        .compaction_wait = scripted_wait,
        .compactions = scripted_compactions,
        .health = scripted_health,
    };
    static struct engine engine = {
        &operations, {.capabilities = ENGINE_COMPACT, .scheme = "script", .durability = "none"}};
    struct client client = {.engine = &engine};
    struct api_options options = {
        .loopback = true, .time = time_source_system(), .version = "1.2.3"};
    script = wanted;
    assert_int_equal(api_open(&engine, &options, &client.api), STATUS_OK);
    return client;
}

static struct engine_compaction row(uint64_t id, enum engine_compaction_state state)
{
    return (struct engine_compaction){
        .id = id,
        .state = state,
        .failure = state == ENGINE_COMPACTION_FAILED ? STATUS_IO : STATUS_OK,
        .started_ms = 1700000000007,
        .duration_ms = 1517,
        .files_before = 4,
        .files_after = 1,
        .bytes_before = 4000,
        .bytes_after = 1500,
        .bytes_read = 1400,
        .bytes_written = 1300,
        .percent = 42,
    };
}

static struct client open_with_row(enum engine_compaction_state state)
{
    return open_scripted((struct script){.count = 1, .rows = {row(3, state)}});
}

/* ---- shapes ---- */

static void a_compaction_has_the_promised_members(void **state)
{
    (void)state;
    CLIENT client = open_with_row(ENGINE_COMPACTION_DONE);
    ANSWER answer = get(&client, "/admin/compactions/3");
    assert_int_equal(answer.response.status, 200);
    assert_header(&answer, "Content-Type", "application/json");
    assert_header(&answer, "Cache-Control", "no-store");
    assert_string_equal(answer.response.route, "/admin/compactions/{id}");
    assert_string_equal(answer.body,
                        "{\"id\":3,\"state\":\"done\",\"started\":\"2023-11-14T22:13:20.007Z\","
                        "\"seconds\":1.517,\"files_before\":4,\"files_after\":1,"
                        "\"bytes_before\":4000,\"bytes_after\":1500,\"bytes_read\":1400,"
                        "\"bytes_written\":1300,\"percent\":42}\n");
}

static void a_failed_one_tells_its_reason(void **state)
{
    (void)state;
    CLIENT client = open_with_row(ENGINE_COMPACTION_FAILED);
    ANSWER answer = get(&client, "/admin/compactions/3");
    assert_int_equal(answer.response.status, 200);
    assert_contains(answer.body,
                    "\"state\":\"failed\",\"reason\":\"the operating system refused\"");
}

static void the_list_keeps_the_order_of_the_engine(void **state)
{
    (void)state;
    struct script listed = {
        .count = 2, .rows = {row(8, ENGINE_COMPACTION_RUNNING), row(7, ENGINE_COMPACTION_NOTHING)}};
    CLIENT client = open_scripted(listed);
    ANSWER answer = get(&client, "/admin/compactions");
    assert_int_equal(answer.response.status, 200);
    assert_contains(answer.body, "{\"compactions\":[{\"id\":8,\"state\":\"running\",");
    assert_contains(answer.body, "},{\"id\":7,\"state\":\"nothing-to-do\",");
    ANSWER head = SEND(&client, .method = "HEAD", .target = "/admin/compactions");
    assert_int_equal(head.response.body_bytes, answer.response.body_bytes);
    script.count = 0;
    ANSWER none = get(&client, "/admin/compactions");
    assert_string_equal(none.body, "{\"compactions\":[]}\n");
}

static void what_is_no_id_is_404(void **state)
{
    (void)state;
    static const char *const tails[] = {"",   "0",  "03",  "4",   "3x",
                                        "-3", "+3", "3/3", "%33", "3333333333333333333333"};
    CLIENT client = open_with_row(ENGINE_COMPACTION_DONE);
    for (size_t i = 0; i < COUNT_OF(tails); i++) {
        char target[80];
        snprintf(target, sizeof target, "/admin/compactions/%s", tails[i]);
        ANSWER answer = get(&client, target);
        assert_problem(&answer, 404, "route-not-found");
        assert_contains(answer.body, "/admin/compactions lists them");
    }
}

/* ---- starting ---- */

static void starting_answers_202_with_its_location(void **state)
{
    (void)state;
    CLIENT client = open_with_row(ENGINE_COMPACTION_RUNNING);
    ANSWER answer = post(&client, "/admin/compactions");
    assert_int_equal(answer.response.status, 202);
    assert_header(&answer, "Location", "/admin/compactions/3");
    assert_contains(answer.body, "\"state\":\"running\"");
    assert_int_equal(script.starts, 1);
    assert_int_equal(script.waits, 0);
}

static void starting_while_one_runs_is_409_and_names_it(void **state)
{
    (void)state;
    CLIENT client = open_scripted((struct script){
        .start = STATUS_RUNNING, .count = 1, .rows = {row(9, ENGINE_COMPACTION_RUNNING)}});
    ANSWER answer = post(&client, "/admin/compactions");
    assert_problem(&answer, 409, "compaction-running");
    assert_header(&answer, "Location", "/admin/compactions/9");
    assert_contains(answer.body, "\"id\":9");
}

static void a_body_is_ignored(void **state)
{
    (void)state;
    CLIENT client = open_with_row(ENGINE_COMPACTION_RUNNING);
    ANSWER answer = SEND(&client, .method = "POST", .target = "/admin/compactions",
                         .body = bytes_of("{\"mode\":\"full\"}"));
    assert_int_equal(answer.verdict, API_NO_BODY);
    assert_int_equal(answer.response.status, 202);
}

static void another_site_may_not_start_one(void **state)
{
    (void)state;
    static const char *const targets[] = {"/admin/compact", "/admin/compactions"};
    CLIENT client = open_with_row(ENGINE_COMPACTION_DONE);
    for (size_t i = 0; i < COUNT_OF(targets); i++) {
        ANSWER fetched = SEND(&client, .method = "POST", .target = targets[i],
                              .headers = {"Sec-Fetch-Site: cross-site"});
        assert_problem(&fetched, 403, "cross-site");
        ANSWER foreign = SEND(&client, .method = "POST", .target = targets[i],
                              .headers = {"Origin: http://evil.example"});
        assert_problem(&foreign, 403, "cross-site");
    }
    assert_int_equal(script.starts, 0);
}

static void other_methods_are_405(void **state)
{
    (void)state;
    CLIENT client = open_with_row(ENGINE_COMPACTION_DONE);
    ANSWER compact = get(&client, "/admin/compact");
    assert_problem(&compact, 405, "method-not-allowed");
    assert_header(&compact, "Allow", "POST, OPTIONS");
    ANSWER list = SEND(&client, .method = "DELETE", .target = "/admin/compactions");
    assert_problem(&list, 405, "method-not-allowed");
    assert_header(&list, "Allow", "GET, HEAD, POST, OPTIONS");
    ANSWER one = post(&client, "/admin/compactions/3");
    assert_problem(&one, 405, "method-not-allowed");
    assert_header(&one, "Allow", "GET, HEAD, OPTIONS");
}

/* ---- waiting ---- */

static void compact_waits_for_the_result(void **state)
{
    (void)state;
    CLIENT client = open_scripted(
        (struct script){.waits_before = 5, .count = 1, .rows = {row(3, ENGINE_COMPACTION_DONE)}});
    ANSWER answer = post(&client, "/admin/compact");
    assert_int_equal(answer.response.status, 200);
    assert_contains(answer.body, "\"id\":3,\"state\":\"done\"");
    assert_header(&answer, "Location", "");
    assert_int_equal(script.waits, 6);
}

static void compact_joins_the_one_that_runs(void **state)
{
    (void)state;
    CLIENT client = open_scripted((struct script){
        .start = STATUS_RUNNING, .count = 1, .rows = {row(9, ENGINE_COMPACTION_DONE)}});
    ANSWER answer = post(&client, "/admin/compact");
    assert_int_equal(answer.response.status, 200);
    assert_contains(answer.body, "\"id\":9");
}

static void nothing_to_do_is_a_success(void **state)
{
    (void)state;
    CLIENT client = open_with_row(ENGINE_COMPACTION_NOTHING);
    ANSWER answer = post(&client, "/admin/compact");
    assert_int_equal(answer.response.status, 200);
    assert_contains(answer.body, "\"state\":\"nothing-to-do\"");
}

static void a_deadline_ends_the_wait_with_202(void **state)
{
    (void)state;
    CLIENT client = open_scripted((struct script){
        .waits_before = 1, .count = 1, .rows = {row(3, ENGINE_COMPACTION_RUNNING)}});
    struct api_header host = {"Host", "localhost"};
    struct exchange exchange = {
        .method = "POST",
        .target = "/admin/compact",
        .http_1_1 = true,
        .headers = &host,
        .header_count = 1,
        .deadline_ns = 1, /* long ago */
        .cancel = &client.cancel,
    };
    ANSWER answer = {0};
    assert_int_equal(begin_exchange(&client, &exchange, &answer.response), API_NO_BODY);
    api_finish(client.api, &exchange, &answer.response);
    copy_answer(&answer);
    end_exchange(&client, &exchange, &(struct api_result){.status = 202});
    assert_int_equal(answer.response.status, 202);
    assert_header(&answer, "Location", "/admin/compactions/3");
    assert_contains(answer.body, "\"state\":\"running\"");
    assert_int_equal(script.waits, 1);
}

static void a_failed_compaction_is_a_refusal(void **state)
{
    (void)state;
    static const struct {
        enum status failure;
        unsigned status;
        const char *code, *reason;
    } rows[] = {
        {STATUS_IO, 500, "compaction-failed", "the operating system refused"},
        {STATUS_CORRUPT, 500, "compaction-failed", "checksum"},
        {STATUS_UNKNOWN, 500, "compaction-failed", "not known"},
        {STATUS_NO_SPACE, 507, "disk-full", "the disk is full"},
        {STATUS_NO_MEMORY, 507, "memory-full", "memory limit"},
    };
    CLIENT client = open_with_row(ENGINE_COMPACTION_FAILED);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        script.rows[0].failure = rows[i].failure;
        ANSWER answer = post(&client, "/admin/compact");
        assert_int_equal(answer.response.status, rows[i].status);
        assert_string_equal(answer.response.problem_code, rows[i].code);
        assert_header(&answer, "Location", "/admin/compactions/3");
        assert_contains(answer.body, rows[i].reason);
        assert_contains(answer.body, "\"id\":3");
        assert_int_equal(*header_of(&answer, "Retry-After") != '\0', rows[i].status == 507);
    }
}

static void a_service_that_stops_starts_none(void **state)
{
    (void)state;
    static const char *const targets[] = {"/admin/compact", "/admin/compactions"};
    CLIENT client = open_with_row(ENGINE_COMPACTION_DONE);
    api_drain(client.api);
    for (size_t i = 0; i < COUNT_OF(targets); i++) {
        ANSWER answer = post(&client, targets[i]);
        assert_problem(&answer, 503, "draining");
    }
    ANSWER list = get(&client, "/admin/compactions");
    assert_int_equal(list.response.status, 200);
    assert_int_equal(script.starts, 0);
}

static void a_stop_ends_the_wait(void **state)
{
    (void)state;
    CLIENT client = open_scripted((struct script){
        .waits_before = UINT32_MAX, .count = 1, .rows = {row(3, ENGINE_COMPACTION_RUNNING)}});
    script.drains_when_asked = client.api;
    ANSWER answer = post(&client, "/admin/compact");
    assert_problem(&answer, 503, "draining");
    assert_int_equal(script.waits, 1);
}

static void a_client_that_leaves_ends_its_wait(void **state)
{
    (void)state;
    CLIENT client = open_scripted((struct script){
        .wait = STATUS_CANCELLED, .count = 1, .rows = {row(3, ENGINE_COMPACTION_RUNNING)}});
    ANSWER answer = post(&client, "/admin/compact");
    assert_problem(&answer, 503, "draining"); /* nobody reads it, unless the service stops */
    assert_int_equal(script.waits, 1);
}

/* ---- engines that refuse ---- */

static void an_engine_that_cannot_is_501_and_the_capability_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *method, *target;
    } rows[] = {{"POST", "/admin/compact"},
                {"POST", "/admin/compactions"},
                {"GET", "/admin/compactions"},
                {"GET", "/admin/compactions/1"}};
    CLIENT client = client_open("memory:");
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        ANSWER answer = SEND(&client, .method = rows[i].method, .target = rows[i].target);
        assert_problem(&answer, 501, "unsupported");
        assert_contains(answer.body, "capability compact");
    }
}

static void a_refused_start_tells_why(void **state)
{
    (void)state;
    static const struct {
        const char *url, *code;
        unsigned status;
    } rows[] = {
        {"memory:?state=loading", "loading", 503},
        {"memory:?state=read_only", "read-only", 503},
        {"memory:?fail=compact:NO_SPACE", "disk-full", 507},
        {"memory:?fail=compact:NO_MEMORY", "memory-full", 507},
        {"memory:?fail=compact:IO", "internal", 500},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        CLIENT client = client_open(rows[i].url);
        ANSWER waiting = post(&client, "/admin/compact");
        assert_int_equal(waiting.response.status, rows[i].status);
        assert_string_equal(waiting.response.problem_code, rows[i].code);
        ANSWER started = post(&client, "/admin/compactions");
        assert_string_equal(started.response.problem_code, rows[i].code);
    }
}

/* ---- probes ---- */

static void readyz_tells_how_compaction_goes(void **state)
{
    (void)state;
    CLIENT client = open_with_row(ENGINE_COMPACTION_DONE);
    ANSWER done = get(&client, "/readyz?verbose");
    assert_contains(done.body, "[+]compaction ok\n");
    script.rows[0].state = ENGINE_COMPACTION_RUNNING;
    ANSWER running = get(&client, "/readyz?verbose");
    assert_contains(running.body, "[+]compaction ok: 42 % done\n");
    script.rows[0] = row(3, ENGINE_COMPACTION_FAILED);
    ANSWER failed = get(&client, "/readyz?verbose");
    assert_int_equal(failed.response.status, 200);
    assert_contains(failed.body, "[-]compaction failed: the operating system refused\n");
    assert_contains(failed.body, "readyz check passed\n");
    script.count = 0;
    ANSWER none = get(&client, "/readyz?verbose");
    assert_contains(none.body, "[+]compaction ok\n");
}

/* ---- the embedded engine ---- */

enum { KEYS = 40, VALUE_BYTES = 8 << 10 };

static void wait_until_ready(struct client *client)
{
    struct engine_health health;
    do {
        sched_yield();
        engine_health(client->engine, &health);
    } while (health.state == ENGINE_LOADING);
    assert_int_equal(health.state, ENGINE_READY);
}

static struct client open_directory(const char *directory)
{
    char url[200];
    struct engine_options options = engine_options_default();
    options.value_bytes_max = VALUE_BYTES;
    options.memtable_bytes = 64 << 10;
    options.reserve_bytes = 0;
    options.ballast_bytes = 0;
    options.compaction_interval_ms = 3600000;
    snprintf(url, sizeof url, "file:%s", directory);
    struct client client = client_open_with(url, (struct api_options){.loopback = true}, options);
    wait_until_ready(&client);
    return client;
}

/* Every `step`th key. */
static void write_round(struct client *client, char letter, int step)
{
    char *value = malloc(VALUE_BYTES + 1);
    memset(value, letter, VALUE_BYTES);
    value[VALUE_BYTES] = '\0';
    for (int i = 0; i < KEYS; i += step) {
        char target[40];
        snprintf(target, sizeof target, "/keys/%d", i);
        ANSWER answer = put(client, target, value);
        assert_true(answer.response.status == 201 || answer.response.status == 204);
    }
    free(value);
}

static uint64_t figure(struct client *client, enum stats_name name)
{
    return stats_read(engine_stats(client->engine), name);
}

/* Only what a dump has settled can be rewritten: asks until that is so. */
static struct answer compact_until_done(struct client *client)
{
    for (;;) {
        struct answer answer = post(client, "/admin/compact");
        assert_int_equal(answer.response.status, 200);
        if (strstr(answer.body, "\"state\":\"done\"") != NULL)
            return answer;
        answer_done(&answer);
        sched_yield();
    }
}

static void compacting_a_directory_reclaims_its_garbage(void **state)
{
    (void)state;
    char *directory = test_directory_make();
    struct client client = open_directory(directory);
    write_round(&client, 'a', 1);
    write_round(&client, 'b', 4); /* not enough that compaction begins by itself */
    while (figure(&client, STATS_dumps) == 0)
        sched_yield();
    uint64_t written = figure(&client, STATS_table_written);
    assert_true(written > 0);
    ANSWER answer = compact_until_done(&client);
    assert_contains(answer.body, "\"percent\":100");
    ANSWER list = get(&client, "/admin/compactions");
    assert_contains(list.body, "\"state\":\"done\"");
    assert_true(figure(&client, STATS_compactions) >= 1);
    ANSWER read = get(&client, "/keys/0");
    assert_int_equal(read.response.body_bytes, VALUE_BYTES);
    assert_int_equal(read.body[0], 'b');
    client_close(&client);
    test_directory_remove(directory);
}

static void an_idle_directory_has_nothing_to_do(void **state)
{
    (void)state;
    char *directory = test_directory_make();
    struct client client = open_directory(directory);
    ANSWER answer = post(&client, "/admin/compact");
    assert_int_equal(answer.response.status, 200);
    assert_contains(answer.body, "\"id\":1,\"state\":\"nothing-to-do\"");
    ANSWER one = get(&client, "/admin/compactions/1");
    assert_string_equal(one.body, answer.body);
    ANSWER ready = get(&client, "/readyz?verbose");
    assert_contains(ready.body, "[+]compaction ok\n");
    client_close(&client);
    test_directory_remove(directory);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("a compaction has the promised members", a_compaction_has_the_promised_members),
        TEST("a failed one tells its reason", a_failed_one_tells_its_reason),
        TEST("the list keeps the order of the engine", the_list_keeps_the_order_of_the_engine),
        TEST("what is no id is 404", what_is_no_id_is_404),
        TEST("starting answers 202 with its Location", starting_answers_202_with_its_location),
        TEST("starting while one runs is 409 and names it",
             starting_while_one_runs_is_409_and_names_it),
        TEST("a body is ignored", a_body_is_ignored),
        TEST("another site may not start one", another_site_may_not_start_one),
        TEST("other methods are 405", other_methods_are_405),
        TEST("compact waits for the result", compact_waits_for_the_result),
        TEST("compact joins the one that runs", compact_joins_the_one_that_runs),
        TEST("nothing to do is a success", nothing_to_do_is_a_success),
        TEST("a deadline ends the wait with 202", a_deadline_ends_the_wait_with_202),
        TEST("a failed compaction is a refusal", a_failed_compaction_is_a_refusal),
        TEST("a service that stops starts none", a_service_that_stops_starts_none),
        TEST("a stop ends the wait", a_stop_ends_the_wait),
        TEST("a client that leaves ends its wait", a_client_that_leaves_ends_its_wait),
        TEST("an engine that cannot is 501 and the capability is named",
             an_engine_that_cannot_is_501_and_the_capability_is_named),
        TEST("a refused start tells why", a_refused_start_tells_why),
        TEST("readyz tells how compaction goes", readyz_tells_how_compaction_goes),
        TEST("compacting a directory reclaims its garbage",
             compacting_a_directory_reclaims_its_garbage),
        TEST("an idle directory has nothing to do", an_idle_directory_has_nothing_to_do),
    };
    return test_main(argc, argv, "admin", tests);
}
