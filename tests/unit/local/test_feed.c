/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long the feed of changes reaches back: over restarts, seals, readers and files that are gone.
 * One thread over a simulated disk; every value is made from its sequence.
 */
#include "../../../engine/local/local.h"
#include "../../../engine/local/segment.h"
#include "../../../engine/stats.h"
#include "../../lib/crash_disk.h"
#include "../../lib/manual_time.h"
#include "../../lib/test.h"

enum {
    VALUE_BYTES = 8000,
    KEPT_BYTES = 600 << 10, /* several segments, which are as small as they go */
    CALM_MS = 61000,        /* a journal may fail again after a minute */
    IDS_MAX = 64,
};

struct fixture {
    struct crash_disk *crash;
    struct manual_time time;
    struct engine *engine;
    uint64_t kept_bytes_max, interval_ms;
    uint64_t replayed_bytes; /* of the last start */
};

/* ---- the store ---- */

static void note_recovery(void *context, const struct engine_event *event)
{
    struct fixture *fixture = context;
    if (event->name == EVENT_RECOVERY_DONE)
        fixture->replayed_bytes = event->bytes;
}

static void open_store(struct fixture *fixture)
{
    struct engine_options options = engine_options_default();
    struct failure failure = {0};
    options.key_bytes_max = 16;
    options.meta_bytes_max = 0;
    options.value_bytes_max = 16 << 10;
    options.batch_operations_max = 8;
    options.journal_segment_bytes = 1;
    options.memtable_bytes = 100 << 10;
    options.reserve_bytes = options.ballast_bytes = 0;
    options.changes_bytes_max = fixture->kept_bytes_max;
    options.durability_interval_ms = fixture->interval_ms;
    options.time = &fixture->time.source;
    options.on_event = note_recovery;
    options.on_event_context = fixture;
    if (local_open(&options, crash_disk_attach(fixture->crash), false, &fixture->engine,
                   &failure) != STATUS_OK)
        fail_msg("%s", failure.message);
}

static void close_store(struct fixture *fixture)
{
    engine_close(fixture->engine);
    fixture->engine = NULL;
}

static void kill_store(struct fixture *fixture)
{
    crash_disk_kill(fixture->crash);
    close_store(fixture);
}

static void begin(struct fixture *fixture, uint64_t interval_ms)
{
    *fixture = (struct fixture){
        .crash = crash_disk_open(), .kept_bytes_max = KEPT_BYTES, .interval_ms = interval_ms};
    manual_time_init(&fixture->time);
    open_store(fixture);
}

static void end(struct fixture *fixture)
{
    close_store(fixture);
    crash_disk_close(fixture->crash);
}

static uint64_t sequence_of(const struct fixture *fixture)
{
    struct engine_health health;
    engine_health(fixture->engine, &health);
    return health.sequence;
}

static uint64_t kept_bytes(const struct fixture *fixture)
{
    return stats_read(engine_stats(fixture->engine), STATS_journal_kept);
}

static enum status try_put_filled(struct fixture *fixture, int fill)
{
    struct engine_operation put = {.type = ENGINE_PUT, .key = bytes_of("key")};
    struct engine_context patience = {fixture->time.ns + UINT64_C(1000000), NULL};
    assert_int_equal(engine_value_open(fixture->engine, put.key, (struct bytes){NULL, 0},
                                       VALUE_BYTES, &put.value),
                     STATUS_OK);
    memset(put.value->data, fill, VALUE_BYTES);
    put.value->size = VALUE_BYTES;
    enum status status = engine_commit(fixture->engine, &put, 1, &patience);
    engine_value_close(fixture->engine, put.value);
    return status;
}

static enum status try_put(struct fixture *fixture)
{
    return try_put_filled(fixture, (int)(sequence_of(fixture) + 1));
}

static void put(struct fixture *fixture, int count)
{
    for (int i = 0; i < count; i++) {
        local_housekeep(fixture->engine);
        assert_int_equal(try_put(fixture), STATUS_OK);
    }
}

/* ---- the feed ---- */

struct follower {
    struct fixture *fixture;
    uint64_t sequence;
    uint64_t act_at; /* a sequence; 0: never */
    void (*act)(struct fixture *fixture);
};

