/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The segments found are put in order by their LINKs, replayed, and followed by a fresh segment.
 * What was read but is not known to be durable (the page cache may show bytes that a failed
 * fdatasync never wrote) is copied into the fresh segment, whose LINK, written last, ends the old
 * one before them.
 */
#include "recovery.h"

#include <stdio.h>
#include <unistd.h>

#include "journal_reader.h"

enum {
    COPY_BYTES = 1 << 20, /* payload of one frame of copies, unless one record is larger */
    RETRY_NO_SPACE_MS = 5000,
    RETRY_SLICE_MS = 50,
};

/* A segment found in the directory. */
struct found {
    uint64_t id;
    struct segment *segment;
    bool used; /* begins with a LINK */
    struct frame_link link;
    struct frame_header link_header;
    uint64_t end; /* frames end here, at the latest */
};

struct replay {
    struct recovery *recovery;
    struct failure *failure;
    /* the directory */
    struct found *found; /* ascending ids */
    size_t found_count, found_capacity;
    struct found *last_used; /* NULL: none */
    char (*spares)[64];
    size_t spare_count;
    uint64_t other_bytes;
    /* what the frames said */
    uint64_t last_sequence;    /* of the last frame read */
    uint64_t durable_sequence; /* highest stated anywhere */
    bool clean;                /* the last frame read is a CLEAN mark */
    uint64_t end;              /* of the last good frame, in the last used segment */
    uint64_t keep_end;         /* of the last frame known to be durable, likewise */
    uint64_t copy_bytes;       /* payload between keep_end and end */
};

/* ---- the directory ---- */

static enum status add_found(struct replay *replay, uint64_t id)
{
    if (replay->found_count == replay->found_capacity) {
        size_t capacity = replay->found_capacity * 2 + 16;
        struct found *grown = realloc(replay->found, capacity * sizeof *grown);
        if (grown == NULL)
            return STATUS_NO_MEMORY;
        replay->found = grown;
        replay->found_capacity = capacity;
    }
    replay->found[replay->found_count++] = (struct found){.id = id};
    return STATUS_OK;
}

static enum status add_spare(struct replay *replay, const char *name)
{
    char(*grown)[64] = realloc(replay->spares, (replay->spare_count + 1) * sizeof *grown);
    if (grown == NULL)
        return STATUS_NO_MEMORY;
    replay->spares = grown;
    snprintf(replay->spares[replay->spare_count++], 64, "%s", name);
    return STATUS_OK;
}

static enum status visit_file(void *context, const char *name, uint64_t bytes)
{
    struct replay *replay = context;
    uint64_t id;
    if (segment_name_is_spare(name))
        return add_spare(replay, name);
    if (!segment_name_parse(name, &id) || id < replay->recovery->manifest->journal_first)
        return STATUS_OK;
    atomic_fetch_add(&replay->recovery->bytes_to_do, bytes);
    replay->other_bytes += bytes;
    return add_found(replay, id);
}

static int compare_by_id(const void *left, const void *right)
{
    const struct found *a = left, *b = right;
    return (a->id > b->id) - (a->id < b->id);
}

static enum status fail_at(struct replay *replay, enum status status, uint64_t id, uint64_t offset,
                           const char *what)
{
    struct recovery *recovery = replay->recovery;
    segment_name(id, recovery->failed_file);
    recovery->failed_offset = offset;
    return failure_set(replay->failure, status, "%s: offset %" PRIu64 ": %s", recovery->failed_file,
                       offset, what);
}

