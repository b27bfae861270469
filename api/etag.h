/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A version as an entity tag (RFC 9110 section 8.8.3): `"` 12 hex digits of epoch `-` sequence in
 * hex `"`. There is one spelling per version: every other text is a tag that no version has.
 */
#ifndef KEYREST_API_ETAG_H
#define KEYREST_API_ETAG_H

#include <stdbool.h>

#include "../engine/bytes.h"
#include "../engine/engine.h"

enum {
    ETAG_EPOCH_DIGITS = 12,
    ETAG_SEQUENCE_DIGITS_MAX = 14,                                             /* below 2^53 */
    ETAG_BYTES = 1 + ETAG_EPOCH_DIGITS + 1 + ETAG_SEQUENCE_DIGITS_MAX + 1 + 1, /* quotes and NUL */
};

/* The tag with its quotes and a NUL; returns the length without the NUL. */
size_t etag_write(struct engine_version version, char out_text[static ETAG_BYTES]);

/* Reads the text between the quotes. False: no version has this tag. */
bool etag_read(struct bytes text, struct engine_version *out_version);

/*
 * The same text without quotes, as a place in the order of changes: behind that version, or with
 * sequence 0, which no version has, before all.
 */
void etag_write_cursor(struct engine_version version, char out_text[static ETAG_BYTES]);
bool etag_read_cursor(struct bytes text, struct engine_version *out_version);

/* 12 hex digits and a NUL. */
void etag_write_epoch(uint64_t epoch, char out_text[static ETAG_EPOCH_DIGITS + 1]);

#endif