static bool follow_one(void *visitor, const struct engine_change *change)
{
    struct follower *follower = visitor;
    assert_int_equal(change->version.sequence, ++follower->sequence);
    assert_int_equal(change->value.size, VALUE_BYTES);
    const unsigned char *value = change->value.data;
    assert_int_equal(value[0], change->version.sequence & 0xff);
    assert_memory_equal(value, value + 1, VALUE_BYTES - 1);
    if (follower->sequence == follower->act_at)
        follower->act(follower->fixture);
    return true;
}

static enum status read_feed(struct fixture *fixture, struct follower *follower,
                             struct engine_feed *out_feed)
{
    const struct engine_context context = {UINT64_MAX, NULL};
    return engine_changes(fixture->engine, follower->sequence, follow_one, follower, out_feed,
                          &context);
}

static uint64_t oldest_of(struct fixture *fixture)
{
    const struct engine_context over = {0, NULL};
    struct engine_feed feed;
    enum status status = engine_changes(fixture->engine, 0, follow_one, NULL, &feed, &over);
    assert_true(status == STATUS_GONE || status == STATUS_BUSY || status == STATUS_OK);
    return feed.oldest;
}

/* From `after` on all is told; and whatever is older is gone. */
static void assert_told(struct fixture *fixture, uint64_t after)
{
    struct follower follower = {.sequence = after};
    struct engine_feed feed;
    assert_int_equal(oldest_of(fixture), after);
    while (follower.sequence < sequence_of(fixture)) {
        assert_int_equal(read_feed(fixture, &follower, &feed), STATUS_OK);
        assert_int_equal(feed.after, follower.sequence);
    }
    if (after == 0)
        return;
    follower.sequence = after - 1;
    assert_int_equal(read_feed(fixture, &follower, &feed), STATUS_GONE);
    assert_int_equal(feed.oldest, after);
}

/* ---- the segments' files ---- */

struct files {
    uint64_t ids[IDS_MAX];
    size_t count;
};

static enum status note_file(void *context, const char *name, uint64_t bytes)
{
    struct files *files = context;
    (void)bytes;
    if (segment_name_parse(name, &files->ids[files->count])) {
        files->count++;
        for (size_t i = files->count - 1; i > 0 && files->ids[i] < files->ids[i - 1]; i--) {
            uint64_t id = files->ids[i];
            files->ids[i] = files->ids[i - 1];
            files->ids[i - 1] = id;
        }
    }
    assert_true(files->count < IDS_MAX);
    return STATUS_OK;
}

static struct files list_files(struct fixture *fixture)
{
    struct files files = {0};
    struct disk *disk = crash_disk_attach(fixture->crash);
    assert_int_equal(disk_list(disk, note_file, &files), STATUS_OK);
    disk_close(disk);
    return files;
}

static void remove_file(struct fixture *fixture, uint64_t id)
{
    char name[64];
    struct disk *disk = crash_disk_attach(fixture->crash);
    segment_name(id, name);
    assert_int_equal(disk_remove(disk, name), STATUS_OK);
    disk_close(disk);
}

/* One byte of it in the middle. */
static void damage_file(struct fixture *fixture, uint64_t id)
{
    char name[64];
    struct disk *disk = crash_disk_attach(fixture->crash);
    struct disk_file *file;
    uint64_t bytes;
    segment_name(id, name);
    assert_int_equal(disk_open_file(disk, name, &file), STATUS_OK);
    assert_int_equal(disk_file_size(file, &bytes), STATUS_OK);
    static unsigned char other[] = {0x5a, 0xa5};
    struct iovec piece = {other, sizeof other};
    assert_int_equal(disk_file_write(file, bytes / 2, &piece, 1), STATUS_OK);
    disk_file_close(file);
    disk_close(disk);
}

/* ---- how much is kept ---- */

static void no_more_is_kept_than_the_setting_says(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, 0);
    uint64_t oldest = 0, most = 0;
    for (int i = 0; i < 300; i++) {
        put(&fixture, 1);
        uint64_t now = oldest_of(&fixture);
        assert_true(now >= oldest);
        oldest = now;
        most = kept_bytes(&fixture) > most ? kept_bytes(&fixture) : most;
    }
    assert_in_range(most, KEPT_BYTES / 2, KEPT_BYTES);
    assert_true(oldest > 0);
    assert_told(&fixture, oldest);
    assert_true(list_files(&fixture).count < 16);
    end(&fixture);
}

