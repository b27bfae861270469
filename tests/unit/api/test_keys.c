/* SPDX-License-Identifier: Apache-2.0 */
/* /keys/{key} from head to answer, over the memory engine. */
#include "client.h"

static void put_and_get_give_the_bytes_back(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    unsigned char all[256];
    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (unsigned char)i;
    ANSWER made = SEND(&client, .method = "PUT", .target = "/keys/a/b%20c", .body = {all, 256});
    assert_int_equal(made.verdict, API_BODY);
    assert_int_equal(made.response.status, 201);
    assert_int_equal(made.response.body_kind, RESPONSE_NONE);
    assert_header(&made, "Location", "/keys/a/b%20c");
    ANSWER read = get(&client, "/keys/a%2Fb%20c");
    assert_int_equal(read.response.status, 200);
    assert_int_equal(read.response.body_bytes, 256);
    assert_memory_equal(read.body, all, 256);
    char tag[64];
    strcpy(tag, header_of(&made, "ETag"));
    assert_header(&read, "ETag", tag);
}

static void a_read_says_how_to_treat_the_value(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER made = put(&client, "/keys/k", "v");
    ANSWER read = get(&client, "/keys/k");
    assert_header(&read, "Content-Type", "application/octet-stream");
    assert_header(&read, "X-Content-Type-Options", "nosniff");
    assert_header(&read, "Content-Security-Policy", "sandbox");
    assert_header(&read, "Cache-Control", "no-cache");
    assert_string_equal(read.response.route, "/keys/{key}");
    assert_null(read.response.problem_code);
    assert_false(read.response.close);
}

static void an_etag_has_epoch_and_sequence(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    struct engine_health health;
    ANSWER made = put(&client, "/keys/k", "v");
    engine_health(client.engine, &health);
    char expected[64];
    snprintf(expected, sizeof expected, "\"%012lx-1\"", (unsigned long)health.epoch);
    assert_header(&made, "ETag", expected);
}

static void a_replacing_put_answers_204_with_a_new_etag(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER first = put(&client, "/keys/k", "1");
    ANSWER second = put(&client, "/keys/k", "2");
    assert_int_equal(second.response.status, 204);
    assert_header(&second, "Location", "");
    char tag[64];
    strcpy(tag, header_of(&first, "ETag"));
    assert_string_not_equal(header_of(&second, "ETag"), tag);
    ANSWER read = get(&client, "/keys/k");
    assert_string_equal(read.body, "2");
}

static void an_empty_value_is_a_value(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER made = SEND(&client, .method = "PUT", .target = "/keys/k");
    assert_int_equal(made.response.status, 201);
    ANSWER read = get(&client, "/keys/k");
    assert_int_equal(read.response.status, 200);
    assert_int_equal(read.response.body_kind, RESPONSE_NONE);
    assert_int_equal(read.response.body_bytes, 0);
}

static void delete_answers_204_then_404(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER made = put(&client, "/keys/k", "v");
    ANSWER gone = SEND(&client, .method = "DELETE", .target = "/keys/k");
    assert_int_equal(gone.response.status, 204);
    ANSWER again = SEND(&client, .method = "DELETE", .target = "/keys/k");
    assert_problem(&again, 404, "key-not-found");
    ANSWER read = get(&client, "/keys/k");
    assert_problem(&read, 404, "key-not-found");
    assert_header(&read, "Cache-Control", "no-store");
}

static void kept_headers_come_back(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER made = SEND(&client, .method = "PUT", .target = "/keys/k", .body = bytes_of("v"),
                       .headers = {"content-type:  text/html ", "Content-Encoding: gzip",
                                   "Content-Language: de", "Content-Language: en",
                                   "Content-Disposition: inline", "X-Other: lost"});
    assert_int_equal(made.response.status, 201);
    ANSWER read = get(&client, "/keys/k");
    assert_header(&read, "Content-Type", "text/html");
    assert_header(&read, "Content-Encoding", "gzip");
    assert_header(&read, "Content-Language", "de, en");
    assert_header(&read, "Content-Disposition", "inline");
    assert_header(&read, "X-Other", "");
}

