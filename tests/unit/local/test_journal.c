/* SPDX-License-Identifier: Apache-2.0 */
/* What the journal's writer puts on disk and its reader gives back, over a simulated disk. */
#include <unistd.h>

#include <semaphore.h>

#include "../../../engine/local/journal.h"
#include "../../../engine/local/journal_reader.h"
#include "../../lib/crash_disk.h"
#include "../../lib/test.h"
#include "../../lib/threads.h"

enum { SEGMENT_BYTES = 256 << 10 };

static const uint8_t uuid[FORMAT_UUID_BYTES] = "0123456789abcde";

struct fixture {
    struct crash_disk *crash;
    struct disk *disk;
    struct stats *stats;
    struct journal_options options;
    struct journal *journal;
};

static void begin(struct fixture *fixture, bool lazy)
{
    *fixture = (struct fixture){.crash = crash_disk_open(), .stats = stats_open()};
    fixture->disk = crash_disk_attach(fixture->crash);
    fixture->options = (struct journal_options){
        .disk = fixture->disk,
        .lazy = lazy,
        .segment_bytes = SEGMENT_BYTES,
        .first_segment_bytes = SEGMENT_BYTES,
        .next_id = 1,
        .time = time_source_system(),
        .stats = fixture->stats,
    };
    memcpy(fixture->options.uuid, uuid, sizeof uuid);
    assert_int_equal(journal_open(&fixture->options, &fixture->journal), STATUS_OK);
    assert_int_equal(journal_begin(fixture->journal, 0), STATUS_OK);
    assert_int_equal(journal_link(fixture->journal, (struct frame_link){0, 0}), STATUS_OK);
}

static void end(struct fixture *fixture)
{
    journal_close(fixture->journal);
    disk_close(fixture->disk);
    crash_disk_close(fixture->crash);
    stats_close(fixture->stats);
}

/* A group of one record that holds `value_bytes`, or as many as fill `bytes` of payload. */
static enum status write_group(struct fixture *fixture, uint64_t sequence, uint64_t value_bytes)
{
    uint64_t size = record_size(3, 0, value_bytes);
    struct record *record = calloc(1, size);
    record_init(record, RECORD_PUT, bytes_of("key"), (struct bytes){NULL, 0});
    memset(record->data + 3, (int)sequence, value_bytes);
    record_seal_value(record, (uint32_t)value_bytes);
    record_seal_head(record, sequence, 1);
    struct iovec piece = {record, size};
    struct journal_group group = {&piece, 1, (uint32_t)size, 1, sequence, sequence};
    enum status status = journal_write(fixture->journal, &group);
    free(record);
    return status;
}

static void write_durable(struct fixture *fixture, uint64_t sequence, uint64_t value_bytes)
{
    assert_int_equal(write_group(fixture, sequence, value_bytes), STATUS_OK);
    assert_int_equal(journal_sync(fixture->journal), STATUS_OK);
}

/* ---- reading back ---- */

struct reading {
    struct segment *segment;
    struct journal_reader reader;
    struct journal_frame frame;
    struct frame_link link;
};

static void open_reading(struct fixture *fixture, struct reading *reading, uint64_t id)
{
    *reading = (struct reading){0};
    assert_int_equal(segment_open(fixture->disk, uuid, id, &reading->segment), STATUS_OK);
    journal_reader_init(&reading->reader, reading->segment);
    assert_int_equal(journal_reader_link(&reading->reader, &reading->frame, &reading->link),
                     STATUS_OK);
}

static void close_reading(struct reading *reading)
{
    journal_reader_done(&reading->reader);
    segment_close(reading->segment);
}

