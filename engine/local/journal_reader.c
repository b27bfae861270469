/* SPDX-License-Identifier: Apache-2.0 */
/* A window over the file, and what of it is a frame. */
#include "journal_reader.h"

#include <string.h>

void journal_reader_init(struct journal_reader *reader, const struct segment *segment)
{
    *reader = (struct journal_reader){
        .segment = segment,
        .offset = SEGMENT_HEADER_BYTES,
        .end = segment->bytes,
    };
    window_init(&reader->window, segment->file, segment->bytes);
}

void journal_reader_done(struct journal_reader *reader)
{
    window_done(&reader->window);
    *reader = (struct journal_reader){0};
}

static enum status view(struct journal_reader *reader, uint64_t offset, uint64_t bytes,
                        const unsigned char **out_bytes)
{
    reader->window.end = reader->end;
    return window_view(&reader->window, offset, bytes, out_bytes);
}

static enum status view_head(struct journal_reader *reader, uint64_t offset,
                             struct frame_header *out_header)
{
    const unsigned char *bytes;
    enum status status = view(reader, offset, sizeof *out_header, &bytes);
    if (status != STATUS_OK)
        return status;
    memcpy(out_header, bytes, sizeof *out_header);
    if (out_header->magic != FORMAT_FRAME_MAGIC)
        return STATUS_NOT_FOUND;
    uint64_t seed = frame_seed(reader->segment->salt, reader->segment->id, offset);
    return frame_head_is_valid(out_header, seed) ? STATUS_OK : STATUS_NOT_FOUND;
}

enum status journal_reader_next(struct journal_reader *reader, struct journal_frame *out_frame)
{
    struct journal_frame frame = {.offset = reader->offset};
    enum status status = view_head(reader, reader->offset, &frame.header);
    if (status != STATUS_OK)
        return status;
    const unsigned char *bytes;
    status =
        view(reader, reader->offset, sizeof frame.header + (uint64_t)frame.header.bytes, &bytes);
    if (status != STATUS_OK)
        return status;
    frame.payload = bytes + sizeof frame.header;
    uint64_t seed = frame_seed(reader->segment->salt, reader->segment->id, reader->offset);
    if (!frame_payload_is_valid(&frame.header, frame.payload, seed))
        return STATUS_NOT_FOUND;
    reader->offset += frame_extent(frame.header.bytes, (frame.header.flags & FRAME_LAZY) != 0);
    *out_frame = frame;
    return STATUS_OK;
}

enum status journal_reader_link(struct journal_reader *reader, struct journal_frame *out_frame,
                                struct frame_link *out_link)
{
    struct journal_frame frame;
    enum status status = journal_reader_next(reader, &frame);
    if (status != STATUS_OK)
        return status;
    if ((frame.header.flags & FRAME_LINK) == 0 || frame.header.bytes != sizeof *out_link)
        return STATUS_NOT_FOUND;
    memcpy(out_link, frame.payload, sizeof *out_link);
    *out_frame = frame;
    return STATUS_OK;
}

static bool is_zero(const unsigned char *bytes, size_t size)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}

/* Frame headers that begin in one block. */
static enum status scan_block(struct journal_reader *reader, uint64_t offset, uint64_t block_end,
                              uint64_t *durable_sequence)
{
    for (; offset < block_end; offset += FORMAT_RECORD_ALIGNMENT) {
        struct frame_header header;
        enum status status = view_head(reader, offset, &header);
        if (status == STATUS_OK && header.durable_sequence > *durable_sequence)
            *durable_sequence = header.durable_sequence;
        if (status != STATUS_OK && status != STATUS_NOT_FOUND)
            return status;
    }
    return STATUS_OK;
}

enum status journal_reader_scan(struct journal_reader *reader, uint64_t *out_durable_sequence)
{
    uint64_t durable = 0;
    enum status status = STATUS_OK;
    for (uint64_t offset = reader->offset; offset < reader->end && status == STATUS_OK;) {
        uint64_t block_end = format_align(offset + 1, FORMAT_BLOCK_BYTES);
        if (block_end > reader->end)
            block_end = reader->end;
        const unsigned char *bytes;
        status = view(reader, offset, block_end - offset, &bytes);
        if (status == STATUS_OK && !is_zero(bytes, block_end - offset)) /* most of it is unused */
            status = scan_block(reader, offset, block_end, &durable);
        offset = block_end;
    }
    if (status != STATUS_OK && status != STATUS_NOT_FOUND)
        return status;
    *out_durable_sequence = durable;
    return STATUS_OK;
}

enum status journal_frame_record(const struct journal_frame *frame, uint64_t *position,
                                 const struct record **out_record)
{
    uint64_t left = frame->header.bytes - *position;
    if (left == 0) {
        *out_record = NULL;
        return STATUS_OK;
    }
    const struct record *record = (const struct record *)(frame->payload + *position);
    if (!record_head_is_valid(record, left) || !record_value_is_valid(record, record_value(record)))
        return STATUS_CORRUPT_LOG;
    *position += record_bytes(record);
    *out_record = record;
    return STATUS_OK;
}
