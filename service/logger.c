/* SPDX-License-Identifier: Apache-2.0 */
/* Formatting lines, and holding back those that come too often. */
#include "logger.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    KINDS_MAX = 64,
    NEWLINE_BYTES = 1,
    FIELD_BYTES_MIN = 64, /* a line with less room takes no more fields */
    VALUE_END_BYTES =
        3 + sizeof "...\"" - 1, /* after the last whole byte: rest of an escape, end */
};

/* How often one kind of line was said lately. */
struct kind {
    const char *message; /* the text's address is the kind; NULL: free */
    uint64_t window_began_ms;
    uint64_t said, held_back;
};

struct logger {
    /* set at open, then constant */
    int fd;
    enum logger_level level;
    const struct time_source *time;
    pthread_mutex_t mutex;
    /* guarded by mutex */
    struct kind kinds[KINDS_MAX];
    uint64_t suppressed;
};

static const char *const level_names[] = {
    [LOGGER_DEBUG] = "debug", [LOGGER_INFO] = "info",   [LOGGER_WARN] = "warn",
    [LOGGER_ERROR] = "error", [LOGGER_FATAL] = "fatal",
};

const char *logger_level_name(enum logger_level level)
{
    return level_names[level];
}

struct logger *logger_open(int fd, enum logger_level level, const struct time_source *time)
{
    struct logger *logger = calloc(1, sizeof *logger);
    if (logger == NULL)
        return NULL;
    logger->fd = fd;
    logger->level = level;
    logger->time = time;
    pthread_mutex_init(&logger->mutex, NULL);
    return logger;
}

void logger_close(struct logger *logger)
{
    if (logger == NULL)
        return;
    pthread_mutex_destroy(&logger->mutex);
    free(logger);
}

uint64_t logger_suppressed(struct logger *logger)
{
    pthread_mutex_lock(&logger->mutex);
    uint64_t suppressed = logger->suppressed;
    pthread_mutex_unlock(&logger->mutex);
    return suppressed;
}

/* ---- holding back ---- */

/* NULL when there are more kinds than places: such lines are never held back. */
static struct kind *kind_of_locked(struct logger *logger, const char *message)
{
    for (size_t i = 0; i < KINDS_MAX; i++) {
        struct kind *kind = &logger->kinds[i];
        if (kind->message == NULL)
            kind->message = message;
        if (kind->message == message)
            return kind;
    }
    return NULL;
}

/* Whether the line may be said; `out_held_back` says how many of its kind were not, before it. */
static bool admit(struct logger *logger, const char *message, uint64_t *out_held_back)
{
    uint64_t now_ms = logger->time->monotonic_ns(logger->time) / 1000000;
    bool admitted = true;
    *out_held_back = 0;
    pthread_mutex_lock(&logger->mutex);
    struct kind *kind = kind_of_locked(logger, message);
    if (kind != NULL) {
        if (now_ms - kind->window_began_ms >= LOGGER_WINDOW_MS) {
            kind->window_began_ms = now_ms;
            kind->said = 0;
        }
        admitted = kind->said < LOGGER_BURST;
        if (admitted) {
            kind->said++;
            *out_held_back = kind->held_back;
            kind->held_back = 0;
        } else {
            kind->held_back++;
            logger->suppressed++;
        }
    }
    pthread_mutex_unlock(&logger->mutex);
    return admitted;
}

/* ---- the line's text ---- */

static size_t room(const struct logger_line *line)
{
    return sizeof line->text - NEWLINE_BYTES - line->size;
}

static void put(struct logger_line *line, const char *text, size_t size)
{
    memcpy(line->text + line->size, text, size);
    line->size += size;
}

/* What stands bare between spaces; anything else is quoted. */
static bool is_bare(unsigned char byte)
{
    return byte > ' ' && byte < 0x7f && byte != '"' && byte != '\\' && byte != '=';
}

