/* SPDX-License-Identifier: Apache-2.0 */
/* One blocking socket and a buffer behind it. */
#include "wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { READ_SECONDS = 20 };

bool wire_open(struct wire *wire, uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct timeval patience = {READ_SECONDS, 0};
    int on = 1;
    wire->begin = wire->end = 0;
    wire->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (wire->fd < 0)
        return false;
    setsockopt(wire->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(wire->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(wire->fd, (struct sockaddr *)&address, sizeof address) == 0)
        return true;
    wire_close(wire);
    return false;
}

void wire_close(struct wire *wire)
{
    if (wire->fd >= 0)
        close(wire->fd);
    wire->fd = -1;
}

struct wire *wire_make(uint16_t port)
{
    struct wire *wire = malloc(sizeof *wire);
    if (wire != NULL && wire_open(wire, port))
        return wire;
    free(wire);
    return NULL;
}

void wire_free(struct wire *wire)
{
    if (wire != NULL)
        wire_close(wire);
    free(wire);
}

bool wire_send(struct wire *wire, const void *bytes, size_t size)
{
    const char *next = bytes;
    while (size > 0) {
        ssize_t sent = send(wire->fd, next, size, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR)
            return false;
        if (sent > 0) {
            next += sent;
            size -= (size_t)sent;
        }
    }
    return true;
}

bool wire_print(struct wire *wire, const char *format, ...)
{
    va_list arguments;
    char *text = NULL;
    va_start(arguments, format);
    int size = vasprintf(&text, format, arguments);
    va_end(arguments);
    bool sent = size >= 0 && wire_send(wire, text, (size_t)size);
    free(text);
    return sent;
}

/* Reads more behind what is there. */
static bool fill(struct wire *wire)
{
    if (wire->begin > 0) {
        memmove(wire->buffer, wire->buffer + wire->begin, wire->end - wire->begin);
        wire->end -= wire->begin;
        wire->begin = 0;
    }
    if (wire->end == WIRE_BUFFER_BYTES)
        return false;
    ssize_t got;
    do
        got = recv(wire->fd, wire->buffer + wire->end, WIRE_BUFFER_BYTES - wire->end, 0);
    while (got < 0 && errno == EINTR);
    if (got <= 0)
        return false;
    wire->end += (size_t)got;
    return true;
}

static bool read_head(struct wire *wire, struct wire_response *response)
{
    for (;;) {
        const char *start = wire->buffer + wire->begin;
        size_t size = wire->end - wire->begin;
        const char *end = size > 0 ? memmem(start, size, "\r\n\r\n", 4) : NULL;
        if (end != NULL) {
            size_t head = (size_t)(end - start) + 4;
            if (head >= sizeof response->head)
                return false;
            memcpy(response->head, start, head);
            response->head[head] = '\0';
            wire->begin += head;
            return sscanf(response->head, "HTTP/1.1 %3u", &response->status) == 1;
        }
        if (!fill(wire))
            return false;
    }
}

static bool read_body(struct wire *wire, size_t size, struct wire_response *response)
{
    response->body = malloc(size + 1);
    for (size_t have = 0; have < size;) {
        if (wire->begin == wire->end && !fill(wire))
            return false;
        size_t piece = wire->end - wire->begin;
        if (piece > size - have)
            piece = size - have;
        memcpy(response->body + have, wire->buffer + wire->begin, piece);
        wire->begin += piece;
        have += piece;
    }
    response->body[size] = '\0';
    response->body_bytes = size;
    return true;
}

bool wire_read(struct wire *wire, bool to_head, struct wire_response *out_response)
{
    char length[24];
    out_response->body = NULL;
    out_response->body_bytes = 0;
    if (!read_head(wire, out_response))
        return false;
    bool has_body = !to_head && out_response->status >= 200 && out_response->status != 204 &&
                    out_response->status != 304;
    if (!has_body || !wire_header(out_response, "Content-Length", length, sizeof length))
        return read_body(wire, 0, out_response);
    if (read_body(wire, strtoull(length, NULL, 10), out_response))
        return true;
    wire_response_done(out_response);
    return false;
}

void wire_response_done(struct wire_response *response)
{
    free(response->body);
    response->body = NULL;
}

bool wire_header(const struct wire_response *response, const char *name, char *out_value,
                 size_t capacity)
{
    size_t name_bytes = strlen(name);
    *out_value = '\0';
    for (const char *line = strstr(response->head, "\r\n"); line != NULL && line[2] != '\r';
         line = strstr(line + 2, "\r\n")) {
        const char *field = line + 2;
        if (strncasecmp(field, name, name_bytes) != 0 || field[name_bytes] != ':')
            continue;
        const char *value = field + name_bytes + 1;
        value += strspn(value, " ");
        snprintf(out_value, capacity, "%.*s", (int)strcspn(value, "\r"), value);
        return true;
    }
    return false;
}

bool wire_is_closed(struct wire *wire)
{
    char byte;
    if (wire->begin < wire->end)
        return false;
    ssize_t got = recv(wire->fd, &byte, 1, 0);
    return got == 0 || (got < 0 && errno == ECONNRESET);
}

bool wire_request(struct wire *wire, const char *method, const char *target, const char *headers,
                  const void *body, size_t body_bytes, struct wire_response *out_response)
{
    char length[48] = "";
    if (body != NULL)
        snprintf(length, sizeof length, "Content-Length: %zu\r\n", body_bytes);
    return wire_print(wire, "%s %s HTTP/1.1\r\nHost: localhost\r\n%s%s\r\n", method, target, length,
                      headers) &&
           (body == NULL || wire_send(wire, body, body_bytes)) &&
           wire_read(wire, strcmp(method, "HEAD") == 0, out_response);
}

unsigned wire_ask(uint16_t port, const char *method, const char *target, const char *headers,
                  const void *body, size_t body_bytes, char **out_body)
{
    struct wire_response response = {0};
    struct wire *wire = wire_make(port);
    bool answered =
        wire != NULL && wire_request(wire, method, target, headers, body, body_bytes, &response);
    wire_free(wire);
    if (answered && out_body != NULL)
        *out_body = TAKE(response.body);
    wire_response_done(&response);
    return answered ? response.status : 0;
}
