/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chain of segments is replayed and followed by a fresh segment. What was read but is not known
 * to be durable (the page cache may show bytes that a failed fdatasync never wrote, or that nobody
 * has synced yet) is copied into the fresh segment, whose LINK, written last, ends the old one
 * before it. Where not even the old one's LINK is known to be durable, the fresh segment copies all
 * of it and takes its place behind its predecessor.
 */
#include "recovery.h"

#include "journal_reader.h"
#include "load.h"
#include "replay.h"

enum { COPY_BYTES = 1 << 20 }; /* payload of one frame of copies, unless one record is larger */

/* What the first step leaves to the second. */
struct recovered {
    struct recovery *recovery;
    struct failure *failure;
    struct chain chain;
    struct replay replay;
    uint64_t named_id; /* of the segment that the manifest, as found, demands */
    uint64_t epoch;
    /* what the fresh segment repeats, and what it follows */
    uint64_t kept_sequence; /* all up to it is durable where it stands */
    uint64_t kept_end;      /* of its frame in the last segment, if that stays */
    uint64_t copy_bytes;    /* payload behind it */
    struct frame_link link; /* of the fresh segment */
};

/* ---- what is durable ---- */

/*
 * Only a sync of the last segment raises the watermark above the one that its LINK states, and it
 * makes the LINK durable too. (The watermark of the LINK itself speaks of what was synced before
 * the LINK was written.)
 */
static bool last_link_is_durable(const struct recovered *recovered)
{
    return recovered->replay.durable_sequence > recovered->chain.last->link_header.durable_sequence;
}

static bool is_copied(const struct recovered *recovered, const struct journal_frame *frame)
{
    return frame->header.records > 0 && frame->header.last_sequence > recovered->kept_sequence;
}

/* A watermark inside a frame, which no writer leaves there, does not divide it. */
static void copy_whole(struct recovered *recovered, const struct frame_header *header)
{
    recovered->copy_bytes += header->bytes;
    if (header->first_sequence <= recovered->kept_sequence)
        recovered->kept_sequence = header->first_sequence - 1;
}

/*
 * Measures the copies, and where the last segment ends without them: behind the last frame that is
 * known to be durable, so not behind a mark, which only says so of the frames before it.
 */
static enum status measure(struct recovered *recovered)
{
    struct journal_reader reader;
    journal_reader_init(&reader, recovered->chain.last->segment);
    reader.end = recovered->replay.end;
    enum status status = STATUS_OK;
    while (status == STATUS_OK && reader.offset < recovered->replay.end) {
        struct journal_frame frame;
        status = journal_reader_next(&reader, &frame);
        if (status != STATUS_OK)
            break;
        if (is_copied(recovered, &frame))
            copy_whole(recovered, &frame.header);
        else if (frame.header.records > 0 || (frame.header.flags & FRAME_LINK) != 0)
            recovered->kept_end = reader.offset;
    }
    journal_reader_done(&reader);
    return status == STATUS_NOT_FOUND ? STATUS_IO : status;
}

/* Where all is in tables: behind what is kept of it, if anything is. */
static struct frame_link link_behind_kept(const struct chain *chain)
{
    if (chain->kept_count == 0)
        return (struct frame_link){0, 0};
    const struct chain_kept *newest = &chain->kept[chain->kept_count - 1];
    return (struct frame_link){newest->id, newest->end};
}

