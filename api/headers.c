/* SPDX-License-Identifier: Apache-2.0 */
/* Names are told apart by length before letters: most fields of a request are none of ours. */
#include "headers.h"

#include <string.h>
#include <strings.h>

static const struct bytes names[HEADER_COUNT] = {
#define NAME(text)                                                                                 \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }
    [HEADER_HOST] = NAME("Host"),
    [HEADER_CONTENT_LENGTH] = NAME("Content-Length"),
    [HEADER_TRANSFER_ENCODING] = NAME("Transfer-Encoding"),
    [HEADER_EXPECT] = NAME("Expect"),
    [HEADER_ORIGIN] = NAME("Origin"),
    [HEADER_SEC_FETCH_SITE] = NAME("Sec-Fetch-Site"),
    [HEADER_IF_MATCH] = NAME("If-Match"),
    [HEADER_IF_NONE_MATCH] = NAME("If-None-Match"),
    [HEADER_IF_MODIFIED_SINCE] = NAME("If-Modified-Since"),
    [HEADER_IF_UNMODIFIED_SINCE] = NAME("If-Unmodified-Since"),
    [HEADER_IF_RANGE] = NAME("If-Range"),
    [HEADER_RANGE] = NAME("Range"),
    [HEADER_CONTENT_TYPE] = NAME("Content-Type"),
    [HEADER_CONTENT_ENCODING] = NAME("Content-Encoding"),
    [HEADER_CONTENT_LANGUAGE] = NAME("Content-Language"),
    [HEADER_CONTENT_DISPOSITION] = NAME("Content-Disposition"),
    [HEADER_CONTENT_RANGE] = NAME("Content-Range"),
    [HEADER_ACCEPT] = NAME("Accept"),
    [HEADER_LAST_EVENT_ID] = NAME("Last-Event-ID"),
    [HEADER_REQUEST_ID] = NAME("Request-Id"),
    [HEADER_TRACEPARENT] = NAME("traceparent"),
#undef NAME
};

const char *header_name_text(enum header_name name)
{
    return names[name].data;
}

static enum header_name find(const char *name, size_t length)
{
    for (enum header_name i = 0; i < HEADER_COUNT; i++)
        if (names[i].size == length && strcasecmp(names[i].data, name) == 0)
            return i;
    return HEADER_OTHER;
}

static bool is_token_byte(unsigned char byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= 'a' && byte <= 'z') ||
           (byte != '\0' && strchr("!#$%&'*+-.^_`|~", byte) != NULL);
}

/* 0 when `name` is no token. */
static size_t token_length(const char *name)
{
    size_t length = 0;
    while (is_token_byte((unsigned char)name[length]))
        length++;
    return name[length] == '\0' ? length : 0;
}

static bool is_white(char byte)
{
    return byte == ' ' || byte == '\t';
}

static struct bytes trimmed(const char *value)
{
    while (is_white(*value))
        value++;
    size_t size = strlen(value);
    while (size > 0 && is_white(value[size - 1]))
        size--;
    return (struct bytes){value, size};
}

static bool has_control_byte(const char *value)
{
    for (; *value != '\0'; value++)
        if (((unsigned char)*value < ' ' && *value != '\t') || *value == 0x7f)
            return true;
    return false;
}

bool headers_read(const struct exchange *exchange, struct headers *out_headers,
                  struct problem *problem)
{
    for (size_t i = 0; i < exchange->header_count; i++) {
        const struct api_header *field = &exchange->headers[i];
        size_t length = token_length(field->name);
        if (length == 0)
            return problem_set_detail(problem, PROBLEM_BAD_FRAMING,
                                      "Header field %zu has a name with a byte that names must not "
                                      "have: use letters, digits and hyphens, and no space before "
                                      "the colon.",
                                      i + 1);
        if (has_control_byte(field->value))
            return problem_set_detail(problem, PROBLEM_BAD_FRAMING,
                                      "The header %.60s has a control byte in its value: leave it "
                                      "out.",
                                      field->name);
        enum header_name name = find(field->name, length);
        if (name != HEADER_OTHER && out_headers->counts[name]++ == 0)
            out_headers->values[name] = trimmed(field->value);
    }
    return true;
}

bool headers_next(const struct exchange *exchange, enum header_name name, size_t *index,
                  struct bytes *out_value)
{
    for (; *index < exchange->header_count; ++*index)
        if (strcasecmp(exchange->headers[*index].name, names[name].data) == 0) {
            *out_value = trimmed(exchange->headers[(*index)++].value);
            return true;
        }
    return false;
}

bool header_is(struct bytes value, const char *text)
{
    return value.size == strlen(text) && strncasecmp(value.data, text, value.size) == 0;
}

/* The next part of `*rest`, without white space around it; `*rest` goes on behind the separator. */
static struct bytes next_part(struct bytes *rest, char separator)
{
    const char *start = rest->data, *end = start + rest->size;
    const char *stop = memchr(start, separator, rest->size);
    const char *next = stop != NULL ? stop + 1 : end;
    *rest = (struct bytes){next, (size_t)(end - next)};
    stop = stop != NULL ? stop : end;
    while (start < stop && is_white(*start))
        start++;
    while (start < stop && is_white(stop[-1]))
        stop--;
    return (struct bytes){start, (size_t)(stop - start)};
}

static bool is_nothing(struct bytes weight)
{
    const char *text = weight.data;
    return weight.size >= 3 && (text[0] == 'q' || text[0] == 'Q') && text[1] == '=' &&
           strspn(text + 2, "0.") >= weight.size - 2;
}

/* RFC 9110 section 12.5.1. A wildcard asks for whatever is the usual. */
bool headers_accept(const struct exchange *exchange, const char *media_type)
{
    struct bytes line;
    for (size_t index = 0; headers_next(exchange, HEADER_ACCEPT, &index, &line);)
        while (line.size > 0) {
            struct bytes range = next_part(&line, ',');
            if (range.size == 0 || !header_is(next_part(&range, ';'), media_type))
                continue;
            bool refused = false;
            while (range.size > 0)
                refused |= is_nothing(next_part(&range, ';'));
            if (!refused)
                return true;
        }
    return false;
}
