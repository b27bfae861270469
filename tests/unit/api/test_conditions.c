/* SPDX-License-Identifier: Apache-2.0 */
/* Entity tags, and preconditions as data. */
#include "../../../api/conditions.h"
#include "../../lib/test.h"

static const struct engine_version first = {0x0123456789ab, 0x1f};
static const struct engine_version second = {0x0123456789ab, 0x20};
static const struct engine_version absent = {0, 0};

#define FIRST  "\"0123456789ab-1f\""
#define SECOND "\"0123456789ab-20\""

/* The second of DATE, and a little. */
#define MODIFIED_MS INT64_C(784111777900)
#define BEFORE      "Sun, 06 Nov 1994 08:49:36 GMT"
#define DATE        "Sun, 06 Nov 1994 08:49:37 GMT"
#define AFTER       "Sun, 06 Nov 1994 08:49:38 GMT"

static enum problem_code read_fields_of(const char *method, const struct api_header *fields,
                                        size_t count, struct conditions *out_conditions)
{
    struct exchange exchange = {.method = method, .headers = fields, .header_count = count};
    struct headers headers = {.counts = {0}};
    struct problem problem = {.code = PROBLEM_NONE};
    assert_true(headers_read(&exchange, &headers, &problem));
    bool accepted =
        conditions_read(&exchange, &headers, time_source_system(), out_conditions, &problem);
    assert_int_equal(accepted, problem.code == PROBLEM_NONE);
    return problem.code;
}

static enum problem_code read_fields(const struct api_header *fields, size_t count,
                                     struct conditions *out_conditions)
{
    return read_fields_of("GET", fields, count, out_conditions);
}

static enum conditions_verdict judge_version(const struct conditions *conditions,
                                             struct engine_version current)
{
    struct engine_item item = {.version = current};
    item.modified_ms = current.sequence != 0 ? MODIFIED_MS : 0;
    return conditions_judge(conditions, &item);
}

static enum conditions_verdict judge(const char *name, const char *value,
                                     struct engine_version current)
{
    struct conditions conditions;
    assert_int_equal(read_fields(&(struct api_header){name, value}, 1, &conditions), PROBLEM_NONE);
    return judge_version(&conditions, current);
}

static void a_tag_is_written_and_read_back(void **state)
{
    (void)state;
    static const struct engine_version versions[] = {
        {0, 1}, {0xffffffffffff, 0x1fffffffffffff}, {0x0123456789ab, 0x1f}, {1, 0x10}};
    for (size_t i = 0; i < COUNT_OF(versions); i++) {
        char text[ETAG_BYTES];
        struct engine_version version;
        size_t size = etag_write(versions[i], text);
        assert_int_equal(size, strlen(text));
        assert_true(etag_read((struct bytes){text + 1, size - 2}, &version));
        assert_true(engine_version_equal(version, versions[i]));
    }
    char text[ETAG_BYTES];
    etag_write(first, text);
    assert_string_equal(text, FIRST);
}

static void no_other_spelling_is_a_version(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "x",
        "0123456789ab",
        "0123456789ab-",
        "0123456789ab-0",
        "0123456789ab-01f",
        "0123456789AB-1f",
        "0123456789ab-1F",
        "0123456789ab-1g",
        "0123456789ab-1f ",
        "0123456789ab_1f",
        "123456789ab-1f",
        "00123456789ab-1f",
        "0123456789ab-20000000000000",
        "0123456789ab-fffffffffffffff",
    };
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct engine_version version = absent;
        assert_false(etag_read(bytes_of(texts[i]), &version));
        assert_int_equal(version.sequence, 0);
    }
}

static void if_match_compares_strongly(void **state)
{
    (void)state;
    assert_int_equal(judge("If-Match", FIRST, first), CONDITIONS_HOLD);
    assert_int_equal(judge("If-Match", SECOND, first), CONDITIONS_FAILED);
    assert_int_equal(judge("If-Match", SECOND ", " FIRST, first), CONDITIONS_HOLD);
    assert_int_equal(judge("If-Match", "W/" FIRST, first), CONDITIONS_FAILED);
    assert_int_equal(judge("If-Match", "W/" FIRST "," FIRST, first), CONDITIONS_HOLD);
    assert_int_equal(judge("If-Match", "\"other\"", first), CONDITIONS_FAILED);
    assert_int_equal(judge("If-Match", "*", first), CONDITIONS_HOLD);
    assert_int_equal(judge("If-Match", "*", absent), CONDITIONS_FAILED);
    assert_int_equal(judge("If-Match", FIRST, absent), CONDITIONS_FAILED);
}

