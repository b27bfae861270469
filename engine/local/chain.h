/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal's segments as the directory shows them, put in order. A used segment begins with a
 * LINK that names the segment before it and where that one ends. The newest LINK decides: what it
 * leads back to is the journal, and a segment that it passes over was replaced (recovery.c says
 * when). A segment without a LINK is unused: made ready, or begun by a start that was cut off.
 *
 * Threads: recovery, alone.
 */
#ifndef KEYREST_ENGINE_LOCAL_CHAIN_H
#define KEYREST_ENGINE_LOCAL_CHAIN_H

#include "frame.h"
#include "manifest.h"
#include "segment.h"

struct chain_segment {
    uint64_t id;
    struct segment *segment;
    bool linked; /* begins with a LINK */
    bool used;   /* the newest LINK leads to it, or is its own */
    struct frame_link link;
    struct frame_header link_header;
    uint64_t end;           /* frames end here, at the latest */
    uint64_t last_sequence; /* set by replay: of its last frame */
};

/* One that replay does not need, kept for readers of changes. */
struct chain_kept {
    uint64_t id;
    uint64_t before, last_sequence; /* the last sequence before it, and its last one */
    uint64_t end;                   /* its frames end there */
    uint64_t bytes;                 /* of the file */
    struct frame_link link;
};

struct chain {
    struct chain_segment *segments; /* ascending ids, from the manifest's journal_first */
    size_t count, capacity;
    struct chain_segment *last; /* the newest used one; NULL: none */
    struct chain_kept *kept;    /* an unbroken row up to the first used one, ascending */
    size_t kept_count;
    enum status kept_failure; /* IO: what else may have been kept could not be read */
    char (*strays)[64];       /* files of ours that count for nothing */
    size_t stray_count;
    uint64_t table_id_max; /* of all tables that are there, listed or not */
    uint64_t bytes;        /* of all segments */
};

/* Where damage was found. */
struct chain_place {
    char file[64];
    uint64_t offset;
};

/* Fills `place` and `failure` for a segment and returns `status`. */
MUST_CHECK enum status chain_fail(struct chain_place *place, struct failure *failure,
                                  enum status status, uint64_t id, uint64_t offset,
                                  const char *what);

/*
 * Finds, opens and orders the segments. CORRUPT_LOG: a header is damaged, or a segment that a LINK
 * names is missing. FORMAT, IO, NO_MEMORY. Segments that replay does not need are kept as far as they can
 * be read: the feed of changes begins where they do. `chain` is zero before, and to be closed after a failure
 * too.
 */
MUST_CHECK enum status chain_open(struct chain *chain, struct disk *disk,
                                  const struct manifest *manifest, struct chain_place *place,
                                  struct failure *failure);
void chain_close(struct chain *chain);

#endif
