/* SPDX-License-Identifier: Apache-2.0 */
/* What is worth an operator's attention, and a rest where one is needed. */
#include "library_log.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "../engine/scope.h"
#include "logger.h"

enum { REST_MS = 50 };

/* Most of what the library says is that a client went away. What an operator must hear is about
 * accept(), threads and limits; the texts are the library's. */
static enum logger_level library_level(const char *format)
{
    static const char *const serious[] = {"accept", "thread", "limit", "Fatal"};
    for (size_t i = 0; i < COUNT_OF(serious); i++)
        if (strstr(format, serious[i]) != NULL)
            return LOGGER_WARN;
    return LOGGER_DEBUG;
}

/* Without a file for it the next connection stays in the kernel's queue, and poll() says so at once,
 * again and again: libmicrohttpd 0.9.75 would use up a processor. It tells each time, on the thread
 * that accepts, which has nothing better to do than to wait here. */
static void rest_without_files(const char *format)
{
    static const char telling[] = "Hit process or system resource limit";
    if (strncmp(format, telling, strlen(telling)) == 0)
        nanosleep(&(struct timespec){.tv_nsec = REST_MS * 1000000}, NULL);
}

void library_log(void *context, const char *format, va_list arguments)
{
    struct logger *logger = context;
    char text[512];
    struct logger_line line;
    vsnprintf(text, sizeof text, format, arguments);
    text[strcspn(text, "\n")] = '\0';
    logger_begin(&line, logger, library_level(format), "http library");
    logger_text(&line, "detail", text);
    logger_end(&line);
    rest_without_files(format);
}