static void if_none_match_compares_weakly(void **state)
{
    (void)state;
    assert_int_equal(judge("If-None-Match", FIRST, first), CONDITIONS_NOT_MODIFIED);
    assert_int_equal(judge("If-None-Match", "W/" FIRST, first), CONDITIONS_NOT_MODIFIED);
    assert_int_equal(judge("If-None-Match", FIRST, second), CONDITIONS_HOLD);
    assert_int_equal(judge("If-None-Match", "\"other\", \"\"", first), CONDITIONS_HOLD);
    assert_int_equal(judge("If-None-Match", "*", first), CONDITIONS_NOT_MODIFIED);
    assert_int_equal(judge("If-None-Match", "*", absent), CONDITIONS_HOLD);
    assert_int_equal(judge("If-None-Match", FIRST, absent), CONDITIONS_HOLD);
}

static void a_tag_of_another_epoch_does_not_match(void **state)
{
    (void)state;
    struct engine_version restored = {0x0123456789ac, 0x1f};
    assert_int_equal(judge("If-Match", FIRST, restored), CONDITIONS_FAILED);
    assert_int_equal(judge("If-None-Match", FIRST, restored), CONDITIONS_HOLD);
}

static void if_match_is_judged_first(void **state)
{
    (void)state;
    static const struct api_header fields[] = {{"If-None-Match", FIRST}, {"If-Match", SECOND}};
    struct conditions conditions;
    assert_int_equal(read_fields(fields, 2, &conditions), PROBLEM_NONE);
    assert_int_equal(conditions.count, 2);
    assert_int_equal(judge_version(&conditions, first), CONDITIONS_FAILED);
    assert_int_equal(judge_version(&conditions, second), CONDITIONS_HOLD);
}

static void several_lines_are_one_list(void **state)
{
    (void)state;
    static const struct api_header fields[] = {{"If-Match", FIRST}, {"if-match", SECOND}};
    struct conditions conditions;
    assert_int_equal(read_fields(fields, 2, &conditions), PROBLEM_NONE);
    assert_int_equal(conditions.count, 1);
    assert_int_equal(judge_version(&conditions, second), CONDITIONS_HOLD);
}

static void no_condition_always_holds(void **state)
{
    (void)state;
    struct conditions conditions;
    assert_int_equal(read_fields(NULL, 0, &conditions), PROBLEM_NONE);
    assert_int_equal(judge_version(&conditions, absent), CONDITIONS_HOLD);
}

static void a_malformed_list_is_refused(void **state)
{
    (void)state;
    static const char *const values[] = {
        "",           ",",        "abc",      "\"abc",    "abc\"",   "\"a\" \"b\"",
        "\"a\"\"b\"", "*, \"a\"", "\"a\",*",  "**",       "w/\"a\"", "W/",
        "W/abc",      "\"a b\"",  "\"a\", b", "W /\"a\"", "*, *",    "\"a\";q=1",
    };
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        struct conditions conditions;
        struct api_header field = {"If-None-Match", values[i]};
        if (read_fields(&field, 1, &conditions) != PROBLEM_BAD_CONDITION)
            fail_msg("accepted: %s", values[i]);
    }
}

static void empty_elements_are_skipped(void **state)
{
    (void)state;
    assert_int_equal(judge("If-Match", ", ," FIRST ",,", first), CONDITIONS_HOLD);
}

static void there_are_16_tags_at_most(void **state)
{
    (void)state;
#define FOUR FIRST "," SECOND "," FIRST "," SECOND
    struct conditions conditions;
    struct api_header most = {"If-Match", FOUR "," FOUR "," FOUR "," FOUR};
    struct api_header over = {"If-Match", FOUR "," FOUR "," FOUR "," FOUR ",W/\"x\""};
    assert_int_equal(read_fields(&most, 1, &conditions), PROBLEM_NONE);
    assert_int_equal(conditions.items[0].version_count, 16);
    assert_int_equal(read_fields(&over, 1, &conditions), PROBLEM_BAD_CONDITION);
#undef FOUR
}

