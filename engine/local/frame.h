/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A journal frame: one group of commits, or a mark without records. A 64-byte header, the payload,
 * zeros up to the frame's alignment. Both checksums are seeded with the segment's salt and id and
 * the frame's offset, so that bytes of another time or place never pass for this frame.
 */
#ifndef KEYREST_ENGINE_LOCAL_FRAME_H
#define KEYREST_ENGINE_LOCAL_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "checksum.h"
#include "format.h"

enum frame_flag {                       /* on disk: never renumber */
                  FRAME_LINK = 1 << 0,  /* first of a segment: says where its predecessor ends */
                  FRAME_EMPTY = 1 << 1, /* carries a newer durable_sequence, nothing else */
                  FRAME_CLEAN = 1 << 2, /* the last of an orderly close */
                  FRAME_LAZY =
                      1 << 3, /* written in interval mode: packed, answered before fdatasync */
};

struct frame_header {
    uint32_t magic;
    uint32_t flags;
    uint64_t head_check;    /* of the header with this field zero */
    uint64_t payload_check; /* of the payload */
    uint32_t bytes;         /* of payload: without header and padding */
    uint32_t records;
    uint64_t first_sequence; /* marks: both are the last sequence before them */
    uint64_t last_sequence;
    uint64_t durable_sequence; /* all up to it was durable when this was written */
    uint64_t zero;
};

_Static_assert(sizeof(struct frame_header) == 64, "on disk");

/* The payload of a LINK: 0, 0 in a store's first segment. */
struct frame_link {
    uint64_t predecessor_id;
    uint64_t predecessor_end;
};

/* Where frames of a mode start and end: a durable block is never written again in `always` mode. */
static inline uint64_t frame_alignment(bool lazy)
{
    return lazy ? FORMAT_RECORD_ALIGNMENT : FORMAT_BLOCK_BYTES;
}

/* Disk bytes of a whole frame. */
static inline uint64_t frame_extent(uint64_t payload_bytes, bool lazy)
{
    return format_align(sizeof(struct frame_header) + payload_bytes, frame_alignment(lazy));
}

static inline uint64_t frame_seed(uint64_t salt, uint64_t segment_id, uint64_t offset)
{
    const uint64_t place[3] = {salt, segment_id, offset};
    return checksum64(place, sizeof place, 0);
}

static inline uint64_t frame_head_check(const struct frame_header *header, uint64_t seed)
{
    struct frame_header copy = *header;
    copy.head_check = 0;
    return checksum64(&copy, sizeof copy, seed);
}

/* The header alone: `bytes` may then be believed. */
static inline bool frame_head_is_valid(const struct frame_header *header, uint64_t seed)
{
    return header->magic == FORMAT_FRAME_MAGIC &&
           header->head_check == frame_head_check(header, seed) &&
           header->first_sequence <= header->last_sequence;
}

static inline bool frame_payload_is_valid(const struct frame_header *header, const void *payload,
                                          uint64_t seed)
{
    return header->payload_check == checksum64(payload, header->bytes, seed);
}

#endif
