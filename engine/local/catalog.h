/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The manifest of a running store and the right to change it: every edit is one replacement of the
 * file, and edits come one at a time.
 *
 * Threads: any. catalog's mutex is the manifest_mutex of the lock order: taken before all others,
 * held over I/O, never taken by the commit leader.
 */
#ifndef KEYREST_ENGINE_LOCAL_CATALOG_H
#define KEYREST_ENGINE_LOCAL_CATALOG_H

#include <pthread.h>
#include <stdatomic.h>

#include "manifest.h"

struct catalog {
    /* set at open, then constant */
    struct disk *disk;
    uint8_t uuid[FORMAT_UUID_BYTES];
    pthread_mutex_t mutex;
    /* guarded by mutex */
    struct manifest manifest;
    bool uncertain; /* an edit's end is unknown: the file may be the old one after a crash */
    _Atomic uint64_t next_table_id;
    _Atomic uint64_t flushed_sequence; /* written under mutex, read by anyone */
};

/* Takes `manifest` over. */
void catalog_init(struct catalog *catalog, struct disk *disk, struct manifest *manifest);
void catalog_done(struct catalog *catalog); /* a zero one, too */

/* All up to it is in tables that count. */
static inline uint64_t catalog_flushed(const struct catalog *catalog)
{
    return atomic_load_explicit(&catalog->flushed_sequence, memory_order_acquire);
}

/* All tables so far have lower ids. */
static inline uint64_t catalog_next_table_id(const struct catalog *catalog)
{
    return atomic_load_explicit(&catalog->next_table_id, memory_order_relaxed);
}

/* An id that no table has had. It is used up even if the table comes to nothing. */
uint64_t catalog_new_table_id(struct catalog *catalog);

/* One change of the manifest. Sequences and ids of 0 leave what is there. */
struct edit {
    const struct manifest_table *added;
    size_t added_count;
    const uint64_t *removed_ids;
    size_t removed_count;
    const uint64_t *forgiven_ids; /* what their tombstones hid may be gone now */
    size_t forgiven_count;
    uint64_t flushed_sequence, durable_sequence;
    uint64_t journal_first, journal_kept;
};

/*
 * OK: the change is durable; what it removed may be unlinked. NO_SPACE, IO, NO_MEMORY: nothing has
 * changed. UNKNOWN: either; every later edit answers UNKNOWN too, and nothing may be unlinked.
 */
MUST_CHECK enum status catalog_edit(struct catalog *catalog, const struct edit *edit);

/* Whether an edit's end is unknown: then no other can succeed, and files for one are written in vain. */
bool catalog_is_uncertain(struct catalog *catalog);

#endif
