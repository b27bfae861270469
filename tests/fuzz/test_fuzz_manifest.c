/* SPDX-License-Identifier: Apache-2.0 */
/* The manifest: the input is a byte (odd: the checksum is made right) and the file. */
#include "../../engine/local/checksum.h"
#include "../../engine/local/manifest.h"
#include "../lib/crash_disk.h"
#include "../lib/forged_table.h"
#include "../lib/fuzz.h"

static void seal(unsigned char *file, size_t size)
{
    uint64_t check;
    if (size < sizeof check)
        return;
    check = checksum64(file, size - sizeof check, 0);
    memcpy(file + size - sizeof check, &check, sizeof check);
}

static void write_again(struct disk *disk, const struct manifest *manifest, struct bytes original)
{
    struct disk_file *file;
    unsigned char *again = malloc(original.size + 1);
    size_t got = 0;
    assert_true(manifest_write(disk, manifest) == STATUS_OK);
    assert_true(disk_open_file(disk, FORMAT_MANIFEST_NAME, &file) == STATUS_OK);
    assert_true(disk_file_read(file, 0, again, original.size + 1, &got) == STATUS_OK);
    assert_true(bytes_equal((struct bytes){again, got}, original));
    disk_file_close(file);
    free(again);
}

/* Rows are found by their ids, the first of each, until all are taken off. */
static void take_off_tables(struct manifest *manifest)
{
    for (uint64_t left = manifest->table_count; left > 0; left--) {
        uint64_t id = manifest->tables[left / 2].identity.id;
        assert_true(manifest_lists(manifest, id));
        manifest_forgive(manifest, id);
        manifest_remove(manifest, id);
        assert_true(manifest->table_count == left - 1);
    }
}

static void manifest_is_read(struct fuzz_input *input)
{
    bool sealed = fuzz_byte(input) & 1;
    struct bytes content = fuzz_bytes(input, input->size);
    unsigned char *copy = fuzz_copy(content);
    content.data = copy;
    if (sealed)
        seal(copy, content.size);
    struct crash_disk *crash = crash_disk_open();
    struct disk *disk = crash_disk_attach(crash);
    struct manifest manifest = {0};
    struct failure failure = {0};
    forged_file_write(disk, FORMAT_MANIFEST_NAME, content);
    enum status status = manifest_read(disk, &manifest, &failure);
    if (status == STATUS_OK) {
        write_again(disk, &manifest, content);
        take_off_tables(&manifest);
    } else {
        assert_true(status == STATUS_CORRUPT_LOG || status == STATUS_FORMAT);
        assert_true(strstr(failure.message, FORMAT_MANIFEST_NAME ": offset ") == failure.message);
    }
    manifest_done(&manifest);
    disk_close(disk);
    crash_disk_close(crash);
    free(copy);
}

FUZZ_TARGET("fuzz_manifest",
            "whatever is accepted is the very file that is written for it, else refused in words",
            manifest_is_read)
