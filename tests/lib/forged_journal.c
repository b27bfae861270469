/* SPDX-License-Identifier: Apache-2.0 */
/* Frame by frame: each is placed where the one before it ends, then sealed for that place. */
#include "forged_journal.h"

#include <stdlib.h>

#include "../../engine/local/segment.h"
#include "forged_table.h"

enum { SALT = 77 };

static struct forged_segment *begin_segment(struct forged_journal *journal)
{
    struct forged_segment *segment = &journal->segments[journal->count++];
    segment->bytes = calloc(1, FORGED_SEGMENT_BYTES_MAX);
    if (segment->bytes == NULL)
        abort();
    segment->size = SEGMENT_HEADER_BYTES;
    return segment;
}

/* As on disk: magic, format and features, uuid, id, salt, bytes, check. */
static void write_segment_header(struct forged_segment *segment, uint64_t id)
{
    uint64_t words[8] = {FORMAT_SEGMENT_MAGIC, FORMAT_VERSION, 0, 0, id, SALT, segment->size, 0};
    memcpy(&words[2], forged_uuid, FORMAT_UUID_BYTES);
    words[7] = checksum64(words, sizeof words - sizeof *words, 0);
    memcpy(segment->bytes, words, sizeof words);
}

/* ---- one frame ---- */

/* Numbers the payload's records and makes their checksums right; returns how many there are. */
static uint32_t seal_records(const struct forged_journal *journal, unsigned char *payload,
                             uint64_t size, uint64_t leave)
{
    uint32_t records = 0;
    for (uint64_t at = 0, bytes; at + sizeof(struct record) <= size; at += bytes, records++) {
        struct record head;
        memcpy(&head, payload + at, sizeof head);
        bytes = record_bytes(&head);
        if (bytes > size - at)
            break;
        head.sequence = journal->last_sequence + records + 1;
        if ((leave & FORGED_LEAVE_SEQUENCES) == 0)
            memcpy(payload + at, &head, sizeof head);
        if ((leave & FORGED_LEAVE_RECORD_CHECKS) == 0)
            forged_record_seal(payload + at, size - at, &bytes);
    }
    return records;
}

static void seal_link(const struct forged_journal *journal, unsigned char *payload)
{
    struct frame_link link = {0, 0};
    if (journal->count > 1)
        link = (struct frame_link){journal->count - 1, journal->segments[journal->count - 2].size};
    memcpy(payload, &link, sizeof link);
}

/* Makes right what the header does not leave; `header->bytes` are at `payload`. */
static void seal_frame(struct forged_journal *journal, struct frame_header *header,
                       unsigned char *payload, uint64_t offset)
{
    uint64_t leave = header->zero, seed = frame_seed(SALT, journal->count, offset);
    bool is_link = (header->flags & FRAME_LINK) != 0;
    if (is_link && header->bytes == sizeof(struct frame_link) && (leave & FORGED_LEAVE_LINK) == 0)
        seal_link(journal, payload);
    uint32_t records = is_link ? 0 : seal_records(journal, payload, header->bytes, leave);
    if ((leave & FORGED_LEAVE_SEQUENCES) == 0) {
        header->records = records;
        header->first_sequence = journal->last_sequence + (records > 0);
        header->last_sequence = journal->last_sequence + records;
        if (is_link && header->durable_sequence < header->last_sequence)
            header->durable_sequence = header->last_sequence;
    }
    if ((leave & FORGED_LEAVE_MAGIC) == 0)
        header->magic = FORMAT_FRAME_MAGIC;
    if ((leave & FORGED_LEAVE_PAYLOAD) == 0)
        header->payload_check = checksum64(payload, header->bytes, seed);
    if ((leave & FORGED_LEAVE_HEAD) == 0)
        header->head_check = frame_head_check(header, seed);
    journal->last_sequence = header->last_sequence;
}

/* Takes one frame off `frames`. False: there is no more of it, or no room. */
static bool add_frame(struct forged_journal *journal, struct bytes *frames)
{
    const unsigned char *next = frames->data;
    struct frame_header header;
    if (frames->size < sizeof header)
        return false;
    memcpy(&header, next, sizeof header);
    next += sizeof header;
    uint64_t left = frames->size - sizeof header;
    if (header.bytes > left)
        header.bytes = (uint32_t)left;
    struct forged_segment *segment = &journal->segments[journal->count - 1];
    if ((header.flags & FRAME_LINK) != 0 && segment->size > SEGMENT_HEADER_BYTES &&
        journal->count < FORGED_SEGMENTS_MAX)
        segment = begin_segment(journal);
    uint64_t extent = frame_extent(header.bytes, (header.flags & FRAME_LAZY) != 0);
    if (segment->size + extent > FORGED_SEGMENT_BYTES_MAX)
        return false;
    unsigned char *place = segment->bytes + segment->size;
    memcpy(place + sizeof header, next, header.bytes);
    seal_frame(journal, &header, place + sizeof header, segment->size);
    memcpy(place, &header, sizeof header);
    segment->size += extent;
    *frames = (struct bytes){next + header.bytes, left - header.bytes};
    return true;
}

/* ---- all of them ---- */

void forged_journal_make(struct forged_journal *journal, struct bytes frames,
                         uint64_t last_sequence)
{
    *journal = (struct forged_journal){.last_sequence = last_sequence};
    begin_segment(journal);
    while (add_frame(journal, &frames))
        continue;
    for (size_t i = 0; i < journal->count; i++)
        write_segment_header(&journal->segments[i], i + 1);
}

void forged_journal_take(struct forged_journal *journal, struct bytes content)
{
    *journal = (struct forged_journal){0};
    struct forged_segment *segment = begin_segment(journal);
    segment->size = content.size;
    if (segment->size > FORGED_SEGMENT_BYTES_MAX)
        segment->size = FORGED_SEGMENT_BYTES_MAX;
    if (segment->size > 0)
        memcpy(segment->bytes, content.data, segment->size);
}

void forged_journal_done(struct forged_journal *journal)
{
    for (size_t i = 0; i < journal->count; i++)
        free(journal->segments[i].bytes);
    *journal = (struct forged_journal){0};
}

void forged_journal_write(const struct forged_journal *journal, struct disk *disk)
{
    for (size_t i = 0; i < journal->count; i++) {
        char name[64];
        segment_name(i + 1, name);
        forged_file_write(disk, name,
                          (struct bytes){journal->segments[i].bytes, journal->segments[i].size});
    }
}
