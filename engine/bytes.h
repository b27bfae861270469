/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A borrowed run of bytes: a view that never owns. Any byte value is allowed, there is no NUL.
 */
#ifndef KEYREST_ENGINE_BYTES_H
#define KEYREST_ENGINE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct bytes {
    const void *data; /* may be NULL when size is 0 */
    size_t size;
};

/* Views a NUL-terminated string without its NUL. */
static inline struct bytes bytes_of(const char *text)
{
    return (struct bytes){text, strlen(text)};
}

static inline bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* Order of unsigned bytes; a proper prefix comes first. Returns <0, 0 or >0. */
static inline int bytes_compare(struct bytes a, struct bytes b)
{
    size_t common = a.size < b.size ? a.size : b.size;
    int order = common == 0 ? 0 : memcmp(a.data, b.data, common);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

#endif
