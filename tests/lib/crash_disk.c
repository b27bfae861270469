/* SPDX-License-Identifier: Apache-2.0 */
/* Files, names and the one list of pending changes, in the order in which they were made. */
#include "crash_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../engine/local/checksum.h"

void *crash_grown(void *rows, size_t count, size_t row_bytes)
{
    void *more = realloc(rows, count * row_bytes + 1);
    if (more == NULL)
        abort();
    return more;
}

/* ---- names ---- */

struct name *crash_names_find(const struct names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcmp(names->rows[i].name, name) == 0)
            return &names->rows[i];
    return NULL;
}

void crash_names_set(struct names *names, const char *name, size_t file)
{
    struct name *row = crash_names_find(names, name);
    if (row == NULL) {
        names->rows = crash_grown(names->rows, names->count + 1, sizeof *names->rows);
        row = &names->rows[names->count++];
        snprintf(row->name, sizeof row->name, "%s", name);
    }
    row->file = file;
}

static void names_drop(struct names *names, const char *name, size_t file)
{
    struct name *row = crash_names_find(names, name);
    if (row != NULL && row->file == file)
        *row = names->rows[--names->count];
}

struct names crash_names_copy(const struct names *names)
{
    struct names copy = {.count = names->count};
    copy.rows = crash_grown(NULL, names->count, sizeof *names->rows);
    if (names->count > 0)
        memcpy(copy.rows, names->rows, names->count * sizeof *names->rows);
    return copy;
}

void crash_names_change(struct names *names, const struct change *change)
{
    if (change->kind == CHANGE_CREATE)
        crash_names_set(names, change->name, change->file);
    if (change->kind == CHANGE_RENAME)
        crash_names_set(names, change->to, change->file);
    if (change->kind == CHANGE_RENAME || change->kind == CHANGE_REMOVE)
        names_drop(names, change->name, change->file);
}

/* ---- changes ---- */

static void content_change(struct crash_content *content, const struct change *change)
{
    if (change->kind == CHANGE_WRITE)
        crash_content_write(content, change->offset, change->data, change->size);
    else
        crash_content_truncate(content, change->offset);
}

static void remove_change(struct crash_disk *crash, size_t index)
{
    free(crash->changes[index].data);
    crash->change_count--;
    memmove(&crash->changes[index], &crash->changes[index + 1],
            (crash->change_count - index) * sizeof *crash->changes);
}

/* Makes a change in the cache; it is pending from now on. */
void crash_add_change(struct crash_disk *crash, struct change change)
{
    crash->changes = crash_grown(crash->changes, crash->change_count + 1, sizeof *crash->changes);
    crash->changes[crash->change_count++] = change;
    if (crash_is_name_change(&change))
        crash_names_change(&crash->cache, &change);
    else
        content_change(&crash->files[change.file].cache, &change);
}

size_t crash_add_file(struct crash_disk *crash)
{
    crash->files = crash_grown(crash->files, crash->file_count + 1, sizeof *crash->files);
    crash->files[crash->file_count] = (struct file){0};
    return crash->file_count++;
}

/* ---- syncing ---- */

static bool touches(const struct change *change, size_t page)
{
    return change->offset / CRASH_PAGE_BYTES <= page &&
           (change->offset + change->size + CRASH_PAGE_BYTES - 1) / CRASH_PAGE_BYTES > page;
}

/* Whether a write that a sync may make durable touches the page. */
static bool is_dirty(const struct crash_disk *crash, size_t file, size_t page)
{
    for (size_t i = 0; i < crash->change_count; i++) {
        const struct change *change = &crash->changes[i];
        if (change->file == file && change->kind == CHANGE_WRITE && !change->lost &&
            touches(change, page))
            return true;
    }
    return false;
}

/* Pages of a lost write stay as they are on disk, until a later write makes them dirty again. */
static void sync_lost(struct crash_disk *crash, size_t file, struct crash_content *synced)
{
    for (size_t i = crash->change_count; i-- > 0;) {
        const struct change *change = &crash->changes[i];
        if (change->file != file || crash_is_name_change(change) || !change->lost)
            continue;
        bool rewritten = false;
        size_t first = change->offset / CRASH_PAGE_BYTES;
        for (size_t page = first; change->kind == CHANGE_WRITE && touches(change, page); page++) {
            if (is_dirty(crash, file, page))
                rewritten = true;
            else
                crash_content_share_page(synced, &crash->files[file].durable, page);
        }
        if (rewritten)
            remove_change(crash, i);
    }
}

void crash_sync_file(struct crash_disk *crash, size_t file)
{
    struct crash_content synced = crash_content_copy(&crash->files[file].cache);
    sync_lost(crash, file, &synced);
    crash_content_done(&crash->files[file].durable);
    crash->files[file].durable = synced;
    for (size_t i = crash->change_count; i-- > 0;)
        if (crash->changes[i].file == file && !crash_is_name_change(&crash->changes[i]) &&
            !crash->changes[i].lost)
            remove_change(crash, i);
}

