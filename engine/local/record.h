/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One version of one key: the same bytes in a memtable, in the journal and in a table.
 * Header, key and meta share one checksum, the value has its own, so that reading a header never
 * costs the hashing of a value. Immutable once sealed and published.
 */
#ifndef KEYREST_ENGINE_LOCAL_RECORD_H
#define KEYREST_ENGINE_LOCAL_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../bytes.h"
#include "format.h"

enum record_type { /* on disk: never renumber */
                   RECORD_PUT = 1,
                   RECORD_DELETE = 2,
                   RECORD_EXPIRE = 3,
};

struct record {
    uint32_t head_check;  /* of all that follows up to the value, value_check included */
    uint32_t value_check; /* of the value */
    uint64_t sequence;
    int64_t modified_ms;
    int64_t expires_ms; /* 0: never */
    uint32_t value_bytes;
    uint16_t key_bytes;
    uint16_t meta_bytes;
    uint8_t type;
    uint8_t flags;
    uint8_t zero[6];
    unsigned char data[]; /* key, meta, value, then zeros up to the alignment */
};

_Static_assert(sizeof(struct record) == 48, "on disk");

/* Bytes of a whole record, padding included. */
static inline uint64_t record_size(uint64_t key_bytes, uint64_t meta_bytes, uint64_t value_bytes)
{
    return format_align(sizeof(struct record) + key_bytes + meta_bytes + value_bytes,
                        FORMAT_RECORD_ALIGNMENT);
}

static inline uint64_t record_bytes(const struct record *record)
{
    return record_size(record->key_bytes, record->meta_bytes, record->value_bytes);
}

static inline struct bytes record_key(const struct record *record)
{
    return (struct bytes){record->data, record->key_bytes};
}

static inline struct bytes record_meta(const struct record *record)
{
    return (struct bytes){record->data + record->key_bytes, record->meta_bytes};
}

static inline struct bytes record_value(const struct record *record)
{
    return (struct bytes){record->data + record->key_bytes + record->meta_bytes,
                          record->value_bytes};
}

/* Whether the record stands for a value at `now_ms`: a put that has not expired. */
static inline bool record_is_live(const struct record *record, int64_t now_ms)
{
    return record->type == RECORD_PUT && (record->expires_ms == 0 || record->expires_ms > now_ms);
}

/* Writes header, key and meta of an unsealed record; `record` has room for record_size(). */
void record_init(struct record *record, enum record_type type, struct bytes key, struct bytes meta);

/* Sets the value's size and checksum and zeroes the padding; the bytes are in their place. */
void record_seal_value(struct record *record, uint32_t value_bytes);

/* Sets the order and the time, then the head's checksum. Afterwards the record is constant. */
void record_seal_head(struct record *record, uint64_t sequence, int64_t modified_ms);

/*
 * Whether `available` bytes at `record` begin with a whole record whose head is what was sealed.
 * Never reads past `available`; lengths may be used only after it said true.
 */
bool record_head_is_valid(const struct record *record, uint64_t available);

/* Whether `value`, a copy of the record's value or the value itself, is what was sealed. */
bool record_value_is_valid(const struct record *record, struct bytes value);

#endif
