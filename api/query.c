/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters and cursors to a query, and back. */
#include "query.h"

#include <stdlib.h>
#include <string.h>

#include "base64.h"

enum { CURSOR_VERSION = 1, CURSOR_REVERSE = 1, CURSOR_TEXTS = 4 };

/* What a cursor begins with; the texts follow, each behind its u16 length, then a u32 check. */
struct __attribute__((packed)) cursor_head {
    uint8_t version, flags, fields;
    uint16_t limit;
    uint64_t epoch;
};

void query_done(struct query *query)
{
    free(query->memory);
    query->memory = NULL;
}

size_t query_successor(unsigned char *prefix, size_t size)
{
    while (size > 0 && prefix[size - 1] == 0xff)
        size--;
    if (size > 0)
        prefix[size - 1]++;
    return size;
}

/* ---- parameters ---- */

static struct bytes value_of(const struct parameters *parameters, const char *name)
{
    const struct parameter *found = parameters_find(parameters, name);
    return found != NULL ? found->value : (struct bytes){NULL, 0};
}

bool query_read_limit(const struct parameters *parameters, uint32_t *out_limit,
                      struct problem *problem)
{
    const struct parameter *found = parameters_find(parameters, "limit");
    *out_limit = QUERY_LIMIT_STANDARD;
    if (found == NULL)
        return true;
    const char *digits = found->value.data;
    uint32_t limit = 0;
    for (size_t i = 0; i < found->value.size && limit <= QUERY_LIMIT_MAX; i++)
        limit = digits[i] >= '0' && digits[i] <= '9' ? limit * 10 + (uint32_t)(digits[i] - '0')
                                                     : QUERY_LIMIT_MAX + 1;
    *out_limit = limit;
    if (found->value.size > 0 && limit >= 1 && limit <= QUERY_LIMIT_MAX)
        return true;
    return problem_set_detail(problem, PROBLEM_BAD_PARAMETER, "limit is a number from 1 to %d.",
                              QUERY_LIMIT_MAX);
}

bool query_read_flag(const struct parameters *parameters, const char *name, bool *out_flag,
                     struct problem *problem)
{
    const struct parameter *found = parameters_find(parameters, name);
    *out_flag = found != NULL && !bytes_equal(found->value, bytes_of("false"));
    if (!*out_flag || found->value.size == 0 || bytes_equal(found->value, bytes_of("true")))
        return true;
    return problem_set_detail(problem, PROBLEM_BAD_PARAMETER, "%s is true, false, or stands alone.",
                              name);
}

static const struct {
    const char *name;
    enum query_field field;
} field_names[] = {{"key", QUERY_KEY},           {"etag", QUERY_ETAG},
                   {"size", QUERY_SIZE},         {"content_type", QUERY_CONTENT_TYPE},
                   {"modified", QUERY_MODIFIED}, {"expires", QUERY_EXPIRES},
                   {"value", QUERY_VALUE}};

static bool read_field(struct bytes name, uint32_t *fields)
{
    for (size_t i = 0; i < COUNT_OF(field_names); i++)
        if (bytes_equal(name, bytes_of(field_names[i].name))) {
            *fields |= field_names[i].field;
            return true;
        }
    return false;
}

static bool read_fields(const struct parameters *parameters, uint32_t *out_fields,
                        struct problem *problem)
{
    const struct parameter *found = parameters_find(parameters, "fields");
    *out_fields = found == NULL ? QUERY_FIELDS_STANDARD : 0;
    if (found == NULL)
        return true;
    const char *next = found->value.data, *end = next + found->value.size;
    for (bool more = true; more;) {
        const char *comma = next < end ? memchr(next, ',', (size_t)(end - next)) : NULL;
        struct bytes name = {next, (size_t)((comma != NULL ? comma : end) - next)};
        if (!read_field(name, out_fields))
            return problem_set_detail(problem, PROBLEM_BAD_PARAMETER,
                                      "fields is a list, separated by commas, of key etag size "
                                      "content_type modified expires value.");
        more = comma != NULL;
        next = more ? comma + 1 : end;
    }
    return true;
}

bool query_accept_length(struct bytes text, const char *name, uint32_t key_bytes_max,
                         struct problem *problem)
{
    if (text.size <= key_bytes_max)
        return true;
    return problem_set_detail(problem, PROBLEM_BAD_PARAMETER,
                              "%s is longer than any key: at most %u bytes.", name, key_bytes_max);
}

static struct bytes keep(unsigned char **room, struct bytes text)
{
    struct bytes kept = {*room, text.size};
    if (text.size > 0)
        memcpy(*room, text.data, text.size);
    *room += text.size;
    return kept;
}

static struct bytes later(struct bytes a, struct bytes b)
{
    return bytes_compare(a, b) >= 0 ? a : b;
}

/* Of two ends; an empty one is none. */
static struct bytes earlier(struct bytes a, struct bytes b)
{
    if (a.size == 0 || b.size == 0)
        return a.size == 0 ? b : a;
    return bytes_compare(a, b) <= 0 ? a : b;
}

/* The range that prefix, start and end leave together. NO memory: false. */
static bool set_range(struct query *query, struct bytes prefix, struct bytes start,
                      struct bytes end, struct bytes delimiter)
{
    unsigned char *room = malloc(2 * prefix.size + start.size + end.size + delimiter.size + 1);
    query->memory = room;
    if (room == NULL)
        return false;
    query->prefix = keep(&room, prefix);
    query->delimiter = keep(&room, delimiter);
    struct bytes behind = keep(&room, prefix);
    behind.size = query_successor((unsigned char *)behind.data, behind.size);
    query->range.from = later(query->prefix, keep(&room, start));
    query->range.until = earlier(behind, keep(&room, end));
    return true;
}

