/* SPDX-License-Identifier: Apache-2.0 */
/* Taking apart, decoding, refusing. */
#include "target.h"

#include <string.h>
#include <strings.h>

/* ---- taking apart ---- */

/* Views from `start` up to one of `ends`, or up to the NUL. */
static struct bytes until(const char *start, const char *ends)
{
    return (struct bytes){start, strcspn(start, ends)};
}

static const char *after_scheme(const char *raw)
{
    if (strncasecmp(raw, "http://", 7) == 0)
        return raw + 7;
    return strncasecmp(raw, "https://", 8) == 0 ? raw + 8 : NULL;
}

static bool has_control_byte(const char *raw)
{
    for (; *raw != '\0'; raw++)
        if ((unsigned char)*raw <= ' ' || *raw == 0x7f)
            return true;
    return false;
}

bool target_read(const char *raw, bool has_nul, struct target *out_target, struct problem *problem)
{
    struct target target = {0};
    const char *path = raw, *authority = after_scheme(raw);
    if (has_nul || has_control_byte(raw))
        return problem_set_detail(problem, PROBLEM_BAD_FRAMING,
                                  "The request target holds a space or a control byte: "
                                  "percent-encode it.");
    if (authority != NULL) {
        target.authority = until(authority, "/?");
        path = authority + target.authority.size;
    }
    target.path = until(path, "?");
    if (path[target.path.size] == '?')
        target.query = bytes_of(path + target.path.size + 1);
    if (authority != NULL && target.path.size == 0)
        target.path = bytes_of("/");
    bool asterisk = bytes_equal(target.path, bytes_of("*"));
    if (!asterisk && (target.path.size == 0 || *(const char *)target.path.data != '/'))
        return problem_set_detail(problem, PROBLEM_BAD_FRAMING,
                                  "The request target must begin with a slash.");
    *out_target = target;
    return true;
}

/* ---- decoding ---- */

static int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

static bool decode(struct bytes raw, unsigned char *buffer, struct bytes *out_bytes,
                   struct problem *problem)
{
    *out_bytes = (struct bytes){buffer, 0};
    if (raw.size == 0)
        return true;
    const char *in = raw.data, *end = in + raw.size;
    unsigned char *out = buffer;
    while (in < end) {
        if (*in != '%') {
            *out++ = (unsigned char)*in++;
            continue;
        }
        int high = end - in > 2 ? hex_value(in[1]) : -1;
        int low = end - in > 2 ? hex_value(in[2]) : -1;
        if (high < 0 || low < 0)
            return problem_set(problem, PROBLEM_BAD_PERCENT_ENCODING);
        *out++ = (unsigned char)(high << 4 | low);
        in += 3;
    }
    out_bytes->size = (size_t)(out - buffer);
    return true;
}

/* ---- keys ---- */

static bool has_dot_segment(struct bytes key)
{
    const char *segment = key.data, *end = segment + key.size;
    while (segment <= end) {
        const char *slash = memchr(segment, '/', (size_t)(end - segment));
        size_t size = (size_t)((slash != NULL ? slash : end) - segment);
        if ((size == 1 && segment[0] == '.') ||
            (size == 2 && segment[0] == '.' && segment[1] == '.'))
            return true;
        segment += size + 1;
    }
    return false;
}

bool target_accept_key(struct bytes key, uint32_t key_bytes_max, struct problem *problem)
{
    if (key.size == 0)
        return problem_set(problem, PROBLEM_KEY_EMPTY);
    if (key.size > key_bytes_max) {
        problem_set(problem, PROBLEM_KEY_TOO_LONG);
        problem_add_number(problem, "limit", key_bytes_max);
        problem_add_number(problem, "actual", key.size);
        return false;
    }
    if (memchr(key.data, '\0', key.size) != NULL)
        return problem_set(problem, PROBLEM_KEY_NUL);
    if (has_dot_segment(key))
        return problem_set(problem, PROBLEM_KEY_DOT_SEGMENT);
    return true;
}

bool target_read_key(struct bytes raw, uint32_t key_bytes_max, unsigned char *buffer,
                     struct bytes *out_key, struct problem *problem)
{
    struct bytes key;
    if (!decode(raw, buffer, &key, problem) || !target_accept_key(key, key_bytes_max, problem))
        return false;
    *out_key = key;
    return true;
}