static void a_date_is_compared_by_the_second(void **state)
{
    (void)state;
    static const struct {
        const char *date;
        enum conditions_verdict modified_since, unmodified_since;
    } rows[] = {
        {BEFORE, CONDITIONS_HOLD, CONDITIONS_FAILED},
        {DATE, CONDITIONS_NOT_MODIFIED, CONDITIONS_HOLD},
        {AFTER, CONDITIONS_NOT_MODIFIED, CONDITIONS_HOLD},
        {"Sunday, 06-Nov-94 08:49:36 GMT", CONDITIONS_HOLD, CONDITIONS_FAILED},
        {"Sun Nov  6 08:49:36 1994", CONDITIONS_HOLD, CONDITIONS_FAILED},
        {"784111777", CONDITIONS_HOLD, CONDITIONS_HOLD}, /* no date: ignored */
        {"", CONDITIONS_HOLD, CONDITIONS_HOLD},
        {DATE ", " DATE, CONDITIONS_HOLD, CONDITIONS_HOLD},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_int_equal(judge("If-Modified-Since", rows[i].date, first), rows[i].modified_since);
        assert_int_equal(judge("If-Unmodified-Since", rows[i].date, first),
                         rows[i].unmodified_since);
        assert_int_equal(judge("If-Modified-Since", rows[i].date, absent), CONDITIONS_HOLD);
        assert_int_equal(judge("If-Unmodified-Since", rows[i].date, absent), CONDITIONS_HOLD);
    }
    static const struct api_header twice[] = {{"If-Modified-Since", DATE},
                                              {"If-Modified-Since", DATE}};
    struct conditions conditions;
    assert_int_equal(read_fields(twice, 2, &conditions), PROBLEM_NONE);
    assert_true(conditions_are_none(&conditions));
}

static void a_tag_takes_the_place_of_its_date(void **state)
{
    (void)state;
    static const struct {
        struct api_header fields[2];
        enum conditions_verdict verdict;
    } rows[] = {
        {{{"If-Match", FIRST}, {"If-Unmodified-Since", BEFORE}}, CONDITIONS_HOLD},
        {{{"If-None-Match", SECOND}, {"If-Modified-Since", AFTER}}, CONDITIONS_HOLD},
        {{{"If-None-Match", FIRST}, {"If-Unmodified-Since", BEFORE}}, CONDITIONS_FAILED},
        {{{"If-Modified-Since", AFTER}, {"If-Unmodified-Since", BEFORE}}, CONDITIONS_FAILED},
        {{{"If-Match", SECOND}, {"If-Modified-Since", AFTER}}, CONDITIONS_FAILED},
        {{{"If-Match", FIRST}, {"If-Modified-Since", AFTER}}, CONDITIONS_NOT_MODIFIED},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct conditions conditions;
        assert_int_equal(read_fields(rows[i].fields, 2, &conditions), PROBLEM_NONE);
        assert_int_equal(judge_version(&conditions, first), rows[i].verdict);
    }
}

static void only_reads_ask_if_modified_since(void **state)
{
    (void)state;
    static const char *const methods[] = {"PUT", "DELETE", "POST"};
    struct api_header field = {"If-Modified-Since", AFTER};
    struct conditions conditions;
    for (size_t i = 0; i < COUNT_OF(methods); i++) {
        assert_int_equal(read_fields_of(methods[i], &field, 1, &conditions), PROBLEM_NONE);
        assert_true(conditions_are_none(&conditions));
    }
    assert_int_equal(read_fields_of("HEAD", &field, 1, &conditions), PROBLEM_NONE);
    assert_false(conditions_are_none(&conditions));
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("a tag is written and read back", a_tag_is_written_and_read_back),
        TEST("no other spelling is a version", no_other_spelling_is_a_version),
        TEST("If-Match compares strongly", if_match_compares_strongly),
        TEST("If-None-Match compares weakly", if_none_match_compares_weakly),
        TEST("a tag of another epoch does not match", a_tag_of_another_epoch_does_not_match),
        TEST("If-Match is judged first", if_match_is_judged_first),
        TEST("several lines are one list", several_lines_are_one_list),
        TEST("no condition always holds", no_condition_always_holds),
        TEST("a malformed list is refused", a_malformed_list_is_refused),
        TEST("empty elements are skipped", empty_elements_are_skipped),
        TEST("there are 16 tags at most", there_are_16_tags_at_most),
        TEST("a date is compared by the second", a_date_is_compared_by_the_second),
        TEST("a tag takes the place of its date", a_tag_takes_the_place_of_its_date),
        TEST("only reads ask If-Modified-Since", only_reads_ask_if_modified_since),
    };
    return test_main(argc, argv, "conditions", tests);
}
