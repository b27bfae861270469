/* SPDX-License-Identifier: Apache-2.0 */
/* Frame after frame, segment after segment, and what stands where frames should be. */
#include "replay.h"

#include <stdio.h>

#include "journal_reader.h"

static enum status fail_at(struct replay *replay, enum status status, uint64_t id, uint64_t offset,
                           const char *what)
{
    return chain_fail(replay->failed, replay->failure, status, id, offset, what);
}

/* ---- frames ---- */

/* What the tables do not hold yet. */
static enum status replay_record(const struct replay *replay, const struct record *record)
{
    struct store *store = replay->store;
    if (store == NULL || record->sequence <= replay->manifest->flushed_sequence)
        return STATUS_OK;
    enum status status = store_replay(store, record);
    if (status == STATUS_OK)
        store_publish(store, record->sequence);
    return status;
}

static enum status replay_records(struct replay *replay, const struct journal_frame *frame)
{
    uint64_t position = 0, expected = frame->header.first_sequence;
    for (;;) {
        const struct record *record;
        enum status status = journal_frame_record(frame, &position, &record);
        if (status != STATUS_OK)
            return status;
        if (record == NULL)
            return expected == frame->header.last_sequence + 1 ? STATUS_OK : STATUS_CORRUPT_LOG;
        if (record->sequence != expected++)
            return STATUS_CORRUPT_LOG;
        replay->records++;
        status = replay_record(replay, record);
        if (status != STATUS_OK)
            return status;
    }
}

static void note_journal(struct store *store, const struct frame_header *header)
{
    if (store == NULL)
        return;
    memtable_note_journal(store->memtable,
                          frame_extent(header->bytes, (header->flags & FRAME_LAZY) != 0));
    store_freeze_if_full(store);
}

/* Checks the frame's place in the one order of sequences and applies it. */
static enum status replay_frame(struct replay *replay, const struct journal_frame *frame)
{
    const struct frame_header *header = &frame->header;
    bool mark = header->records == 0;
    uint64_t expected = replay->last_sequence + (mark ? 0 : 1);
    if (header->first_sequence != expected || (mark && header->last_sequence != expected))
        return STATUS_CORRUPT_LOG;
    /* All before a LINK is durable when it is written: recovery goes by that. */
    if ((header->flags & FRAME_LINK) != 0 && header->durable_sequence < header->last_sequence)
        return STATUS_CORRUPT_LOG;
    if (!mark) {
        enum status status = replay_records(replay, frame);
        if (status != STATUS_OK)
            return status;
    }
    replay->frames++;
    note_journal(replay->store, header);
    replay->last_sequence = header->last_sequence;
    replay->clean = (header->flags & FRAME_CLEAN) != 0;
    if (header->durable_sequence > replay->durable_sequence)
        replay->durable_sequence = header->durable_sequence;
    return STATUS_OK;
}

static enum status fail_frame(struct replay *replay, enum status status,
                              const struct chain_segment *found, uint64_t offset)
{
    if (status == STATUS_CORRUPT_LOG)
        return fail_at(replay, status, found->id, offset,
                       "the frame contradicts the ones before it; restore the journal from a copy");
    return fail_at(replay, status, found->id, offset, status_text(status));
}

/* ---- segments ---- */

/* Reads frames up to `found->end` or to the first bytes that are none. */
static enum status replay_segment(struct replay *replay, const struct chain_segment *found,
                                  struct journal_reader *reader)
{
    uint64_t begun = atomic_load(replay->bytes_done);
    for (;;) {
        struct journal_frame frame = {.offset = reader->offset};
        if (atomic_load(replay->closing))
            return STATUS_CANCELLED;
        enum status status = journal_reader_next(reader, &frame);
        if (status == STATUS_NOT_FOUND)
            return STATUS_OK;
        if (status == STATUS_OK)
            status = replay_frame(replay, &frame);
        if (status != STATUS_OK)
            return fail_frame(replay, status, found, frame.offset);
        atomic_store(replay->bytes_done, begun + reader->offset);
    }
}

static enum status fail_lost(struct replay *replay, const struct chain_segment *found,
                             uint64_t offset, uint64_t durable_sequence)
{
    char what[200];
    snprintf(what, sizeof what,
             "sequences %" PRIu64 " to %" PRIu64 " were durable and cannot be read; restore the "
             "journal from a copy",
             replay->last_sequence + 1, durable_sequence);
    uint64_t id = found != NULL ? found->id : replay->manifest->journal_first;
    return fail_at(replay, STATUS_CORRUPT_LOG, id, offset, what);
}

