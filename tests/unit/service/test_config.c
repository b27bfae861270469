/* SPDX-License-Identifier: Apache-2.0 */
#include "../../lib/test.h"

#include <ctype.h>
#include <stdbool.h>

#include "../../../service/config.h"
#include "../../../service/logger.h"

#define GIB (UINT64_C(1) << 30)

static struct config config;
static struct failure failure;

/* Loads `arguments` (NULL-ended) over `environment`; config_done() is the test's end. */
static enum status load_from(char **arguments, char **environment)
{
    struct config_source source = {arguments, environment, 4 * GIB};
    failure = (struct failure){0};
    return config_load(&config, &source, &failure);
}

#define ARGUMENTS(...)   ((char *[]){__VA_ARGS__, NULL})
#define ENVIRONMENT(...) ARGUMENTS(__VA_ARGS__)
#define NOTHING          ((char *[]){NULL})

static int teardown(void **state)
{
    (void)state;
    config_done(&config);
    config = (struct config){0};
    return 0;
}

/* A settings file with `text`, whose path is returned. */
static const char *settings_file(const char *text)
{
    static char path[256];
    char *directory = test_directory_make();
    snprintf(path, sizeof path, "%s/settings", directory);
    free(directory);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fputs(text, file) >= 0, true);
    assert_int_equal(fclose(file), 0);
    return path;
}

static void settings_file_remove(const char *path)
{
    char *directory = strdup(path);
    assert_non_null(directory);
    *strrchr(directory, '/') = '\0';
    test_directory_remove(directory);
}

static void assert_refused(const char *expected_part)
{
    assert_int_equal(failure.status, STATUS_INVALID);
    if (strstr(failure.message, expected_part) == NULL)
        fail_msg("'%s' is not in '%s'", expected_part, failure.message);
}

static void defaults_stand_alone(void **state)
{
    (void)state;
    assert_int_equal(load_from(NOTHING, NOTHING), STATUS_OK);
    assert_string_equal(config.listen, "127.0.0.1:7070");
    assert_string_equal(config.data, "./data");
    assert_string_equal(config.engine, "");
    assert_int_equal(config.durability, 0);
    assert_false(config.insecure);
    assert_null(config.allowed_hosts[0]);
    assert_int_equal(config.value_bytes_max, 16 << 20);
    assert_int_equal(config.header_bytes_max, 16 << 10);
    assert_int_equal(config.header_ms_max, 10000);
    assert_int_equal(config.log_level, LOGGER_INFO);
}

static void auto_follows_the_machine(void **state)
{
    (void)state;
    struct config_source small = {NOTHING, NOTHING, 256 << 20};
    assert_int_equal(config_load(&config, &small, &failure), STATUS_OK);
    assert_int_equal(config.memory_bytes_max, 128 << 20);
    assert_int_equal(config.memtable_bytes, 16 << 20);
    assert_int_equal(config.connections_max, 1024);
    config_done(&config);
    assert_int_equal(load_from(NOTHING, NOTHING), STATUS_OK);
    assert_int_equal(config.memory_bytes_max, 2 * GIB);
    assert_int_equal(config.memtable_bytes, 64 << 20);
    assert_int_equal(config.connections_max, 8192);
}

static void flags_come_in_both_forms(void **state)
{
    (void)state;
    assert_int_equal(
        load_from(ARGUMENTS("--value-bytes-max", "1MiB", "--drain-ms=3s", "--data", "/d"), NOTHING),
        STATUS_OK);
    assert_int_equal(config.value_bytes_max, 1 << 20);
    assert_int_equal(config.drain_ms, 3000);
    assert_string_equal(config.data, "/d");
}

static void a_bare_flag_is_true_and_eats_nothing(void **state)
{
    (void)state;
    assert_int_equal(load_from(ARGUMENTS("--insecure", "--access-log", "false", "--data", "d"),
                               ENVIRONMENT("KEYREST_ACCESS_LOG=true")),
                     STATUS_OK);
    assert_true(config.insecure);
    assert_false(config.access_log);
}

static void flag_beats_environment_beats_file(void **state)
{
    (void)state;
    const char *path = settings_file("drain_ms = 1s\nidle_ms_max = 1s\nheader_ms_max = 1s\n");
    char variable[300];
    snprintf(variable, sizeof variable, "KEYREST_CONFIG=%s", path);
    assert_int_equal(
        load_from(ARGUMENTS("--drain-ms", "3s"),
                  ENVIRONMENT("KEYREST_DRAIN_MS=2s", "KEYREST_IDLE_MS_MAX=2s", variable)),
        STATUS_OK);
    settings_file_remove(path);
    assert_int_equal(config.drain_ms, 3000);
    assert_int_equal(config.idle_ms_max, 2000);
    assert_int_equal(config.header_ms_max, 1000);
}

