/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP byte by byte over one connection to 127.0.0.1: sends whatever it is told, well-formed or not,
 * and reads answers one by one. Reading gives up after 20 s.
 *
 * Threads: a wire and a response belong to one thread.
 */
#ifndef KEYREST_TESTS_LIB_WIRE_H
#define KEYREST_TESTS_LIB_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../engine/scope.h"

enum { WIRE_BUFFER_BYTES = 64 << 10 };

struct wire {
    int fd; /* -1: not connected */
    size_t begin, end;
    char buffer[WIRE_BUFFER_BYTES];
};

struct wire_response {
    unsigned status;
    char head[20 << 10]; /* status line and headers, as they came */
    char *body;          /* NUL-ended, wire_response_done() */
    size_t body_bytes;
};

bool wire_open(struct wire *wire, uint16_t port);
void wire_close(struct wire *wire); /* an unopened one must have fd -1 */

/* The same on the heap: a wire is large. NULL: not connected. */
struct wire *wire_make(uint16_t port);
void wire_free(struct wire *wire); /* NULL is allowed */

/* False: the other side is gone. */
bool wire_send(struct wire *wire, const void *bytes, size_t size);
bool wire_print(struct wire *wire, const char *format, ...) PRINTF(2, 3);

/* Reads one answer. False: the connection ended or was cut before it was whole. A 1xx is an answer
 * of its own. `to_head`: the request was a HEAD, no body follows. */
bool wire_read(struct wire *wire, bool to_head, struct wire_response *out_response);
void wire_response_done(struct wire_response *response);

/* The value of a header, copied; empty when there is none. False then. */
bool wire_header(const struct wire_response *response, const char *name, char *out_value,
                 size_t capacity);

/* True: the other side has closed and sent nothing more. Waits for it. */
bool wire_is_closed(struct wire *wire);

/* A whole request and its answer on this connection; `headers` end with CRLF each. Body may be NULL. */
bool wire_request(struct wire *wire, const char *method, const char *target, const char *headers,
                  const void *body, size_t body_bytes, struct wire_response *out_response);

/* The same on a connection of its own: its status, 0 when there was no answer. `out_body` may be
 * NULL; else the answer's body, to be freed. */
unsigned wire_ask(uint16_t port, const char *method, const char *target, const char *headers,
                  const void *body, size_t body_bytes, char **out_body);

#endif
