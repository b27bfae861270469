/* SPDX-License-Identifier: Apache-2.0 */
/* One journal file: made ready out of sight, checked when it is opened, synced once. */
#include "../../../engine/local/checksum.h"
#include "../../../engine/local/segment.h"
#include "../../lib/crash_disk.h"
#include "../../lib/test.h"

enum { BYTES = 64 << 10, HEADER_CHECKED_BYTES = 64 };

static const uint8_t uuid[FORMAT_UUID_BYTES] = "0123456789abcde";

struct fixture {
    struct crash_disk *crash;
    struct disk *disk;
};

static void begin(struct fixture *fixture)
{
    fixture->crash = crash_disk_open();
    fixture->disk = crash_disk_attach(fixture->crash);
}

static void end(struct fixture *fixture)
{
    disk_close(fixture->disk);
    crash_disk_close(fixture->crash);
}

static struct segment *make(struct fixture *fixture, uint64_t id)
{
    struct segment *segment;
    assert_int_equal(segment_make(fixture->disk, uuid, id, BYTES, 0, &segment), STATUS_OK);
    return segment;
}

static enum status open_again(struct fixture *fixture, uint64_t id, struct segment **out_segment)
{
    return segment_open(fixture->disk, uuid, id, out_segment);
}

/* ---- the directory ---- */

struct names {
    int segments, spares, others;
};

static enum status count_name(void *context, const char *name, uint64_t bytes)
{
    (void)bytes;
    struct names *names = context;
    uint64_t id;
    if (segment_name_parse(name, &id))
        names->segments++;
    else if (segment_name_is_spare(name))
        names->spares++;
    else
        names->others++;
    return STATUS_OK;
}

static struct names names_in(struct disk *disk)
{
    struct names names = {0};
    assert_int_equal(disk_list(disk, count_name, &names), STATUS_OK);
    return names;
}

static void only_its_own_names_are_segments(void **state)
{
    (void)state;
    char name[64];
    uint64_t id = 0;
    segment_name(0x1f, name);
    assert_string_equal(name, "journal-000000000000001f.log");
    assert_true(segment_name_parse(name, &id));
    assert_int_equal(id, 0x1f);
    segment_name(UINT64_MAX, name);
    assert_true(segment_name_parse(name, &id));
    const char *const others[] = {
        "",
        "journal-",
        "journal-1f.log",
        "journal-000000000000001F.log",
        "journal-000000000000001f.log.bak",
        "journal-000000000000001f.lo",
        "journal-00000000000000001f.log",
        "journal- 00000000000001f.log",
        "journal-+00000000000001f.log",
        "xjournal-000000000000001f.log",
        "spare-000000000000001f.log",
    };
    for (size_t i = 0; i < COUNT_OF(others); i++)
        assert_false(segment_name_parse(others[i], &id));
    assert_true(segment_name_is_spare("spare-000000000000001f.log"));
    assert_false(segment_name_is_spare("spare-1f.log"));
    assert_false(segment_name_is_spare("journal-000000000000001f.log"));
}

/* ---- making and opening ---- */

static void is_opened_as_it_was_made(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    struct segment *made = make(&fixture, 5), *opened;
    assert_int_equal(open_again(&fixture, 5, &opened), STATUS_OK);
    assert_int_equal(opened->id, 5);
    assert_true(opened->salt == made->salt);
    assert_int_equal(opened->bytes, BYTES);
    unsigned char block[FORMAT_BLOCK_BYTES];
    static const unsigned char zeros[sizeof block];
    for (uint64_t offset = SEGMENT_HEADER_BYTES; offset < BYTES; offset += sizeof block) {
        size_t got;
        assert_int_equal(disk_file_read(opened->file, offset, block, sizeof block, &got),
                         STATUS_OK);
        assert_int_equal(got, sizeof block);
        assert_memory_equal(block, zeros, sizeof block);
    }
    segment_close(made);
    segment_close(opened);
    segment_close(NULL);
    end(&fixture);
}

static void two_have_different_salts(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    struct segment *first = make(&fixture, 1), *second = make(&fixture, 2);
    assert_true(first->salt != second->salt);
    segment_close(first);
    segment_close(second);
    end(&fixture);
}

