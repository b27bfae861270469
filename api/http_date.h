/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Points in time as HTTP writes them (RFC 9110 section 5.6.7), with a resolution of one second: Unix
 * seconds here. Takes no lock, as gmtime_r() does for the time zone: Last-Modified is in every GET.
 */
#ifndef KEYREST_API_HTTP_DATE_H
#define KEYREST_API_HTTP_DATE_H

#include <stdbool.h>
#include <stdint.h>

#include "../engine/bytes.h"
#include "../engine/scope.h"

enum { HTTP_DATE_BYTES = sizeof "Sun, 06 Nov 1994 08:49:37 GMT" };

/* The preferred format. Between the years 0 and 9999. */
void http_date_write(int64_t seconds, char out_text[static HTTP_DATE_BYTES]);

/*
 * Reads any of the three formats, to the letter. `now` tells the century of a year with two digits.
 * The weekday's name must be one, and is not compared with the date. A leap second counts as the second
 * before it: what is asked by it is then rather modified than not. False: no valid date.
 */
MUST_CHECK bool http_date_read(struct bytes text, int64_t now, int64_t *out_seconds);

#endif
