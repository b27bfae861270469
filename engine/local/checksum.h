/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checksums of what is stored and the hash of keys in memory, both XXH3 with 64 bits. The only file
 * that includes xxhash. What is on disk depends on checksum64() and checksum32(): their values
 * never change. They find damage, not forgery; checksum_hash() withstands keys chosen to collide,
 * since its secret is drawn afresh at each start. Pure functions: any thread may call.
 */
#ifndef KEYREST_ENGINE_LOCAL_CHECKSUM_H
#define KEYREST_ENGINE_LOCAL_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

#define XXH_INLINE_ALL /* keys are short: a call costs as much as their hash */
#include <xxhash.h>
#undef XXH_INLINE_ALL

/* `data` may be NULL when `size` is 0. The seed binds the bytes to their place: salt, offset. */
static inline uint64_t checksum64(const void *data, size_t size, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, size, seed);
}

/* The low half of checksum64(). */
static inline uint32_t checksum32(const void *data, size_t size, uint64_t seed)
{
    return (uint32_t)checksum64(data, size, seed);
}

/*
 * Of two pieces that lie apart, in this order. Not the checksum of the joined bytes: where one
 * piece ends is part of the result.
 */
static inline uint64_t checksum64_2(const void *first, size_t first_bytes, const void *second,
                                    size_t second_bytes, uint64_t seed)
{
    return checksum64(second, second_bytes, checksum64(first, first_bytes, seed));
}

/*
 * The checksum of the joined bytes of several pieces: the same value as checksum64() of them in one
 * run. begin, then add in order, then end.
 */
struct checksum_stream {
    XXH3_state_t state;
};

static inline void checksum_stream_begin(struct checksum_stream *stream, uint64_t seed)
{
    XXH3_INITSTATE(&stream->state);
    XXH3_64bits_reset_withSeed(&stream->state, seed);
}

static inline void checksum_stream_add(struct checksum_stream *stream, const void *data,
                                       size_t size)
{
    XXH3_64bits_update(&stream->state, data, size);
}

static inline uint64_t checksum_stream_end(const struct checksum_stream *stream)
{
    return XXH3_64bits_digest(&stream->state);
}

/* Filled by random_fill() at start, then constant. Never stored. */
struct checksum_secret {
    unsigned char bytes[192];
};

/* The hash of a key: for this process alone, never for the disk. */
static inline uint64_t checksum_hash(const struct checksum_secret *secret, const void *data,
                                     size_t size)
{
    return XXH3_64bits_withSecret(data, size, secret->bytes, sizeof secret->bytes);
}

#endif
