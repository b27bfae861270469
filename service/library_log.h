/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the HTTP library's own messages go: into the log, most of them as debug. Called on whichever
 * of its threads has something to say.
 */
#ifndef KEYREST_SERVICE_LIBRARY_LOG_H
#define KEYREST_SERVICE_LIBRARY_LOG_H

#include <stdarg.h>

/* `context` is the struct logger; the format is the library's, and ends with a newline. */
void library_log(void *context, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));

#endif
