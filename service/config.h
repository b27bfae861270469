/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The settings: flag over environment over file over default, each row of config.def checked for
 * form and range, then all of them together. Read once at start, constant afterwards.
 */
#ifndef KEYREST_SERVICE_CONFIG_H
#define KEYREST_SERVICE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "../engine/scope.h"
#include "../engine/status.h"

#define CONFIG_TYPE_TEXT       const char *
#define CONFIG_TYPE_LIST       char ** /* NULL-ended */
#define CONFIG_TYPE_SIZE       uint64_t
#define CONFIG_TYPE_TIME       uint64_t /* ms */
#define CONFIG_TYPE_COUNT      uint64_t
#define CONFIG_TYPE_FLAG       bool
#define CONFIG_TYPE_DURABILITY uint64_t /* ms between syncs; 0: always */
#define CONFIG_TYPE_LEVEL      int      /* enum logger_level */

struct config {
#define X(kind, field, ...) CONFIG_TYPE_##kind field;
#include "config.def"
    char *file_text; /* texts that came from the settings file live in here */
};

struct config_source {
    char *const *arguments;        /* NULL-ended, without the program's name and the command */
    char *const *environment;      /* NULL-ended "NAME=value" */
    uint64_t machine_memory_bytes; /* what `auto` follows from */
};

/*
 * Reads all settings; the source's texts must outlive them. Of `data` and `engine` the one from the
 * stronger source counts and the other becomes "". INVALID: `failure` names the setting, its value,
 * where it came from, and what would do. config_done() is right after both outcomes.
 */
MUST_CHECK enum status config_load(struct config *out_config, const struct config_source *source,
                                   struct failure *failure);
void config_done(struct config *config);

/* Calls `each` with the name of every KEYREST_ variable that is no setting, save for those that
 * Kubernetes makes for a service called keyrest. */
void config_each_stranger(char *const *environment, void (*each)(void *context, const char *name),
                          void *context);

/* Calls `each` with every setting in force, in the form in which it could be given. */
void config_each(const struct config *config,
                 void (*each)(void *context, const char *name, const char *value), void *context);

/* Two lines per setting: flag with default, help. */
void config_print_help(FILE *out);

#endif
