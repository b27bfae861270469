/* SPDX-License-Identifier: Apache-2.0 */
#include "../../lib/test.h"

#include <fcntl.h>
#include <unistd.h>

#include "../../../service/logger.h"
#include "../../lib/manual_time.h"

struct fixture {
    struct manual_time time;
    struct logger *logger;
    int read_fd, write_fd;
    char text[65536]; /* what read_lines() read last */
};

static int setup(void **state)
{
    static struct fixture fixture;
    int ends[2];
    if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0)
        return -1;
    manual_time_init(&fixture.time);
    fixture.read_fd = ends[0];
    fixture.write_fd = ends[1];
    fixture.logger = logger_open(ends[1], LOGGER_INFO, &fixture.time.source);
    *state = &fixture;
    return fixture.logger == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    logger_close(fixture->logger);
    close(fixture->read_fd);
    close(fixture->write_fd);
    return 0;
}

/* Everything written since the last call; returns the number of lines. */
static unsigned read_lines(struct fixture *fixture)
{
    ssize_t size = read(fixture->read_fd, fixture->text, sizeof fixture->text - 1);
    fixture->text[size > 0 ? size : 0] = '\0';
    unsigned lines = 0;
    for (const char *at = fixture->text; *at != '\0'; at++)
        lines += *at == '\n';
    return lines;
}

static void say_value(struct fixture *fixture, const char *value)
{
    struct logger_line line;
    logger_begin(&line, fixture->logger, LOGGER_INFO, "said");
    logger_text(&line, "value", value);
    logger_end(&line);
}

#define PREFIX "time=2023-11-14T22:13:20.001Z level="

static void writes_logfmt_with_utc_time(void **state)
{
    struct fixture *fixture = *state;
    struct logger_line line;
    logger_begin(&line, fixture->logger, LOGGER_WARN, "two words");
    logger_text(&line, "name", "bare");
    logger_text(&line, "none", NULL);
    logger_text(&line, "empty", "");
    logger_number(&line, "count", UINT64_MAX);
    logger_milliseconds(&line, "took_ms", 12345678);
    logger_end(&line);
    read_lines(fixture);
    assert_string_equal(fixture->text,
                        PREFIX "warn msg=\"two words\" name=bare count=18446744073709551615 "
                               "took_ms=12.345\n");
}

static void input_cannot_forge_a_line_or_a_field(void **state)
{
    struct fixture *fixture = *state;
    static const char *const cases[][2] = {
        {"a\nlevel=fatal", "\"a\\nlevel=fatal\""},
        {"a b", "\"a b\""},
        {"a=b", "\"a=b\""},
        {"say \"hi\"", "\"say \\\"hi\\\"\""},
        {"back\\slash", "\"back\\\\slash\""},
        {"\r\t\x1b[31m\x7f", "\"\\r\\t\\x1b[31m\\x7f\""},
        {"caf\xc3\xa9", "\"caf\\xc3\\xa9\""},
        {"/keys/a%20b?x", "/keys/a%20b?x"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char expected[256];
        snprintf(expected, sizeof expected, PREFIX "info msg=said value=%s\n", cases[i][1]);
        say_value(fixture, cases[i][0]);
        assert_int_equal(read_lines(fixture), 1);
        assert_string_equal(fixture->text, expected);
    }
}

static void a_long_value_is_cut_and_closed(void **state)
{
    struct fixture *fixture = *state;
    char value[LOGGER_VALUE_BYTES_MAX * 8];
    memset(value, '\n', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    struct logger_line line;
    logger_begin(&line, fixture->logger, LOGGER_INFO, "long");
    for (int i = 0; i < 10; i++)
        logger_text(&line, "value", value);
    logger_end(&line);
    assert_int_equal(read_lines(fixture), 1);
    size_t size = strlen(fixture->text);
    assert_true(size <= LOGGER_LINE_BYTES_MAX);
    assert_string_equal(fixture->text + size - 5, "...\"\n");
    assert_non_null(strstr(fixture->text, "...\" value=\""));
}

static void lines_below_the_level_are_dropped(void **state)
{
    struct fixture *fixture = *state;
    logger_say(fixture->logger, LOGGER_DEBUG, "quiet");
    assert_int_equal(read_lines(fixture), 0);
    logger_say(fixture->logger, LOGGER_INFO, "loud");
    assert_int_equal(read_lines(fixture), 1);
}

static void a_flood_of_one_kind_is_held_back_and_counted(void **state)
{
    struct fixture *fixture = *state;
    for (int i = 0; i < LOGGER_BURST + 7; i++)
        logger_say(fixture->logger, LOGGER_WARN, "flood");
    logger_say(fixture->logger, LOGGER_WARN, "another kind");
    assert_int_equal(read_lines(fixture), LOGGER_BURST + 1);
    assert_int_equal(logger_suppressed(fixture->logger), 7);
    manual_time_advance_ms(&fixture->time, LOGGER_WINDOW_MS);
    logger_say(fixture->logger, LOGGER_WARN, "flood");
    assert_int_equal(read_lines(fixture), 1);
    assert_non_null(strstr(fixture->text, "Z level=warn msg=flood suppressed=7\n"));
    logger_say(fixture->logger, LOGGER_WARN, "flood");
    read_lines(fixture);
    assert_non_null(strstr(fixture->text, "Z level=warn msg=flood\n"));
}

static void fatal_and_access_lines_are_never_held_back(void **state)
{
    struct fixture *fixture = *state;
    for (int i = 0; i < 2 * LOGGER_BURST; i++) {
        struct logger_line line;
        logger_say(fixture->logger, LOGGER_FATAL, "end");
        logger_begin_access(&line, fixture->logger);
        logger_end(&line);
    }
    assert_int_equal(read_lines(fixture), 4 * LOGGER_BURST);
}

static void a_full_pipe_loses_lines_and_never_waits(void **state)
{
    struct fixture *fixture = *state;
    struct logger_line line;
    for (int i = 0; i < 20000; i++) {
        logger_begin_access(&line, fixture->logger);
        logger_text(&line, "path", "/keys/x");
        logger_end(&line);
    }
    read_lines(fixture);
    assert_non_null(strstr(fixture->text, "path=/keys/x\n"));
}

#define CASE(promise, function)                                                                    \
    {                                                                                              \
        promise, function, setup, teardown, NULL                                                   \
    }

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        CASE("writes logfmt with UTC time", writes_logfmt_with_utc_time),
        CASE("input cannot forge a line or a field", input_cannot_forge_a_line_or_a_field),
        CASE("a long value is cut and closed", a_long_value_is_cut_and_closed),
        CASE("lines below the level are dropped", lines_below_the_level_are_dropped),
        CASE("a flood of one kind is held back and counted",
             a_flood_of_one_kind_is_held_back_and_counted),
        CASE("fatal and access lines are never held back",
             fatal_and_access_lines_are_never_held_back),
        CASE("a full pipe loses lines and never waits", a_full_pipe_loses_lines_and_never_waits),
    };
    return test_main(argc, argv, "logger", tests);
}
