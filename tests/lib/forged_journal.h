/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Journal segments from bytes that may be anything: frames one after the other, header and payload
 * as on disk, but without padding; each LINK but the first begins the next segment. Checksums,
 * sequences and LINKs are made right, save for what a frame's spare field leaves as it came.
 */
#ifndef KEYREST_TESTS_LIB_FORGED_JOURNAL_H
#define KEYREST_TESTS_LIB_FORGED_JOURNAL_H

#include "../../engine/bytes.h"
#include "../../engine/local/disk.h"
#include "../../engine/local/frame.h"

/* Bits of struct frame_header's `zero`. */
enum forged_frame_leave {
    FORGED_LEAVE_HEAD = 1 << 0,
    FORGED_LEAVE_PAYLOAD = 1 << 1,
    FORGED_LEAVE_RECORD_CHECKS = 1 << 2,
    FORGED_LEAVE_SEQUENCES = 1 << 3,
    FORGED_LEAVE_LINK = 1 << 4,
    FORGED_LEAVE_MAGIC = 1 << 5,
};

enum { FORGED_SEGMENTS_MAX = 4, FORGED_SEGMENT_BYTES_MAX = 1 << 17 };

struct forged_segment {
    unsigned char *bytes; /* FORGED_SEGMENT_BYTES_MAX of room */
    uint64_t size;        /* of what is used */
};

/* Segment `i` has the id i + 1. */
struct forged_journal {
    struct forged_segment segments[FORGED_SEGMENTS_MAX];
    size_t count;
    uint64_t last_sequence;
};

/* Sequences go on from `last_sequence`. */
void forged_journal_make(struct forged_journal *journal, struct bytes frames,
                         uint64_t last_sequence);

/* One segment whose file is `content`, as it is. */
void forged_journal_take(struct forged_journal *journal, struct bytes content);

void forged_journal_done(struct forged_journal *journal);

/* Each under its name. */
void forged_journal_write(const struct forged_journal *journal, struct disk *disk);

#endif
