/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The raw request target into key bytes and query parameters, and back. A key is all that follows
 * its route's path up to the first `?`, percent-decoded exactly once: `/` and `%2F` are one byte,
 * `+` is a plus, nothing is merged, removed or normalised.
 */
#ifndef KEYREST_API_TARGET_H
#define KEYREST_API_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../engine/bytes.h"
#include "problem.h"

/* Views of the raw text, still encoded. */
struct target {
    struct bytes authority; /* of an absolute target; data NULL otherwise */
    struct bytes path;      /* starts with '/', or is "*" */
    struct bytes query;     /* without its '?' */
};

/* Takes the target apart. `has_nul`: the text was cut at a NUL byte. bad-framing. */
MUST_CHECK bool target_read(const char *raw, bool has_nul, struct target *out_target,
                            struct problem *problem);

/* Whether it may be a key. key-empty, key-too-long, key-nul, key-dot-segment. */
MUST_CHECK bool target_accept_key(struct bytes key, uint32_t key_bytes_max,
                                  struct problem *problem);

/*
 * Decodes a key into `buffer`, which has room for `raw.size` bytes. bad-percent-encoding,
 * key-empty, key-too-long, key-nul, key-dot-segment.
 */
MUST_CHECK bool target_read_key(struct bytes raw, uint32_t key_bytes_max, unsigned char *buffer,
                                struct bytes *out_key, struct problem *problem);

/* Encodes a key for a path: '/' and unreserved bytes (RFC 3986) stay. Returns the bytes written, at
 * most three times the key's. */
size_t target_write_key(struct bytes key, char *out_text);

enum { PARAMETERS_MAX = 16 };

struct parameter {
    struct bytes name, value;
};

/* In the order given. */
struct parameters {
    struct parameter items[PARAMETERS_MAX];
    size_t count;
};

/*
 * Decodes the query into `buffer`, which has room for `query.size` bytes. `allowed` names the
 * parameters, separated by spaces; one with a `*` behind it may repeat. unknown-parameter,
 * repeated-parameter, bad-parameter, bad-percent-encoding.
 */
MUST_CHECK bool target_read_parameters(struct bytes query, const char *allowed,
                                       unsigned char *buffer, struct parameters *out_parameters,
                                       struct problem *problem);

/* The first value, or NULL. */
const struct parameter *parameters_find(const struct parameters *parameters, const char *name);

#endif
