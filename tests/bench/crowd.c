/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients that ask once and then keep their connection open without a word.
 *
 *     crowd PORT COUNT
 *
 * Says "ready" once all were answered, and keeps the connections until it is killed.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/measure.h"

static void join(uint16_t port)
{
    static const char request[] = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char answer[4096];
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client < 0 || connect(client, (struct sockaddr *)&address, sizeof address) != 0)
        fail("connect: %m");
    if (send(client, request, strlen(request), MSG_NOSIGNAL) < 0 ||
        recv(client, answer, sizeof answer, 0) <= 0 ||
        strncmp(answer, "HTTP/1.1 200", strlen("HTTP/1.1 200")) != 0)
        fail("a connection was not answered 200");
}

int main(int argc, char **argv)
{
    struct rlimit limit;
    if (argc != 3)
        fail("usage: crowd PORT COUNT");
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    for (unsigned long count = strtoul(argv[2], NULL, 10); count > 0; count--)
        join((uint16_t)strtoul(argv[1], NULL, 10));
    puts("ready");
    fflush(stdout);
    for (;;)
        pause();
}
