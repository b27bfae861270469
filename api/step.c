/* SPDX-License-Identifier: Apache-2.0 */
/* Members come in any order: all are read first, then judged together. */
#include "step.h"

#include <stdlib.h>

#include "base64.h"
#include "expiry.h"
#include "meta.h"
#include "target.h"

enum member {
    MEMBER_OP,
    MEMBER_KEY,
    MEMBER_KEY_BASE64,
    MEMBER_VALUE,
    MEMBER_JSON,
    MEMBER_VALUE_BASE64,
    MEMBER_CONTENT_TYPE,
    MEMBER_IF_MATCH,
    MEMBER_IF_NONE_MATCH,
    MEMBER_TTL,
    MEMBER_COUNT,
};

static const struct {
    const char *name;
    bool puts_only;
} rows[] = {
    [MEMBER_OP] = {"op", false},
    [MEMBER_KEY] = {"key", false},
    [MEMBER_KEY_BASE64] = {"key_base64", false},
    [MEMBER_VALUE] = {"value", true},
    [MEMBER_JSON] = {"json", true},
    [MEMBER_VALUE_BASE64] = {"value_base64", true},
    [MEMBER_CONTENT_TYPE] = {"content_type", true},
    [MEMBER_IF_MATCH] = {"if_match", false},
    [MEMBER_IF_NONE_MATCH] = {"if_none_match", false},
    [MEMBER_TTL] = {"ttl", true},
};

/* What the object holds. */
struct members {
    struct reader_text texts[MEMBER_COUNT];
    struct bytes json; /* as it stands there */
    bool present[MEMBER_COUNT];
};

static enum member find_member(struct bytes name)
{
    enum member member = 0;
    while (member < MEMBER_COUNT && !bytes_equal(bytes_of(rows[member].name), name))
        member++;
    return member;
}

static bool read_member(void *context, struct reader *reader, struct bytes name)
{
    struct members *members = context;
    enum member member = find_member(name);
    if (member == MEMBER_COUNT)
        return reader_refuse(reader, NULL, "an operation has no such member.");
    if (members->present[member])
        return reader_refuse(reader, NULL, "it is given twice.");
    members->present[member] = true;
    return member == MEMBER_JSON ? reader_raw(reader, &members->json)
                                 : reader_text(reader, &members->texts[member]);
}

/* ---- op and key ---- */

static bool read_type(struct reader *reader, const struct members *members, struct step *step)
{
    static const struct {
        const char *name;
        enum engine_operation_type type;
    } types[] = {{"put", ENGINE_PUT}, {"delete", ENGINE_DELETE}, {"check", ENGINE_CHECK}};
    for (size_t i = 0; i < COUNT_OF(types); i++)
        if (bytes_equal(members->texts[MEMBER_OP].bytes, bytes_of(types[i].name))) {
            step->type = types[i].type;
            return true;
        }
    return reader_refuse(reader, "op", "it must be put, delete or check.");
}

bool step_read_key(struct reader *reader, const char *member, struct bytes given, bool is_base64,
                   uint32_t key_bytes_max, struct bytes *out_key)
{
    struct problem refusal = {0};
    struct bytes key = given;
    AUTO_FREE unsigned char *buffer = malloc(given.size + 1);
    if (buffer == NULL)
        return problem_set(reader->problem, PROBLEM_MEMORY_FULL);
    memcpy(buffer, given.data, given.size);
    if (is_base64 && !base64_read(given, buffer, &key))
        return reader_refuse(reader, member, "it is not base64 (RFC 4648).");
    if (!target_accept_key(key, key_bytes_max, &refusal)) {
        const struct problem_row *row = problem_row(refusal.code);
        return reader_refuse(reader, member, "%s. %s", row->title, row->hint);
    }
    *out_key = (struct bytes){TAKE(buffer), key.size};
    return true;
}

static bool read_key(const struct step_context *context, struct reader *reader,
                     const struct members *members, struct step *step)
{
    uint32_t key_bytes_max = engine_limits(context->engine)->key_bytes_max;
    bool is_base64 = members->present[MEMBER_KEY_BASE64];
    enum member member = is_base64 ? MEMBER_KEY_BASE64 : MEMBER_KEY;
    if (is_base64 == members->present[MEMBER_KEY])
        return reader_refuse(reader, "key", "give either key or key_base64.");
    return step_read_key(reader, rows[member].name, members->texts[member].bytes, is_base64,
                         key_bytes_max, &step->key);
}

/* ---- conditions, expiry ---- */

static bool read_condition(struct reader *reader, const struct members *members, enum member member,
                           enum header_name name, struct step *step)
{
    struct problem refusal = {0};
    if (!members->present[member] ||
        conditions_add(&step->conditions, name, members->texts[member].bytes, &refusal))
        return true;
    return reader_refuse(reader, rows[member].name, "%s", refusal.detail);
}

static bool read_ttl(struct reader *reader, const struct members *members, int64_t now_ms,
                     struct step *step)
{
    struct expiry expiry;
    if (!members->present[MEMBER_TTL])
        return true;
    if (!expiry_read_after(members->texts[MEMBER_TTL].bytes, now_ms, &expiry))
        return reader_refuse(reader, "ttl", "it must be " DURATION_SHAPE ".");
    step->expires_ms = expiry_ms(&expiry, now_ms, 0);
    return true;
}

/* ---- values ---- */

