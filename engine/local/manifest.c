/* SPDX-License-Identifier: Apache-2.0 */
/* The manifest's bytes, and the order of its replacement. */
#include "manifest.h"

#include <stdlib.h>
#include <string.h>

#include "../random.h"
#include "checksum.h"

/* On disk: this, a row for each table, then the checksum of all before it. */
struct manifest_file {
    uint64_t magic;
    uint32_t format;
    uint32_t features; /* a bit that a program does not know: it must not open the store */
    uint8_t uuid[FORMAT_UUID_BYTES];
    uint64_t epoch;
    uint64_t next_table_id;
    uint64_t next_journal_id;
    uint64_t flushed_sequence;
    uint64_t durable_sequence;
    uint64_t journal_first;
    uint64_t journal_kept;
    uint32_t table_count;
    uint32_t flags;
};

enum manifest_flag { MANIFEST_LAZY = 1 << 0 }; /* on disk: never renumber */

_Static_assert(sizeof(struct manifest_file) == 96, "on disk");
_Static_assert(sizeof(struct manifest_table) == 32, "on disk");

static const size_t bytes_min = sizeof(struct manifest_file) + sizeof(uint64_t);

/* ---- in memory ---- */

void manifest_init(struct manifest *manifest)
{
    *manifest = (struct manifest){
        .epoch = manifest_new_epoch(),
        .next_table_id = 1,
        .next_journal_id = 1,
        .journal_first = 1,
        .journal_kept = 1,
    };
    random_fill(manifest->uuid, sizeof manifest->uuid);
}

void manifest_done(struct manifest *manifest)
{
    free(manifest->tables);
    manifest->tables = NULL;
    manifest->table_count = 0;
}

uint64_t manifest_new_epoch(void)
{
    uint64_t epoch;
    do
        epoch = random_u64() >> 16;
    while (epoch == 0);
    return epoch;
}

enum status manifest_copy(const struct manifest *manifest, struct manifest *out_copy)
{
    struct manifest copy = *manifest;
    copy.tables = calloc(manifest->table_count + 1, sizeof *copy.tables);
    if (copy.tables == NULL)
        return STATUS_NO_MEMORY;
    if (manifest->table_count > 0)
        memcpy(copy.tables, manifest->tables, manifest->table_count * sizeof *copy.tables);
    *out_copy = copy;
    return STATUS_OK;
}

enum status manifest_add(struct manifest *manifest, const struct manifest_table *table)
{
    struct manifest_table *grown =
        realloc(manifest->tables, (manifest->table_count + 1) * sizeof *grown);
    if (grown == NULL)
        return STATUS_NO_MEMORY;
    manifest->tables = grown;
    grown[manifest->table_count++] = *table;
    return STATUS_OK;
}

static uint64_t row_of(const struct manifest *manifest, uint64_t table_id)
{
    uint64_t row = 0;
    while (row < manifest->table_count && manifest->tables[row].identity.id != table_id)
        row++;
    return row;
}

bool manifest_lists(const struct manifest *manifest, uint64_t table_id)
{
    return row_of(manifest, table_id) < manifest->table_count;
}

void manifest_remove(struct manifest *manifest, uint64_t table_id)
{
    uint64_t row = row_of(manifest, table_id);
    if (row == manifest->table_count)
        return;
    manifest->table_count--;
    memmove(&manifest->tables[row], &manifest->tables[row + 1],
            (manifest->table_count - row) * sizeof *manifest->tables);
}

void manifest_forgive(struct manifest *manifest, uint64_t table_id)
{
    uint64_t row = row_of(manifest, table_id);
    if (row < manifest->table_count)
        manifest->tables[row].flags &= ~(uint64_t)MANIFEST_TOMBSTONES_KEPT;
}

/* ---- reading ---- */

static enum status refuse(struct failure *failure, enum status status, const char *what)
{
    return failure_set(failure, status, FORMAT_MANIFEST_NAME ": offset 0: %s", what);
}

static enum status check_file(const struct manifest_file *file, size_t size,
                              struct failure *failure)
{
    static const char damaged[] =
        "its checksum or size differs, the file is damaged; restore the data directory from a copy";
    if (size < bytes_min)
        return refuse(failure, STATUS_CORRUPT_LOG, damaged);
    if (file->magic != FORMAT_MANIFEST_MAGIC)
        return refuse(failure, STATUS_FORMAT,
                      "this is not a Keyrest manifest; point --data at a Keyrest data directory");
    if (file->format > FORMAT_VERSION || file->features != 0)
        return failure_set(failure, STATUS_FORMAT,
                           FORMAT_MANIFEST_NAME ": offset 8: format %u features %x, this program "
                                                "knows format %d; use a newer program",
                           file->format, file->features, FORMAT_VERSION);
    uint64_t check, check_offset = size - sizeof check;
    memcpy(&check, (const unsigned char *)file + check_offset, sizeof check);
    uint64_t rows = (size - bytes_min) / sizeof(struct manifest_table);
    if (check != checksum64(file, check_offset, 0) || file->format != FORMAT_VERSION ||
        file->table_count != rows || (file->flags & ~(uint32_t)MANIFEST_LAZY) != 0 ||
        size != bytes_min + rows * sizeof(struct manifest_table))
        return refuse(failure, STATUS_CORRUPT_LOG, damaged);
    return STATUS_OK;
}

