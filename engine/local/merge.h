/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several tables read as one, in key order: of each key the newest version that any of them has.
 * One thread; the tables are pinned by the caller.
 */
#ifndef KEYREST_ENGINE_LOCAL_MERGE_H
#define KEYREST_ENGINE_LOCAL_MERGE_H

#include "table.h"

struct merge {
    struct table_cursor *cursors;
    struct table_cursor **heap; /* the smallest key first; of equal keys the newest version */
    size_t count;               /* cursors that are not at their end */
    size_t opened;
    uint64_t passed; /* versions that it has gone past */
    bool started;
    struct table *failed;   /* whose index could not be read, after CORRUPT or IO */
    uint64_t failed_offset; /* where in its file */
    unsigned char *key;     /* the last one returned */
    size_t key_bytes, key_capacity;
};

/* Begins at the first key that is `from` or greater; an empty `from` is before all keys. NO_MEMORY,
 * CORRUPT, IO. */
MUST_CHECK enum status merge_open(struct merge *merge, struct table *const *tables, size_t count,
                                  struct bytes from);
void merge_close(struct merge *merge); /* a zero or half-open one, too */

/*
 * The next key's newest version, with the table it stands in; valid until the next call. NOT_FOUND:
 * there is none. CORRUPT, IO, NO_MEMORY.
 */
MUST_CHECK enum status merge_next(struct merge *merge, const struct table_entry **out_entry,
                                  struct table **out_table);

#endif
