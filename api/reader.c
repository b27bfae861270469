/* SPDX-License-Identifier: Apache-2.0 */
/* Brackets, commas and colons by hand, so that jansson never holds more than one value. */
#include "reader.h"

#include <jansson.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- memory: jansson takes a lack of it for a fault in the text ---- */

static _Thread_local bool lacks_memory;

static void *allocate(size_t bytes)
{
    void *memory = malloc(bytes);
    lacks_memory |= memory == NULL;
    return memory;
}

static void watch_memory(void)
{
    json_set_alloc_funcs(allocate, free);
}

/* ---- refusing ---- */

static bool refuse_json(struct reader *reader, const char *why)
{
    return problem_set_detail(reader->problem, PROBLEM_BAD_JSON,
                              "The body is not valid JSON: %s, near byte %zu.", why, reader->at);
}

/* Appends a reference token (RFC 6901 section 3); a long one is cut, and all but ASCII masked. */
static void push(struct reader *reader, struct bytes token)
{
    size_t end = strlen(reader->pointer);
    const char *bytes = token.data;
    if (end + 1 < sizeof reader->pointer)
        reader->pointer[end++] = '/';
    for (size_t i = 0; i < token.size && end + 2 < sizeof reader->pointer; i++) {
        bool escaped = bytes[i] == '~' || bytes[i] == '/',
             plain = bytes[i] > ' ' && bytes[i] <= '~';
        reader->pointer[end++] = escaped ? '~' : plain ? bytes[i] : '?';
        if (escaped)
            reader->pointer[end++] = bytes[i] == '~' ? '0' : '1';
    }
    reader->pointer[end] = '\0';
}

bool reader_refuse(struct reader *reader, const char *member, const char *format, ...)
{
    char why[PROBLEM_DETAIL_BYTES - PROBLEM_POINTER_BYTES - 2];
    size_t depth = strlen(reader->pointer);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    if (member != NULL)
        push(reader, bytes_of(member));
    problem_set_detail(reader->problem, PROBLEM_BAD_SHAPE, "%s: %s",
                       reader->pointer[0] != '\0' ? reader->pointer : "the body", why);
    memcpy(reader->problem->pointer, reader->pointer, sizeof reader->pointer);
    reader->pointer[depth] = '\0';
    return false;
}

/* ---- the whole text ---- */

/* Counts brackets and commas outside of texts: enough, since all else is read value by value. */
static bool accept_nesting(struct reader *reader)
{
    const char *text = reader->text.data;
    bool in_text = false;
    size_t depth = 0, values = 1;
    for (size_t i = 0; i < reader->text.size; i++) {
        char byte = text[i];
        if (in_text && byte == '\\')
            i++;
        else if (byte == '"')
            in_text = !in_text;
        if (in_text)
            continue;
        bool opens = byte == '[' || byte == '{';
        depth += opens;
        depth -= (byte == ']' || byte == '}') && depth > 0;
        values += opens || byte == ',';
        if (depth > READER_DEPTH_MAX)
            return problem_set_detail(reader->problem, PROBLEM_BAD_JSON,
                                      "The body is nested deeper than %d levels, near byte %zu.",
                                      READER_DEPTH_MAX, i);
    }
    if (values <= READER_VALUES_MAX)
        return true;
    problem_set_detail(reader->problem, PROBLEM_BATCH_TOO_LARGE,
                       "The body holds too many JSON values: send a large document as text in "
                       "`value`, or with a PUT of its own.");
    problem_add_number(reader->problem, "limit", READER_VALUES_MAX);
    problem_add_number(reader->problem, "actual", values);
    return false;
}

bool reader_open(struct reader *reader, struct bytes text, struct problem *problem)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, watch_memory);
    *reader = (struct reader){.text = text, .problem = problem};
    return accept_nesting(reader);
}

