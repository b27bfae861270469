/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An open loop: requests come at a fixed rate, whether or not the earlier ones were answered, as
 * requests of independent users do. Each has the moment at which it is due; it is sent on the first
 * connection that is free from then on, and its latency counts from the moment it was due. So a
 * server that stalls is charged for all who came meanwhile (no coordinated omission).
 *
 *     pace PORT CONNECTIONS RATE SECONDS FILE STATUS [CASE CONTENDER ROUND]
 *
 * FILE is of requests.c; any answer whose status does not begin with STATUS ends the program. Prints
 * rows of latencies and of the rate that was reached. One thread.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "lib/measure.h"

enum { ANSWER_BYTES_MAX = 2 << 20, EVENTS = 64 };

struct request {
    const char *data;
    size_t size;
};

struct connection {
    int socket;
    struct request left; /* of the request, not yet sent */
    uint64_t due_ns;     /* of the request under way */
    char *answer;
    size_t received, wanted; /* wanted: of head and body; 0 while the head is not complete */
    bool chunked;
};

struct load {
    struct request *requests;
    size_t request_count;
    const char *status;
    struct connection *connections, **idle; /* a stack */
    size_t idle_count;
    int epoll;
    uint64_t begun_ns, total, sent, answered;
    double interval_ns;
    struct latencies latencies;
};

/* ---- the file ------------------------------------------------------------------------------- */

static void read_requests(struct load *load, const char *path)
{
    FILE *file = fopen(path, "rb");
    size_t size;
    if (file == NULL)
        fail("%s: %m", path);
    while (fscanf(file, "%zu", &size) == 1) {
        char *data = allocate(1, size);
        if (fgetc(file) != '\n' || fread(data, 1, size, file) != size)
            fail("%s is cut", path);
        load->requests =
            realloc(load->requests, (load->request_count + 1) * sizeof *load->requests);
        if (load->requests == NULL)
            fail("no memory");
        load->requests[load->request_count++] = (struct request){data, size};
    }
    fclose(file);
    if (load->request_count == 0)
        fail("%s is empty", path);
}

/* ---- one connection ------------------------------------------------------------------------- */

static void connect_to(struct load *load, struct connection *connection, uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    connection->socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection->socket < 0 ||
        connect(connection->socket, (struct sockaddr *)&address, sizeof address) != 0)
        fail("connect: %m");
    setsockopt(connection->socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = connection};
    if (epoll_ctl(load->epoll, EPOLL_CTL_ADD, connection->socket, &event) != 0)
        fail("epoll: %m");
    connection->answer = allocate(1, ANSWER_BYTES_MAX);
    load->idle[load->idle_count++] = connection;
}

static void send_more(struct connection *connection)
{
    while (connection->left.size > 0) {
        ssize_t sent = send(connection->socket, connection->left.data, connection->left.size,
                            MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (sent < 0)
            fail("send: %m");
        connection->left.data += sent;
        connection->left.size -= (size_t)sent;
    }
}

/* Sets what an answer takes once its head is there. */
static void read_head(const struct load *load, struct connection *connection)
{
    const char *end = memmem(connection->answer, connection->received, "\r\n\r\n", 4);
    if (end == NULL)
        return;
    size_t head = (size_t)(end - connection->answer) + 4;
    connection->answer[head - 1] = '\0'; /* the head is text now */
    if (strncmp(connection->answer + strlen("HTTP/1.1 "), load->status, strlen(load->status)) != 0)
        fail("answered: %s", connection->answer);
    bool without_body = strncmp(connection->answer + strlen("HTTP/1.1 "), "304", 3) == 0;
    const char *length = strcasestr(connection->answer, "\ncontent-length:");
    connection->chunked = strcasestr(connection->answer, "\ntransfer-encoding: chunked") != NULL;
    connection->wanted = head + (length != NULL && !without_body
                                     ? strtoull(length + strlen("\ncontent-length:"), NULL, 10)
                                     : 0);
}

static bool complete(const struct connection *connection)
{
    static const char end[] = "0\r\n\r\n";
    if (connection->wanted == 0)
        return false;
    if (!connection->chunked)
        return connection->received >= connection->wanted;
    return memcmp(connection->answer + connection->received - strlen(end), end, strlen(end)) == 0;
}

static void receive(struct load *load, struct connection *connection)
{
    for (;;) {
        ssize_t size = recv(connection->socket, connection->answer + connection->received,
                            ANSWER_BYTES_MAX - connection->received, MSG_DONTWAIT);
        if (size < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (size <= 0)
            fail("the server closed a connection");
        connection->received += (size_t)size;
        if (connection->wanted == 0)
            read_head(load, connection);
        if (!complete(connection))
            continue;
        latencies_add(&load->latencies, now_ns() - connection->due_ns);
        load->answered++;
        connection->received = connection->wanted = 0;
        load->idle[load->idle_count++] = connection;
        return;
    }
}

/* ---- all of them ---------------------------------------------------------------------------- */

static uint64_t due_ns(const struct load *load, uint64_t number)
{
    return load->begun_ns + (uint64_t)((double)number * load->interval_ns);
}

static void send_due(struct load *load)
{
    while (load->sent < load->total && load->idle_count > 0 &&
           due_ns(load, load->sent) <= now_ns()) {
        struct connection *connection = load->idle[--load->idle_count];
        connection->left = load->requests[load->sent % load->request_count];
        connection->due_ns = due_ns(load, load->sent++);
        send_more(connection);
    }
}

static void wait_for_events(struct load *load)
{
    struct epoll_event events[EVENTS];
    uint64_t now = now_ns(), due = due_ns(load, load->sent);
    uint64_t wait = 1000000000;
    if (load->sent < load->total && load->idle_count > 0)
        wait = due > now ? due - now : 0;
    struct timespec timeout = {(time_t)(wait / 1000000000), (long)(wait % 1000000000)};
    int count = epoll_pwait2(load->epoll, events, EVENTS, &timeout, NULL);
    for (int i = 0; i < count; i++) {
        struct connection *connection = events[i].data.ptr;
        send_more(connection);
        receive(load, connection);
    }
}

int main(int argc, char **argv)
{
    if (argc != 7 && argc != 10)
        fail("usage: pace PORT CONNECTIONS RATE SECONDS FILE STATUS [CASE CONTENDER ROUND]");
    size_t count = strtoul(argv[2], NULL, 10);
    double rate = strtod(argv[3], NULL);
    struct load load = {.status = argv[6],
                        .connections = allocate(count, sizeof *load.connections),
                        .idle = allocate(count, sizeof(struct connection *)),
                        .epoll = epoll_create1(EPOLL_CLOEXEC),
                        .total = (uint64_t)(rate * strtod(argv[4], NULL)),
                        .interval_ns = 1e9 / rate};
    read_requests(&load, argv[5]);
    latencies_init(&load.latencies, load.total);
    for (size_t i = 0; i < count; i++)
        connect_to(&load, &load.connections[i], (uint16_t)strtoul(argv[1], NULL, 10));
    load.begun_ns = now_ns();
    while (load.answered < load.total) {
        send_due(&load);
        wait_for_events(&load);
    }
    if (argc == 10) {
        unsigned round = (unsigned)strtoul(argv[9], NULL, 10);
        row(argv[7], argv[8], "rate", round,
            (double)load.total * 1e9 / (double)(now_ns() - load.begun_ns));
        latencies_rows(&load.latencies, argv[7], argv[8], round);
    }
    return 0;
}
