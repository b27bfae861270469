/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a journal segment back, frame by frame. A reader believes nothing that is not checked: the
 * first bytes that are no valid frame end it, and its user decides whether that is a torn tail or
 * damage. One thread.
 */
#ifndef KEYREST_ENGINE_LOCAL_JOURNAL_READER_H
#define KEYREST_ENGINE_LOCAL_JOURNAL_READER_H

#include "frame.h"
#include "record.h"
#include "segment.h"
#include "window.h"

struct journal_reader {
    const struct segment *segment;
    uint64_t offset; /* of the next frame */
    uint64_t end;    /* frames end here, or before */
    struct window window;
};

/* Starts at the segment's first frame. `segment` is borrowed until done. */
void journal_reader_init(struct journal_reader *reader, const struct segment *segment);
void journal_reader_done(struct journal_reader *reader);

struct journal_frame {
    struct frame_header header;
    const unsigned char *payload; /* valid until the next call */
    uint64_t offset;              /* where the frame stands */
};

/*
 * The frame at `offset`, and moves on. NOT_FOUND: no valid frame stands there, `offset` is unchanged.
 * IO, NO_MEMORY.
 */
MUST_CHECK enum status journal_reader_next(struct journal_reader *reader,
                                           struct journal_frame *out_frame);

/* The LINK that a used segment begins with. NOT_FOUND: there is none, the segment is unused. */
MUST_CHECK enum status journal_reader_link(struct journal_reader *reader,
                                           struct journal_frame *out_frame,
                                           struct frame_link *out_link);

/*
 * The highest durable_sequence of any frame header that is valid at or behind `offset`, however
 * damaged the rest: evidence that what lies before it was durable. 0: none. IO, NO_MEMORY.
 */
MUST_CHECK enum status journal_reader_scan(struct journal_reader *reader,
                                           uint64_t *out_durable_sequence);

/*
 * Walks the records of a checked payload: sets `*position` to the next, NULL at the end.
 * CORRUPT_LOG: the payload is not a row of whole records.
 */
MUST_CHECK enum status journal_frame_record(const struct journal_frame *frame, uint64_t *position,
                                            const struct record **out_record);

#endif
