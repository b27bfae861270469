/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that can lose power: files and names as a process sees them (the cache), as they would be
 * after a power cut (durable), and in between every change that no sync has made durable yet. From
 * these it builds what a power cut could leave: any pending change kept, lost, torn or garbled.
 *
 * Model. A write, a truncation, a create, a rename and a remove are pending until file_sync, or
 * sync_directory for names, returns OK. Pending changes reach the disk in any order and number, a
 * write in sectors of 512 bytes. A failed sync leaves its changes for ever pending and clean in the
 * cache: later syncs succeed and do not write them, as Linux does. A sector that is written again
 * as it is durable already is not in danger.
 *
 * Threads: one.
 */
#ifndef KEYREST_TESTS_LIB_CRASH_DISK_H
#define KEYREST_TESTS_LIB_CRASH_DISK_H

#include "../../engine/local/disk.h"

struct crash_disk;

/* An empty directory. */
struct crash_disk *crash_disk_open(void);
void crash_disk_close(struct crash_disk *disk); /* NULL is allowed */

/* A process's way to it, to be closed as any disk; `crash` must live longer. */
struct disk *crash_disk_attach(struct crash_disk *crash);

/* The process dies: what it attached fails from now on and changes nothing. The cache stays. */
void crash_disk_kill(struct crash_disk *crash);

/* The same disk once more: cache, durable and pending. Nothing is attached to the copy. */
struct crash_disk *crash_disk_fork(const struct crash_disk *crash);

/* ---- power cuts ---- */

/* One thing that a power cut could leave behind. */
struct crash_state {
    char what[160];
    struct crash_disk *disk; /* the visitor's: nothing pending, nothing attached */
};

/* Calls `visit` for each state that the pending changes allow, always in the same order. */
void crash_disk_each_state(const struct crash_disk *crash,
                           void (*visit)(void *context, struct crash_state state), void *context);

/* The power cut that loses all that is pending, and the one that loses nothing. */
struct crash_disk *crash_disk_cut(const struct crash_disk *crash, bool keep_pending);

/* Of names and contents, in the cache and durable. */
uint64_t crash_disk_hash(const struct crash_disk *crash);

/* ---- watching and failing ---- */

enum crash_operation {
    CRASH_WRITE = 1 << 0,
    CRASH_SYNC = 1 << 1,
    CRASH_CREATE = 1 << 2,
    CRASH_RENAME = 1 << 3,
    CRASH_REMOVE = 1 << 4,
    CRASH_SYNC_DIRECTORY = 1 << 5,
    CRASH_TRUNCATE = 1 << 6,
    CRASH_READ = 1 << 7,
};

/* The last operation that changed something, or failed to. */
struct crash_last {
    enum crash_operation operation;
    char name[64];
    char to[64]; /* rename */
};

struct crash_last crash_disk_last(const struct crash_disk *crash);

/* `after` is called behind each operation that changed something, whether it succeeded or not. */
void crash_disk_watch(struct crash_disk *crash, void (*after)(void *context), void *context);

struct crash_fault {
    unsigned operations; /* of enum crash_operation; 0: none fails */
    uint64_t nth;        /* the first of them that fails, counted from 1, from now on */
    bool for_ever;       /* and all after it; else that one alone */
    enum status status;  /* NO_SPACE, IO */
};

void crash_disk_fail(struct crash_disk *crash, struct crash_fault fault);

/* Whether the fault has struck. */
bool crash_disk_failed(const struct crash_disk *crash);

/* ---- room ---- */

enum { CRASH_NO_LIMIT = 0 };

/* What files that have names may take together. What would take more is refused with NO_SPACE. */
void crash_disk_limit(struct crash_disk *crash, uint64_t bytes);
bool crash_disk_is_limited(const struct crash_disk *crash);
uint64_t crash_disk_used(const struct crash_disk *crash);

#endif
