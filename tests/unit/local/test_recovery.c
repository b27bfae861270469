/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a start makes of a journal that is damaged, incomplete or another's. Power cuts are the crash
 * tests'; here the disk has kept everything, and then something went wrong with it.
 */
#include "../../../engine/local/local.h"
#include "../../../engine/local/manifest.h"
#include "../../../engine/local/recovery.h"
#include "../../lib/crash_disk.h"
#include "../../lib/manual_time.h"
#include "../../lib/test.h"

enum { KEYS = 4, VALUE_BYTES_MAX = 8192 };

struct fixture {
    struct crash_disk *crash;
    struct manual_time time;
    struct engine *engine;
    struct failure failure;
    int tails_cut;
};

static void on_event(void *context, const struct engine_event *event)
{
    struct fixture *fixture = context;
    fixture->tails_cut += event->name == EVENT_TAIL_CUT;
}

static enum status open_on(struct fixture *fixture, struct crash_disk *crash)
{
    struct engine_options options = engine_options_default();
    options.url = "file:";
    options.key_bytes_max = 64;
    options.meta_bytes_max = 64;
    options.batch_operations_max = 2;
    options.value_bytes_max = VALUE_BYTES_MAX;
    options.journal_segment_bytes = 0; /* as small as it goes */
    options.reserve_bytes = 0;
    options.time = &fixture->time.source;
    options.on_event = on_event;
    options.on_event_context = fixture;
    fixture->failure = (struct failure){0};
    fixture->tails_cut = 0;
    return local_open(&options, crash_disk_attach(crash), false, &fixture->engine,
                      &fixture->failure);
}

static void begin(struct fixture *fixture)
{
    *fixture = (struct fixture){.crash = crash_disk_open()};
    manual_time_init(&fixture->time);
    assert_int_equal(open_on(fixture, fixture->crash), STATUS_OK);
}

static void end(struct fixture *fixture)
{
    crash_disk_close(fixture->crash);
}

static const char *key_name(uint64_t number)
{
    static const char *const names[KEYS] = {"first", "second", "third", "fourth"};
    return names[number];
}

static void put(struct fixture *fixture, uint64_t number, size_t size, int fill)
{
    struct engine_value *value;
    struct bytes key = bytes_of(key_name(number));
    assert_int_equal(engine_value_open(fixture->engine, key, (struct bytes){NULL, 0}, size, &value),
                     STATUS_OK);
    memset(value->data, fill, size);
    value->size = size;
    struct engine_operation operation = {.type = ENGINE_PUT, .key = key, .value = value};
    struct engine_context patience = {UINT64_MAX, NULL};
    assert_int_equal(engine_commit(fixture->engine, &operation, 1, &patience), STATUS_OK);
    local_housekeep(fixture->engine);
}

static void put_all(struct fixture *fixture)
{
    for (uint64_t i = 0; i < KEYS; i++)
        put(fixture, i, 100 + i * 1000, 'a' + (int)i);
}

static void close_engine(struct fixture *fixture)
{
    engine_close(fixture->engine);
    fixture->engine = NULL;
}

static void kill_engine(struct fixture *fixture)
{
    crash_disk_kill(fixture->crash);
    close_engine(fixture);
}

static void check_value(struct fixture *fixture, uint64_t number, size_t size, int fill)
{
    struct engine_item item;
    assert_int_equal(engine_get(fixture->engine, bytes_of(key_name(number)), &item), STATUS_OK);
    assert_int_equal(item.value.size, size);
    for (size_t i = 0; i < size; i++)
        assert_int_equal(((const char *)item.value.data)[i], fill);
    engine_item_done(&item);
}

static void check_all(struct fixture *fixture)
{
    for (uint64_t i = 0; i < KEYS; i++)
        check_value(fixture, i, 100 + i * 1000, 'a' + (int)i);
}

static uint64_t sequence(struct fixture *fixture)
{
    struct engine_health health;
    engine_health(fixture->engine, &health);
    return health.sequence;
}

/* ---- the files ---- */

struct file {
    char name[64];
    uint64_t bytes;
};

struct files {
    struct file all[32];
    size_t count;
};

static enum status add_file(void *context, const char *name, uint64_t bytes)
{
    struct files *files = context;
    assert_true(files->count < COUNT_OF(files->all));
    struct file *file = &files->all[files->count++];
    snprintf(file->name, sizeof file->name, "%s", name);
    file->bytes = bytes;
    return STATUS_OK;
}

