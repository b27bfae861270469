/* SPDX-License-Identifier: Apache-2.0 */
/* The one file that says what counts: what it holds, and how it is replaced. */
#include "../../../engine/local/checksum.h"
#include "../../../engine/local/manifest.h"
#include "../../lib/crash_disk.h"
#include "../../lib/test.h"

struct fixture {
    struct crash_disk *crash;
    struct disk *disk;
    struct manifest manifest;
    struct failure failure;
};

static void list_tables(struct manifest *manifest, uint64_t count)
{
    for (uint64_t id = 1; id <= count; id++) {
        struct manifest_table table = {.identity = {.id = id, .bytes = id * 1000}, .flags = id % 2};
        assert_int_equal(manifest_add(manifest, &table), STATUS_OK);
    }
}

static void begin(struct fixture *fixture, uint64_t table_count)
{
    *fixture = (struct fixture){.crash = crash_disk_open()};
    fixture->disk = crash_disk_attach(fixture->crash);
    manifest_init(&fixture->manifest);
    fixture->manifest.flushed_sequence = 11;
    fixture->manifest.durable_sequence = 12;
    fixture->manifest.journal_first = 13;
    fixture->manifest.journal_kept = 14;
    fixture->manifest.next_table_id = 15;
    fixture->manifest.next_journal_id = 16;
    list_tables(&fixture->manifest, table_count);
}

static void end(struct fixture *fixture)
{
    manifest_done(&fixture->manifest);
    disk_close(fixture->disk);
    crash_disk_close(fixture->crash);
}

static bool same(const struct manifest *a, const struct manifest *b)
{
    if (memcmp(a->uuid, b->uuid, sizeof a->uuid) != 0 || a->epoch != b->epoch ||
        a->next_table_id != b->next_table_id || a->next_journal_id != b->next_journal_id ||
        a->flushed_sequence != b->flushed_sequence || a->durable_sequence != b->durable_sequence ||
        a->journal_first != b->journal_first || a->journal_kept != b->journal_kept ||
        a->lazy != b->lazy || a->table_count != b->table_count)
        return false;
    return a->table_count == 0 ||
           memcmp(a->tables, b->tables, a->table_count * sizeof *a->tables) == 0;
}

static enum status read_it(struct fixture *fixture, struct manifest *out_manifest)
{
    fixture->failure = (struct failure){0};
    return manifest_read(fixture->disk, out_manifest, &fixture->failure);
}

static void expect(struct fixture *fixture, const struct manifest *expected)
{
    struct manifest read;
    assert_int_equal(read_it(fixture, &read), STATUS_OK);
    assert_true(same(&read, expected));
    manifest_done(&read);
}

static void gives_back_what_was_written(void **state)
{
    (void)state;
    const uint64_t counts[] = {0, 1, 3, 500};
    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        struct fixture fixture;
        begin(&fixture, counts[i]);
        assert_int_equal(manifest_write(fixture.disk, &fixture.manifest), STATUS_OK);
        expect(&fixture, &fixture.manifest);
        fixture.manifest.flushed_sequence = 100; /* and the next one replaces it */
        fixture.manifest.lazy = true;
        manifest_remove(&fixture.manifest, 1);
        assert_int_equal(manifest_write(fixture.disk, &fixture.manifest), STATUS_OK);
        expect(&fixture, &fixture.manifest);
        end(&fixture);
    }
}

static void tables_are_listed_and_removed_by_id(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, 3);
    assert_true(manifest_lists(&fixture.manifest, 2));
    manifest_remove(&fixture.manifest, 2);
    manifest_remove(&fixture.manifest, 7);
    assert_false(manifest_lists(&fixture.manifest, 2));
    assert_true(manifest_lists(&fixture.manifest, 1));
    assert_true(manifest_lists(&fixture.manifest, 3));
    assert_int_equal(fixture.manifest.table_count, 2);
    struct manifest copy;
    assert_int_equal(manifest_copy(&fixture.manifest, &copy), STATUS_OK);
    assert_true(same(&copy, &fixture.manifest));
    manifest_remove(&copy, 1);
    assert_true(manifest_lists(&fixture.manifest, 1)); /* the copy is its own */
    manifest_done(&copy);
    end(&fixture);
}

static void two_stores_have_different_names_and_epochs(void **state)
{
    (void)state;
    struct manifest first, second;
    manifest_init(&first);
    manifest_init(&second);
    assert_memory_not_equal(first.uuid, second.uuid, sizeof first.uuid);
    assert_true(first.epoch != second.epoch);
    for (int i = 0; i < 1000; i++) {
        uint64_t epoch = manifest_new_epoch();
        assert_true(epoch != 0 && epoch >> 48 == 0);
    }
}

