/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Crowds: thousands of connections that are idle, or come and go, a process that runs out of files or
 * threads, and ten thousand different URLs. Those who are served go on being served, and afterwards
 * everything is as it was before.
 */
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../lib/served.h"
#include "../lib/wire.h"

/* A sanitizer's threads and memory cost many times as much. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { IDLE_WANTED = 500, COMING_AND_GOING = 1000, URLS = 1000, SANITIZED = 1 };
#else
enum { IDLE_WANTED = 10000, COMING_AND_GOING = 5000, URLS = 10000, SANITIZED = 0 };
#endif

enum { BUSY = 64, BUSY_REQUESTS = 50, TRIES = 2000, FILES_BESIDE = 300, WARNINGS_MAX = 40 };

/* ---- what the process has ---- */

static uint64_t status_line(const struct fixture *fixture, const char *name)
{
    char path[64], line[256];
    unsigned long long value = 0;
    snprintf(path, sizeof path, "/proc/%d/status", fixture->server.pid);
    FILE *file = fopen(path, "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, name, strlen(name)) == 0)
            value = strtoull(line + strlen(name) + 1, NULL, 10);
    if (file != NULL)
        fclose(file);
    return value;
}

static uint64_t open_files(const struct fixture *fixture)
{
    char path[64];
    uint64_t count = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", fixture->server.pid);
    DIR *directory = opendir(path);
    while (directory != NULL && readdir(directory) != NULL)
        count++;
    if (directory != NULL)
        closedir(directory);
    return count;
}

/* Connections end in the service's own time. */
static bool comes_down_to(const struct fixture *fixture, uint64_t threads, uint64_t files)
{
    for (int tries = 0; tries < TRIES; tries++) {
        if (status_line(fixture, "Threads:") <= threads && open_files(fixture) <= files)
            return true;
        pause_ms(10);
    }
    return false;
}

static double cpu_seconds(const struct fixture *fixture)
{
    char path[64], text[1024];
    unsigned long user = 0, system = 0;
    snprintf(path, sizeof path, "/proc/%d/stat", fixture->server.pid);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t size = fread(text, 1, sizeof text - 1, file);
    text[size] = '\0';
    fclose(file);
    sscanf(strrchr(text, ')'), ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
           &system);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static void limit(const struct fixture *fixture, enum __rlimit_resource resource, uint64_t least)
{
    struct rlimit now;
    assert_int_equal(prlimit(fixture->server.pid, resource, NULL, &now), 0);
    now.rlim_cur = least;
    assert_int_equal(prlimit(fixture->server.pid, resource, &now, NULL), 0);
}

static void lift(const struct fixture *fixture, enum __rlimit_resource resource)
{
    struct rlimit now;
    assert_int_equal(prlimit(fixture->server.pid, resource, NULL, &now), 0);
    limit(fixture, resource, now.rlim_max);
}

/* ---- connections, of which there are too many for a buffer each ---- */

static struct wire shared;

static int open_connection(uint16_t port)
{
    shared.fd = -1;
    if (!wire_open(&shared, port))
        return -1;
    int fd = shared.fd;
    shared.fd = -1;
    return fd;
}

static unsigned ask_on(int fd, const char *target)
{
    struct wire_response response;
    shared = (struct wire){.fd = fd};
    bool answered = wire_request(&shared, "GET", target, "", NULL, 0, &response);
    shared.fd = -1;
    if (!answered)
        return 0;
    wire_response_done(&response);
    return response.status;
}

static unsigned get(const struct fixture *fixture, const char *target)
{
    return wire_ask(fixture->server.port, "GET", target, "", NULL, 0, NULL);
}

static bool comes_to_answer(const struct fixture *fixture)
{
    for (int tries = 0; tries < TRIES; tries++) {
        if (get(fixture, "/livez") == 200)
            return true;
        pause_ms(10);
    }
    return false;
}

/* ---- idle ---- */

static unsigned idle_possible(void)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    uint64_t by_files = files.rlim_cur > 2 * FILES_BESIDE ? files.rlim_cur - 2 * FILES_BESIDE : 0;
    uint64_t by_memory = (uint64_t)sysconf(_SC_AVPHYS_PAGES) * 4096 / (256 << 10);
    uint64_t least = by_files < by_memory ? by_files : by_memory;
    return least < IDLE_WANTED ? (unsigned)least : IDLE_WANTED;
}

static _Atomic unsigned busy_failures;

static void *be_busy(void *context)
{
    const struct fixture *fixture = context;
    struct wire *wire = wire_make(fixture->server.port);
    for (int i = 0; i < BUSY_REQUESTS; i++) {
        struct wire_response response;
        bool put = i % 10 == 0;
        if (wire == NULL || !wire_request(wire, put ? "PUT" : "GET", "/keys/k", "",
                                          put ? "v" : NULL, put, &response)) {
            atomic_fetch_add(&busy_failures, 1);
            break;
        }
        if (response.status >= 300)
            atomic_fetch_add(&busy_failures, 1);
        wire_response_done(&response);
    }
    wire_free(wire);
    return NULL;
}

static void run_busy(struct fixture *fixture)
{
    pthread_t threads[BUSY];
    for (int i = 0; i < BUSY; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, be_busy, fixture), 0);
    for (int i = 0; i < BUSY; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(busy_failures, 0);
}

static void idle_connections_are_held_while_others_work(void **state)
{
    static int idle[IDLE_WANTED];
    unsigned count = idle_possible();
    if (count < 500) {
        print_message("# room for %u idle connections only: raise the limit on open files\n",
                      count);
        skip();
    }
    char most[16];
    snprintf(most, sizeof most, "%u", count + 2 * BUSY);
    struct fixture *fixture = served_start(
        state, (const char *const[]){"--connections-max", most, "--idle-ms-max", "1h", NULL});
    assert_int_equal(wire_ask(fixture->server.port, "PUT", "/keys/k", "", "v", 1, NULL), 201);
    uint64_t threads = status_line(fixture, "Threads:"), files = open_files(fixture);
    uint64_t resident = status_line(fixture, "RssAnon:");
    for (unsigned i = 0; i < count; i++) {
        idle[i] = open_connection(fixture->server.port);
        assert_true(idle[i] >= 0);
        if (i % 2 == 0) /* half of them have asked something, half of them nothing */
            assert_int_equal(ask_on(idle[i], "/livez"), 200);
    }
    print_message("# %u of %u idle connections, %.1f KB each\n", count, IDLE_WANTED,
                  (double)(status_line(fixture, "RssAnon:") - resident) * 1.024 / count);
    run_busy(fixture);
    for (unsigned i = 0; i < count; i++) {
        if (i % 10 == 0)
            assert_int_equal(ask_on(idle[i], "/keys/k"), 200);
        close(idle[i]);
    }
    assert_true(comes_down_to(fixture, threads + 1, files + 1));
    run_busy(fixture);
}

/* ---- coming and going ---- */

/* Some say nothing, some half a head, some half a body, some all of it and do not wait. */
static void come_and_go(const struct fixture *fixture, unsigned number)
{
    static const char *const saying[] = {
        "", "GET /livez HT",
        "PUT /keys/half HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf",
        "GET /keys/k HTTP/1.1\r\nHost: localhost\r\n\r\n"};
    const char *text = saying[number % COUNT_OF(saying)];
    int fd = open_connection(fixture->server.port);
    assert_true(fd >= 0);
    assert_true(send(fd, text, strlen(text), MSG_NOSIGNAL) >= 0);
    if (number % 3 == 0) { /* a reset instead of an end */
        struct linger at_once = {.l_onoff = 1};
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    }
    close(fd);
}

static void connections_that_come_and_go_leave_nothing(void **state)
{
    struct fixture *fixture = served_start(state, NULL);
    for (unsigned i = 0; i < COMING_AND_GOING / 5; i++) /* what allocators keep from then on */
        come_and_go(fixture, i);
    assert_true(comes_to_answer(fixture));
    assert_true(comes_down_to(fixture, 24, 64));
    uint64_t threads = status_line(fixture, "Threads:"), files = open_files(fixture);
    uint64_t resident = status_line(fixture, "RssAnon:");
    for (unsigned i = 0; i < COMING_AND_GOING; i++)
        come_and_go(fixture, i);
    assert_true(comes_to_answer(fixture));
    assert_true(comes_down_to(fixture, threads + 1, files + 1));
    uint64_t now = status_line(fixture, "RssAnon:");
    print_message("# %d connections: RssAnon %llu KiB before, %llu KiB after\n", COMING_AND_GOING,
                  (unsigned long long)resident, (unsigned long long)now);
    if (!SANITIZED)
        assert_true(now < resident + COMING_AND_GOING * 4);
    assert_int_equal(get(fixture, "/keys/half"), 404);
}

/* ---- no files, no threads ---- */

static void out_of_files_those_served_go_on(void **state)
{
    struct fixture *fixture = served_start(state, NULL);
    int served = open_connection(fixture->server.port), waiting[20];
    assert_int_equal(ask_on(served, "/livez"), 200);
    limit(fixture, RLIMIT_NOFILE, open_files(fixture) - 3 + 1);
    for (size_t i = 0; i < COUNT_OF(waiting); i++) /* the kernel's queue takes them */
        waiting[i] = open_connection(fixture->server.port);
    double cpu = cpu_seconds(fixture);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(ask_on(served, "/livez"), 200);
        pause_ms(10);
    }
    cpu = cpu_seconds(fixture) - cpu;
    print_message("# a second without files: %.2f s of CPU\n", cpu);
    assert_true(SANITIZED || cpu < 0.5); /* and not all of a processor */
    assert_true(child_log_gets(&fixture->server, "level=warn"));
    assert_true(child_log_count(&fixture->server, "level=warn") <= WARNINGS_MAX);
    for (size_t i = 0; i < COUNT_OF(waiting); i++)
        close(waiting[i]);
    lift(fixture, RLIMIT_NOFILE);
    assert_true(comes_to_answer(fixture));
    assert_int_equal(ask_on(served, "/livez"), 200);
    close(served);
}

