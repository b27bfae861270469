/* SPDX-License-Identifier: Apache-2.0 */
/* The simulated disk as a struct of functions: what a process may call, and how its calls fail. */
#include "crash_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct attached {
    struct disk face;
    struct crash_disk *crash;
    unsigned generation;
};

struct attached_file {
    struct disk_file face;
    size_t file;
};

static struct attached *attached_of(struct disk *disk)
{
    return (struct attached *)disk;
}

static struct file *cached_file(const struct disk_file *file)
{
    const struct attached_file *attached = (const struct attached_file *)file;
    return &attached_of(file->disk)->crash->files[attached->file];
}

static bool is_dead(const struct attached *attached)
{
    return attached->generation != attached->crash->generation;
}

/* Whether this call fails: the process is dead, or the fault strikes. */
static enum status refuse(struct disk *disk, enum crash_operation operation, const char *name)
{
    struct crash_disk *crash = attached_of(disk)->crash;
    if (is_dead(attached_of(disk)))
        return STATUS_IO;
    if (operation != CRASH_READ) {
        crash->last = (struct crash_last){.operation = operation};
        snprintf(crash->last.name, sizeof crash->last.name, "%s", name);
    }
    if ((crash->fault.operations & operation) == 0)
        return STATUS_OK;
    crash->fault_seen++;
    bool strikes = crash->fault.for_ever ? crash->fault_seen >= crash->fault.nth
                                         : crash->fault_seen == crash->fault.nth;
    if (!strikes)
        return STATUS_OK;
    crash->failed = true;
    if (disk->on_failure != NULL)
        disk->on_failure(disk->on_failure_context, "simulated", name, "a fault was asked for");
    return crash->fault.status;
}

static uint64_t free_bytes(const struct crash_disk *crash)
{
    uint64_t limit = crash_disk_is_limited(crash) ? crash->limit_bytes : UINT64_C(1) << 40;
    uint64_t used = crash_disk_used(crash);
    return used < limit ? limit - used : 0;
}

/* The same for a call that makes a file larger. */
static enum status refuse_growth(struct disk_file *file, uint64_t bytes)
{
    enum status status = refuse(file->disk, CRASH_WRITE, file->name);
    uint64_t now = cached_file(file)->cache.bytes;
    bool fits = bytes <= now || bytes - now <= free_bytes(attached_of(file->disk)->crash);
    return status == STATUS_OK && !fits ? STATUS_NO_SPACE : status;
}

static enum status done(struct disk *disk, enum status status)
{
    struct attached *attached = attached_of(disk);
    if (!is_dead(attached) && attached->crash->after != NULL)
        attached->crash->after(attached->crash->after_context);
    return status;
}

static size_t index_of(const struct disk_file *file)
{
    return ((const struct attached_file *)file)->file;
}

static void seam_close(struct disk *disk)
{
    if (!is_dead(attached_of(disk)))
        attached_of(disk)->crash->locked = false;
    free(disk);
}

static enum status seam_lock(struct disk *disk)
{
    struct crash_disk *crash = attached_of(disk)->crash;
    if (crash->locked)
        return STATUS_LOCKED;
    crash->locked = true;
    return STATUS_OK;
}

static enum status seam_list(struct disk *disk,
                             enum status (*visit)(void *context, const char *name, uint64_t bytes),
                             void *context)
{
    struct crash_disk *crash = attached_of(disk)->crash;
    enum status status = refuse(disk, CRASH_READ, ".");
    for (size_t i = 0; i < crash->cache.count && status == STATUS_OK; i++)
        status = visit(context, crash->cache.rows[i].name,
                       crash->files[crash->cache.rows[i].file].cache.bytes);
    return status;
}

static struct disk_file *open_file(struct disk *disk, const char *name, size_t index)
{
    struct attached_file *file = crash_grown(NULL, 1, sizeof *file);
    *file = (struct attached_file){.face = {.disk = disk}, .file = index};
    snprintf(file->face.name, sizeof file->face.name, "%s", name);
    return &file->face;
}

