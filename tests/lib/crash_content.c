/* SPDX-License-Identifier: Apache-2.0 */
/* Reference-counted pages. */
#include "crash_content.h"

#include <stdlib.h>
#include <string.h>

#include "../../engine/local/checksum.h"

struct crash_page {
    unsigned references;
    uint64_t hash; /* 0: not known */
    unsigned char bytes[CRASH_PAGE_BYTES];
};

static struct crash_page *page_ref(struct crash_page *page)
{
    if (page != NULL)
        page->references++;
    return page;
}

static void page_unref(struct crash_page *page)
{
    if (page != NULL && --page->references == 0)
        free(page);
}

/* A page that only this content holds. */
static struct crash_page *page_own(struct crash_page **page)
{
    if (*page != NULL && (*page)->references == 1)
        return *page;
    struct crash_page *own = malloc(sizeof *own);
    if (own == NULL)
        abort();
    if (*page != NULL)
        memcpy(own->bytes, (*page)->bytes, sizeof own->bytes);
    else
        memset(own->bytes, 0, sizeof own->bytes);
    own->references = 1;
    page_unref(*page);
    return *page = own;
}

static size_t pages_of(uint64_t bytes)
{
    return (bytes + CRASH_PAGE_BYTES - 1) / CRASH_PAGE_BYTES;
}

static void set_page_count(struct crash_content *content, size_t count)
{
    for (size_t i = count; i < content->page_count; i++)
        page_unref(content->pages[i]);
    if (count != content->page_count) {
        content->pages = realloc(content->pages, (count + 1) * sizeof *content->pages);
        if (content->pages == NULL)
            abort();
    }
    for (size_t i = content->page_count; i < count; i++)
        content->pages[i] = NULL;
    content->page_count = count;
}

static void grow(struct crash_content *content, uint64_t bytes)
{
    if (bytes <= content->bytes)
        return;
    set_page_count(content, pages_of(bytes));
    content->bytes = bytes;
}

void crash_content_done(struct crash_content *content)
{
    set_page_count(content, 0);
    free(content->pages);
    *content = (struct crash_content){0};
}

struct crash_content crash_content_copy(const struct crash_content *content)
{
    struct crash_content copy = {0};
    grow(&copy, content->bytes);
    for (size_t i = 0; i < copy.page_count; i++)
        copy.pages[i] = page_ref(content->pages[i]);
    return copy;
}

static bool is_zero(const unsigned char *data, size_t size)
{
    return data == NULL || (data[0] == 0 && memcmp(data, data + 1, size - 1) == 0);
}

static void write_page(struct crash_page **page, size_t start, const unsigned char *data,
                       size_t size)
{
    if (is_zero(data, size)) {
        if (size == CRASH_PAGE_BYTES) {
            page_unref(*page);
            *page = NULL;
        }
        if (*page == NULL)
            return;
        data = NULL;
    }
    struct crash_page *own = page_own(page);
    own->hash = 0;
    if (data != NULL)
        memcpy(own->bytes + start, data, size);
    else
        memset(own->bytes + start, 0, size);
}

void crash_content_write(struct crash_content *content, uint64_t offset, const void *data,
                         size_t size)
{
    grow(content, offset + size);
    for (size_t done = 0; done < size;) {
        size_t start = (offset + done) % CRASH_PAGE_BYTES;
        size_t part = CRASH_PAGE_BYTES - start;
        if (part > size - done)
            part = size - done;
        write_page(&content->pages[(offset + done) / CRASH_PAGE_BYTES], start,
                   data == NULL ? NULL : (const unsigned char *)data + done, part);
        done += part;
    }
}

void crash_content_truncate(struct crash_content *content, uint64_t bytes)
{
    if (bytes >= content->bytes) {
        grow(content, bytes);
        return;
    }
    set_page_count(content, pages_of(bytes));
    content->bytes = bytes;
    size_t used = bytes % CRASH_PAGE_BYTES;
    if (used != 0) /* growing again later shows zeros */
        write_page(&content->pages[content->page_count - 1], used, NULL, CRASH_PAGE_BYTES - used);
}

size_t crash_content_read(const struct crash_content *content, uint64_t offset, void *buffer,
                          size_t size)
{
    if (offset >= content->bytes)
        return 0;
    if (size > content->bytes - offset)
        size = content->bytes - offset;
    for (size_t done = 0; done < size;) {
        const struct crash_page *page = content->pages[(offset + done) / CRASH_PAGE_BYTES];
        size_t start = (offset + done) % CRASH_PAGE_BYTES;
        size_t part = CRASH_PAGE_BYTES - start;
        if (part > size - done)
            part = size - done;
        if (page != NULL)
            memcpy((unsigned char *)buffer + done, page->bytes + start, part);
        else
            memset((unsigned char *)buffer + done, 0, part);
        done += part;
    }
    return size;
}

void crash_content_share_page(struct crash_content *content, const struct crash_content *source,
                              size_t page)
{
    if (page >= content->page_count)
        return;
    page_unref(content->pages[page]);
    content->pages[page] = page < source->page_count ? page_ref(source->pages[page]) : NULL;
}

static uint64_t page_hash(struct crash_page *page)
{
    if (page->hash == 0)
        page->hash = checksum64(page->bytes, sizeof page->bytes, 0);
    return page->hash;
}

uint64_t crash_content_hash(const struct crash_content *content)
{
    uint64_t hash = content->bytes;
    for (size_t i = 0; i < content->page_count; i++) {
        if (content->pages[i] == NULL)
            continue;
        const uint64_t parts[3] = {hash, i, page_hash(content->pages[i])};
        hash = checksum64(parts, sizeof parts, 0);
    }
    return hash;
}
