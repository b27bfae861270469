/* SPDX-License-Identifier: Apache-2.0 */
/* The arena, bodies, refusals. */
#include "reply.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec.h"
#include "http_date.h"
#include "timestamp.h"

enum { TEXTS_BYTES = 1000 }; /* a usual response's header texts in one allocation */

/* A stack of chunks; all go together. */
struct response_texts {
    struct response_texts *below;
    size_t used, capacity;
    char bytes[];
};

/* Stands where memory ran out: the response is not to be sent as it is. */
static struct response_texts no_memory;

/* ---- texts ---- */

static char *text_room(struct response *response, size_t bytes)
{
    struct response_texts *top = response->texts;
    if (top == &no_memory)
        return NULL;
    if (top == NULL || top->capacity - top->used < bytes) {
        size_t capacity = bytes > TEXTS_BYTES ? bytes : TEXTS_BYTES;
        struct response_texts *chunk = malloc(sizeof *chunk + capacity);
        if (chunk == NULL) {
            response_done(response);
            response->texts = &no_memory;
            return NULL;
        }
        *chunk = (struct response_texts){.below = top, .capacity = capacity};
        response->texts = top = chunk;
    }
    top->used += bytes;
    return top->bytes + top->used - bytes;
}

void response_done(struct response *response)
{
    struct response_texts *top = response->texts;
    while (top != NULL && top != &no_memory) {
        struct response_texts *below = top->below;
        free(top);
        top = below;
    }
    response->texts = NULL;
    response->header_count = 0;
}

bool reply_reserve(struct response *response, size_t bytes)
{
    if (text_room(response, TEXTS_BYTES + bytes) == NULL)
        return false;
    response->texts->used -= TEXTS_BYTES + bytes;
    return true;
}

/* ---- headers ---- */

void reply_header(struct response *response, const char *name, const char *value)
{
    assert(response->header_count < API_RESPONSE_HEADERS_MAX);
    response->headers[response->header_count++] = (struct api_header){name, value};
}

char *reply_header_room(struct response *response, const char *name, size_t bytes)
{
    char *room = text_room(response, bytes);
    if (room != NULL) {
        room[0] = '\0';
        reply_header(response, name, room);
    }
    return room;
}

void reply_header_copy(struct response *response, const char *name, struct bytes value)
{
    char *room = reply_header_room(response, name, value.size + 1);
    if (room == NULL)
        return;
    memcpy(room, value.data, value.size);
    room[value.size] = '\0';
}

void reply_tag(struct response *response, const char *name, struct engine_version version)
{
    char *room = reply_header_room(response, name, ETAG_BYTES);
    if (room != NULL)
        etag_write(version, room);
}

void reply_version(struct response *response, struct engine_version version, int64_t expires_ms)
{
    reply_tag(response, "ETag", version);
    char *room =
        expires_ms != 0 ? reply_header_room(response, "Keyrest-Expires", TIMESTAMP_BYTES) : NULL;
    if (room != NULL)
        timestamp_write(expires_ms, room);
}

/* Never later than now, whatever the clock did meanwhile (RFC 9110 section 8.8.2.1). */
void reply_last_modified(struct response *response, int64_t modified_ms, int64_t now_ms)
{
    char *room = reply_header_room(response, "Last-Modified", HTTP_DATE_BYTES);
    if (room != NULL)
        http_date_write((modified_ms < now_ms ? modified_ms : now_ms) / 1000, room);
}

/* ---- bodies ---- */

void reply_static(struct response *response, unsigned status, const char *content_type,
                  struct bytes body)
{
    response->status = status;
    response->body_kind = body.size > 0 ? RESPONSE_STATIC : RESPONSE_NONE;
    response->body = body.data;
    response->body_bytes = body.size;
    reply_header(response, "Content-Type", content_type);
}

void reply_owned(struct response *response, unsigned status, const char *content_type, char *body,
                 size_t size)
{
    if (body == NULL) {
        response_done(response);
        response->texts = &no_memory;
        return;
    }
    reply_static(response, status, content_type, (struct bytes){body, size});
    response->body_kind = RESPONSE_OWNED;
    response->release = free;
    response->owner = body;
}

