/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal: the input is what the manifest says of it (flushed_sequence, durable_sequence, one
 * byte each), then a byte: odd before frames for forged_journal.h, even before the first segment's
 * file as it is.
 */
#include "../../engine/local/chain.h"
#include "../../engine/local/journal_reader.h"
#include "../../engine/local/replay.h"
#include "../lib/crash_disk.h"
#include "../lib/forged_journal.h"
#include "../lib/forged_table.h"
#include "../lib/fuzz.h"
#include "record_check.h"

struct journal {
    struct forged_journal files;
    struct manifest manifest;
};

static void build(struct journal *journal, struct fuzz_input *input)
{
    *journal = (struct journal){.manifest = {.journal_first = 1}};
    memcpy(journal->manifest.uuid, forged_uuid, FORMAT_UUID_BYTES);
    journal->manifest.flushed_sequence = fuzz_byte(input);
    journal->manifest.durable_sequence = fuzz_byte(input);
    bool forged = fuzz_byte(input) & 1;
    struct bytes rest = fuzz_bytes(input, input->size);
    if (forged)
        forged_journal_make(&journal->files, rest, 0);
    else
        forged_journal_take(&journal->files, rest);
    journal->manifest.next_journal_id = journal->files.count + 1;
}

/* ---- frame by frame ---- */

static void check_records(const struct journal_frame *frame)
{
    uint64_t position = 0, before = 0;
    const struct record *record;
    while (journal_frame_record(frame, &position, &record) == STATUS_OK && record != NULL) {
        assert_true((const unsigned char *)record == frame->payload + before);
        check_record(record, frame->header.bytes - before);
        assert_true(position == before + record_bytes(record));
        before = position;
    }
}

static void check_frame(const struct forged_segment *image, const struct segment *segment,
                        const struct journal_frame *frame)
{
    const struct frame_header *header = &frame->header;
    assert_true(frame->offset + sizeof *header + header->bytes <= image->size);
    assert_true(memcmp(image->bytes + frame->offset, header, sizeof *header) == 0);
    assert_true(
        memcmp(image->bytes + frame->offset + sizeof *header, frame->payload, header->bytes) == 0);
    struct frame_header copy = *header;
    copy.head_check = 0;
    uint64_t place[3] = {segment->salt, segment->id, frame->offset};
    uint64_t seed = checksum64(place, sizeof place, 0);
    assert_true(header->head_check == checksum64(&copy, sizeof copy, seed));
    assert_true(header->payload_check == checksum64(frame->payload, header->bytes, seed));
    check_records(frame);
}

static void read_segment(const struct forged_segment *image, struct segment *segment)
{
    struct journal_reader reader;
    struct journal_frame frame;
    uint64_t durable;
    journal_reader_init(&reader, segment);
    assert_true(journal_reader_scan(&reader, &durable) == STATUS_OK);
    for (uint64_t at = reader.offset; journal_reader_next(&reader, &frame) == STATUS_OK;) {
        assert_true(frame.offset == at && reader.offset > at);
        assert_true(frame.header.durable_sequence <= durable);
        check_frame(image, segment, &frame);
        at = reader.offset;
    }
    journal_reader_done(&reader);
}

static void read_segments(const struct journal *journal, struct disk *disk)
{
    for (size_t i = 0; i < journal->files.count; i++) {
        struct segment *segment;
        enum status status = segment_open(disk, forged_uuid, i + 1, &segment);
        assert_true(status == STATUS_OK || status == STATUS_CORRUPT_LOG || status == STATUS_FORMAT);
        if (status == STATUS_OK) {
            read_segment(&journal->files.segments[i], segment);
            segment_close(segment);
        }
    }
}

/* ---- all of it ---- */

struct outcome {
    enum status status;
    uint64_t last_id; /* of the segment that was replayed last; 0: there is none */
    struct replay replay;
};

static enum status replay_chain(struct chain *chain, const struct manifest *manifest,
                                struct chain_place *place, struct failure *failure,
                                struct outcome *outcome)
{
    static const atomic_bool not_closing;
    _Atomic uint64_t bytes_done = 0;
    outcome->replay = (struct replay){
        .chain = chain,
        .manifest = manifest,
        .closing = &not_closing,
        .bytes_done = &bytes_done,
        .failed = place,
        .failure = failure,
    };
    enum status status = replay_run(&outcome->replay);
    outcome->last_id = chain->last != NULL ? chain->last->id : 0;
    return status;
}

static struct outcome replay(const struct journal *journal, struct disk *disk)
{
    struct outcome outcome = {.status = STATUS_OK};
    struct chain chain = {0};
    struct chain_place place;
    struct failure failure = {0};
    outcome.status = chain_open(&chain, disk, &journal->manifest, &place, &failure);
    if (outcome.status == STATUS_OK)
        outcome.status = replay_chain(&chain, &journal->manifest, &place, &failure, &outcome);
    chain_close(&chain);
    if (outcome.status != STATUS_OK) {
        assert_true(outcome.status == STATUS_CORRUPT_LOG || outcome.status == STATUS_FORMAT);
        assert_true(strncmp(failure.message, FORMAT_JOURNAL_PREFIX, 8) == 0);
        assert_true(strstr(failure.message, ": offset ") != NULL);
    }
    return outcome;
}

/* Bytes behind the last good frame count for nothing: without them all is the same. */
static void replay_without_rest(struct journal *journal, const struct outcome *before)
{
    struct forged_segment *last = &journal->files.segments[before->last_id - 1];
    assert_true(before->replay.end <= last->size);
    memset(last->bytes + before->replay.end, 0, last->size - before->replay.end);
    struct crash_disk *crash = crash_disk_open();
    struct disk *disk = crash_disk_attach(crash);
    forged_journal_write(&journal->files, disk);
    struct outcome again = replay(journal, disk);
    assert_true(again.status == STATUS_OK && again.last_id == before->last_id);
    assert_true(again.replay.frames == before->replay.frames);
    assert_true(again.replay.records == before->replay.records);
    assert_true(again.replay.end == before->replay.end);
    assert_true(again.replay.last_sequence == before->replay.last_sequence);
    disk_close(disk);
    crash_disk_close(crash);
}

static void journal_is_read(struct fuzz_input *input)
{
    struct journal journal;
    build(&journal, input);
    struct crash_disk *crash = crash_disk_open();
    struct disk *disk = crash_disk_attach(crash);
    forged_journal_write(&journal.files, disk);
    read_segments(&journal, disk);
    struct outcome outcome = replay(&journal, disk);
    disk_close(disk);
    crash_disk_close(crash);
    if (outcome.status == STATUS_OK) {
        assert_true(outcome.replay.durable_sequence <= outcome.replay.last_sequence);
        assert_true(outcome.replay.last_sequence >= journal.manifest.durable_sequence);
        if (outcome.last_id != 0)
            replay_without_rest(&journal, &outcome);
    }
    forged_journal_done(&journal.files);
}

FUZZ_TARGET("fuzz_journal",
            "only whole frames and records with right checksums are replayed, and no durable one "
            "is left out in silence",
            journal_is_read)
