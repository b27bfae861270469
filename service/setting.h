/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One setting's value: from text, to text, and what a text must look like. config.c holds the rows
 * and knows where texts come from.
 */
#ifndef KEYREST_SERVICE_SETTING_H
#define KEYREST_SERVICE_SETTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SETTING_AUTO "auto"

enum setting_kind {
    SETTING_TEXT,       /* const char *, borrowed */
    SETTING_LIST,       /* char **: NULL-ended, one malloc'ed piece */
    SETTING_SIZE,       /* uint64_t bytes */
    SETTING_TIME,       /* uint64_t ms */
    SETTING_COUNT,      /* uint64_t */
    SETTING_FLAG,       /* bool */
    SETTING_DURABILITY, /* uint64_t ms, 0 = always */
    SETTING_LEVEL,      /* int, of enum logger_level */
};

struct setting {
    enum setting_kind kind;
    const char *name;
    size_t offset;        /* of its field in struct config */
    const char *standard; /* the default, as text */
    uint64_t least, most; /* of numbers */
    const char *help;
};

/* Whether `auto` is a value of this number: it is kept as 0 until config.c works it out. */
bool setting_has_auto(const struct setting *setting);

/* Sets `field`, of the kind's type; false, field unchanged: the text is not of the form or the
 * range that setting_describe() tells. A LIST's earlier value is freed. */
bool setting_parse(const struct setting *setting, const char *text, void *field);

void setting_format(const struct setting *setting, const void *field, char *out, size_t out_size);

/* What would do: "a size from 1 to 1GiB, such as 64KiB". */
void setting_describe(const struct setting *setting, char *out, size_t out_size);

#endif
