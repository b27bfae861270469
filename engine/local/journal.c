/* SPDX-License-Identifier: Apache-2.0 */
/* Writing frames into the active segment, and moving on to the next. */
#include "journal.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pin.h"
#include "segment.h"

/* A segment in use: housekeeping may still be syncing it when the leader has moved on. */
struct held_segment {
    struct pin pin;
    struct segment *segment;
    struct segment_index *index;    /* the leader's, while the segment is active */
    _Atomic uint64_t synced_offset; /* its bytes before it are durable */
};

enum link_state {
    LINK_DEFERRED, /* recovery writes it last */
    LINK_PENDING,  /* goes out with the first frame */
    LINK_WRITTEN,
};

struct journal {
    struct journal_options options; /* set at open, then constant */

    /* owned by the leader */
    uint64_t offset; /* of the next frame */
    enum link_state link_state;
    struct frame_link link;
    uint64_t link_sequence; /* the last one before the active segment */
    struct iovec pieces[DISK_IOVECS_MAX];
    union {
        struct {
            struct frame_header header;
            struct frame_link link;
        } frame;
        unsigned char block[FORMAT_BLOCK_BYTES];
    } link_block;

    /* atomic: written by whoever writes or syncs, read by anyone */
    _Atomic uint64_t written_sequence;
    _Atomic uint64_t durable_sequence;
    atomic_bool sealed;
    _Atomic uint64_t active_left; /* bytes behind `offset`; lets housekeeping see how full it is */

    struct supply supply; /* synchronises itself */
    pthread_mutex_t mutex;
    /* guarded by mutex */
    struct held_segment *active;
};

/* ---- opening and closing ---- */

enum status journal_open(const struct journal_options *options, struct journal **out_journal)
{
    struct journal *journal = calloc(1, sizeof *journal);
    if (journal == NULL)
        return STATUS_NO_MEMORY;
    journal->options = *options;
    supply_init(&journal->supply, &(struct supply_options){
                                      .disk = options->disk,
                                      .uuid = options->uuid,
                                      .segment_bytes = options->segment_bytes,
                                      .kept_bytes_max = options->kept_bytes_max,
                                      .next_id = options->next_id,
                                      .past = options->past,
                                  });
    atomic_init(&journal->written_sequence, options->last_sequence);
    atomic_init(&journal->durable_sequence, options->durable_sequence);
    pthread_mutex_init(&journal->mutex, NULL);
    *out_journal = journal;
    return STATUS_OK;
}

static void held_free(struct held_segment *held)
{
    segment_close(held->segment);
    free(held);
}

void journal_close(struct journal *journal)
{
    if (journal == NULL)
        return;
    if (journal->active != NULL)
        held_free(journal->active);
    supply_done(&journal->supply);
    pthread_mutex_destroy(&journal->mutex);
    free(journal);
}

/* ---- figures ---- */

uint64_t journal_durable_sequence(const struct journal *journal)
{
    return atomic_load_explicit(&journal->durable_sequence, memory_order_acquire);
}

uint64_t journal_written_sequence(const struct journal *journal)
{
    return atomic_load_explicit(&journal->written_sequence, memory_order_acquire);
}

uint64_t journal_next_id(struct journal *journal)
{
    return supply_next_id(&journal->supply);
}

bool journal_is_sealed(const struct journal *journal)
{
    return atomic_load_explicit(&journal->sealed, memory_order_acquire);
}

struct journal_figures journal_figures(struct journal *journal)
{
    struct journal_figures figures = {0};
    supply_count(&journal->supply, &figures.segments, &figures.bytes, &figures.kept_bytes);
    pthread_mutex_lock(&journal->mutex);
    if (journal->active != NULL) {
        figures.segments++;
        figures.bytes += journal->active->segment->bytes;
    }
    pthread_mutex_unlock(&journal->mutex);
    return figures;
}

/* The end of a segment is kept for an EMPTY and a CLEAN frame, which never rotate. */
static uint64_t marks_bytes(const struct journal *journal)
{
    return 2 * frame_extent(0, journal->options.lazy);
}

static uint64_t overhead_bytes(const struct journal *journal)
{
    return SEGMENT_HEADER_BYTES + frame_extent(sizeof(struct frame_link), journal->options.lazy) +
           frame_alignment(journal->options.lazy) + sizeof(struct frame_header) +
           marks_bytes(journal);
}