static void kept_headers_over_1_kib_are_431(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    char fits[1100] = "Content-Type: ", over[1100] = "Content-Type: ";
    memset(fits + 14, 'a', 1024 - 3);
    memset(over + 14, 'a', 1024 - 2);
    ANSWER ok = SEND(&client, .method = "PUT", .target = "/keys/k", .headers = {fits},
                     .body = bytes_of("v"));
    assert_int_equal(ok.response.status, 201);
    ANSWER bad = SEND(&client, .method = "PUT", .target = "/keys/l", .headers = {over},
                      .body = bytes_of("v"));
    assert_int_equal(bad.verdict, API_REFUSE);
    assert_problem(&bad, 431, "headers-too-large");
    assert_contains(bad.body, "\"limit\":1024,\"actual\":1025");
    ANSWER read = get(&client, "/keys/k");
    assert_string_equal(header_of(&read, "Content-Type"), fits + 14);
}

static void head_answers_as_get_without_the_bytes(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER made = SEND(&client, .method = "PUT", .target = "/keys/k", .body = bytes_of("12345"),
                       .headers = {"Content-Type: text/plain"});
    ANSWER head = SEND(&client, .method = "HEAD", .target = "/keys/k");
    assert_int_equal(head.response.status, 200);
    assert_int_equal(head.response.body_kind, RESPONSE_OMITTED);
    assert_int_equal(head.response.body_bytes, 5);
    assert_header(&head, "Content-Type", "text/plain");
    ANSWER none = SEND(&client, .method = "HEAD", .target = "/keys/absent");
    assert_int_equal(none.response.status, 404);
    assert_int_equal(none.response.body_kind, RESPONSE_OMITTED);
    assert_header(&none, "Keyrest-Problem", "key-not-found");
    ANSWER get_none = get(&client, "/keys/absent");
    assert_int_equal(none.response.body_bytes, get_none.response.body_bytes);
    assert_header(&get_none, "Keyrest-Problem", "");
}

static void every_key_byte_comes_back(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    for (unsigned byte = 1; byte < 256; byte++) {
        char target[16], value[8];
        if (byte == '.')
            continue;
        snprintf(target, sizeof target, "/keys/%%%02x", byte);
        snprintf(value, sizeof value, "%u", byte);
        ANSWER made = put(&client, target, value);
        assert_int_equal(made.response.status, 201);
        ANSWER read = get(&client, header_of(&made, "Location"));
        assert_string_equal(read.body, value);
    }
}

static void a_malformed_key_is_refused_for_every_method(void **state)
{
    (void)state;
    static const struct {
        const char *target;
        unsigned status;
        const char *code;
    } rows[] = {
        {"/keys/", 400, "key-empty"},
        {"/keys/?x=1", 400, "key-empty"},
        {"/keys/a%00b", 400, "key-nul"},
        {"/keys/a/../b", 400, "key-dot-segment"},
        {"/keys/%2e", 400, "key-dot-segment"},
        {"/keys/a%", 400, "bad-percent-encoding"},
        {"/keys/%4", 400, "bad-percent-encoding"},
        {"/keys/%zz", 400, "bad-percent-encoding"},
    };
    static const char *const methods[] = {"GET", "HEAD", "PUT", "DELETE", "POST", "OPTIONS"};
    CLIENT client = client_open("memory:");
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        for (size_t m = 0; m < COUNT_OF(methods); m++) {
            ANSWER answer = SEND(&client, .method = methods[m], .target = rows[i].target);
            assert_int_equal(answer.verdict, API_NO_BODY);
            assert_int_equal(answer.response.status, rows[i].status);
            assert_string_equal(answer.response.problem_code, rows[i].code);
        }
}

static void a_key_is_1024_bytes_at_most(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    char target[1200] = "/keys/";
    memset(target + 6, 'k', 1024);
    ANSWER fits = put(&client, target, "v");
    assert_int_equal(fits.response.status, 201);
    target[6 + 1024] = 'k';
    ANSWER over = put(&client, target, "v");
    assert_problem(&over, 414, "key-too-long");
    assert_contains(over.body, "\"limit\":1024,\"actual\":1025");
}

static void a_value_over_the_limit_is_refused_before_its_body(void **state)
{
    (void)state;
    struct engine_options limits = engine_options_default();
    limits.value_bytes_max = 10;
    CLIENT client = client_open_with("memory:", (struct api_options){.loopback = true}, limits);
    ANSWER fits = put(&client, "/keys/k", "0123456789");
    assert_int_equal(fits.response.status, 201);
    ANSWER over = put(&client, "/keys/k", "0123456789a");
    assert_int_equal(over.verdict, API_REFUSE);
    assert_true(over.response.close);
    assert_problem(&over, 413, "value-too-large");
    assert_contains(over.body, "\"limit\":10,\"actual\":11");
    ANSWER read = get(&client, "/keys/k");
    assert_string_equal(read.body, "0123456789");
}

