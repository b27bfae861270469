/* SPDX-License-Identifier: Apache-2.0 */
/* A very small HTTP client over a socket that waits at most until a deadline. */
#include "probe.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../engine/time_source.h"

struct target {
    struct sockaddr_storage address;
    socklen_t address_size;
    const char *path;
};

/* False with a message on standard error. */
static bool fail(const char *what, const char *detail)
{
    fprintf(stderr, "keyrest health: %s%s%s\n", what, *detail == '\0' ? "" : ": ", detail);
    return false;
}

static bool parse_unix(const char *path, struct target *out)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (*path == '\0' || strlen(path) >= sizeof address.sun_path)
        return fail("the path of a Unix socket is missing or too long", path);
    memcpy(address.sun_path, path, strlen(path));
    memcpy(&out->address, &address, sizeof address);
    out->address_size = sizeof address;
    out->path = "/livez";
    return true;
}

static bool resolve(const char *host, const char *port, struct target *out)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    int error = getaddrinfo(host, port, &hints, &found);
    if (error != 0)
        return fail(host, gai_strerror(error));
    memcpy(&out->address, found->ai_addr, found->ai_addrlen);
    out->address_size = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

static bool parse_http(const char *authority, struct target *out)
{
    size_t size = strcspn(authority, "/");
    out->path = authority[size] == '\0' ? "/" : authority + size;
    char host[256];
    if (size == 0 || size >= sizeof host)
        return fail("the URL has no host, or a very long one", "");
    memcpy(host, authority, size);
    host[size] = '\0';
    char *colon = strrchr(host, ':'), *bracket = strrchr(host, ']');
    const char *port = "80";
    if (colon != NULL && (bracket == NULL || colon > bracket)) {
        *colon = '\0';
        port = colon + 1;
    }
    if (host[0] != '[' || bracket == NULL)
        return resolve(host, port, out);
    *bracket = '\0';
    return resolve(host + 1, port, out);
}

/* ---- sockets that wait until a deadline ---- */

static uint64_t now_ms(void)
{
    const struct time_source *time = time_source_system();
    return time->monotonic_ns(time) / 1000000;
}

static bool wait_for(int fd, short events, uint64_t deadline_ms)
{
    struct pollfd poll_fd = {.fd = fd, .events = events};
    uint64_t now = now_ms();
    return (now < deadline_ms && poll(&poll_fd, 1, (int)(deadline_ms - now)) == 1) ||
           fail("no answer in time", "");
}

static bool connect_to(int fd, const struct target *target, uint64_t deadline_ms)
{
    int error = 0;
    socklen_t size = sizeof error;
    if (connect(fd, (const struct sockaddr *)&target->address, target->address_size) != 0)
        error = errno;
    if (error == EINPROGRESS) {
        if (!wait_for(fd, POLLOUT, deadline_ms))
            return false;
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    }
    return error == 0 || fail("cannot connect", strerror(error));
}

/* Reads until the end of the status line, or of the buffer. */
static bool read_status_line(int fd, uint64_t deadline_ms, char *line, size_t capacity)
{
    size_t size = 0;
    line[0] = '\0';
    while (size + 1 < capacity && strchr(line, '\n') == NULL) {
        if (!wait_for(fd, POLLIN, deadline_ms))
            return false;
        ssize_t got = recv(fd, line + size, capacity - 1 - size, 0);
        if (got <= 0)
            return fail("the connection ended before an answer", got < 0 ? strerror(errno) : "");
        size += (size_t)got;
        line[size] = '\0';
    }
    line[strcspn(line, "\r\n")] = '\0';
    return true;
}

static bool ask(int fd, const struct target *target)
{
    char request[2048], line[256];
    uint64_t deadline_ms = now_ms() + PROBE_MS_MAX;
    int size = snprintf(request, sizeof request, "GET %s HTTP/1.0\r\n\r\n", target->path);
    if ((size_t)size >= sizeof request)
        return fail("the URL is too long", "");
    if (!connect_to(fd, target, deadline_ms))
        return false;
    if (send(fd, request, (size_t)size, MSG_NOSIGNAL) != size)
        return fail("cannot send", strerror(errno));
    if (!read_status_line(fd, deadline_ms, line, sizeof line))
        return false;
    bool healthy =
        strncmp(line, "HTTP/1.", 7) == 0 && strlen(line) >= 12 && strncmp(line + 8, " 2", 2) == 0;
    return healthy || fail("answered", line);
}

int probe_run(const char *url)
{
    static const char http[] = "http://", unix_prefix[] = "unix:";
    struct target target;
    bool parsed;
    if (strncmp(url, http, strlen(http)) == 0)
        parsed = parse_http(url + strlen(http), &target);
    else if (strncmp(url, unix_prefix, strlen(unix_prefix)) == 0)
        parsed = parse_unix(url + strlen(unix_prefix), &target);
    else
        parsed = fail("give http://HOST[:PORT][/PATH] or unix:SOCKET, not", url);
    if (!parsed)
        return 2;
    int fd = socket(target.address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool healthy = fd >= 0 ? ask(fd, &target) : fail("no socket", strerror(errno));
    if (fd >= 0)
        close(fd);
    return healthy ? 0 : 1;
}
