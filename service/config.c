/* SPDX-License-Identifier: Apache-2.0 */
/* From texts to settings, by the rows of config.def. */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "setting.h"

#define VARIABLES "KEYREST_"

enum { FILE_BYTES_MAX = 1 << 20, FORMATTED_BYTES = 4096 };

static const struct setting rows[] = {
#define X(kind, field, standard, least, most, help)                                                \
    {SETTING_##kind, #field, offsetof(struct config, field), standard, least, most, help},
#include "config.def"
};

enum row_index {
#define X(kind, field, ...) ROW_##field,
#include "config.def"
    ROW_COUNT
};

/* Weakest first. */
enum strength { BY_DEFAULT, BY_FILE, BY_ENVIRONMENT, BY_FLAG };

struct loader {
    struct config *config;
    struct failure *failure;
    enum strength given_by[ROW_COUNT];
};

static void *field_of(struct config *config, const struct setting *row)
{
    return (char *)config + row->offset;
}

MUST_CHECK static enum status set(struct loader *loader, size_t index, const char *text,
                                  enum strength strength, const char *origin)
{
    const struct setting *row = &rows[index];
    char expected[128];
    if (!setting_parse(row, text, field_of(loader->config, row))) {
        setting_describe(row, expected, sizeof expected);
        return failure_set(loader->failure, STATUS_INVALID, "%s: '%s' (from %s) is not %s%s",
                           row->name, text, origin, expected,
                           setting_has_auto(row) ? ", or auto" : "");
    }
    loader->given_by[index] = strength;
    return STATUS_OK;
}

/* ---- the sources ---- */

/* Whether `text` (of `size` bytes) is the row's name as written there: a_b, a-b or A_B. */
static bool is_name(const struct setting *row, const char *text, size_t size, char separator,
                    bool upper)
{
    size_t i = 0;
    for (; i < size && row->name[i] != '\0'; i++) {
        char expected = row->name[i] == '_' ? separator : row->name[i];
        if (text[i] != (upper ? (char)toupper(expected) : expected))
            return false;
    }
    return i == size && row->name[i] == '\0';
}

static size_t find_row(const char *text, size_t size, char separator, bool upper)
{
    size_t index = 0;
    while (index < ROW_COUNT && !is_name(&rows[index], text, size, separator, upper))
        index++;
    return index;
}

MUST_CHECK static enum status load_defaults(struct loader *loader)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        enum status status = set(loader, i, rows[i].standard, BY_DEFAULT, "the default");
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

static char *trim(char *text)
{
    text += strspn(text, " \t\r");
    size_t size = strlen(text);
    while (size > 0 && strchr(" \t\r", text[size - 1]) != NULL)
        text[--size] = '\0';
    return text;
}

/* A comment begins the line or follows a blank. */
static void cut_comment(char *line)
{
    for (char *at = line; *at != '\0'; at++) {
        if (*at == '#' && (at == line || at[-1] == ' ' || at[-1] == '\t')) {
            *at = '\0';
            return;
        }
    }
}

MUST_CHECK static enum status load_line(struct loader *loader, char *line, const char *origin)
{
    cut_comment(line);
    char *name = trim(line);
    if (*name == '\0')
        return STATUS_OK;
    char *equals = strchr(name, '=');
    if (equals == NULL)
        return failure_set(loader->failure, STATUS_INVALID,
                           "%s: '%s' is not of the form name = value", origin, name);
    *equals = '\0';
    name = trim(name);
    size_t index = find_row(name, strlen(name), '_', false);
    if (index == ROW_COUNT)
        return failure_set(loader->failure, STATUS_INVALID,
                           "%s: no setting is called '%s'; keyrest --help lists them (with _ for "
                           "each - after the first two)",
                           origin, name);
    if (loader->given_by[index] == BY_FILE)
        return failure_set(loader->failure, STATUS_INVALID, "%s: %s is set a second time", origin,
                           name);
    return set(loader, index, trim(equals + 1), BY_FILE, origin);
}

/* The whole file as text, or NULL with errno. */
static char *read_text(const char *path)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return NULL;
    char *text = calloc(1, FILE_BYTES_MAX);
    size_t size = text == NULL ? 0 : fread(text, 1, FILE_BYTES_MAX, file);
    bool failed = text == NULL || ferror(file) || size == FILE_BYTES_MAX;
    if (size == FILE_BYTES_MAX)
        errno = EFBIG;
    int error = errno;
    fclose(file);
    if (!failed)
        return text;
    free(text);
    errno = error;
    return NULL;
}