static void a_chunked_body_grows_its_room(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    enum { SIZE = 300000 };
    char *value = malloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        value[i] = (char)(i * 7 % 251);
    ANSWER made = SEND(&client, .method = "PUT", .target = "/keys/k", .chunked = true,
                       .piece_bytes = 7001, .body = {value, SIZE});
    assert_int_equal(made.response.status, 201);
    ANSWER read = get(&client, "/keys/k");
    assert_int_equal(read.response.body_bytes, SIZE);
    assert_memory_equal(read.body, value, SIZE);
    free(value);
}

static void a_chunked_body_over_the_limit_is_swallowed_for_a_while(void **state)
{
    (void)state;
    struct engine_options limits = engine_options_default();
    limits.value_bytes_max = 100000;
    CLIENT client = client_open_with("memory:", (struct api_options){.loopback = true}, limits);
    size_t most = limits.value_bytes_max + API_IGNORED_BODY_BYTES_MAX;
    char *value = calloc(1, most + 1);
    ANSWER fits = SEND(&client, .method = "PUT", .target = "/keys/k", .chunked = true,
                       .piece_bytes = 8192, .body = {value, 100000});
    assert_int_equal(fits.response.status, 201);
    ANSWER over = SEND(&client, .method = "PUT", .target = "/keys/l", .chunked = true,
                       .piece_bytes = 8192, .body = {value, most});
    assert_false(over.cut);
    assert_problem(&over, 413, "value-too-large");
    ANSWER far = SEND(&client, .method = "PUT", .target = "/keys/l", .chunked = true,
                      .piece_bytes = 8192, .body = {value, most + 1});
    assert_true(far.cut);
    ANSWER read = get(&client, "/keys/l");
    assert_int_equal(read.response.status, 404);
    free(value);
}

static void a_body_nobody_asked_for_is_ignored_up_to_1_mib(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    char *body = calloc(1, API_IGNORED_BODY_BYTES_MAX + 1);
    ANSWER made = put(&client, "/keys/k", "v");
    ANSWER read = SEND(&client, .method = "GET", .target = "/keys/k",
                       .body = {body, API_IGNORED_BODY_BYTES_MAX});
    assert_int_equal(read.verdict, API_NO_BODY);
    assert_string_equal(read.body, "v");
    ANSWER over = SEND(&client, .method = "DELETE", .target = "/keys/k",
                       .body = {body, API_IGNORED_BODY_BYTES_MAX + 1});
    assert_int_equal(over.verdict, API_REFUSE);
    assert_problem(&over, 413, "value-too-large");
    ANSWER chunked = SEND(&client, .method = "DELETE", .target = "/keys/k", .chunked = true,
                          .body = {body, API_IGNORED_BODY_BYTES_MAX + 1});
    assert_problem(&chunked, 413, "value-too-large");
    ANSWER still = get(&client, "/keys/k");
    assert_string_equal(still.body, "v");
    free(body);
}

static void a_client_gone_before_the_end_stores_nothing(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER gone =
        SEND(&client, .method = "PUT", .target = "/keys/k", .gone = true, .body = bytes_of("half"));
    assert_int_equal(gone.response.status, 0);
    ANSWER read = get(&client, "/keys/k");
    assert_int_equal(read.response.status, 404);
}

static void a_partial_put_is_refused(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER answer = SEND(&client, .method = "PUT", .target = "/keys/k", .body = bytes_of("v"),
                         .headers = {"Content-Range: bytes 0-0/1"});
    assert_problem(&answer, 400, "content-range-refused");
}

static void parameters_are_refused(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER answer = SEND(&client, .method = "PUT", .target = "/keys/k?tll=60");
    assert_problem(&answer, 400, "unknown-parameter");
    ANSWER read = get(&client, "/keys/k");
    assert_int_equal(read.response.status, 404);
    ANSWER bare = SEND(&client, .method = "PUT", .target = "/keys/k?");
    assert_int_equal(bare.response.status, 201);
}

static void only_100_continue_can_be_expected(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER bad = SEND(&client, .method = "PUT", .target = "/keys/k", .body = bytes_of("v"),
                      .headers = {"Expect: 200-ok"});
    assert_problem(&bad, 417, "expectation-failed");
    ANSWER good = SEND(&client, .method = "PUT", .target = "/keys/k", .body = bytes_of("v"),
                       .headers = {"Expect: 100-Continue"});
    assert_int_equal(good.verdict, API_BODY);
    assert_int_equal(good.response.status, 201);
}

