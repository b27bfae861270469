/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The write-ahead log as its writer sees it: one active segment, at most one made ready for when it
 * is full. Reading back is journal_reader.h's.
 *
 * Threads: the commit leader writes, rotates and marks, one at a time; housekeeping prepares, and
 * in interval mode syncs; recovery begins, alone. Figures: any. Invariants: 1. A segment is used
 * only once its final name is durable. 2. A predecessor is synced before its successor's LINK is
 * written. 3. After a failed write or sync nothing is written any more (sealed): what follows the
 * last good frame is not believed.
 */
#ifndef KEYREST_ENGINE_LOCAL_JOURNAL_H
#define KEYREST_ENGINE_LOCAL_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "../stats.h"
#include "../time_source.h"
#include "disk.h"
#include "event_sink.h"
#include "frame.h"
#include "supply.h"

struct journal;

struct journal_options {
    struct disk *disk;
    uint8_t uuid[FORMAT_UUID_BYTES];
    bool lazy; /* interval durability: frames are packed and answered before their fdatasync */
    uint64_t segment_bytes;
    uint64_t
        first_segment_bytes; /* of the segment that a start begins: small, it delays the start */
    uint64_t next_id;
    uint64_t last_sequence, durable_sequence; /* as recovery found them */
    struct past_segments past;                /* those that recovery kept; taken over */
    uint64_t kept_bytes_max;                  /* of segments that only readers of changes use */
    const struct time_source *time;
    struct stats *stats;
    struct event_sink events;
};

MUST_CHECK enum status journal_open(const struct journal_options *options,
                                    struct journal **out_journal);
void journal_close(struct journal *journal); /* NULL is allowed; writes nothing */

/* Bytes of the largest payload that one frame of a segment can take. */
uint64_t journal_payload_bytes_max(const struct journal *journal);

/* ---- making segments ready: housekeeping, or recovery ---- */

/*
 * Whether a segment should be made ready now: none is, and the active one is half full or missing,
 * or the leader waits for one.
 */
bool journal_prepare_is_due(struct journal *journal);

/* The leader calls `on_due` when it becomes so; it must not block. While there is no writer. */
void journal_on_due(struct journal *journal, void (*on_due)(void *context), void *context);

/* Makes one segment ready unless one is. NO_SPACE, IO: nothing has changed but a stray file perhaps. */
MUST_CHECK enum status journal_prepare(struct journal *journal);

/*
 * The lowest segment that replay needs when all up to `flushed_sequence` is in tables; and, once the
 * manifest says so, that lower ones are needed no more: their files are used again or removed.
 */
uint64_t journal_first_needed(struct journal *journal, uint64_t flushed_sequence);
void journal_release(struct journal *journal, uint64_t first_needed);

/* Removes the files of segments that are neither needed nor kept and that no new one will use. */
void journal_trim(struct journal *journal);

/* Its segments, for those who read changes or want their room. */
struct supply *journal_supply(struct journal *journal);

/* ---- beginning: recovery ---- */

/*
 * Makes a segment with room for `payload_bytes` and takes it as the active one. Its LINK is not
 * written yet, so that until journal_link() the segment counts as unused.
 */
MUST_CHECK enum status journal_begin(struct journal *journal, uint64_t payload_bytes);

/* Writes the LINK behind whatever was written before it and makes it durable. */
MUST_CHECK enum status journal_link(struct journal *journal, struct frame_link link);

/* ---- writing: the leader ---- */

/* Payload bytes that still fit into the active segment as one frame. */
uint64_t journal_room(const struct journal *journal);

/*
 * Takes the ready segment as the active one; waits for it until `deadline_ns`, then BUSY and
 * nothing has changed. NO_SPACE: it could not be made, likewise. IO: sealed.
 */
MUST_CHECK enum status journal_rotate(struct journal *journal, uint64_t deadline_ns);

struct journal_group {
    const struct iovec *pieces; /* whole records, in order */
    int piece_count;
    uint32_t bytes;
    uint32_t records;
    uint64_t first_sequence, last_sequence;
};

/* Writes one frame; it must fit (journal_room). IO: sealed, and the frame may be there or not. */
MUST_CHECK enum status journal_write(struct journal *journal, const struct journal_group *group);

/* Writes and syncs a mark (FRAME_EMPTY, FRAME_CLEAN) if it fits; never rotates. */
MUST_CHECK enum status journal_mark(struct journal *journal, enum frame_flag flag);

/* fdatasync: all written before the call is durable after it. IO: sealed. Housekeeping too. */
MUST_CHECK enum status journal_sync(struct journal *journal);

/* ---- going on after a seal: in the leader's place, or while there is no writer ---- */

/* The id of the segment that is ready to follow the sealed one, made ready now if there is none. */
MUST_CHECK enum status journal_next_ready(struct journal *journal, uint64_t *out_id);

/*
 * Goes on in that segment, whose LINK ends the sealed one behind its last frame known to be durable.
 * All up to `sequence` is durable by other means; the next sequence follows it. NO_MEMORY.
 */
MUST_CHECK enum status journal_unseal(struct journal *journal, uint64_t sequence);

/* ---- figures ---- */

uint64_t journal_durable_sequence(const struct journal *journal);
uint64_t journal_written_sequence(const struct journal *journal);
uint64_t journal_next_id(struct journal *journal); /* of the next segment to be made */
bool journal_is_sealed(const struct journal *journal);

struct journal_figures {
    uint64_t segments, bytes; /* on disk */
    uint64_t kept_bytes;      /* of them, what only readers of changes use */
};
struct journal_figures journal_figures(struct journal *journal);

#endif