static struct files journal_files(struct crash_disk *crash)
{
    struct files all = {.count = 0}, journal = {.count = 0};
    struct disk *disk = crash_disk_attach(crash);
    assert_int_equal(disk_list(disk, add_file, &all), STATUS_OK);
    disk_close(disk);
    for (size_t i = 0; i < all.count; i++)
        if (strncmp(all.all[i].name, "journal-", 8) == 0)
            journal.all[journal.count++] = all.all[i];
    return journal;
}

/* The same disk with one bit changed. */
static struct crash_disk *with_flipped(struct crash_disk *crash, const char *name, uint64_t offset,
                                       unsigned bit)
{
    struct crash_disk *fork = crash_disk_fork(crash);
    struct disk *disk = crash_disk_attach(fork);
    struct disk_file *file;
    unsigned char byte;
    size_t got;
    assert_int_equal(disk_open_file(disk, name, &file), STATUS_OK);
    assert_int_equal(disk_file_read(file, offset, &byte, 1, &got), STATUS_OK);
    byte ^= (unsigned char)(1 << bit);
    struct iovec piece = {&byte, 1};
    assert_int_equal(disk_file_write(file, offset, &piece, 1), STATUS_OK);
    assert_int_equal(disk_file_sync(file), STATUS_OK);
    disk_file_close(file);
    disk_close(disk);
    return fork;
}

static struct crash_disk *without(struct crash_disk *crash, const char *name)
{
    struct crash_disk *fork = crash_disk_fork(crash);
    struct disk *disk = crash_disk_attach(fork);
    assert_int_equal(disk_remove(disk, name), STATUS_OK);
    assert_int_equal(disk_sync_directory(disk), STATUS_OK);
    disk_close(disk);
    return fork;
}

static struct crash_disk *cut_short(struct crash_disk *crash, const char *name, uint64_t bytes)
{
    struct crash_disk *fork = crash_disk_fork(crash);
    struct disk *disk = crash_disk_attach(fork);
    struct disk_file *file;
    assert_int_equal(disk_open_file(disk, name, &file), STATUS_OK);
    assert_int_equal(disk_file_truncate(file, bytes), STATUS_OK);
    assert_int_equal(disk_file_sync(file), STATUS_OK);
    disk_file_close(file);
    disk_close(disk);
    return fork;
}

/* ---- whole stores ---- */

static void a_clean_end_is_found_without_a_cut(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    put_all(&fixture);
    for (int i = 0; i < 5; i++) {
        close_engine(&fixture);
        assert_int_equal(open_on(&fixture, fixture.crash), STATUS_OK);
        assert_int_equal(fixture.tails_cut, 0);
        assert_int_equal(sequence(&fixture), KEYS);
        check_all(&fixture);
    }
    close_engine(&fixture);
    end(&fixture);
}

static void starts_do_not_pile_up_files(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    put_all(&fixture);
    close_engine(&fixture);
    uint64_t bytes = 0;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(open_on(&fixture, fixture.crash), STATUS_OK);
        close_engine(&fixture);
        struct files files = journal_files(fixture.crash);
        bytes = 0;
        for (size_t j = 0; j < files.count; j++)
            bytes += files.all[j].bytes;
        assert_true(files.count <= 22);
    }
    assert_true(bytes < 22 * (64 << 10) + (256 << 10)); /* what was left of old ends is cut off */
    end(&fixture);
}

/* ---- damage ---- */

/*
 * All was durable, so a start may refuse or find everything; nothing else is true. The state that
 * it finds is compared with what was written, so a lost, an old or a wrong value would show.
 */
static void check_flip(struct fixture *fixture, const char *name, uint64_t offset, int *refused)
{
    struct crash_disk *fork = with_flipped(fixture->crash, name, offset, offset % 8);
    enum status status = open_on(fixture, fork);
    if (status == STATUS_OK) {
        assert_int_equal(sequence(fixture), KEYS + 1);
        check_all(fixture);
        close_engine(fixture);
    } else {
        assert_true(status == STATUS_CORRUPT_LOG || status == STATUS_FORMAT);
        assert_non_null(strstr(fixture->failure.message, "journal-"));
        assert_non_null(strstr(fixture->failure.message, "offset"));
        (*refused)++;
    }
    crash_disk_close(fork);
}

