/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A buffer that moves over a file: reading small pieces in ascending order costs one read for many.
 * Used where every byte is looked at once: replay, recovery, compaction, verification. One thread.
 */
#ifndef KEYREST_ENGINE_LOCAL_WINDOW_H
#define KEYREST_ENGINE_LOCAL_WINDOW_H

#include "disk.h"

enum { WINDOW_BYTES = 1 << 20 };

struct window {
    struct disk_file *file;
    uint64_t end; /* of the file, or of the part that may be looked at */
    unsigned char *bytes;
    uint64_t offset, count, capacity; /* of `bytes` in the file */
};

/* `file` is borrowed until done. */
static inline void window_init(struct window *window, struct disk_file *file, uint64_t end)
{
    *window = (struct window){.file = file, .end = end};
}

void window_done(struct window *window);

/*
 * Makes `count` bytes at `offset` visible, 8-aligned where `offset` is; they stay until the next
 * call. NOT_FOUND: the file ends before. IO, NO_MEMORY.
 */
MUST_CHECK enum status window_view(struct window *window, uint64_t offset, uint64_t count,
                                   const unsigned char **out_bytes);

#endif