static bool is_header_value(struct bytes text)
{
    const char *bytes = text.data;
    for (size_t i = 0; i < text.size; i++)
        if (bytes[i] < ' ' || bytes[i] > '~')
            return false;
    return text.size > 0 && bytes[0] != ' ' && bytes[text.size - 1] != ' ';
}

/* The kept headers: a Content-Type, or none. `*out_meta` is malloc'ed. */
static bool make_meta(const struct step_context *context, struct reader *reader,
                      const struct members *members, struct bytes *out_meta)
{
    uint32_t limit = engine_limits(context->engine)->meta_bytes_max;
    struct bytes type = members->texts[MEMBER_CONTENT_TYPE].bytes;
    bool is_given = members->present[MEMBER_CONTENT_TYPE];
    *out_meta = (struct bytes){NULL, 0};
    if (!is_given && !members->present[MEMBER_JSON])
        return true;
    if (!is_given)
        type = bytes_of("application/json");
    if (!is_header_value(type) || meta_header_bytes(type) > limit)
        return reader_refuse(reader, "content_type",
                             "it must be printable ASCII, as in a Content-Type header, of at most "
                             "%zu bytes.",
                             limit - meta_header_bytes((struct bytes){NULL, 0}));
    unsigned char *meta = malloc(meta_header_bytes(type));
    if (meta == NULL)
        return problem_set(reader->problem, PROBLEM_MEMORY_FULL);
    meta_write_header(META_CONTENT_TYPE, type, meta);
    *out_meta = (struct bytes){meta, meta_header_bytes(type)};
    return true;
}

/* The bytes to store, still encoded where they are. */
static bool find_value(struct reader *reader, const struct members *members, struct bytes *out_text,
                       size_t *out_size)
{
    bool is_text = members->present[MEMBER_VALUE], is_json = members->present[MEMBER_JSON];
    bool is_base64 = members->present[MEMBER_VALUE_BASE64];
    if (is_text + is_json + is_base64 != 1)
        return reader_refuse(
            reader, "value",
            "a put has one of value, json and value_base64: which is what to store.");
    *out_text = is_text     ? members->texts[MEMBER_VALUE].bytes
                : is_base64 ? members->texts[MEMBER_VALUE_BASE64].bytes
                            : members->json;
    *out_size = is_base64 ? base64_bytes(*out_text) : out_text->size;
    return true;
}

static bool accept_size(struct step_context *context, struct reader *reader, size_t size)
{
    uint64_t limit = engine_limits(context->engine)->value_bytes_max;
    context->value_bytes += size;
    if (context->value_bytes <= limit)
        return true;
    problem_set_detail(
        reader->problem, PROBLEM_BATCH_TOO_LARGE,
        "The values together are larger than one value may be: send fewer or smaller "
        "ones at once. `limit` is in bytes. Nothing was changed.");
    problem_add_number(reader->problem, "limit", limit);
    return false;
}

static bool read_value(struct step_context *context, struct reader *reader,
                       const struct members *members, struct step *step)
{
    struct bytes text = {NULL, 0}, meta, decoded;
    size_t size = 0;
    if (!find_value(reader, members, &text, &size) || !accept_size(context, reader, size) ||
        !make_meta(context, reader, members, &meta))
        return false;
    context->failed = engine_value_open(context->engine, step->key, meta, size, &step->value);
    free((void *)meta.data);
    if (context->failed != STATUS_OK)
        return false;
    step->value->size = size;
    if (members->present[MEMBER_VALUE_BASE64])
        return base64_read(text, step->value->data, &decoded) ||
               reader_refuse(reader, "value_base64", "it is not base64 (RFC 4648).");
    memcpy(step->value->data, text.data, size);
    return true;
}

/* ---- one step ---- */

static bool accept_members(struct reader *reader, const struct members *members,
                           const struct step *step)
{
    for (enum member member = 0; member < MEMBER_COUNT; member++)
        if (members->present[member] && rows[member].puts_only && step->type != ENGINE_PUT)
            return reader_refuse(reader, rows[member].name, "only a put has it.");
    if (step->type == ENGINE_CHECK && !members->present[MEMBER_IF_MATCH] &&
        !members->present[MEMBER_IF_NONE_MATCH])
        return reader_refuse(reader, NULL, "a check needs if_match or if_none_match.");
    return true;
}

static bool judge(struct step_context *context, struct reader *reader,
                  const struct members *members, struct step *step)
{
    return read_type(reader, members, step) && accept_members(reader, members, step) &&
           read_key(context, reader, members, step) &&
           read_condition(reader, members, MEMBER_IF_MATCH, HEADER_IF_MATCH, step) &&
           read_condition(reader, members, MEMBER_IF_NONE_MATCH, HEADER_IF_NONE_MATCH, step) &&
           read_ttl(reader, members, context->now_ms, step) &&
           (step->type != ENGINE_PUT || read_value(context, reader, members, step));
}

bool step_read(struct step_context *context, struct reader *reader, struct step *step)
{
    struct members members = {0};
    bool ok =
        reader_object(reader, read_member, &members) && judge(context, reader, &members, step);
    for (enum member member = 0; member < MEMBER_COUNT; member++)
        reader_text_done(&members.texts[member]);
    return ok;
}

void step_done(struct step *step, struct engine *engine)
{
    engine_value_close(engine, step->value);
    free((void *)step->key.data);
    step->value = NULL;
    step->key = (struct bytes){NULL, 0};
}
