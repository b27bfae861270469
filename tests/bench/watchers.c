/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients that follow the feed of changes as events, and do nothing with them.
 *
 *     watchers PORT COUNT
 *
 * Says "ready" once all streams are open. On SIGTERM it says how many events came, over all of them.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/measure.h"

enum { COUNT_MAX = 4000, READ_BYTES = 64 << 10 };

static volatile sig_atomic_t ended;

static void end(int signal_number)
{
    (void)signal_number;
    ended = 1;
}

static int follow(uint16_t port)
{
    static const char request[] =
        "GET /changes HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n";
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client < 0 || connect(client, (struct sockaddr *)&address, sizeof address) != 0)
        fail("connect: %m");
    if (send(client, request, strlen(request), MSG_NOSIGNAL) < 0)
        fail("send: %m");
    return client;
}

/* Reads what there is; how many events of it begin there. */
static unsigned long read_events(int client)
{
    static char text[READ_BYTES + 1];
    ssize_t got = recv(client, text, READ_BYTES, 0);
    unsigned long events = 0;
    if (got <= 0)
        fail("a stream ended");
    text[got] = '\0';
    for (const char *at = text; (at = strstr(at, "\nevent: ")) != NULL; at++)
        events++;
    return events;
}

int main(int argc, char **argv)
{
    static struct pollfd clients[COUNT_MAX];
    unsigned long events = 0, count = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
    if (count == 0 || count > COUNT_MAX)
        fail("usage: watchers PORT COUNT");
    signal(SIGTERM, end);
    for (unsigned long i = 0; i < count; i++)
        clients[i] = (struct pollfd){follow((uint16_t)strtoul(argv[1], NULL, 10)), POLLIN, 0};
    for (unsigned long i = 0; i < count; i++)
        read_events(clients[i].fd); /* the head, or a part of it: it is one of those who watch */
    puts("ready");
    fflush(stdout);
    while (!ended) {
        if (poll(clients, count, -1) < 0 && errno != EINTR)
            fail("poll: %m");
        for (unsigned long i = 0; i < count && !ended; i++)
            if (clients[i].revents != 0)
                events += read_events(clients[i].fd);
    }
    printf("%lu events\n", events);
    return 0;
}
