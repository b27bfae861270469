/* SPDX-License-Identifier: Apache-2.0 */
/* Receiving, growing, swallowing. */
#include "body.h"

#include <string.h>

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

enum status body_open(struct engine *engine, struct body *body, struct bytes key, struct bytes meta,
                      bool has_length, uint64_t length)
{
    body->limit = engine_limits(engine)->value_bytes_max;
    uint64_t capacity = smaller(has_length ? length : BODY_FIRST_BYTES, body->limit);
    return engine_value_open(engine, key, meta, (size_t)capacity, &body->value);
}

void body_close(struct engine *engine, struct body *body)
{
    engine_value_close(engine, body->value);
    body->value = NULL;
}

static enum status grow(struct engine *engine, struct body *body, uint64_t needed)
{
    uint64_t capacity = body->value->capacity;
    if (needed <= capacity)
        return STATUS_OK;
    while (capacity < needed)
        capacity = capacity < BODY_FIRST_BYTES ? BODY_FIRST_BYTES : capacity * 2;
    return engine_value_grow(engine, &body->value, (size_t)smaller(capacity, body->limit));
}

bool body_take(struct engine *engine, struct body *body, const void *piece, size_t size)
{
    uint64_t received = body->received + size;
    if (body->value != NULL && received <= body->limit) {
        body->failed = grow(engine, body, received);
        if (body->failed == STATUS_OK) {
            memcpy(body->value->data + body->received, piece, size);
            body->value->size = (size_t)received;
        } else {
            body->limit = body->received;
        }
    }
    body->received = received;
    if (body_is_over(body))
        body_close(engine, body); /* its room serves others while the rest is swallowed */
    return received <= body->limit + API_IGNORED_BODY_BYTES_MAX;
}