uint64_t journal_payload_bytes_max(const struct journal *journal)
{
    uint64_t smaller = journal->options.first_segment_bytes < journal->options.segment_bytes
                           ? journal->options.first_segment_bytes
                           : journal->options.segment_bytes;
    return smaller - overhead_bytes(journal);
}

uint64_t journal_room(const struct journal *journal)
{
    if (journal->active == NULL)
        return 0;
    uint64_t link = journal->link_state == LINK_PENDING
                        ? frame_extent(sizeof(struct frame_link), journal->options.lazy)
                        : 0;
    uint64_t end = journal->active->segment->bytes - marks_bytes(journal);
    uint64_t start = journal->offset + link + sizeof(struct frame_header);
    uint64_t room = start < end ? end - start : 0;
    return room < UINT32_MAX ? room : UINT32_MAX;
}

/* ---- sealing ---- */

static enum status seal(struct journal *journal, const struct segment *segment, const char *what)
{
    if (!atomic_exchange(&journal->sealed, true)) {
        char name[64];
        segment_name(segment->id, name);
        uint64_t left = atomic_load_explicit(&journal->active_left, memory_order_relaxed);
        stats_add(journal->options.stats, STATS_journal_seals, 1);
        event_tell(&journal->options.events,
                   (struct engine_event){.name = EVENT_JOURNAL_SEALED,
                                         .file = name,
                                         .detail = what,
                                         .offset = segment->bytes - left,
                                         .sequence = journal_written_sequence(journal)});
    }
    return STATUS_IO;
}

/* ---- making segments ready ---- */

static bool is_half_full(const struct journal *journal)
{
    return atomic_load_explicit(&journal->active_left, memory_order_relaxed) <
           journal->active->segment->bytes / 2;
}

bool journal_prepare_is_due(struct journal *journal)
{
    if (!supply_is_empty(&journal->supply) || journal_is_sealed(journal))
        return false;
    pthread_mutex_lock(&journal->mutex);
    bool due = journal->active == NULL || is_half_full(journal);
    pthread_mutex_unlock(&journal->mutex);
    return due || supply_is_wanted(&journal->supply);
}

enum status journal_prepare(struct journal *journal)
{
    return supply_prepare(&journal->supply);
}

void journal_on_due(struct journal *journal, void (*on_due)(void *context), void *context)
{
    journal->supply.on_due_context = context;
    journal->supply.on_due = on_due;
}

uint64_t journal_first_needed(struct journal *journal, uint64_t flushed_sequence)
{
    pthread_mutex_lock(&journal->mutex);
    uint64_t active = journal->active->segment->id;
    pthread_mutex_unlock(&journal->mutex);
    return supply_first_needed(&journal->supply, flushed_sequence, active);
}

void journal_release(struct journal *journal, uint64_t first_needed)
{
    supply_release(&journal->supply, first_needed);
}

void journal_trim(struct journal *journal)
{
    supply_trim(&journal->supply);
}

struct supply *journal_supply(struct journal *journal)
{
    return &journal->supply;
}

/* ---- the active segment ---- */

static void advance(struct journal *journal, uint64_t offset)
{
    journal->offset = offset;
    segment_index_set_end(journal->active->index, offset);
    uint64_t end = journal->active->segment->bytes;
    atomic_store_explicit(&journal->active_left, offset < end ? end - offset : 0,
                          memory_order_relaxed);
}

/* Past a frame: tells housekeeping when the segment becomes half full by it. */
static void advance_frame(struct journal *journal, uint64_t offset)
{
    bool was_half_full = is_half_full(journal);
    advance(journal, offset);
    if (!was_half_full && is_half_full(journal))
        supply_tell_due(&journal->supply);
}

static enum status list_active_locked(struct journal *journal, struct segment_index *index)
{
    const struct held_segment *old = journal->active;
    return supply_activate(&journal->supply, index, old != NULL ? old->segment : NULL,
                           journal_written_sequence(journal), journal_is_sealed(journal));
}

