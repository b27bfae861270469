/* SPDX-License-Identifier: Apache-2.0 */
/* Raw targets into keys and parameters. */
#include "../../../api/target.h"
#include "../../lib/test.h"

static enum problem_code key_of(const char *raw, uint32_t max, struct bytes *out_key)
{
    static unsigned char buffer[64];
    struct problem problem = {.code = PROBLEM_NONE};
    bool accepted = target_read_key(bytes_of(raw), max, buffer, out_key, &problem);
    assert_int_equal(accepted, problem.code == PROBLEM_NONE);
    return problem.code;
}

static void check_key(const char *raw, const char *expected)
{
    struct bytes key = {NULL, 0};
    assert_int_equal(key_of(raw, 16, &key), PROBLEM_NONE);
    assert_true(bytes_equal(key, bytes_of(expected)));
}

static void a_key_is_decoded_once_and_not_normalised(void **state)
{
    (void)state;
    check_key("a%2Fb", "a/b");
    check_key("a/b", "a/b");
    check_key("%252F", "%2F");
    check_key("a+b", "a+b");
    check_key("//a//", "//a//");
    check_key("/", "/");
    check_key("...", "...");
    check_key("a/.../b", "a/.../b");
    check_key(".a/..b", ".a/..b");
    check_key("%c3%A4", "\xc3\xa4");
    check_key("\xc3\xa4", "\xc3\xa4");
    check_key("a%3Fb;c=d", "a?b;c=d");
}

static void check_refused(const char *raw, enum problem_code code)
{
    struct bytes key = {NULL, 0};
    assert_int_equal(key_of(raw, 4, &key), code);
    assert_null(key.data);
}

static void a_malformed_key_is_refused(void **state)
{
    (void)state;
    check_refused("", PROBLEM_KEY_EMPTY);
    check_refused("%00", PROBLEM_KEY_NUL);
    check_refused("a%00b", PROBLEM_KEY_NUL);
    check_refused(".", PROBLEM_KEY_DOT_SEGMENT);
    check_refused("..", PROBLEM_KEY_DOT_SEGMENT);
    check_refused("%2E%2e", PROBLEM_KEY_DOT_SEGMENT);
    check_refused("a/.", PROBLEM_KEY_DOT_SEGMENT);
    check_refused("../a", PROBLEM_KEY_DOT_SEGMENT);
    check_refused("/./", PROBLEM_KEY_DOT_SEGMENT);
    check_refused("%", PROBLEM_BAD_PERCENT_ENCODING);
    check_refused("%a", PROBLEM_BAD_PERCENT_ENCODING);
    check_refused("%ag", PROBLEM_BAD_PERCENT_ENCODING);
    check_refused("%-1", PROBLEM_BAD_PERCENT_ENCODING);
    check_refused("%%%", PROBLEM_BAD_PERCENT_ENCODING);
    check_refused("abcde", PROBLEM_KEY_TOO_LONG);
}

static void the_limit_counts_decoded_bytes(void **state)
{
    (void)state;
    struct bytes key;
    assert_int_equal(key_of("%61%62%63%64", 4, &key), PROBLEM_NONE);
    assert_int_equal(key.size, 4);
}

static void writing_and_reading_a_key_give_it_back(void **state)
{
    (void)state;
    unsigned char all[255], decoded[3 * 255];
    char text[3 * 255];
    struct bytes key;
    struct problem problem = {.code = PROBLEM_NONE};
    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (unsigned char)(i + 1);
    size_t size = target_write_key((struct bytes){all, sizeof all}, text);
    for (size_t i = 0; i < size; i++)
        assert_true(text[i] > ' ' && text[i] < 0x7f && text[i] != '?' && text[i] != '#');
    assert_true(target_read_key((struct bytes){text, size}, 255, decoded, &key, &problem));
    assert_true(bytes_equal(key, (struct bytes){all, sizeof all}));
}

static void check_target(const char *raw, const char *authority, const char *path,
                         const char *query)
{
    struct target target;
    struct problem problem = {.code = PROBLEM_NONE};
    assert_true(target_read(raw, false, &target, &problem));
    assert_true(bytes_equal(target.authority, bytes_of(authority)));
    assert_true(bytes_equal(target.path, bytes_of(path)));
    assert_true(bytes_equal(target.query, bytes_of(query)));
}

