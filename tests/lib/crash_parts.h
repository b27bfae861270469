/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the simulated disk share: its state, and how a pending change is made, synced
 * and lost. crash_disk.c: the state; crash_seam.c: a process's calls; crash_state.c: power cuts.
 */
#ifndef KEYREST_TESTS_LIB_CRASH_PARTS_H
#define KEYREST_TESTS_LIB_CRASH_PARTS_H

#include "crash_content.h"
#include "crash_disk.h"

enum change_kind { CHANGE_WRITE, CHANGE_TRUNCATE, CHANGE_CREATE, CHANGE_RENAME, CHANGE_REMOVE };

struct change {
    enum change_kind kind;
    size_t file;
    bool lost;     /* a sync of it failed: no later one makes it durable */
    char name[64]; /* of the file, when it was made */
    char to[64];   /* rename */
    uint64_t offset;
    size_t size;         /* write; truncate: the new size is `offset` */
    unsigned char *data; /* NULL: zeros */
};

struct name {
    char name[64];
    size_t file;
};

struct names {
    struct name *rows;
    size_t count;
};

struct file {
    struct crash_content cache, durable;
};

struct crash_disk {
    struct file *files;
    size_t file_count;
    struct names cache, durable;
    struct change *changes;
    size_t change_count;
    uint64_t limit_bytes; /* 0: none */
    unsigned generation;  /* of processes: what an older one attached is dead */
    bool locked;
    void (*after)(void *context);
    void *after_context;
    struct crash_last last;
    struct crash_fault fault;
    uint64_t fault_seen;
    bool failed;
};

/* realloc() that never fails; also of nothing. */
void *crash_grown(void *rows, size_t count, size_t row_bytes);

struct name *crash_names_find(const struct names *names, const char *name);
void crash_names_set(struct names *names, const char *name, size_t file);
void crash_names_change(struct names *names, const struct change *change);
struct names crash_names_copy(const struct names *names);

static inline bool crash_is_name_change(const struct change *change)
{
    return change->kind >= CHANGE_CREATE;
}

size_t crash_add_file(struct crash_disk *crash);

/* Makes a change in the cache; it is pending from now on. Takes `change.data` over. */
void crash_add_change(struct crash_disk *crash, struct change change);

void crash_sync_file(struct crash_disk *crash, size_t file);
void crash_sync_names(struct crash_disk *crash);

/* What is pending of a file, or of the names, will never be synced. */
void crash_lose_file(struct crash_disk *crash, size_t file);
void crash_lose_names(struct crash_disk *crash);

#endif