static void a_file_may_have_comments_and_blanks(void **state)
{
    (void)state;
    const char *path = settings_file("# all\n\n  data=/with#hash  # why\r\n\tlog_level\t=\tdebug");
    assert_int_equal(load_from(ARGUMENTS("--config", (char *)(uintptr_t)path), NOTHING), STATUS_OK);
    settings_file_remove(path);
    assert_string_equal(config.data, "/with#hash");
    assert_int_equal(config.log_level, LOGGER_DEBUG);
}

static void a_files_mistakes_name_the_line(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"data = d\nvalue_byte_max = 1\n", "settings:2: no setting is called 'value_byte_max'"},
        {"\n\njust words\n", "settings:3: 'just words' is not of the form"},
        {"drain_ms = 1s\ndrain_ms = 2s\n", "settings:2: drain_ms is set a second time"},
        {"drain_ms = soon\n", "settings:1) is not a time"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const char *path = settings_file(cases[i][0]);
        assert_int_equal(load_from(ARGUMENTS("--config", (char *)(uintptr_t)path), NOTHING),
                         STATUS_INVALID);
        settings_file_remove(path);
        assert_refused(cases[i][1]);
        config_done(&config);
    }
    config = (struct config){0};
}

static void units_are_understood(void **state)
{
    (void)state;
    assert_int_equal(
        load_from(ARGUMENTS("--memory-bytes-max=2GiB", "--reserve-bytes=4096", "--idle-ms-max=2m",
                            "--header-ms-max=1500", "--durability=interval:250ms"),
                  NOTHING),
        STATUS_OK);
    assert_int_equal(config.memory_bytes_max, 2 * GIB);
    assert_int_equal(config.reserve_bytes, 4096);
    assert_int_equal(config.idle_ms_max, 120000);
    assert_int_equal(config.header_ms_max, 1500);
    assert_int_equal(config.durability, 250);
}

