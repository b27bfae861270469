/* SPDX-License-Identifier: Apache-2.0 */
/* Stepping through a run, through an index, and back through one. */
#include "scan_source.h"

#include <stdlib.h>
#include <string.h>

/* ---- runs ---- */

static enum status step_run(struct scan_source *source)
{
    if (source->at == (source->reverse ? 0 : source->run->count))
        return STATUS_NOT_FOUND;
    uint64_t index = source->reverse ? --source->at : source->at++;
    source->key = record_key(source->run->records[index]);
    return STATUS_OK;
}

enum status scan_source_open_run(struct scan_source *source, struct run *run, struct bytes bound,
                                 bool reverse)
{
    bool at_end = reverse && bound.size == 0;
    *source = (struct scan_source){
        .run = run, .reverse = reverse, .at = at_end ? run->count : run_seek(run, bound)};
    return step_run(source);
}

/* ---- tables, in order ---- */

static enum status told(struct scan_source *source, enum status status)
{
    if (status == STATUS_OK)
        source->key = source->cursor.entry.key;
    return status;
}

/* ---- tables, in reverse ---- */

/* Room for one more, doubled when it must grow. */
static bool grow(void **memory, size_t needed, size_t size, size_t *capacity)
{
    if (needed <= *capacity)
        return true;
    void *grown = realloc(*memory, needed * 2 * size);
    if (grown == NULL)
        return false;
    *memory = grown;
    *capacity = needed * 2;
    return true;
}

static enum status keep_key(struct scan_source *source, struct bytes key)
{
    void *keys = source->keys, *ends = source->ends;
    bool room = grow(&keys, source->key_bytes + key.size, 1, &source->key_capacity);
    source->keys = keys;
    room = room && grow(&ends, source->left + 1, sizeof *source->ends, &source->end_capacity);
    source->ends = ends;
    if (!room)
        return STATUS_NO_MEMORY;
    memcpy(source->keys + source->key_bytes, key.data, key.size);
    source->key_bytes += key.size;
    source->ends[source->left++] = source->key_bytes;
    return STATUS_OK;
}

/* Keeps the keys of a block that are less than `bound`; all, when it is empty. */
static enum status keep_block(struct scan_source *source, uint32_t block, struct bytes bound)
{
    source->left = source->key_bytes = 0;
    enum status status = table_cursor_begin(&source->cursor, block);
    while (status == STATUS_OK && source->cursor.left > 0) {
        status = table_cursor_next(&source->cursor);
        struct bytes key = source->cursor.entry.key;
        if (status == STATUS_OK && bound.size > 0 && bytes_compare(key, bound) >= 0)
            break;
        if (status == STATUS_OK)
            status = keep_key(source, key);
    }
    return status;
}

static enum status step_back(struct scan_source *source)
{
    while (source->left == 0) {
        if (source->cursor.block == 0)
            return STATUS_NOT_FOUND;
        enum status status = keep_block(source, source->cursor.block - 1, (struct bytes){NULL, 0});
        if (status != STATUS_OK)
            return status;
    }
    size_t end = source->ends[--source->left];
    size_t begin = source->left > 0 ? source->ends[source->left - 1] : 0;
    source->key = (struct bytes){source->keys + begin, end - begin};
    return STATUS_OK;
}

enum status scan_source_open_table(struct scan_source *source, struct table *table,
                                   struct bytes bound, bool reverse)
{
    *source = (struct scan_source){.reverse = reverse};
    table_cursor_init(&source->cursor, table);
    if (!reverse)
        return told(source, bound.size > 0 ? table_cursor_seek(&source->cursor, bound)
                                           : table_cursor_next(&source->cursor));
    uint32_t block = bound.size > 0 ? table_block_of(table, bound) : table->properties->blocks - 1;
    enum status status = keep_block(source, block, bound);
    return status == STATUS_OK ? step_back(source) : status;
}

/* ---- both ---- */

enum status scan_source_next(struct scan_source *source)
{
    if (source->run != NULL)
        return step_run(source);
    return source->reverse ? step_back(source) : told(source, table_cursor_next(&source->cursor));
}

void scan_source_done(struct scan_source *source)
{
    if (source->run != NULL)
        run_give(source->run);
    table_cursor_done(&source->cursor);
    free(source->keys);
    free(source->ends);
    *source = (struct scan_source){0};
}
