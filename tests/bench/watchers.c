/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients that watch: opens COUNT streams of events at 127.0.0.1:PORT, prints a line once all are
 * open, and puts WRITES times a second, evenly. On SIGTERM it prints how many events came, and how
 * many puts were answered.
 *
 *     watchers PORT COUNT WRITES
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { COUNT_MAX = 10000, READ_BYTES = 64 << 10 };

/* The writer is in front of them, then the clock. */
static struct pollfd sockets[COUNT_MAX + 2];
static volatile sig_atomic_t ended;

static void end(int signal_number)
{
    (void)signal_number;
    ended = 1;
}

static int fail(const char *what)
{
    perror(what);
    exit(1);
}

static int open_socket(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        fail("connect");
    return fd;
}

static void send_text(int fd, const char *text)
{
    if (send(fd, text, strlen(text), MSG_NOSIGNAL) != (ssize_t)strlen(text))
        fail("send");
}

static int open_watcher(uint16_t port)
{
    int fd = open_socket(port);
    send_text(fd, "GET /changes HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n");
    return fd;
}

static int open_clock(unsigned writes)
{
    int fd = timerfd_create(CLOCK_MONOTONIC, 0);
    long ns = writes > 0 ? 1000000000 / (long)writes : 0;
    struct itimerspec every = {.it_interval = {0, ns}, .it_value = {0, ns}};
    if (fd < 0 || timerfd_settime(fd, 0, &every, NULL) != 0)
        fail("timerfd");
    return fd;
}

/* How often `word` is in what can be read; 0 at the end of the stream is a failure. */
static unsigned count_word(int fd, const char *word)
{
    static char text[READ_BYTES + 1];
    ssize_t got = recv(fd, text, READ_BYTES, 0);
    unsigned count = 0;
    if (got <= 0)
        fail("a stream ended");
    text[got] = '\0';
    for (const char *at = text; (at = strstr(at, word)) != NULL; at++)
        count++;
    return count;
}

static unsigned long put_once(int fd, int clock)
{
    uint64_t ticks;
    if (read(clock, &ticks, sizeof ticks) != sizeof ticks)
        return 0;
    send_text(fd, "PUT /keys/watched HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx");
    return count_word(fd, "HTTP/1.1 20");
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    uint16_t port = (uint16_t)atoi(argv[1]);
    unsigned long count = strtoul(argv[2], NULL, 10), events = 0, answered = 0;
    unsigned writes = (unsigned)atoi(argv[3]);
    if (count > COUNT_MAX)
        return 2;
    signal(SIGTERM, end);
    sockets[0] = (struct pollfd){.fd = open_socket(port)};
    sockets[1] = (struct pollfd){.fd = open_clock(writes), .events = POLLIN};
    for (unsigned long i = 2; i < count + 2; i++)
        sockets[i] = (struct pollfd){.fd = open_watcher(port), .events = POLLIN};
    for (unsigned long i = 2; i < count + 2; i++)
        count_word(sockets[i].fd, "retry: "); /* waits for its head */
    puts("watching");
    fflush(stdout);
    while (!ended) {
        if (poll(sockets, count + 2, -1) < 0 && errno != EINTR)
            fail("poll");
        if (sockets[1].revents != 0 && !ended)
            answered += put_once(sockets[0].fd, sockets[1].fd);
        for (unsigned long i = 2; i < count + 2 && !ended; i++)
            if (sockets[i].revents != 0)
                events += count_word(sockets[i].fd, "\nevent: ");
    }
    printf("%lu events, %lu puts\n", events, answered);
    return 0;
}
