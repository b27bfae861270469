/* SPDX-License-Identifier: Apache-2.0 */
/* Request targets: taken apart without a step beyond, and keys that go out as they came in. */
#include "../../api/target.h"
#include "../lib/fuzz.h"

enum { KEY_BYTES_MAX = 1024 };

/* All that a written key has. */
static const char written[] =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/%";

static void is_within(struct bytes part, const char *text)
{
    const char *begin = part.data;
    if (part.data == NULL || bytes_equal(part, bytes_of("/"))) /* no path, of an absolute target */
        return;
    assert_true(begin >= text && begin + part.size <= text + strlen(text));
}

/* No segment is `.` or `..`, and no byte NUL. */
static void check_key_bytes(struct bytes key)
{
    const char *data = key.data;
    size_t dots = 0, others = 0;
    assert_null(memchr(data, '\0', key.size));
    for (size_t at = 0; at <= key.size; at++) {
        bool ends = at == key.size || data[at] == '/';
        assert_true(!ends || others > 0 || dots == 0 || dots > 2);
        dots = ends ? 0 : dots + (data[at] == '.');
        others = ends ? 0 : others + (data[at] != '.');
    }
}

static void check_key(struct bytes raw)
{
    struct problem problem = {.code = PROBLEM_NONE};
    AUTO_FREE unsigned char *buffer = malloc(raw.size), *again = malloc(raw.size * 3 + 1);
    AUTO_FREE char *text = malloc(raw.size * 3 + 1);
    struct bytes key, same;
    bool accepted = target_read_key(raw, KEY_BYTES_MAX, buffer, &key, &problem);
    assert_int_equal(accepted, problem.code == PROBLEM_NONE);
    if (!accepted)
        return;
    assert_true(key.size > 0 && key.size <= KEY_BYTES_MAX && key.size <= raw.size);
    check_key_bytes(key);
    size_t bytes = target_write_key(key, text);
    for (size_t i = 0; i < bytes; i++)
        assert_non_null(memchr(written, text[i], sizeof written - 1));
    assert_true(bytes <= key.size * 3);
    assert_true(
        target_read_key((struct bytes){text, bytes}, KEY_BYTES_MAX, again, &same, &problem));
    assert_true(bytes_equal(key, same));
}

/* What was read, written as a query, is read the same. */
static void check_written(const struct parameters *parameters, size_t size)
{
    AUTO_FREE char *text = calloc(1, 3 * size + 4 * PARAMETERS_MAX + 1);
    struct problem problem = {.code = PROBLEM_NONE};
    struct parameters again = {.count = 0};
    char *next = text;
    for (size_t i = 0; i < parameters->count; i++) {
        next = stpcpy(next, i > 0 ? "&" : "");
        next += target_write_key(parameters->items[i].name, next);
        *next++ = '=';
        next += target_write_key(parameters->items[i].value, next);
    }
    AUTO_FREE unsigned char *buffer = malloc(strlen(text) + 1);
    assert_true(
        target_read_parameters(bytes_of(text), "ttl wait tag* a", buffer, &again, &problem));
    assert_int_equal(again.count, parameters->count);
    for (size_t i = 0; i < again.count; i++) {
        assert_true(bytes_equal(again.items[i].name, parameters->items[i].name));
        assert_true(bytes_equal(again.items[i].value, parameters->items[i].value));
    }
}

static void check_query(struct bytes query)
{
    struct problem problem = {.code = PROBLEM_NONE};
    AUTO_FREE unsigned char *buffer = malloc(query.size);
    struct parameters parameters = {.count = 0};
    bool accepted = target_read_parameters(query, "ttl wait tag* a", buffer, &parameters, &problem);
    assert_int_equal(accepted, problem.code == PROBLEM_NONE);
    assert_true(parameters.count <= PARAMETERS_MAX);
    for (size_t i = 0; accepted && i < parameters.count; i++) {
        assert_true(parameters.items[i].value.size <= query.size);
        assert_true(parameters.items[i].name.size > 0);
    }
    if (accepted)
        check_written(&parameters, query.size);
}

static void target_is_read(struct fuzz_input *input)
{
    struct problem problem = {.code = PROBLEM_NONE};
    struct target target = {.path = {NULL, 0}};
    AUTO_FREE char *text = fuzz_text(input, '\0');
    bool accepted = target_read(text, false, &target, &problem);
    assert_int_equal(accepted, problem.code == PROBLEM_NONE);
    if (!accepted)
        return;
    is_within(target.authority, text);
    is_within(target.path, text);
    is_within(target.query, text);
    assert_true(target.path.size > 0);
    check_key((struct bytes){(const char *)target.path.data + 1, target.path.size - 1});
    check_query(target.query);
}

FUZZ_TARGET("fuzz_target", "a target is refused, or its key goes out as it came in", target_is_read)
