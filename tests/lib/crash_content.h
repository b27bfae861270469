/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a simulated file, in shared pages that are copied when one is written: copying a
 * whole file costs a pointer per page, and zeros cost nothing. One thread.
 */
#ifndef KEYREST_TESTS_LIB_CRASH_CONTENT_H
#define KEYREST_TESTS_LIB_CRASH_CONTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CRASH_PAGE_BYTES = 4096, CRASH_SECTOR_BYTES = 512 };

struct crash_page;

struct crash_content {
    uint64_t bytes;
    struct crash_page **pages; /* NULL: zeros */
    size_t page_count;
};

void crash_content_done(struct crash_content *content);
struct crash_content crash_content_copy(const struct crash_content *content);

/* `data` NULL: zeros. Grows the content when it ends before. */
void crash_content_write(struct crash_content *content, uint64_t offset, const void *data,
                         size_t size);
void crash_content_truncate(struct crash_content *content, uint64_t bytes);
size_t crash_content_read(const struct crash_content *content, uint64_t offset, void *buffer,
                          size_t size);

/* Takes over one page of `source`, whose size does not matter. */
void crash_content_share_page(struct crash_content *content, const struct crash_content *source,
                              size_t page);

uint64_t crash_content_hash(const struct crash_content *content);

#endif