static void a_flipped_bit_is_refused_or_changes_nothing(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    put(&fixture, 0, 700, 'o'); /* an older version that must not come back */
    for (uint64_t i = 0; i < KEYS; i++)
        put(&fixture, i, 100 + i * 1000, 'a' + (int)i);
    close_engine(&fixture);
    struct files files = journal_files(fixture.crash);
    assert_int_equal(files.count, 1);
    int refused = 0, frames_refused = 0;
    uint64_t used = 12 * 4096; /* header, LINK, five groups of up to 4 KiB and more, marks */
    for (uint64_t offset = 0; offset < used; offset += offset % 4096 < 300 ? 1 : 53) {
        int before = refused;
        check_flip(&fixture, files.all[0].name, offset, &refused);
        frames_refused += offset > 8192 && refused > before;
    }
    assert_true(frames_refused > 1000);
    end(&fixture);
}

/* Header, LINK, the group; behind it nothing that would say it was durable. */
enum { ONLY_GROUP = 2 * 4096 };

static void check_only_group_damaged(struct fixture *fixture, enum status expected)
{
    struct files files = journal_files(fixture->crash);
    struct crash_disk *fork = with_flipped(fixture->crash, files.all[0].name, ONLY_GROUP + 70, 3);
    assert_int_equal(open_on(fixture, fork), expected);
    if (expected == STATUS_OK) {
        assert_int_equal(fixture->tails_cut, 1);
        close_engine(fixture);
    }
    crash_disk_close(fork);
}

static void the_last_write_of_an_idle_store_is_not_cut_off(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    put(&fixture, 0, 100, 'a');
    kill_engine(&fixture);
    check_only_group_damaged(&fixture, STATUS_OK); /* it could be torn */
    end(&fixture);
    begin(&fixture);
    put(&fixture, 0, 100, 'a');
    manual_time_advance_ms(&fixture.time, 1100);
    local_housekeep(fixture.engine);
    kill_engine(&fixture);
    check_only_group_damaged(&fixture, STATUS_CORRUPT_LOG);
    end(&fixture);
}

static void edit_manifest(struct crash_disk *crash, uint64_t journal_first, uint64_t durable)
{
    struct disk *disk = crash_disk_attach(crash);
    struct manifest manifest;
    assert_int_equal(manifest_read(disk, &manifest, NULL), STATUS_OK);
    if (journal_first != 0)
        manifest.journal_first = journal_first;
    if (durable != 0)
        manifest.durable_sequence = durable;
    assert_int_equal(manifest_write(disk, &manifest), STATUS_OK);
    manifest_done(&manifest);
    disk_close(disk);
}

/* A dump's edit says so, and perhaps nothing but it. */
static void what_the_manifest_knows_to_be_durable_is_not_cut_off(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    put(&fixture, 0, 100, 'a');
    kill_engine(&fixture);
    edit_manifest(fixture.crash, 0, 1);
    check_only_group_damaged(&fixture, STATUS_CORRUPT_LOG);
    end(&fixture);
}

static void a_missing_segment_is_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    for (int i = 0; i < 40; i++)
        put(&fixture, (uint64_t)i % KEYS, VALUE_BYTES_MAX, 'x');
    close_engine(&fixture);
    assert_int_equal(open_on(&fixture, fixture.crash), STATUS_OK); /* the newest is the start's */
    put_all(&fixture);
    close_engine(&fixture);
    struct files files = journal_files(fixture.crash);
    assert_true(files.count >= 3);
    int refused = 0;
    for (size_t i = 0; i < files.count; i++) {
        struct crash_disk *fork = without(fixture.crash, files.all[i].name);
        enum status status = open_on(&fixture, fork);
        if (status == STATUS_OK) { /* it had been made ready, and nothing was in it */
            check_all(&fixture);
            close_engine(&fixture);
        } else {
            assert_int_equal(status, STATUS_CORRUPT_LOG);
            assert_non_null(strstr(fixture.failure.message, "journal-"));
            refused++;
        }
        crash_disk_close(fork);
    }
    assert_true(refused >= 3);
    end(&fixture);
}

static void the_only_segment_is_missed(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    put_all(&fixture);
    close_engine(&fixture);
    struct files files = journal_files(fixture.crash);
    struct crash_disk *fork = without(fixture.crash, files.all[0].name);
    assert_int_equal(open_on(&fixture, fork), STATUS_CORRUPT_LOG);
    assert_non_null(strstr(fixture.failure.message, files.all[0].name));
    crash_disk_close(fork);
    end(&fixture);
}

