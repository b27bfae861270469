/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Store, journal, commit, dump and compaction put together as the engine does it, with every part
 * within the test's reach: over a held disk (held_disk.h) in a fresh directory, or in one thread
 * over a simulated disk (crash_disk.h).
 */
#ifndef KEYREST_TESTS_LIB_PARTS_H
#define KEYREST_TESTS_LIB_PARTS_H

#include "../../engine/local/commit.h"
#include "../../engine/local/compactor.h"
#include "../../engine/local/maintenance.h"
#include "../../engine/local/manifest.h"
#include "crash_disk.h"

/* Zero fields take the value in brackets. */
struct parts_options {
    bool lazy;
    bool no_housekeeping;           /* no thread: segments are made by journal_prepare() alone */
    uint64_t memory_bytes;          /* (1 GiB) */
    uint64_t memtable_bytes;        /* (1 GiB: nothing is dumped) */
    uint64_t segment_bytes;         /* (20 MiB) */
    uint64_t queue_bytes_max;       /* (32 MiB) */
    uint64_t rotate_wait_ms;        /* (10 s) */
    uint64_t output_bytes_max;      /* (256 MiB) */
    uint64_t bytes_per_second_max;  /* of compactions (0: no limit) */
    unsigned load_threads;          /* (1) */
    bool with_compactor;            /* a thread of its own, which nothing but a request wakes */
    const struct time_source *time; /* (the machine's) */
    struct crash_disk
        *crash; /* the disk, borrowed; no thread is started then, and times stand still */
};

struct parts {
    struct parts_options options;
    char *path;
    struct disk *disk;
    struct manifest manifest;
    struct stats *stats;
    struct store store;
    struct journal *journal;
    struct catalog catalog;
    struct dump *dump;
    struct engine_limits limits;
    struct commit *commit;
    struct maintenance *maintenance;
    struct compaction_options compaction;
    struct compaction_progress progress;
    atomic_bool closing; /* looked at by parts_compact() */
    struct sweep *sweep;
    struct compactor *compactor;
    _Atomic unsigned uncertain;  /* how often a compaction said that the manifest is */
    _Atomic uint64_t free_bytes; /* that the compactor is told; (1 TiB) */
};

void parts_open(struct parts *parts, const struct parts_options *options);

/* Closes them as after a crash: nothing is marked. Fails when memory stays charged for nothing. */
void parts_close(struct parts *parts);

/* The same without removing the directory; and another open of it, by recovery. */
void parts_stop(struct parts *parts);
enum status parts_recover(struct parts *parts, struct failure *failure);

/* ---- tables ---- */

/* Freezes the active memtable and dumps all that are frozen, oldest first. */
enum status parts_dump(struct parts *parts);

/* Rewrites the victims of one pick; NOT_FOUND: there are none. Or tables by their ids. */
enum status parts_compact(struct parts *parts, enum victims_mode mode);
enum status parts_compact_tables(struct parts *parts, const uint64_t *ids, size_t count);

/* The table of an id, for a look at it while no compaction runs; NULL: no view lists it. */
struct table *parts_table(struct parts *parts, uint64_t id);
size_t parts_table_count(struct parts *parts);
size_t parts_memtable_count(struct parts *parts);

/* ---- one operation and its commit ---- */

/* Far enough away that only a defect can reach it. */
struct engine_context parts_patience(void);

enum status parts_put(struct parts *parts, const char *key, const char *value);
enum status parts_put_sized(struct parts *parts, const char *key, size_t value_bytes);
enum status parts_delete(struct parts *parts, const char *key);

/* A put of `size` bytes of `fill`; aborts without memory. `value` is then to be committed. */
struct engine_operation parts_put_operation(struct parts *parts, struct bytes key, size_t size,
                                            int fill);

/* Commits, and closes the value if it remained the caller's. */
enum status parts_commit(struct parts *parts, struct engine_operation *operations, uint32_t count,
                         const struct engine_context *context);

/* The key's version, 0 when it is absent. */
uint64_t parts_version(struct parts *parts, const char *key);

/* Whether the key has that value. */
bool parts_has(struct parts *parts, const char *key, const char *value);

/* What a read of the key answers. */
enum status parts_read(struct parts *parts, const char *key);

#endif
