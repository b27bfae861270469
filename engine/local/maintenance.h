/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the store does without being asked. Housekeeping makes the next journal segment ready, syncs
 * in interval mode, marks the journal once writers are idle, and watches the free disk space. The
 * dump thread writes frozen memtables to tables.
 *
 * Threads: one for each of them, or the caller of maintenance_run where there is none;
 * maintenance_unseal: the commit leader; maintenance_writable and the figures: any.
 */
#ifndef KEYREST_ENGINE_LOCAL_MAINTENANCE_H
#define KEYREST_ENGINE_LOCAL_MAINTENANCE_H

#include "commit.h"
#include "dump.h"
#include "space.h"

struct maintenance_options {
    struct disk *disk;
    struct store *store;
    struct journal *journal;
    struct commit *commit;
    struct dump *dump;
    uint64_t sync_interval_ms; /* 0: every group is synced by its leader */
    uint64_t segment_bytes;
    uint64_t reserve_bytes; /* puts are refused when less than this is free */
    uint64_t ballast_bytes;
    void (*on_dumped)(void *context); /* a table has come; must not block */
    void *context;
    struct event_sink events;
};

struct maintenance;

/* Everything in `options` is borrowed until close. Nothing happens by itself before the start. */
MUST_CHECK enum status maintenance_open(const struct maintenance_options *options,
                                        struct maintenance **out_maintenance);
void maintenance_close(struct maintenance *maintenance); /* NULL is allowed */

/* Begins the threads, and ends them: the other calls still answer. */
MUST_CHECK enum status maintenance_start(struct maintenance *maintenance);
void maintenance_stop(struct maintenance *maintenance); /* NULL is allowed */

/* One round of everything: does what is due now. */
void maintenance_run(struct maintenance *maintenance);

/* There is a frozen memtable; memory is wanted that dumping would free. They never wait. */
void maintenance_wake_dump(struct maintenance *maintenance);
void maintenance_wake_housekeeping(struct maintenance *maintenance);

/*
 * A journal write or fdatasync failed: dumps all that was applied, and lets the journal go on
 * without the failed frame. READ_ONLY until the next start when that fails, or when it was needed
 * before within a minute. NO_SPACE: there is no room to dump; it is tried again as there may be.
 */
MUST_CHECK enum status maintenance_unseal(struct maintenance *maintenance);

/* What is on the disk is not known any more, or cannot be kept: no writes until the next start. */
void maintenance_give_up(struct maintenance *maintenance, const char *why);

/* What a put would meet: OK, READ_ONLY, NO_SPACE, NO_MEMORY. Never waits. */
enum status maintenance_writable(const struct maintenance *maintenance);

/* What it knows of the disk. */
const struct space *maintenance_space(const struct maintenance *maintenance);

/* Interval mode: how old an answered write that is not synced may be; 0: all are synced. */
uint64_t maintenance_unsynced_ms(const struct maintenance *maintenance);

#endif
