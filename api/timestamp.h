/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A wall time as text (RFC 3339): written in UTC with milliseconds, `2026-11-24T13:20:53.042Z`, read
 * with any offset. Pure functions.
 */
#ifndef KEYREST_API_TIMESTAMP_H
#define KEYREST_API_TIMESTAMP_H

#include <stdbool.h>
#include <stdint.h>

#include "../engine/bytes.h"

enum { TIMESTAMP_BYTES = 32 }; /* more than its text up to the year 9999 with its NUL */

#define TIMESTAMP_MS_MAX INT64_C(253402300799999) /* the last one of the year 9999 */

/* Returns the length without the NUL. */
size_t timestamp_write(int64_t ms, char out_text[static TIMESTAMP_BYTES]);

/* False: it is none, or beyond the year 9999. What is finer than a millisecond is dropped. */
bool timestamp_read(struct bytes text, int64_t *out_ms);

#endif
