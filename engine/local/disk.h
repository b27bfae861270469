/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disk seam: one data directory as a struct of functions. disk.c is the only file of the engine
 * that makes these system calls; the crash simulator in tests/lib puts its own functions here.
 *
 * Names are plain file names inside the directory. A status is OK, NOT_FOUND, NO_SPACE (ENOSPC,
 * EDQUOT, EFBIG), LOCKED or IO; every other detail goes to `on_failure`, once per failed call.
 * Nothing here retries: a failed write or sync leaves the file's state unknown to the caller.
 * Any thread may call; two threads must not write or close the same file at once.
 */
#ifndef KEYREST_ENGINE_LOCAL_DISK_H
#define KEYREST_ENGINE_LOCAL_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "../status.h"

enum {
    DISK_IOVECS_MAX = 1024, /* most pieces of one write: Linux's IOV_MAX */
    DISK_NAME_BYTES_MAX = 255
};

struct disk;

/* An open file. Implementations put this first in a struct of their own. */
struct disk_file {
    struct disk *disk;
    char name[64];
};

struct disk_operations {
    void (*close)(struct disk *disk);
    /* Takes the directory for this process until close. LOCKED: another process has it. */
    enum status (*lock)(struct disk *disk);
    /* Calls `visit` for each regular file, in no order. A visit that is not OK ends the listing. */
    enum status (*list)(struct disk *disk,
                        enum status (*visit)(void *context, const char *name, uint64_t bytes),
                        void *context);
    /* Makes an empty file for reading and writing; IO if the name exists. */
    enum status (*create)(struct disk *disk, const char *name, struct disk_file **out_file);
    /* Opens for reading and writing. NOT_FOUND. */
    enum status (*open)(struct disk *disk, const char *name, struct disk_file **out_file);
    enum status (*rename)(struct disk *disk, const char *from, const char *to);
    enum status (*remove)(struct disk *disk, const char *name);
    /* Makes the names durable: creates, renames and removes before it. */
    enum status (*sync_directory)(struct disk *disk);
    /* Bytes that an unprivileged process may still allocate on this file system. */
    enum status (*free_bytes)(struct disk *disk, uint64_t *out_bytes);

    void (*file_close)(struct disk_file *file);
    enum status (*file_size)(struct disk_file *file, uint64_t *out_bytes);
    /* Reads until `size` bytes or the end of the file. */
    enum status (*file_read)(struct disk_file *file, uint64_t offset, void *buffer, size_t size,
                             size_t *out_read);
    /* Writes every piece, in order, or fails; after a failure any part may be there. */
    enum status (*file_write)(struct disk_file *file, uint64_t offset, const struct iovec *pieces,
                              int count);
    /* fdatasync: contents and size. Never call it again on a file for which it failed. */
    enum status (*file_sync)(struct disk_file *file);
    enum status (*file_truncate)(struct disk_file *file, uint64_t bytes);
    /* Makes the file at least `bytes` long and takes the space for it now; 0: nothing. NO_SPACE. */
    enum status (*file_reserve)(struct disk_file *file, uint64_t bytes);
    /*
     * The file's first `bytes` as memory, read-only, until file_unmap; the file stays open. What
     * the disk cannot deliver reads as zeros: only checksums tell.
     */
    enum status (*file_map)(struct disk_file *file, uint64_t bytes, const void **out_map);
    void (*file_unmap)(struct disk_file *file, const void *map, uint64_t bytes);
};

/* A data directory. Implementations put this first in a struct of their own. */
struct disk {
    const struct disk_operations *operations; /* set at open, then constant */
    /* Told of each failed call; set by the engine at open, may be NULL. Must not block. */
    void (*on_failure)(void *context, const char *operation, const char *name, const char *reason);
    void *on_failure_context;
};

/*
 * Opens `path` as a data directory, making it (one level, mode 0700) when absent. The caller owns
 * the result: disk_close(). The message of `failure` says what to do.
 */