static void expect_group(struct reading *reading, uint64_t sequence, uint64_t durable)
{
    assert_int_equal(journal_reader_next(&reading->reader, &reading->frame), STATUS_OK);
    assert_int_equal(reading->frame.header.records, 1);
    assert_int_equal(reading->frame.header.first_sequence, sequence);
    assert_int_equal(reading->frame.header.last_sequence, sequence);
    assert_int_equal(reading->frame.header.durable_sequence, durable);
    uint64_t position = 0;
    const struct record *record;
    assert_int_equal(journal_frame_record(&reading->frame, &position, &record), STATUS_OK);
    assert_int_equal(record->sequence, sequence);
    assert_int_equal(journal_frame_record(&reading->frame, &position, &record), STATUS_OK);
    assert_null(record);
}

static void expect_mark(struct reading *reading, uint32_t flags, uint64_t sequence)
{
    assert_int_equal(journal_reader_next(&reading->reader, &reading->frame), STATUS_OK);
    assert_int_equal(reading->frame.header.flags, flags);
    assert_int_equal(reading->frame.header.records, 0);
    assert_int_equal(reading->frame.header.first_sequence, sequence);
    assert_int_equal(reading->frame.header.last_sequence, sequence);
    assert_int_equal(reading->frame.header.durable_sequence, sequence);
}

static void expect_end(struct reading *reading)
{
    assert_int_equal(journal_reader_next(&reading->reader, &reading->frame), STATUS_NOT_FOUND);
}

static void reads_back_what_was_written(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, false);
    write_durable(&fixture, 1, 10);
    write_durable(&fixture, 2, 50000);
    assert_int_equal(journal_mark(fixture.journal, FRAME_EMPTY), STATUS_OK);
    write_durable(&fixture, 3, 0);
    assert_int_equal(journal_mark(fixture.journal, FRAME_CLEAN), STATUS_OK);
    struct reading reading;
    open_reading(&fixture, &reading, 1);
    assert_int_equal(reading.link.predecessor_id, 0);
    expect_group(&reading, 1, 0);
    expect_group(&reading, 2, 1);
    expect_mark(&reading, FRAME_EMPTY, 2);
    expect_group(&reading, 3, 2);
    expect_mark(&reading, FRAME_CLEAN, 3);
    expect_end(&reading);
    expect_end(&reading); /* and stays there */
    close_reading(&reading);
    end(&fixture);
}

static void a_frame_never_shares_a_block_with_another(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, false);
    for (uint64_t sequence = 1; sequence <= 5; sequence++)
        write_durable(&fixture, sequence, sequence * 1500);
    struct reading reading;
    open_reading(&fixture, &reading, 1);
    for (uint64_t sequence = 1; sequence <= 5; sequence++) {
        expect_group(&reading, sequence, sequence - 1);
        assert_int_equal(reading.frame.offset % FORMAT_BLOCK_BYTES, 0);
    }
    close_reading(&reading);
    end(&fixture);
}

static void interval_mode_packs_frames(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, true);
    for (uint64_t sequence = 1; sequence <= 5; sequence++)
        assert_int_equal(write_group(&fixture, sequence, 8), STATUS_OK);
    assert_int_equal(journal_durable_sequence(fixture.journal), 0);
    assert_int_equal(journal_written_sequence(fixture.journal), 5);
    assert_int_equal(journal_sync(fixture.journal), STATUS_OK);
    assert_int_equal(journal_durable_sequence(fixture.journal), 5);
    assert_int_equal(write_group(&fixture, 6, 8), STATUS_OK);
    struct reading reading;
    open_reading(&fixture, &reading, 1);
    uint64_t offset = 0;
    for (uint64_t sequence = 1; sequence <= 6; sequence++) {
        expect_group(&reading, sequence, sequence == 6 ? 5 : 0);
        assert_int_equal(reading.frame.header.flags, FRAME_LAZY);
        if (offset != 0)
            assert_int_equal(reading.frame.offset - offset, 64 + record_size(3, 0, 8));
        offset = reading.frame.offset;
    }
    expect_end(&reading);
    close_reading(&reading);
    end(&fixture);
}

