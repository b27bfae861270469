/* SPDX-License-Identifier: Apache-2.0 */
/* The table of refusals, its pages, its JSON, and the map of engine statuses. */
#include "client.h"

#include "../../../api/codec.h"
#include "../../../api/problem.h"

static void every_code_is_well_formed_and_unique(void **state)
{
    (void)state;
    for (enum problem_code code = PROBLEM_NONE + 1; code < PROBLEM_COUNT; code++) {
        const struct problem_row *row = problem_row(code);
        assert_int_equal(strspn(row->code, "abcdefghijklmnopqrstuvwxyz-"), strlen(row->code));
        assert_int_equal(problem_find(bytes_of(row->code)), code);
        assert_in_range(row->status, 400, 599);
        assert_true(strlen(row->title) > 5 && strlen(row->hint) > 5);
        assert_int_equal(row->retry_after_s > 0, row->status == 503 || row->status == 507);
    }
    assert_int_equal(problem_find(bytes_of("none")), PROBLEM_NONE);
    assert_int_equal(problem_find(bytes_of("")), PROBLEM_NONE);
}

static void every_status_but_ok_has_a_problem(void **state)
{
    (void)state;
    static const enum status statuses[] = {
#define X(name, text) STATUS_##name,
#include "../../../engine/status.def"
    };
    assert_int_equal(problem_of_status(STATUS_OK), PROBLEM_NONE);
    for (size_t i = 0; i < COUNT_OF(statuses); i++)
        if (statuses[i] != STATUS_OK)
            assert_int_not_equal(problem_of_status(statuses[i]), PROBLEM_NONE);
    assert_int_equal(problem_of_status(STATUS_UNKNOWN), PROBLEM_OUTCOME_UNKNOWN);
    assert_int_equal(problem_of_status(STATUS_UNAVAILABLE), PROBLEM_WRITE_NOT_APPLIED);
}

static void every_code_has_a_page(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    for (enum problem_code code = PROBLEM_NONE + 1; code < PROBLEM_COUNT; code++) {
        char target[64];
        snprintf(target, sizeof target, "/problems/%s", problem_row(code)->code);
        ANSWER page = get(&client, target);
        assert_int_equal(page.response.status, 200);
        assert_header(&page, "Content-Type", "text/plain; charset=utf-8");
        assert_contains(page.body, problem_row(code)->title);
        assert_contains(page.body, problem_row(code)->hint);
        assert_string_equal(page.response.route, "/problems/{code}");
    }
}

static void a_problem_is_rfc_9457_with_members(void **state)
{
    (void)state;
    struct problem problem = {.etag = "\"e-1\""};
    size_t size = 0;
    problem_set_detail(&problem, PROBLEM_BUSY, "Say \"%s\".", "please");
    problem_add_number(&problem, "limit", 7);
    problem_add_number(&problem, "actual", UINT64_C(1) << 53);
    char *body = codec_problem(&problem, &size);
    assert_string_equal(body, "{\"type\":\"/problems/busy\","
                              "\"title\":\"The store had no room for the write in time\","
                              "\"status\":503,\"detail\":\"Say \\\"please\\\".\","
                              "\"code\":\"busy\",\"limit\":7,\"actual\":9007199254740992,"
                              "\"etag\":\"\\\"e-1\\\"\",\"retry_after_ms\":1000}\n");
    assert_int_equal(size, strlen(body));
    free(body);
}

static void the_service_refuses_by_code(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    struct exchange exchange = {.method = "GET", .target = "/keys/k"};
    struct answer answer = {0};
    api_refuse(client.api, &exchange, "too-many-connections", 7, &answer.response);
    copy_answer(&answer);
    assert_problem(&answer, 503, "too-many-connections");
    assert_header(&answer, "Retry-After", "7");
    assert_contains(answer.body, "\"retry_after_ms\":7000");
    assert_string_equal(answer.response.route, "other");
    assert_true(strlen(answer.response.request_id) > 0);
    answer_done(&answer);
    api_refuse(client.api, &exchange, "draining", 0, &answer.response);
    copy_answer(&answer);
    assert_header(&answer, "Retry-After", "5");
    answer_done(&answer);
    exchange.method = "HEAD";
    api_refuse(client.api, &exchange, "no such code", 0, &answer.response);
    copy_answer(&answer);
    assert_int_equal(answer.response.status, 500);
    assert_header(&answer, "Keyrest-Problem", "internal");
    assert_int_equal(answer.response.body_kind, RESPONSE_OMITTED);
    answer_done(&answer);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("every code is well formed and unique", every_code_is_well_formed_and_unique),
        TEST("every status but OK has a problem", every_status_but_ok_has_a_problem),
        TEST("every code has a page", every_code_has_a_page),
        TEST("a problem is RFC 9457 with members", a_problem_is_rfc_9457_with_members),
        TEST("the service refuses by code", the_service_refuses_by_code),
    };
    return test_main(argc, argv, "problem", tests);
}