/* The highest watermark behind the last good frame may say that more was durable. */
static enum status check_rest(struct replay *replay, const struct chain_segment *found,
                              struct journal_reader *reader)
{
    uint64_t durable = 0;
    enum status status = replay->clean ? STATUS_OK : journal_reader_scan(reader, &durable);
    if (status != STATUS_OK)
        return fail_at(replay, status, found->id, replay->end, status_text(status));
    if (durable > replay->durable_sequence)
        replay->durable_sequence = durable;
    return replay->durable_sequence <= replay->last_sequence
               ? STATUS_OK
               : fail_lost(replay, found, replay->end, replay->durable_sequence);
}

/* A segment that seems unused may be one whose LINK is damaged: then its frames tell. */
static enum status check_unused(struct replay *replay, const struct chain_segment *found)
{
    struct journal_reader reader;
    uint64_t durable = 0;
    journal_reader_init(&reader, found->segment);
    enum status status = journal_reader_scan(&reader, &durable);
    journal_reader_done(&reader);
    if (status != STATUS_OK)
        return fail_at(replay, status, found->id, SEGMENT_HEADER_BYTES, status_text(status));
    return durable <= replay->last_sequence
               ? STATUS_OK
               : fail_lost(replay, found, SEGMENT_HEADER_BYTES, durable);
}

static void tell_cut(struct replay *replay, const struct chain_segment *found, uint64_t offset)
{
    static const unsigned char zeros[sizeof(struct frame_header)];
    unsigned char bytes[sizeof zeros];
    size_t got = 0;
    char name[64];
    enum status status = disk_file_read(found->segment->file, offset, bytes, sizeof bytes, &got);
    if (status != STATUS_OK || memcmp(bytes, zeros, got) == 0)
        return;
    segment_name(found->id, name);
    event_tell(&replay->events, (struct engine_event){.name = EVENT_TAIL_CUT,
                                                      .file = name,
                                                      .offset = offset,
                                                      .bytes = found->end - offset});
}

static enum status replay_last(struct replay *replay, struct chain_segment *found,
                               struct journal_reader *reader)
{
    replay->end = reader->offset;
    enum status status = check_rest(replay, found, reader);
    if (status == STATUS_OK && !replay->clean)
        tell_cut(replay, found, replay->end);
    return status;
}

static enum status replay_one(struct replay *replay, struct chain_segment *found)
{
    struct journal_reader reader;
    journal_reader_init(&reader, found->segment);
    reader.end = found->end < found->segment->bytes ? found->end : found->segment->bytes;
    enum status status = replay_segment(replay, found, &reader);
    if (status == STATUS_OK && found == replay->chain->last)
        status = replay_last(replay, found, &reader);
    else if (status == STATUS_OK && reader.offset != found->end)
        status = fail_at(replay, STATUS_CORRUPT_LOG, found->id, reader.offset,
                         "a frame is damaged, and later segments build on it; restore the journal "
                         "from a copy");
    found->last_sequence = replay->last_sequence;
    journal_reader_done(&reader);
    return status;
}

enum status replay_run(struct replay *replay)
{
    const struct manifest *manifest = replay->manifest;
    replay->last_sequence = manifest->flushed_sequence;
    replay->durable_sequence = manifest->durable_sequence;
    /* What tables hold is durable, too. */
    if (replay->durable_sequence < manifest->flushed_sequence)
        replay->durable_sequence = manifest->flushed_sequence;
    enum status status = STATUS_OK;
    bool first = true;
    for (size_t i = 0; i < replay->chain->count && status == STATUS_OK; i++) {
        struct chain_segment *found = &replay->chain->segments[i];
        if (!found->used)
            continue;
        /* The first segment may reach back to what tables hold already. */
        if (first && found->link_header.last_sequence < replay->last_sequence)
            replay->last_sequence = found->link_header.last_sequence;
        first = false;
        status = replay_one(replay, found);
    }
    if (status == STATUS_OK && replay->durable_sequence > replay->last_sequence)
        status = fail_lost(replay, NULL, SEGMENT_HEADER_BYTES, replay->durable_sequence);
    for (size_t i = 0; i < replay->chain->count && status == STATUS_OK; i++)
        if (!replay->chain->segments[i].linked)
            status = check_unused(replay, &replay->chain->segments[i]);
    return status;
}