static void a_group_of_more_pieces_than_one_write_takes_is_whole(void **state)
{
    (void)state;
    enum { RECORDS = 2 * DISK_IOVECS_MAX + 5 };
    struct fixture fixture;
    begin(&fixture, false);
    static struct iovec pieces[RECORDS];
    uint64_t size = record_size(1, 0, 8);
    for (uint64_t i = 0; i < RECORDS; i++) {
        struct record *record = calloc(1, size);
        record_init(record, RECORD_PUT, bytes_of("k"), (struct bytes){NULL, 0});
        record_seal_value(record, 8);
        record_seal_head(record, i + 1, 1);
        pieces[i] = (struct iovec){record, size};
    }
    struct journal_group group = {pieces, RECORDS, (uint32_t)(size * RECORDS), RECORDS, 1, RECORDS};
    assert_int_equal(journal_write(fixture.journal, &group), STATUS_OK);
    struct reading reading;
    open_reading(&fixture, &reading, 1);
    assert_int_equal(journal_reader_next(&reading.reader, &reading.frame), STATUS_OK);
    uint64_t position = 0, count = 0;
    const struct record *record;
    while (journal_frame_record(&reading.frame, &position, &record) == STATUS_OK && record != NULL)
        assert_int_equal(record->sequence, ++count);
    assert_int_equal(count, RECORDS);
    close_reading(&reading);
    for (size_t i = 0; i < RECORDS; i++)
        free(pieces[i].iov_base);
    end(&fixture);
}

/* ---- rotation ---- */

static void the_largest_frame_fits_into_a_fresh_segment(void **state)
{
    (void)state;
    for (int lazy = 0; lazy < 2; lazy++) {
        struct fixture fixture;
        begin(&fixture, lazy);
        uint64_t largest =
            journal_payload_bytes_max(fixture.journal) / 8 * 8 - sizeof(struct record) - 3;
        for (uint64_t sequence = 1; sequence <= 3; sequence++) {
            write_durable(&fixture, sequence, largest);
            assert_int_equal(journal_mark(fixture.journal, FRAME_EMPTY), STATUS_OK);
            assert_int_equal(journal_mark(fixture.journal, FRAME_CLEAN), STATUS_OK);
            assert_int_equal(journal_prepare(fixture.journal), STATUS_OK);
            assert_int_equal(journal_rotate(fixture.journal, 0), STATUS_OK);
            assert_true(journal_room(fixture.journal) >= largest + sizeof(struct record) + 3);
        }
        end(&fixture);
    }
}

static void a_segment_says_where_its_predecessor_ends(void **state)
{
    (void)state;
    for (int lazy = 0; lazy < 2; lazy++) {
        struct fixture fixture;
        begin(&fixture, lazy);
        assert_int_equal(write_group(&fixture, 1, 10), STATUS_OK);
        assert_int_equal(journal_prepare(fixture.journal), STATUS_OK);
        assert_int_equal(journal_rotate(fixture.journal, 0), STATUS_OK);
        assert_int_equal(journal_durable_sequence(fixture.journal), 1); /* synced before the LINK */
        assert_int_equal(write_group(&fixture, 2, 10), STATUS_OK);
        struct reading first, second;
        open_reading(&fixture, &first, 1);
        expect_group(&first, 1, 0);
        open_reading(&fixture, &second, 2);
        assert_int_equal(second.link.predecessor_id, 1);
        assert_int_equal(second.link.predecessor_end, first.reader.offset);
        assert_int_equal(second.frame.header.last_sequence, 1);
        expect_group(&second, 2, 1);
        close_reading(&first);
        close_reading(&second);
        end(&fixture);
    }
}

static void without_a_ready_segment_rotation_is_busy(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, false);
    write_durable(&fixture, 1, 10);
    assert_int_equal(journal_rotate(fixture.journal, 1), STATUS_BUSY);
    write_durable(&fixture, 2, 10); /* nothing has changed */
    assert_false(journal_is_sealed(fixture.journal));
    end(&fixture);
}

