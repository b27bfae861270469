/* SPDX-License-Identifier: Apache-2.0 */
/* Listing, opening, following the LINKs. */
#include "chain.h"

#include <stdio.h>

#include "journal_reader.h"

struct listing {
    struct chain *chain;
    const struct manifest *manifest;
    uint64_t *kept_ids; /* of segments that are there and that replay does not need */
    size_t kept_count;
};

enum status chain_fail(struct chain_place *place, struct failure *failure, enum status status,
                       uint64_t id, uint64_t offset, const char *what)
{
    segment_name(id, place->file);
    place->offset = offset;
    return failure_set(failure, status, "%s: offset %" PRIu64 ": %s", place->file, offset, what);
}

/* ---- the directory ---- */

static enum status add_segment(struct chain *chain, uint64_t id)
{
    if (chain->count == chain->capacity) {
        size_t capacity = chain->capacity * 2 + 16;
        struct chain_segment *grown = realloc(chain->segments, capacity * sizeof *grown);
        if (grown == NULL)
            return STATUS_NO_MEMORY;
        chain->segments = grown;
        chain->capacity = capacity;
    }
    chain->segments[chain->count++] = (struct chain_segment){.id = id};
    return STATUS_OK;
}

static enum status add_stray(struct chain *chain, const char *name)
{
    char(*grown)[64] = realloc(chain->strays, (chain->stray_count + 1) * sizeof *grown);
    if (grown == NULL)
        return STATUS_NO_MEMORY;
    chain->strays = grown;
    snprintf(chain->strays[chain->stray_count++], 64, "%s", name);
    return STATUS_OK;
}

static enum status visit_table(struct listing *listing, const char *name, uint64_t id)
{
    if (id > listing->chain->table_id_max)
        listing->chain->table_id_max = id;
    return manifest_lists(listing->manifest, id) ? STATUS_OK : add_stray(listing->chain, name);
}

static enum status add_kept(struct listing *listing, uint64_t id)
{
    uint64_t *grown =
        realloc(listing->kept_ids, (listing->kept_count + 1) * sizeof *listing->kept_ids);
    if (grown == NULL)
        return STATUS_NO_MEMORY;
    listing->kept_ids = grown;
    listing->kept_ids[listing->kept_count++] = id;
    return STATUS_OK;
}

static enum status visit_file(void *context, const char *name, uint64_t bytes)
{
    struct listing *listing = context;
    uint64_t id;
    if (segment_name_is_spare(name))
        return add_stray(listing->chain, name);
    if (table_name_parse(name, &id))
        return visit_table(listing, name, id);
    if (!segment_name_parse(name, &id))
        return STATUS_OK;
    if (id < listing->manifest->journal_kept)
        return add_stray(listing->chain, name);
    if (id < listing->manifest->journal_first)
        return add_kept(listing, id);
    listing->chain->bytes += bytes;
    return add_segment(listing->chain, id);
}

static int compare_ids(const void *left, const void *right)
{
    const uint64_t *a = left, *b = right;
    return (*a > *b) - (*a < *b);
}

static int compare_by_id(const void *left, const void *right)
{
    const struct chain_segment *a = left, *b = right;
    return (a->id > b->id) - (a->id < b->id);
}

/* ---- the LINKs ---- */

