/* SPDX-License-Identifier: Apache-2.0 */
/* Signals, the drain, and sd_notify by hand. */
#include "drain.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    STEP_MS = 10,
    QUIET_STEPS = 3, /* a request may sit in a socket, or between two phases, when we look */
};

/* Signals belong to the whole process, and so does this. Set by drain_request before it raises
 * SIGUSR1; read by drain_wait after that came. */
static atomic_int requested_exit_code;

/* ---- signals ---- */

static sigset_t awaited_signals(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGUSR1); /* drain_request */
    return signals;
}

void drain_prepare(void)
{
    sigset_t signals = awaited_signals();
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGHUP, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes (ulimit -f) is a full disk */
}

void drain_request(int exit_code)
{
    atomic_store(&requested_exit_code, exit_code);
    kill(getpid(), SIGUSR1);
}

static void end_at_once(int signal_number)
{
    (void)signal_number;
    _exit(1);
}

int drain_wait(void)
{
    sigset_t signals = awaited_signals();
    int signal_number = 0;
    while (sigwait(&signals, &signal_number) != 0)
        ;
    /* Handled, not default: the default does not end a container's first process. */
    signal(SIGTERM, end_at_once);
    signal(SIGINT, end_at_once);
    sigdelset(&signals, SIGUSR1);
    pthread_sigmask(SIG_UNBLOCK, &signals, NULL);
    return signal_number == SIGUSR1 ? atomic_load(&requested_exit_code) : 0;
}

/* ---- the service manager ---- */

static void notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (path == NULL || strlen(path) >= sizeof address.sun_path)
        return;
    memcpy(address.sun_path, path, strlen(path));
    if (address.sun_path[0] == '@')
        address.sun_path[0] = '\0'; /* an abstract name */
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    /* Nothing to do when it fails: the manager has its own time limits. */
    sendto(fd, state, strlen(state), MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&address,
           size);
    close(fd);
}

void drain_reached(enum drain_milestone milestone)
{
    static atomic_uint reached;
    unsigned before = atomic_fetch_or(&reached, (unsigned)milestone);
    if (before != (DRAIN_LISTENING | DRAIN_LOADED) &&
        (before | (unsigned)milestone) == (DRAIN_LISTENING | DRAIN_LOADED))
        notify("READY=1");
}

/* ---- the drain ---- */

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

/* Returns how many requests are still under way. */
static size_t wait_for_requests(struct server *server, uint64_t drain_ms)
{
    unsigned quiet_steps = 0;
    for (uint64_t waited_ms = 0;; waited_ms += STEP_MS) {
        size_t busy = server_busy(server);
        quiet_steps = busy == 0 ? quiet_steps + 1 : 0;
        if (quiet_steps == QUIET_STEPS || waited_ms >= drain_ms)
            return busy;
        pause_ms(STEP_MS);
    }
}

void drain_run(struct server *server, struct api *api, uint64_t drain_ms, struct logger *logger)
{
    notify("STOPPING=1");
    api_drain(api);
    server_quiesce(server);
    logger_say(logger, LOGGER_INFO, "stopping"); /* after it: who reads it can rely on both */
    size_t left = wait_for_requests(server, drain_ms);
    if (left > 0) {
        struct logger_line line;
        logger_begin(&line, logger, LOGGER_WARN, "requests given up after drain_ms");
        logger_number(&line, "requests", left);
        logger_end(&line);
        server_cancel(server);
    }
    server_stop(server);
}
