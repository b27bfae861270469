/* SPDX-License-Identifier: Apache-2.0 */
/* Texts of the statuses, from status.def. */
#include "status.h"

#include <stdarg.h>
#include <stdio.h>

static const char *const texts[] = {
#define X(name, text) [STATUS_##name] = text,
#include "status.def"
};

const char *status_text(enum status status)
{
    return (size_t)status < COUNT_OF(texts) ? texts[status] : "?";
}

enum status failure_set(struct failure *failure, enum status status, const char *format, ...)
{
    if (failure == NULL)
        return status;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(failure->message, sizeof failure->message, format, arguments);
    va_end(arguments);
    failure->status = status;
    return status;
}