static enum status activate_locked(struct journal *journal, struct segment *segment,
                                   struct frame_link link, enum link_state link_state)
{
    struct held_segment *held = calloc(1, sizeof *held);
    struct segment_index *index = segment_index_open(segment->id, journal_written_sequence(journal),
                                                     segment->bytes, SEGMENT_HEADER_BYTES);
    if (held == NULL || index == NULL || list_active_locked(journal, index) != STATUS_OK) {
        segment_index_close(index);
        free(held);
        return STATUS_NO_MEMORY;
    }
    held->segment = segment;
    held->index = index;
    atomic_init(&held->synced_offset, SEGMENT_HEADER_BYTES);
    struct held_segment *old = journal->active;
    journal->active = held;
    journal->link = link;
    journal->link_state = link_state;
    journal->link_sequence = journal_written_sequence(journal);
    advance(journal, SEGMENT_HEADER_BYTES);
    if (old != NULL && pin_retire(&old->pin))
        held_free(old);
    return STATUS_OK;
}

enum status journal_begin(struct journal *journal, uint64_t payload_bytes)
{
    struct segment *segment;
    uint64_t bytes = payload_bytes + overhead_bytes(journal);
    if (bytes < journal->options.first_segment_bytes)
        bytes = journal->options.first_segment_bytes;
    enum status status = supply_make(&journal->supply, bytes, &segment);
    if (status != STATUS_OK)
        return status;
    pthread_mutex_lock(&journal->mutex);
    status = activate_locked(journal, segment, (struct frame_link){0}, LINK_DEFERRED);
    pthread_mutex_unlock(&journal->mutex);
    if (status != STATUS_OK) {
        segment_close(segment);
        return status;
    }
    advance(journal,
            SEGMENT_HEADER_BYTES + frame_extent(sizeof(struct frame_link), journal->options.lazy));
    return STATUS_OK;
}

/* Only the leader takes segments: one that is ready stays so until it comes. */
static enum status wait_for_segment(struct journal *journal, uint64_t deadline_ns)
{
    if (!supply_is_empty(&journal->supply))
        return STATUS_OK;
    const struct time_source *time = journal->options.time;
    uint64_t begun_ns = time->monotonic_ns(time);
    stats_add(journal->options.stats, STATS_write_stalls_journal, 1);
    enum status status = supply_wait(&journal->supply, deadline_ns);
    stats_observe(journal->options.stats, STATS_write_stall, time->monotonic_ns(time) - begun_ns);
    return status;
}

static void tell_rotation(struct journal *journal)
{
    char name[64];
    segment_name(journal->active->segment->id, name);
    event_tell(&journal->options.events,
               (struct engine_event){.name = EVENT_JOURNAL_ROTATED,
                                     .file = name,
                                     .sequence = journal_written_sequence(journal)});
}

enum status journal_rotate(struct journal *journal, uint64_t deadline_ns)
{
    assert(journal->link_state == LINK_WRITTEN);
    enum status status = wait_for_segment(journal, deadline_ns);
    if (status == STATUS_OK)
        status = journal_sync(journal);
    if (status != STATUS_OK)
        return status;
    struct frame_link link = {journal->active->segment->id, journal->offset};
    pthread_mutex_lock(&journal->mutex);
    status = activate_locked(journal, supply_ready(&journal->supply), link, LINK_PENDING);
    pthread_mutex_unlock(&journal->mutex);
    if (status != STATUS_OK)
        return status;
    supply_take(&journal->supply);
    tell_rotation(journal);
    return STATUS_OK;
}

/* ---- frames ---- */

static void seal_frame(const struct journal *journal, struct frame_header *header,
                       const struct iovec *pieces, int count, uint64_t offset)
{
    const struct segment *segment = journal->active->segment;
    uint64_t seed = frame_seed(segment->salt, segment->id, offset);
    struct checksum_stream payload;
    checksum_stream_begin(&payload, seed);
    for (int i = 0; i < count; i++)
        checksum_stream_add(&payload, pieces[i].iov_base, pieces[i].iov_len);
    header->payload_check = checksum_stream_end(&payload);
    header->head_check = frame_head_check(header, seed);
}

static struct frame_header mark_header(const struct journal *journal, uint32_t flags,
                                       uint32_t payload_bytes)
{
    uint64_t sequence = journal_written_sequence(journal);
    return (struct frame_header){
        .magic = FORMAT_FRAME_MAGIC,
        .flags = flags | (journal->options.lazy ? FRAME_LAZY : 0),
        .bytes = payload_bytes,
        .first_sequence = sequence,
        .last_sequence = sequence,
        .durable_sequence = journal_durable_sequence(journal),
    };
}