static void the_next_segment_is_due_when_one_is_half_full(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, false);
    write_durable(&fixture, 1, SEGMENT_BYTES / 4);
    assert_false(journal_prepare_is_due(fixture.journal));
    write_durable(&fixture, 2, SEGMENT_BYTES / 4);
    assert_true(journal_prepare_is_due(fixture.journal));
    assert_int_equal(journal_prepare(fixture.journal), STATUS_OK);
    assert_false(journal_prepare_is_due(fixture.journal));
    end(&fixture);
}

static void the_next_segment_is_due_when_the_leader_needs_it(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, false);
    write_durable(&fixture, 1, SEGMENT_BYTES / 4);
    assert_false(journal_prepare_is_due(fixture.journal));
    /* A frame that does not fit, though less than half of the segment is used. */
    assert_true(journal_room(fixture.journal) < journal_payload_bytes_max(fixture.journal));
    assert_int_equal(journal_rotate(fixture.journal, 1), STATUS_BUSY);
    assert_true(journal_prepare_is_due(fixture.journal));
    assert_int_equal(journal_prepare(fixture.journal), STATUS_OK);
    assert_false(journal_prepare_is_due(fixture.journal));
    assert_int_equal(journal_rotate(fixture.journal, 1), STATUS_OK);
    assert_false(journal_prepare_is_due(fixture.journal));
    assert_int_equal(stats_read(fixture.stats, STATS_write_stalls_journal), 1);
    end(&fixture);
}

static void *rotate_with_patience(void *context)
{
    const struct time_source *time = time_source_system();
    struct fixture *fixture = context;
    THREAD_ASSERT(journal_rotate(fixture->journal, time->monotonic_ns(time) + 60000000000) ==
                  STATUS_OK);
    return NULL;
}

static void post(void *context)
{
    sem_post(context);
}

static void a_waiting_leader_wakes_housekeeping_and_is_woken(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, false);
    write_durable(&fixture, 1, 10);
    struct threads threads = {.count = 0};
    sem_t due;
    sem_init(&due, 0, 0);
    journal_on_due(fixture.journal, post, &due);
    threads_start(&threads, rotate_with_patience, &fixture);
    sem_wait(&due);
    assert_true(journal_prepare_is_due(fixture.journal));
    assert_int_equal(journal_prepare(fixture.journal), STATUS_OK);
    threads_join(&threads);
    write_durable(&fixture, 2, 10);
    end(&fixture);
}

static void *rotate_on_a_full_disk(void *context)
{
    struct fixture *fixture = context;
    THREAD_ASSERT(journal_rotate(fixture->journal, UINT64_MAX / 2) == STATUS_NO_SPACE);
    return NULL;
}

static void a_waiting_leader_is_told_of_a_full_disk(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, false);
    write_durable(&fixture, 1, 10);
    struct threads threads = {.count = 0};
    sem_t due;
    sem_init(&due, 0, 0);
    journal_on_due(fixture.journal, post, &due);
    threads_start(&threads, rotate_on_a_full_disk, &fixture);
    sem_wait(&due);
    crash_disk_fail(fixture.crash, (struct crash_fault){CRASH_WRITE, 1, true, STATUS_NO_SPACE});
    assert_int_equal(journal_prepare(fixture.journal), STATUS_NO_SPACE);
    threads_join(&threads); /* which would else wait for centuries */
    crash_disk_fail(fixture.crash, (struct crash_fault){0});
    assert_int_equal(journal_prepare(fixture.journal), STATUS_OK);
    assert_int_equal(journal_rotate(fixture.journal, 0), STATUS_OK);
    write_durable(&fixture, 2, 10);
    end(&fixture);
}