static void a_segment_cut_short_is_refused(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    put_all(&fixture);
    close_engine(&fixture);
    struct files files = journal_files(fixture.crash);
    for (uint64_t bytes = 0; bytes < files.all[0].bytes; bytes += 1021) {
        struct crash_disk *fork = cut_short(fixture.crash, files.all[0].name, bytes);
        assert_int_equal(open_on(&fixture, fork), STATUS_CORRUPT_LOG);
        crash_disk_close(fork);
    }
    end(&fixture);
}

static void another_stores_segment_is_refused(void **state)
{
    (void)state;
    struct fixture fixture, other;
    begin(&fixture);
    put_all(&fixture);
    close_engine(&fixture);
    begin(&other);
    put_all(&other);
    close_engine(&other);
    struct files files = journal_files(fixture.crash);
    struct disk *from = crash_disk_attach(other.crash), *to = crash_disk_attach(fixture.crash);
    struct disk_file *source, *target;
    assert_int_equal(disk_open_file(from, files.all[0].name, &source), STATUS_OK);
    assert_int_equal(disk_open_file(to, files.all[0].name, &target), STATUS_OK);
    unsigned char *bytes = malloc(files.all[0].bytes);
    size_t got;
    assert_int_equal(disk_file_read(source, 0, bytes, files.all[0].bytes, &got), STATUS_OK);
    struct iovec piece = {bytes, got};
    assert_int_equal(disk_file_write(target, 0, &piece, 1), STATUS_OK);
    free(bytes);
    disk_file_close(source);
    disk_file_close(target);
    disk_close(from);
    disk_close(to);
    assert_int_equal(open_on(&fixture, fixture.crash), STATUS_CORRUPT_LOG);
    end(&fixture);
    end(&other);
}

static void a_refused_start_changes_nothing(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    put_all(&fixture);
    close_engine(&fixture);
    struct files files = journal_files(fixture.crash);
    struct crash_disk *fork = with_flipped(fixture.crash, files.all[0].name, 2 * 4096 + 70, 3);
    uint64_t before = crash_disk_hash(fork);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(open_on(&fixture, fork), STATUS_CORRUPT_LOG);
        assert_true(crash_disk_hash(fork) == before);
    }
    crash_disk_close(fork);
    end(&fixture);
}

/* ---- failing reads ---- */

static void a_start_that_cannot_read_is_no_damage(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    put_all(&fixture);
    close_engine(&fixture);
    bool failed = true;
    for (uint64_t nth = 1; failed; nth++) {
        struct crash_disk *fork = crash_disk_fork(fixture.crash);
        crash_disk_fail(fork, (struct crash_fault){CRASH_READ, nth, false, STATUS_IO});
        enum status status = open_on(&fixture, fork);
        failed = crash_disk_failed(fork);
        if (failed && status != STATUS_OK)
            assert_int_equal(status, STATUS_IO);
        if (status == STATUS_OK)
            close_engine(&fixture);
        crash_disk_fail(fork, (struct crash_fault){0});
        assert_int_equal(open_on(&fixture, fork), STATUS_OK);
        check_all(&fixture);
        close_engine(&fixture);
        crash_disk_close(fork);
    }
    end(&fixture);
}

/* As after a journal was sealed, all of it dumped, and the power failed before another was begun. */
static void a_journal_that_begins_anew_counts(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    close_engine(&fixture);
    edit_manifest(fixture.crash, 9, 0);
    assert_int_equal(open_on(&fixture, fixture.crash), STATUS_OK);
    put_all(&fixture);
    close_engine(&fixture);
    assert_int_equal(open_on(&fixture, fixture.crash), STATUS_OK);
    check_all(&fixture);
    close_engine(&fixture);
    end(&fixture);
}

/* ---- no room for a fresh segment ---- */

static void die(void *context)
{
    crash_disk_kill(context);
}

/* A last put whose frame is in the cache and not on the disk: the process dies behind its write, or
 * behind a sync that failed, after which the cache calls the frame clean. */