static enum status read_file(struct disk *disk, unsigned char **out_bytes, size_t *out_size)
{
    struct disk_file *file;
    enum status status = disk_open_file(disk, FORMAT_MANIFEST_NAME, &file);
    if (status != STATUS_OK)
        return status;
    uint64_t bytes = 0;
    status = disk_file_size(file, &bytes);
    unsigned char *content = malloc(bytes + bytes_min);
    if (status == STATUS_OK && content == NULL)
        status = STATUS_NO_MEMORY;
    size_t got = 0;
    if (status == STATUS_OK)
        status = disk_file_read(file, 0, content, bytes, &got);
    disk_file_close(file);
    if (status != STATUS_OK) {
        free(content);
        return status;
    }
    *out_bytes = content;
    *out_size = got;
    return STATUS_OK;
}

static enum status take_over(const struct manifest_file *file, struct manifest *out_manifest)
{
    struct manifest manifest = {
        .epoch = file->epoch,
        .next_table_id = file->next_table_id,
        .next_journal_id = file->next_journal_id,
        .flushed_sequence = file->flushed_sequence,
        .durable_sequence = file->durable_sequence,
        .journal_first = file->journal_first,
        .journal_kept = file->journal_kept,
        .lazy = (file->flags & MANIFEST_LAZY) != 0,
        .table_count = file->table_count,
        .tables = (struct manifest_table *)(file + 1),
    };
    memcpy(manifest.uuid, file->uuid, FORMAT_UUID_BYTES);
    return manifest_copy(&manifest, out_manifest);
}

enum status manifest_read(struct disk *disk, struct manifest *out_manifest, struct failure *failure)
{
    AUTO_FREE unsigned char *bytes = NULL;
    size_t size = 0;
    enum status status = read_file(disk, &bytes, &size);
    if (status == STATUS_NOT_FOUND)
        return status;
    if (status != STATUS_OK)
        return failure_set(failure, status, FORMAT_MANIFEST_NAME ": %s", status_text(status));
    const struct manifest_file *file = (const struct manifest_file *)bytes;
    status = check_file(file, size, failure);
    if (status != STATUS_OK)
        return status;
    status = take_over(file, out_manifest);
    return status == STATUS_OK ? status
                               : failure_set(failure, status, "no memory for the manifest");
}

/* ---- writing ---- */

static struct manifest_file file_of(const struct manifest *manifest)
{
    struct manifest_file file = {
        .magic = FORMAT_MANIFEST_MAGIC,
        .format = FORMAT_VERSION,
        .epoch = manifest->epoch,
        .next_table_id = manifest->next_table_id,
        .next_journal_id = manifest->next_journal_id,
        .flushed_sequence = manifest->flushed_sequence,
        .durable_sequence = manifest->durable_sequence,
        .journal_first = manifest->journal_first,
        .journal_kept = manifest->journal_kept,
        .table_count = (uint32_t)manifest->table_count,
        .flags = manifest->lazy ? MANIFEST_LAZY : 0,
    };
    memcpy(file.uuid, manifest->uuid, FORMAT_UUID_BYTES);
    return file;
}

static enum status write_content(struct disk_file *file, const struct manifest *manifest)
{
    struct manifest_file head = file_of(manifest);
    uint64_t rows_bytes = manifest->table_count * sizeof *manifest->tables;
    struct checksum_stream stream;
    checksum_stream_begin(&stream, 0);
    checksum_stream_add(&stream, &head, sizeof head);
    checksum_stream_add(&stream, manifest->tables, rows_bytes);
    uint64_t check = checksum_stream_end(&stream);
    struct iovec pieces[] = {
        {&head, sizeof head}, {manifest->tables, rows_bytes}, {&check, sizeof check}};
    enum status status = disk_file_write(file, 0, pieces, COUNT_OF(pieces));
    return status == STATUS_OK ? disk_file_sync(file) : status;
}

static enum status write_temporary(struct disk *disk, const struct manifest *manifest)
{
    enum status status = disk_remove(disk, FORMAT_MANIFEST_TEMPORARY);
    if (status != STATUS_OK && status != STATUS_NOT_FOUND)
        return status;
    struct disk_file *file;
    status = disk_create(disk, FORMAT_MANIFEST_TEMPORARY, &file);
    if (status != STATUS_OK)
        return status;
    status = write_content(file, manifest);
    disk_file_close(file);
    if (status != STATUS_OK) {
        /* What cannot be removed now is written over by the next one. */
        enum status ignored = disk_remove(disk, FORMAT_MANIFEST_TEMPORARY);
        (void)ignored;
    }
    return status;
}

enum status manifest_write(struct disk *disk, const struct manifest *manifest)
{
    enum status status = write_temporary(disk, manifest);
    if (status == STATUS_OK)
        status = disk_rename(disk, FORMAT_MANIFEST_TEMPORARY, FORMAT_MANIFEST_NAME);
    if (status == STATUS_OK && disk_sync_directory(disk) != STATUS_OK)
        status = STATUS_UNKNOWN;
    return status;
}
