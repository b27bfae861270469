/* SPDX-License-Identifier: Apache-2.0 */
/* Parsing and formatting, kind by kind. */
#include "setting.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "logger.h"

/* ---- numbers with units ---- */

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit size_units[] = {
    {"TiB", UINT64_C(1) << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"", 1},
};
static const struct unit time_units[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}, {"", 1},
};
static const struct unit no_units[] = {{"", 1}};

/* The units of a kind that is a number, largest first; NULL for the others. */
static const struct unit *units_of(enum setting_kind kind)
{
    switch (kind) {
    case SETTING_SIZE:
        return size_units;
    case SETTING_TIME:
    case SETTING_DURABILITY:
        return time_units;
    case SETTING_COUNT:
        return no_units;
    case SETTING_TEXT:
    case SETTING_LIST:
    case SETTING_FLAG:
    case SETTING_LEVEL:
        break;
    }
    return NULL;
}

static bool parse_number(const struct setting *setting, const char *text, uint64_t *out)
{
    if (*text < '0' || *text > '9')
        return false;
    char *rest;
    errno = 0;
    unsigned long long number = strtoull(text, &rest, 10);
    if (errno != 0)
        return false;
    const struct unit *unit = units_of(setting->kind);
    while (*unit->name != '\0' && strcasecmp(unit->name, rest) != 0)
        unit++;
    uint64_t value;
    if (strcasecmp(unit->name, rest) != 0 ||
        __builtin_mul_overflow((uint64_t)number, unit->factor, &value) || value < setting->least ||
        value > setting->most)
        return false;
    *out = value;
    return true;
}

static void format_number(enum setting_kind kind, uint64_t value, char *out, size_t out_size)
{
    const struct unit *unit = units_of(kind);
    while (*unit->name != '\0' && (value < unit->factor || value % unit->factor != 0))
        unit++;
    snprintf(out, out_size, "%" PRIu64 "%s", value / unit->factor, unit->name);
}

bool setting_has_auto(const struct setting *setting)
{
    return strcmp(setting->standard, SETTING_AUTO) == 0;
}

/* ---- the other kinds ---- */

/* A NULL-ended array and the texts it points to, in one piece of memory; NULL: no memory. */
static char **split(const char *text)
{
    static const char separators[] = ", ";
    size_t most = 2;
    for (const char *at = text; *at != '\0'; at++)
        most += strchr(separators, *at) != NULL;
    size_t text_size = strlen(text) + 1;
    char **list = malloc(most * sizeof *list + text_size);
    if (list == NULL)
        return NULL;
    char *copy = memcpy(&list[most], text, text_size);
    size_t count = 0;
    for (char *one = strtok(copy, separators); one != NULL; one = strtok(NULL, separators))
        list[count++] = one;
    list[count] = NULL;
    return list;
}

static bool parse_list(const char *text, char ***field)
{
    char **list = split(text);
    if (list == NULL)
        return false;
    free(*field);
    *field = list;
    return true;
}

static bool parse_flag(const char *text, bool *out)
{
    bool yes = strcmp(text, "true") == 0 || strcmp(text, "1") == 0;
    if (!yes && strcmp(text, "false") != 0 && strcmp(text, "0") != 0)
        return false;
    *out = yes;
    return true;
}

static bool parse_durability(const struct setting *setting, const char *text, uint64_t *out)
{
    static const char interval[] = "interval:";
    if (strcmp(text, "always") == 0) {
        *out = 0;
        return true;
    }
    return strncmp(text, interval, strlen(interval)) == 0 &&
           parse_number(setting, text + strlen(interval), out);
}

static bool parse_level(const char *text, int *out)
{
    for (int level = LOGGER_DEBUG; level <= LOGGER_ERROR; level++) {
        if (strcmp(text, logger_level_name((enum logger_level)level)) == 0) {
            *out = level;
            return true;
        }
    }
    return false;
}

bool setting_parse(const struct setting *setting, const char *text, void *field)
{
    switch (setting->kind) {
    case SETTING_TEXT:
        *(const char **)field = text;
        return true;
    case SETTING_LIST:
        return parse_list(text, field);
    case SETTING_SIZE:
    case SETTING_TIME:
    case SETTING_COUNT:
        if (setting_has_auto(setting) && strcmp(text, SETTING_AUTO) == 0) {
            *(uint64_t *)field = 0; /* whoever knows what it follows from fills it in */
            return true;
        }
        return parse_number(setting, text, field);
    case SETTING_FLAG:
        return parse_flag(text, field);
    case SETTING_DURABILITY:
        return parse_durability(setting, text, field);
    case SETTING_LEVEL:
        return parse_level(text, field);
    }
    return false;
}

void setting_describe(const struct setting *setting, char *out, size_t out_size)
{
    char least[32] = "", most[32] = "";
    if (units_of(setting->kind) != NULL) {
        format_number(setting->kind, setting->least, least, sizeof least);
        format_number(setting->kind, setting->most, most, sizeof most);
    }
    switch (setting->kind) {
    case SETTING_TEXT:
    case SETTING_LIST:
        snprintf(out, out_size, "text");
        break;
    case SETTING_SIZE:
        snprintf(out, out_size, "a size from %s to %s, such as 64KiB", least, most);
        break;
    case SETTING_TIME:
        snprintf(out, out_size, "a time from %s to %s, such as 250ms", least, most);
        break;
    case SETTING_COUNT:
        snprintf(out, out_size, "a number from %s to %s", least, most);
        break;
    case SETTING_FLAG:
        snprintf(out, out_size, "true or false");
        break;
    case SETTING_DURABILITY:
        snprintf(out, out_size, "always, or interval:TIME with a time from %s to %s", least, most);
        break;
    case SETTING_LEVEL:
        snprintf(out, out_size, "debug, info, warn or error");
        break;
    }
}

static void format_list(char *const *list, char *out, size_t out_size)
{
    size_t size = 0;
    *out = '\0';
    for (; *list != NULL && size < out_size; list++)
        size += (size_t)snprintf(out + size, out_size - size, "%s%s", size > 0 ? "," : "", *list);
}

void setting_format(const struct setting *setting, const void *field, char *out, size_t out_size)
{
    switch (setting->kind) {
    case SETTING_TEXT:
        snprintf(out, out_size, "%s", *(const char *const *)field);
        break;
    case SETTING_LIST:
        format_list(*(char ***)field, out, out_size);
        break;
    case SETTING_SIZE:
    case SETTING_TIME:
    case SETTING_COUNT:
        format_number(setting->kind, *(const uint64_t *)field, out, out_size);
        break;
    case SETTING_FLAG:
        snprintf(out, out_size, "%s", *(const bool *)field ? "true" : "false");
        break;
    case SETTING_DURABILITY: {
        char interval[32];
        format_number(setting->kind, *(const uint64_t *)field, interval, sizeof interval);
        snprintf(out, out_size, "%s%s", *(const uint64_t *)field == 0 ? "always" : "interval:",
                 *(const uint64_t *)field == 0 ? "" : interval);
        break;
    }
    case SETTING_LEVEL:
        snprintf(out, out_size, "%s", logger_level_name(*(const enum logger_level *)field));
        break;
    }
}