static void without_the_setting_only_what_a_start_needs_is_told(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, 0);
    close_store(&fixture);
    fixture.kept_bytes_max = 0;
    open_store(&fixture);
    for (int i = 0; i < 100; i++) {
        put(&fixture, 1);
        assert_int_equal(kept_bytes(&fixture), 0);
    }
    assert_true(oldest_of(&fixture) > 0);
    assert_told(&fixture, oldest_of(&fixture));
    end(&fixture);
}

/* ---- starts ---- */

static void a_start_tells_as_much_as_before_and_replays_none_of_it(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, 0);
    put(&fixture, 150);
    for (int round = 0; round < 4; round++) {
        uint64_t oldest = oldest_of(&fixture), kept = kept_bytes(&fixture);
        assert_true(kept > KEPT_BYTES / 3);
        if (round % 2 == 0)
            kill_store(&fixture);
        else
            close_store(&fixture);
        open_store(&fixture);
        assert_true(fixture.replayed_bytes < kept);
        assert_int_equal(kept_bytes(&fixture), kept);
        assert_told(&fixture, oldest);
        put(&fixture, 1);
        assert_told(&fixture, oldest_of(&fixture));
    }
    end(&fixture);
}

static void a_smaller_setting_lets_go_at_a_start(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, 0);
    put(&fixture, 150);
    uint64_t oldest = oldest_of(&fixture);
    size_t files = list_files(&fixture).count;
    close_store(&fixture);
    fixture.kept_bytes_max = KEPT_BYTES / 3;
    open_store(&fixture);
    local_housekeep(fixture.engine);
    assert_true(kept_bytes(&fixture) <= KEPT_BYTES / 3);
    assert_true(oldest_of(&fixture) > oldest);
    assert_true(list_files(&fixture).count < files);
    assert_told(&fixture, oldest_of(&fixture));
    end(&fixture);
}

static void behind_a_file_that_is_gone_all_is_told(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, 0);
    put(&fixture, 150);
    uint64_t oldest = oldest_of(&fixture);
    struct files files = list_files(&fixture);
    close_store(&fixture);
    remove_file(&fixture, files.ids[2]);
    open_store(&fixture);
    assert_true(oldest_of(&fixture) > oldest);
    assert_true(kept_bytes(&fixture) > 0);
    assert_told(&fixture, oldest_of(&fixture));
    assert_true(list_files(&fixture).ids[0] > files.ids[2]); /* nobody would use the older ones */
    end(&fixture);
}

static void damage_is_told_and_what_follows_it_too(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, 0);
    put(&fixture, 150);
    struct follower follower = {.sequence = oldest_of(&fixture)};
    damage_file(&fixture, list_files(&fixture).ids[1]);
    struct engine_feed feed;
    enum status status = STATUS_OK;
    while (status == STATUS_OK && follower.sequence < sequence_of(&fixture))
        status = read_feed(&fixture, &follower, &feed);
    assert_int_equal(status, STATUS_CORRUPT);
    assert_int_equal(feed.after, follower.sequence);
    assert_int_equal(read_feed(&fixture, &follower, &feed), STATUS_CORRUPT);
    uint64_t damaged = follower.sequence;
    do
        follower.sequence++; /* without an index of what stands behind it: by segments at most */
    while ((status = read_feed(&fixture, &follower, &feed)) == STATUS_CORRUPT);
    assert_int_equal(status, STATUS_OK);
    assert_in_range(feed.after, damaged + 1, sequence_of(&fixture));
    end(&fixture);
}

/* ---- readers ---- */

static void write_until_it_would_be_gone(struct fixture *fixture)
{
    uint64_t oldest = oldest_of(fixture);
    while (oldest_of(fixture) < oldest + 40)
        put(fixture, 1);
}

static void a_reader_reads_its_segment_to_the_end_though_it_is_let_go(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, 0);
    put(&fixture, 150);
    uint64_t oldest = oldest_of(&fixture);
    struct files before = list_files(&fixture);
    struct follower follower = {.fixture = &fixture,
                                .sequence = oldest,
                                .act_at = oldest + 2,
                                .act = write_until_it_would_be_gone};
    struct engine_feed feed;
    assert_int_equal(read_feed(&fixture, &follower, &feed), STATUS_OK);
    assert_true(follower.sequence > oldest + 4);
    assert_true(oldest_of(&fixture) > follower.sequence);
    assert_int_equal(read_feed(&fixture, &follower, &feed), STATUS_GONE);
    put(&fixture, 40); /* its file goes once nobody reads it */
    assert_true(list_files(&fixture).ids[0] > before.ids[0]);
    assert_told(&fixture, oldest_of(&fixture));
    end(&fixture);
}