static bool read_parameters(const struct parameters *parameters, uint32_t key_bytes_max,
                            struct query *query, struct problem *problem)
{
    struct bytes prefix = value_of(parameters, "prefix"), start = value_of(parameters, "start"),
                 end = value_of(parameters, "end"), delimiter = value_of(parameters, "delimiter");
    if (!query_read_limit(parameters, &query->limit, problem) ||
        !query_read_flag(parameters, "reverse", &query->range.reverse, problem) ||
        !read_fields(parameters, &query->fields, problem) ||
        !query_accept_length(prefix, "prefix", key_bytes_max, problem) ||
        !query_accept_length(start, "start", key_bytes_max, problem) ||
        !query_accept_length(end, "end", key_bytes_max, problem) ||
        !query_accept_length(delimiter, "delimiter", key_bytes_max, problem))
        return false;
    return set_range(query, prefix, start, end, delimiter) ||
           problem_set(problem, PROBLEM_MEMORY_FULL);
}

/* ---- cursors ---- */

/* FNV-1a: against a cursor that was cut or mistyped. Nothing is trusted for it. */
static uint32_t check_of(const unsigned char *bytes, size_t size)
{
    uint32_t check = 2166136261u;
    for (size_t i = 0; i < size; i++)
        check = (check ^ bytes[i]) * 16777619u;
    return check;
}

static bool take_text(const unsigned char **next, const unsigned char *end, struct bytes *out_text)
{
    uint16_t size;
    if ((size_t)(end - *next) < sizeof size)
        return false;
    memcpy(&size, *next, sizeof size);
    *next += sizeof size;
    if ((size_t)(end - *next) < size)
        return false;
    *out_text = (struct bytes){*next, size};
    *next += size;
    return true;
}

/* False: it is not of our making. */
static bool unpack(struct bytes cursor, struct query *query, uint64_t *out_epoch)
{
    struct cursor_head head;
    uint32_t check;
    const unsigned char *next = cursor.data;
    if (cursor.size < sizeof head + sizeof check)
        return false;
    const unsigned char *end = next + cursor.size - sizeof check;
    memcpy(&head, next, sizeof head);
    memcpy(&check, end, sizeof check);
    if (check != check_of(next, cursor.size - sizeof check) || head.version != CURSOR_VERSION ||
        head.limit < 1 || head.limit > QUERY_LIMIT_MAX)
        return false;
    next += sizeof head;
    *out_epoch = head.epoch;
    query->limit = head.limit;
    query->fields = head.fields;
    query->range.reverse = (head.flags & CURSOR_REVERSE) != 0;
    return take_text(&next, end, &query->prefix) && take_text(&next, end, &query->delimiter) &&
           take_text(&next, end, &query->range.from) &&
           take_text(&next, end, &query->range.until) && next == end;
}

static bool read_cursor(struct bytes text, uint64_t epoch, struct query *query,
                        struct problem *problem)
{
    struct bytes cursor;
    uint64_t cursor_epoch;
    query->memory = malloc(text.size + 1);
    if (query->memory == NULL)
        return problem_set(problem, PROBLEM_MEMORY_FULL);
    if (!base64_read(text, query->memory, &cursor) || !unpack(cursor, query, &cursor_epoch))
        return problem_set(problem, PROBLEM_CURSOR_BAD);
    return cursor_epoch == epoch || problem_set(problem, PROBLEM_CURSOR_GONE);
}

bool query_read(const struct parameters *parameters, const struct engine_limits *limits,
                uint64_t epoch, struct query *out_query, struct problem *problem)
{
    const struct parameter *cursor = parameters_find(parameters, "cursor");
    *out_query = (struct query){.limit = 0};
    if (cursor == NULL)
        return read_parameters(parameters, limits->key_bytes_max, out_query, problem);
    if (parameters->count > 1)
        return problem_set_detail(problem, PROBLEM_BAD_PARAMETER,
                                  "A cursor holds the whole query: send nothing beside it.");
    return read_cursor(cursor->value, epoch, out_query, problem);
}

static void put_text(unsigned char **next, struct bytes text)
{
    uint16_t size = (uint16_t)text.size;
    memcpy(*next, &size, sizeof size);
    *next += sizeof size;
    keep(next, text);
}

char *query_write_cursor(const struct query *query, uint64_t epoch)
{
    const struct bytes texts[CURSOR_TEXTS] = {query->prefix, query->delimiter, query->range.from,
                                              query->range.until};
    struct cursor_head head = {.version = CURSOR_VERSION,
                               .flags = query->range.reverse ? CURSOR_REVERSE : 0,
                               .fields = (uint8_t)query->fields,
                               .limit = (uint16_t)query->limit,
                               .epoch = epoch};
    size_t size = sizeof head + sizeof(uint32_t);
    for (size_t i = 0; i < CURSOR_TEXTS; i++)
        size += sizeof(uint16_t) + texts[i].size;
    AUTO_FREE unsigned char *bytes = malloc(size);
    char *text = malloc(base64_text_bytes(size));
    if (bytes == NULL || text == NULL) {
        free(text);
        return NULL;
    }
    memcpy(bytes, &head, sizeof head);
    unsigned char *next = bytes + sizeof head;
    for (size_t i = 0; i < CURSOR_TEXTS; i++)
        put_text(&next, texts[i]);
    uint32_t check = check_of(bytes, (size_t)(next - bytes));
    memcpy(next, &check, sizeof check);
    base64url_write((struct bytes){bytes, size}, text);
    return text;
}