/* A thread's stack is memory that the process may not have any more. */
static void out_of_threads_those_served_go_on(void **state)
{
    if (SANITIZED) {
        print_message("# a sanitizer's address space cannot be limited\n");
        skip();
    }
    struct fixture *fixture = served_start(state, NULL);
    int served = open_connection(fixture->server.port), others[20];
    uint64_t files = open_files(fixture);
    unsigned refused = 0;
    assert_int_equal(ask_on(served, "/livez"), 200);
    limit(fixture, RLIMIT_AS, (status_line(fixture, "VmSize:") << 10) + (2 << 20));
    for (size_t i = 0; i < COUNT_OF(others); i++) {
        others[i] = open_connection(fixture->server.port);
        refused += ask_on(others[i], "/livez") != 200;
    }
    print_message("# %u of %zu were refused\n", refused, COUNT_OF(others));
    assert_true(refused > 0);
    assert_int_equal(ask_on(served, "/livez"), 200);
    assert_true(child_log_gets(&fixture->server, "level=warn"));
    for (size_t i = 0; i < COUNT_OF(others); i++)
        close(others[i]);
    lift(fixture, RLIMIT_AS);
    assert_true(comes_to_answer(fixture));
    assert_true(comes_down_to(fixture, status_line(fixture, "Threads:"), files + 1));
    assert_int_equal(ask_on(served, "/livez"), 200);
    close(served);
}

