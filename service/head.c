/* SPDX-License-Identifier: Apache-2.0 */
/* Distances between texts. */
#include "head.h"

#include <stdint.h>
#include <string.h>

bool head_line_has_nul(const struct head *head, const char *target)
{
    const char *between =
        head->method + strlen(head->method) + 1; /* only blanks, up to the target */
    if (between > head->url || strspn(between, " ") < (size_t)(head->url - between))
        return true;
    return head->url + strlen(target) + 1 != head->version;
}

/* Where a text would stand that is not in the head: far away. */
static size_t distance(const char *from, const char *to)
{
    return (uintptr_t)to >= (uintptr_t)from ? (size_t)((uintptr_t)to - (uintptr_t)from) : SIZE_MAX;
}

/* CR LF or a bare LF: both are zeroed. */
static bool is_line_end(size_t bytes)
{
    return bytes == 1 || bytes == 2;
}

/* The colon, zeroed, and blanks. A name that a folded line was appended to was copied elsewhere. */
static bool is_beside(const char *name_end, const char *value)
{
    size_t bytes = distance(name_end, value);
    return bytes > 0 && bytes != SIZE_MAX && strspn(name_end + 1, " \t") >= bytes - 1;
}

bool head_is_all_told(const struct head *head)
{
    const char *line_end = head->version + strlen(head->version);
    for (size_t i = 0; i < head->field_count; i++) {
        const struct api_header *field = &head->fields[i];
        if (!is_line_end(distance(line_end, field->name)) ||
            !is_beside(field->name + strlen(field->name), field->value))
            return false;
        line_end = field->value + strlen(field->value);
    }
    size_t rest = distance(line_end, head->method + head->bytes);
    return rest == 2 || rest == 4; /* the last line's end, and the empty line's, alike */
}
