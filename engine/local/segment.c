/* SPDX-License-Identifier: Apache-2.0 */
/* Making and opening journal files. */
#include "segment.h"

#include <stdio.h>
#include <string.h>

#include "../random.h"
#include "checksum.h"

enum {
    /* A write: one of 1 MiB makes the kernel cache the file in pieces of that size, and each small
     * write later on walks all the blocks of its piece. */
    ZERO_BYTES = 64 << 10,
};

struct segment_header {
    uint64_t magic;
    uint32_t format;
    uint32_t features; /* a bit that a program does not know: it must not open the file */
    uint8_t uuid[FORMAT_UUID_BYTES];
    uint64_t id;
    uint64_t salt;
    uint64_t bytes; /* of the file as it was made */
    uint64_t check; /* of all before it */
};

_Static_assert(sizeof(struct segment_header) == 64, "on disk");

static uint64_t header_check(const struct segment_header *header)
{
    return checksum64(header, offsetof(struct segment_header, check), 0);
}

void segment_name(uint64_t id, char out_name[64])
{
    snprintf(out_name, 64, FORMAT_JOURNAL_NAME, id);
}

bool segment_name_parse(const char *name, uint64_t *out_id)
{
    return format_name_parse(name, FORMAT_JOURNAL_NAME, out_id);
}

bool segment_name_is_spare(const char *name)
{
    uint64_t id;
    return format_name_parse(name, FORMAT_SPARE_NAME, &id);
}

static struct segment *segment_allocate(uint64_t id)
{
    struct segment *segment = calloc(1, sizeof *segment);
    if (segment == NULL)
        return NULL;
    segment->id = id;
    pthread_mutex_init(&segment->sync_mutex, NULL);
    return segment;
}

void segment_close(struct segment *segment)
{
    if (segment == NULL)
        return;
    disk_file_close(segment->file);
    pthread_mutex_destroy(&segment->sync_mutex);
    free(segment);
}

static enum status write_header(struct segment *segment, const uint8_t uuid[FORMAT_UUID_BYTES])
{
    union {
        struct segment_header header;
        unsigned char block[SEGMENT_HEADER_BYTES];
    } first = {.header = {
                   .magic = FORMAT_SEGMENT_MAGIC,
                   .format = FORMAT_VERSION,
                   .id = segment->id,
                   .salt = segment->salt,
                   .bytes = segment->bytes,
               }};
    memcpy(first.header.uuid, uuid, FORMAT_UUID_BYTES);
    first.header.check = header_check(&first.header);
    struct iovec piece = {first.block, sizeof first.block};
    return disk_file_write(segment->file, 0, &piece, 1);
}

static enum status write_zeros(struct segment *segment)
{
    static unsigned char zeros[ZERO_BYTES];
    enum status status = STATUS_OK;
    for (uint64_t offset = SEGMENT_HEADER_BYTES; offset < segment->bytes && status == STATUS_OK;) {
        uint64_t left = segment->bytes - offset;
        struct iovec piece = {zeros, left < ZERO_BYTES ? left : ZERO_BYTES};
        status = disk_file_write(segment->file, offset, &piece, 1);
        offset += piece.iov_len;
    }
    return status;
}

/* A start that was cut off may have left a file of this name. */
static enum status create_spare(struct disk *disk, const char *spare, struct segment *segment)
{
    enum status status = disk_remove(disk, spare);
    if (status == STATUS_OK || status == STATUS_NOT_FOUND)
        status = disk_check_room(disk, segment->bytes);
    if (status == STATUS_OK)
        status = disk_create(disk, spare, &segment->file);
    return status == STATUS_OK ? disk_file_reserve(segment->file, segment->bytes) : status;
}

