/* SPDX-License-Identifier: Apache-2.0 */
/*
 * No engine: what the disk allows one writer. 4096 bytes and an fdatasync, again and again, forward
 * through a file that was filled with zeros and synced before, as a journal segment is.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lib/measure.h"
#include "contender.h"

enum { BLOCK_BYTES = 4096, FILE_BYTES = 64 << 20 };

struct bare {
    int file;
    off_t offset;
    char block[BLOCK_BYTES];
};

static void write_block(struct bare *bare)
{
    if (pwrite(bare->file, bare->block, BLOCK_BYTES, bare->offset) != BLOCK_BYTES)
        fail("bare: write: %m");
    bare->offset = (bare->offset + BLOCK_BYTES) % FILE_BYTES;
}

static void *open_store(const struct store_options *options)
{
    char path[4096];
    struct bare *bare = allocate(1, sizeof *bare);
    snprintf(path, sizeof path, "%s/blocks", options->directory);
    bare->file = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
    if (bare->file < 0)
        fail("%s: %m", path);
    do
        write_block(bare);
    while (bare->offset != 0);
    if (fdatasync(bare->file) != 0)
        fail("%s: %m", path);
    return bare;
}

static void close_store(void *store)
{
    struct bare *bare = store;
    close(bare->file);
    free(bare);
}

static void *session_open(void *store)
{
    return store;
}

static void session_close(void *session)
{
    (void)session;
}

static void put(void *session, const char *key, const void *value, size_t size)
{
    struct bare *bare = session;
    memcpy(bare->block, key, BENCH_KEY_BYTES);
    memcpy(bare->block + BENCH_KEY_BYTES, value, size);
    write_block(bare);
    if (fdatasync(bare->file) != 0)
        fail("bare: fdatasync: %m");
}

const struct contender bare_contender = {.name = "bare",
                                         .open = open_store,
                                         .close = close_store,
                                         .session_open = session_open,
                                         .session_close = session_close,
                                         .put = put};
