/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values on their way in and out. A value being received is an unsealed record with room at its end,
 * so that the body is copied once from the socket. A small one is copied into a memtable when it is
 * committed; a large one (over VALUE_LARGE_BYTES) becomes the memtable's own allocation, with a pin
 * that keeps it for replies under way. A reply is a verified copy, or a pin on a large value.
 *
 * Threads: a value being received has one owner; replies may be released by any thread.
 */
#ifndef KEYREST_ENGINE_LOCAL_VALUE_H
#define KEYREST_ENGINE_LOCAL_VALUE_H

#include <stdbool.h>

#include "../engine.h"
#include "budget.h"
#include "pin.h"
#include "record.h"

enum { VALUE_LARGE_BYTES = 64 << 10 };

/* The allocation around a record that stands alone. */
struct value {
    struct engine_value face; /* what the caller sees: data, size, capacity */
    struct budget *budget;
    uint64_t charged; /* bytes of the whole allocation, taken from the budget */
    struct pin pin;   /* of a large value, once it is committed */
    struct record record;
};

static inline struct value *value_of_face(struct engine_value *face)
{
    return (struct value *)face;
}

static inline struct value *value_of_record(const struct record *record)
{
    return (struct value *)((uintptr_t)record - offsetof(struct value, record));
}

/* Whether a committed record has an allocation of its own. */
static inline bool value_is_large(const struct record *record)
{
    return record->value_bytes > VALUE_LARGE_BYTES;
}

/* Room for a value of `capacity` bytes. NO_MEMORY: over the budget, or none to be had. */
MUST_CHECK enum status value_open(struct budget *budget, struct bytes key, struct bytes meta,
                                  size_t capacity, struct value **out_value);
MUST_CHECK enum status value_grow(struct value **value, size_t capacity);

/*
 * A checked large record of the journal as a value of its own. Charged without asking: it is stored
 * already, and a limit that was lowered must not keep the store from opening. NO_MEMORY.
 */
MUST_CHECK enum status value_keep(struct budget *budget, const struct record *record,
                                  struct value **out_value);

/* Frees and gives the charge back; NULL is allowed. */
void value_close(struct value *value);

/* Writes size, expiry and checksum of the value into its record, which then lacks only its head. */
void value_seal(struct value *value, int64_t expires_ms);

/* The owner's reference goes: freed now, or by the last reply. After the grace period. */
void value_retire(struct value *value);

/*
 * Makes `out_item` from a live record: inside an epoch section. CORRUPT: a checksum differs.
 * NO_MEMORY. `with_value` false: meta only, the value has a size and no data.
 */
MUST_CHECK enum status value_reply(struct budget *budget, const struct record *record,
                                   uint64_t epoch, bool with_value, struct engine_item *out_item);

#endif
