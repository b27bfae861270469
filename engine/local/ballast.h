/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file that only takes space: when others fill the disk it is removed, and what must go on then
 * (deletes, dumps, compaction) has room. It is made once the tables are larger than it, and made
 * again when space returns. Until then puts leave its room free.
 *
 * Threads: housekeeping, or recovery before it.
 */
#ifndef KEYREST_ENGINE_LOCAL_BALLAST_H
#define KEYREST_ENGINE_LOCAL_BALLAST_H

#include <stdbool.h>
#include <stdint.h>

#include "disk.h"

struct ballast {
    /* set at init, then constant */
    struct disk *disk;
    uint64_t bytes; /* 0: none is ever made */
    uint64_t reserve_bytes;
    /* */
    bool there;
    bool missing; /* it should be there, and is not */
};

void ballast_init(struct ballast *ballast, struct disk *disk, uint64_t bytes,
                  uint64_t reserve_bytes);

/* Looks at how things are and makes or removes the file. */
void ballast_look(struct ballast *ballast, uint64_t free_bytes, uint64_t table_bytes);

/* Gives the space back now. True: there was some. */
bool ballast_release(struct ballast *ballast);

/* What puts must leave free. */
static inline uint64_t ballast_needed_bytes(const struct ballast *ballast)
{
    return ballast->reserve_bytes + (ballast->missing ? ballast->bytes : 0);
}

#endif
