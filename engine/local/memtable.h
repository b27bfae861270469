/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The records of a span of sequences that no table holds yet. Small records are cut from chunks and
 * freed with them; large ones are values of their own. A memtable lists records, never entries.
 *
 * Threads: the commit leader (or recovery, alone) while it is active; memtable_bytes, memtable_sort:
 * any. Once it is frozen it is immutable and any thread that pins it, through a view, may read it.
 */
#ifndef KEYREST_ENGINE_LOCAL_MEMTABLE_H
#define KEYREST_ENGINE_LOCAL_MEMTABLE_H

#include <stdint.h>

#include "../status.h"
#include "budget.h"
#include "pin.h"
#include "reclaim.h"
#include "record.h"
#include "runs.h"

struct entry;
struct memtable;

/* What all memtables of a store share. */
struct memtable_home {
    struct budget *budget;
    _Atomic uint32_t alive;         /* memtables that are not freed yet */
    _Atomic uint64_t bytes;         /* of them all */
    void (*on_free)(void *context); /* one was freed: there is room again; may be NULL */
    void *on_free_context;
};

MUST_CHECK enum status memtable_open(struct memtable_home *home, struct memtable **out_memtable);

/* What the smallest takes that holds any small record. */
enum { MEMTABLE_BYTES_MIN = (1 << 20) + (16 << 10) };

/* Frees all records, large ones when their last reply is gone. Who brings the pin to {0, RETIRED}
 * calls it. NULL is allowed. */
void memtable_close(struct memtable *memtable);

struct pin *memtable_pin(struct memtable *memtable);

/* Frees it after the grace period, once no view lists it. It is in no current view any more. */
void memtable_retire(struct memtable *memtable, struct reclaim *reclaim);

/*
 * Room for one record of `bytes` (a multiple of 8, at most MEMTABLE_CUT_BYTES_MAX). NULL: no memory.
 * Consecutive cuts lie next to each other while they fit into one chunk.
 */
enum { MEMTABLE_CUT_BYTES_MAX = 256 << 10 };
MUST_CHECK void *memtable_cut(struct memtable *memtable, uint64_t bytes);

/* Room in the list for `count` more records, so that listing them cannot fail. NO_MEMORY. */
MUST_CHECK enum status memtable_reserve(struct memtable *memtable, uint32_t count);

/*
 * Adds one sealed record to the list, under a reservation; a large one is now the memtable's. Returns
 * where the leader notes the entry that the record is applied to (struct listed).
 */
struct entry **memtable_list(struct memtable *memtable, struct record *record);

/* Where the next cut would be, and back to it: for a group that was not written after all. */
struct memtable_mark {
    void *chunk;
    uint64_t used;
};
struct memtable_mark memtable_mark(const struct memtable *memtable);
void memtable_rewind(struct memtable *memtable, struct memtable_mark mark);

/* Bytes of chunks, lists and large values. */
uint64_t memtable_bytes(const struct memtable *memtable);

/* Bytes of the listed records alone: how full it is. */
uint64_t memtable_record_bytes(const struct memtable *memtable);

/* Journal bytes that hold its records, as the leader notes them; and the last sequence, at freezing. */
void memtable_note_journal(struct memtable *memtable, uint64_t bytes);
uint64_t memtable_journal_bytes(const struct memtable *memtable);
void memtable_freeze(struct memtable *memtable, uint64_t last_sequence);
uint64_t memtable_last_sequence(const struct memtable *memtable);

/* ---- expiry: the leader notes, the sweep looks (sweep.h) ---- */

/* One of the records that keys name expires then. The leader, once its key names it; the sweep. */
void memtable_note_expiry(struct memtable *memtable, int64_t expires_ms);

/* The earliest time noted since the last forgetting; INT64_MAX: none. Any thread. */
int64_t memtable_next_expiry(const struct memtable *memtable);
void memtable_forget_expiry(struct memtable *memtable);

/* Where the sweep goes on among the listed records; its own. */
uint64_t *memtable_looked_at(struct memtable *memtable);

/* Copies at most `count_max` of the records listed so far, from the one at `from` on: how many. Any
 * thread that pins it. */
uint64_t memtable_copy_listed(const struct memtable *memtable, uint64_t from, uint64_t count_max,
                              const struct record **out_records);

/* The keys listed so far in their order, as runs to be given back with run_give() before the pin is;
 * `out_runs` has room for RUNS_MAX. NO_MEMORY. */
MUST_CHECK enum status memtable_sort(struct memtable *memtable, struct run **out_runs,
                                     size_t *out_count);

/*
 * A record and its key's entry, which lives until the memtable is dumped: only the dump of a newer
 * tombstone buries it, and the oldest memtable is dumped first. Even later, as long as the record is
 * there, the entry's memory is an entry's and never names the record again.
 */
struct listed {
    const struct record *record;
    struct entry *entry;
};

/* All of a frozen memtable in the order of their sequences. */
uint64_t memtable_count(const struct memtable *memtable);
void memtable_all(const struct memtable *memtable, struct listed *out_listed);

#endif
