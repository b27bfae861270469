/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many connections each client address has, for connections_per_client_max. An IPv6 client is
 * its /64; clients of a Unix socket are not counted.
 *
 * Threads: the one that accepts and closes connections, alone.
 */
#ifndef KEYREST_SERVICE_CLIENT_H
#define KEYREST_SERVICE_CLIENT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "../engine/scope.h"

enum { CLIENT_BUCKETS = 1024 };

struct client {
    struct client *next;
    uint64_t address;
    uint64_t connections;
};

/* Zero is its initial state; empty again once every connection has left. */
struct clients {
    struct client *buckets[CLIENT_BUCKETS];
};

/* Counts one more connection of `address`. NULL: not counted, or no memory. */
MUST_CHECK struct client *clients_enter(struct clients *clients, const struct sockaddr *address);

/* Counts one less. NULL is allowed. */
void clients_leave(struct clients *clients, struct client *client);

#endif
