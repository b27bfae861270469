/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One group of commits: judged in order, written as one journal frame, made durable, applied.
 * What a request asks for is decided against the keys in memory and against the requests before it
 * in the same group. Nothing found while judging is kept over the fdatasync.
 *
 * Threads: the commit leader alone.
 */
#ifndef KEYREST_ENGINE_LOCAL_GROUP_H
#define KEYREST_ENGINE_LOCAL_GROUP_H

#include "journal.h"
#include "store.h"
#include "value.h"

enum {
    GROUP_OPERATIONS_MAX = 4096,
    GROUP_BYTES_MAX = 1 << 20, /* or one larger request alone */
};

/* What the writer prepared for one operation, in its own thread. */
struct group_write {
    uint64_t hash;
    struct entry *spare;   /* put, add: NULL once it is in use, or when memory is full */
    struct value *value;   /* put: sealed but for its head */
    struct record *record; /* set by the group: where the version stands; NULL: nothing to write */
    struct store_current current; /* set by the group: the key's version before */
    struct engine_item base;      /* add, while it is judged and built: the same version; or zero */
};

struct group_request {
    struct engine_operation *operations;
    struct group_write *writes; /* one per operation */
    uint32_t count;
    bool expires;       /* the operations delete only what has expired, as EXPIRE records */
    uint64_t bytes;     /* of all records, at most */
    enum status status; /* set by the group */
};

struct group;

struct group_options {
    struct store *store; /* borrowed until close, as is the journal */
    struct journal *journal;
    bool sync; /* an fdatasync before anything is applied */
    /*
     * The journal was sealed: keeps all that was applied in another way and makes the journal
     * writable again, without what was written last. OK, or READ_ONLY until the next start.
     */
    enum status (*unseal)(void *context);
    /* A memtable was frozen: there is something to dump. Must not block. */
    void (*on_frozen)(void *context);
    void *context;
};

MUST_CHECK enum status group_open(const struct group_options *options, struct group **out_group);
void group_close(struct group *group); /* NULL is allowed */

/*
 * Runs a group; every request's status is set. Together they stay within the limits above. Rotates
 * the journal first when the rest of the segment is too small, waiting for a ready one until
 * `rotate_deadline_ns`.
 */
void group_run(struct group *group, struct group_request *const *requests, uint32_t count,
               uint64_t rotate_deadline_ns);

#endif