struct charged_body {
    struct text_budget *budget;
    uint64_t charged;
    char *body;
};

static void release_charged(void *owner)
{
    struct charged_body *charged = owner;
    text_budget_release(charged->budget, charged->charged);
    free(charged->body);
    free(charged);
}

void reply_charged(struct response *response, const char *content_type, char *body, size_t size,
                   struct text_budget *budget, uint64_t charged)
{
    struct charged_body *owner = body != NULL ? malloc(sizeof *owner) : NULL;
    if (owner == NULL) {
        text_budget_release(budget, charged);
        free(body);
        body = NULL;
    }
    reply_owned(response, 200, content_type, body, size);
    if (owner == NULL)
        return;
    *owner = (struct charged_body){.budget = budget, .charged = charged, .body = body};
    response->release = release_charged;
    response->owner = owner;
}

void reply_not_modified(struct response *response, struct engine_version version,
                        int64_t expires_ms, size_t size)
{
    response->status = 304;
    reply_version(response, version, expires_ms);
    response->body_kind = RESPONSE_OMITTED;
    response->body_bytes = size;
}

void reply_stream(struct response *response, const char *content_type,
                  ssize_t (*read)(void *owner, char *buffer, size_t capacity, uint64_t deadline_ns),
                  void (*release)(void *owner), void *owner)
{
    response->status = 200;
    response->body_kind = RESPONSE_STREAM;
    response->read = read;
    response->release = release;
    response->owner = owner;
    reply_header(response, "Content-Type", content_type);
}

static void drop_body(struct response *response)
{
    if (response->release != NULL)
        response->release(response->owner);
    response->release = NULL;
    response->owner = NULL;
    response->body = NULL;
}

/* ---- refusals ---- */

#define PROBLEM_TYPE "application/problem+json"

void reply_no_memory(struct response *response)
{
    static const char body[] =
        "{\"type\":\"/problems/memory-full\",\"title\":\"The memory limit is "
        "reached\",\"status\":507,"
        "\"detail\":\"The service has no memory left for this request: send it again later.\","
        "\"code\":\"memory-full\",\"retry_after_ms\":5000}\n";
    reply_static(response, 507, PROBLEM_TYPE, (struct bytes){body, sizeof body - 1});
    reply_header(response, "Retry-After", "5");
    response->problem_code = "memory-full";
}

void reply_problem(struct response *response, const struct problem *problem, struct bytes plain,
                   bool head)
{
    const struct problem_row *row = problem_row(problem->code);
    bool is_plain = problem->detail[0] == '\0' && problem->etag[0] == '\0' &&
                    problem->oldest[0] == '\0' && problem->member_count == 0 &&
                    problem->failed_count == 0 && problem->retry_after_s == 0;
    if (is_plain && plain.data != NULL) {
        reply_static(response, row->status, PROBLEM_TYPE, plain);
    } else {
        size_t size = 0;
        char *body = codec_problem(problem, &size);
        reply_owned(response, row->status, PROBLEM_TYPE, body, size);
    }
    reply_header(response, "Cache-Control", "no-store");
    if (problem->etag[0] != '\0')
        reply_header_copy(response, "ETag", bytes_of(problem->etag));
    unsigned retry_after_s = problem_retry_after_s(problem);
    char *room = retry_after_s > 0 ? reply_header_room(response, "Retry-After", 12) : NULL;
    if (room != NULL)
        snprintf(room, 12, "%u", retry_after_s);
    if (head)
        reply_header(response, "Keyrest-Problem", row->code);
    response->problem_code = row->code;
}

void reply_seal(struct response *response, bool head)
{
    if (response->texts == &no_memory) {
        drop_body(response);
        response->texts = NULL;
        response->header_count = 0;
        reply_no_memory(response);
    }
    if (head && (response->body_kind == RESPONSE_OWNED || response->body_kind == RESPONSE_STATIC)) {
        drop_body(response);
        response->body_kind = RESPONSE_OMITTED;
    }
}