static bool concerns(const struct change *change, const char *name)
{
    return name[0] != '\0' && (strcmp(change->name, name) == 0 || strcmp(change->to, name) == 0);
}

/* A newer change of a name that is durable now takes the place of lost ones. */
static void forget_lost(struct crash_disk *crash, const struct change *durable)
{
    for (size_t i = crash->change_count; i-- > 0;)
        if (crash_is_name_change(&crash->changes[i]) && crash->changes[i].lost &&
            (concerns(&crash->changes[i], durable->name) ||
             concerns(&crash->changes[i], durable->to)))
            remove_change(crash, i);
}

void crash_sync_names(struct crash_disk *crash)
{
    for (size_t i = 0; i < crash->change_count;) {
        struct change change = crash->changes[i];
        if (!crash_is_name_change(&change) || change.lost) {
            i++;
            continue;
        }
        crash_names_change(&crash->durable, &change);
        remove_change(crash, i);
        forget_lost(crash, &change);
        i = 0; /* what stood before may have gone */
    }
}

void crash_lose_file(struct crash_disk *crash, size_t file)
{
    for (size_t i = 0; i < crash->change_count; i++)
        if (!crash_is_name_change(&crash->changes[i]) && crash->changes[i].file == file)
            crash->changes[i].lost = true;
}

void crash_lose_names(struct crash_disk *crash)
{
    for (size_t i = 0; i < crash->change_count; i++)
        if (crash_is_name_change(&crash->changes[i]))
            crash->changes[i].lost = true;
}

/* ---- the disk as a whole ---- */

struct crash_disk *crash_disk_open(void)
{
    struct crash_disk *crash = calloc(1, sizeof *crash);
    if (crash == NULL)
        abort();
    return crash;
}

void crash_disk_close(struct crash_disk *crash)
{
    if (crash == NULL)
        return;
    while (crash->change_count > 0)
        remove_change(crash, crash->change_count - 1);
    for (size_t i = 0; i < crash->file_count; i++) {
        crash_content_done(&crash->files[i].cache);
        crash_content_done(&crash->files[i].durable);
    }
    free(crash->changes);
    free(crash->files);
    free(crash->cache.rows);
    free(crash->durable.rows);
    free(crash);
}

void crash_disk_kill(struct crash_disk *crash)
{
    crash->generation++;
    crash->locked = false;
}

struct crash_disk *crash_disk_fork(const struct crash_disk *crash)
{
    struct crash_disk *copy = crash_disk_open();
    copy->limit_bytes = crash->limit_bytes;
    copy->cache = crash_names_copy(&crash->cache);
    copy->durable = crash_names_copy(&crash->durable);
    for (size_t i = 0; i < crash->file_count; i++) {
        crash_add_file(copy);
        copy->files[i].cache = crash_content_copy(&crash->files[i].cache);
        copy->files[i].durable = crash_content_copy(&crash->files[i].durable);
    }
    copy->changes = crash_grown(NULL, crash->change_count, sizeof *copy->changes);
    copy->change_count = crash->change_count;
    for (size_t i = 0; i < crash->change_count; i++) {
        copy->changes[i] = crash->changes[i];
        if (crash->changes[i].data == NULL)
            continue;
        copy->changes[i].data = crash_grown(NULL, crash->changes[i].size, 1);
        memcpy(copy->changes[i].data, crash->changes[i].data, crash->changes[i].size);
    }
    return copy;
}

static uint64_t names_hash(const struct crash_disk *crash, const struct names *names, bool durable)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < names->count; i++) {
        const struct file *file = &crash->files[names->rows[i].file];
        uint64_t content = crash_content_hash(durable ? &file->durable : &file->cache);
        hash += checksum64(names->rows[i].name, strlen(names->rows[i].name), content);
    }
    return hash;
}

uint64_t crash_disk_hash(const struct crash_disk *crash)
{
    return names_hash(crash, &crash->cache, false) * 31 + names_hash(crash, &crash->durable, true);
}

void crash_disk_watch(struct crash_disk *crash, void (*after)(void *context), void *context)
{
    crash->after = after;
    crash->after_context = context;
}

void crash_disk_fail(struct crash_disk *crash, struct crash_fault fault)
{
    crash->fault = fault;
    crash->fault_seen = 0;
    crash->failed = false;
}

bool crash_disk_failed(const struct crash_disk *crash)
{
    return crash->failed;
}

struct crash_last crash_disk_last(const struct crash_disk *crash)
{
    return crash->last;
}

/* ---- room ---- */

void crash_disk_limit(struct crash_disk *crash, uint64_t bytes)
{
    crash->limit_bytes = bytes;
}

bool crash_disk_is_limited(const struct crash_disk *crash)
{
    return crash->limit_bytes != CRASH_NO_LIMIT;
}

uint64_t crash_disk_used(const struct crash_disk *crash)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < crash->cache.count; i++)
        bytes += crash->files[crash->cache.rows[i].file].cache.bytes;
    return bytes;
}