static void is_durable_once_it_is_made(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    segment_close(make(&fixture, 1));
    struct crash_disk *cut = crash_disk_cut(fixture.crash, false);
    struct disk *disk = crash_disk_attach(cut);
    struct segment *segment;
    assert_int_equal(segment_open(disk, uuid, 1, &segment), STATUS_OK);
    assert_int_equal(segment->bytes, BYTES);
    segment_close(segment);
    disk_close(disk);
    crash_disk_close(cut);
    end(&fixture);
}

struct cut_states {
    int unfinished, finished;
};

/* A final name in front of anything but a whole segment would be taken for damage. */
static void check_cut(void *context, struct crash_state state)
{
    struct cut_states *states = context;
    struct disk *disk = crash_disk_attach(state.disk);
    struct names names = names_in(disk);
    assert_int_equal(names.others, 0);
    if (names.segments == 1) {
        struct segment *segment;
        assert_int_equal(segment_open(disk, uuid, 1, &segment), STATUS_OK);
        assert_int_equal(segment->bytes, BYTES);
        segment_close(segment);
        states->finished++;
    } else {
        states->unfinished++;
    }
    disk_close(disk);
    crash_disk_close(state.disk);
}

struct watched {
    struct crash_disk *crash;
    struct cut_states states;
};

static void check_cuts(void *context)
{
    struct watched *watched = context;
    crash_disk_each_state(watched->crash, check_cut, &watched->states);
}

static void no_power_cut_leaves_half_a_segment(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    struct watched watched = {.crash = fixture.crash};
    crash_disk_watch(fixture.crash, check_cuts, &watched);
    segment_close(make(&fixture, 1));
    crash_disk_watch(fixture.crash, NULL, NULL);
    assert_true(watched.states.unfinished > 0);
    assert_true(watched.states.finished > 0);
    end(&fixture);
}

static void a_failed_making_can_be_tried_again(void **state)
{
    (void)state;
    bool failed = true;
    for (uint64_t nth = 1; failed; nth++) {
        struct fixture fixture;
        begin(&fixture);
        struct segment *segment = NULL;
        crash_disk_fail(fixture.crash, (struct crash_fault){~0u, nth, false, STATUS_IO});
        enum status status = segment_make(fixture.disk, uuid, 1, BYTES, 0, &segment);
        failed = crash_disk_failed(fixture.crash);
        crash_disk_fail(fixture.crash, (struct crash_fault){0});
        if (status != STATUS_OK) {
            assert_null(segment);
            assert_int_equal(names_in(fixture.disk).spares, 0);
            assert_int_equal(segment_make(fixture.disk, uuid, 2, BYTES, 0, &segment), STATUS_OK);
        }
        segment_close(segment);
        end(&fixture);
    }
}

/* ---- what is not a segment ---- */

static void write_bytes(struct fixture *fixture, uint64_t id, uint64_t offset, const void *data,
                        size_t size)
{
    char name[64];
    struct disk_file *file;
    segment_name(id, name);
    assert_int_equal(disk_open_file(fixture->disk, name, &file), STATUS_OK);
    struct iovec piece = {(void *)data, size};
    assert_int_equal(disk_file_write(file, offset, &piece, 1), STATUS_OK);
    disk_file_close(file);
}

static void read_header(struct fixture *fixture, uint64_t id, unsigned char *out_header)
{
    char name[64];
    struct disk_file *file;
    size_t got;
    segment_name(id, name);
    assert_int_equal(disk_open_file(fixture->disk, name, &file), STATUS_OK);
    assert_int_equal(disk_file_read(file, 0, out_header, HEADER_CHECKED_BYTES, &got), STATUS_OK);
    disk_file_close(file);
}

