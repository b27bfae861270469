/* SPDX-License-Identifier: Apache-2.0 */
/* Moving the buffer, and enlarging it for a piece that is larger. */
#include "window.h"

#include <stdlib.h>

void window_done(struct window *window)
{
    free(window->bytes);
    *window = (struct window){0};
}

static enum status window_enlarge(struct window *window, uint64_t capacity)
{
    if (capacity <= window->capacity)
        return STATUS_OK;
    free(window->bytes);
    window->bytes = malloc(capacity);
    window->capacity = window->bytes != NULL ? capacity : 0;
    window->count = 0;
    return window->bytes != NULL ? STATUS_OK : STATUS_NO_MEMORY;
}

static enum status window_fill(struct window *window, uint64_t offset, uint64_t count)
{
    uint64_t wanted = count > WINDOW_BYTES ? count : WINDOW_BYTES;
    if (wanted > window->end - offset)
        wanted = window->end - offset;
    enum status status = window_enlarge(window, wanted);
    if (status != STATUS_OK)
        return status;
    size_t got = 0;
    status = disk_file_read(window->file, offset, window->bytes, wanted, &got);
    window->offset = offset;
    window->count = status == STATUS_OK ? got : 0;
    if (status != STATUS_OK)
        return status;
    return got < count ? STATUS_NOT_FOUND : STATUS_OK;
}

enum status window_view(struct window *window, uint64_t offset, uint64_t count,
                        const unsigned char **out_bytes)
{
    if (count > window->end || offset > window->end - count)
        return STATUS_NOT_FOUND;
    bool inside = offset >= window->offset && offset + count <= window->offset + window->count;
    enum status status = inside ? STATUS_OK : window_fill(window, offset, count);
    if (status == STATUS_OK)
        *out_bytes = window->bytes + (offset - window->offset);
    return status;
}
