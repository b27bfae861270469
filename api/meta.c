/* SPDX-License-Identifier: Apache-2.0 */
/* Measured first, then written: one allocation of the right size. */
#include "meta.h"

#include <stdlib.h>
#include <string.h>

enum { PREFIX_BYTES = 3 };

static const struct {
    enum header_name name;
    bool is_list; /* RFC 9110 sections 8.4, 8.5: several fields mean one list */
} kept[] = {
    [META_CONTENT_TYPE] = {HEADER_CONTENT_TYPE, false},
    [META_CONTENT_ENCODING] = {HEADER_CONTENT_ENCODING, true},
    [META_CONTENT_LANGUAGE] = {HEADER_CONTENT_LANGUAGE, true},
    [META_CONTENT_DISPOSITION] = {HEADER_CONTENT_DISPOSITION, false},
};

const char *meta_header_text(enum meta_header header)
{
    return header_name_text(kept[header].name);
}

/* Joins the values of one field at `out` (NULL: only measures); returns their length. */
static size_t join(const struct exchange *exchange, const struct headers *headers,
                   enum header_name name, unsigned char *out)
{
    size_t size = 0;
    struct bytes value;
    if (headers->counts[name] == 0)
        return 0;
    for (size_t index = 0; headers_next(exchange, name, &index, &value);) {
        if (value.size == 0)
            continue;
        size_t comma = size > 0 ? 2 : 0;
        if (out != NULL) {
            memcpy(out + size, ", ", comma);
            memcpy(out + size + comma, value.data, value.size);
        }
        size += comma + value.size;
    }
    return size;
}

static bool measure(const struct exchange *exchange, const struct headers *headers,
                    size_t *out_size, struct problem *problem)
{
    *out_size = 0;
    for (size_t i = META_CONTENT_TYPE; i < COUNT_OF(kept); i++) {
        if (!kept[i].is_list && headers->counts[kept[i].name] > 1)
            return problem_set_detail(
                problem, PROBLEM_BAD_FRAMING, "%s is sent %u times: send it once.",
                header_name_text(kept[i].name), headers->counts[kept[i].name]);
        size_t size = join(exchange, headers, kept[i].name, NULL);
        *out_size += size > 0 ? PREFIX_BYTES + size : 0;
    }
    return true;
}

size_t meta_header_bytes(struct bytes value)
{
    return PREFIX_BYTES + value.size;
}

static void write_prefix(size_t header, size_t size, unsigned char *out)
{
    out[0] = (unsigned char)header;
    out[1] = (unsigned char)(size & 0xff);
    out[2] = (unsigned char)(size >> 8);
}

void meta_write_header(enum meta_header header, struct bytes value, unsigned char *out_data)
{
    write_prefix(header, value.size, out_data);
    memcpy(out_data + PREFIX_BYTES, value.data, value.size);
}

static void write_all(const struct exchange *exchange, const struct headers *headers,
                      unsigned char *next)
{
    for (size_t i = META_CONTENT_TYPE; i < COUNT_OF(kept); i++) {
        size_t size = join(exchange, headers, kept[i].name, NULL);
        if (size == 0)
            continue;
        write_prefix(i, size, next);
        join(exchange, headers, kept[i].name, next + PREFIX_BYTES);
        next += PREFIX_BYTES + size;
    }
}

bool meta_encode(const struct exchange *exchange, const struct headers *headers,
                 uint32_t meta_bytes_max, unsigned char **out_data, size_t *out_size,
                 struct problem *problem)
{
    size_t size;
    if (!measure(exchange, headers, &size, problem))
        return false;
    if (size > meta_bytes_max || size > UINT16_MAX) {
        problem_set(problem, PROBLEM_HEADERS_TOO_LARGE);
        problem_add_number(problem, "limit", meta_bytes_max);
        problem_add_number(problem, "actual", size);
        return false;
    }
    unsigned char *data = NULL;
    if (size > 0) {
        data = malloc(size);
        if (data == NULL)
            return problem_set(problem, PROBLEM_MEMORY_FULL);
        write_all(exchange, headers, data);
    }
    *out_data = data;
    *out_size = size;
    return true;
}

bool meta_next(struct bytes *meta, enum meta_header *out_header, struct bytes *out_value)
{
    const unsigned char *data = meta->data;
    if (meta->size < PREFIX_BYTES)
        return false;
    size_t size = (size_t)data[1] | (size_t)data[2] << 8;
    if (data[0] < META_CONTENT_TYPE || data[0] >= COUNT_OF(kept) ||
        PREFIX_BYTES + size > meta->size)
        return false;
    *out_header = (enum meta_header)data[0];
    *out_value = (struct bytes){data + PREFIX_BYTES, size};
    *meta = (struct bytes){data + PREFIX_BYTES + size, meta->size - PREFIX_BYTES - size};
    return true;
}
