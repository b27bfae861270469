/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket that clients connect to: from the text of the setting `listen` to a descriptor that is
 * bound and listening. Used by main at start and stop only.
 */
#ifndef KEYREST_SERVICE_LISTENER_H
#define KEYREST_SERVICE_LISTENER_H

#include <stdbool.h>
#include <sys/socket.h>

#include "../engine/scope.h"
#include "../engine/status.h"

struct listener_address {
    struct sockaddr_storage address;
    socklen_t size;
    bool unix_socket;
    bool loopback; /* only this machine reaches it; Unix sockets too */
};

/* HOST:PORT, [IPV6]:PORT or unix:PATH. INVALID: `failure` says what is wrong with the text. */
MUST_CHECK enum status listener_parse(const char *text, struct listener_address *out_address,
                                      struct failure *failure);

struct listener {
    int fd; /* non-blocking */
    struct listener_address address;
    char name[160]; /* as in the log: with the port that was picked */
};

/* IO: taken, or not allowed. A socket file that nobody serves any more is replaced. */
MUST_CHECK enum status listener_open(const struct listener_address *address,
                                     struct listener *out_listener, struct failure *failure);
void listener_close(struct listener *listener); /* a Unix socket's file goes too */

/* "127.0.0.1" or "127.0.0.1:7070", "[::1]:7070", "unix". */
void listener_address_text(const struct sockaddr *address, bool with_port, char *out,
                           size_t out_size);

#endif
