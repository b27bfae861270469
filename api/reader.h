/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A JSON text (RFC 8259) read value by value, in the order in which it stands there: so it takes the
 * memory of one value beside its own, and what is refused is named by a JSON pointer (RFC 6901).
 * Beside codec.c the only user of jansson, which reads the values themselves.
 *
 *     reader_open(&reader, text, problem) && reader_object(&reader, read_member, context) &&
 *         reader_end(&reader)
 *
 * All functions return false once the problem is set: bad-json, bad-shape, batch-too-large, memory-full.
 * One thread.
 */
#ifndef KEYREST_API_READER_H
#define KEYREST_API_READER_H

#include "../engine/bytes.h"
#include "problem.h"

enum {
    READER_DEPTH_MAX = 32,
    READER_VALUES_MAX = 1 << 17, /* in one text, whatever their nesting */
};

struct reader {
    struct bytes text;
    size_t at;
    char pointer[PROBLEM_POINTER_BYTES]; /* of the value that is read now */
    struct problem *problem;
};

/* `text` is borrowed. Looks at its nesting before anything is read. */
MUST_CHECK bool reader_open(struct reader *reader, struct bytes text, struct problem *problem);

/* Whether nothing follows the value that was read. */
MUST_CHECK bool reader_end(struct reader *reader);

/* Called at each member's value, or each element, which it must read or refuse. */
typedef bool reader_member(void *context, struct reader *reader, struct bytes name);
typedef bool reader_element(void *context, struct reader *reader);

MUST_CHECK bool reader_object(struct reader *reader, reader_member *member, void *context);
MUST_CHECK bool reader_array(struct reader *reader, reader_element *element, void *context);

/* Whether the next value is an object. Reads nothing. */
bool reader_is_at_object(struct reader *reader);

/* A text in UTF-8, as long as it is not done. Zero: none. */
struct reader_text {
    struct bytes bytes;
    void *owner;
};

MUST_CHECK bool reader_text(struct reader *reader, struct reader_text *out_text);
void reader_text_done(struct reader_text *text);

/* Any value, as it stands in the text. */
MUST_CHECK bool reader_raw(struct reader *reader, struct bytes *out_value);

/* bad-shape at the value that is read now, or at a member of it (NULL: at itself). Always false. */
bool reader_refuse(struct reader *reader, const char *member, const char *format, ...) PRINTF(3, 4);

#endif
