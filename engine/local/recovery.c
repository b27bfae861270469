/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chain of segments is replayed and followed by a fresh segment. What was read but is not known
 * to be durable (the page cache may show bytes that a failed fdatasync never wrote, or that nobody
 * has synced yet) is copied into the fresh segment, whose LINK, written last, ends the old one
 * before it. Where not even the old one's LINK is known to be durable, the fresh segment copies all
 * of it and takes its place behind its predecessor.
 */
#include "recovery.h"

#include <stdio.h>
#include <unistd.h>

#include "journal_reader.h"
#include "load.h"

enum {
    COPY_BYTES = 1 << 20, /* payload of one frame of copies, unless one record is larger */
    RETRY_NO_SPACE_MS = 5000,
    RETRY_SLICE_MS = 50,
};

struct replay {
    struct recovery *recovery;
    struct failure *failure;
    struct chain chain;
    uint64_t named_id; /* of the segment that the manifest, as found, demands */
    /* what the frames said */
    uint64_t last_sequence;    /* of the last frame read */
    uint64_t durable_sequence; /* highest stated anywhere */
    bool clean;                /* the last frame read is a CLEAN mark */
    uint64_t end;              /* of the last good frame, in the last segment */
    /* what the fresh segment repeats, and what it follows */
    uint64_t kept_sequence; /* all up to it is durable where it stands */
    uint64_t kept_end;      /* of its frame in the last segment, if that stays */
    uint64_t copy_bytes;    /* payload behind it */
    struct frame_link link; /* of the fresh segment */
};

static enum status fail_at(struct replay *replay, enum status status, uint64_t id, uint64_t offset,
                           const char *what)
{
    return chain_fail(&replay->recovery->failed, replay->failure, status, id, offset, what);
}

/* ---- replaying ---- */

static enum status replay_record(struct store *store, const struct record *record)
{
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
        if (record->sequence > replay->recovery->manifest->flushed_sequence)
            status = replay_record(replay->recovery->store, record);
        if (status != STATUS_OK)
            return status;
    }
}

