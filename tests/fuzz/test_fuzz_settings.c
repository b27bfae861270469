/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settings as flags, as variables and as lines of a file, a line each behind a byte that says which:
 * what is accepted is told in a form that gives the same settings again; what is refused is named.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "../../service/config.h"
#include "../lib/fuzz.h"

enum { TEXTS_MAX = 24, FLAGS_BYTES = 16 << 10 };

struct texts {
    char *items[2 * 64 + 1];
    size_t count;
};

static void add(struct texts *texts, char *text)
{
    assert_true(texts->count + 1 < COUNT_OF(texts->items));
    texts->items[texts->count++] = text;
    texts->items[texts->count] = NULL;
}

static void free_texts(struct texts *texts)
{
    while (texts->count > 0)
        free(texts->items[--texts->count]);
}

static void add_setting(void *context, const char *name, const char *value)
{
    char *flag = NULL;
    bool of_two = strcmp(name, "engine") == 0 || strcmp(name, "data") == 0;
    if (of_two && *value == '\0') /* the other one counts */
        return;
    assert_true(asprintf(&flag, "--%s=%s", name, value) > 0);
    for (char *at = flag; *at != '\0' && *at != '='; at++)
        *at = *at == '_' ? '-' : *at;
    add(context, flag);
}

static enum status load(struct config *config, const struct texts *arguments,
                        const struct texts *environment, struct failure *failure)
{
    const struct config_source source = {arguments->items, environment->items, UINT64_C(4) << 30};
    *config = (struct config){.file_text = NULL};
    return config_load(config, &source, failure);
}

static void check_told_again(const struct config *config)
{
    struct texts told = {.count = 0}, again = {.count = 0}, nothing = {.count = 0};
    struct failure failure = {0};
    struct config same;
    config_each(config, add_setting, &told);
    if (load(&same, &told, &nothing, &failure) != STATUS_OK)
        fail_msg("%s", failure.message);
    config_each(&same, add_setting, &again);
    assert_int_equal(told.count, again.count);
    for (size_t i = 0; i < told.count; i++)
        assert_string_equal(told.items[i], again.items[i]);
    free_texts(&told);
    free_texts(&again);
    config_done(&same);
}

static void add_to_file(int *file, char *text)
{
    if (*file < 0)
        *file = memfd_create("settings", MFD_CLOEXEC);
    assert_int_equal(dprintf(*file, "%s\n", text), strlen(text) + 1);
    free(text);
}

static void settings_are_read(struct fuzz_input *input)
{
    struct texts arguments = {.count = 0}, environment = {.count = 0};
    int file = -1;
    while (input->size > 0 && arguments.count + environment.count < TEXTS_MAX) {
        uint8_t kind = fuzz_byte(input) % 4;
        char *text = fuzz_text(input, '\n'), *flag = NULL;
        /* the file it would name is not the input's */
        if (strstr(text, "config") != NULL || strstr(text, "CONFIG") != NULL)
            free(text);
        else if (kind == 2)
            add_to_file(&file, text);
        else
            add(kind == 0 ? &environment : &arguments, text);
        if (input->size == 0 && file >= 0) {
            assert_true(asprintf(&flag, "--config=/proc/self/fd/%d", file) > 0);
            add(&arguments, flag);
        }
    }
    struct config config;
    struct failure failure = {0};
    enum status status = load(&config, &arguments, &environment, &failure);
    if (status == STATUS_OK)
        check_told_again(&config);
    else
        assert_true(failure.message[0] != '\0');
    config_done(&config);
    free_texts(&arguments);
    free_texts(&environment);
    if (file >= 0)
        close(file);
}

FUZZ_TARGET("fuzz_settings", "settings are refused by name, or told as they were given",
            settings_are_read)
