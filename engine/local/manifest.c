/* SPDX-License-Identifier: Apache-2.0 */
/* The manifest's bytes, and the order of its replacement. */
#include "manifest.h"

#include <stddef.h>
#include <string.h>

#include "../random.h"
#include "checksum.h"

struct manifest_file {
    uint64_t magic;
    uint32_t format;
    uint32_t features; /* a bit that a program does not know: it must not open the store */
    struct manifest body;
    uint32_t table_count; /* table rows follow, before the checksum */
    uint32_t zero;
    uint64_t check; /* of all before it */
};

_Static_assert(sizeof(struct manifest_file) == 104, "on disk");

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

uint64_t manifest_new_epoch(void)
{
    uint64_t epoch;
    do
        epoch = random_u64() >> 16;
    while (epoch == 0);
    return epoch;
}

static uint64_t file_check(const struct manifest_file *file)
{
    return checksum64(file, offsetof(struct manifest_file, check), 0);
}

static enum status check_file(const struct manifest_file *file, size_t size,
                              struct failure *failure)
{
    if (size < sizeof *file)
        return failure_set(failure, STATUS_CORRUPT_LOG,
                           FORMAT_MANIFEST_NAME ": only %zu bytes at offset 0; restore the data "
                                                "directory from a copy",
                           size);
    if (file->magic != FORMAT_MANIFEST_MAGIC)
        return failure_set(failure, STATUS_FORMAT,
                           FORMAT_MANIFEST_NAME ": offset 0: this is not a Keyrest manifest; point "
                                                "--data at a Keyrest data directory");
    if (file->format > FORMAT_VERSION || file->features != 0)
        return failure_set(failure, STATUS_FORMAT,
                           FORMAT_MANIFEST_NAME ": offset 8: format %u features %x, this program "
                                                "knows format %d; use a newer program",
                           file->format, file->features, FORMAT_VERSION);
    if (file->check != file_check(file) || file->format != FORMAT_VERSION ||
        file->table_count != 0 || size != sizeof *file)
        return failure_set(failure, STATUS_CORRUPT_LOG,
                           FORMAT_MANIFEST_NAME ": offset 0: its checksum differs, the file is "
                                                "damaged; restore the data directory from a copy");
    return STATUS_OK;
}

enum status manifest_read(struct disk *disk, struct manifest *out_manifest, struct failure *failure)
{
    struct disk_file *file;
    enum status status = disk_open_file(disk, FORMAT_MANIFEST_NAME, &file);
    if (status == STATUS_NOT_FOUND)
        return status;
    struct {
        struct manifest_file file;
        unsigned char behind; /* a longer file is not ours */
    } bytes;
    size_t size = 0;
    if (status == STATUS_OK) {
        status = disk_file_read(file, 0, &bytes, sizeof bytes.file + 1, &size);
        disk_file_close(file);
    }
    if (status != STATUS_OK)
        return failure_set(failure, status, FORMAT_MANIFEST_NAME ": %s", status_text(status));
    status = check_file(&bytes.file, size, failure);
    if (status == STATUS_OK)
        *out_manifest = bytes.file.body;
    return status;
}

static enum status write_temporary(struct disk *disk, const struct manifest *manifest)
{
    struct manifest_file content = {
        .magic = FORMAT_MANIFEST_MAGIC,
        .format = FORMAT_VERSION,
        .body = *manifest,
    };
    content.check = file_check(&content);
    enum status status = disk_remove(disk, FORMAT_MANIFEST_TEMPORARY);
    if (status != STATUS_OK && status != STATUS_NOT_FOUND)
        return status;
    struct disk_file *file;
    status = disk_create(disk, FORMAT_MANIFEST_TEMPORARY, &file);
    if (status != STATUS_OK)
        return status;
    struct iovec piece = {&content, sizeof content};
    status = disk_file_write(file, 0, &piece, 1);
    if (status == STATUS_OK)
        status = disk_file_sync(file);
    disk_file_close(file);
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