/* ---- conditions ---- */

static void a_matching_if_none_match_is_304_with_the_true_length(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER made = put(&client, "/keys/k", "12345");
    char condition[80];
    snprintf(condition, sizeof condition, "If-None-Match: \"x\", W/%.40s",
             header_of(&made, "ETag"));
    static const char *const methods[] = {"GET", "HEAD"};
    for (size_t i = 0; i < COUNT_OF(methods); i++) {
        ANSWER read =
            SEND(&client, .method = methods[i], .target = "/keys/k", .headers = {condition});
        assert_int_equal(read.response.status, 304);
        assert_int_equal(read.response.body_kind, RESPONSE_OMITTED);
        assert_int_equal(read.response.body_bytes, 5);
        assert_header(&read, "Content-Type", "");
        assert_header(&read, "Cache-Control", "no-cache");
        assert_string_not_equal(header_of(&read, "ETag"), "");
    }
    ANSWER any =
        SEND(&client, .method = "GET", .target = "/keys/k", .headers = {"If-None-Match: *"});
    assert_int_equal(any.response.status, 304);
    ANSWER other =
        SEND(&client, .method = "GET", .target = "/keys/k", .headers = {"If-None-Match: \"x\""});
    assert_int_equal(other.response.status, 200);
}

static void a_304_reads_no_value(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:?fail=get:CORRUPT");
    ANSWER made = put(&client, "/keys/k", "v");
    ANSWER read =
        SEND(&client, .method = "GET", .target = "/keys/k", .headers = {"If-None-Match: *"});
    assert_int_equal(read.response.status, 304);
}

static void a_key_deleted_between_judging_and_reading_is_404(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:?fail=get:NOT_FOUND");
    ANSWER made = put(&client, "/keys/k", "v");
    ANSWER read = SEND(&client, .method = "GET", .target = "/keys/k", .headers = {"If-Match: *"});
    assert_problem(&read, 404, "key-not-found");
}

static void a_failed_if_match_is_412_with_the_current_etag(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER made = put(&client, "/keys/k", "v");
    char tag[64], weak[80], member[80];
    strcpy(tag, header_of(&made, "ETag"));
    snprintf(weak, sizeof weak, "If-Match: W/%s", tag);
    snprintf(member, sizeof member, "\"etag\":\"\\%.*s\\\"\"", (int)strlen(tag) - 1, tag);
    static const char *const methods[] = {"GET", "PUT", "DELETE"};
    for (size_t i = 0; i < COUNT_OF(methods); i++) {
        ANSWER answer = SEND(&client, .method = methods[i], .target = "/keys/k", .headers = {weak});
        assert_problem(&answer, 412, "precondition-failed");
        assert_header(&answer, "ETag", tag);
        assert_contains(answer.body, member);
    }
    ANSWER read = get(&client, "/keys/k");
    assert_header(&read, "ETag", tag);
}

static void conditions_on_an_absent_key(void **state)
{
    (void)state;
    static const struct {
        const char *method, *condition;
        unsigned status;
    } rows[] = {
        {"GET", "If-Match: *", 404},         {"GET", "If-None-Match: *", 404},
        {"DELETE", "If-Match: *", 404},      {"DELETE", "If-Match: \"x\"", 404},
        {"PUT", "If-Match: *", 412},         {"PUT", "If-Match: \"x\"", 412},
        {"DELETE", "If-None-Match: *", 404},
    };
    CLIENT client = client_open("memory:");
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        ANSWER answer = SEND(&client, .method = rows[i].method, .target = "/keys/k",
                             .headers = {rows[i].condition});
        assert_int_equal(answer.response.status, rows[i].status);
        assert_header(&answer, "ETag", "");
    }
}