/* Fills link_block for the start of the segment and returns its disk bytes. */
static size_t build_link(struct journal *journal)
{
    memset(&journal->link_block, 0, sizeof journal->link_block);
    journal->link_block.frame.header = mark_header(journal, FRAME_LINK, sizeof(struct frame_link));
    journal->link_block.frame.link = journal->link;
    journal->link_block.frame.header.first_sequence = journal->link_sequence;
    journal->link_block.frame.header.last_sequence = journal->link_sequence;
    struct iovec payload = {&journal->link_block.frame.link, sizeof(struct frame_link)};
    seal_frame(journal, &journal->link_block.frame.header, &payload, 1, SEGMENT_HEADER_BYTES);
    return frame_extent(sizeof(struct frame_link), journal->options.lazy);
}

static enum status write_pieces(struct journal *journal, uint64_t offset, int count, uint64_t bytes)
{
    enum status status =
        disk_file_write(journal->active->segment->file, offset, journal->pieces, count);
    if (status != STATUS_OK)
        return seal(journal, journal->active->segment, "write");
    stats_add(journal->options.stats, STATS_journal_written, bytes);
    return STATUS_OK;
}

/* Appends pieces to the write under construction, writing when the array is full. */
struct gather {
    struct journal *journal;
    uint64_t offset; /* of the first piece */
    uint64_t bytes;
    int count;
};

static enum status gather_flush(struct gather *gather)
{
    enum status status =
        write_pieces(gather->journal, gather->offset, gather->count, gather->bytes);
    gather->offset += gather->bytes;
    gather->bytes = 0;
    gather->count = 0;
    return status;
}

static enum status gather_add(struct gather *gather, const void *data, size_t size)
{
    if (size == 0)
        return STATUS_OK;
    gather->journal->pieces[gather->count++] = (struct iovec){(void *)data, size};
    gather->bytes += size;
    return gather->count == DISK_IOVECS_MAX ? gather_flush(gather) : STATUS_OK;
}

static enum status write_frame(struct journal *journal, struct frame_header *header,
                               const struct iovec *pieces, int count)
{
    static const unsigned char zeros[FORMAT_BLOCK_BYTES];
    struct gather gather = {.journal = journal, .offset = journal->offset};
    enum status status = STATUS_OK;
    size_t link_bytes = 0;
    if (journal->link_state == LINK_PENDING) {
        link_bytes = build_link(journal);
        status = gather_add(&gather, &journal->link_block, link_bytes);
    }
    uint64_t start = journal->offset + link_bytes;
    uint64_t extent = frame_extent(header->bytes, journal->options.lazy);
    assert(start + extent <= journal->active->segment->bytes);
    seal_frame(journal, header, pieces, count, start);
    if (status == STATUS_OK)
        status = gather_add(&gather, header, sizeof *header);
    for (int i = 0; i < count && status == STATUS_OK; i++)
        status = gather_add(&gather, pieces[i].iov_base, pieces[i].iov_len);
    if (status == STATUS_OK)
        status = gather_add(&gather, zeros, extent - sizeof *header - header->bytes);
    if (status == STATUS_OK && gather.count > 0)
        status = gather_flush(&gather);
    if (status != STATUS_OK)
        return status;
    if (journal->link_state == LINK_PENDING)
        journal->link_state = LINK_WRITTEN;
    if (header->records > 0)
        segment_index_note(journal->active->index, header->first_sequence, start);
    advance_frame(journal, start + extent);
    return STATUS_OK;
}

enum status journal_write(struct journal *journal, const struct journal_group *group)
{
    if (journal_is_sealed(journal))
        return STATUS_READ_ONLY;
    struct frame_header header = {
        .magic = FORMAT_FRAME_MAGIC,
        .flags = journal->options.lazy ? FRAME_LAZY : 0,
        .bytes = group->bytes,
        .records = group->records,
        .first_sequence = group->first_sequence,
        .last_sequence = group->last_sequence,
        .durable_sequence = journal_durable_sequence(journal),
    };
    enum status status = write_frame(journal, &header, group->pieces, group->piece_count);
    if (status == STATUS_OK)
        atomic_store_explicit(&journal->written_sequence, group->last_sequence,
                              memory_order_release);
    return status;
}

