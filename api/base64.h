/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes as text (RFC 4648): base64 in JSON, base64url without padding where a text stands in a URL.
 * Pure functions. */
#ifndef KEYREST_API_BASE64_H
#define KEYREST_API_BASE64_H

#include <stdbool.h>
#include <stddef.h>

#include "../engine/bytes.h"

/* Room for the text of `bytes` bytes, with its NUL. */
static inline size_t base64_text_bytes(size_t bytes)
{
    return (bytes + 2) / 3 * 4 + 1;
}

/* Write the text and a NUL; return the length without it. */
size_t base64_write(struct bytes bytes, char *out_text);
size_t base64url_write(struct bytes bytes, char *out_text);

/* The bytes that such a text stands for. */
size_t base64_bytes(struct bytes text);

/* Reads either alphabet, with its padding or without, into `buffer`, which has room for three bytes
 * per four of the text. False: it is no such text, or not the only one of its bytes. */
bool base64_read(struct bytes text, unsigned char *buffer, struct bytes *out_bytes);

#endif
