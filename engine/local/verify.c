/* SPDX-License-Identifier: Apache-2.0 */
/* From what says which files count to the files, each as far as it can be read. */
#include "verify.h"

#include <stdio.h>
#include <stdlib.h>

#include "chain.h"
#include "journal_reader.h"
#include "replay.h"
#include "verify_table.h"

static void tell_text(struct verify *verify, const char *finding)
{
    verify->found->findings++;
    verify->on_finding(verify->context, finding);
}

void verify_tell(struct verify *verify, const char *file, uint64_t offset, const char *what)
{
    char finding[400];
    snprintf(finding, sizeof finding, "%s: offset %" PRIu64 ": %s", file, offset, what);
    tell_text(verify, finding);
}

/* A failure that tells of damage is a finding; others end the verification. */
static enum status take_failure(struct verify *verify, enum status status,
                                const struct failure *failure)
{
    if (status != STATUS_CORRUPT_LOG && status != STATUS_FORMAT)
        return status;
    tell_text(verify, failure->message);
    return STATUS_OK;
}

/* ---- the manifest ---- */

static void check_listing(struct verify *verify, const struct manifest *manifest, uint64_t row)
{
    uint64_t id = manifest->tables[row].identity.id;
    char name[64];
    table_name(id, name);
    if (id >= manifest->next_table_id)
        verify_tell(verify, name, 0, "the manifest would give its id to another table, too");
    for (uint64_t i = 0; i < row; i++)
        if (manifest->tables[i].identity.id == id)
            verify_tell(verify, name, 0, "the manifest lists it twice");
}

static enum status read_manifest(struct verify *verify, struct manifest *manifest,
                                 struct failure *failure)
{
    enum status status = manifest_read(verify->disk, manifest, failure);
    if (status == STATUS_NOT_FOUND)
        return failure_set(failure, status,
                           "there is no " FORMAT_MANIFEST_NAME
                           ": name a Keyrest data directory, or restore it from a copy");
    if (status == STATUS_CORRUPT_LOG)
        tell_text(verify, failure->message);
    return status;
}

/* ---- tables ---- */

static enum status check_tables(struct verify *verify, const struct manifest *manifest)
{
    enum status status = STATUS_OK;
    for (uint64_t i = 0; i < manifest->table_count && status == STATUS_OK; i++) {
        struct failure failure = {0};
        check_listing(verify, manifest, i);
        status = verify_table(verify, manifest, &manifest->tables[i].identity, &failure);
        status = take_failure(verify, status, &failure);
    }
    return status;
}

/* ---- the journal ---- */

static enum status check_frames(struct verify *verify, const struct manifest *manifest,
                                struct chain *chain, struct failure *failure)
{
    static const atomic_bool not_closing;
    _Atomic uint64_t bytes_done = 0;
    struct chain_place failed;
    struct replay replay = {
        .chain = chain,
        .manifest = manifest,
        .closing = &not_closing,
        .bytes_done = &bytes_done,
        .failed = &failed,
        .failure = failure,
    };
    enum status status = replay_run(&replay);
    verify->found->frames = replay.frames;
    verify->found->journal_records = replay.records;
    return status;
}

/* ---- what is kept for readers of changes ---- */

static enum status check_kept_frame(const struct journal_frame *frame, uint64_t *sequence,
                                    uint64_t *records)
{
    uint64_t position = 0;
    for (;;) {
        const struct record *record;
        enum status status = journal_frame_record(frame, &position, &record);
        if (status != STATUS_OK || record == NULL)
            return status;
        if (record->sequence != ++*sequence)
            return STATUS_CORRUPT_LOG;
        ++*records;
    }
}

static enum status check_kept_frames(struct verify *verify, const struct chain_kept *kept,
                                     const struct segment *segment)
{
    struct journal_reader reader;
    struct journal_frame frame;
    uint64_t sequence = kept->before;
    char name[64];
    segment_name(kept->id, name);
    journal_reader_init(&reader, segment);
    reader.end = kept->end;
    enum status status = STATUS_OK;
    while (status == STATUS_OK && reader.offset < kept->end) {
        frame.offset = reader.offset;
        status = journal_reader_next(&reader, &frame);
        if (status == STATUS_OK && frame.header.records > 0)
            status = check_kept_frame(&frame, &sequence, &verify->found->journal_records);
        verify->found->frames += status == STATUS_OK;
    }
    journal_reader_done(&reader);
    if (status == STATUS_NOT_FOUND || status == STATUS_CORRUPT_LOG ||
        (status == STATUS_OK && sequence != kept->last_sequence)) {
        verify_tell(verify, name, frame.offset,
                    "a frame is damaged; only the feed of changes would read it");
        return STATUS_OK;
    }
    return status;
}

static enum status check_kept(struct verify *verify, const struct manifest *manifest,
                              const struct chain *chain)
{
    enum status status = chain->kept_failure;
    for (size_t i = 0; i < chain->kept_count && status == STATUS_OK; i++) {
        struct segment *segment;
        status = segment_open(verify->disk, manifest->uuid, chain->kept[i].id, &segment);
        if (status != STATUS_OK)
            break;
        status = check_kept_frames(verify, &chain->kept[i], segment);
        segment_close(segment);
    }
    return status;
}

static enum status check_journal(struct verify *verify, const struct manifest *manifest,
                                 struct failure *failure)
{
    struct chain chain = {0};
    struct chain_place failed;
    enum status status = chain_open(&chain, verify->disk, manifest, &failed, failure);
    verify->found->segments = chain.count + chain.kept_count;
    verify->found->strays = chain.stray_count;
    if (status == STATUS_OK)
        status = check_frames(verify, manifest, &chain, failure);
    status = take_failure(verify, status, failure);
    if (status == STATUS_OK)
        status = check_kept(verify, manifest, &chain);
    chain_close(&chain);
    return status;
}

/* ---- all of it ---- */

static enum status take_lock(struct verify *verify, struct failure *failure)
{
    enum status status = disk_lock(verify->disk);
    if (status == STATUS_LOCKED)
        return failure_set(failure, status,
                           "another process uses the data directory; stop it first, or verify a "
                           "copy");
    return status == STATUS_OK ? status
                               : failure_set(failure, status, "locking the data directory: %s",
                                             status_text(status));
}

static enum status check_all(struct verify *verify, const struct manifest *manifest,
                             struct failure *failure)
{
    enum status status = check_tables(verify, manifest);
    if (status == STATUS_OK)
        status = check_journal(verify, manifest, failure);
    if (status != STATUS_OK)
        return failure->message[0] != '\0'
                   ? status
                   : failure_set(failure, status, "verifying: %s", status_text(status));
    return verify->found->findings == 0 ? STATUS_OK : STATUS_CORRUPT_LOG;
}

enum status verify_run(struct verify *verify, struct failure *failure)
{
    struct manifest manifest = {0};
    enum status status = take_lock(verify, failure);
    if (status == STATUS_OK)
        status = read_manifest(verify, &manifest, failure);
    if (status == STATUS_OK)
        status = check_all(verify, &manifest, failure);
    manifest_done(&manifest);
    return status;
}
