/* SPDX-License-Identifier: Apache-2.0 */
/* Drafts of records, large values and replies. */
#include "value.h"

#include <assert.h>

#include "reply.h"

static size_t allocation_bytes(size_t key_bytes, size_t meta_bytes, size_t capacity)
{
    return offsetof(struct value, record) + record_size(key_bytes, meta_bytes, capacity);
}

static void place_face(struct value *value, size_t capacity)
{
    struct record *record = &value->record;
    value->face.data = record->data + record->key_bytes + record->meta_bytes;
    value->face.capacity = capacity;
}

/* The record is the caller's to fill. NULL: no memory; the charge is the caller's to give back. */
static struct value *allocate_charged(struct budget *budget, uint64_t charged)
{
    struct value *value = malloc(charged);
    if (value == NULL)
        return NULL;
    value->face = (struct engine_value){0};
    value->budget = budget;
    value->charged = charged;
    atomic_init(&value->pin.word, 0);
    return value;
}

enum status value_open(struct budget *budget, struct bytes key, struct bytes meta, size_t capacity,
                       struct value **out_value)
{
    assert(capacity <= UINT32_MAX);
    size_t bytes = allocation_bytes(key.size, meta.size, capacity);
    if (!budget_take(budget, bytes))
        return STATUS_NO_MEMORY;
    struct value *value = allocate_charged(budget, bytes);
    if (value == NULL) {
        budget_give(budget, bytes);
        return STATUS_NO_MEMORY;
    }
    record_init(&value->record, RECORD_PUT, key, meta);
    place_face(value, capacity);
    *out_value = value;
    return STATUS_OK;
}

enum status value_keep(struct budget *budget, const struct record *record, struct value **out_value)
{
    size_t bytes = allocation_bytes(record->key_bytes, record->meta_bytes, record->value_bytes);
    struct value *value = allocate_charged(budget, bytes);
    if (value == NULL)
        return STATUS_NO_MEMORY;
    budget_force(budget, bytes);
    memcpy(&value->record, record, record_bytes(record));
    place_face(value, record->value_bytes);
    value->face.size = record->value_bytes;
    *out_value = value;
    return STATUS_OK;
}

enum status value_grow(struct value **value, size_t capacity)
{
    struct value *old = *value;
    assert(capacity <= UINT32_MAX);
    if (capacity <= old->face.capacity)
        return STATUS_OK;
    size_t bytes = allocation_bytes(old->record.key_bytes, old->record.meta_bytes, capacity);
    uint64_t more = bytes - old->charged;
    if (!budget_take(old->budget, more))
        return STATUS_NO_MEMORY;
    struct value *grown = realloc(old, bytes);
    if (grown == NULL) {
        budget_give(old->budget, more);
        return STATUS_NO_MEMORY;
    }
    grown->charged = bytes;
    place_face(grown, capacity);
    *value = grown;
    return STATUS_OK;
}

void value_close(struct value *value)
{
    if (value == NULL)
        return;
    budget_give(value->budget, value->charged);
    free(value);
}

void value_seal(struct value *value, int64_t expires_ms)
{
    assert(value->face.size <= value->face.capacity);
    value->record.expires_ms = expires_ms;
    record_seal_value(&value->record, (uint32_t)value->face.size);
}

void value_retire(struct value *value)
{
    if (pin_retire(&value->pin))
        value_close(value);
}

/* ---- replies ---- */

static void release_pinned(void *owner)
{
    struct value *value = owner;
    if (pin_drop(&value->pin))
        value_close(value);
}

static struct engine_item pinned_item(const struct record *record, uint64_t epoch)
{
    struct value *value = value_of_record(record);
    pin_take(&value->pin);
    return (struct engine_item){
        .version = {epoch, record->sequence},
        .modified_ms = record->modified_ms,
        .expires_ms = record->expires_ms,
        .meta = record_meta(record),
        .value = record_value(record),
        .release = release_pinned,
        .owner = value,
    };
}

enum status value_reply(struct budget *budget, const struct record *record, uint64_t epoch,
                        bool with_value, struct engine_item *out_item)
{
    if (with_value && value_is_large(record)) {
        *out_item = pinned_item(record, epoch);
        return STATUS_OK;
    }
    uint64_t bytes = reply_bytes(record, with_value);
    struct record *copy = reply_open(budget, bytes);
    if (copy == NULL)
        return STATUS_NO_MEMORY;
    memcpy(copy, record, bytes);
    if (!reply_is_valid(copy, record_key(record), with_value)) {
        reply_close(copy);
        return STATUS_CORRUPT;
    }
    *out_item = reply_item(copy, epoch, with_value);
    return STATUS_OK;
}
