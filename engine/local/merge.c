/* SPDX-License-Identifier: Apache-2.0 */
/* A binary heap of cursors. */
#include "merge.h"

#include <stdlib.h>

static bool comes_before(const struct table_cursor *a, const struct table_cursor *b)
{
    int order = bytes_compare(a->entry.key, b->entry.key);
    return order != 0 ? order < 0 : a->entry.sequence > b->entry.sequence;
}

static void sift_down(struct merge *merge, size_t at)
{
    struct table_cursor *moved = merge->heap[at];
    for (;;) {
        size_t child = at * 2 + 1;
        if (child >= merge->count)
            break;
        if (child + 1 < merge->count && comes_before(merge->heap[child + 1], merge->heap[child]))
            child++;
        if (comes_before(moved, merge->heap[child]))
            break;
        merge->heap[at] = merge->heap[child];
        at = child;
    }
    merge->heap[at] = moved;
}

static enum status fail(struct merge *merge, const struct table_cursor *cursor, enum status status)
{
    merge->failed = cursor->table;
    merge->failed_offset = table_cursor_offset(cursor);
    return status;
}

static enum status open_cursor(struct merge *merge, struct table *table, struct bytes from)
{
    struct table_cursor *cursor = &merge->cursors[merge->opened++];
    table_cursor_init(cursor, table);
    enum status status =
        from.size == 0 ? table_cursor_next(cursor) : table_cursor_seek(cursor, from);
    if (status == STATUS_OK)
        merge->heap[merge->count++] = cursor;
    return status == STATUS_OK || status == STATUS_NOT_FOUND ? STATUS_OK
                                                             : fail(merge, cursor, status);
}

enum status merge_open(struct merge *merge, struct table *const *tables, size_t count,
                       struct bytes from)
{
    *merge = (struct merge){
        .cursors = calloc(count + 1, sizeof *merge->cursors),
        .heap = calloc(count + 1, sizeof *merge->heap),
    };
    enum status status =
        merge->cursors != NULL && merge->heap != NULL ? STATUS_OK : STATUS_NO_MEMORY;
    for (size_t i = 0; i < count && status == STATUS_OK; i++)
        status = open_cursor(merge, tables[i], from);
    if (status != STATUS_OK)
        return status;
    for (size_t i = merge->count; i-- > 0;)
        sift_down(merge, i);
    return STATUS_OK;
}

void merge_close(struct merge *merge)
{
    for (size_t i = 0; i < merge->opened; i++)
        table_cursor_done(&merge->cursors[i]);
    free(merge->cursors);
    free(merge->heap);
    free(merge->key);
    *merge = (struct merge){0};
}

/* Moves the first cursor on; at its end it leaves the heap. */
static enum status advance(struct merge *merge)
{
    enum status status = table_cursor_next(merge->heap[0]);
    merge->passed++;
    if (status == STATUS_NOT_FOUND) {
        merge->heap[0] = merge->heap[--merge->count];
    } else if (status != STATUS_OK) {
        return fail(merge, merge->heap[0], status);
    }
    if (merge->count > 0)
        sift_down(merge, 0);
    return STATUS_OK;
}

static enum status remember_key(struct merge *merge, struct bytes key)
{
    if (key.size > merge->key_capacity) {
        unsigned char *grown = realloc(merge->key, key.size * 2);
        if (grown == NULL)
            return STATUS_NO_MEMORY;
        merge->key = grown;
        merge->key_capacity = key.size * 2;
    }
    memcpy(merge->key, key.data, key.size);
    merge->key_bytes = key.size;
    return STATUS_OK;
}

enum status merge_next(struct merge *merge, const struct table_entry **out_entry,
                       struct table **out_table)
{
    struct bytes last = {merge->key, merge->key_bytes};
    while (merge->started && merge->count > 0 && bytes_equal(merge->heap[0]->entry.key, last)) {
        enum status status = advance(merge);
        if (status != STATUS_OK)
            return status;
    }
    if (merge->count == 0)
        return STATUS_NOT_FOUND;
    merge->started = true;
    *out_entry = &merge->heap[0]->entry;
    *out_table = merge->heap[0]->table;
    return remember_key(merge, merge->heap[0]->entry.key);
}