static enum status open_found(struct replay *replay, struct found *found)
{
    const uint8_t *uuid = replay->recovery->manifest->uuid;
    enum status status = segment_open(replay->recovery->disk, uuid, found->id, &found->segment);
    if (status == STATUS_CORRUPT_LOG)
        return fail_at(
            replay, status, found->id, 0,
            "the segment's header is damaged or another store's; restore it from a copy");
    if (status == STATUS_FORMAT)
        return fail_at(replay, status, found->id, 0, "unknown format; use a newer program");
    if (status != STATUS_OK)
        return fail_at(replay, status, found->id, 0, status_text(status));
    struct journal_reader reader;
    struct journal_frame frame;
    journal_reader_init(&reader, found->segment);
    status = journal_reader_link(&reader, &frame, &found->link);
    found->used = status == STATUS_OK;
    if (found->used)
        found->link_header = frame.header;
    found->end = found->segment->bytes;
    journal_reader_done(&reader);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

/* Each LINK names the segment before it: a gap in the chain is a lost or damaged segment. */
static enum status order_by_links(struct replay *replay)
{
    for (size_t i = 0; i < replay->found_count; i++) {
        struct found *found = &replay->found[i];
        if (!found->used)
            continue;
        uint64_t before = found->link.predecessor_id;
        bool first = replay->last_used == NULL;
        if (first ? before >= replay->recovery->manifest->journal_first
                  : before != replay->last_used->id)
            return fail_at(replay, STATUS_CORRUPT_LOG, before, SEGMENT_HEADER_BYTES,
                           "the segment is missing or its first frame is damaged, and later "
                           "segments build on it; restore it from a copy");
        if (!first)
            replay->last_used->end = found->link.predecessor_end;
        replay->last_used = found;
    }
    return STATUS_OK;
}

static enum status read_directory(struct replay *replay)
{
    enum status status = disk_list(replay->recovery->disk, visit_file, replay);
    if (status != STATUS_OK)
        return failure_set(replay->failure, status, "listing the data directory: %s",
                           status_text(status));
    if (replay->found_count > 0)
        qsort(replay->found, replay->found_count, sizeof *replay->found, compare_by_id);
    for (size_t i = 0; i < replay->found_count && status == STATUS_OK; i++)
        status = open_found(replay, &replay->found[i]);
    return status == STATUS_OK ? order_by_links(replay) : status;
}

/* ---- replaying ---- */

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
            status = store_replay(replay->recovery->store, record);
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
    replay->last_sequence = header->last_sequence;
    replay->clean = (header->flags & FRAME_CLEAN) != 0;
    if (header->durable_sequence > replay->durable_sequence)
        replay->durable_sequence = header->durable_sequence;
    return STATUS_OK;
}

static enum status fail_frame(struct replay *replay, enum status status, const struct found *found,
                              uint64_t offset)
{
    if (status == STATUS_CORRUPT_LOG)
        return fail_at(replay, status, found->id, offset,
                       "the frame contradicts the ones before it; restore the journal from a copy");
    return fail_at(replay, status, found->id, offset, status_text(status));
}

