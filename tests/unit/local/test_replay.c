/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Journals put together frame by frame, with right checksums: what contradicts itself or the
 * manifest is refused before anything goes on from it.
 */
#include "../../../engine/local/chain.h"
#include "../../../engine/local/replay.h"
#include "../../lib/crash_disk.h"
#include "../../lib/forged_journal.h"
#include "../../lib/forged_table.h"
#include "../../lib/test.h"

enum { FRAMES_BYTES = 4096 };

/* Frames as forged_journal.h takes them, and what came of replaying them. */
struct bench {
    unsigned char frames[FRAMES_BYTES];
    size_t bytes;
    struct manifest manifest;
    struct replay replay;
    struct failure failure;
};

static void add_frame(struct bench *bench, struct frame_header header, const void *payload,
                      size_t size)
{
    header.bytes = (uint32_t)size;
    assert_true(bench->bytes + sizeof header + size <= sizeof bench->frames);
    memcpy(bench->frames + bench->bytes, &header, sizeof header);
    memcpy(bench->frames + bench->bytes + sizeof header, payload, size);
    bench->bytes += sizeof header + size;
}

static void add_link(struct bench *bench, struct frame_header header)
{
    header.flags = FRAME_LINK;
    add_frame(bench, header, &(struct frame_link){0}, sizeof(struct frame_link));
}

static void add_put(struct bench *bench, const char *key)
{
    _Alignas(8) unsigned char room[128];
    struct record *record = (struct record *)room;
    record_init(record, RECORD_PUT, bytes_of(key), (struct bytes){NULL, 0});
    record_seal_value(record, 0);
    add_frame(bench, (struct frame_header){0}, record, record_bytes(record));
}

static enum status run(struct bench *bench, struct disk *disk)
{
    static const atomic_bool not_closing;
    _Atomic uint64_t bytes_done = 0;
    struct chain chain = {0};
    struct chain_place place;
    enum status status = chain_open(&chain, disk, &bench->manifest, &place, &bench->failure);
    bench->replay = (struct replay){.chain = &chain,
                                    .manifest = &bench->manifest,
                                    .closing = &not_closing,
                                    .bytes_done = &bytes_done,
                                    .failed = &place,
                                    .failure = &bench->failure};
    if (status == STATUS_OK)
        status = replay_run(&bench->replay);
    chain_close(&chain);
    return status;
}

/* Replays the frames under the manifest's `flushed_sequence`. */
static enum status replay(struct bench *bench, uint64_t flushed_sequence)
{
    struct forged_journal journal;
    struct crash_disk *crash = crash_disk_open();
    struct disk *disk = crash_disk_attach(crash);
    forged_journal_make(&journal, (struct bytes){bench->frames, bench->bytes}, 0);
    forged_journal_write(&journal, disk);
    bench->manifest = (struct manifest){.journal_first = 1,
                                        .next_journal_id = journal.count + 1,
                                        .flushed_sequence = flushed_sequence};
    memcpy(bench->manifest.uuid, forged_uuid, FORMAT_UUID_BYTES);
    enum status status = run(bench, disk);
    forged_journal_done(&journal);
    disk_close(disk);
    crash_disk_close(crash);
    return status;
}

/* ---- promises ---- */

static void frames_in_order_are_replayed(void **state)
{
    (void)state;
    struct bench bench = {.bytes = 0};
    add_link(&bench, (struct frame_header){0});
    add_put(&bench, "a");
    add_link(&bench, (struct frame_header){0});
    add_put(&bench, "b");
    assert_int_equal(replay(&bench, 0), STATUS_OK);
    assert_int_equal(bench.replay.frames, 4);
    assert_int_equal(bench.replay.records, 2);
    assert_int_equal(bench.replay.last_sequence, 2);
    assert_int_equal(replay(&bench, 1), STATUS_OK); /* what tables hold may be there, too */
    assert_int_equal(replay(&bench, 2), STATUS_OK);
}

/* Else its sequences would be given out again, and skipped at the next start. */
static void a_journal_that_ends_before_the_tables_do_is_refused(void **state)
{
    (void)state;
    struct bench bench = {.bytes = 0};
    add_link(&bench, (struct frame_header){0});
    add_put(&bench, "a");
    assert_int_equal(replay(&bench, 3), STATUS_CORRUPT_LOG);
    assert_non_null(strstr(bench.failure.message, "sequences 2 to 3 were durable"));
}

/* Recovery would go on from the watermark and give the sequences behind it out again. */
static void a_link_that_vouches_for_less_than_it_follows_is_refused(void **state)
{
    (void)state;
    struct bench bench = {.bytes = 0};
    add_link(&bench, (struct frame_header){0});
    add_put(&bench, "a");
    add_put(&bench, "b");
    add_link(&bench, (struct frame_header){.zero = FORGED_LEAVE_SEQUENCES,
                                           .first_sequence = 2,
                                           .last_sequence = 2,
                                           .durable_sequence = 1});
    assert_int_equal(replay(&bench, 0), STATUS_CORRUPT_LOG);
    assert_non_null(strstr(bench.failure.message, "journal-0000000000000002.log: offset 4096"));
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("frames in order are replayed", frames_in_order_are_replayed),
        TEST("a journal that ends before the tables do is refused",
             a_journal_that_ends_before_the_tables_do_is_refused),
        TEST("a LINK that vouches for less than it follows is refused",
             a_link_that_vouches_for_less_than_it_follows_is_refused),
    };
    return test_main(argc, argv, "replay", tests);
}
