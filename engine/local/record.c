/* SPDX-License-Identifier: Apache-2.0 */
/* Building and checking one record. */
#include "record.h"

#include <assert.h>

#include "checksum.h"

static size_t head_bytes(const struct record *record)
{
    return sizeof *record - offsetof(struct record, value_check) + record->key_bytes +
           record->meta_bytes;
}

static uint32_t head_check(const struct record *record)
{
    return checksum32(&record->value_check, head_bytes(record), 0);
}

void record_init(struct record *record, enum record_type type, struct bytes key, struct bytes meta)
{
    assert(key.size > 0 && key.size <= UINT16_MAX && meta.size <= UINT16_MAX);
    *record = (struct record){
        .type = (uint8_t)type,
        .key_bytes = (uint16_t)key.size,
        .meta_bytes = (uint16_t)meta.size,
    };
    memcpy(record->data, key.data, key.size);
    if (meta.size > 0)
        memcpy(record->data + key.size, meta.data, meta.size);
}

void record_seal_value(struct record *record, uint32_t value_bytes)
{
    record->value_bytes = value_bytes;
    struct bytes value = record_value(record);
    record->value_check = checksum32(value.data, value.size, 0);
    size_t used =
        (size_t)((const unsigned char *)value.data - (unsigned char *)record) + value.size;
    memset((unsigned char *)record + used, 0, record_bytes(record) - used);
}

void record_seal_head(struct record *record, uint64_t sequence, int64_t modified_ms)
{
    record->sequence = sequence;
    record->modified_ms = modified_ms;
    record->head_check = head_check(record);
}

bool record_head_is_valid(const struct record *record, uint64_t available)
{
    if (available < sizeof *record || record->key_bytes == 0 || record_bytes(record) > available)
        return false;
    return record->head_check == head_check(record) && record->type >= RECORD_PUT &&
           record->type <= RECORD_EXPIRE;
}

bool record_value_is_valid(const struct record *record, struct bytes value)
{
    return value.size == record->value_bytes &&
           record->value_check == checksum32(value.data, value.size, 0);
}
