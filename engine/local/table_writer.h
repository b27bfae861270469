/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing one table: records in ascending key order, then what tells of them. The file has its final
 * name from the start; it counts for nothing until the manifest lists it.
 *
 * Threads: one. The caller syncs the directory before the manifest names the file.
 */
#ifndef KEYREST_ENGINE_LOCAL_TABLE_WRITER_H
#define KEYREST_ENGINE_LOCAL_TABLE_WRITER_H

#include "disk.h"
#include "record.h"
#include "table_format.h"

struct table_writer;

/*
 * Makes the file of table `id`. `bytes_expected`: what is reserved on the disk at once, so that a
 * full disk is met early; more may be written. NO_SPACE, IO, NO_MEMORY: no file is left.
 */
MUST_CHECK enum status table_writer_open(struct disk *disk, const uint8_t uuid[FORMAT_UUID_BYTES],
                                         uint64_t id, uint64_t bytes_expected,
                                         struct table_writer **out_writer);

/* Appends a sealed record whose key is greater than all before; sets where it stands. */
MUST_CHECK enum status table_writer_add(struct table_writer *writer, const struct record *record,
                                        uint64_t *out_offset);

/* Bytes of the finished file, were it finished now; and of its index, which is kept in memory. */
uint64_t table_writer_bytes(const struct table_writer *writer);
uint64_t table_writer_index_bytes(const struct table_writer *writer);

/* What the manifest keeps of a table. */
struct table_identity {
    uint64_t id;
    uint64_t bytes;
    uint64_t check; /* of the footer */
};

/* Writes index, tail and footer, and syncs. At least one record was added. */
MUST_CHECK enum status table_writer_finish(struct table_writer *writer,
                                           struct table_identity *out_identity);

/* An unfinished file is removed. NULL is allowed. */
void table_writer_close(struct table_writer *writer);

/* Writes table `id`'s file name: at least 64 bytes of room. */
void table_name(uint64_t id, char out_name[64]);
/* Whether `name` is a table's file name, and whose. */
bool table_name_parse(const char *name, uint64_t *out_id);

#endif