static void targets_of_every_form_are_taken_apart(void **state)
{
    (void)state;
    check_target("/", "", "/", "");
    check_target("/keys/a?b=c?d", "", "/keys/a", "b=c?d");
    check_target("/keys//http://x", "", "/keys//http://x", "");
    check_target("http://h:1/p?q", "h:1", "/p", "q");
    check_target("HTTPS://h", "h", "/", "");
    check_target("http://h?q", "h", "/", "q");
    check_target("*", "", "*", "");
}

static void check_bad_target(const char *raw, bool has_nul)
{
    struct target target;
    struct problem problem = {.code = PROBLEM_NONE};
    assert_false(target_read(raw, has_nul, &target, &problem));
    assert_int_equal(problem.code, PROBLEM_BAD_FRAMING);
}

static void a_malformed_target_is_refused(void **state)
{
    (void)state;
    check_bad_target("", false);
    check_bad_target("keys/a", false);
    check_bad_target("?q", false);
    check_bad_target("localhost:7070", false);
    check_bad_target("/keys/a b", false);
    check_bad_target("/keys/a\tb", false);
    check_bad_target("/keys/a\x7f", false);
    check_bad_target("/keys/a", true);
}

static enum problem_code parameters_of(const char *query, const char *allowed,
                                       struct parameters *out_parameters)
{
    static unsigned char buffer[512];
    struct problem problem = {.code = PROBLEM_NONE};
    assert_true(strlen(query) <= sizeof buffer);
    bool accepted =
        target_read_parameters(bytes_of(query), allowed, buffer, out_parameters, &problem);
    assert_int_equal(accepted, problem.code == PROBLEM_NONE);
    return problem.code;
}

static void check_parameters(const char *query, const char *allowed, enum problem_code code)
{
    struct parameters parameters;
    assert_int_equal(parameters_of(query, allowed, &parameters), code);
}

static void parameters_are_decoded_in_order(void **state)
{
    (void)state;
    struct parameters parameters;
    assert_int_equal(
        parameters_of("&ex%63lude=a%26b&&verbose&exclude=c+d=e&", "verbose exclude*", &parameters),
        PROBLEM_NONE);
    assert_int_equal(parameters.count, 3);
    assert_true(bytes_equal(parameters.items[0].name, bytes_of("exclude")));
    assert_true(bytes_equal(parameters.items[0].value, bytes_of("a&b")));
    assert_int_equal(parameters.items[1].value.size, 0);
    assert_true(bytes_equal(parameters.items[2].value, bytes_of("c+d=e")));
    assert_ptr_equal(parameters_find(&parameters, "verbose"), &parameters.items[1]);
    assert_null(parameters_find(&parameters, "other"));
}

static void a_wrong_parameter_is_refused(void **state)
{
    (void)state;
    check_parameters("", "", PROBLEM_NONE);
    check_parameters("a", "", PROBLEM_UNKNOWN_PARAMETER);
    check_parameters("=a", "a", PROBLEM_UNKNOWN_PARAMETER);
    check_parameters("verb", "verbose exclude*", PROBLEM_UNKNOWN_PARAMETER);
    check_parameters("exclude*", "verbose exclude*", PROBLEM_UNKNOWN_PARAMETER);
    check_parameters("Verbose", "verbose", PROBLEM_UNKNOWN_PARAMETER);
    check_parameters("verbose&verbose=1", "verbose exclude*", PROBLEM_REPEATED_PARAMETER);
    check_parameters("verbose=%", "verbose", PROBLEM_BAD_PERCENT_ENCODING);
    check_parameters("verbose=a%00", "verbose", PROBLEM_BAD_PARAMETER);
}

static void there_are_16_parameters_at_most(void **state)
{
    (void)state;
    static const char seventeen[] = "e&e&e&e&e&e&e&e&e&e&e&e&e&e&e&e&e";
    check_parameters(seventeen + 2, "e*", PROBLEM_NONE);
    check_parameters(seventeen, "e*", PROBLEM_BAD_PARAMETER);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("a key is decoded once and not normalised", a_key_is_decoded_once_and_not_normalised),
        TEST("a malformed key is refused", a_malformed_key_is_refused),
        TEST("the limit counts decoded bytes", the_limit_counts_decoded_bytes),
        TEST("writing and reading a key give it back", writing_and_reading_a_key_give_it_back),
        TEST("targets of every form are taken apart", targets_of_every_form_are_taken_apart),
        TEST("a malformed target is refused", a_malformed_target_is_refused),
        TEST("parameters are decoded in order", parameters_are_decoded_in_order),
        TEST("a wrong parameter is refused", a_wrong_parameter_is_refused),
        TEST("there are 16 parameters at most", there_are_16_parameters_at_most),
    };
    return test_main(argc, argv, "target", tests);
}
