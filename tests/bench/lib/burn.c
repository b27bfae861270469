/* SPDX-License-Identifier: Apache-2.0 */
#include "burn.h"

#include <stdlib.h>
#include <string.h>

#include "measure.h"

static void *burn(void *context)
{
    enum { SLICE_NS = 2000000, BYTES = 1 << 20 };
    struct burners *burners = context;
    unsigned char *from = allocate(2, BYTES), *to = from + BYTES;
    while (!atomic_load(&burners->done)) {
        uint64_t begun = now_ns(), until = begun + (uint64_t)(burners->share * SLICE_NS);
        for (size_t at = 0; now_ns() < until; at = (at + BYTES / 64) % BYTES)
            memcpy(to + at, from + at, BYTES / 64);
        if (burners->share < 1)
            sleep_until_ns(begun + SLICE_NS);
    }
    free(from);
    return NULL;
}

void burners_start(struct burners *burners, double share)
{
    enum { COUNT = sizeof burners->threads / sizeof *burners->threads };
    burners->share = share / COUNT;
    atomic_init(&burners->done, false);
    for (int i = 0; i < COUNT; i++)
        if (pthread_create(&burners->threads[i], NULL, burn, burners) != 0)
            fail("no thread");
}

void burners_stop(struct burners *burners)
{
    atomic_store(&burners->done, true);
    for (size_t i = 0; i < sizeof burners->threads / sizeof *burners->threads; i++)
        pthread_join(burners->threads[i], NULL);
}
