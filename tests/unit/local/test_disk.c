/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real disk in a temporary directory. pwritev and fdatasync are this program's own, in front of
 * the C library's, so that short, interrupted and failing calls can be had at will.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../../engine/local/disk.h"
#include "../../lib/test.h"

/* ---- the system calls ---- */

static struct {
    size_t write_bytes_max; /* a pwritev writes no more than this; 0: any */
    int interrupts;         /* so many pwritev calls end with EINTR first */
    int write_errno;        /* 0: none */
    int writes_before_errno;
    int sync_errno;
    int writes, syncs;
} calls;

ssize_t pwritev(int descriptor, const struct iovec *pieces, int count, off_t offset)
{
    calls.writes++;
    if (calls.interrupts > 0) {
        calls.interrupts--;
        errno = EINTR;
        return -1;
    }
    if (calls.write_errno != 0 && calls.writes > calls.writes_before_errno) {
        errno = calls.write_errno;
        return -1;
    }
    if (calls.write_bytes_max == 0)
        return syscall(SYS_pwritev, descriptor, pieces, count, offset, 0);
    size_t size = pieces->iov_len < calls.write_bytes_max ? pieces->iov_len : calls.write_bytes_max;
    return pwrite(descriptor, pieces->iov_base, size, offset);
}

int fdatasync(int descriptor)
{
    calls.syncs++;
    if (calls.sync_errno != 0) {
        errno = calls.sync_errno;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, descriptor);
}

/* ---- a disk in a fresh directory ---- */

struct fixture {
    char *path;
    struct disk *disk;
    char failures[400]; /* "operation name: reason; " of each */
};

static void note_failure(void *context, const char *operation, const char *name, const char *reason)
{
    struct fixture *fixture = context;
    size_t used = strlen(fixture->failures);
    snprintf(fixture->failures + used, sizeof fixture->failures - used, "%s %s: %s; ", operation,
             name, reason);
}

static struct fixture begin(void)
{
    memset(&calls, 0, sizeof calls);
    struct fixture fixture = {.path = test_directory_make()};
    assert_int_equal(disk_open(fixture.path, &fixture.disk, NULL), STATUS_OK);
    return fixture;
}

static void listen_to_failures(struct fixture *fixture)
{
    fixture->disk->on_failure = note_failure;
    fixture->disk->on_failure_context = fixture;
}

static void end(struct fixture *fixture)
{
    disk_close(fixture->disk);
    test_directory_remove(fixture->path);
}

static struct disk_file *make_file(struct disk *disk, const char *name, const char *text)
{
    struct disk_file *file;
    assert_int_equal(disk_create(disk, name, &file), STATUS_OK);
    struct iovec piece = {(char *)text, strlen(text)};
    assert_int_equal(disk_file_write(file, 0, &piece, 1), STATUS_OK);
    return file;
}

static void assert_holds(struct disk_file *file, const char *text)
{
    char buffer[100] = {0};
    size_t got;
    assert_int_equal(disk_file_read(file, 0, buffer, sizeof buffer - 1, &got), STATUS_OK);
    assert_int_equal(got, strlen(text));
    assert_string_equal(buffer, text);
}

/* ---- promises ---- */

static void reads_back_what_was_written(void **state)
{
    (void)state;
    struct fixture fixture = begin();
    struct disk_file *file = make_file(fixture.disk, "a", "0123456789");
    struct iovec pieces[] = {{"AB", 2}, {"", 0}, {"CDE", 3}};
    assert_int_equal(disk_file_write(file, 4, pieces, 3), STATUS_OK);
    assert_int_equal(disk_file_sync(file), STATUS_OK);
    assert_holds(file, "0123ABCDE9");
    assert_int_equal(disk_file_truncate(file, 6), STATUS_OK);
    disk_file_close(file);
    assert_int_equal(disk_open_file(fixture.disk, "a", &file), STATUS_OK);
    assert_holds(file, "0123AB");
    uint64_t bytes;
    assert_int_equal(disk_file_size(file, &bytes), STATUS_OK);
    assert_int_equal(bytes, 6);
    disk_file_close(file);
    end(&fixture);
}

static void short_and_interrupted_writes_continue(void **state)
{
    (void)state;
    struct fixture fixture = begin();
    for (size_t most = 1; most <= 11; most++) {
        struct disk_file *file;
        assert_int_equal(disk_create(fixture.disk, "a", &file), STATUS_OK);
        calls.write_bytes_max = most;
        calls.interrupts = 2;
        struct iovec pieces[] = {{"", 0}, {"0123", 4}, {"4", 1}, {"", 0}, {"56789a", 6}, {"", 0}};
        assert_int_equal(disk_file_write(file, 0, pieces, 6), STATUS_OK);
        assert_holds(file, "0123456789a");
        disk_file_close(file);
        assert_int_equal(disk_remove(fixture.disk, "a"), STATUS_OK);
    }
    end(&fixture);
}

