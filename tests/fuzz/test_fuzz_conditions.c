/* SPDX-License-Identifier: Apache-2.0 */
/* Preconditions and entity tags: each line of the input is one field's value. */
#include "../../api/conditions.h"
#include "../lib/fuzz.h"

enum { FIELDS_MAX = 20 };

static const struct engine_version versions[] = {
    {0, 0}, {0x0123456789ab, 0x1f}, {0x0123456789ab, 0x20}, {0xffffffffffff, 1}};

/* A tag has one spelling: what is read as a version is written as the same text. */
static void check_tag(const char *text)
{
    struct engine_version version;
    char written[ETAG_BYTES];
    if (!etag_read(bytes_of(text), &version))
        return;
    size_t size = etag_write(version, written);
    assert_int_equal(size, strlen(text) + 2);
    assert_memory_equal(written + 1, text, strlen(text));
}

static void check_judgements(const struct conditions *conditions)
{
    bool any_holds = false;
    assert_true(conditions->count <= CONDITIONS_MAX);
    for (size_t i = 0; i < COUNT_OF(versions); i++)
        any_holds = conditions_judge(conditions, versions[i]) == CONDITIONS_HOLD || any_holds;
    if (conditions->count == 0)
        assert_true(any_holds);
}

static void conditions_are_read(struct fuzz_input *input)
{
    static const char *const names[] = {"If-Match", "If-None-Match", "if-match", "If-Range"};
    struct api_header fields[FIELDS_MAX];
    char *texts[FIELDS_MAX];
    size_t count = 0;
    for (; input->size > 0 && count < FIELDS_MAX; count++) {
        const char *name = names[fuzz_byte(input) % COUNT_OF(names)];
        texts[count] = fuzz_text(input, '\n');
        check_tag(texts[count]);
        fields[count] = (struct api_header){name, texts[count]};
    }
    struct exchange exchange = {.headers = fields, .header_count = count};
    struct headers headers = {.counts = {0}};
    struct problem problem = {.code = PROBLEM_NONE};
    struct conditions conditions = {.count = 0};
    if (headers_read(&exchange, &headers, &problem)) {
        bool accepted = conditions_read(&exchange, &headers, &conditions, &problem);
        assert_int_equal(accepted, problem.code == PROBLEM_NONE);
        if (accepted)
            check_judgements(&conditions);
    }
    while (count > 0)
        free(texts[--count]);
}

FUZZ_TARGET("fuzz_conditions", "preconditions are refused, or can be judged", conditions_are_read)