static void a_flipped_bit_in_the_header_is_damage(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    segment_close(make(&fixture, 1));
    unsigned char header[HEADER_CHECKED_BYTES];
    read_header(&fixture, 1, header);
    for (size_t bit = 0; bit < sizeof header * 8; bit++) {
        struct segment *segment;
        header[bit / 8] ^= (unsigned char)(1 << bit % 8);
        write_bytes(&fixture, 1, 0, header, sizeof header);
        assert_int_equal(open_again(&fixture, 1, &segment), STATUS_CORRUPT_LOG);
        header[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    end(&fixture);
}

static void a_newer_format_is_told_from_damage(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    segment_close(make(&fixture, 1));
    unsigned char header[HEADER_CHECKED_BYTES];
    const size_t fields[] = {8, 12}; /* format, features */
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        struct segment *segment;
        read_header(&fixture, 1, header);
        header[fields[i]] ^= 2;
        uint64_t check = checksum64(header, HEADER_CHECKED_BYTES - sizeof check, 0);
        memcpy(header + HEADER_CHECKED_BYTES - sizeof check, &check, sizeof check);
        write_bytes(&fixture, 1, 0, header, sizeof header);
        assert_int_equal(open_again(&fixture, 1, &segment), STATUS_FORMAT);
    }
    end(&fixture);
}

static void another_stores_or_another_ids_file_is_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    segment_close(make(&fixture, 1));
    static const uint8_t other_uuid[FORMAT_UUID_BYTES] = "another store!!";
    struct segment *segment;
    assert_int_equal(segment_open(fixture.disk, other_uuid, 1, &segment), STATUS_CORRUPT_LOG);
    char from[64], to[64];
    segment_name(1, from);
    segment_name(2, to);
    assert_int_equal(disk_rename(fixture.disk, from, to), STATUS_OK);
    assert_int_equal(open_again(&fixture, 2, &segment), STATUS_CORRUPT_LOG);
    assert_int_equal(open_again(&fixture, 1, &segment), STATUS_NOT_FOUND);
    end(&fixture);
}

static void a_file_cut_short_is_damage(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    struct segment *segment = make(&fixture, 1), *again;
    assert_int_equal(disk_file_truncate(segment->file, HEADER_CHECKED_BYTES - 1), STATUS_OK);
    assert_int_equal(open_again(&fixture, 1, &again), STATUS_CORRUPT_LOG);
    assert_int_equal(disk_file_truncate(segment->file, 0), STATUS_OK);
    assert_int_equal(open_again(&fixture, 1, &again), STATUS_CORRUPT_LOG);
    segment_close(segment);
    end(&fixture);
}

/* ---- recycling ---- */

static void a_recycled_file_keeps_its_size_and_changes_its_salt(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    struct segment *old = make(&fixture, 1), *recycled, *opened;
    write_bytes(&fixture, 1, SEGMENT_HEADER_BYTES, "old frames", 10);
    assert_int_equal(segment_make(fixture.disk, uuid, 9, 1, 1, &recycled), STATUS_OK);
    assert_int_equal(recycled->bytes, BYTES);
    assert_true(recycled->salt != old->salt);
    struct names names = names_in(fixture.disk);
    assert_int_equal(names.segments, 1);
    assert_int_equal(names.spares, 0);
    assert_int_equal(open_again(&fixture, 9, &opened), STATUS_OK);
    assert_true(opened->salt == recycled->salt);
    segment_close(old);
    segment_close(recycled);
    segment_close(opened);
    end(&fixture);
}

/* ---- syncing ---- */

static void a_failed_sync_stays_failed(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    struct segment *segment = make(&fixture, 1);
    assert_int_equal(segment_sync(segment), STATUS_OK);
    crash_disk_fail(fixture.crash, (struct crash_fault){CRASH_SYNC, 1, false, STATUS_IO});
    assert_int_equal(segment_sync(segment), STATUS_IO);
    assert_int_equal(segment_sync(segment), STATUS_IO); /* though the disk would say OK */
    segment_close(segment);
    end(&fixture);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("only its own names are segments", only_its_own_names_are_segments),
        TEST("is opened as it was made", is_opened_as_it_was_made),
        TEST("two have different salts", two_have_different_salts),
        TEST("is durable once it is made", is_durable_once_it_is_made),
        TEST("no power cut leaves half a segment", no_power_cut_leaves_half_a_segment),
        TEST("a failed making can be tried again", a_failed_making_can_be_tried_again),
        TEST("a flipped bit in the header is damage", a_flipped_bit_in_the_header_is_damage),
        TEST("a newer format is told from damage", a_newer_format_is_told_from_damage),
        TEST("another store's or another id's file is refused",
             another_stores_or_another_ids_file_is_refused),
        TEST("a file cut short is damage", a_file_cut_short_is_damage),
        TEST("a recycled file keeps its size and changes its salt",
             a_recycled_file_keeps_its_size_and_changes_its_salt),
        TEST("a failed sync stays failed", a_failed_sync_stays_failed),
    };
    return test_main(argc, argv, "segment", tests);
}
