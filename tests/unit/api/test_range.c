/* SPDX-License-Identifier: Apache-2.0 */
/* Parts of a value: what Range and If-Range ask for, and how a GET answers it. */
#include "../../../api/range.h"

#include "client.h"

#define TAG "\"0123456789ab-1f\""

static const struct engine_version current = {0x0123456789ab, 0x1f};

static struct range select_by(const struct api_header *fields, size_t count, uint64_t size)
{
    struct exchange exchange = {.headers = fields, .header_count = count};
    struct headers headers = {.counts = {0}};
    struct problem problem = {.code = PROBLEM_NONE};
    assert_true(headers_read(&exchange, &headers, &problem));
    return range_select(&headers, current, size);
}

static void one_range_of_bytes_is_selected(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t size;
        enum range_kind kind;
        uint64_t first, count;
    } rows[] = {
        {"bytes=0-3", 10, RANGE_PART, 0, 4},
        {"bytes=0-0", 10, RANGE_PART, 0, 1},
        {"bytes=9-9", 10, RANGE_PART, 9, 1},
        {"bytes=0-", 10, RANGE_PART, 0, 10},
        {"bytes=4-", 10, RANGE_PART, 4, 6},
        {"bytes=4-99", 10, RANGE_PART, 4, 6},
        {"bytes=4-99999999999999999999999", 10, RANGE_PART, 4, 6},
        {"bytes=-3", 10, RANGE_PART, 7, 3},
        {"bytes=-10", 10, RANGE_PART, 0, 10},
        {"bytes=-99", 10, RANGE_PART, 0, 10},
        {"bytes=-99999999999999999999999", 10, RANGE_PART, 0, 10},
        {"BYTES=00004-00005", 10, RANGE_PART, 4, 2},
        {"bytes=10-", 10, RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=10-12", 10, RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=99999999999999999999999-", 10, RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=-0", 10, RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=0-", 0, RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=0-0", 0, RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=-0", 0, RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=-1", 0, RANGE_WHOLE, 0, 0}, /* satisfiable: by nothing */
        {"bytes=18446744073709551615-", UINT64_MAX, RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=0-18446744073709551615", UINT64_MAX, RANGE_PART, 0, UINT64_MAX},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct api_header field = {"Range", rows[i].text};
        struct range range = select_by(&field, 1, rows[i].size);
        if (range.kind != rows[i].kind || range.first != rows[i].first ||
            range.count != rows[i].count)
            fail_msg("%s of %lu: %d %lu %lu", rows[i].text, rows[i].size, range.kind, range.first,
                     range.count);
    }
}

static void what_is_not_one_range_of_bytes_is_ignored(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes= 0-3",
        "bytes =0-3",
        "bytes=0 -3",
        "bytes=0-3 4",
        "bytes=3-0",
        "bytes=5",
        "bytes=--5",
        "bytes=+1-2",
        "bytes=0x1-2",
        "bytes=a-b",
        "bytes=0-b",
        "bytes=0-1,3-4",
        "bytes=0-1,",
        "bytes=,0-1",
        "bytes=99-,0-1",
        "0-3",
        "items=0-3",
        "bytesx=0-3",
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct api_header field = {"Range", texts[i]};
        struct range range = select_by(&field, 1, 10);
        if (range.kind != RANGE_WHOLE || range.first != 0 || range.count != 10)
            fail_msg("not ignored: '%s'", texts[i]);
    }
    static const struct api_header twice[] = {{"Range", "bytes=0-3"}, {"Range", "bytes=0-3"}};
    assert_int_equal(select_by(twice, 2, 10).kind, RANGE_WHOLE);
    assert_int_equal(select_by(NULL, 0, 10).kind, RANGE_WHOLE);
}

static void a_part_comes_of_the_version_that_if_range_names_alone(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum range_kind kind;
    } rows[] = {
        {TAG, RANGE_PART},
        {"W/" TAG, RANGE_WHOLE},
        {"\"0123456789ab-20\"", RANGE_WHOLE},
        {"\"0123456789ac-1f\"", RANGE_WHOLE},
        {"0123456789ab-1f", RANGE_WHOLE},
        {"\"", RANGE_WHOLE},
        {"\"\"", RANGE_WHOLE},
        {"", RANGE_WHOLE},
        {"*", RANGE_WHOLE},
        {TAG ", " TAG, RANGE_WHOLE},
        {"Fri, 31 Dec 9999 23:59:59 GMT", RANGE_WHOLE},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct api_header fields[] = {{"Range", "bytes=0-3"}, {"If-Range", rows[i].text}};
        if (select_by(fields, 2, 10).kind != rows[i].kind)
            fail_msg("If-Range: %s", rows[i].text);
    }
    static const struct api_header twice[] = {
        {"Range", "bytes=0-3"}, {"If-Range", TAG}, {"If-Range", TAG}};
    assert_int_equal(select_by(twice, 3, 10).kind, RANGE_WHOLE);
}

/* ---- answers ---- */

