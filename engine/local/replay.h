/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a chain of segments frame by frame and applies what tables do not hold yet. A frame may be
 * cut only above every durable_sequence that the manifest or any valid frame states; missing or
 * damaged frames below it are corruption.
 *
 * Threads: recovery or verification, alone.
 */
#ifndef KEYREST_ENGINE_LOCAL_REPLAY_H
#define KEYREST_ENGINE_LOCAL_REPLAY_H

#include "chain.h"
#include "event_sink.h"
#include "store.h"

struct replay {
    /* set by the caller, borrowed */
    struct chain *chain;
    const struct manifest *manifest;
    struct store *store;        /* NULL: frames and records are only checked */
    const atomic_bool *closing; /* raised: give up with CANCELLED */
    _Atomic uint64_t *bytes_done;
    struct event_sink events;
    struct chain_place *failed; /* set with `failure`, where damage was found */
    struct failure *failure;
    /* what the frames said */
    uint64_t frames, records;
    uint64_t last_sequence;    /* of the last frame read */
    uint64_t durable_sequence; /* highest stated anywhere */
    bool clean;                /* the last frame read is a CLEAN mark */
    uint64_t end;              /* of the last good frame, in the last segment */
};

/* CORRUPT_LOG with file, offset and sequences in `failure`; IO, NO_MEMORY, CANCELLED. */
MUST_CHECK enum status replay_run(struct replay *replay);

#endif