/* The next byte that is no white space, or NUL, which no JSON text has there. */
static char peek(struct reader *reader)
{
    const char *text = reader->text.data;
    while (reader->at < reader->text.size && text[reader->at] != '\0' &&
           strchr(" \t\r\n", text[reader->at]) != NULL)
        reader->at++;
    return reader->at < reader->text.size ? text[reader->at] : '\0';
}

static bool take(struct reader *reader, char byte)
{
    bool is_there = peek(reader) == byte;
    reader->at += is_there;
    return is_there;
}

bool reader_end(struct reader *reader)
{
    peek(reader);
    return reader->at == reader->text.size || refuse_json(reader, "something follows its end");
}

/* ---- values ---- */

/*
 * Reads one value. Numbers become reals, since their text is all that anybody keeps of them, and no
 * number is too large for a real that is not too large for a value.
 */
static json_t *value(struct reader *reader)
{
    json_error_t error;
    lacks_memory = false;
    peek(reader);
    json_t *value = json_loadb(
        (const char *)reader->text.data + reader->at, reader->text.size - reader->at,
        JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL,
        &error);
    if (value == NULL && lacks_memory)
        problem_set(reader->problem, PROBLEM_MEMORY_FULL);
    else if (value == NULL)
        refuse_json(reader, error.text);
    else
        reader->at += (size_t)error.position;
    return value;
}

bool reader_raw(struct reader *reader, struct bytes *out_value)
{
    peek(reader);
    size_t start = reader->at;
    json_t *read = value(reader);
    if (read == NULL)
        return false;
    json_decref(read);
    *out_value = (struct bytes){(const char *)reader->text.data + start, reader->at - start};
    return true;
}

bool reader_text(struct reader *reader, struct reader_text *out_text)
{
    json_t *read = value(reader);
    if (read == NULL)
        return false;
    if (!json_is_string(read)) {
        json_decref(read);
        return reader_refuse(reader, NULL, "it must be a text in quotes.");
    }
    *out_text = (struct reader_text){{json_string_value(read), json_string_length(read)}, read};
    return true;
}

void reader_text_done(struct reader_text *text)
{
    json_decref(text->owner);
    *text = (struct reader_text){{NULL, 0}, NULL};
}

/* ---- objects and arrays ---- */

bool reader_is_at_object(struct reader *reader)
{
    return peek(reader) == '{';
}

static bool enter(struct reader *reader, char bracket, const char *what)
{
    struct bytes other;
    if (take(reader, bracket))
        return true;
    return reader_raw(reader, &other) && reader_refuse(reader, NULL, "it must be %s.", what);
}

static bool leave(struct reader *reader, char bracket)
{
    return take(reader, bracket) || refuse_json(reader, "a comma or closing bracket is missing");
}

static bool read_member(struct reader *reader, reader_member *member, void *context)
{
    struct reader_text name;
    size_t depth = strlen(reader->pointer);
    if (peek(reader) != '"')
        return refuse_json(reader, "a member's name in quotes is missing");
    if (!reader_text(reader, &name))
        return false;
    push(reader, name.bytes);
    bool ok = take(reader, ':') ? member(context, reader, name.bytes)
                                : refuse_json(reader, "a colon is missing");
    reader->pointer[depth] = '\0';
    reader_text_done(&name);
    return ok;
}

bool reader_object(struct reader *reader, reader_member *member, void *context)
{
    if (!enter(reader, '{', "an object"))
        return false;
    if (take(reader, '}'))
        return true;
    do {
        if (!read_member(reader, member, context))
            return false;
    } while (take(reader, ','));
    return leave(reader, '}');
}

bool reader_array(struct reader *reader, reader_element *element, void *context)
{
    size_t depth = strlen(reader->pointer), index = 0;
    if (!enter(reader, '[', "an array"))
        return false;
    if (take(reader, ']'))
        return true;
    do {
        char token[24];
        int size = snprintf(token, sizeof token, "%zu", index++);
        push(reader, (struct bytes){token, (size_t)size});
        bool ok = element(context, reader);
        reader->pointer[depth] = '\0';
        if (!ok)
            return false;
    } while (take(reader, ','));
    return leave(reader, ']');
}