static bool stays(unsigned char byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= 'a' && byte <= 'z') || (byte != '\0' && strchr("-._~/", byte) != NULL);
}

size_t target_write_key(struct bytes key, char *out_text)
{
    static const char digits[] = "0123456789ABCDEF";
    const unsigned char *in = key.data;
    char *out = out_text;
    for (size_t i = 0; i < key.size; i++) {
        if (stays(in[i])) {
            *out++ = (char)in[i];
        } else {
            *out++ = '%';
            *out++ = digits[in[i] >> 4];
            *out++ = digits[in[i] & 15];
        }
    }
    return (size_t)(out - out_text);
}

/* ---- parameters ---- */

enum allowance { ALLOWED_NOT, ALLOWED_ONCE, ALLOWED_REPEATED };

static enum allowance allowance_of(const char *allowed, struct bytes name)
{
    while (*allowed != '\0') {
        struct bytes word = until(allowed, " *");
        bool repeats = allowed[word.size] == '*';
        if (bytes_equal(word, name))
            return repeats ? ALLOWED_REPEATED : ALLOWED_ONCE;
        allowed += strcspn(allowed, " ");
        allowed += strspn(allowed, " ");
    }
    return ALLOWED_NOT;
}

static bool find(const struct parameters *parameters, struct bytes name)
{
    for (size_t i = 0; i < parameters->count; i++)
        if (bytes_equal(parameters->items[i].name, name))
            return true;
    return false;
}

static bool accept(struct parameters *parameters, const char *allowed,
                   const struct parameter *parameter, struct problem *problem)
{
    int shown = parameter->name.size < 60 ? (int)parameter->name.size : 60;
    enum allowance allowance = allowance_of(allowed, parameter->name);
    if (allowance == ALLOWED_NOT && *allowed == '\0')
        return problem_set_detail(problem, PROBLEM_UNKNOWN_PARAMETER,
                                  "This operation takes no query parameters: leave them out.");
    if (allowance == ALLOWED_NOT)
        return problem_set(problem, PROBLEM_UNKNOWN_PARAMETER);
    if (allowance == ALLOWED_ONCE && find(parameters, parameter->name))
        return problem_set_detail(problem, PROBLEM_REPEATED_PARAMETER,
                                  "The parameter %.*s is given more than once: give it once.",
                                  shown, (const char *)parameter->name.data);
    if (parameters->count == PARAMETERS_MAX)
        return problem_set_detail(problem, PROBLEM_BAD_PARAMETER,
                                  "There are too many query parameters: send at most %d.",
                                  PARAMETERS_MAX);
    if (parameter->value.size > 0 &&
        memchr(parameter->value.data, '\0', parameter->value.size) != NULL)
        return problem_set_detail(problem, PROBLEM_BAD_PARAMETER,
                                  "The parameter %.*s holds a NUL byte: leave it out.", shown,
                                  (const char *)parameter->name.data);
    parameters->items[parameters->count++] = *parameter;
    return true;
}

bool target_read_parameters(struct bytes query, const char *allowed, unsigned char *buffer,
                            struct parameters *out_parameters, struct problem *problem)
{
    out_parameters->count = 0;
    if (query.size == 0)
        return true;
    const char *next = query.data, *end = next + query.size;
    while (next < end) {
        const char *separator = memchr(next, '&', (size_t)(end - next));
        const char *stop = separator != NULL ? separator : end;
        const char *equals = memchr(next, '=', (size_t)(stop - next));
        struct bytes name = {next, (size_t)((equals != NULL ? equals : stop) - next)};
        struct bytes value = {NULL, 0};
        if (equals != NULL)
            value = (struct bytes){equals + 1, (size_t)(stop - equals) - 1};
        next = stop + 1;
        if (name.size == 0 && value.size == 0)
            continue;
        struct parameter parameter = {{NULL, 0}, {NULL, 0}};
        if (!decode(name, buffer, &parameter.name, problem) ||
            !decode(value, buffer + name.size, &parameter.value, problem) ||
            !accept(out_parameters, allowed, &parameter, problem))
            return false;
        buffer += name.size + value.size;
    }
    return true;
}

const struct parameter *parameters_find(const struct parameters *parameters, const char *name)
{
    for (size_t i = 0; i < parameters->count; i++)
        if (bytes_equal(parameters->items[i].name, bytes_of(name)))
            return &parameters->items[i];
    return NULL;
}
