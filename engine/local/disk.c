/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real disk: one directory, reached through its descriptor, so that renaming or mounting over
 * its path changes nothing for a running store. errno ends here: it becomes a status for the caller
 * and a text for on_failure.
 *
 * Threads: any. Owns the directory's descriptor and the lock's.
 */
#include "disk.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "fault_guard.h"
#include "format.h"

enum { DIRECTORY_MODE = 0700, FILE_MODE = 0600 };

struct real_disk {
    struct disk disk;
    int directory;
    int lock; /* -1: not taken */
};

struct real_file {
    struct disk_file file;
    int descriptor;
};

static struct real_disk *real_disk(struct disk *disk)
{
    return (struct real_disk *)disk;
}

static int descriptor_of(struct disk_file *file)
{
    return ((struct real_file *)file)->descriptor;
}

/* ---- errors ---- */

static enum status status_of(int error)
{
    switch (error) {
    case ENOENT:
        return STATUS_NOT_FOUND;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return STATUS_NO_SPACE;
    default:
        return STATUS_IO;
    }
}

/* Of the call that just failed. That a file is not there is an answer, no failure. */
static enum status failed(struct disk *disk, const char *operation, const char *name)
{
    int error = errno;
    enum status status = status_of(error);
    if (status != STATUS_NOT_FOUND && disk->on_failure != NULL)
        disk->on_failure(disk->on_failure_context, operation, name, strerrordesc_np(error));
    return status;
}

static enum status file_failed(struct disk_file *file, const char *operation)
{
    enum status status = failed(file->disk, operation, file->name);
    return status == STATUS_NOT_FOUND ? STATUS_IO : status;
}

/* ---- files ---- */

static void real_file_close(struct disk_file *file)
{
    close(descriptor_of(file)); /* all that matters was synced before: nothing left to fail */
    free(file);
}

static enum status real_file_size(struct disk_file *file, uint64_t *out_bytes)
{
    struct stat about;
    if (fstat(descriptor_of(file), &about) != 0)
        return file_failed(file, "fstat");
    *out_bytes = (uint64_t)about.st_size;
    return STATUS_OK;
}

static enum status real_file_read(struct disk_file *file, uint64_t offset, void *buffer,
                                  size_t size, size_t *out_read)
{
    size_t done = 0;
    while (done < size) {
        ssize_t got =
            pread(descriptor_of(file), (char *)buffer + done, size - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return file_failed(file, "read");
        if (got == 0)
            break;
        done += (size_t)got;
    }
    *out_read = done;
    return STATUS_OK;
}

/* As pwritev(), but an interrupted call is made again and writing nothing is an error. */
static ssize_t write_some(struct disk_file *file, uint64_t offset, const struct iovec *pieces,
                          int count)
{
    ssize_t wrote;
    do
        wrote = pwritev(descriptor_of(file), pieces, count, (off_t)offset);
    while (wrote < 0 && errno == EINTR);
    if (wrote == 0)
        errno = EIO;
    return wrote > 0 ? wrote : -1;
}

/* A short write continues where it ended: the half-written piece alone, then the others. */
static enum status real_file_write(struct disk_file *file, uint64_t offset,
                                   const struct iovec *pieces, int count)
{
    assert(count <= DISK_IOVECS_MAX);
    size_t into_piece = 0; /* bytes of *pieces that are written */
    for (;;) {
        while (count > 0 && into_piece >= pieces->iov_len) {
            into_piece -= pieces->iov_len;
            pieces++;
            count--;
        }
        if (count == 0)
            return STATUS_OK;
        struct iovec rest = {(char *)pieces->iov_base + into_piece, pieces->iov_len - into_piece};
        ssize_t wrote = into_piece > 0 ? write_some(file, offset, &rest, 1)
                                       : write_some(file, offset, pieces, count);
        if (wrote < 0)
            return file_failed(file, "write");
        offset += (uint64_t)wrote;
        into_piece += (size_t)wrote;
    }
}

/* Not even an interrupted one is repeated: an error that it met would not be told again. */
static enum status real_file_sync(struct disk_file *file)
{
    return fdatasync(descriptor_of(file)) == 0 ? STATUS_OK : file_failed(file, "fdatasync");
}

static enum status real_file_truncate(struct disk_file *file, uint64_t bytes)
{
    int result;
    do
        result = ftruncate(descriptor_of(file), (off_t)bytes);
    while (result != 0 && errno == EINTR);
    return result == 0 ? STATUS_OK : file_failed(file, "truncate");
}

/* A file system without allocation ahead takes the space as it is written. */
static enum status real_file_reserve(struct disk_file *file, uint64_t bytes)
{
    int error;
    if (bytes == 0) /* fallocate() calls it invalid */
        return STATUS_OK;
    do
        error = fallocate(descriptor_of(file), 0, 0, (off_t)bytes) == 0 ? 0 : errno;
    while (error == EINTR);
    if (error == 0 || error == EOPNOTSUPP)
        return STATUS_OK;
    errno = error;
    return file_failed(file, "fallocate");
}

static enum status real_file_map(struct disk_file *file, uint64_t bytes, const void **out_map)
{
    void *map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, descriptor_of(file), 0);
    if (map == MAP_FAILED)
        return file_failed(file, "mmap");
    if (!fault_guard_add(map, bytes)) {
        munmap(map, bytes);
        errno = ENOMEM;
        return file_failed(file, "mmap");
    }
    madvise(map, bytes,
            MADV_RANDOM); /* a key's record is small, and its neighbours are not asked */
    *out_map = map;
    return STATUS_OK;
}