static void a_part_is_206_with_its_place(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER made = SEND(&client, .method = "PUT", .target = "/keys/k",
                       .body = bytes_of("0123456789"), .headers = {"Content-Type: text/plain"});
    char tag[64];
    snprintf(tag, sizeof tag, "%.60s", header_of(&made, "ETag"));
    ANSWER part =
        SEND(&client, .method = "GET", .target = "/keys/k", .headers = {"Range: bytes=2-4"});
    assert_int_equal(part.response.status, 206);
    assert_string_equal(part.body, "234");
    assert_int_equal(part.response.body_bytes, 3);
    assert_header(&part, "Content-Range", "bytes 2-4/10");
    assert_header(&part, "Content-Type", "text/plain");
    assert_header(&part, "X-Content-Type-Options", "nosniff");
    assert_header(&part, "ETag", tag);
    ANSWER all =
        SEND(&client, .method = "GET", .target = "/keys/k", .headers = {"Range: bytes=0-"});
    assert_int_equal(all.response.status, 206);
    assert_header(&all, "Content-Range", "bytes 0-9/10");
    ANSWER whole =
        SEND(&client, .method = "GET", .target = "/keys/k", .headers = {"Range: bytes=0-1,4-5"});
    assert_int_equal(whole.response.status, 200);
    assert_string_equal(whole.body, "0123456789");
    assert_header(&whole, "Content-Range", "");
    assert_header(&whole, "Accept-Ranges", "bytes");
}

static void a_range_behind_the_end_is_416_and_reads_no_value(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:?fail=get:CORRUPT");
    ANSWER made = put(&client, "/keys/k", "0123456789");
    char tag[64];
    snprintf(tag, sizeof tag, "%.60s", header_of(&made, "ETag"));
    ANSWER none =
        SEND(&client, .method = "GET", .target = "/keys/k", .headers = {"Range: bytes=10-"});
    assert_problem(&none, 416, "range-unsatisfiable");
    assert_header(&none, "Content-Range", "bytes */10");
    assert_header(&none, "ETag", tag);
    assert_contains(none.body, "\"size\":10");
}

static void conditions_come_before_the_range(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER made = put(&client, "/keys/k", "0123456789");
    ANSWER same = SEND(&client, .method = "GET", .target = "/keys/k",
                       .headers = {"Range: bytes=10-", "If-None-Match: *"});
    assert_int_equal(same.response.status, 304);
    assert_int_equal(same.response.body_bytes, 10);
    ANSWER other = SEND(&client, .method = "GET", .target = "/keys/k",
                        .headers = {"Range: bytes=10-", "If-Match: \"x\""});
    assert_problem(&other, 412, "precondition-failed");
    ANSWER absent =
        SEND(&client, .method = "GET", .target = "/keys/l", .headers = {"Range: bytes=0-1"});
    assert_problem(&absent, 404, "key-not-found");
}

static void only_get_has_ranges(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER made = SEND(&client, .method = "PUT", .target = "/keys/k",
                       .body = bytes_of("0123456789"), .headers = {"Range: bytes=0-1"});
    assert_int_equal(made.response.status, 201);
    ANSWER head =
        SEND(&client, .method = "HEAD", .target = "/keys/k", .headers = {"Range: bytes=0-1"});
    assert_int_equal(head.response.status, 200);
    assert_int_equal(head.response.body_bytes, 10);
    assert_header(&head, "Accept-Ranges", "bytes");
    ANSWER behind =
        SEND(&client, .method = "HEAD", .target = "/keys/k", .headers = {"Range: bytes=99-"});
    assert_int_equal(behind.response.status, 200);
    ANSWER gone =
        SEND(&client, .method = "DELETE", .target = "/keys/k", .headers = {"Range: bytes=0-1"});
    assert_int_equal(gone.response.status, 204);
}

static void an_empty_value_has_no_part(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER made = SEND(&client, .method = "PUT", .target = "/keys/k");
    ANSWER suffix =
        SEND(&client, .method = "GET", .target = "/keys/k", .headers = {"Range: bytes=-5"});
    assert_int_equal(suffix.response.status, 200);
    assert_int_equal(suffix.response.body_kind, RESPONSE_NONE);
    ANSWER first =
        SEND(&client, .method = "GET", .target = "/keys/k", .headers = {"Range: bytes=0-"});
    assert_problem(&first, 416, "range-unsatisfiable");
    assert_header(&first, "Content-Range", "bytes */0");
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("one range of bytes is selected", one_range_of_bytes_is_selected),
        TEST("what is not one range of bytes is ignored",
             what_is_not_one_range_of_bytes_is_ignored),
        TEST("a part comes of the version that If-Range names alone",
             a_part_comes_of_the_version_that_if_range_names_alone),
        TEST("a part is 206 with its place", a_part_is_206_with_its_place),
        TEST("a range behind the end is 416 and reads no value",
             a_range_behind_the_end_is_416_and_reads_no_value),
        TEST("conditions come before the range", conditions_come_before_the_range),
        TEST("only GET has ranges", only_get_has_ranges),
        TEST("an empty value has no part", an_empty_value_has_no_part),
    };
    return test_main(argc, argv, "range", tests);
}
