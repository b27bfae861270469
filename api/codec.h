/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plain structs to JSON: with reader.c, which reads, the only file that includes
 * <jansson.h>. Texts returned are malloc'ed, end
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
    uint32_t condition_tags_max, batch_get_keys_max;
    uint64_t watchers_max, wait_ms_max, heartbeat_ms;
};

char *codec_discovery(const struct discovery *discovery, size_t *out_size);

/* One compaction, with its `reason` if it failed. */
char *codec_compaction(const struct engine_compaction *row, size_t *out_size);

/* One key of a listing, as far as `fields` (query.h) ask. */
struct listed {
    struct bytes key;
    struct engine_item item; /* zero: its record is damaged, only the key is known */
};

/* A page: bytes that are no UTF-8 become base64. `next` NULL: the end. */
struct page {
    const struct listed *items;
    size_t item_count;
    const struct bytes *prefixes;
    size_t prefix_count;
    uint32_t fields;
    const char *next;
};

/* What a byte of a value can take at most while it becomes JSON: itself, and two in the text. */
enum { CODEC_BYTES_PER_VALUE_BYTE = 3 };

char *codec_page(const struct page *page, size_t *out_size);

/* {"items": [...]}, each with its value; null for a key of no bytes: it was not found. */
char *codec_found(const struct listed *items, size_t count, size_t *out_size);

/* One object on a line of its own, and the last line of a whole list. */
char *codec_listed(const struct listed *listed, uint32_t fields, size_t *out_size);
char *codec_prefix(struct bytes prefix, size_t *out_size);
char *codec_list_end(uint64_t count, size_t *out_size);

/* {"deleted": N, "next": "..."}; `next` NULL: the end. Into room that was made before the deletion. */
size_t codec_deleted_room(const char *next);
size_t codec_deleted(uint64_t deleted, const char *next, char *room);

/* {"ttl_ms": N, "expires": "..."}, both null for a key that stays (`expires_ms` 0). */
char *codec_ttl(int64_t expires_ms, int64_t now_ms, size_t *out_size);

/* One change, with its value where it has one and it is asked for. */
char *codec_change(const struct engine_change *change, bool with_value, size_t *out_size);
const char *codec_change_name(enum engine_change_type type);

/* {"compactions": [...]}, in the order given. */
char *codec_compactions(const struct engine_compaction *rows, size_t count, size_t *out_size);

#endif