static void a_failed_preparation_changes_nothing(void **state)
{
    (void)state;
    for (uint64_t nth = 1;; nth++) {
        struct fixture fixture;
        begin(&fixture, false);
        struct journal_figures before = journal_figures(fixture.journal);
        crash_disk_fail(fixture.crash, (struct crash_fault){~0u, nth, false, STATUS_NO_SPACE});
        enum status status = journal_prepare(fixture.journal);
        bool failed = crash_disk_failed(fixture.crash);
        crash_disk_fail(fixture.crash, (struct crash_fault){0});
        if (failed && status != STATUS_OK) {
            assert_int_equal(status, STATUS_NO_SPACE);
            struct journal_figures after = journal_figures(fixture.journal);
            assert_int_equal(after.segments, before.segments);
            assert_int_equal(after.bytes, before.bytes);
            assert_false(journal_is_sealed(fixture.journal));
            assert_int_equal(journal_prepare(fixture.journal), STATUS_OK);
        }
        write_durable(&fixture, 1, 10);
        assert_int_equal(journal_rotate(fixture.journal, 0), STATUS_OK);
        write_durable(&fixture, 2, 10);
        end(&fixture);
        if (!failed)
            break;
        assert_true(nth < 100);
    }
}

/* ---- sealing ---- */

static void nothing_is_written_after_a_failed_write(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, false);
    write_durable(&fixture, 1, 10);
    assert_int_equal(journal_prepare(fixture.journal), STATUS_OK);
    crash_disk_fail(fixture.crash, (struct crash_fault){CRASH_WRITE, 1, false, STATUS_IO});
    assert_int_equal(write_group(&fixture, 2, 10), STATUS_IO);
    assert_true(journal_is_sealed(fixture.journal));
    assert_int_equal(write_group(&fixture, 2, 10), STATUS_READ_ONLY);
    assert_int_equal(journal_mark(fixture.journal, FRAME_CLEAN), STATUS_READ_ONLY);
    assert_int_equal(journal_written_sequence(fixture.journal), 1);
    assert_false(journal_prepare_is_due(fixture.journal));
    end(&fixture);
}

static void a_failed_sync_is_never_tried_again(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, false);
    write_durable(&fixture, 1, 10);
    assert_int_equal(journal_prepare(fixture.journal), STATUS_OK);
    assert_int_equal(write_group(&fixture, 2, 10), STATUS_OK);
    crash_disk_fail(fixture.crash, (struct crash_fault){CRASH_SYNC, 1, false, STATUS_IO});
    assert_int_equal(journal_sync(fixture.journal), STATUS_IO);
    assert_int_equal(journal_sync(fixture.journal), STATUS_IO); /* the disk would say OK now */
    assert_int_equal(journal_rotate(fixture.journal, 0), STATUS_IO);
    assert_int_equal(journal_durable_sequence(fixture.journal), 1);
    assert_true(journal_is_sealed(fixture.journal));
    end(&fixture);
}

/* ---- what a reader does not believe ---- */

static void flip(struct fixture *fixture, uint64_t id, uint64_t offset, unsigned bit)
{
    char name[64];
    unsigned char byte;
    size_t got;
    struct disk_file *file;
    segment_name(id, name);
    assert_int_equal(disk_open_file(fixture->disk, name, &file), STATUS_OK);
    assert_int_equal(disk_file_read(file, offset, &byte, 1, &got), STATUS_OK);
    byte ^= (unsigned char)(1 << bit);
    struct iovec piece = {&byte, 1};
    assert_int_equal(disk_file_write(file, offset, &piece, 1), STATUS_OK);
    disk_file_close(file);
}

static void a_damaged_frame_ends_the_reading(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, false);
    write_durable(&fixture, 1, 10);
    write_durable(&fixture, 2, 10);
    write_durable(&fixture, 3, 10);
    struct reading reading;
    open_reading(&fixture, &reading, 1);
    expect_group(&reading, 1, 0);
    uint64_t second = reading.reader.offset;
    close_reading(&reading);
    for (uint64_t at = 0; at < sizeof(struct frame_header) + record_size(3, 0, 10); at++) {
        flip(&fixture, 1, second + at, at % 8);
        open_reading(&fixture, &reading, 1);
        expect_group(&reading, 1, 0);
        expect_end(&reading);
        assert_int_equal(reading.reader.offset, second);
        uint64_t durable = 0;
        assert_int_equal(journal_reader_scan(&reading.reader, &durable), STATUS_OK);
        assert_int_equal(durable, 2); /* the third says so: what is damaged was durable */
        close_reading(&reading);
        flip(&fixture, 1, second + at, at % 8);
    }
    end(&fixture);
}