static struct change change_of(enum change_kind kind, size_t file, const char *name)
{
    struct change change = {.kind = kind, .file = file};
    snprintf(change.name, sizeof change.name, "%s", name);
    return change;
}

static enum status seam_create(struct disk *disk, const char *name, struct disk_file **out_file)
{
    struct crash_disk *crash = attached_of(disk)->crash;
    enum status status = refuse(disk, CRASH_CREATE, name);
    if (status == STATUS_OK && crash_names_find(&crash->cache, name) != NULL)
        status = STATUS_IO;
    if (status != STATUS_OK)
        return done(disk, status);
    size_t file = crash_add_file(crash);
    crash_add_change(crash, change_of(CHANGE_CREATE, file, name));
    *out_file = open_file(disk, name, file);
    return done(disk, STATUS_OK);
}

static enum status seam_open(struct disk *disk, const char *name, struct disk_file **out_file)
{
    enum status status = refuse(disk, CRASH_READ, name);
    const struct name *row = crash_names_find(&attached_of(disk)->crash->cache, name);
    if (status != STATUS_OK || row == NULL)
        return status != STATUS_OK ? status : STATUS_NOT_FOUND;
    *out_file = open_file(disk, name, row->file);
    return STATUS_OK;
}

static enum status change_name(struct disk *disk, enum change_kind kind, const char *name,
                               const char *to)
{
    struct crash_disk *crash = attached_of(disk)->crash;
    enum status status = refuse(disk, kind == CHANGE_RENAME ? CRASH_RENAME : CRASH_REMOVE, name);
    const struct name *row = crash_names_find(&crash->cache, name);
    if (status == STATUS_OK && row == NULL)
        status = STATUS_NOT_FOUND;
    if (status != STATUS_OK)
        return done(disk, status);
    struct change change = change_of(kind, row->file, name);
    snprintf(change.to, sizeof change.to, "%s", to);
    snprintf(crash->last.to, sizeof crash->last.to, "%s", to);
    crash_add_change(crash, change);
    return done(disk, STATUS_OK);
}

static enum status seam_rename(struct disk *disk, const char *from, const char *to)
{
    return change_name(disk, CHANGE_RENAME, from, to);
}

static enum status seam_remove(struct disk *disk, const char *name)
{
    return change_name(disk, CHANGE_REMOVE, name, "");
}

static enum status seam_sync_directory(struct disk *disk)
{
    struct crash_disk *crash = attached_of(disk)->crash;
    enum status status = refuse(disk, CRASH_SYNC_DIRECTORY, ".");
    if (status == STATUS_OK)
        crash_sync_names(crash);
    else if (!is_dead(attached_of(disk)))
        crash_lose_names(crash);
    return done(disk, status);
}

static enum status seam_free_bytes(struct disk *disk, uint64_t *out_bytes)
{
    *out_bytes = free_bytes(attached_of(disk)->crash);
    return STATUS_OK;
}

static void seam_file_close(struct disk_file *file)
{
    free(file);
}

static enum status seam_file_size(struct disk_file *file, uint64_t *out_bytes)
{
    enum status status = refuse(file->disk, CRASH_READ, file->name);
    if (status == STATUS_OK)
        *out_bytes = cached_file(file)->cache.bytes;
    return status;
}

static enum status seam_file_read(struct disk_file *file, uint64_t offset, void *buffer,
                                  size_t size, size_t *out_read)
{
    enum status status = refuse(file->disk, CRASH_READ, file->name);
    if (status == STATUS_OK)
        *out_read = crash_content_read(&cached_file(file)->cache, offset, buffer, size);
    return status;
}