static void an_empty_directory_has_none(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, 0);
    struct manifest manifest;
    assert_int_equal(read_it(&fixture, &manifest), STATUS_NOT_FOUND);
    end(&fixture);
}

/* ---- damage ---- */

static struct disk_file *open_file(struct fixture *fixture)
{
    struct disk_file *file;
    assert_int_equal(disk_open_file(fixture->disk, FORMAT_MANIFEST_NAME, &file), STATUS_OK);
    return file;
}

static size_t read_file(struct fixture *fixture, unsigned char *buffer, size_t size)
{
    size_t got;
    struct disk_file *file = open_file(fixture);
    assert_int_equal(disk_file_read(file, 0, buffer, size, &got), STATUS_OK);
    disk_file_close(file);
    return got;
}

static void write_file(struct fixture *fixture, const unsigned char *bytes, size_t size)
{
    struct disk_file *file = open_file(fixture);
    struct iovec piece = {(void *)bytes, size};
    assert_int_equal(disk_file_truncate(file, size), STATUS_OK);
    if (size > 0)
        assert_int_equal(disk_file_write(file, 0, &piece, 1), STATUS_OK);
    disk_file_close(file);
}

/* The status of a reading that fails, touches nothing and names the file. */
static enum status refusal(struct fixture *fixture)
{
    struct manifest manifest = {.epoch = 42};
    enum status status = read_it(fixture, &manifest);
    assert_int_not_equal(status, STATUS_OK);
    assert_int_equal(manifest.epoch, 42);
    assert_non_null(strstr(fixture->failure.message, FORMAT_MANIFEST_NAME));
    return status;
}

static void a_flipped_bit_anywhere_is_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, 3);
    assert_int_equal(manifest_write(fixture.disk, &fixture.manifest), STATUS_OK);
    unsigned char bytes[4096];
    size_t size = read_file(&fixture, bytes, sizeof bytes);
    for (size_t bit = 0; bit < size * 8; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        write_file(&fixture, bytes, size);
        enum status status = refusal(&fixture);
        assert_true(status == STATUS_CORRUPT_LOG || status == STATUS_FORMAT);
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    write_file(&fixture, bytes, size);
    expect(&fixture, &fixture.manifest);
    end(&fixture);
}

static void another_length_is_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, 2);
    assert_int_equal(manifest_write(fixture.disk, &fixture.manifest), STATUS_OK);
    unsigned char bytes[4096] = {0};
    size_t size = read_file(&fixture, bytes, sizeof bytes);
    for (size_t shorter = 0; shorter < size; shorter++) {
        write_file(&fixture, bytes, shorter);
        assert_int_equal(refusal(&fixture), STATUS_CORRUPT_LOG);
    }
    write_file(&fixture, bytes, size + 1);
    assert_int_equal(refusal(&fixture), STATUS_CORRUPT_LOG);
    end(&fixture);
}

static void a_hostile_table_count_is_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, 2);
    assert_int_equal(manifest_write(fixture.disk, &fixture.manifest), STATUS_OK);
    unsigned char bytes[4096];
    size_t size = read_file(&fixture, bytes, sizeof bytes);
    const uint64_t counts[] = {
        0, 1, 3, UINT64_MAX, UINT64_MAX / 32, UINT64_C(1) << 59, (UINT64_C(1) << 59) + 2};
    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        memcpy(bytes + 88, &counts[i], sizeof counts[i]);
        uint64_t check = checksum64(bytes, size - sizeof check, 0);
        memcpy(bytes + size - sizeof check, &check, sizeof check);
        write_file(&fixture, bytes, size);
        assert_int_equal(refusal(&fixture), STATUS_CORRUPT_LOG);
    }
    end(&fixture);
}

static void a_newer_format_is_told_from_damage(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, 0);
    assert_int_equal(manifest_write(fixture.disk, &fixture.manifest), STATUS_OK);
    unsigned char bytes[4096];
    size_t size = read_file(&fixture, bytes, sizeof bytes);
    const size_t fields[] = {8, 12}; /* format, features */
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        unsigned char newer[4096];
        memcpy(newer, bytes, size);
        newer[fields[i]] ^= 2;
        uint64_t check = checksum64(newer, size - sizeof check, 0);
        memcpy(newer + size - sizeof check, &check, sizeof check);
        write_file(&fixture, newer, size);
        assert_int_equal(refusal(&fixture), STATUS_FORMAT);
    }
    end(&fixture);
}