/* Decides what stays where it is, what is written again, and what the fresh segment follows. */
static enum status plan_copies(struct recovered *recovered)
{
    struct chain_segment *last = recovered->chain.last;
    recovered->kept_sequence = recovered->replay.last_sequence;
    if (last == NULL) {
        recovered->link = link_behind_kept(&recovered->chain);
        return STATUS_OK;
    }
    last->used = last_link_is_durable(recovered);
    recovered->kept_sequence =
        last->used ? recovered->replay.durable_sequence : last->link_header.last_sequence;
    enum status status = measure(recovered);
    recovered->link = last->used ? (struct frame_link){last->id, recovered->kept_end} : last->link;
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

static enum status write_copies(struct recovered *recovered, struct journal *journal)
{
    if (recovered->copy_bytes == 0)
        return STATUS_OK;
    struct copies copies = {.journal = journal};
    struct journal_reader reader;
    journal_reader_init(&reader, recovered->chain.last->segment);
    reader.end = recovered->replay.end;
    enum status status = STATUS_OK;
    while (status == STATUS_OK && reader.offset < recovered->replay.end) {
        struct journal_frame frame;
        status = journal_reader_next(&reader, &frame);
        if (status == STATUS_OK && is_copied(recovered, &frame))
            status = copies_add(&copies, &frame);
    }
    if (status == STATUS_OK)
        status = copies_flush(&copies);
    journal_reader_done(&reader);
    free(copies.payload);
    return status == STATUS_NOT_FOUND ? STATUS_IO : status;
}

/* A lost tail's sequences will be given out again. The journal alone cannot tell: what is left of it
 * may begin behind the last segment that was known to be used. */
static bool needs_new_epoch(const struct recovered *recovered)
{
    return recovered->recovery->manifest->lazy && !recovered->replay.clean;
}

static enum status update_manifest(struct recovered *recovered, uint64_t next_journal_id)
{
    struct manifest *manifest = recovered->recovery->manifest;
    struct manifest updated = *manifest;
    updated.epoch = recovered->epoch;
    updated.lazy = recovered->recovery->journal.lazy;
    updated.next_journal_id = next_journal_id;
    updated.journal_kept =
        recovered->chain.kept_count > 0 ? recovered->chain.kept[0].id : updated.journal_first;
    if (updated.next_table_id <= recovered->chain.table_id_max)
        updated.next_table_id = recovered->chain.table_id_max + 1;
    updated.durable_sequence = recovered->kept_sequence;
    enum status status = manifest_write(recovered->recovery->disk, &updated);
    if (status == STATUS_OK && updated.epoch != manifest->epoch)
        event_tell(&recovered->recovery->events,
                   (struct engine_event){.name = EVENT_EPOCH_CHANGED});
    if (status == STATUS_OK)
        *manifest = updated;
    return status;
}

/* Bytes of a segment that stays: the last one ends where the fresh one's LINK says. */
static uint64_t staying_bytes(const struct recovered *recovered, const struct chain_segment *found)
{
    uint64_t bytes = found->segment->bytes;
    return found == recovered->chain.last && recovered->kept_end < bytes ? recovered->kept_end
                                                                         : bytes;
}

static enum status add_past(struct past_segments *past, struct past_segment row, uint64_t before,
                            uint64_t end)
{
    enum status status = past_segments_reserve(past);
    if (status == STATUS_OK)
        row.index = segment_index_open(row.id, before, row.bytes, end);
    if (row.index == NULL)
        return STATUS_NO_MEMORY;
    past_segments_add(past, row);
    return STATUS_OK;
}

static enum status set_kept(const struct recovered *recovered, struct past_segments *past)
{
    const struct chain *chain = &recovered->chain;
    enum status status = STATUS_OK;
    for (size_t i = 0; i < chain->kept_count && status == STATUS_OK; i++) {
        const struct chain_kept *kept = &chain->kept[i];
        struct past_segment row = {
            .id = kept->id, .last_sequence = kept->last_sequence, .bytes = kept->bytes};
        status = add_past(past, row, kept->before, kept->end);
    }
    past->needed_first = recovered->recovery->manifest->journal_first;
    past->kept_first = chain->kept_count > 0 ? chain->kept[0].id : past->needed_first;
    return status;
}

static enum status set_past(const struct recovered *recovered, struct journal_options *options)
{
    enum status status = set_kept(recovered, &options->past);
    for (size_t i = 0; i < recovered->chain.count && status == STATUS_OK; i++) {
        const struct chain_segment *found = &recovered->chain.segments[i];
        if (found->id >= options->next_id)
            options->next_id = found->id + 1;
        if (!found->used)
            continue;
        struct past_segment row = {.id = found->id,
                                   .last_sequence = found->last_sequence,
                                   .bytes = staying_bytes(recovered, found)};
        uint64_t end = found == recovered->chain.last ? recovered->kept_end : found->end;
        status = add_past(&options->past, row, found->link_header.last_sequence, end);
    }
    return status;
}

static enum status open_journal(const struct recovered *recovered, struct journal **out_journal)
{
    struct journal_options options = recovered->recovery->journal;
    const struct manifest *manifest = recovered->recovery->manifest;
    /* No segment may be left of those that were made ready since the last start: one with an id below
     * `journal_first` would not count. */
    options.next_id = manifest->next_journal_id > manifest->journal_first
                          ? manifest->next_journal_id
                          : manifest->journal_first;
    /* Copies are written again: the numbering goes back to before them. */
    options.last_sequence = recovered->kept_sequence;
    options.durable_sequence = recovered->kept_sequence;
    enum status status = set_past(recovered, &options);
    if (status == STATUS_OK)
        status = journal_open(&options, out_journal);
    if (status != STATUS_OK)
        past_segments_done(&options.past);
    return status;
}

/* ---- cleaning up: what cannot be removed now costs space until another start ---- */

static void remove_segment(const struct recovered *recovered, uint64_t id)
{
    char name[64];
    segment_name(id, name);
    enum status ignored = disk_remove(recovered->recovery->disk, name);
    (void)ignored;
}

/* Preparations that were cut off, or all that the manifest does not list. */
static void remove_strays(const struct recovered *recovered, bool spares)
{
    const struct chain *chain = &recovered->chain;
    enum status ignored = STATUS_OK;
    for (size_t i = 0; i < chain->stray_count; i++)
        if (segment_name_is_spare(chain->strays[i]) == spares)
            ignored = disk_remove(recovered->recovery->disk, chain->strays[i]);
    (void)ignored;
}

/* Begun or made ready, but not used. The one that the manifest names stays until another manifest
 * names another: without it the store would not open. */
static bool is_removable(const struct recovered *recovered, const struct chain_segment *found)
{
    return !found->linked && found->id != recovered->named_id;
}

static bool has_unlisted(const struct recovered *recovered)
{
    const struct chain *chain = &recovered->chain;
    for (size_t i = 0; i < chain->stray_count; i++)
        if (!segment_name_is_spare(chain->strays[i]))
            return true;
    for (size_t i = 0; i < chain->count; i++)
        if (chain->segments[i].segment != NULL && is_removable(recovered, &chain->segments[i]))
            return true;
    return false;
}

static void remove_unlinked(struct recovered *recovered, uint64_t above_id)
{
    struct chain *chain = &recovered->chain;
    for (size_t i = 0; i < chain->count; i++) {
        struct chain_segment *found = &chain->segments[i];
        if (found->id <= above_id || found->segment == NULL || !is_removable(recovered, found))
            continue;
        remove_segment(recovered, found->id);
        segment_close(TAKE(found->segment)); /* an open file keeps its space */
    }
}

/*
 * Before anything is made: starts that fail again and again must not fill the disk, and a full one
 * needs the room. No manifest, not even an older one, names a spare or a segment made ready later
 * than the one named. The rest goes only once the manifest is written anew: the process that wrote it
 * may have been told that its name is not durable, and nobody is told that again.
 */
static void remove_unused(struct recovered *recovered)
{
    remove_strays(recovered, true);
    remove_unlinked(recovered, recovered->named_id);
    if (!has_unlisted(recovered) ||
        manifest_write(recovered->recovery->disk, recovered->recovery->manifest) != STATUS_OK)
        return;
    remove_strays(recovered, false);
    remove_unlinked(recovered, 0);
}

/* ---- beginning ---- */

/*
 * Copies first, then the manifest with a new epoch if one is due, the LINK last: a crash before the
 * LINK leaves the fresh segment unused and the old one as it was.
 */
static enum status begin_journal(struct recovered *recovered, struct journal **out_journal)
{
    struct journal *journal;
    enum status status = open_journal(recovered, &journal);
    if (status != STATUS_OK)
        return status;
    uint64_t frames = recovered->copy_bytes / COPY_BYTES * 2 + 2;
    if (recovered->copy_bytes > 0)
        status = journal_begin(journal, recovered->copy_bytes + frames * 2 * FORMAT_BLOCK_BYTES);
    else
        status = journal_begin(journal, 0);
    if (status == STATUS_OK)
        status = write_copies(recovered, journal);
    bool named = false; /* perhaps, by the manifest: then it must stay */
    if (status == STATUS_OK) {
        status = update_manifest(recovered, journal_next_id(journal));
        named = status == STATUS_OK || status == STATUS_UNKNOWN;
    }
    if (status == STATUS_OK)
        status = journal_link(journal, recovered->link);
    if (status != STATUS_OK) {
        uint64_t id = journal_next_id(journal) - 1;
        journal_close(journal);
        if (!named)
            remove_segment(recovered, id);
        return status;
    }
    *out_journal = journal;
    return STATUS_OK;
}

static void remove_replaced(struct recovered *recovered)
{
    struct chain *chain = &recovered->chain;
    enum status ignored = STATUS_OK;
    for (size_t i = 0; i < chain->count; i++)
        if (!chain->segments[i].used && chain->segments[i].segment != NULL)
            remove_segment(recovered, chain->segments[i].id);
    if (chain->last != NULL && chain->last->used &&
        recovered->kept_end < chain->last->segment->bytes)
        ignored = disk_file_truncate(chain->last->segment->file, recovered->kept_end);
    (void)ignored;
}

/* ---- the steps ---- */

static enum status load(struct recovered *recovered)
{
    struct recovery *recovery = recovered->recovery;
    struct load load = {
        .disk = recovery->disk,
        .manifest = recovery->manifest,
        .store = recovery->store,
        .closing = recovery->closing,
        .bytes_done = &recovery->bytes_done,
        .threads = recovery->threads,
    };
    uint64_t bytes = recovered->chain.bytes;
    for (uint64_t i = 0; i < recovery->manifest->table_count; i++)
        bytes += recovery->manifest->tables[i].identity.bytes;
    atomic_store(&recovery->bytes_to_do, bytes);
    enum status status = load_tables(&load, recovered->failure);
    if (status == STATUS_OK)
        store_publish(recovery->store, recovery->manifest->flushed_sequence);
    return status;
}
static enum status replay(struct recovered *recovered)
{
    struct recovery *recovery = recovered->recovery;
    recovered->replay = (struct replay){
        .chain = &recovered->chain,
        .manifest = recovery->manifest,
        .store = recovery->store,
        .closing = recovery->closing,
        .bytes_done = &recovery->bytes_done,
        .events = recovery->events,
        .failed = &recovery->failed,
        .failure = recovered->failure,
    };
    return replay_run(&recovered->replay);
}

static enum status replay_and_plan(struct recovered *recovered)
{
    struct recovery *recovery = recovered->recovery;
    enum status status = chain_open(&recovered->chain, recovery->disk, recovery->manifest,
                                    &recovery->failed, recovered->failure);
    if (status == STATUS_OK)
        status = load(recovered);
    if (status == STATUS_OK)
        status = replay(recovered);
    if (status == STATUS_OK)
        status = plan_copies(recovered);
    if (status != STATUS_OK)
        return status;
    recovered->epoch =
        needs_new_epoch(recovered) ? manifest_new_epoch() : recovery->manifest->epoch;
    recovery->store->epoch = recovered->epoch;
    remove_unused(recovered);
    return STATUS_OK;
}

static enum status tell(struct failure *failure, enum status status)
{
    return status == STATUS_OK || failure->message[0] != '\0'
               ? status
               : failure_set(failure, status, "recovery: %s", status_text(status));
}

enum status recovery_replay(struct recovery *recovery, struct failure *failure)
{
    struct recovered *recovered = calloc(1, sizeof *recovered);
    if (recovered == NULL)
        return failure_set(failure, STATUS_NO_MEMORY, "no memory for recovery");
    recovered->recovery = recovery;
    recovered->failure = failure;
    recovered->named_id = recovery->manifest->next_journal_id - 1;
    recovery->recovered = recovered;
    return tell(failure, replay_and_plan(recovered));
}

enum status recovery_settle(struct recovery *recovery)
{
    const struct recovered *recovered = recovery->recovered;
    const struct chain_segment *last = recovered->chain.last;
    if (recovered->copy_bytes == 0)
        return STATUS_OK;
    uint64_t offset = last->used ? recovered->kept_end : SEGMENT_HEADER_BYTES;
    struct window window;
    window_init(&window, last->segment->file, recovered->replay.end);
    enum status status = STATUS_OK;
    while (offset < window.end && status == STATUS_OK) {
        uint64_t count = window.end - offset < WINDOW_BYTES ? window.end - offset : WINDOW_BYTES;
        const unsigned char *bytes;
        status = window_view(&window, offset, count, &bytes);
        struct iovec piece = {(void *)bytes, count};
        if (status == STATUS_OK)
            status = disk_file_write(last->segment->file, offset, &piece, 1);
        offset += count;
    }
    window_done(&window);
    return status == STATUS_OK ? segment_sync(last->segment) : status;
}

bool recovery_give_up_kept(struct recovery *recovery)
{
    struct chain *chain = &recovery->recovered->chain;
    bool any = chain->kept_count > 0;
    while (chain->kept_count > 0)
        remove_segment(recovery->recovered, chain->kept[--chain->kept_count].id);
    return any;
}

enum status recovery_begin_journal(struct recovery *recovery, struct journal **out_journal,
                                   struct failure *failure)
{
    enum status status = begin_journal(recovery->recovered, out_journal);
    if (status == STATUS_OK)
        remove_replaced(recovery->recovered);
    return tell(failure, status);
}

void recovery_done(struct recovery *recovery)
{
    if (recovery->recovered == NULL)
        return;
    chain_close(&recovery->recovered->chain);
    free(TAKE(recovery->recovered));
}
