/* SPDX-License-Identifier: Apache-2.0 */
/* A chained table by address; a client is forgotten with its last connection. */
#include "client.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

/* The address as a number that is never 0 for a client that is counted. */
static uint64_t number_of(const struct sockaddr *address)
{
    uint64_t number = 0;
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 inet6;
        memcpy(&inet6, address, sizeof inet6);
        /* ::ffff:1.2.3.4 and ::1 differ in their second half only */
        uint64_t halves[2];
        memcpy(halves, &inet6.sin6_addr, sizeof halves);
        number = halves[0] != 0 ? halves[0] : halves[1];
    } else if (address->sa_family == AF_INET) {
        struct sockaddr_in inet;
        memcpy(&inet, address, sizeof inet);
        number = inet.sin_addr.s_addr;
    }
    return number;
}

static struct client **bucket_of(struct clients *clients, uint64_t address)
{
    return &clients->buckets[address * UINT64_C(0x9e3779b97f4a7c15) >> 54];
}

_Static_assert(CLIENT_BUCKETS == 1 << (64 - 54), "the hash's top bits pick the bucket");

struct client *clients_enter(struct clients *clients, const struct sockaddr *address)
{
    uint64_t number = number_of(address);
    if (number == 0)
        return NULL;
    struct client **bucket = bucket_of(clients, number), *client = *bucket;
    while (client != NULL && client->address != number)
        client = client->next;
    if (client == NULL) {
        client = calloc(1, sizeof *client);
        if (client == NULL)
            return NULL;
        client->address = number;
        client->next = *bucket;
        *bucket = client;
    }
    client->connections++;
    return client;
}

void clients_leave(struct clients *clients, struct client *client)
{
    if (client == NULL || --client->connections > 0)
        return;
    struct client **at = bucket_of(clients, client->address);
    while (*at != client)
        at = &(*at)->next;
    *at = client->next;
    free(client);
}
