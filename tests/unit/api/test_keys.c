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
    snprintf(tag, sizeof tag, "%.60s", header_of(&made, "ETag"));
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
    snprintf(tag, sizeof tag, "%.60s", header_of(&first, "ETag"));
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
    assert_int_equal(chunked.verdict, API_NO_BODY);
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
        const char *status_name, *code;
        unsigned status;
        bool retry;
    } rows[] = {
        {"NOT_FOUND", "key-not-found", 404, false},
        {"INVALID", "internal", 500, false},
        {"NOT_A_NUMBER", "not-a-number", 422, false},
        {"TOO_LARGE", "value-too-large", 413, false},
        {"BUSY", "busy", 503, true},
        {"LOADING", "loading", 503, true},
        {"UNAVAILABLE", "write-not-applied", 503, true},
        {"UNKNOWN", "outcome-unknown", 504, false},
        {"READ_ONLY", "read-only", 503, true},
        {"NO_SPACE", "disk-full", 507, true},
        {"NO_MEMORY", "memory-full", 507, true},
        {"CORRUPT", "data-corrupt", 500, false},
        {"GONE", "internal", 500, false},
        {"RUNNING", "compaction-running", 409, false},
        {"UNSUPPORTED", "unsupported", 501, false},
        {"CANCELLED", "draining", 503, true},
        {"LOCKED", "internal", 500, false},
        {"CORRUPT_LOG", "internal", 500, false},
        {"FORMAT", "internal", 500, false},
        {"IO", "internal", 500, false},
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
        TEST("every engine status has its answer", every_engine_status_has_its_answer),
        TEST("a body whose room cannot grow is swallowed and refused",
             a_body_whose_room_cannot_grow_is_swallowed_and_refused),
        TEST("loading tells its progress", loading_tells_its_progress),
    };
    return test_main(argc, argv, "keys", tests);
}
