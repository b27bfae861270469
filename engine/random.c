/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's random generator, read whole. */
#include "random.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

void random_fill(void *out_bytes, size_t size)
{
    unsigned char *next = out_bytes;
    while (size > 0) {
        ssize_t got = getrandom(next, size, 0);
        if (got < 0 && errno != EINTR)
            abort();
        if (got > 0) {
            next += got;
            size -= (size_t)got;
        }
    }
}