static void real_file_unmap(struct disk_file *file, const void *map, uint64_t bytes)
{
    (void)file;
    fault_guard_remove(map);
    munmap((void *)map, bytes);
}

/* ---- the directory ---- */

static enum status open_with(struct disk *disk, const char *operation, const char *name, int flags,
                             struct disk_file **out_file)
{
    struct real_file *file = calloc(1, sizeof *file);
    if (file == NULL) {
        errno = ENOMEM;
        return failed(disk, operation, name);
    }
    do
        file->descriptor = openat(real_disk(disk)->directory, name,
                                  O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, FILE_MODE);
    while (file->descriptor < 0 && errno == EINTR);
    if (file->descriptor < 0) {
        enum status status = failed(disk, operation, name);
        free(file);
        return status;
    }
    file->file.disk = disk;
    snprintf(file->file.name, sizeof file->file.name, "%s", name);
    *out_file = &file->file;
    return STATUS_OK;
}

static enum status real_create(struct disk *disk, const char *name, struct disk_file **out_file)
{
    return open_with(disk, "create", name, O_CREAT | O_EXCL, out_file);
}

static enum status real_open(struct disk *disk, const char *name, struct disk_file **out_file)
{
    return open_with(disk, "open", name, 0, out_file);
}

static enum status real_rename(struct disk *disk, const char *from, const char *to)
{
    int directory = real_disk(disk)->directory;
    return renameat(directory, from, directory, to) == 0 ? STATUS_OK : failed(disk, "rename", from);
}

static enum status real_remove(struct disk *disk, const char *name)
{
    return unlinkat(real_disk(disk)->directory, name, 0) == 0 ? STATUS_OK
                                                              : failed(disk, "remove", name);
}

static enum status real_sync_directory(struct disk *disk)
{
    return fsync(real_disk(disk)->directory) == 0 ? STATUS_OK : failed(disk, "fsync", ".");
}

static enum status real_free_bytes(struct disk *disk, uint64_t *out_bytes)
{
    struct statvfs about;
    if (fstatvfs(real_disk(disk)->directory, &about) != 0)
        return failed(disk, "statvfs", ".");
    *out_bytes = (uint64_t)about.f_bavail * about.f_frsize;
    return STATUS_OK;
}

/* OK, with *out_bytes set, for a regular file; NOT_FOUND for anything else. */
static enum status regular_file_bytes(struct disk *disk, const char *name, uint64_t *out_bytes)
{
    struct stat about;
    if (fstatat(real_disk(disk)->directory, name, &about, AT_SYMLINK_NOFOLLOW) != 0)
        return failed(disk, "fstatat", name);
    *out_bytes = (uint64_t)about.st_size;
    return S_ISREG(about.st_mode) ? STATUS_OK : STATUS_NOT_FOUND;
}

static enum status next_name(struct disk *disk, DIR *entries, const char **out_name)
{
    errno = 0;
    struct dirent *entry = readdir(entries);
    if (entry == NULL && errno != 0)
        return failed(disk, "readdir", ".");
    *out_name = entry != NULL ? entry->d_name : NULL;
    return STATUS_OK;
}

