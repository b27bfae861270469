/* SPDX-License-Identifier: Apache-2.0 */
/* A table this short is searched from the top; the rows asked for most stand first. */
#include "router.h"

#include <string.h>

#include "../engine/scope.h"
#include "handlers.h"

static const struct route rows[] = {
#define X(method, path, begin, finish, parameters)                                                 \
    {METHOD_##method, path, begin, finish, parameters},
#include "routes.def"
};

static const char *const methods[] = {
#define X(name) #name,
    METHODS(X)
#undef X
        [METHOD_OTHER] = "other",
};

enum method method_find(const char *text)
{
    for (enum method method = 0; method < METHOD_OTHER; method++)
        if (strcmp(methods[method], text) == 0)
            return method;
    return METHOD_OTHER;
}

const char *method_text(enum method method)
{
    return methods[method];
}

bool method_is_safe(enum method method)
{
    return method == METHOD_GET || method == METHOD_HEAD || method == METHOD_OPTIONS ||
           method == METHOD_TRACE;
}

static bool matches(const char *template, struct bytes path, struct bytes *out_tail)
{
    size_t fixed = strcspn(template, "{");
    bool has_tail = template[fixed] != '\0';
    if (path.size < fixed || (!has_tail && path.size > fixed) ||
        memcmp(template, path.data, fixed) != 0)
        return false;
    *out_tail = (struct bytes){(const char *)path.data + fixed, path.size - fixed};
    return true;
}

const struct route *router_find(struct bytes path, struct bytes *out_tail)
{
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (matches(rows[i].path, path, out_tail))
            return &rows[i];
    return NULL;
}

const struct route *router_operation(const struct route *route, enum method method)
{
    enum method served = method == METHOD_HEAD ? METHOD_GET : method;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (rows[i].method == served && strcmp(rows[i].path, route->path) == 0)
            return &rows[i];
    return NULL;
}

static bool is_allowed(const struct route *route, enum method method)
{
    if (method == METHOD_OPTIONS)
        return true;
    if (route != NULL)
        return router_operation(route, method) != NULL;
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (router_operation(&rows[i], method) != NULL)
            return true;
    return false;
}

void router_write_allow(const struct route *route, char out_text[static ROUTER_ALLOW_BYTES])
{
    char *next = out_text;
    for (enum method method = 0; method < METHOD_OTHER; method++) {
        if (!is_allowed(route, method))
            continue;
        if (next != out_text)
            next = stpcpy(next, ", ");
        next = stpcpy(next, methods[method]);
    }
}

/* ---- numbers: a path has that of its first row ---- */

const char router_other_path[] = "other";

size_t router_path_count(void)
{
    return COUNT_OF(rows) + 1;
}

size_t router_path_index(const struct route *route)
{
    if (route == NULL)
        return COUNT_OF(rows);
    size_t first = 0;
    while (strcmp(rows[first].path, route->path) != 0)
        first++;
    return first;
}

const char *router_path(size_t index)
{
    if (index == COUNT_OF(rows))
        return router_other_path;
    return router_path_index(&rows[index]) == index ? rows[index].path : NULL;
}

const struct route *router_row(size_t index)
{
    return index < COUNT_OF(rows) ? &rows[index] : NULL;
}
