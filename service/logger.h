/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines for people and their log collectors: logfmt on one descriptor, one write() per line, so
 * that lines of different threads never mix. Values are quoted and escaped: no input can forge a
 * field or a line. Lines of one kind come at most LOGGER_BURST per LOGGER_WINDOW_MS; the next one
 * let through says how many were held back (suppressed=N). Only the service logs.
 *
 * Threads: any, at any time between open and close. Logging never fails and never waits for a lock
 * while it writes; a line that the descriptor does not take is lost.
 */
#ifndef KEYREST_SERVICE_LOGGER_H
#define KEYREST_SERVICE_LOGGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../engine/scope.h"
#include "../engine/time_source.h"

enum {
    LOGGER_LINE_BYTES_MAX = 4096,  /* PIPE_BUF: a pipe takes it whole or not at all */
    LOGGER_VALUE_BYTES_MAX = 1024, /* escaped; a longer value ends in "..." */
    LOGGER_BURST = 20,
    LOGGER_WINDOW_MS = 10000,
};

enum logger_level { LOGGER_DEBUG, LOGGER_INFO, LOGGER_WARN, LOGGER_ERROR, LOGGER_FATAL };

/* "debug" .. "fatal". */
const char *logger_level_name(enum logger_level level);

struct logger;

/* Lines below `level` are dropped. `fd` stays the caller's. NULL: no memory. */
MUST_CHECK struct logger *logger_open(int fd, enum logger_level level,
                                      const struct time_source *time);
void logger_close(struct logger *logger); /* NULL is allowed */

/* Lines held back so far. */
uint64_t logger_suppressed(struct logger *logger);

/*
 * A line is begun, given its fields, ended:
 *
 *     struct logger_line line;
 *     logger_begin(&line, logger, LOGGER_INFO, "listening");
 *     logger_text(&line, "address", address);
 *     logger_end(&line);
 */
struct logger_line {
    struct logger *logger;
    bool dropped; /* below the level, or held back: the fields and the end do nothing */
    size_t size;
    char text[LOGGER_LINE_BYTES_MAX];
};

/* `message` is static text and names the kind of the line. */
void logger_begin(struct logger_line *line, struct logger *logger, enum logger_level level,
                  const char *message);

/* One line per request, msg=request: neither level nor rate hold it back. */
void logger_begin_access(struct logger_line *line, struct logger *logger);

/* Fields. `name` is static text. A NULL or empty text adds nothing. */
void logger_text(struct logger_line *line, const char *name, const char *value);
void logger_number(struct logger_line *line, const char *name, uint64_t value);
void logger_milliseconds(struct logger_line *line, const char *name, uint64_t ns); /* as 12.345 */

void logger_end(struct logger_line *line);

/* A line without fields. */
void logger_say(struct logger *logger, enum logger_level level, const char *message);

#endif
