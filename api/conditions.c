/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tag that no version of ours can have counts as a tag and matches nothing: If-Match with such
 * tags alone fails, If-None-Match holds. A weak tag never matches in If-Match (strong comparison)
 * and matches by its text in If-None-Match (weak comparison; section 8.8.3.2).
 */
#include "conditions.h"

#include <string.h>

#include "http_date.h"
#include "router.h"

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

static bool read_date(const struct headers *headers, enum header_name name,
                      const struct time_source *time, int64_t *out_seconds)
{
    return headers->counts[name] == 1 &&
           http_date_read(headers->values[name], time->wall_ms(time) / 1000, out_seconds);
}

bool conditions_read(const struct exchange *exchange, const struct headers *headers,
                     const struct time_source *time, struct conditions *out_conditions,
                     struct problem *problem)
{
    bool is_read = method_is_safe(method_find(exchange->method));
    out_conditions->count = 0;
    out_conditions->has_unmodified_since =
        headers->counts[HEADER_IF_MATCH] == 0 &&
        read_date(headers, HEADER_IF_UNMODIFIED_SINCE, time, &out_conditions->unmodified_since);
    out_conditions->has_modified_since =
        is_read && headers->counts[HEADER_IF_NONE_MATCH] == 0 &&
        read_date(headers, HEADER_IF_MODIFIED_SINCE, time, &out_conditions->modified_since);
    return read_field(exchange, headers, HEADER_IF_MATCH, out_conditions, problem) &&
           read_field(exchange, headers, HEADER_IF_NONE_MATCH, out_conditions, problem);
}

bool conditions_are_none(const struct conditions *conditions)
{
    return conditions->count == 0 && !conditions->has_unmodified_since &&
           !conditions->has_modified_since;
}

/* By whole seconds, since dates have no more. What is absent has no date either. */
static bool is_modified_since(const struct engine_item *item, int64_t seconds)
{
    return item->version.sequence != 0 && item->modified_ms >= (seconds + 1) * 1000;
}

enum conditions_verdict conditions_judge(const struct conditions *conditions,
                                         const struct engine_item *current)
{
    if (conditions->has_unmodified_since &&
        is_modified_since(current, conditions->unmodified_since))
        return CONDITIONS_FAILED;
    for (uint32_t i = 0; i < conditions->count; i++) {
        const struct engine_condition *condition = &conditions->items[i];
        if (engine_condition_holds(condition, current->version))
            continue;
        return condition->kind == ENGINE_IF_ABSENT || condition->kind == ENGINE_IF_NONE_OF
                   ? CONDITIONS_NOT_MODIFIED
                   : CONDITIONS_FAILED;
    }
    bool is_same = conditions->has_modified_since && current->version.sequence != 0 &&
                   !is_modified_since(current, conditions->modified_since);
    return is_same ? CONDITIONS_NOT_MODIFIED : CONDITIONS_HOLD;
}