MUST_CHECK static enum status load_file(struct loader *loader, const char *path)
{
    loader->config->file_text = read_text(path);
    if (loader->config->file_text == NULL)
        return failure_set(loader->failure, STATUS_INVALID,
                           "config: cannot read the settings file '%s': %s", path, strerror(errno));
    unsigned number = 0;
    for (char *rest = loader->config->file_text, *line; (line = strsep(&rest, "\n")) != NULL;) {
        char origin[300];
        snprintf(origin, sizeof origin, "%s:%u", path, ++number);
        enum status status = load_line(loader, line, origin);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

/* The row that a "KEYREST_NAME=value" sets; ROW_COUNT when there is none. */
static size_t variable_row(const char *variable, const char **out_value)
{
    const char *equals = strchr(variable, '=');
    if (equals == NULL || strncmp(variable, VARIABLES, strlen(VARIABLES)) != 0)
        return ROW_COUNT;
    *out_value = equals + 1;
    const char *name = variable + strlen(VARIABLES);
    return find_row(name, (size_t)(equals - name), '_', true);
}

MUST_CHECK static enum status load_environment(struct loader *loader, char *const *environment)
{
    for (; *environment != NULL; environment++) {
        const char *value;
        size_t index = variable_row(*environment, &value);
        char origin[128];
        if (index == ROW_COUNT)
            continue;
        snprintf(origin, sizeof origin, "the environment, %.*s", (int)(value - 1 - *environment),
                 *environment);
        enum status status = set(loader, index, value, BY_ENVIRONMENT, origin);
        if (status != STATUS_OK)
            return status;
    }
    return STATUS_OK;
}

/* The flag that is the first of the arguments: its name, its value from behind `=` or after it. */
struct flag {
    const char *name;
    size_t name_size;
    const char *value; /* NULL: none is there */
    bool value_follows;
};

static bool read_flag(char *const *arguments, struct flag *out)
{
    if (strncmp(*arguments, "--", 2) != 0)
        return false;
    out->name = *arguments + 2;
    out->name_size = strcspn(out->name, "=");
    out->value_follows = out->name[out->name_size] == '\0';
    if (!out->value_follows)
        out->value = out->name + out->name_size + 1;
    else
        out->value = arguments[1];
    return true;
}

static bool flag_is(const struct flag *flag, const char *name)
{
    return strlen(name) == flag->name_size && strncmp(flag->name, name, flag->name_size) == 0;
}

/* Sets the row that the first argument names; `out_rest` is behind what it used. */
MUST_CHECK static enum status load_flag(struct loader *loader, char *const *arguments,
                                        char *const **out_rest)
{
    struct flag flag;
    if (!read_flag(arguments, &flag))
        return failure_set(loader->failure, STATUS_INVALID,
                           "'%s' is neither a command nor a flag; see keyrest --help", *arguments);
    size_t index = find_row(flag.name, flag.name_size, '-', false);
    bool is_config = flag_is(&flag, "config");
    if (index == ROW_COUNT && !is_config)
        return failure_set(loader->failure, STATUS_INVALID,
                           "there is no flag --%.*s; see keyrest --help", (int)flag.name_size,
                           flag.name);
    bool ignored;
    if (!is_config && rows[index].kind == SETTING_FLAG && flag.value_follows &&
        (flag.value == NULL || !setting_parse(&rows[index], flag.value, &ignored))) {
        flag.value = "true"; /* --insecure alone */
        flag.value_follows = false;
    }
    if (flag.value == NULL)
        return failure_set(loader->failure, STATUS_INVALID, "--%s lacks its value", flag.name);
    *out_rest = arguments + (flag.value_follows ? 2 : 1);
    if (is_config)
        return STATUS_OK; /* was read before */
    char origin[64];
    snprintf(origin, sizeof origin, "--%.*s", (int)flag.name_size, flag.name);
    return set(loader, index, flag.value, BY_FLAG, origin);
}

static const char *config_path(const struct config_source *source)
{
    static const char variable[] = VARIABLES "CONFIG=";
    const char *path = NULL;
    for (char *const *at = source->environment; *at != NULL; at++)
        if (strncmp(*at, variable, strlen(variable)) == 0)
            path = *at + strlen(variable);
    struct flag flag;
    for (char *const *at = source->arguments; *at != NULL; at++)
        if (read_flag(at, &flag) && flag_is(&flag, "config") && flag.value != NULL)
            path = flag.value;
    return path;
}

/* ---- all together ---- */

static void resolve_auto(struct config *config, uint64_t machine_memory_bytes)
{
    uint64_t connections = machine_memory_bytes >> 18; /* a thread and its buffers, with room */
    if (config->connections_max == 0)
        config->connections_max = connections < 1024   ? 1024
                                  : connections > 8192 ? 8192
                                                       : connections;
    if (config->memory_bytes_max == 0)
        config->memory_bytes_max = machine_memory_bytes / 2;
    if (config->memtable_bytes == 0)
        config->memtable_bytes =
            config->memory_bytes_max / 8 < 64 << 20 ? config->memory_bytes_max / 8 : 64 << 20;
}

MUST_CHECK static enum status check(struct loader *loader)
{
    struct config *config = loader->config;
    enum strength data = loader->given_by[ROW_data], engine = loader->given_by[ROW_engine];
    if (engine != BY_DEFAULT && *config->engine != '\0') {
        if (data == engine)
            return failure_set(loader->failure, STATUS_INVALID,
                               "data and engine are both set: data = DIR is short for engine = "
                               "file:DIR, so set one of them");
        *(engine > data ? &config->data : &config->engine) = "";
    }
    if (*config->data == '\0' && *config->engine == '\0')
        return failure_set(loader->failure, STATUS_INVALID,
                           "data is empty: name the directory of the store");
    return STATUS_OK;
}

enum status config_load(struct config *out_config, const struct config_source *source,
                        struct failure *failure)
{
    *out_config = (struct config){0};
    struct loader loader = {.config = out_config, .failure = failure};
    const char *path = config_path(source);
    enum status status = load_defaults(&loader);
    if (status == STATUS_OK && path != NULL)
        status = load_file(&loader, path);
    if (status == STATUS_OK)
        status = load_environment(&loader, source->environment);
    for (char *const *at = source->arguments; status == STATUS_OK && *at != NULL;)
        status = load_flag(&loader, at, &at);
    if (status == STATUS_OK)
        status = check(&loader);
    if (status == STATUS_OK)
        resolve_auto(out_config, source->machine_memory_bytes);
    return status;
}

void config_done(struct config *config)
{
    for (size_t i = 0; i < ROW_COUNT; i++)
        if (rows[i].kind == SETTING_LIST)
            free(*(char ***)field_of(config, &rows[i]));
    free(config->file_text);
}

/* ---- telling ---- */

void config_each_stranger(char *const *environment, void (*each)(void *context, const char *name),
                          void *context)
{
    static const char *const known[] = {VARIABLES "CONFIG=", VARIABLES "SERVICE_",
                                        VARIABLES "PORT=", VARIABLES "PORT_"};
    for (; *environment != NULL; environment++) {
        const char *value;
        bool stranger = strncmp(*environment, VARIABLES, strlen(VARIABLES)) == 0 &&
                        variable_row(*environment, &value) == ROW_COUNT;
        for (size_t i = 0; i < COUNT_OF(known); i++)
            stranger = stranger && strncmp(*environment, known[i], strlen(known[i])) != 0;
        char name[128];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(*environment, "="), *environment);
        if (stranger)
            each(context, name);
    }
}

void config_each(const struct config *config,
                 void (*each)(void *context, const char *name, const char *value), void *context)
{
    char value[FORMATTED_BYTES];
    for (size_t i = 0; i < ROW_COUNT; i++) {
        setting_format(&rows[i], field_of((struct config *)config, &rows[i]), value, sizeof value);
        each(context, rows[i].name, value);
    }
}

void config_print_help(FILE *out)
{
    for (size_t i = 0; i < ROW_COUNT; i++) {
        char flag[64];
        snprintf(flag, sizeof flag, "%s", rows[i].name);
        for (char *at = flag; *at != '\0'; at++)
            *at = *at == '_' ? '-' : *at;
        fprintf(out, "  --%s%s%s%s\n        %s\n", flag, *rows[i].standard == '\0' ? "" : " (",
                rows[i].standard, *rows[i].standard == '\0' ? "" : ")", rows[i].help);
    }
}
