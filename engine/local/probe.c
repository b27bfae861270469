/* SPDX-License-Identifier: Apache-2.0 */
/* A cursor in each table, which follows the keys. */
#include "probe.h"

#include <stdlib.h>

enum status probe_open(struct probe *probe, const struct view *view)
{
    *probe = (struct probe){.cursors = calloc(view->table_count + 1, sizeof *probe->cursors)};
    if (probe->cursors == NULL)
        return STATUS_NO_MEMORY;
    for (size_t i = 0; i < view->table_count; i++)
        if (view->tables[i]->victim == 0)
            table_cursor_init(&probe->cursors[probe->count++], view->tables[i]);
    return STATUS_OK;
}

void probe_close(struct probe *probe)
{
    for (size_t i = 0; i < probe->count; i++)
        table_cursor_done(&probe->cursors[i]);
    free(probe->cursors);
    *probe = (struct probe){0};
}

static bool may_hold(const struct table *table, struct bytes key, uint64_t sequence)
{
    return table->properties->first_sequence < sequence &&
           bytes_compare(table_first_key(table), key) <= 0 &&
           bytes_compare(table_last_key(table), key) >= 0;
}

bool probe_finds_older(struct probe *probe, struct bytes key, uint64_t sequence)
{
    for (size_t i = 0; i < probe->count; i++) {
        struct table_cursor *cursor = &probe->cursors[i];
        if (!may_hold(cursor->table, key, sequence))
            continue;
        enum status status = table_cursor_seek_on(cursor, key);
        if (status == STATUS_NOT_FOUND)
            continue;
        if (status != STATUS_OK ||
            (bytes_equal(cursor->entry.key, key) && cursor->entry.sequence < sequence))
            return true;
    }
    return false;
}
