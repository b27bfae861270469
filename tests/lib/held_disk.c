/* SPDX-License-Identifier: Apache-2.0 */
/* The real disk's table of functions with two of them replaced. */
#include "held_disk.h"

#include <pthread.h>
#include <stdlib.h>

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    /* guarded by mutex */
    const struct disk_operations *real;
    bool hold;
    unsigned held, passes;
    enum status failure[2];
    uint64_t counts[2];
} state = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, false, 0, 0, {0}, {0}};

/* Counts a call; not OK: it must fail so. Syncs wait here while they are held. */
static enum status begin(enum held_operation operation)
{
    pthread_mutex_lock(&state.mutex);
    state.counts[operation]++;
    if (operation == HELD_SYNC && state.hold) {
        state.held++;
        pthread_cond_broadcast(&state.changed);
        while (state.hold && state.passes == 0)
            pthread_cond_wait(&state.changed, &state.mutex);
        state.passes = 0;
        state.held--;
        pthread_cond_broadcast(&state.changed);
    }
    enum status status = state.failure[operation];
    pthread_mutex_unlock(&state.mutex);
    return status;
}

static enum status file_write(struct disk_file *file, uint64_t offset, const struct iovec *pieces,
                              int count)
{
    enum status status = begin(HELD_WRITE);
    return status == STATUS_OK ? state.real->file_write(file, offset, pieces, count) : status;
}

static enum status file_sync(struct disk_file *file)
{
    enum status status = begin(HELD_SYNC);
    return status == STATUS_OK ? state.real->file_sync(file) : status;
}

struct disk *held_disk_open(const char *path)
{
    static struct disk_operations operations;
    struct disk *disk;
    struct failure failure;
    if (disk_open(path, &disk, &failure) != STATUS_OK)
        abort();
    state.real = disk->operations;
    state.hold = false;
    state.failure[HELD_WRITE] = state.failure[HELD_SYNC] = STATUS_OK;
    state.counts[HELD_WRITE] = state.counts[HELD_SYNC] = 0;
    operations = *disk->operations;
    operations.file_write = file_write;
    operations.file_sync = file_sync;
    disk->operations = &operations;
    return disk;
}

static void set_hold(bool hold)
{
    pthread_mutex_lock(&state.mutex);
    state.hold = hold;
    pthread_cond_broadcast(&state.changed);
    pthread_mutex_unlock(&state.mutex);
}

void held_disk_hold(void)
{
    set_hold(true);
}

void held_disk_release(void)
{
    set_hold(false);
}

void held_disk_release_one(void)
{
    pthread_mutex_lock(&state.mutex);
    state.passes = 1;
    pthread_cond_broadcast(&state.changed);
    while (state.passes > 0)
        pthread_cond_wait(&state.changed, &state.mutex);
    pthread_mutex_unlock(&state.mutex);
}

void held_disk_wait_held(void)
{
    pthread_mutex_lock(&state.mutex);
    while (state.held == 0)
        pthread_cond_wait(&state.changed, &state.mutex);
    pthread_mutex_unlock(&state.mutex);
}

void held_disk_fail(enum held_operation operation, enum status status)
{
    pthread_mutex_lock(&state.mutex);
    state.failure[operation] = status;
    pthread_mutex_unlock(&state.mutex);
}

uint64_t held_disk_count(enum held_operation operation)
{
    pthread_mutex_lock(&state.mutex);
    uint64_t count = state.counts[operation];
    pthread_mutex_unlock(&state.mutex);
    return count;
}
