/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a store made of parts (parts.h) must hold: a few numbered keys, each with the size and the
 * fill of its value. Writes go to both; a check compares every byte. One thread.
 */
#ifndef KEYREST_TESTS_LIB_SHADOW_H
#define KEYREST_TESTS_LIB_SHADOW_H

#include "parts.h"

enum { SHADOW_KEYS = 24 };

struct shadow_key {
    bool present;
    unsigned char fill;
    size_t size;
};

struct shadow {
    struct shadow_key keys[SHADOW_KEYS];
    uint64_t writes;
};

/* The name of a key; some are prefixes of others, one has 1024 bytes. */
const char *shadow_name(size_t key);

/* On OK the shadow knows. Deleting an absent key is OK. */
enum status shadow_put(struct shadow *shadow, struct parts *parts, size_t key, size_t size);
enum status shadow_delete(struct shadow *shadow, struct parts *parts, size_t key);

/* The same, which must be OK. */
void shadow_must_put(struct shadow *shadow, struct parts *parts, size_t key, size_t size);
void shadow_must_delete(struct shadow *shadow, struct parts *parts, size_t key);

/* Fails the test unless every key reads as it should. */
void shadow_check(const struct shadow *shadow, struct parts *parts);

/* Whether this key reads as it should; CORRUPT counts as no. */
bool shadow_key_is_right(const struct shadow *shadow, struct parts *parts, size_t key);

#endif