static void a_failed_read_is_not_a_lost_manifest(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, 0);
    assert_int_equal(manifest_write(fixture.disk, &fixture.manifest), STATUS_OK);
    crash_disk_fail(fixture.crash, (struct crash_fault){CRASH_READ, 1, false, STATUS_IO});
    assert_int_equal(refusal(&fixture), STATUS_IO);
    end(&fixture);
}

/* ---- replacement ---- */

static void a_failed_replacement_keeps_the_old_one(void **state)
{
    (void)state;
    bool failed = true;
    for (uint64_t nth = 1; failed; nth++) {
        struct fixture fixture;
        begin(&fixture, 2);
        assert_int_equal(manifest_write(fixture.disk, &fixture.manifest), STATUS_OK);
        struct manifest next = fixture.manifest;
        next.flushed_sequence = 100;
        crash_disk_fail(fixture.crash, (struct crash_fault){~(unsigned)CRASH_SYNC_DIRECTORY, nth,
                                                            false, STATUS_NO_SPACE});
        enum status status = manifest_write(fixture.disk, &next);
        failed = crash_disk_failed(fixture.crash);
        crash_disk_fail(fixture.crash, (struct crash_fault){0});
        assert_int_equal(status, failed ? STATUS_NO_SPACE : STATUS_OK);
        expect(&fixture, failed ? &fixture.manifest : &next);
        assert_int_equal(manifest_write(fixture.disk, &next), STATUS_OK);
        expect(&fixture, &next);
        end(&fixture);
    }
}

static void a_rename_that_may_be_lost_is_unknown(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, 0);
    assert_int_equal(manifest_write(fixture.disk, &fixture.manifest), STATUS_OK);
    crash_disk_fail(fixture.crash, (struct crash_fault){CRASH_SYNC_DIRECTORY, 1, false, STATUS_IO});
    assert_int_equal(manifest_write(fixture.disk, &fixture.manifest), STATUS_UNKNOWN);
    end(&fixture);
}

struct watched {
    struct crash_disk *crash;
    const struct manifest *before, *after;
    int old, new;
};

static void check_cut(void *context, struct crash_state state)
{
    struct watched *watched = context;
    struct disk *disk = crash_disk_attach(state.disk);
    struct manifest manifest;
    struct failure failure = {0};
    assert_int_equal(manifest_read(disk, &manifest, &failure), STATUS_OK);
    bool old = same(&manifest, watched->before), new = same(&manifest, watched->after);
    assert_true(old != new);
    watched->old += old;
    watched->new += new;
    manifest_done(&manifest);
    disk_close(disk);
    crash_disk_close(state.disk);
}

static void check_cuts(void *context)
{
    struct watched *watched = context;
    crash_disk_each_state(watched->crash, check_cut, watched);
}

static void a_power_cut_leaves_the_old_or_the_new_one(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, 40);
    assert_int_equal(manifest_write(fixture.disk, &fixture.manifest), STATUS_OK);
    struct manifest next;
    assert_int_equal(manifest_copy(&fixture.manifest, &next), STATUS_OK);
    next.flushed_sequence = 100;
    manifest_remove(&next, 20);
    struct watched watched = {.crash = fixture.crash, .before = &fixture.manifest, .after = &next};
    crash_disk_watch(fixture.crash, check_cuts, &watched);
    assert_int_equal(manifest_write(fixture.disk, &next), STATUS_OK);
    crash_disk_watch(fixture.crash, NULL, NULL);
    assert_true(watched.old > 0);
    assert_true(watched.new > 0);
    watched.old = 0;
    check_cuts(&watched); /* once it is answered, only the new one is left */
    assert_int_equal(watched.old, 0);
    manifest_done(&next);
    end(&fixture);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("gives back what was written", gives_back_what_was_written),
        TEST("tables are listed and removed by id", tables_are_listed_and_removed_by_id),
        TEST("two stores have different names and epochs",
             two_stores_have_different_names_and_epochs),
        TEST("an empty directory has none", an_empty_directory_has_none),
        TEST("a flipped bit anywhere is refused", a_flipped_bit_anywhere_is_refused),
        TEST("another length is refused", another_length_is_refused),
        TEST("a hostile table count is refused", a_hostile_table_count_is_refused),
        TEST("a newer format is told from damage", a_newer_format_is_told_from_damage),
        TEST("a failed read is not a lost manifest", a_failed_read_is_not_a_lost_manifest),
        TEST("a failed replacement keeps the old one", a_failed_replacement_keeps_the_old_one),
        TEST("a rename that may be lost is unknown", a_rename_that_may_be_lost_is_unknown),
        TEST("a power cut leaves the old or the new one",
             a_power_cut_leaves_the_old_or_the_new_one),
    };
    return test_main(argc, argv, "manifest", tests);
}
