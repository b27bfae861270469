/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A signed 64-bit number as decimal text: what a value that is counted up or down looks like. An
 * optional minus and digits, and nothing around them.
 */
#ifndef KEYREST_ENGINE_NUMBER_H
#define KEYREST_ENGINE_NUMBER_H

#include <stdint.h>

#include "bytes.h"

enum { NUMBER_BYTES_MAX = 20 }; /* a sign and 19 digits */

/* False: the text is longer (and is not read), is no such number, or is out of range. */
bool number_read(struct bytes text, int64_t *out_number);

/* Returns the bytes written. There is no NUL. */
size_t number_write(int64_t number, char out_text[static NUMBER_BYTES_MAX]);

#endif
