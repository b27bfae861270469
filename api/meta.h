/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The headers kept with a value, as the `meta` bytes of the engine: {u8 header, u16 length, bytes},
 * little-endian, ascending by header. Numbers are on disk: never renumber.
 */
#ifndef KEYREST_API_META_H
#define KEYREST_API_META_H

#include "headers.h"
#include "problem.h"

enum meta_header {
    META_CONTENT_TYPE = 1,
    META_CONTENT_ENCODING = 2,
    META_CONTENT_LANGUAGE = 3,
    META_CONTENT_DISPOSITION = 4,
};

/*
 * Encodes what the request carries of them. Fields that are lists are joined; one that is not must
 * come once. `*out_data` is malloc'ed, NULL when there is nothing to keep. headers-too-large,
 * bad-framing, memory-full.
 */
MUST_CHECK bool meta_encode(const struct exchange *exchange, const struct headers *headers,
                            uint32_t meta_bytes_max, unsigned char **out_data, size_t *out_size,
                            struct problem *problem);

/* Bytes of one header's encoding; writes it to `out_data`, which has that much room. */
size_t meta_header_bytes(struct bytes value);
void meta_write_header(enum meta_header header, struct bytes value, unsigned char *out_data);

/* Takes the next header off the front of `meta`. False: none left, or the rest is malformed. */
bool meta_next(struct bytes *meta, enum meta_header *out_header, struct bytes *out_value);

const char *meta_header_text(enum meta_header header);

#endif