/* Reads frames up to `found->end` or to the first bytes that are none. */
static enum status replay_segment(struct replay *replay, const struct found *found,
                                  struct journal_reader *reader)
{
    uint64_t begun = atomic_load(&replay->recovery->bytes_done);
    for (;;) {
        struct journal_frame frame;
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

/* The highest watermark behind the last good frame, and in segments that seem unused. */
static enum status scan_rest(struct replay *replay, struct journal_reader *reader)
{
    uint64_t durable;
    enum status status = journal_reader_scan(reader, &durable);
    if (status == STATUS_OK && durable > replay->durable_sequence)
        replay->durable_sequence = durable;
    for (size_t i = 0; i < replay->found_count && status == STATUS_OK; i++) {
        if (replay->found[i].used)
            continue;
        struct journal_reader unused;
        journal_reader_init(&unused, replay->found[i].segment);
        status = journal_reader_scan(&unused, &durable);
        journal_reader_done(&unused);
        if (status == STATUS_OK && durable > replay->durable_sequence)
            replay->durable_sequence = durable;
    }
    return status;
}

static enum status check_end(struct replay *replay, const struct found *found, uint64_t offset)
{
    if (replay->durable_sequence <= replay->last_sequence)
        return STATUS_OK;
    char what[200];
    snprintf(what, sizeof what,
             "sequences %" PRIu64 " to %" PRIu64 " were durable and cannot be read; restore the "
             "journal from a copy",
             replay->last_sequence + 1, replay->durable_sequence);
    return fail_at(replay, STATUS_CORRUPT_LOG, found != NULL ? found->id : 1, offset, what);
}

static void tell_cut(struct replay *replay, const struct found *found, uint64_t offset)
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

static enum status replay_last(struct replay *replay, struct found *found,
                               struct journal_reader *reader)
{
    replay->end = reader->offset;
    if (!replay->clean) {
        enum status status = scan_rest(replay, reader);
        if (status != STATUS_OK)
            return fail_at(replay, status, found->id, replay->end, status_text(status));
    }
    enum status status = check_end(replay, found, replay->end);
    if (status == STATUS_OK && !replay->clean)
        tell_cut(replay, found, replay->end);
    return status;
}

static enum status replay_one(struct replay *replay, struct found *found)
{
    struct journal_reader reader;
    journal_reader_init(&reader, found->segment);
    reader.end = found->end < found->segment->bytes ? found->end : found->segment->bytes;
    enum status status = replay_segment(replay, found, &reader);
    if (status == STATUS_OK && found == replay->last_used)
        status = replay_last(replay, found, &reader);
    else if (status == STATUS_OK && reader.offset != found->end)
        status = fail_at(replay, STATUS_CORRUPT_LOG, found->id, reader.offset,
                         "a frame is damaged, and later segments build on it; restore the journal "
                         "from a copy");
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
    for (size_t i = 0; i < replay->found_count && status == STATUS_OK; i++) {
        struct found *found = &replay->found[i];
        if (!found->used)
            continue;
        /* The first segment may reach back to what tables hold already. */
        if (first && found->link_header.last_sequence < replay->last_sequence)
            replay->last_sequence = found->link_header.last_sequence;
        first = false;
        status = replay_one(replay, found);
    }
    if (status == STATUS_OK && replay->last_used == NULL)
        status = check_end(replay, NULL, SEGMENT_HEADER_BYTES);
    return status;
}

/* ---- making it durable ---- */

/* Where the frames begin that nothing says are durable, and how much they carry. */
static enum status measure_copies(struct replay *replay)
{
    struct found *found = replay->last_used;
    replay->keep_end = replay->end;
    replay->copy_bytes = 0;
    if (found == NULL || replay->last_sequence <= replay->durable_sequence)
        return STATUS_OK;
    struct journal_reader reader;
    journal_reader_init(&reader, found->segment);
    reader.end = replay->end;
    enum status status = STATUS_OK;
    while (status == STATUS_OK && reader.offset < replay->end) {
        struct journal_frame frame;
        status = journal_reader_next(&reader, &frame);
        if (status != STATUS_OK || frame.header.last_sequence <= replay->durable_sequence)
            continue;
        if (replay->copy_bytes == 0)
            replay->keep_end = frame.offset;
        replay->copy_bytes += frame.header.bytes;
    }
    journal_reader_done(&reader);
    return status == STATUS_NOT_FOUND ? STATUS_IO : status;
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
    journal_reader_init(&reader, replay->last_used->segment);
    reader.offset = replay->keep_end;
    reader.end = replay->end;
    enum status status = STATUS_OK;
    while (status == STATUS_OK && reader.offset < replay->end) {
        struct journal_frame frame;
        status = journal_reader_next(&reader, &frame);
        if (status == STATUS_OK && frame.header.records > 0)
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
    return replay->last_used != NULL && !replay->clean &&
           (replay->last_used->link_header.flags & FRAME_LAZY) != 0;
}

static enum status update_manifest(struct replay *replay, uint64_t next_journal_id)
{
    struct manifest *manifest = replay->recovery->manifest;
    struct manifest updated = *manifest;
    if (needs_new_epoch(replay)) /* a lost tail's sequences will be given out again */
        updated.epoch = manifest_new_epoch();
    updated.next_journal_id = next_journal_id;
    updated.durable_sequence = replay->durable_sequence;
    enum status status = manifest_write(replay->recovery->disk, &updated);
    if (status == STATUS_OK && updated.epoch != manifest->epoch)
        event_tell(&replay->recovery->events, (struct engine_event){.name = EVENT_EPOCH_CHANGED});
    if (status == STATUS_OK)
        *manifest = updated;
    return status;
}

static struct journal_options journal_options_of(const struct replay *replay)
{
    struct journal_options options = replay->recovery->journal;
    uint64_t next = replay->recovery->manifest->next_journal_id;
    if (replay->found_count > 0 && replay->found[replay->found_count - 1].id >= next)
        next = replay->found[replay->found_count - 1].id + 1;
    options.next_id = next;
    options.last_sequence = replay->last_sequence;
    options.durable_sequence = replay->durable_sequence;
    if (replay->copy_bytes > 0) /* they are written again: the numbering goes back to before them */
        options.last_sequence = replay->durable_sequence;
    options.other_segments = replay->found_count;
    options.other_bytes = replay->other_bytes;
    return options;
}

/*
 * Copies first, then the manifest with a new epoch if one is due, the LINK last: a crash before the
 * LINK leaves the fresh segment unused and the old one as it was.
 */
static enum status begin_journal(struct replay *replay, struct journal **out_journal)
{
    struct journal_options options = journal_options_of(replay);
    struct journal *journal;
    enum status status = journal_open(&options, &journal);
    if (status != STATUS_OK)
        return status;
    uint64_t frames = replay->copy_bytes / COPY_BYTES * 2 + 2;
    if (replay->copy_bytes > 0)
        status = journal_begin(journal, replay->copy_bytes + frames * 2 * FORMAT_BLOCK_BYTES);
    else
        status = journal_begin(journal, 0);
    if (status == STATUS_OK)
        status = write_copies(replay, journal);
    if (status == STATUS_OK)
        status = journal_sync(journal);
    if (status == STATUS_OK)
        status = update_manifest(replay, options.next_id + 1);
    struct frame_link link = {0};
    if (replay->last_used != NULL)
        link = (struct frame_link){replay->last_used->id, replay->keep_end};
    if (status == STATUS_OK)
        status = journal_link(journal, link);
    if (status != STATUS_OK) {
        journal_close(journal);
        return status;
    }
    *out_journal = journal;
    return STATUS_OK;
}

/* ---- cleaning up ---- */

/* Strays cost space, nothing else: what cannot be removed now is removed at another start. */
static void remove_strays(struct replay *replay)
{
    struct disk *disk = replay->recovery->disk;
    enum status ignored = STATUS_OK;
    for (size_t i = 0; i < replay->spare_count; i++)
        ignored = disk_remove(disk, replay->spares[i]);
    for (size_t i = 0; i < replay->found_count; i++) {
        char name[64];
        segment_name(replay->found[i].id, name);
        if (!replay->found[i].used)
            ignored = disk_remove(disk, name);
    }
    if (replay->last_used != NULL && replay->keep_end < replay->last_used->segment->bytes)
        ignored = disk_file_truncate(replay->last_used->segment->file, replay->keep_end);
    (void)ignored;
}

static void replay_done(struct replay *replay)
{
    for (size_t i = 0; i < replay->found_count; i++)
        segment_close(replay->found[i].segment);
    free(replay->found);
    free(replay->spares);
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

enum status recovery_run(struct recovery *recovery, struct journal **out_journal,
                         struct failure *failure)
{
    struct replay replay = {.recovery = recovery, .failure = failure};
    enum status status = read_directory(&replay);
    if (status == STATUS_OK)
        status = replay_all(&replay);
    if (status == STATUS_OK)
        status = measure_copies(&replay);
    if (status == STATUS_OK)
        status = begin_journal_with_patience(&replay, out_journal);
    if (status == STATUS_OK) {
        remove_strays(&replay);
        recovery->store->epoch = recovery->manifest->epoch;
        store_publish(recovery->store, replay.last_sequence);
    } else if (failure->message[0] == '\0') {
        status = failure_set(failure, status, "recovery: %s", status_text(status));
    }
    replay_done(&replay);
    return status;
}