static void put_and_die(struct fixture *fixture, bool sync_fails)
{
    struct engine_value *value;
    struct bytes key = bytes_of(key_name(0));
    assert_int_equal(engine_value_open(fixture->engine, key, (struct bytes){NULL, 0}, 900, &value),
                     STATUS_OK);
    memset(value->data, 'z', 900);
    value->size = 900;
    struct engine_operation operation = {.type = ENGINE_PUT, .key = key, .value = value};
    struct engine_context patience = {UINT64_MAX, NULL};
    if (sync_fails)
        crash_disk_fail(fixture->crash, (struct crash_fault){CRASH_SYNC, 1, true, STATUS_IO});
    else
        crash_disk_watch(fixture->crash, die, fixture->crash);
    assert_int_not_equal(engine_commit(fixture->engine, &operation, 1, &patience), STATUS_OK);
    crash_disk_kill(fixture->crash);
    crash_disk_watch(fixture->crash, NULL, NULL);
    crash_disk_fail(fixture->crash, (struct crash_fault){0});
    engine_value_close(fixture->engine, operation.value);
    close_engine(fixture);
}

/* What a start does that finds no room: afterwards all that it replayed may be read. */
static enum status replay_and_settle(struct crash_disk *crash, uint64_t *out_sequence)
{
    static const atomic_bool not_closing;
    const struct time_source *time = time_source_system();
    struct stats *stats = stats_open();
    struct disk *disk = crash_disk_attach(crash);
    struct failure failure = {0};
    struct manifest manifest;
    struct store store;
    assert_int_equal(store_init(&store, 1 << 30, 1 << 30, stats, time, false), STATUS_OK);
    assert_int_equal(manifest_read(disk, &manifest, &failure), STATUS_OK);
    struct recovery recovery = {
        .disk = disk,
        .manifest = &manifest,
        .store = &store,
        .journal = {.disk = disk, .time = time, .stats = stats},
        .closing = &not_closing,
        .threads = 1,
    };
    memcpy(recovery.journal.uuid, manifest.uuid, FORMAT_UUID_BYTES);
    assert_int_equal(recovery_replay(&recovery, &failure), STATUS_OK);
    *out_sequence = store_sequence(&store);
    enum status status = recovery_settle(&recovery);
    recovery_done(&recovery);
    store_done(&store);
    manifest_done(&manifest);
    disk_close(disk);
    stats_close(stats);
    return status;
}

static void begin_with_doubtful_end(struct fixture *fixture, bool sync_fails)
{
    begin(fixture);
    put_all(fixture);
    put_and_die(fixture, sync_fails);
}

/* What was answered is there, and of the doubtful put all or nothing. */
static void check_start(struct fixture *fixture, struct crash_disk *crash, bool doubtful_is_there)
{
    assert_int_equal(open_on(fixture, crash), STATUS_OK);
    bool there = sequence(fixture) > KEYS;
    assert_true(there || !doubtful_is_there);
    check_value(fixture, 0, there ? 900 : 100, there ? 'z' : 'a');
    for (uint64_t i = 1; i < KEYS; i++)
        check_value(fixture, i, 100 + i * 1000, 'a' + (int)i);
    close_engine(fixture);
}

static void what_is_read_without_a_fresh_segment_is_durable(void **state)
{
    (void)state;
    for (int sync_fails = 0; sync_fails < 2; sync_fails++) {
        struct fixture fixture;
        uint64_t sequence;
        begin_with_doubtful_end(&fixture, sync_fails != 0);
        struct crash_disk *lost = crash_disk_cut(fixture.crash, false);
        assert_int_equal(open_on(&fixture, lost), STATUS_OK);
        check_value(&fixture, 0, 100, 'a'); /* it is doubtful indeed */
        close_engine(&fixture);
        assert_int_equal(replay_and_settle(fixture.crash, &sequence), STATUS_OK);
        assert_int_equal(sequence, KEYS + 1);
        struct crash_disk *cut = crash_disk_cut(fixture.crash, false);
        check_start(&fixture, cut, true);
        check_start(&fixture, fixture.crash, true);
        crash_disk_close(cut);
        crash_disk_close(lost);
        end(&fixture);
    }
}

struct settling {
    struct fixture *fixture;
    struct crash_disk *crash;
    unsigned states;
};

static void check_state(void *context, struct crash_state state)
{
    struct settling *settling = context;
    settling->states++;
    check_start(settling->fixture, state.disk, false);
    crash_disk_close(state.disk);
}

static void check_states(void *context)
{
    struct settling *settling = context;
    crash_disk_each_state(settling->crash, check_state, settling);
}

