/* SPDX-License-Identifier: Apache-2.0 */
/* How long a key is to live, as people write it: `90s`. A pure function. */
#ifndef KEYREST_API_DURATION_H
#define KEYREST_API_DURATION_H

#include <stdint.h>

#include "../engine/bytes.h"

#define DURATION_SHAPE "a number above 0 and ms, s, m, h or d, such as 90s, and at most 36500d"

/* False: it is not DURATION_SHAPE. */
bool duration_read(struct bytes text, int64_t *out_ms);

#endif
