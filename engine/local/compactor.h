/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When compactions run, and before each the sweep of what has expired: by timer when the policy finds
 * something due, and when somebody asks. Keeps what the last ones did; backs off after failures.
 *
 * Threads: one of its own, or the caller of compactor_run_due where there is none; the others: any.
 */
#ifndef KEYREST_ENGINE_LOCAL_COMPACTOR_H
#define KEYREST_ENGINE_LOCAL_COMPACTOR_H

#include "compaction.h"
#include "sweep.h"

struct compactor_options {
    struct compaction_options compaction;
    struct sweep
        *sweep; /* what is expired makes room for a compaction: it goes first. NULL: none */
    uint64_t interval_ms;
    /* Free bytes of the disk now, for outputs that must fit; any thread. */
    uint64_t (*free_bytes)(void *context);
    /* Gives up files that nobody needs, so that outputs may fit. True: it was worth it. NULL: never. */
    bool (*make_room)(void *context);
    /* The manifest's state on the disk is not known any more: the store must not go on writing. */
    void (*on_uncertain)(void *context);
    void *context;
};

struct compactor;

MUST_CHECK enum status compactor_open(const struct compactor_options *options, bool threaded,
                                      struct compactor **out_compactor);

/* Gives up a running one, within a moment. NULL is allowed. */
void compactor_close(struct compactor *compactor);

/* Runs what is due or asked for, to its end. False: there was nothing, or it failed. */
bool compactor_run_due(struct compactor *compactor);

/* There may be something due: a table has come. Never waits. NULL is allowed. */
void compactor_wake(struct compactor *compactor);

/* As the face's calls. */
MUST_CHECK enum status compactor_start(struct compactor *compactor, uint64_t *out_id);
MUST_CHECK enum status compactor_wait(struct compactor *compactor, uint64_t id,
                                      const struct engine_context *context);
size_t compactor_history(struct compactor *compactor, struct engine_compaction *out_rows,
                         size_t capacity);

#endif