static enum status read_link(struct chain_segment *found)
{
    struct journal_reader reader;
    struct journal_frame frame;
    journal_reader_init(&reader, found->segment);
    if (reader.end > SEGMENT_HEADER_BYTES + FORMAT_BLOCK_BYTES) /* it need not read more */
        reader.end = SEGMENT_HEADER_BYTES + FORMAT_BLOCK_BYTES;
    enum status status = journal_reader_link(&reader, &frame, &found->link);
    found->linked = status == STATUS_OK;
    if (found->linked)
        found->link_header = frame.header;
    journal_reader_done(&reader);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status open_segment(struct chain_segment *found, struct disk *disk,
                                const struct manifest *manifest, struct chain_place *place,
                                struct failure *failure)
{
    enum status status = segment_open(disk, manifest->uuid, found->id, &found->segment);
    if (status == STATUS_CORRUPT_LOG)
        return chain_fail(
            place, failure, status, found->id, 0,
            "the segment's header is damaged or another store's; restore it from a copy");
    if (status == STATUS_FORMAT)
        return chain_fail(place, failure, status, found->id, 0,
                          "unknown format; use a newer program");
    if (status != STATUS_OK)
        return chain_fail(place, failure, status, found->id, 0, status_text(status));
    found->end = found->segment->bytes;
    return read_link(found);
}

/* The newest linked segment with an id below `limit`, or with exactly `id` when that is not 0. */
static struct chain_segment *find_linked(struct chain *chain, uint64_t limit, uint64_t id)
{
    for (size_t i = chain->count; i-- > 0;) {
        struct chain_segment *found = &chain->segments[i];
        if (found->linked && found->id < limit && (id == 0 || found->id == id))
            return found;
    }
    return NULL;
}

static enum status follow_links(struct chain *chain, uint64_t journal_first,
                                struct chain_place *place, struct failure *failure)
{
    struct chain_segment *found = find_linked(chain, UINT64_MAX, 0);
    chain->last = found;
    while (found != NULL) {
        found->used = true;
        struct frame_link link = found->link;
        if (link.predecessor_id < journal_first)
            return STATUS_OK;
        found = find_linked(chain, found->id, link.predecessor_id);
        if (found == NULL)
            return chain_fail(place, failure, STATUS_CORRUPT_LOG, link.predecessor_id,
                              SEGMENT_HEADER_BYTES,
                              "the segment is missing or its first frame is damaged, and later "
                              "segments build on it; restore it from a copy");
        found->end = link.predecessor_end;
    }
    return STATUS_OK;
}

/* Only a segment with a successor is ever cut off, where the successor's LINK says. */
static enum status check_lengths(const struct chain *chain, struct chain_place *place,
                                 struct failure *failure)
{
    for (size_t i = 0; i < chain->count; i++) {
        const struct chain_segment *found = &chain->segments[i];
        if (found->segment->cut_short && (!found->linked || found == chain->last))
            return chain_fail(place, failure, STATUS_CORRUPT_LOG, found->id, found->segment->bytes,
                              "the file ends here, and was longer; restore it from a copy");
    }
    return STATUS_OK;
}

/* The last start began a segment before it wrote the manifest: unless all of it is in tables by now,
 * it is there, LINK or not. Only so is a journal told from one that lost its newest segments. */
static enum status check_newest(const struct chain *chain, const struct manifest *manifest,
                                struct chain_place *place, struct failure *failure)
{
    uint64_t newest = manifest->next_journal_id - 1; /* 0: no start has begun one yet */
    if (newest < manifest->journal_first)
        return STATUS_OK;
    for (size_t i = 0; i < chain->count; i++)
        if (chain->segments[i].id == newest)
            return STATUS_OK;
    return chain_fail(place, failure, STATUS_CORRUPT_LOG, newest, 0,
                      "the segment is missing; restore it from a copy");
}

/* ---- what is kept ---- */

/* What a segment builds on. */
struct predecessor {
    struct frame_link link;
    uint64_t last_sequence;
};

/* NOT_FOUND: it is no whole segment of this store. */
static enum status read_kept(struct chain_segment *found, struct disk *disk,
                             const struct manifest *manifest)
{
    enum status status = segment_open(disk, manifest->uuid, found->id, &found->segment);
    if (status == STATUS_OK)
        status = read_link(found);
    if (status == STATUS_NO_MEMORY || status == STATUS_IO)
        return status;
    return status == STATUS_OK && found->linked ? STATUS_OK : STATUS_NOT_FOUND;
}

/* Whether segment `id` is what is built on. NOT_FOUND: it is not, for whatever reason; that ends the
 * row, for nothing but the feed of changes needs it. NO_MEMORY, IO. */
static enum status check_precedes(uint64_t id, struct disk *disk, const struct manifest *manifest,
                                  const struct predecessor *wanted, struct chain_kept *out_kept)
{
    struct chain_segment found = {.id = id};
    enum status status = read_kept(&found, disk, manifest);
    if (status == STATUS_OK && (found.link_header.last_sequence > wanted->last_sequence ||
                                found.segment->bytes < wanted->link.predecessor_end))
        status = STATUS_NOT_FOUND;
    if (status == STATUS_OK)
        *out_kept = (struct chain_kept){
            .id = id,
            .before = found.link_header.last_sequence,
            .last_sequence = wanted->last_sequence,
            .end = wanted->link.predecessor_end,
            .bytes = found.segment->bytes,
            .link = found.link,
        };
    segment_close(found.segment);
    return status;
}

/* From the newest back, as far as each LINK leads to the one before. They fill `kept` from its end. */
static enum status follow_kept(const struct listing *listing, struct disk *disk,
                               struct predecessor wanted)
{
    struct chain *chain = listing->chain;
    enum status status = STATUS_OK;
    for (size_t i = listing->kept_count; i-- > 0 && status == STATUS_OK;) {
        uint64_t id = listing->kept_ids[i];
        struct chain_kept *found = &chain->kept[listing->kept_count - chain->kept_count - 1];
        if (id > wanted.link.predecessor_id)
            continue;
        status = id < wanted.link.predecessor_id
                     ? STATUS_NOT_FOUND
                     : check_precedes(id, disk, listing->manifest, &wanted, found);
        if (status != STATUS_OK)
            break;
        wanted = (struct predecessor){found->link, found->before};
        chain->kept_count++;
    }
    return status;
}

static enum status add_kept_strays(const struct listing *listing)
{
    struct chain *chain = listing->chain;
    enum status status = STATUS_OK;
    for (size_t i = 0; i < listing->kept_count && status == STATUS_OK; i++) {
        size_t k = 0;
        char name[64];
        while (k < chain->kept_count && chain->kept[k].id != listing->kept_ids[i])
            k++;
        segment_name(listing->kept_ids[i], name);
        if (k == chain->kept_count)
            status = add_stray(chain, name);
    }
    return status;
}

static const struct chain_segment *first_used(const struct chain *chain)
{
    size_t i = 0;
    while (i < chain->count && !chain->segments[i].used)
        i++;
    return i < chain->count ? &chain->segments[i] : NULL;
}

/* Sets where the frames of a segment end that lead to `sequence`. NOT_FOUND: none does. */
static enum status find_end(const struct segment *segment, uint64_t sequence, uint64_t *out_end)
{
    struct journal_reader reader;
    struct journal_frame frame = {0};
    journal_reader_init(&reader, segment);
    enum status status = STATUS_OK;
    do
        status = journal_reader_next(&reader, &frame);
    while (status == STATUS_OK && frame.header.last_sequence < sequence);
    *out_end = reader.offset;
    journal_reader_done(&reader);
    return status == STATUS_OK && frame.header.last_sequence > sequence ? STATUS_NOT_FOUND : status;
}

/*
 * Where no segment is used, all was in tables, and the last kept one leads to what they hold: the LINK
 * that a start or an unsealing owed it was not written any more. One without a LINK holds nothing.
 */
static enum status find_last_kept(const struct listing *listing, struct disk *disk,
                                  struct predecessor *out_wanted)
{
    uint64_t flushed = listing->manifest->flushed_sequence;
    for (size_t i = listing->kept_count; i-- > 0;) {
        struct chain_segment found = {.id = listing->kept_ids[i]};
        struct frame_link link = {.predecessor_id = found.id};
        enum status status = read_kept(&found, disk, listing->manifest);
        bool is_empty = status == STATUS_NOT_FOUND;
        if (status == STATUS_OK)
            status = find_end(found.segment, flushed, &link.predecessor_end);
        segment_close(found.segment);
        if (status == STATUS_OK)
            *out_wanted = (struct predecessor){link, flushed};
        if (!is_empty)
            return status;
    }
    return STATUS_NOT_FOUND;
}

static enum status find_kept(struct listing *listing, struct disk *disk)
{
    struct chain *chain = listing->chain;
    const struct chain_segment *first = first_used(chain);
    struct predecessor wanted = {{0}, 0};
    size_t count = listing->kept_count;
    enum status status = STATUS_OK;
    if (count == 0)
        return status;
    qsort(listing->kept_ids, count, sizeof *listing->kept_ids, compare_ids);
    chain->kept = calloc(count, sizeof *chain->kept);
    if (chain->kept == NULL)
        return STATUS_NO_MEMORY;
    if (first != NULL)
        wanted = (struct predecessor){first->link, first->link_header.last_sequence};
    else
        status = find_last_kept(listing, disk, &wanted);
    if (status == STATUS_OK)
        status = follow_kept(listing, disk, wanted);
    memmove(chain->kept, chain->kept + count - chain->kept_count,
            chain->kept_count * sizeof *chain->kept);
    if (status == STATUS_NO_MEMORY)
        return status;
    chain->kept_failure = status == STATUS_IO ? status : STATUS_OK;
    return add_kept_strays(listing);
}

/* ---- opening and closing ---- */

static enum status open_all(struct listing *listing, struct disk *disk, struct chain_place *place,
                            struct failure *failure)
{
    struct chain *chain = listing->chain;
    const struct manifest *manifest = listing->manifest;
    if (chain->count > 0)
        qsort(chain->segments, chain->count, sizeof *chain->segments, compare_by_id);
    enum status status = check_newest(chain, manifest, place, failure);
    for (size_t i = 0; i < chain->count && status == STATUS_OK; i++)
        status = open_segment(&chain->segments[i], disk, manifest, place, failure);
    if (status == STATUS_OK)
        status = follow_links(chain, manifest->journal_first, place, failure);
    if (status == STATUS_OK)
        status = check_lengths(chain, place, failure);
    return status == STATUS_OK ? find_kept(listing, disk) : status;
}

enum status chain_open(struct chain *chain, struct disk *disk, const struct manifest *manifest,
                       struct chain_place *place, struct failure *failure)
{
    struct listing listing = {.chain = chain, .manifest = manifest};
    enum status status = disk_list(disk, visit_file, &listing);
    if (status != STATUS_OK)
        status =
            failure_set(failure, status, "listing the data directory: %s", status_text(status));
    else
        status = open_all(&listing, disk, place, failure);
    free(listing.kept_ids);
    return status;
}

void chain_close(struct chain *chain)
{
    for (size_t i = 0; i < chain->count; i++)
        segment_close(chain->segments[i].segment);
    free(chain->segments);
    free(chain->kept);
    free(chain->strays);
    *chain = (struct chain){0};
}