static void a_failed_write_is_told_and_not_repeated(void **state)
{
    (void)state;
    struct fixture fixture = begin();
    struct disk_file *file = make_file(fixture.disk, "a", "");
    struct iovec pieces[] = {{"0123", 4}, {"4567", 4}};
    listen_to_failures(&fixture);

    calls.write_bytes_max = 3;
    calls.write_errno = EIO;
    calls.writes = 0;
    calls.writes_before_errno = 1;
    assert_int_equal(disk_file_write(file, 0, pieces, 2), STATUS_IO);
    assert_int_equal(calls.writes, 2);
    assert_string_equal(fixture.failures, "write a: Input/output error; ");

    static const int full[] = {ENOSPC, EDQUOT, EFBIG};
    for (size_t i = 0; i < COUNT_OF(full); i++) {
        calls.write_errno = full[i];
        assert_int_equal(disk_file_write(file, 0, pieces, 2), STATUS_NO_SPACE);
    }
    disk_file_close(file);
    end(&fixture);
}

static void a_failed_sync_is_told_and_not_repeated(void **state)
{
    (void)state;
    static const int errors[] = {EIO, EINTR, ENOENT};
    for (size_t i = 0; i < COUNT_OF(errors); i++) {
        struct fixture fixture = begin();
        struct disk_file *file = make_file(fixture.disk, "a", "x");
        listen_to_failures(&fixture);
        calls.sync_errno = errors[i];
        assert_int_equal(disk_file_sync(file), STATUS_IO);
        assert_int_equal(calls.syncs, 1);
        disk_file_close(file);
        end(&fixture);
    }
}

static void names_are_made_once_renamed_and_removed(void **state)
{
    (void)state;
    struct fixture fixture = begin();
    listen_to_failures(&fixture);
    struct disk_file *file;
    assert_int_equal(disk_open_file(fixture.disk, "a", &file), STATUS_NOT_FOUND);
    assert_int_equal(disk_remove(fixture.disk, "a"), STATUS_NOT_FOUND);
    assert_int_equal(disk_rename(fixture.disk, "a", "b"), STATUS_NOT_FOUND);
    assert_string_equal(fixture.failures, "");

    disk_file_close(make_file(fixture.disk, "a", "one"));
    disk_file_close(make_file(fixture.disk, "b", "two"));
    assert_int_equal(disk_create(fixture.disk, "a", &file), STATUS_IO);
    assert_string_equal(fixture.failures, "create a: File exists; ");
    assert_int_equal(disk_rename(fixture.disk, "a", "b"), STATUS_OK);
    assert_int_equal(disk_sync_directory(fixture.disk), STATUS_OK);
    assert_int_equal(disk_open_file(fixture.disk, "b", &file), STATUS_OK);
    assert_holds(file, "one");
    disk_file_close(file);
    assert_int_equal(disk_open_file(fixture.disk, "a", &file), STATUS_NOT_FOUND);
    assert_int_equal(disk_remove(fixture.disk, "b"), STATUS_OK);
    assert_int_equal(disk_open_file(fixture.disk, "b", &file), STATUS_NOT_FOUND);
    end(&fixture);
}

struct listing {
    int count;
    uint64_t bytes;
    enum status answer;
};

static enum status visit(void *context, const char *name, uint64_t bytes)
{
    struct listing *listing = context;
    assert_true(strcmp(name, "a") == 0 || strcmp(name, "b") == 0);
    listing->count++;
    listing->bytes += bytes;
    return listing->answer;
}

static void lists_regular_files_only(void **state)
{
    (void)state;
    struct fixture fixture = begin();
    disk_file_close(make_file(fixture.disk, "a", "12345"));
    disk_file_close(make_file(fixture.disk, "b", ""));
    AUTO_FREE char *path = NULL;
    assert_true(asprintf(&path, "%s/directory", fixture.path) > 0);
    assert_int_equal(mkdir(path, 0700), 0);
    AUTO_FREE char *link_path = NULL;
    assert_true(asprintf(&link_path, "%s/link", fixture.path) > 0);
    assert_int_equal(symlink("a", link_path), 0);

    for (int again = 0; again < 2; again++) {
        struct listing listing = {.answer = STATUS_OK};
        assert_int_equal(disk_list(fixture.disk, visit, &listing), STATUS_OK);
        assert_int_equal(listing.count, 2);
        assert_int_equal(listing.bytes, 5);
    }
    struct listing stopped = {.answer = STATUS_CORRUPT_LOG};
    assert_int_equal(disk_list(fixture.disk, visit, &stopped), STATUS_CORRUPT_LOG);
    assert_int_equal(stopped.count, 1);
    assert_int_equal(rmdir(path), 0);
    end(&fixture);
}

static void one_owner_at_a_time(void **state)
{
    (void)state;
    struct fixture fixture = begin();
    struct disk *other;
    assert_int_equal(disk_open(fixture.path, &other, NULL), STATUS_OK);
    assert_int_equal(disk_lock(fixture.disk), STATUS_OK);
    assert_int_equal(disk_lock(other), STATUS_LOCKED);
    disk_close(fixture.disk);
    assert_int_equal(disk_lock(other), STATUS_OK);
    fixture.disk = other;
    end(&fixture);
}