MUST_CHECK enum status disk_open(const char *path, struct disk **out_disk, struct failure *failure);

/* The same for one that must be there: IO when it is not. */
MUST_CHECK enum status disk_open_existing(const char *path, struct disk **out_disk,
                                          struct failure *failure);

/* NULL is allowed. Releases the lock. */
static inline void disk_close(struct disk *disk)
{
    if (disk != NULL)
        disk->operations->close(disk);
}

MUST_CHECK static inline enum status disk_lock(struct disk *disk)
{
    return disk->operations->lock(disk);
}

MUST_CHECK static inline enum status
disk_list(struct disk *disk, enum status (*visit)(void *context, const char *name, uint64_t bytes),
          void *context)
{
    return disk->operations->list(disk, visit, context);
}

MUST_CHECK static inline enum status disk_create(struct disk *disk, const char *name,
                                                 struct disk_file **out_file)
{
    return disk->operations->create(disk, name, out_file);
}

MUST_CHECK static inline enum status disk_open_file(struct disk *disk, const char *name,
                                                    struct disk_file **out_file)
{
    return disk->operations->open(disk, name, out_file);
}

MUST_CHECK static inline enum status disk_rename(struct disk *disk, const char *from,
                                                 const char *to)
{
    return disk->operations->rename(disk, from, to);
}

MUST_CHECK static inline enum status disk_remove(struct disk *disk, const char *name)
{
    return disk->operations->remove(disk, name);
}

MUST_CHECK static inline enum status disk_sync_directory(struct disk *disk)
{
    return disk->operations->sync_directory(disk);
}

MUST_CHECK static inline enum status disk_free_bytes(struct disk *disk, uint64_t *out_bytes)
{
    return disk->operations->free_bytes(disk, out_bytes);
}

/* NO_SPACE unless so much is free: to ask costs less than to try, and leaves nothing behind. */
MUST_CHECK static inline enum status disk_check_room(struct disk *disk, uint64_t bytes)
{
    uint64_t free_bytes;
    enum status status = disk_free_bytes(disk, &free_bytes);
    return status == STATUS_OK && free_bytes < bytes ? STATUS_NO_SPACE : status;
}

/* NULL is allowed. */
static inline void disk_file_close(struct disk_file *file)
{
    if (file != NULL)
        file->disk->operations->file_close(file);
}

MUST_CHECK static inline enum status disk_file_size(struct disk_file *file, uint64_t *out_bytes)
{
    return file->disk->operations->file_size(file, out_bytes);
}

MUST_CHECK static inline enum status disk_file_read(struct disk_file *file, uint64_t offset,
                                                    void *buffer, size_t size, size_t *out_read)
{
    return file->disk->operations->file_read(file, offset, buffer, size, out_read);
}

MUST_CHECK static inline enum status disk_file_write(struct disk_file *file, uint64_t offset,
                                                     const struct iovec *pieces, int count)
{
    return file->disk->operations->file_write(file, offset, pieces, count);
}

MUST_CHECK static inline enum status disk_file_sync(struct disk_file *file)
{
    return file->disk->operations->file_sync(file);
}

MUST_CHECK static inline enum status disk_file_truncate(struct disk_file *file, uint64_t bytes)
{
    return file->disk->operations->file_truncate(file, bytes);
}

MUST_CHECK static inline enum status disk_file_reserve(struct disk_file *file, uint64_t bytes)
{
    return file->disk->operations->file_reserve(file, bytes);
}

MUST_CHECK static inline enum status disk_file_map(struct disk_file *file, uint64_t bytes,
                                                   const void **out_map)
{
    return file->disk->operations->file_map(file, bytes, out_map);
}

static inline void disk_file_unmap(struct disk_file *file, const void *map, uint64_t bytes)
{
    file->disk->operations->file_unmap(file, map, bytes);
}

#endif