static void look_at_feed(void *context)
{
    struct follower *follower = context;
    struct engine_feed feed;
    uint64_t published = sequence_of(follower->fixture);
    assert_int_equal(read_feed(follower->fixture, follower, &feed), STATUS_OK);
    assert_int_equal(follower->sequence, published);
}

/* Looks behind each change of the disk, so that it comes between a write and its sync. */
static void nothing_is_told_before_it_is_durable(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, 0);
    struct follower follower = {.fixture = &fixture};
    crash_disk_watch(fixture.crash, look_at_feed, &follower);
    put(&fixture, 40);
    crash_disk_watch(fixture.crash, NULL, NULL);
    end(&fixture);
}

/* ---- seals ---- */

static void fail_one(struct fixture *fixture, unsigned operations)
{
    local_housekeep(fixture->engine);
    crash_disk_fail(fixture->crash, (struct crash_fault){operations, 1, false, STATUS_IO});
    assert_int_equal(try_put_filled(fixture, 0xee), STATUS_UNAVAILABLE);
    assert_true(crash_disk_failed(fixture->crash));
    crash_disk_fail(fixture->crash, (struct crash_fault){0});
    manual_time_advance_ms(&fixture->time, CALM_MS);
}

static void what_failed_is_never_told_and_the_feed_goes_on(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, 0);
    for (int round = 0; round < 6; round++) {
        put(&fixture, 5);
        fail_one(&fixture, round % 2 == 0 ? CRASH_SYNC : CRASH_WRITE);
        assert_told(&fixture, 0);
        if (round < 3)
            continue;
        kill_store(&fixture);
        open_store(&fixture);
        assert_told(&fixture, 0);
    }
    end(&fixture);
}

static void after_a_seal_in_interval_mode_the_feed_begins_anew(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, 1000);
    put(&fixture, 5);
    manual_time_advance_ms(&fixture.time, 2000);
    local_housekeep(fixture.engine); /* these are synced, the next ones are not */
    put(&fixture, 3);
    assert_told(&fixture, 0);        /* what is applied is told, though it is not synced */
    local_housekeep(fixture.engine); /* the next segment is ready */
    manual_time_advance_ms(&fixture.time, 2000);
    crash_disk_fail(fixture.crash, (struct crash_fault){CRASH_SYNC, 1, false, STATUS_IO});
    local_housekeep(fixture.engine);
    assert_true(crash_disk_failed(fixture.crash));
    crash_disk_fail(fixture.crash, (struct crash_fault){0});
    assert_int_equal(try_put(&fixture), STATUS_OK);
    for (int round = 0; round < 3; round++) {
        assert_told(&fixture, 8);
        kill_store(&fixture);
        open_store(&fixture);
        assert_told(&fixture, 8);
        put(&fixture, 20);
    }
    end(&fixture);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("no more is kept than the setting says", no_more_is_kept_than_the_setting_says),
        TEST("without the setting only what a start needs is told",
             without_the_setting_only_what_a_start_needs_is_told),
        TEST("a start tells as much as before, and replays none of it",
             a_start_tells_as_much_as_before_and_replays_none_of_it),
        TEST("a smaller setting lets go at a start", a_smaller_setting_lets_go_at_a_start),
        TEST("behind a file that is gone all is told", behind_a_file_that_is_gone_all_is_told),
        TEST("damage is told, and what follows it too", damage_is_told_and_what_follows_it_too),
        TEST("a reader reads its segment to the end, though it is let go",
             a_reader_reads_its_segment_to_the_end_though_it_is_let_go),
        TEST("nothing is told before it is durable", nothing_is_told_before_it_is_durable),
        TEST("what failed is never told, and the feed goes on",
             what_failed_is_never_told_and_the_feed_goes_on),
        TEST("after a seal in interval mode the feed begins anew",
             after_a_seal_in_interval_mode_the_feed_begins_anew),
    };
    return test_main(argc, argv, "feed", tests);
}