static enum status real_list(struct disk *disk,
                             enum status (*visit)(void *context, const char *name, uint64_t bytes),
                             void *context)
{
    /* A description of its own: the position in the directory belongs to it. */
    int descriptor = openat(real_disk(disk)->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *entries = descriptor < 0 ? NULL : fdopendir(descriptor);
    if (entries == NULL) {
        enum status status = failed(disk, "opendir", ".");
        if (descriptor >= 0)
            close(descriptor);
        return status;
    }
    const char *name = NULL;
    enum status status;
    while ((status = next_name(disk, entries, &name)) == STATUS_OK && name != NULL) {
        uint64_t bytes = 0;
        status = regular_file_bytes(disk, name, &bytes);
        if (status == STATUS_OK)
            status = visit(context, name, bytes);
        else if (status == STATUS_NOT_FOUND) /* a directory, or removed meanwhile */
            status = STATUS_OK;
        if (status != STATUS_OK)
            break;
    }
    closedir(entries);
    return status;
}

static enum status real_lock(struct disk *disk)
{
    struct real_disk *real = real_disk(disk);
    assert(real->lock < 0);
    int lock = openat(real->directory, FORMAT_LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW,
                      FILE_MODE);
    if (lock < 0)
        return failed(disk, "open", FORMAT_LOCK_NAME);
    if (flock(lock, LOCK_EX | LOCK_NB) != 0) {
        enum status status =
            errno == EWOULDBLOCK ? STATUS_LOCKED : failed(disk, "flock", FORMAT_LOCK_NAME);
        close(lock);
        return status;
    }
    real->lock = lock;
    return STATUS_OK;
}

static void real_close(struct disk *disk)
{
    struct real_disk *real = real_disk(disk);
    if (real->lock >= 0)
        close(real->lock);
    if (real->directory >= 0)
        close(real->directory);
    free(real);
}

static const struct disk_operations operations = {
    .close = real_close,
    .lock = real_lock,
    .list = real_list,
    .create = real_create,
    .open = real_open,
    .rename = real_rename,
    .remove = real_remove,
    .sync_directory = real_sync_directory,
    .free_bytes = real_free_bytes,
    .file_close = real_file_close,
    .file_size = real_file_size,
    .file_read = real_file_read,
    .file_write = real_file_write,
    .file_sync = real_file_sync,
    .file_truncate = real_file_truncate,
    .file_reserve = real_file_reserve,
    .file_map = real_file_map,
    .file_unmap = real_file_unmap,
};

/* ---- opening ---- */

static enum status make_directory(const char *path, struct failure *failure)
{
    if (mkdir(path, DIRECTORY_MODE) != 0 && errno != EEXIST)
        return failure_set(failure, STATUS_IO,
                           "cannot make the data directory %s: %s; make it, or name another", path,
                           strerrordesc_np(errno));
    return STATUS_OK;
}

static enum status open_directory(const char *path, int *out_directory, struct failure *failure)
{
    int directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0)
        return failure_set(failure, STATUS_IO,
                           "cannot open the data directory %s: %s; name a directory that this "
                           "user may read and write",
                           path, strerrordesc_np(errno));
    *out_directory = directory;
    if (faccessat(directory, ".", R_OK | W_OK | X_OK, AT_EACCESS) != 0)
        return failure_set(failure, STATUS_IO,
                           "the data directory %s cannot be written: %s; give it to the user that "
                           "runs this process, or name another",
                           path, strerrordesc_np(errno));
    return STATUS_OK;
}

/*
 * Makes the directory's own name durable, at every start, since the process that made it may have
 * died before it could. A parent that we may not read, or that cannot be synced, is left alone.
 */
static enum status sync_parent(const char *path, int directory, struct failure *failure)
{
    int parent = openat(directory, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0)
        return STATUS_OK;
    enum status status = STATUS_OK;
    if (fsync(parent) != 0 && errno != EINVAL)
        status = failure_set(failure, STATUS_IO,
                             "cannot make the name of the data directory %s durable: %s; look at "
                             "the kernel's log for the state of this disk",
                             path, strerrordesc_np(errno));
    close(parent);
    return status;
}

enum status disk_open(const char *path, struct disk **out_disk, struct failure *failure)
{
    enum status status = make_directory(path, failure);
    return status == STATUS_OK ? disk_open_existing(path, out_disk, failure) : status;
}

enum status disk_open_existing(const char *path, struct disk **out_disk, struct failure *failure)
{
    struct real_disk *real = calloc(1, sizeof *real);
    if (real == NULL)
        return failure_set(failure, STATUS_NO_MEMORY, "no memory to open the data directory");
    *real = (struct real_disk){.disk = {.operations = &operations}, .directory = -1, .lock = -1};
    enum status status = open_directory(path, &real->directory, failure);
    if (status == STATUS_OK)
        status = sync_parent(path, real->directory, failure);
    if (status != STATUS_OK) {
        real_close(&real->disk);
        return status;
    }
    *out_disk = &real->disk;
    return STATUS_OK;
}
