/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes on their way to a client: a copy of a whole record, checked, which nothing else refers to.
 * Large ones count against the memory limit until they are sent; small ones are bounded by the
 * connections. Any thread may release one.
 */
#ifndef KEYREST_ENGINE_LOCAL_REPLY_H
#define KEYREST_ENGINE_LOCAL_REPLY_H

#include "../engine.h"
#include "budget.h"
#include "record.h"

/* Room for a copy of `bytes` of a record. NULL: no memory. Reads go on over the memory limit. */
MUST_CHECK struct record *reply_open(struct budget *budget, uint64_t bytes);
void reply_close(struct record *copy); /* NULL is allowed */

/* Bytes of a record that a reply copies: all, or header, key and meta. */
static inline uint64_t reply_bytes(const struct record *record, bool with_value)
{
    return with_value ? record_bytes(record)
                      : sizeof *record + (uint64_t)record->key_bytes + record->meta_bytes;
}

/* Whether a copy of that many bytes is what was sealed, and is `key`'s. */
bool reply_is_valid(const struct record *copy, struct bytes key, bool with_value);

/* Hands a valid copy over to an item. */
struct engine_item reply_item(struct record *copy, uint64_t epoch, bool with_value);

#endif
