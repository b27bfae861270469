/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The records of a span of sequences that no table holds yet. Small records are cut from chunks and
 * freed with them; large ones are values of their own. A memtable lists records, never entries.
 *
 * Threads: the commit leader (or recovery, alone); memtable_bytes: any.
 */
#ifndef KEYREST_ENGINE_LOCAL_MEMTABLE_H
#define KEYREST_ENGINE_LOCAL_MEMTABLE_H

#include <stdint.h>

#include "../status.h"
#include "budget.h"
#include "record.h"

struct memtable;

MUST_CHECK enum status memtable_open(struct budget *budget, struct memtable **out_memtable);

/* Frees all records, large ones when their last reply is gone. After the grace period. */
void memtable_close(struct memtable *memtable); /* NULL is allowed */

/*
 * Room for one record of `bytes` (a multiple of 8, at most MEMTABLE_CUT_BYTES_MAX). NULL: no memory.
 * Consecutive cuts lie next to each other while they fit into one chunk.
 */
enum { MEMTABLE_CUT_BYTES_MAX = 256 << 10 };
MUST_CHECK void *memtable_cut(struct memtable *memtable, uint64_t bytes);

/* Room in the list for `count` more records, so that listing them cannot fail. NO_MEMORY. */
MUST_CHECK enum status memtable_reserve(struct memtable *memtable, uint32_t count);

/* Adds one sealed record to the list, under a reservation; a large one is now the memtable's. */
void memtable_list(struct memtable *memtable, struct record *record);

/* Where the next cut would be, and back to it: for a group that was not written after all. */
struct memtable_mark {
    void *chunk;
    uint64_t used;
};
struct memtable_mark memtable_mark(const struct memtable *memtable);
void memtable_rewind(struct memtable *memtable, struct memtable_mark mark);

/* Bytes of chunks, lists and large values. */
uint64_t memtable_bytes(const struct memtable *memtable);

#endif
