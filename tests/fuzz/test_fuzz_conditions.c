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

/* ---- judging ---- */

static bool is_listed(const struct engine_condition *condition, struct engine_version current)
{
    for (uint32_t i = 0; i < condition->version_count; i++)
        if (engine_version_equal(condition->versions[i], current))
            return true;
    return false;
}

/* RFC 9110 section 13.2.2, steps 1 to 4. */
static enum conditions_verdict expected(const struct conditions *conditions,
                                        struct engine_version current, int64_t modified)
{
    bool present = current.sequence != 0;
    if (conditions->has_unmodified_since && present && modified > conditions->unmodified_since)
        return CONDITIONS_FAILED;
    for (uint32_t i = 0; i < conditions->count; i++) {
        const struct engine_condition *condition = &conditions->items[i];
        bool listed = is_listed(condition, current);
        if ((condition->kind == ENGINE_IF_PRESENT && !present) ||
            (condition->kind == ENGINE_IF_ONE_OF && !listed))
            return CONDITIONS_FAILED;
        if ((condition->kind == ENGINE_IF_ABSENT && present) ||
            (condition->kind == ENGINE_IF_NONE_OF && listed))
            return CONDITIONS_NOT_MODIFIED;
    }
    return conditions->has_modified_since && present && modified <= conditions->modified_since
               ? CONDITIONS_NOT_MODIFIED
               : CONDITIONS_HOLD;
}

static void check_judgement(const struct conditions *conditions, struct engine_version current)
{
    static const int64_t seconds[] = {0, 784111776, 784111777, 784111778, 1795525200};
    for (size_t i = 0; i < COUNT_OF(seconds); i++) {
        struct engine_item item = {.version = current, .modified_ms = seconds[i] * 1000 + 999};
        assert_int_equal(conditions_judge(conditions, &item),
                         expected(conditions, current, seconds[i]));
    }
}

static void check_judgements(const struct conditions *conditions)
{
    assert_true(conditions->count <= CONDITIONS_MAX);
    for (size_t i = 0; i < COUNT_OF(versions); i++)
        check_judgement(conditions, versions[i]);
    for (uint32_t i = 0; i < conditions->count; i++) {
        const struct engine_condition *condition = &conditions->items[i];
        assert_true(condition->version_count <= CONDITIONS_TAGS_MAX);
        for (uint32_t tag = 0; tag < condition->version_count; tag++)
            check_judgement(conditions, condition->versions[tag]);
    }
}

/* ---- writing them again: the same conditions ---- */

static char *value_of(const struct engine_condition *condition)
{
    char *text = malloc(16 + CONDITIONS_TAGS_MAX * (ETAG_BYTES + 2)), *next = text;
    *next = '\0';
    if (condition->kind == ENGINE_IF_PRESENT || condition->kind == ENGINE_IF_ABSENT)
        strcpy(next, "*");
    else if (condition->version_count == 0)
        strcpy(next, "\"nobody's\"");
    for (uint32_t i = 0; i < condition->version_count; i++) {
        next = stpcpy(next, i > 0 ? ", " : "");
        next += etag_write(condition->versions[i], next);
    }
    return text;
}

static void check_same(const struct engine_condition *a, const struct engine_condition *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->version_count, b->version_count);
    for (uint32_t i = 0; i < a->version_count; i++)
        assert_true(engine_version_equal(a->versions[i], b->versions[i]));
}

static void check_written(const struct conditions *conditions)
{
    struct api_header fields[CONDITIONS_MAX];
    char *texts[CONDITIONS_MAX];
    struct headers headers = {.counts = {0}};
    struct problem problem = {.code = PROBLEM_NONE};
    struct conditions again;
    for (uint32_t i = 0; i < conditions->count; i++) {
        enum engine_condition_kind kind = conditions->items[i].kind;
        bool if_match = kind == ENGINE_IF_PRESENT || kind == ENGINE_IF_ONE_OF;
        texts[i] = value_of(&conditions->items[i]);
        fields[i] = (struct api_header){if_match ? "If-Match" : "If-None-Match", texts[i]};
    }
    struct exchange exchange = {
        .method = "GET", .headers = fields, .header_count = conditions->count};
    assert_true(headers_read(&exchange, &headers, &problem));
    assert_true(conditions_read(&exchange, &headers, time_source_system(), &again, &problem));
    assert_int_equal(again.count, conditions->count);
    for (uint32_t i = 0; i < again.count; i++) {
        check_same(&again.items[i], &conditions->items[i]);
        free(texts[i]);
    }
}

static void conditions_are_read(struct fuzz_input *input)
{
    static const char *const names[] = {"If-Match", "If-None-Match",     "if-match",
                                        "If-Range", "If-Modified-Since", "If-Unmodified-Since"};
    struct api_header fields[FIELDS_MAX];
    char *texts[FIELDS_MAX];
    size_t count = 0;
    for (; input->size > 0 && count < FIELDS_MAX; count++) {
        const char *name = names[fuzz_byte(input) % COUNT_OF(names)];
        texts[count] = fuzz_text(input, '\n');
        check_tag(texts[count]);
        fields[count] = (struct api_header){name, texts[count]};
    }
    struct exchange exchange = {.method = "GET", .headers = fields, .header_count = count};
    struct headers headers = {.counts = {0}};
    struct problem problem = {.code = PROBLEM_NONE};
    struct conditions conditions = {.count = 0};
    if (headers_read(&exchange, &headers, &problem)) {
        bool accepted =
            conditions_read(&exchange, &headers, time_source_system(), &conditions, &problem);
        assert_int_equal(accepted, problem.code == PROBLEM_NONE);
        if (accepted) {
            check_judgements(&conditions);
            check_written(&conditions);
        }
    }
    while (count > 0)
        free(texts[--count]);
}

FUZZ_TARGET("fuzz_conditions",
            "preconditions are refused, or judged as RFC 9110 says and the same when written again",
            conditions_are_read)
