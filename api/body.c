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

/* ---- texts ---- */

static enum status grow_text(struct body *body, uint64_t capacity)
{
    uint64_t more = capacity - body->text_capacity;
    if (!text_budget_charge(body->budget, more))
        return STATUS_BUSY;
    unsigned char *grown = realloc(body->text, (size_t)capacity);
    if (grown == NULL) {
        text_budget_release(body->budget, more);
        return STATUS_NO_MEMORY;
    }
    body->text = grown;
    body->text_capacity = capacity;
    return STATUS_OK;
}

enum status body_open_text(struct body *body, struct text_budget *budget, uint64_t limit)
{
    body->limit = limit;
    body->budget = budget;
    return grow_text(body, smaller(BODY_FIRST_BYTES, limit));
}

/* ---- both ---- */

void body_close(struct engine *engine, struct body *body)
{
    engine_value_close(engine, body->value);
    body->value = NULL;
    free(body->text);
    body->text = NULL;
    if (body->budget != NULL)
        text_budget_release(body->budget, body->text_capacity);
    body->text_capacity = 0;
}

static enum status grow(struct engine *engine, struct body *body, uint64_t needed)
{
    uint64_t capacity = body->text != NULL ? body->text_capacity : body->value->capacity;
    if (needed <= capacity)
        return STATUS_OK;
    while (capacity < needed)
        capacity = capacity < BODY_FIRST_BYTES ? BODY_FIRST_BYTES : capacity * 2;
    capacity = smaller(capacity, body->limit);
    return body->text != NULL ? grow_text(body, capacity)
                              : engine_value_grow(engine, &body->value, (size_t)capacity);
}

static void append(struct body *body, const void *piece, size_t size)
{
    unsigned char *room = body->text != NULL ? body->text : body->value->data;
    memcpy(room + body->received, piece, size);
    if (body->value != NULL)
        body->value->size = (size_t)body->received + size;
}

bool body_take(struct engine *engine, struct body *body, const void *piece, size_t size)
{
    uint64_t received = body->received + size;
    if (body_is_wanted(body) && received <= body->limit) {
        body->failed = grow(engine, body, received);
        if (body->failed == STATUS_OK)
            append(body, piece, size);
        else
            body->limit = body->received;
    }
    body->received = received;
    if (body_is_over(body))
        body_close(engine, body); /* its room serves others while the rest is swallowed */
    return received <= body->limit + API_IGNORED_BODY_BYTES_MAX;
}