static void settling_may_end_at_any_point(void **state)
{
    (void)state;
    struct fixture fixture;
    uint64_t sequence;
    bool failed = true;
    begin_with_doubtful_end(&fixture, false);
    for (uint64_t nth = 1; failed; nth++) {
        struct settling settling = {&fixture, crash_disk_fork(fixture.crash), 0};
        crash_disk_watch(settling.crash, check_states, &settling);
        crash_disk_fail(settling.crash,
                        (struct crash_fault){CRASH_WRITE | CRASH_SYNC, nth, true, STATUS_IO});
        enum status status = replay_and_settle(settling.crash, &sequence);
        failed = crash_disk_failed(settling.crash);
        assert_int_equal(status, failed ? STATUS_IO : STATUS_OK);
        crash_disk_watch(settling.crash, NULL, NULL);
        crash_disk_fail(settling.crash, (struct crash_fault){0});
        assert_true(settling.states > 0);
        check_start(&fixture, settling.crash, !failed);
        crash_disk_close(settling.crash);
    }
    end(&fixture);
}

static void put_two_at_once(struct fixture *fixture)
{
    struct engine_operation operations[2];
    struct engine_context patience = {UINT64_MAX, NULL};
    for (uint64_t i = 0; i < 2; i++) {
        operations[i] = (struct engine_operation){.type = ENGINE_PUT, .key = bytes_of(key_name(i))};
        assert_int_equal(engine_value_open(fixture->engine, operations[i].key,
                                           (struct bytes){NULL, 0}, 10, &operations[i].value),
                         STATUS_OK);
        memset(operations[i].value->data, 'a' + (int)i, 10);
        operations[i].value->size = 10;
    }
    assert_int_equal(engine_commit(fixture->engine, operations, 2, &patience), STATUS_OK);
}

static void let_be_durable(struct crash_disk *crash, uint64_t sequence)
{
    struct disk *disk = crash_disk_attach(crash);
    struct manifest manifest;
    assert_int_equal(manifest_read(disk, &manifest, NULL), STATUS_OK);
    manifest.durable_sequence = sequence;
    assert_int_equal(manifest_write(disk, &manifest), STATUS_OK);
    manifest_done(&manifest);
    disk_close(disk);
}

/* No writer leaves it there; a start that copied half a frame would be the last one. */
static void a_watermark_inside_a_frame_does_not_divide_it(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    put_two_at_once(&fixture);
    struct crash_disk *crash = crash_disk_cut(fixture.crash, true);
    close_engine(&fixture);
    let_be_durable(crash, 1);
    for (int start = 0; start < 3; start++) {
        if (open_on(&fixture, crash) != STATUS_OK)
            fail_msg("start %d: %s", start, fixture.failure.message);
        assert_int_equal(sequence(&fixture), 2 + start);
        check_value(&fixture, 0, 10, 'a');
        check_value(&fixture, 1, 10, 'b');
        put(&fixture, 2, 10, 'c');
        close_engine(&fixture);
    }
    crash_disk_close(crash);
    end(&fixture);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("a clean end is found without a cut", a_clean_end_is_found_without_a_cut),
        TEST("starts do not pile up files", starts_do_not_pile_up_files),
        TEST("a flipped bit is refused or changes nothing",
             a_flipped_bit_is_refused_or_changes_nothing),
        TEST("the last write of an idle store is not cut off",
             the_last_write_of_an_idle_store_is_not_cut_off),
        TEST("what the manifest knows to be durable is not cut off",
             what_the_manifest_knows_to_be_durable_is_not_cut_off),
        TEST("a missing segment is refused", a_missing_segment_is_refused),
        TEST("the only segment is missed", the_only_segment_is_missed),
        TEST("a segment cut short is refused", a_segment_cut_short_is_refused),
        TEST("another store's segment is refused", another_stores_segment_is_refused),
        TEST("a refused start changes nothing", a_refused_start_changes_nothing),
        TEST("a start that cannot read is no damage", a_start_that_cannot_read_is_no_damage),
        TEST("a journal that begins anew counts", a_journal_that_begins_anew_counts),
        TEST("what is read without a fresh segment is durable",
             what_is_read_without_a_fresh_segment_is_durable),
        TEST("settling may end at any point", settling_may_end_at_any_point),
        TEST("a watermark inside a frame does not divide it",
             a_watermark_inside_a_frame_does_not_divide_it),
    };
    return test_main(argc, argv, "recovery", tests);
}