static void frames_of_another_segment_are_not_believed(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, false);
    write_durable(&fixture, 1, 10);
    struct segment *recycled;
    assert_int_equal(segment_make(fixture.disk, uuid, 7, SEGMENT_BYTES, 1, &recycled), STATUS_OK);
    struct journal_reader reader;
    struct journal_frame frame;
    struct frame_link link;
    journal_reader_init(&reader, recycled);
    assert_int_equal(journal_reader_link(&reader, &frame, &link), STATUS_NOT_FOUND);
    uint64_t durable = 9;
    assert_int_equal(journal_reader_scan(&reader, &durable), STATUS_OK);
    assert_int_equal(durable, 0);
    journal_reader_done(&reader);
    segment_close(recycled);
    end(&fixture);
}

static void a_failed_read_is_no_end(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, false);
    write_durable(&fixture, 1, 10);
    struct segment *segment;
    assert_int_equal(segment_open(fixture.disk, uuid, 1, &segment), STATUS_OK);
    struct journal_reader reader;
    struct journal_frame frame;
    journal_reader_init(&reader, segment);
    crash_disk_fail(fixture.crash, (struct crash_fault){CRASH_READ, 1, false, STATUS_IO});
    assert_int_equal(journal_reader_next(&reader, &frame), STATUS_IO);
    assert_int_equal(journal_reader_next(&reader, &frame), STATUS_OK); /* from where it was */
    journal_reader_done(&reader);
    segment_close(segment);
    end(&fixture);
}

static void records_that_do_not_fill_the_frame_are_corrupt(void **state)
{
    (void)state;
    uint64_t zeros[8] = {0};
    struct journal_frame frame = {.header = {.bytes = sizeof zeros},
                                  .payload = (const unsigned char *)zeros};
    uint64_t position = 0;
    const struct record *record;
    assert_int_equal(journal_frame_record(&frame, &position, &record), STATUS_CORRUPT_LOG);
    assert_int_equal(position, 0);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("reads back what was written", reads_back_what_was_written),
        TEST("a frame never shares a block with another",
             a_frame_never_shares_a_block_with_another),
        TEST("interval mode packs frames", interval_mode_packs_frames),
        TEST("a group of more pieces than one write takes is whole",
             a_group_of_more_pieces_than_one_write_takes_is_whole),
        TEST("the largest frame fits into a fresh segment",
             the_largest_frame_fits_into_a_fresh_segment),
        TEST("a segment says where its predecessor ends",
             a_segment_says_where_its_predecessor_ends),
        TEST("without a ready segment rotation is busy", without_a_ready_segment_rotation_is_busy),
        TEST("the next segment is due when one is half full",
             the_next_segment_is_due_when_one_is_half_full),
        TEST("the next segment is due when the leader needs it",
             the_next_segment_is_due_when_the_leader_needs_it),
        TEST("a waiting leader wakes housekeeping and is woken",
             a_waiting_leader_wakes_housekeeping_and_is_woken),
        TEST("a waiting leader is told of a full disk", a_waiting_leader_is_told_of_a_full_disk),
        TEST("a failed preparation changes nothing", a_failed_preparation_changes_nothing),
        TEST("nothing is written after a failed write", nothing_is_written_after_a_failed_write),
        TEST("a failed sync is never tried again", a_failed_sync_is_never_tried_again),
        TEST("a damaged frame ends the reading", a_damaged_frame_ends_the_reading),
        TEST("frames of another segment are not believed",
             frames_of_another_segment_are_not_believed),
        TEST("a failed read is no end", a_failed_read_is_no_end),
        TEST("records that do not fill the frame are corrupt",
             records_that_do_not_fill_the_frame_are_corrupt),
    };
    return test_main(argc, argv, "journal", tests);
}
