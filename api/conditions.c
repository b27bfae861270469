/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tag that no version of ours can have counts as a tag and matches nothing: If-Match with such
 * tags alone fails, If-None-Match holds. A weak tag never matches in If-Match (strong comparison)
 * and matches by its text in If-None-Match (weak comparison; section 8.8.3.2).
 */
#include "conditions.h"

#include <string.h>

/* One field's list, perhaps from several lines. */
struct tag_list {
    const char *header;
    bool any; /* `*` */
    bool strong;
    uint32_t tags;
    struct engine_version *versions;
    uint32_t version_count;
};

static bool is_tag_byte(unsigned char byte)
{
    return byte == 0x21 || (byte >= 0x23 && byte != 0x7f);
}

static bool refuse(const struct tag_list *list, struct problem *problem, const char *why)
{
    return problem_set_detail(problem, PROBLEM_BAD_CONDITION,
                              "%s %s: send either * or a list of at most %d quoted entity tags, as "
                              "they came in ETag headers.",
                              list->header, why, CONDITIONS_TAGS_MAX);
}

/* Reads one element at `*next`, which is moved behind it. */
static bool read_tag(struct tag_list *list, const char **next, const char *end,
                     struct problem *problem)
{
    const char *at = *next;
    bool weak = end - at > 2 && at[0] == 'W' && at[1] == '/';
    at += weak ? 2 : 0;
    if (at == end || *at != '"')
        return refuse(list, problem, "has a tag without quotes");
    const char *start = ++at;
    while (at < end && is_tag_byte((unsigned char)*at))
        at++;
    if (at == end || *at != '"')
        return refuse(list, problem, "has a tag without closing quote");
    struct bytes text = {start, (size_t)(at - start)};
    *next = at + 1;
    if (++list->tags > CONDITIONS_TAGS_MAX)
        return refuse(list, problem, "has too many tags");
    if (!(weak && list->strong) && etag_read(text, &list->versions[list->version_count]))
        list->version_count++;
    return true;
}

static bool read_line(struct tag_list *list, struct bytes line, struct problem *problem)
{
    const char *next = line.data, *end = next + line.size;
    bool separated = true;
    for (;;) {
        while (next < end && (*next == ' ' || *next == '\t' || *next == ',')) {
            separated |= *next == ',';
            next++;
        }
        if (next == end)
            return true;
        if (!separated)
            return refuse(list, problem, "lacks a comma between tags");
        separated = false;
        if (*next == '*') {
            list->any = true;
            list->tags++;
            next++;
        } else if (!read_tag(list, &next, end, problem)) {
            return false;
        }
    }
}

static struct tag_list begin_list(struct conditions *conditions, enum header_name name)
{
    return (struct tag_list){
        .header = header_name_text(name),
        .strong = name == HEADER_IF_MATCH,
        .versions = conditions->versions[conditions->count],
    };
}

static bool end_list(const struct tag_list *list, struct conditions *conditions,
                     struct problem *problem)
{
    if (list->tags == 0)
        return refuse(list, problem, "is empty");
    if (list->any && list->tags > 1)
        return refuse(list, problem, "has * beside other tags");
    conditions->items[conditions->count++] = (struct engine_condition){
        .kind = list->strong ? (list->any ? ENGINE_IF_PRESENT : ENGINE_IF_ONE_OF)
                             : (list->any ? ENGINE_IF_ABSENT : ENGINE_IF_NONE_OF),
        .versions = list->versions,
        .version_count = list->version_count,
    };
    return true;
}

static bool read_field(const struct exchange *exchange, const struct headers *headers,
                       enum header_name name, struct conditions *conditions,
                       struct problem *problem)
{
    if (headers->counts[name] == 0)
        return true;
    struct tag_list list = begin_list(conditions, name);
    struct bytes line;
    for (size_t index = 0; headers_next(exchange, name, &index, &line);)
        if (!read_line(&list, line, problem))
            return false;
    return end_list(&list, conditions, problem);
}

bool conditions_add(struct conditions *conditions, enum header_name name, struct bytes text,
                    struct problem *problem)
{
    struct tag_list list = begin_list(conditions, name);
    return read_line(&list, text, problem) && end_list(&list, conditions, problem);
}

bool conditions_read(const struct exchange *exchange, const struct headers *headers,
                     struct conditions *out_conditions, struct problem *problem)
{
    out_conditions->count = 0;
    return read_field(exchange, headers, HEADER_IF_MATCH, out_conditions, problem) &&
           read_field(exchange, headers, HEADER_IF_NONE_MATCH, out_conditions, problem);
}

enum conditions_verdict conditions_judge(const struct conditions *conditions,
                                         struct engine_version current)
{
    for (uint32_t i = 0; i < conditions->count; i++) {
        const struct engine_condition *condition = &conditions->items[i];
        if (engine_condition_holds(condition, current))
            continue;
        return condition->kind == ENGINE_IF_ABSENT || condition->kind == ENGINE_IF_NONE_OF
                   ? CONDITIONS_NOT_MODIFIED
                   : CONDITIONS_FAILED;
    }
    return CONDITIONS_HOLD;
}