static void descriptors_do_not_outlive_an_exec(void **state)
{
    (void)state;
    struct fixture fixture = begin();
    assert_int_equal(disk_lock(fixture.disk), STATUS_OK);
    struct disk_file *file = make_file(fixture.disk, "a", "x");
    for (int descriptor = 3; descriptor < 64; descriptor++) {
        char link_path[64], target[300] = {0};
        snprintf(link_path, sizeof link_path, "/proc/self/fd/%d", descriptor);
        if (readlink(link_path, target, sizeof target - 1) > 0 &&
            strncmp(target, fixture.path, strlen(fixture.path)) == 0)
            assert_true(fcntl(descriptor, F_GETFD) & FD_CLOEXEC);
    }
    disk_file_close(file);
    end(&fixture);
}

static void keeps_its_directory_when_the_path_moves(void **state)
{
    (void)state;
    struct fixture fixture = begin();
    AUTO_FREE char *moved = NULL;
    assert_true(asprintf(&moved, "%s-moved", fixture.path) > 0);
    assert_int_equal(rename(fixture.path, moved), 0);
    disk_file_close(make_file(fixture.disk, "a", "x"));
    assert_int_equal(rename(moved, fixture.path), 0);
    struct disk_file *file;
    assert_int_equal(disk_open_file(fixture.disk, "a", &file), STATUS_OK);
    disk_file_close(file);
    end(&fixture);
}

static void makes_an_absent_directory_for_its_user_alone(void **state)
{
    (void)state;
    struct fixture fixture = begin();
    AUTO_FREE char *path = NULL;
    assert_true(asprintf(&path, "%s/data", fixture.path) > 0);
    struct disk *disk;
    assert_int_equal(disk_open(path, &disk, NULL), STATUS_OK);
    struct stat about;
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 0777, 0700);
    disk_close(disk);
    end(&fixture);
}

static void says_what_to_do_when_it_cannot_open(void **state)
{
    (void)state;
    struct fixture fixture = begin();
    struct disk *disk;
    struct failure failure = {0};
    AUTO_FREE char *deep = NULL;
    assert_true(asprintf(&deep, "%s/no/such", fixture.path) > 0);
    assert_int_equal(disk_open(deep, &disk, &failure), STATUS_IO);
    assert_non_null(strstr(failure.message, deep));
    assert_non_null(strstr(failure.message, "No such file or directory; make it"));

    AUTO_FREE char *file = NULL;
    assert_true(asprintf(&file, "%s/file", fixture.path) > 0);
    disk_file_close(make_file(fixture.disk, "file", ""));
    assert_int_equal(disk_open(file, &disk, &failure), STATUS_IO);
    assert_non_null(strstr(failure.message, "Not a directory; name a directory"));

    assert_int_equal(disk_open("/proc/self", &disk, &failure), STATUS_IO);
    assert_non_null(strstr(failure.message, "cannot be written"));
    end(&fixture);
}

static void tells_the_free_bytes(void **state)
{
    (void)state;
    struct fixture fixture = begin();
    uint64_t bytes = 0;
    assert_int_equal(disk_free_bytes(fixture.disk, &bytes), STATUS_OK);
    assert_true(bytes > 0);
    end(&fixture);
}

static void reserving_takes_space_or_nothing(void **state)
{
    (void)state;
    struct fixture fixture = begin();
    struct disk_file *file = make_file(fixture.disk, "a", "hello");
    uint64_t bytes = 0;
    assert_int_equal(disk_file_reserve(file, 0), STATUS_OK);
    assert_int_equal(disk_file_reserve(file, 3), STATUS_OK);
    assert_holds(file, "hello");
    assert_int_equal(disk_file_reserve(file, 1 << 20), STATUS_OK);
    assert_int_equal(disk_file_size(file, &bytes), STATUS_OK);
    assert_int_equal(bytes, 1 << 20);
    assert_int_equal(disk_file_truncate(file, 5), STATUS_OK);
    assert_holds(file, "hello");
    disk_file_close(file);
    end(&fixture);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("reads back what was written", reads_back_what_was_written),
        TEST("short and interrupted writes continue", short_and_interrupted_writes_continue),
        TEST("a failed write is told and not repeated", a_failed_write_is_told_and_not_repeated),
        TEST("a failed sync is told and not repeated", a_failed_sync_is_told_and_not_repeated),
        TEST("names are made once, renamed and removed", names_are_made_once_renamed_and_removed),
        TEST("lists regular files only", lists_regular_files_only),
        TEST("one owner at a time", one_owner_at_a_time),
        TEST("descriptors do not outlive an exec", descriptors_do_not_outlive_an_exec),
        TEST("keeps its directory when the path moves", keeps_its_directory_when_the_path_moves),
        TEST("makes an absent directory for its user alone",
             makes_an_absent_directory_for_its_user_alone),
        TEST("says what to do when it cannot open", says_what_to_do_when_it_cannot_open),
        TEST("tells the free bytes", tells_the_free_bytes),
        TEST("reserving takes space or nothing", reserving_takes_space_or_nothing),
    };
    return test_main(argc, argv, "disk", tests);
}
