/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From memory to disk: writes the records of frozen memtables that are still some key's newest
 * version into a table, lets the manifest list it, and moves the keys' places from the records to
 * the table. Afterwards the memtable's memory and its part of the journal are free.
 *
 * Threads: any, one dump at a time. It never leads a group; the leader runs dump_all itself, with
 * the journal sealed.
 * Invariants: 1. Every tombstone that is a key's newest version is written; nothing says what older
 * tables know. 2. Removing a tombstone's entry after its table counts is the only way an entry dies.
 * 3. What justified leaving a version out is durable before the edit.
 */
#ifndef KEYREST_ENGINE_LOCAL_DUMP_H
#define KEYREST_ENGINE_LOCAL_DUMP_H

#include "catalog.h"
#include "journal.h"
#include "store.h"

struct dump_options {
    struct store *store; /* all are borrowed until close */
    struct journal *journal;
    struct catalog *catalog;
    bool lazy; /* records may be applied before they are durable */
};

struct dump;

MUST_CHECK enum status dump_open(const struct dump_options *options, struct dump **out_dump);
void dump_close(struct dump *dump); /* NULL is allowed */

/* Dumps the oldest frozen memtable. NOT_FOUND: there is none. Otherwise as catalog_edit. */
MUST_CHECK enum status dump_oldest(struct dump *dump);

/*
 * Dumps every memtable, the active one too, with one edit that ends replay before segment
 * `journal_first`. For the leader alone.
 */
MUST_CHECK enum status dump_all(struct dump *dump, uint64_t journal_first);

#endif
