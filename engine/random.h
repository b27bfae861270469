/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unpredictable bits for salts, epochs and hash secrets, from the kernel's generator.
 */
#ifndef KEYREST_ENGINE_RANDOM_H
#define KEYREST_ENGINE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/* Fills `out_bytes` wholly; aborts if the kernel has no generator, since nothing safe can follow. */
void random_fill(void *out_bytes, size_t size);

static inline uint64_t random_u64(void)
{
    uint64_t bits;
    random_fill(&bits, sizeof bits);
    return bits;
}

#endif