static void compare_and_swap_goes_on_with_the_current_etag_only(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER made = SEND(&client, .method = "PUT", .target = "/keys/k", .body = bytes_of("1"),
                       .headers = {"If-None-Match: *"});
    assert_int_equal(made.response.status, 201);
    char condition[80];
    snprintf(condition, sizeof condition, "If-Match: %.40s", header_of(&made, "ETag"));
    ANSWER swapped = SEND(&client, .method = "PUT", .target = "/keys/k", .body = bytes_of("2"),
                          .headers = {condition});
    assert_int_equal(swapped.response.status, 204);
    ANSWER again = SEND(&client, .method = "PUT", .target = "/keys/k", .body = bytes_of("3"),
                        .headers = {condition});
    assert_problem(&again, 412, "precondition-failed");
    assert_int_equal(again.verdict, API_BODY); /* the connection is kept */
    ANSWER create = SEND(&client, .method = "PUT", .target = "/keys/k", .body = bytes_of("4"),
                         .headers = {"If-None-Match: *"});
    assert_problem(&create, 412, "precondition-failed");
    snprintf(condition, sizeof condition, "If-Match: %.40s", header_of(&swapped, "ETag"));
    ANSWER gone = SEND(&client, .method = "DELETE", .target = "/keys/k", .headers = {condition});
    assert_int_equal(gone.response.status, 204);
}

static void a_waiting_client_hears_of_a_failed_condition_before_its_body(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER made = put(&client, "/keys/k", "1");
    ANSWER early = SEND(&client, .method = "PUT", .target = "/keys/k", .body = bytes_of("2"),
                        .headers = {"Expect: 100-continue", "If-None-Match: *"});
    assert_int_equal(early.verdict, API_REFUSE);
    assert_problem(&early, 412, "precondition-failed");
    ANSWER absent = SEND(&client, .method = "PUT", .target = "/keys/l", .body = bytes_of("2"),
                         .headers = {"Expect: 100-continue", "If-Match: *"});
    assert_int_equal(absent.verdict, API_REFUSE);
    ANSWER fine = SEND(&client, .method = "PUT", .target = "/keys/l", .body = bytes_of("2"),
                       .headers = {"Expect: 100-continue", "If-None-Match: *"});
    assert_int_equal(fine.response.status, 201);
}

static void dates_are_no_conditions(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER made = put(&client, "/keys/k", "1");
    ANSWER read = SEND(&client, .method = "GET", .target = "/keys/k",
                       .headers = {"If-Modified-Since: Fri, 31 Dec 9999 23:59:59 GMT",
                                   "If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT"});
    assert_int_equal(read.response.status, 200);
    assert_header(&read, "Last-Modified", "");
}

static void a_malformed_condition_is_told(void **state)
{
    (void)state;
    static const char *const methods[] = {"GET", "HEAD", "PUT", "DELETE"};
    CLIENT client = client_open("memory:");
    for (size_t i = 0; i < COUNT_OF(methods); i++) {
        ANSWER answer =
            SEND(&client, .method = methods[i], .target = "/keys/k", .headers = {"If-Match: abc"});
        assert_int_equal(answer.response.status, 400);
        assert_string_equal(answer.response.problem_code, "bad-condition");
    }
}

/* ---- what the engine answers ---- */

static void check_refusal(const char *url, const char *method, unsigned status, const char *code,
                          bool retry)
{
    CLIENT client = client_open(url);
    ANSWER answer = SEND(&client, .method = method, .target = "/keys/k", .body = bytes_of("v"));
    if (answer.response.problem_code == NULL)
        fail_msg("%s %s: no refusal", method, url);
    assert_string_equal(answer.response.problem_code, code);
    assert_int_equal(answer.response.status, status);
    assert_int_equal(*header_of(&answer, "Retry-After") != '\0', retry);
    assert_int_equal(strstr(answer.body, "retry_after_ms") != NULL, retry);
}

static void every_engine_status_has_its_answer(void **state)
{
    (void)state;
    static const struct {
        const char *status_name;
        unsigned status;
        const char *code;
        bool retry;
    } rows[] = {
        {"NOT_FOUND", 404, "key-not-found", false},
        {"INVALID", 500, "internal", false},
        {"NOT_A_NUMBER", 500, "internal", false},
        {"TOO_LARGE", 413, "value-too-large", false},
        {"BUSY", 503, "busy", true},
        {"LOADING", 503, "loading", true},
        {"UNAVAILABLE", 503, "write-not-applied", true},
        {"UNKNOWN", 504, "outcome-unknown", false},
        {"READ_ONLY", 503, "read-only", true},
        {"NO_SPACE", 507, "disk-full", true},
        {"NO_MEMORY", 507, "memory-full", true},
        {"CORRUPT", 500, "data-corrupt", false},
        {"GONE", 500, "internal", false},
        {"RUNNING", 500, "internal", false},
        {"UNSUPPORTED", 501, "unsupported", false},
        {"CANCELLED", 503, "draining", true},
        {"LOCKED", 500, "internal", false},
        {"CORRUPT_LOG", 500, "internal", false},
        {"FORMAT", 500, "internal", false},
        {"IO", 500, "internal", false},
    };
    static const struct {
        const char *call, *method;
    } calls[] = {{"get", "GET"}, {"value_open", "PUT"}, {"commit", "PUT"}, {"commit", "DELETE"}};
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        for (size_t c = 0; c < COUNT_OF(calls); c++) {
            char url[80];
            snprintf(url, sizeof url, "memory:?fail=%s:%s", calls[c].call, rows[i].status_name);
            check_refusal(url, calls[c].method, rows[i].status, rows[i].code, rows[i].retry);
        }
}