static unsigned char *joined(const struct iovec *pieces, int count, size_t *out_size)
{
    size_t size = 0;
    for (int i = 0; i < count; i++)
        size += pieces[i].iov_len;
    unsigned char *data = crash_grown(NULL, size, 1), *next = data;
    for (int i = 0; i < count; i++) {
        if (pieces[i].iov_len > 0) /* an empty piece may point nowhere */
            memcpy(next, pieces[i].iov_base, pieces[i].iov_len);
        next += pieces[i].iov_len;
    }
    *out_size = size;
    return data;
}

/* A write that fails has written its first half. */
static enum status seam_file_write(struct disk_file *file, uint64_t offset,
                                   const struct iovec *pieces, int count)
{
    struct crash_disk *crash = attached_of(file->disk)->crash;
    struct change change = change_of(CHANGE_WRITE, index_of(file), file->name);
    change.offset = offset;
    change.data = joined(pieces, count, &change.size);
    enum status status = refuse_growth(file, offset + change.size);
    if (is_dead(attached_of(file->disk))) {
        free(change.data);
        return status;
    }
    if (status != STATUS_OK)
        change.size /= 2;
    crash_add_change(crash, change);
    return done(file->disk, status);
}

static enum status seam_file_sync(struct disk_file *file)
{
    struct crash_disk *crash = attached_of(file->disk)->crash;
    enum status status = refuse(file->disk, CRASH_SYNC, file->name);
    if (status == STATUS_OK)
        crash_sync_file(crash, index_of(file));
    else if (!is_dead(attached_of(file->disk)))
        crash_lose_file(crash, index_of(file));
    return done(file->disk, status);
}

static enum status seam_file_truncate(struct disk_file *file, uint64_t bytes)
{
    enum status status = refuse(file->disk, CRASH_TRUNCATE, file->name);
    if (status != STATUS_OK)
        return status;
    struct change change = change_of(CHANGE_TRUNCATE, index_of(file), file->name);
    change.offset = bytes;
    crash_add_change(attached_of(file->disk)->crash, change);
    return done(file->disk, STATUS_OK);
}

/* As a truncate that only grows. */
static enum status seam_file_reserve(struct disk_file *file, uint64_t bytes)
{
    enum status status = refuse_growth(file, bytes);
    if (status != STATUS_OK || bytes <= cached_file(file)->cache.bytes)
        return status;
    struct change change = change_of(CHANGE_TRUNCATE, index_of(file), file->name);
    change.offset = bytes;
    crash_add_change(attached_of(file->disk)->crash, change);
    return done(file->disk, STATUS_OK);
}

/* A copy: what is mapped is never written again. */
static enum status seam_file_map(struct disk_file *file, uint64_t bytes, const void **out_map)
{
    enum status status = refuse(file->disk, CRASH_READ, file->name);
    if (status != STATUS_OK)
        return status;
    unsigned char *map = crash_grown(NULL, bytes, 1);
    crash_content_read(&cached_file(file)->cache, 0, map, bytes);
    *out_map = map;
    return STATUS_OK;
}

static void seam_file_unmap(struct disk_file *file, const void *map, uint64_t bytes)
{
    (void)file, (void)bytes;
    free((void *)map);
}

static const struct disk_operations operations = {
    .close = seam_close,
    .lock = seam_lock,
    .list = seam_list,
    .create = seam_create,
    .open = seam_open,
    .rename = seam_rename,
    .remove = seam_remove,
    .sync_directory = seam_sync_directory,
    .free_bytes = seam_free_bytes,
    .file_close = seam_file_close,
    .file_size = seam_file_size,
    .file_read = seam_file_read,
    .file_write = seam_file_write,
    .file_sync = seam_file_sync,
    .file_truncate = seam_file_truncate,
    .file_reserve = seam_file_reserve,
    .file_map = seam_file_map,
    .file_unmap = seam_file_unmap,
};

struct disk *crash_disk_attach(struct crash_disk *crash)
{
    struct attached *attached = crash_grown(NULL, 1, sizeof *attached);
    *attached = (struct attached){
        .face = {.operations = &operations}, .crash = crash, .generation = crash->generation};
    return &attached->face;
}