static bool all_bare(const char *value)
{
    for (; *value != '\0'; value++)
        if (!is_bare((unsigned char)*value))
            return false;
    return true;
}

/* Writes `byte` as it stands inside quotes; returns its size, at most 4. */
static size_t escape(unsigned char byte, char out[4])
{
    static const char hex[] = "0123456789abcdef";
    const char *short_form = byte == '\0' ? NULL : strchr("\"\"\\\\\nn\rr\tt", byte);
    if (byte >= ' ' && byte < 0x7f && byte != '"' && byte != '\\') {
        out[0] = (char)byte;
        return 1;
    }
    out[0] = '\\';
    if (short_form != NULL) {
        out[1] = short_form[1];
        return 2;
    }
    out[1] = 'x';
    out[2] = hex[byte >> 4];
    out[3] = hex[byte & 15];
    return 4;
}

static void put_value(struct logger_line *line, const char *value)
{
    bool quoted = !all_bare(value);
    size_t limit = room(line) < LOGGER_VALUE_BYTES_MAX ? room(line) : LOGGER_VALUE_BYTES_MAX;
    size_t end = line->size + limit - VALUE_END_BYTES;
    if (quoted)
        put(line, "\"", 1);
    for (; *value != '\0' && line->size < end; value++) {
        char escaped[4];
        put(line, escaped, escape((unsigned char)*value, escaped));
    }
    if (*value != '\0')
        put(line, "...", 3);
    if (quoted)
        put(line, "\"", 1);
}

/* False when the line is full: the field is left out. */
static bool put_name(struct logger_line *line, const char *name)
{
    size_t size = strlen(name);
    if (line->dropped || room(line) < size + FIELD_BYTES_MIN)
        return false;
    if (line->size > 0)
        put(line, " ", 1);
    put(line, name, size);
    put(line, "=", 1);
    return true;
}

void logger_text(struct logger_line *line, const char *name, const char *value)
{
    if (value != NULL && *value != '\0' && put_name(line, name))
        put_value(line, value);
}

void logger_number(struct logger_line *line, const char *name, uint64_t value)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%" PRIu64, value);
    logger_text(line, name, digits);
}

void logger_milliseconds(struct logger_line *line, const char *name, uint64_t ns)
{
    char digits[32];
    snprintf(digits, sizeof digits, "%" PRIu64 ".%03" PRIu64, ns / 1000000, ns / 1000 % 1000);
    logger_text(line, name, digits);
}

static void begin(struct logger_line *line, struct logger *logger, enum logger_level level,
                  const char *message)
{
    int64_t now_ms = logger->time->wall_ms(logger->time);
    time_t seconds = now_ms / 1000;
    struct tm utc;
    char text[64];
    gmtime_r(&seconds, &utc);
    size_t size = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text + size, sizeof text - size, ".%03dZ", (int)(now_ms % 1000));
    line->logger = logger;
    line->dropped = false;
    line->size = 0;
    logger_text(line, "time", text);
    logger_text(line, "level", logger_level_name(level));
    logger_text(line, "msg", message);
}

void logger_begin(struct logger_line *line, struct logger *logger, enum logger_level level,
                  const char *message)
{
    uint64_t held_back = 0;
    line->dropped =
        level < logger->level || (level < LOGGER_FATAL && !admit(logger, message, &held_back));
    if (line->dropped)
        return;
    begin(line, logger, level, message);
    if (held_back > 0)
        logger_number(line, "suppressed", held_back);
}

void logger_begin_access(struct logger_line *line, struct logger *logger)
{
    begin(line, logger, LOGGER_INFO, "request");
}

void logger_end(struct logger_line *line)
{
    if (line->dropped)
        return;
    line->text[line->size++] = '\n';
    if (write(line->logger->fd, line->text, line->size) < 0)
        return; /* nowhere to say so */
}

void logger_say(struct logger *logger, enum logger_level level, const char *message)
{
    struct logger_line line;
    logger_begin(&line, logger, level, message);
    logger_end(&line);
}
