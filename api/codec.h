/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plain structs to JSON: the only file that includes <jansson.h>. Texts returned are malloc'ed, end
 * with a newline and have `*out_size` bytes; NULL is no memory.
 */
#ifndef KEYREST_API_CODEC_H
#define KEYREST_API_CODEC_H

#include "../engine/engine.h"
#include "problem.h"

/* The body of RFC 9457, with `code` and the extension members. */
char *codec_problem(const struct problem *problem, size_t *out_size);

/* What `/` says about the service. */
struct discovery {
    const char *version;
    const char *epoch; /* NULL while loading */
    const struct engine_limits *limits;
    uint32_t condition_tags_max;
};

char *codec_discovery(const struct discovery *discovery, size_t *out_size);

/* One compaction, with its `reason` if it failed. */
char *codec_compaction(const struct engine_compaction *row, size_t *out_size);

/* {"compactions": [...]}, in the order given. */
char *codec_compactions(const struct engine_compaction *rows, size_t count, size_t *out_size);

#endif