static enum status open_spare(struct disk *disk, struct segment *segment, const char *spare,
                              uint64_t recycled_id)
{
    if (recycled_id == 0)
        return create_spare(disk, spare, segment);
    char recycled[64];
    segment_name(recycled_id, recycled);
    enum status status = disk_rename(disk, recycled, spare);
    if (status == STATUS_OK)
        status = disk_open_file(disk, spare, &segment->file);
    return status == STATUS_OK ? disk_file_size(segment->file, &segment->bytes) : status;
}

static enum status make_ready(struct disk *disk, struct segment *segment,
                              const uint8_t uuid[FORMAT_UUID_BYTES], uint64_t recycled_id)
{
    char spare[64], name[64];
    snprintf(spare, sizeof spare, FORMAT_SPARE_NAME, segment->id);
    segment_name(segment->id, name);
    enum status status = open_spare(disk, segment, spare, recycled_id);
    if (status == STATUS_OK)
        status = write_header(segment, uuid);
    if (status == STATUS_OK && recycled_id == 0)
        status = write_zeros(segment);
    if (status == STATUS_OK)
        status = disk_file_sync(segment->file);
    if (status == STATUS_OK)
        status = disk_rename(disk, spare, name);
    if (status == STATUS_OK) /* so that failures are told by it */
        snprintf(segment->file->name, sizeof segment->file->name, "%s", name);
    if (status == STATUS_OK)
        status = disk_sync_directory(disk);
    if (status != STATUS_OK && segment->file != NULL) {
        /* Best effort: a stray spare is removed at the next start anyway. */
        enum status ignored = disk_remove(disk, spare);
        (void)ignored;
    }
    return status;
}

enum status segment_make(struct disk *disk, const uint8_t uuid[FORMAT_UUID_BYTES], uint64_t id,
                         uint64_t bytes, uint64_t recycled_id, struct segment **out_segment)
{
    struct segment *segment = segment_allocate(id);
    if (segment == NULL)
        return STATUS_NO_MEMORY;
    segment->salt = random_u64();
    segment->bytes = format_align(bytes, FORMAT_BLOCK_BYTES);
    enum status status = make_ready(disk, segment, uuid, recycled_id);
    if (status != STATUS_OK) {
        segment_close(segment);
        return status;
    }
    *out_segment = segment;
    return STATUS_OK;
}

static enum status read_header(struct segment *segment, const uint8_t uuid[FORMAT_UUID_BYTES])
{
    struct segment_header header;
    size_t got;
    enum status status = disk_file_read(segment->file, 0, &header, sizeof header, &got);
    if (status != STATUS_OK)
        return status;
    if (got < sizeof header || header.magic != FORMAT_SEGMENT_MAGIC ||
        header.check != header_check(&header))
        return STATUS_CORRUPT_LOG;
    if (header.format != FORMAT_VERSION || header.features != 0)
        return STATUS_FORMAT;
    if (header.id != segment->id || memcmp(header.uuid, uuid, FORMAT_UUID_BYTES) != 0)
        return STATUS_CORRUPT_LOG;
    segment->salt = header.salt;
    status = disk_file_size(segment->file, &segment->bytes);
    segment->cut_short = segment->bytes < header.bytes;
    return status;
}

enum status segment_open(struct disk *disk, const uint8_t uuid[FORMAT_UUID_BYTES], uint64_t id,
                         struct segment **out_segment)
{
    struct segment *segment = segment_allocate(id);
    if (segment == NULL)
        return STATUS_NO_MEMORY;
    char name[64];
    segment_name(id, name);
    enum status status = disk_open_file(disk, name, &segment->file);
    if (status == STATUS_OK)
        status = read_header(segment, uuid);
    if (status != STATUS_OK) {
        segment_close(segment);
        return status;
    }
    *out_segment = segment;
    return STATUS_OK;
}

enum status segment_sync(struct segment *segment)
{
    pthread_mutex_lock(&segment->sync_mutex);
    enum status status = segment->sync_failed ? STATUS_IO : disk_file_sync(segment->file);
    segment->sync_failed = status != STATUS_OK;
    pthread_mutex_unlock(&segment->sync_mutex);
    return status;
}
