/* SPDX-License-Identifier: Apache-2.0 */
/* The real disk's table of functions, each counted before and after. */
#include "kill_disk.h"

#ifdef KEYREST_TEST

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Set when armed, then constant, but for `seen`. */
static struct {
    const struct disk_operations *real;
    struct disk_operations operations;
    char operation[16], name[64];
    unsigned nth;
    bool after;
    _Atomic unsigned seen;
} point;

static bool begins(const char *name)
{
    return strncmp(name, point.name, strlen(point.name)) == 0;
}

static void die_if(bool now)
{
    if (!now)
        return;
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

/* Before a call; whether it is the one. `other`: of a rename, its second name. */
static bool begin(const char *operation, const char *name, const char *other)
{
    if (strcmp(operation, point.operation) != 0 || !(begins(name) || begins(other)))
        return false;
    bool here = atomic_fetch_add(&point.seen, 1) + 1 == point.nth;
    die_if(here && !point.after);
    return here;
}

static enum status end(bool here, enum status status)
{
    die_if(here);
    return status;
}

static enum status kill_create(struct disk *disk, const char *name, struct disk_file **out_file)
{
    bool here = begin("create", name, name);
    return end(here, point.real->create(disk, name, out_file));
}

static enum status kill_open(struct disk *disk, const char *name, struct disk_file **out_file)
{
    bool here = begin("open", name, name);
    return end(here, point.real->open(disk, name, out_file));
}

static enum status kill_rename(struct disk *disk, const char *from, const char *to)
{
    bool here = begin("rename", from, to);
    return end(here, point.real->rename(disk, from, to));
}

static enum status kill_remove(struct disk *disk, const char *name)
{
    bool here = begin("remove", name, name);
    return end(here, point.real->remove(disk, name));
}

static enum status kill_sync_directory(struct disk *disk)
{
    bool here = begin("fsync", "", "");
    return end(here, point.real->sync_directory(disk));
}

static enum status kill_write(struct disk_file *file, uint64_t offset, const struct iovec *pieces,
                              int count)
{
    bool here = begin("write", file->name, file->name);
    return end(here, point.real->file_write(file, offset, pieces, count));
}

static enum status kill_sync(struct disk_file *file)
{
    bool here = begin("fdatasync", file->name, file->name);
    return end(here, point.real->file_sync(file));
}

static enum status kill_truncate(struct disk_file *file, uint64_t bytes)
{
    bool here = begin("truncate", file->name, file->name);
    return end(here, point.real->file_truncate(file, bytes));
}

static enum status kill_reserve(struct disk_file *file, uint64_t bytes)
{
    bool here = begin("reserve", file->name, file->name);
    return end(here, point.real->file_reserve(file, bytes));
}

/* False: it is not OPERATION:NAME:NTH[:after]. NAME may be empty. */
static bool read_point(const char *text)
{
    const char *name = strchr(text, ':');
    const char *nth = name != NULL ? strchr(name + 1, ':') : NULL;
    if (nth == NULL)
        return false;
    snprintf(point.operation, sizeof point.operation, "%.*s", (int)(name - text), text);
    snprintf(point.name, sizeof point.name, "%.*s", (int)(nth - name - 1), name + 1);
    char rest[8] = "";
    int fields = sscanf(nth + 1, "%u:%7s", &point.nth, rest);
    point.after = strcmp(rest, "after") == 0;
    return fields >= 1 && point.nth > 0 && (fields == 1 || point.after);
}

void kill_disk_arm(struct disk *disk)
{
    const char *text = getenv("KEYREST_KILL_AT");
    if (text == NULL)
        return;
    if (!read_point(text)) {
        fprintf(stderr, "KEYREST_KILL_AT='%s' is not OPERATION:NAME:NTH[:after]\n", text);
        abort();
    }
    point.real = disk->operations;
    point.operations = *disk->operations;
    point.operations.create = kill_create;
    point.operations.open = kill_open;
    point.operations.rename = kill_rename;
    point.operations.remove = kill_remove;
    point.operations.sync_directory = kill_sync_directory;
    point.operations.file_write = kill_write;
    point.operations.file_sync = kill_sync;
    point.operations.file_truncate = kill_truncate;
    point.operations.file_reserve = kill_reserve;
    disk->operations = &point.operations;
}

#endif