/* ---- metrics ---- */

static size_t series(const struct fixture *fixture)
{
    char *metrics = NULL;
    size_t lines = 0;
    assert_int_equal(wire_ask(fixture->server.port, "GET", "/metrics", "", NULL, 0, &metrics), 200);
    for (const char *at = metrics; *at != '\0'; at++)
        lines += *at == '\n';
    free(metrics);
    return lines;
}

static void metrics_do_not_grow_with_urls_methods_and_hosts(void **state)
{
    static const char *const methods[] = {"GET", "PUT", "DELETE", NULL /* one of its own */};
    static const char *const folders[] = {"/keys/", "/problems/", "/admin/compactions/", "/"};
    struct fixture *fixture = served_start(state, NULL);
    static struct wire wire;
    size_t before = series(fixture); /* and its own is there from now on */
    wire.fd = -1;
    for (unsigned i = 0; i < URLS + 64; i++) {
        struct wire_response response;
        char target[100], method[16], host[40] = "";
        snprintf(method, sizeof method, "M%u", i);
        if (i % 3 == 0) /* an absolute target names a host; a route is found for it all the same */
            snprintf(host, sizeof host, "http://host%u.example", i);
        snprintf(target, sizeof target, "%s%s%x?q%u", host, folders[i / 4 % 4], i * 2654435761u,
                 i % 7);
        if (i == 64) /* each kind of them was there */
            before = series(fixture);
        if (wire.fd < 0)
            assert_true(wire_open(&wire, fixture->server.port));
        assert_true(wire_request(&wire, methods[i % 4] != NULL ? methods[i % 4] : method, target,
                                 "", NULL, 0, &response));
        assert_true(response.status >= 400);
        if (strstr(response.head, "Connection: close") != NULL)
            wire_close(&wire);
        wire_response_done(&response);
    }
    assert_int_equal(series(fixture), before);
    wire_close(&wire);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest promises[] = {
        WITH_SERVER("ten thousand idle connections are held while 64 others work",
                    idle_connections_are_held_while_others_work),
        WITH_SERVER("five thousand connections that come and go leave nothing",
                    connections_that_come_and_go_leave_nothing),
        WITH_SERVER("out of files those served go on, and later the others",
                    out_of_files_those_served_go_on),
        WITH_SERVER("out of threads those served go on, and later the others",
                    out_of_threads_those_served_go_on),
        WITH_SERVER("metrics do not grow with ten thousand URLs, methods and hosts",
                    metrics_do_not_grow_with_urls_methods_and_hosts),
    };
    return test_main(argc, argv, "crowd", promises);
}
