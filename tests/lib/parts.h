/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Store, journal and commit put together over a held disk (held_disk.h) in a fresh directory, as
 * the engine does it, with every part within the test's reach.
 */
#ifndef KEYREST_TESTS_LIB_PARTS_H
#define KEYREST_TESTS_LIB_PARTS_H

#include "../../engine/local/commit.h"
#include "../../engine/local/maintenance.h"
#include "../../engine/local/manifest.h"

/* Zero fields take the value in brackets. */
struct parts_options {
    bool lazy;
    bool no_housekeeping;     /* no thread: segments are made by journal_prepare() alone */
    uint64_t memory_bytes;    /* (1 GiB) */
    uint64_t memtable_bytes;  /* (1 GiB: nothing is dumped) */
    uint64_t segment_bytes;   /* (20 MiB) */
    uint64_t queue_bytes_max; /* (32 MiB) */
    uint64_t rotate_wait_ms;  /* (10 s) */
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
};

void parts_open(struct parts *parts, const struct parts_options *options);

/* Closes them as after a crash: nothing is marked. Fails when memory stays charged for nothing. */
void parts_close(struct parts *parts);

/* The same without removing the directory; and another open of it, by recovery. */
void parts_stop(struct parts *parts);
enum status parts_recover(struct parts *parts, struct failure *failure);

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

#endif