enum status journal_mark(struct journal *journal, enum frame_flag flag)
{
    if (journal_is_sealed(journal))
        return STATUS_READ_ONLY;
    if (journal->active == NULL ||
        journal->offset + frame_extent(0, journal->options.lazy) > journal->active->segment->bytes)
        return STATUS_OK;
    /* What the mark says is durable must be so before it is written. */
    enum status status = journal_sync(journal);
    struct frame_header header = mark_header(journal, flag, 0);
    if (status == STATUS_OK)
        status = write_frame(journal, &header, NULL, 0);
    return status == STATUS_OK ? journal_sync(journal) : status;
}

enum status journal_link(struct journal *journal, struct frame_link link)
{
    assert(journal->link_state == LINK_DEFERRED);
    enum status status = journal_sync(journal);
    if (status != STATUS_OK)
        return status;
    journal->link = link;
    size_t bytes = build_link(journal);
    journal->pieces[0] = (struct iovec){&journal->link_block, bytes};
    status = write_pieces(journal, SEGMENT_HEADER_BYTES, 1, bytes);
    if (status == STATUS_OK)
        status = journal_sync(journal);
    if (status == STATUS_OK)
        journal->link_state = LINK_WRITTEN;
    return status;
}

/* ---- syncing ---- */

static void durable_raise(struct journal *journal, struct held_segment *held, uint64_t sequence,
                          uint64_t end)
{
    pthread_mutex_lock(&journal->mutex);
    if (end > atomic_load_explicit(&held->synced_offset, memory_order_relaxed))
        atomic_store_explicit(&held->synced_offset, end, memory_order_relaxed);
    if (sequence > journal_durable_sequence(journal))
        atomic_store_explicit(&journal->durable_sequence, sequence, memory_order_release);
    pthread_mutex_unlock(&journal->mutex);
}

enum status journal_sync(struct journal *journal)
{
    /* Before choosing the segment: what is written by now lies in it, or in one synced already. */
    uint64_t written = journal_written_sequence(journal);
    pthread_mutex_lock(&journal->mutex);
    struct held_segment *held = journal->active;
    pin_take(&held->pin); /* under the mutex: rotation cannot have retired it */
    uint64_t end =
        held->segment->bytes - atomic_load_explicit(&journal->active_left, memory_order_relaxed);
    pthread_mutex_unlock(&journal->mutex);

    const struct time_source *time = journal->options.time;
    uint64_t begun = time->monotonic_ns(time);
    enum status status = segment_sync(held->segment);
    stats_observe(journal->options.stats, STATS_journal_sync, time->monotonic_ns(time) - begun);
    stats_add(journal->options.stats, STATS_journal_syncs, 1);
    if (status != STATUS_OK)
        status = seal(journal, held->segment, "fdatasync");
    else
        durable_raise(journal, held, written, end);
    if (pin_drop(&held->pin))
        held_free(held);
    return status;
}

/* ---- going on after a seal ---- */

enum status journal_next_ready(struct journal *journal, uint64_t *out_id)
{
    enum status status = supply_prepare(&journal->supply);
    if (status == STATUS_OK)
        *out_id = supply_ready(&journal->supply)->id;
    return status;
}

/* A segment of which nothing is known to be durable is passed over: its LINK may be lost. */
static struct frame_link link_behind_sealed(const struct journal *journal, uint64_t end)
{
    return end == SEGMENT_HEADER_BYTES ? journal->link
                                       : (struct frame_link){journal->active->segment->id, end};
}

enum status journal_unseal(struct journal *journal, uint64_t sequence)
{
    pthread_mutex_lock(&journal->mutex);
    uint64_t end = atomic_load_explicit(&journal->active->synced_offset, memory_order_relaxed);
    segment_index_set_end(journal->active->index, end);
    atomic_store_explicit(&journal->written_sequence, sequence, memory_order_release);
    enum status status = activate_locked(journal, supply_ready(&journal->supply),
                                         link_behind_sealed(journal, end), LINK_PENDING);
    if (status == STATUS_OK) {
        supply_take(&journal->supply);
        if (journal->options.lazy) /* what was applied and not synced is in no segment */
            supply_forget_below(&journal->supply, journal->active->segment->id);
        atomic_store_explicit(&journal->durable_sequence, sequence, memory_order_release);
        atomic_store_explicit(&journal->sealed, false, memory_order_release);
    }
    pthread_mutex_unlock(&journal->mutex);
    return status;
}