static void a_bad_value_is_named_with_its_place_and_range(void **state)
{
    (void)state;
    static char *const cases[][2] = {
        {"--value-bytes-max=2GiB", "value_bytes_max: '2GiB' (from --value-bytes-max) is not a size "
                                   "from 1 to 1GiB"},
        {"--value-bytes-max=-1", "'-1'"},
        {"--value-bytes-max=", "''"},
        {"--value-bytes-max=99999999999999999999", "is not a size"},
        {"--value-bytes-max=17000000000GiB", "is not a size"},
        {"--value-bytes-max=1 MiB", "is not a size"},
        {"--value-bytes-max=auto", "is not a size"},
        {"--memory-bytes-max=lots", "such as 64KiB, or auto"},
        {"--idle-ms-max=5y", "is not a time from 100ms to 1d"},
        {"--durability=interval:2d", "interval:TIME with a time from 1ms to 1d"},
        {"--durability=never", "is not always, or interval:TIME"},
        {"--insecure=maybe", "is not true or false"},
        {"--log-level=loud", "is not debug, info, warn or error"},
        {"--log-level=fatal", "is not debug, info, warn or error"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(load_from(ARGUMENTS(cases[i][0]), NOTHING), STATUS_INVALID);
        assert_refused(cases[i][1]);
        config_done(&config);
    }
    assert_int_equal(load_from(NOTHING, ENVIRONMENT("KEYREST_DRAIN_MS=x")), STATUS_INVALID);
    assert_refused("drain_ms: 'x' (from the environment, KEYREST_DRAIN_MS)");
}

static void unknown_arguments_are_refused(void **state)
{
    (void)state;
    static char *const cases[][2] = {
        {"--lisen=1", "no flag --lisen;"},
        {"--value_bytes_max=1", "no flag --value_bytes_max"},
        {"word", "'word' is neither a command nor a flag"},
        {"--drain-ms", "--drain-ms lacks its value"},
        {"--config", "--config lacks its value"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(load_from(ARGUMENTS(cases[i][0]), NOTHING), STATUS_INVALID);
        assert_refused(cases[i][1]);
        config_done(&config);
    }
    config = (struct config){0};
}

static void data_and_engine_exclude_each_other(void **state)
{
    (void)state;
    assert_int_equal(load_from(ARGUMENTS("--data=d", "--engine=memory:"), NOTHING), STATUS_INVALID);
    assert_refused("data and engine are both set");
}

static void the_stronger_of_data_and_engine_counts(void **state)
{
    (void)state;
    assert_int_equal(load_from(ARGUMENTS("--engine=memory:"), ENVIRONMENT("KEYREST_DATA=/data")),
                     STATUS_OK);
    assert_string_equal(config.engine, "memory:");
    assert_string_equal(config.data, "");
    config_done(&config);
    assert_int_equal(load_from(ARGUMENTS("--data=d"), ENVIRONMENT("KEYREST_ENGINE=memory:")),
                     STATUS_OK);
    assert_string_equal(config.engine, "");
    assert_string_equal(config.data, "d");
}

static void hosts_are_a_list(void **state)
{
    (void)state;
    assert_int_equal(load_from(ARGUMENTS("--allowed-hosts", "a.example, b.example"), NOTHING),
                     STATUS_OK);
    assert_string_equal(config.allowed_hosts[0], "a.example");
    assert_string_equal(config.allowed_hosts[1], "b.example");
    assert_null(config.allowed_hosts[2]);
    config_done(&config);
    static char many[] = "a b c d e f g h i j k l m n o p q r s t u v w x y z";
    assert_int_equal(load_from(ARGUMENTS("--allowed-hosts", many), NOTHING), STATUS_OK);
    assert_string_equal(config.allowed_hosts[25], "z");
    assert_null(config.allowed_hosts[26]);
}

static void count_stranger(void *context, const char *name)
{
    assert_string_equal(name, "KEYREST_VALUE_BYTE_MAX");
    ++*(int *)context;
}

static void misspelt_variables_are_told(void **state)
{
    (void)state;
    int strangers = 0;
    config_each_stranger(ENVIRONMENT("KEYREST_VALUE_BYTE_MAX=1", "KEYREST_DATA=d", "HOME=/",
                                     "KEYREST_CONFIG=f", "KEYREST_SERVICE_HOST=10.0.0.1",
                                     "KEYREST_PORT=tcp://10.0.0.1:7070",
                                     "KEYREST_PORT_7070_TCP=tcp://10.0.0.1:7070"),
                         count_stranger, &strangers);
    assert_int_equal(strangers, 1);
}

static char told[64][512]; /* "KEYREST_NAME=value" */
static int told_count;

static void keep_setting(void *context, const char *name, const char *value)
{
    (void)context;
    char upper[64];
    size_t size = strlen(name) + 1;
    assert_true(size <= sizeof upper && told_count < 64);
    for (size_t i = 0; i < size; i++)
        upper[i] = (char)toupper((unsigned char)name[i]);
    snprintf(told[told_count++], sizeof told[0], "KEYREST_%s=%s", upper, value);
}

/* What config_each told is given again as environment: the same settings come out. */
static void what_is_told_can_be_given_again(void **state)
{
    (void)state;
    char *environment[65] = {NULL};
    assert_int_equal(
        load_from(ARGUMENTS("--allowed-hosts=a,b", "--durability=interval:90s",
                            "--memory-bytes-max=16777217", "--insecure", "--log-level=warn"),
                  NOTHING),
        STATUS_OK);
    told_count = 0;
    config_each(&config, keep_setting, NULL);
    config_done(&config);
    for (int i = 0; i < told_count; i++)
        environment[i] = told[i];
    assert_int_equal(load_from(NOTHING, environment), STATUS_OK);
    assert_int_equal(config.durability, 90000);
    assert_int_equal(config.memory_bytes_max, 16777217);
    assert_int_equal(config.connections_max, 8192);
    assert_string_equal(config.allowed_hosts[1], "b");
    assert_true(config.insecure);
    assert_int_equal(config.log_level, LOGGER_WARN);
}

#define CASE(promise, function)                                                                    \
    {                                                                                              \
        promise, function, NULL, teardown, NULL                                                    \
    }

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        CASE("defaults stand alone", defaults_stand_alone),
        CASE("auto follows the machine", auto_follows_the_machine),
        CASE("flags come in both forms", flags_come_in_both_forms),
        CASE("a bare flag is true and eats nothing", a_bare_flag_is_true_and_eats_nothing),
        CASE("flag beats environment beats file", flag_beats_environment_beats_file),
        CASE("a file may have comments and blanks", a_file_may_have_comments_and_blanks),
        CASE("a file's mistakes name the line", a_files_mistakes_name_the_line),
        CASE("units are understood", units_are_understood),
        CASE("a bad value is named with its place and range",
             a_bad_value_is_named_with_its_place_and_range),
        CASE("unknown arguments are refused", unknown_arguments_are_refused),
        CASE("data and engine exclude each other", data_and_engine_exclude_each_other),
        CASE("the stronger of data and engine counts", the_stronger_of_data_and_engine_counts),
        CASE("hosts are a list", hosts_are_a_list),
        CASE("misspelt variables are told", misspelt_variables_are_told),
        CASE("what is told can be given again", what_is_told_can_be_given_again),
    };
    return test_main(argc, argv, "config", tests);
}
