/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One journal file. It is made ready under a spare name (header, zeros, fdatasync) and only then
 * takes its final name, so that a bad header under a final name is damage, never an unfinished file.
 * Written over zeros or over voided frames, an fdatasync costs no file-system journal commit.
 *
 * Threads: one writer; segment_sync from any thread.
 */
#ifndef KEYREST_ENGINE_LOCAL_SEGMENT_H
#define KEYREST_ENGINE_LOCAL_SEGMENT_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "../status.h"
#include "disk.h"
#include "format.h"

enum { SEGMENT_HEADER_BYTES = FORMAT_BLOCK_BYTES };

struct segment {
    /* set at open, then constant */
    struct disk_file *file;
    uint64_t id;
    uint64_t salt;
    uint64_t bytes; /* of the file */
    bool cut_short; /* the file is smaller than it was made: only its successor may say why */
    /* guarded by sync_mutex */
    pthread_mutex_t sync_mutex;
    bool
        sync_failed; /* sticky: the kernel tells one caller, and calls the pages clean afterwards */
};

/*
 * Makes segment `id` ready: file made, header and zeros written, synced, renamed, directory synced.
 * `recycled_id` not 0: reuses that segment's file, whose old frames the new salt voids; its size
 * stays. Every failure leaves at most a stray spare file.
 */
MUST_CHECK enum status segment_make(struct disk *disk, const uint8_t uuid[FORMAT_UUID_BYTES],
                                    uint64_t id, uint64_t bytes, uint64_t recycled_id,
                                    struct segment **out_segment);

/*
 * Opens an existing segment and checks its header. CORRUPT_LOG: not the header of segment `id` of
 * this store. FORMAT: a version or feature that this program does not know. NOT_FOUND, IO.
 */
MUST_CHECK enum status segment_open(struct disk *disk, const uint8_t uuid[FORMAT_UUID_BYTES],
                                    uint64_t id, struct segment **out_segment);

void segment_close(struct segment *segment); /* NULL is allowed */

/* fdatasync, once at a time. After a failure always IO, without another try. */
MUST_CHECK enum status segment_sync(struct segment *segment);

/* Writes segment `id`'s file name: at least 64 bytes of room. */
void segment_name(uint64_t id, char out_name[64]);

/* Whether `name` is a segment's file name, and whose. */
bool segment_name_parse(const char *name, uint64_t *out_id);

/* Whether `name` is a spare's file name. */
bool segment_name_is_spare(const char *name);

#endif