/* Checks the frame's place in the one order of sequences and applies it. */
static enum status replay_frame(struct replay *replay, const struct journal_frame *frame)
{
    const struct frame_header *header = &frame->header;
    bool mark = header->records == 0;
    uint64_t expected = replay->last_sequence + (mark ? 0 : 1);
    if (header->first_sequence != expected || (mark && header->last_sequence != expected))
        return STATUS_CORRUPT_LOG;
    if (!mark) {
        enum status status = replay_records(replay, frame);
        if (status != STATUS_OK)
            return status;
    }
    memtable_note_journal(replay->recovery->store->memtable, header->bytes);
    store_freeze_if_full(replay->recovery->store);
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

/* Reads frames up to `found->end` or to the first bytes that are none. */
static enum status replay_segment(struct replay *replay, const struct chain_segment *found,
                                  struct journal_reader *reader)
{
    uint64_t begun = atomic_load(&replay->recovery->bytes_done);
    for (;;) {
        struct journal_frame frame = {.offset = reader->offset};
        if (atomic_load(replay->recovery->closing))
            return STATUS_CANCELLED;
        enum status status = journal_reader_next(reader, &frame);
        if (status == STATUS_NOT_FOUND)
            return STATUS_OK;
        if (status == STATUS_OK)
            status = replay_frame(replay, &frame);
        if (status != STATUS_OK)
            return fail_frame(replay, status, found, frame.offset);
        atomic_store(&replay->recovery->bytes_done, begun + reader->offset);
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
    uint64_t id = found != NULL ? found->id : replay->recovery->manifest->journal_first;
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
    event_tell(&replay->recovery->events, (struct engine_event){.name = EVENT_TAIL_CUT,
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
    if (status == STATUS_OK && found == replay->chain.last)
        status = replay_last(replay, found, &reader);
    else if (status == STATUS_OK && reader.offset != found->end)
        status = fail_at(replay, STATUS_CORRUPT_LOG, found->id, reader.offset,
                         "a frame is damaged, and later segments build on it; restore the journal "
                         "from a copy");
    found->last_sequence = replay->last_sequence;
    journal_reader_done(&reader);
    return status;
}

static enum status replay_all(struct replay *replay)
{
    struct manifest *manifest = replay->recovery->manifest;
    replay->durable_sequence = manifest->durable_sequence;
    replay->last_sequence = manifest->flushed_sequence;
    enum status status = STATUS_OK;
    bool first = true;
    for (size_t i = 0; i < replay->chain.count && status == STATUS_OK; i++) {
        struct chain_segment *found = &replay->chain.segments[i];
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
    for (size_t i = 0; i < replay->chain.count && status == STATUS_OK; i++)
        if (!replay->chain.segments[i].linked)
            status = check_unused(replay, &replay->chain.segments[i]);
    return status;
}

/* ---- making it durable ---- */

/*
 * Only a sync of the last segment raises the watermark above the one that its LINK states, and it
 * makes the LINK durable too. (The watermark of the LINK itself speaks of what was synced before
 * the LINK was written.)
 */
static bool last_link_is_durable(const struct replay *replay)
{
    return replay->durable_sequence > replay->chain.last->link_header.durable_sequence;
}

static bool is_copied(const struct replay *replay, const struct journal_frame *frame)
{
    return frame->header.records > 0 && frame->header.last_sequence > replay->kept_sequence;
}

/*
 * Measures the copies, and where the last segment ends without them: behind the last frame that is
 * known to be durable, so not behind a mark, which only says so of the frames before it.
 */
static enum status measure(struct replay *replay)
{
    struct journal_reader reader;
    journal_reader_init(&reader, replay->chain.last->segment);
    reader.end = replay->end;
    enum status status = STATUS_OK;
    while (status == STATUS_OK && reader.offset < replay->end) {
        struct journal_frame frame;
        status = journal_reader_next(&reader, &frame);
        if (status != STATUS_OK)
            break;
        if (is_copied(replay, &frame))
            replay->copy_bytes += frame.header.bytes;
        else if (frame.header.records > 0 || (frame.header.flags & FRAME_LINK) != 0)
            replay->kept_end = reader.offset;
    }
    journal_reader_done(&reader);
    return status == STATUS_NOT_FOUND ? STATUS_IO : status;
}

/* Decides what stays where it is, what is written again, and what the fresh segment follows. */
static enum status plan_copies(struct replay *replay)
{
    struct chain_segment *last = replay->chain.last;
    replay->kept_sequence = replay->last_sequence;
    if (last == NULL)
        return STATUS_OK;
    last->used = last_link_is_durable(replay);
    replay->kept_sequence = last->used ? replay->durable_sequence : last->link_header.last_sequence;
    enum status status = measure(replay);
    replay->link = last->used ? (struct frame_link){last->id, replay->kept_end} : last->link;
    return status;
}

/* Collects copied records into frames of about COPY_BYTES. */
struct copies {
    struct journal *journal;
    unsigned char *payload;
    uint64_t capacity;
    struct journal_group group;
};

static enum status copies_flush(struct copies *copies)
{
    if (copies->group.records == 0)
        return STATUS_OK;
    struct iovec piece = {copies->payload, copies->group.bytes};
    copies->group.pieces = &piece;
    copies->group.piece_count = 1;
    enum status status = journal_write(copies->journal, &copies->group);
    copies->group = (struct journal_group){0};
    return status;
}

static enum status copies_add(struct copies *copies, const struct journal_frame *frame)
{
    const struct frame_header *header = &frame->header;
    enum status status = STATUS_OK;
    if ((uint64_t)copies->group.bytes + header->bytes > COPY_BYTES)
        status = copies_flush(copies);
    if (status != STATUS_OK)
        return status;
    uint64_t wanted = header->bytes > COPY_BYTES ? header->bytes : COPY_BYTES;
    if (wanted > copies->capacity) {
        free(copies->payload);
        copies->payload = malloc(wanted);
        copies->capacity = copies->payload != NULL ? wanted : 0;
        if (copies->payload == NULL)
            return STATUS_NO_MEMORY;
    }
    memcpy(copies->payload + copies->group.bytes, frame->payload, header->bytes);
    if (copies->group.records == 0)
        copies->group.first_sequence = header->first_sequence;
    copies->group.last_sequence = header->last_sequence;
    copies->group.bytes += header->bytes;
    copies->group.records += header->records;
    return STATUS_OK;
}

static enum status write_copies(struct replay *replay, struct journal *journal)
{
    if (replay->copy_bytes == 0)
        return STATUS_OK;
    struct copies copies = {.journal = journal};
    struct journal_reader reader;
    journal_reader_init(&reader, replay->chain.last->segment);
    reader.end = replay->end;
    enum status status = STATUS_OK;
    while (status == STATUS_OK && reader.offset < replay->end) {
        struct journal_frame frame;
        status = journal_reader_next(&reader, &frame);
        if (status == STATUS_OK && is_copied(replay, &frame))
            status = copies_add(&copies, &frame);
    }
    if (status == STATUS_OK)
        status = copies_flush(&copies);
    journal_reader_done(&reader);
    free(copies.payload);
    return status == STATUS_NOT_FOUND ? STATUS_IO : status;
}

static bool needs_new_epoch(const struct replay *replay)
{
    return replay->chain.last != NULL && !replay->clean &&
           (replay->chain.last->link_header.flags & FRAME_LAZY) != 0;
}

static enum status update_manifest(struct replay *replay, uint64_t next_journal_id)
{
    struct manifest *manifest = replay->recovery->manifest;
    struct manifest updated = *manifest;
    if (needs_new_epoch(replay)) /* a lost tail's sequences will be given out again */
        updated.epoch = manifest_new_epoch();
    updated.next_journal_id = next_journal_id;
    if (updated.next_table_id <= replay->chain.table_id_max)
        updated.next_table_id = replay->chain.table_id_max + 1;
    updated.durable_sequence = replay->kept_sequence;
    enum status status = manifest_write(replay->recovery->disk, &updated);
    if (status == STATUS_OK && updated.epoch != manifest->epoch)
        event_tell(&replay->recovery->events, (struct engine_event){.name = EVENT_EPOCH_CHANGED});
    if (status == STATUS_OK)
        *manifest = updated;
    return status;
}

/* Bytes of a segment that stays: the last one ends where the fresh one's LINK says. */
static uint64_t staying_bytes(const struct replay *replay, const struct chain_segment *found)
{
    uint64_t bytes = found->segment->bytes;
    return found == replay->chain.last && replay->kept_end < bytes ? replay->kept_end : bytes;
}

static enum status set_past(const struct replay *replay, struct journal_options *options)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; i < replay->chain.count && status == STATUS_OK; i++) {
        const struct chain_segment *found = &replay->chain.segments[i];
        if (found->id >= options->next_id)
            options->next_id = found->id + 1;
        if (!found->used)
            continue;
        status = past_segments_reserve(&options->past);
        if (status == STATUS_OK)
            past_segments_add(&options->past, (struct past_segment){
                                                  .id = found->id,
                                                  .last_sequence = found->last_sequence,
                                                  .bytes = staying_bytes(replay, found),
                                              });
    }
    return status;
}

static enum status open_journal(const struct replay *replay, struct journal **out_journal)
{
    struct journal_options options = replay->recovery->journal;
    options.next_id = replay->recovery->manifest->next_journal_id;
    /* Copies are written again: the numbering goes back to before them. */
    options.last_sequence = replay->kept_sequence;
    options.durable_sequence = replay->kept_sequence;
    enum status status = set_past(replay, &options);
    if (status == STATUS_OK)
        status = journal_open(&options, out_journal);
    if (status != STATUS_OK)
        past_segments_done(&options.past);
    return status;
}

/* ---- cleaning up: what cannot be removed now costs space until another start ---- */

static void remove_segment(struct replay *replay, uint64_t id)
{
    char name[64];
    segment_name(id, name);
    enum status ignored = disk_remove(replay->recovery->disk, name);
    (void)ignored;
}

/*
 * Before anything is made: starts that fail again and again must not fill the disk. The segment that
 * the manifest names stays until another manifest names another: without it the store would not open.
 */
static void remove_unused(struct replay *replay)
{
    struct chain *chain = &replay->chain;
    enum status ignored = STATUS_OK;
    for (size_t i = 0; i < chain->stray_count; i++)
        ignored = disk_remove(replay->recovery->disk, chain->strays[i]);
    for (size_t i = 0; i < chain->count; i++)
        if (!chain->segments[i].linked && chain->segments[i].id != replay->named_id)
            remove_segment(replay, chain->segments[i].id);
    (void)ignored;
}

/* ---- beginning ---- */

/*
 * Copies first, then the manifest with a new epoch if one is due, the LINK last: a crash before the
 * LINK leaves the fresh segment unused and the old one as it was.
 */
static enum status begin_journal(struct replay *replay, struct journal **out_journal)
{
    struct journal *journal;
    enum status status = open_journal(replay, &journal);
    if (status != STATUS_OK)
        return status;
    uint64_t frames = replay->copy_bytes / COPY_BYTES * 2 + 2;
    if (replay->copy_bytes > 0)
        status = journal_begin(journal, replay->copy_bytes + frames * 2 * FORMAT_BLOCK_BYTES);
    else
        status = journal_begin(journal, 0);
    if (status == STATUS_OK)
        status = write_copies(replay, journal);
    bool named = false; /* perhaps, by the manifest: then it must stay */
    if (status == STATUS_OK) {
        status = update_manifest(replay, journal_next_id(journal));
        named = status == STATUS_OK || status == STATUS_UNKNOWN;
    }
    if (status == STATUS_OK)
        status = journal_link(journal, replay->link);
    if (status != STATUS_OK) {
        uint64_t id = journal_next_id(journal) - 1;
        journal_close(journal);
        if (!named)
            remove_segment(replay, id);
        return status;
    }
    *out_journal = journal;
    return STATUS_OK;
}

static void remove_replaced(struct replay *replay)
{
    struct chain *chain = &replay->chain;
    enum status ignored = STATUS_OK;
    for (size_t i = 0; i < chain->count; i++)
        if (!chain->segments[i].used &&
            (chain->segments[i].linked || chain->segments[i].id == replay->named_id))
            remove_segment(replay, chain->segments[i].id);
    if (chain->last != NULL && chain->last->used && replay->kept_end < chain->last->segment->bytes)
        ignored = disk_file_truncate(chain->last->segment->file, replay->kept_end);
    (void)ignored;
}

static bool pause_before_retry(const struct recovery *recovery)
{
    for (int waited_ms = 0; waited_ms < RETRY_NO_SPACE_MS; waited_ms += RETRY_SLICE_MS) {
        if (atomic_load(recovery->closing))
            return false;
        usleep(RETRY_SLICE_MS * 1000);
    }
    return true;
}

/* A full disk is no reason to give up: somebody may free space. */
static enum status begin_journal_with_patience(struct replay *replay, struct journal **out_journal)
{
    for (;;) {
        enum status status = begin_journal(replay, out_journal);
        if (status != STATUS_NO_SPACE || !replay->recovery->patient)
            return status;
        event_tell(&replay->recovery->events, (struct engine_event){.name = EVENT_SPACE_LOW});
        if (!pause_before_retry(replay->recovery))
            return STATUS_CANCELLED;
    }
}

static enum status load(struct replay *replay)
{
    struct recovery *recovery = replay->recovery;
    struct load load = {
        .disk = recovery->disk,
        .manifest = recovery->manifest,
        .store = recovery->store,
        .closing = recovery->closing,
        .bytes_done = &recovery->bytes_done,
        .threads = recovery->threads,
    };
    uint64_t bytes = replay->chain.bytes;
    for (uint64_t i = 0; i < recovery->manifest->table_count; i++)
        bytes += recovery->manifest->tables[i].identity.bytes;
    atomic_store(&recovery->bytes_to_do, bytes);
    enum status status = load_tables(&load, replay->failure);
    if (status == STATUS_OK)
        store_publish(recovery->store, recovery->manifest->flushed_sequence);
    return status;
}

enum status recovery_run(struct recovery *recovery, struct journal **out_journal,
                         struct failure *failure)
{
    struct replay replay = {
        .recovery = recovery,
        .failure = failure,
        .named_id = recovery->manifest->next_journal_id - 1,
    };
    enum status status =
        chain_open(&replay.chain, recovery->disk, recovery->manifest, &recovery->failed, failure);
    if (status == STATUS_OK)
        status = load(&replay);
    if (status == STATUS_OK)
        status = replay_all(&replay);
    if (status == STATUS_OK)
        status = plan_copies(&replay);
    if (status == STATUS_OK) {
        remove_unused(&replay);
        status = begin_journal_with_patience(&replay, out_journal);
    }
    if (status == STATUS_OK) {
        remove_replaced(&replay);
        recovery->store->epoch = recovery->manifest->epoch;
    } else if (failure->message[0] == '\0') {
        status = failure_set(failure, status, "recovery: %s", status_text(status));
    }
    chain_close(&replay.chain);
    return status;
}
