/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses and the listening socket. */
#include "listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static const char unix_prefix[] = "unix:";

enum { BACKLOG = 4096 };

/* ---- addresses ---- */

MUST_CHECK static enum status parse_unix(const char *path, struct listener_address *out_address,
                                         struct failure *failure)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (*path == '\0' || strlen(path) >= sizeof address.sun_path)
        return failure_set(failure, STATUS_INVALID,
                           "listen: the path of a Unix socket has 1 to %zu bytes, '%s' has %zu",
                           sizeof address.sun_path - 1, path, strlen(path));
    memcpy(address.sun_path, path, strlen(path));
    *out_address =
        (struct listener_address){.size = sizeof address, .unix_socket = true, .loopback = true};
    memcpy(&out_address->address, &address, sizeof address);
    return STATUS_OK;
}

/* Splits at the last colon, and takes the brackets off; false when there is no host or no port. */
static bool split(const char *text, char *host, size_t host_size, const char **out_port)
{
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon == text || colon[1] == '\0')
        return false;
    size_t size = (size_t)(colon - text);
    bool bracketed = text[0] == '[' && size > 2 && text[size - 1] == ']';
    if (bracketed) {
        text++;
        size -= 2;
    } else if (memchr(text, ':', size) != NULL) {
        return false; /* an IPv6 address without brackets */
    }
    if (size >= host_size)
        return false;
    memcpy(host, text, size);
    host[size] = '\0';
    *out_port = colon + 1;
    return true;
}

static bool is_loopback(const struct sockaddr_storage *address)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    if (address->ss_family == AF_INET) {
        memcpy(&v4, address, sizeof v4);
        return ntohl(v4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    }
    memcpy(&v6, address, sizeof v6);
    return IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr);
}

enum status listener_parse(const char *text, struct listener_address *out_address,
                           struct failure *failure)
{
    if (strncmp(text, unix_prefix, strlen(unix_prefix)) == 0)
        return parse_unix(text + strlen(unix_prefix), out_address, failure);
    char host[256];
    const char *port;
    if (!split(text, host, sizeof host, &port))
        return failure_set(failure, STATUS_INVALID,
                           "listen: '%s' is not HOST:PORT, [IPV6]:PORT or unix:PATH; every address "
                           "of the machine is 0.0.0.0:PORT or [::]:PORT",
                           text);
    if (strspn(port, "0123456789") != strlen(port) || strlen(port) > 5 || atoi(port) > 65535)
        return failure_set(failure, STATUS_INVALID, "listen: '%s' is not a port from 0 to 65535",
                           port);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    hints.ai_family = strcmp(host, "localhost") == 0 ? AF_INET : AF_UNSPEC;
    struct addrinfo *found;
    int error = getaddrinfo(host, port, &hints, &found);
    if (error != 0)
        return failure_set(failure, STATUS_INVALID, "listen: '%s' is no address: %s", host,
                           gai_strerror(error));
    *out_address = (struct listener_address){.size = found->ai_addrlen};
    memcpy(&out_address->address, found->ai_addr, found->ai_addrlen);
    out_address->loopback = is_loopback(&out_address->address);
    freeaddrinfo(found);
    return STATUS_OK;
}

void listener_address_text(const struct sockaddr *address, bool with_port, char *out,
                           size_t out_size)
{
    char host[INET6_ADDRSTRLEN] = "";
    bool v6 = address->sa_family == AF_INET6;
    uint16_t port = 0;
    if (v6) {
        struct sockaddr_in6 inet6;
        memcpy(&inet6, address, sizeof inet6);
        inet_ntop(AF_INET6, &inet6.sin6_addr, host, sizeof host);
        port = ntohs(inet6.sin6_port);
    } else if (address->sa_family == AF_INET) {
        struct sockaddr_in inet;
        memcpy(&inet, address, sizeof inet);
        inet_ntop(AF_INET, &inet.sin_addr, host, sizeof host);
        port = ntohs(inet.sin_port);
    } else {
        snprintf(out, out_size, "unix");
        return;
    }
    if (with_port)
        snprintf(out, out_size, v6 ? "[%s]:%u" : "%s:%u", host, port);
    else
        snprintf(out, out_size, "%s", host);
}

/* ---- the socket ---- */

/* Removes a socket file that a server left behind; one that answers stays, and bind will fail. */
static void remove_stale(const struct listener_address *address)
{
    const char *path = ((const struct sockaddr_un *)&address->address)->sun_path;
    struct stat status;
    if (lstat(path, &status) != 0 || !S_ISSOCK(status.st_mode))
        return;
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (probe < 0)
        return;
    if (connect(probe, (const struct sockaddr *)&address->address, address->size) != 0 &&
        errno == ECONNREFUSED)
        unlink(path);
    close(probe);
}

/* 0, or -1 with errno. */
static int bind_and_listen(int fd, const struct listener_address *address)
{
    const int on = 1, off = 0;
    if (address->address.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off); /* [::] serves IPv4 too */
    if (!address->unix_socket)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (const struct sockaddr *)&address->address, address->size) != 0)
        return -1;
    return listen(fd, BACKLOG);
}

static void name_of(const struct sockaddr_storage *address, char *out, size_t out_size)
{
    if (address->ss_family == AF_UNIX)
        snprintf(out, out_size, "%s%s", unix_prefix,
                 ((const struct sockaddr_un *)address)->sun_path);
    else
        listener_address_text((const struct sockaddr *)address, true, out, out_size);
}

/* The address given, and the port that the system picked for 0. */
static void name_it(struct listener *listener)
{
    struct sockaddr_storage bound = listener->address.address;
    socklen_t size = sizeof bound;
    if (!listener->address.unix_socket)
        getsockname(listener->fd, (struct sockaddr *)&bound, &size);
    name_of(&bound, listener->name, sizeof listener->name);
}

enum status listener_open(const struct listener_address *address, struct listener *out_listener,
                          struct failure *failure)
{
    struct listener listener = {.address = *address};
    if (address->unix_socket)
        remove_stale(address);
    listener.fd = socket(address->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (listener.fd < 0 || bind_and_listen(listener.fd, address) != 0) {
        int error = errno;
        char name[sizeof listener.name];
        if (listener.fd >= 0)
            close(listener.fd);
        name_of(&address->address, name, sizeof name);
        return failure_set(
            failure, STATUS_IO, "cannot listen on %s: %s%s", name, strerror(error),
            error == EADDRINUSE ? "; end the process that uses it, or set listen to another" : "");
    }
    name_it(&listener);
    *out_listener = listener;
    return STATUS_OK;
}

void listener_close(struct listener *listener)
{
    if (listener->fd < 0)
        return;
    close(listener->fd);
    if (listener->address.unix_socket)
        unlink(((struct sockaddr_un *)&listener->address.address)->sun_path);
    listener->fd = -1;
}