static void a_body_whose_room_cannot_grow_is_swallowed_and_refused(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:?fail=value_grow:NO_MEMORY");
    char *body = calloc(1, 200000);
    ANSWER answer = SEND(&client, .method = "PUT", .target = "/keys/k", .chunked = true,
                         .piece_bytes = 8000, .body = {body, 200000});
    assert_false(answer.cut);
    assert_problem(&answer, 507, "memory-full");
    free(body);
}

static void loading_tells_its_progress(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:?state=loading");
    ANSWER answer = get(&client, "/keys/k");
    assert_problem(&answer, 503, "loading");
    assert_contains(answer.body, "\"loaded\":");
    assert_contains(answer.body, "\"to_load\":");
    assert_header(&answer, "Retry-After", "1");
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("put and get give the bytes back", put_and_get_give_the_bytes_back),
        TEST("a read says how to treat the value", a_read_says_how_to_treat_the_value),
        TEST("an ETag has epoch and sequence", an_etag_has_epoch_and_sequence),
        TEST("a replacing PUT answers 204 with a new ETag",
             a_replacing_put_answers_204_with_a_new_etag),
        TEST("an empty value is a value", an_empty_value_is_a_value),
        TEST("DELETE answers 204, then 404", delete_answers_204_then_404),
        TEST("kept headers come back", kept_headers_come_back),
        TEST("kept headers over 1 KiB are 431", kept_headers_over_1_kib_are_431),
        TEST("HEAD answers as GET, without the bytes", head_answers_as_get_without_the_bytes),
        TEST("every key byte comes back", every_key_byte_comes_back),
        TEST("a malformed key is refused for every method",
             a_malformed_key_is_refused_for_every_method),
        TEST("a key is 1024 bytes at most", a_key_is_1024_bytes_at_most),
        TEST("a value over the limit is refused before its body",
             a_value_over_the_limit_is_refused_before_its_body),
        TEST("a chunked body grows its room", a_chunked_body_grows_its_room),
        TEST("a chunked body over the limit is swallowed for a while",
             a_chunked_body_over_the_limit_is_swallowed_for_a_while),
        TEST("a body nobody asked for is ignored up to 1 MiB",
             a_body_nobody_asked_for_is_ignored_up_to_1_mib),
        TEST("a client gone before the end stores nothing",
             a_client_gone_before_the_end_stores_nothing),
        TEST("a partial PUT is refused", a_partial_put_is_refused),
        TEST("parameters are refused", parameters_are_refused),
        TEST("only 100-continue can be expected", only_100_continue_can_be_expected),
        TEST("a matching If-None-Match is 304 with the true length",
             a_matching_if_none_match_is_304_with_the_true_length),
        TEST("a 304 reads no value", a_304_reads_no_value),
        TEST("a key deleted between judging and reading is 404",
             a_key_deleted_between_judging_and_reading_is_404),
        TEST("a failed If-Match is 412 with the current ETag",
             a_failed_if_match_is_412_with_the_current_etag),
        TEST("conditions on an absent key are 404, or 412 for PUT", conditions_on_an_absent_key),
        TEST("compare and swap goes on with the current ETag only",
             compare_and_swap_goes_on_with_the_current_etag_only),
        TEST("a waiting client hears of a failed condition before its body",
             a_waiting_client_hears_of_a_failed_condition_before_its_body),
        TEST("dates are no conditions", dates_are_no_conditions),
        TEST("a malformed condition is told", a_malformed_condition_is_told),
        TEST("every engine status has its answer", every_engine_status_has_its_answer),
        TEST("a body whose room cannot grow is swallowed and refused",
             a_body_whose_room_cannot_grow_is_swallowed_and_refused),
        TEST("loading tells its progress", loading_tells_its_progress),
    };
    return test_main(argc, argv, "keys", tests);
}
