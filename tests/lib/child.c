/* SPDX-License-Identifier: Apache-2.0 */
/* Starts, watches, ends the binary; reads its log. */
#include "child.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../engine/scope.h"
#include "test.h"
#include "wire.h"

enum { ARGUMENTS_MAX = 40, STATUSES_MAX = 200, TRIES = 2000, TRY_MS = 5 }; /* 10 s */

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static const char *build_directory(void)
{
    const char *build = getenv("KEYREST_BUILD");
    return build != NULL ? build : "build/test";
}

/* ---- the log ---- */

/* The log so far, NUL-ended, to be freed. */
static char *read_log(const struct child *child)
{
    char *text = NULL;
    size_t size = 0;
    FILE *log = fopen(child->log_path, "r");
    if (log == NULL || getdelim(&text, &size, '\0', log) < 0) {
        free(text);
        text = calloc(1, 1);
    }
    if (log != NULL)
        fclose(log);
    return text;
}

bool child_log_has(const struct child *child, const char *text)
{
    AUTO_FREE char *log = read_log(child);
    return strstr(log, text) != NULL;
}

size_t child_log_count(const struct child *child, const char *text)
{
    AUTO_FREE char *log = read_log(child);
    size_t count = 0;
    for (const char *at = log; (at = strstr(at, text)) != NULL; at++)
        count++;
    return count;
}

bool child_log_gets(const struct child *child, const char *text)
{
    for (int tries = 0; tries < TRIES; tries++) {
        if (child_log_has(child, text))
            return true;
        pause_ms(TRY_MS);
    }
    return false;
}

void child_expect_no_errors(const struct child *child)
{
    static const char *const signs[] = {" level=error ", " level=fatal ", "Sanitizer",
                                        "runtime error:"};
    AUTO_FREE char *log = read_log(child);
    for (size_t i = 0; i < COUNT_OF(signs); i++) {
        const char *found = strstr(log, signs[i]);
        if (found != NULL)
            fail_msg("%s tells of an error: ...%.*s", child->log_path, (int)strcspn(found, "\n"),
                     found);
    }
}

/* The value of a logfmt field of one line, copied. */
static bool field(const char *line, const char *name, char *out_value, size_t capacity)
{
    const char *end = line + strcspn(line, "\n"), *found = strstr(line, name);
    if (found == NULL || found > end)
        return false;
    found += strlen(name);
    snprintf(out_value, capacity, "%.*s", (int)strcspn(found, " \n"), found);
    return true;
}

/* What one server answered, each kind once. */
struct status_list {
    size_t count;
    char lines[STATUSES_MAX][140];
};

static void note_status(struct status_list *list, const char *access_line)
{
    char method[16], route[64], status[8], problem[40] = "", line[140];
    if (!field(access_line, " method=", method, sizeof method) ||
        !field(access_line, " route=", route, sizeof route) ||
        !field(access_line, " status=", status, sizeof status))
        return;
    bool refused = field(access_line, " problem=", problem, sizeof problem);
    snprintf(line, sizeof line, "%s %s %s%s%s\n", method, route, status, refused ? " " : "",
             problem);
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->lines[i], line) == 0)
            return;
    if (list->count < STATUSES_MAX)
        strcpy(list->lines[list->count++], line);
}

/* Adds "METHOD ROUTE STATUS [CODE]" of what the access log tells to the list of statuses seen. */
static void record_statuses(const struct child *child)
{
    char path[300];
    AUTO_FREE char *log = read_log(child);
    AUTO_FREE struct status_list *list = calloc(1, sizeof *list);
    for (const char *at = log; (at = strstr(at, "msg=request")) != NULL; at++)
        note_status(list, at);
    snprintf(path, sizeof path, "%s/http-statuses", build_directory());
    FILE *file = fopen(path, "a");
    for (size_t i = 0; file != NULL && i < list->count; i++)
        fputs(list->lines[i], file);
    if (file != NULL)
        fclose(file);
}

/* ---- starting ---- */

static void run_binary(const struct child *child, const char *directory,
                       const char *const *arguments)
{
    char binary[300], data[300];
    const char *list[ARGUMENTS_MAX] = {binary,         "serve", "--listen", "127.0.0.1:0",
                                       "--access-log", "true",  "--data",   data};
    size_t count = 8;
    snprintf(binary, sizeof binary, "%s/keyrest", build_directory());
    snprintf(data, sizeof data, "%s/data", directory);
    for (size_t i = 0; arguments != NULL && arguments[i] != NULL && count < ARGUMENTS_MAX - 1; i++)
        list[count++] = arguments[i];
    int log = open(child->log_path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0644);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (log < 0 || dup2(log, STDERR_FILENO) < 0)
        _exit(126);
    execv(binary, (char *const *)(uintptr_t)list);
    _exit(127);
}

static bool find_port(struct child *child)
{
    AUTO_FREE char *log = read_log(child);
    const char *line = strstr(log, "msg=listening");
    char address[64];
    if (line == NULL || strchr(line, '\n') == NULL ||
        !field(line, " address=", address, sizeof address))
        return false;
    child->port = (uint16_t)atoi(strrchr(address, ':') + 1);
    return true;
}

static bool is_ready(const struct child *child)
{
    return wire_ask(child->port, "GET", "/readyz", "", NULL, 0, NULL) == 200;
}

void child_launch(struct child *child, const char *directory, const char *const *arguments)
{
    snprintf(child->log_path, sizeof child->log_path, "%s/log", directory);
    unlink(child->log_path);
    child->pid = fork();
    if (child->pid == 0)
        run_binary(child, directory, arguments);
}

bool child_comes_up(struct child *child)
{
    for (int tries = 0; tries < TRIES; tries++) {
        if (find_port(child) && is_ready(child))
            return true;
        if (child_wait(child, 0) >= 0)
            return false;
        pause_ms(TRY_MS);
    }
    return false;
}

void child_start(struct child *child, const char *directory, const char *const *arguments)
{
    child_launch(child, directory, arguments);
    if (child_comes_up(child))
        return;
    AUTO_FREE char *log = read_log(child);
    child_end(child, SIGKILL);
    fail_msg("the server did not come up; its log:\n%s", log);
}

/* ---- ending ---- */

static int code_of(int status)
{
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int child_wait(struct child *child, unsigned seconds)
{
    int status;
    for (unsigned waited_ms = 0; child->pid > 0; waited_ms += TRY_MS) {
        if (waitpid(child->pid, &status, WNOHANG) == child->pid) {
            child->pid = 0;
            child->code = code_of(status);
            record_statuses(child);
            return child->code;
        }
        if (waited_ms >= seconds * 1000)
            break;
        pause_ms(TRY_MS);
    }
    return -1;
}

int child_end(struct child *child, int signal)
{
    if (child->pid == 0)
        return -1;
    kill(child->pid, signal);
    int code = child_wait(child, 60);
    if (code < 0) {
        kill(child->pid, SIGKILL);
        child_wait(child, 60);
    }
    return code;
}
