/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one way in for writes: a queue without a thread of its own. Who finds no leader leads one
 * group (group.h), hands the lead to the oldest waiting writer, then wakes its own.
 *
 * Threads: any submits. A writer waits for room and in the queue until its deadline; once gathered
 * it stays to the end, since the leader works on its memory.
 */
#ifndef KEYREST_ENGINE_LOCAL_COMMIT_H
#define KEYREST_ENGINE_LOCAL_COMMIT_H

#include "group.h"

struct commit_options {
    struct store *store;
    struct journal *journal;
    const struct engine_limits *limits;
    bool sync;                /* every group is durable before it is answered */
    uint64_t queue_bytes_max; /* of records waiting; one larger commit may wait alone */
    uint64_t rotate_wait_ns;  /* for a segment to become ready */
    /* as in struct group_options */
    enum status (*unseal)(void *context);
    void (*on_frozen)(void *context);
    void *context;
};

struct commit;

MUST_CHECK enum status commit_open(const struct commit_options *options,
                                   struct commit **out_commit);
void commit_close(struct commit *commit); /* NULL is allowed */

/* As engine_commit(). */
MUST_CHECK enum status commit_submit(struct commit *commit, struct engine_operation *operations,
                                     uint32_t count, const struct engine_context *context);

/*
 * The same for deletes of keys whose time is over, as the leader's clock says at their place in the
 * order: the others are left alone (outcome ABSENT). They become EXPIRE records.
 */
MUST_CHECK enum status commit_expired(struct commit *commit, struct engine_operation *operations,
                                      uint32_t count, const struct engine_context *context);

/*
 * Does what only a leader may, between groups. BUSY: somebody leads or waits, and it was not done.
 */
MUST_CHECK enum status commit_alone(struct commit *commit, enum status (*act)(void *context),
                                    void *context);

/* Writes a mark into the journal, in the same way: a newer frame comes anyway when it is BUSY. */
MUST_CHECK enum status commit_mark(struct commit *commit, enum frame_flag flag);

/* A memtable was freed: writers that wait for room look again. Any thread. */
void commit_room_changed(struct commit *commit);

/* Requests that wait for a leader now. */
uint32_t commit_queued(const struct commit *commit);

/* Monotonic ns at which the last group ended; 0 before the first. */
uint64_t commit_last_group_ns(const struct commit *commit);

#endif
