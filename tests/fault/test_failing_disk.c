/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file system whose device fails: ext4 in a sparse file, in a tmpfs that is full. What the kernel
 * has in its cache cannot be written then; it says so at one fdatasync, and calls the bytes clean at
 * the next. And a device that cannot be read. Afterwards the device works again, the cache is empty,
 * and all that was answered must be there.
 */
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../../engine/local/fault_guard.h"
#include "../../engine/stats.h"
#include "../lib/ledger.h"
#include "../lib/mounts.h"
#include "../lib/threads.h"

enum {
    TMPFS_BYTES = 80 << 20,
    IMAGE_BYTES = 64 << 20,
    SEGMENT_BYTES = 1 << 20,
    BLOCK_BYTES = 4096,
    WAIT_MS = 4000,
    SOON_MS = 20000,
    WRITERS = 4,
    POWER_CUTS = 30, /* KEYREST_POWER_CUTS=200 makes it a soak */
};

struct fixture {
    char *root;
    char image[300], filler[300], mount[300], data[310], url[320];
    struct engine_options options;
    struct engine *engine;
    struct ledger *ledger;
    _Atomic unsigned events[64];
};

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static void on_event(void *context, const struct engine_event *event)
{
    struct fixture *fixture = context;
    atomic_fetch_add(&fixture->events[event->name], 1);
}

/* ---- the store ---- */

static void open_store(struct fixture *fixture)
{
    struct failure failure = {0};
    struct engine_health health;
    enum status status = engine_open(&fixture->options, &fixture->engine, &failure);
    if (status != STATUS_OK)
        fail_msg("open: %s: %s", status_text(status), failure.message);
    for (int waited = 0; waited < SOON_MS; waited += 10) {
        engine_health(fixture->engine, &health);
        if (health.state == ENGINE_READY && health.writable == STATUS_OK)
            return;
        if (health.state == ENGINE_UNUSABLE)
            break;
        pause_ms(10);
    }
    fail_msg("the store did not open: state %d, %s", health.state, health.reason);
}

static void close_store(struct fixture *fixture)
{
    engine_close(fixture->engine);
    fixture->engine = NULL;
}

/* The device works again, nothing is in the cache, and the store is opened anew. */
static void start_over(struct fixture *fixture)
{
    close_store(fixture);
    mounts_end(fixture->mount);
    unlink(fixture->filler);
    mounts_ext4(fixture->image, fixture->mount);
    open_store(fixture);
}

static void check(struct ledger *ledger, struct fixture *fixture)
{
    const char *wrong = ledger_check(ledger, fixture->engine);
    if (wrong != NULL)
        fail_msg("%s", wrong);
}

static enum status put(struct fixture *fixture, unsigned key, uint32_t bytes)
{
    return ledger_put(fixture->ledger, fixture->engine, key, bytes, WAIT_MS);
}

static void put_keys(struct fixture *fixture, unsigned from, unsigned until, uint32_t bytes)
{
    for (unsigned key = from; key < until; key++)
        assert_int_equal(put(fixture, key, bytes), STATUS_OK);
}

/* ---- its files ---- */

/* The path of the highest-numbered file with that prefix; how many there are. */
static unsigned find_file(const struct fixture *fixture, const char *prefix, bool highest,
                          char out_path[600])
{
    char name[256] = "";
    unsigned count = 0;
    DIR *directory = opendir(fixture->data);
    for (struct dirent *found; (found = readdir(directory)) != NULL;) {
        if (strncmp(found->d_name, prefix, strlen(prefix)) != 0)
            continue;
        int order = strcmp(found->d_name, name);
        if (count++ == 0 || (highest ? order > 0 : order < 0))
            snprintf(name, sizeof name, "%s", found->d_name);
    }
    closedir(directory);
    snprintf(out_path, 600, "%s/%s", fixture->data, name);
    return count;
}

/* Where only zeros follow. */
static uint64_t used_bytes(const char *path)
{
    static unsigned char bytes[SEGMENT_BYTES * 2];
    int file = open(path, O_RDONLY);
    ssize_t size = read(file, bytes, sizeof bytes);
    close(file);
    assert_true(size > 0 && size < (ssize_t)sizeof bytes);
    while (size > 0 && bytes[size - 1] == 0)
        size--;
    return ((uint64_t)size + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
}

/* From now on what is written behind the active segment's last frame cannot reach the device. */
static void break_journal(const struct fixture *fixture)
{
    char active[600];
    find_file(fixture, "journal-", false, active); /* the next one is ready behind it */
    struct stat about;
    assert_int_equal(stat(active, &about), 0);
    for (uint64_t offset = used_bytes(active); offset + BLOCK_BYTES <= (uint64_t)about.st_size;
         offset += BLOCK_BYTES)
        mounts_punch(fixture->image, mounts_device_offset(active, offset), BLOCK_BYTES);
    mounts_fill(fixture->filler, 0);
}

/* ---- set up ---- */

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    fixture->root = test_directory_make();
    snprintf(fixture->image, sizeof fixture->image, "%s/image", fixture->root);
    snprintf(fixture->filler, sizeof fixture->filler, "%s/filler", fixture->root);
    snprintf(fixture->mount, sizeof fixture->mount, "%s/mount", fixture->root);
    snprintf(fixture->data, sizeof fixture->data, "%s/data", fixture->mount);
    snprintf(fixture->url, sizeof fixture->url, "file:%s", fixture->data);
    mounts_tmpfs(fixture->root, TMPFS_BYTES);
    assert_int_equal(mkdir(fixture->mount, 0700), 0);
    mounts_make_ext4(fixture->image, IMAGE_BYTES);
    mounts_ext4(fixture->image, fixture->mount);
    fixture->ledger = ledger_open(0);
    fixture->options = engine_options_default();
    struct engine_options *options = &fixture->options;
    options->url = fixture->url;
    options->key_bytes_max = 64;
    options->meta_bytes_max = 64;
    options->batch_operations_max = 16;
    options->value_bytes_max = 256 << 10;
    options->memory_bytes_max = 64 << 20;
    options->memtable_bytes = 1 << 20;
    options->journal_segment_bytes = SEGMENT_BYTES;
    options->reserve_bytes = 2 << 20;
    options->ballast_bytes = 0;
    options->compaction_interval_ms = 100000000;
    options->on_event = on_event;
    options->on_event_context = fixture;
    open_store(fixture);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    close_store(fixture);
    mounts_end(fixture->mount);
    mounts_end(fixture->root);
    test_directory_remove(fixture->root);
    free(fixture->ledger);
    free(fixture);
    return 0;
}

/* A journal of one segment in use and one that is ready. */
static void begin_journal(struct fixture *fixture)
{
    char path[600];
    for (unsigned key = 0; find_file(fixture, "journal-", true, path) < 2; key++) {
        assert_true(key < 100);
        assert_int_equal(put(fixture, key, 5000), STATUS_OK);
        pause_ms(5);
    }
}

/* ---- writes that fail ---- */

static void goes_on(void **state)
{
    struct fixture *fixture = *state;
    begin_journal(fixture);
    break_journal(fixture);
    assert_int_equal(put(fixture, 500, 3000), STATUS_UNAVAILABLE);
    assert_int_equal(fixture->events[EVENT_JOURNAL_SEALED], 1);
    assert_int_equal(fixture->events[EVENT_JOURNAL_UNSEALED], 1);
    check(fixture->ledger, fixture);
    put_keys(fixture, 500, 540, 3000);
    assert_int_equal(ledger_delete(fixture->ledger, fixture->engine, 1, WAIT_MS), STATUS_OK);
    check(fixture->ledger, fixture);
    start_over(fixture);
    check(fixture->ledger, fixture);
    put_keys(fixture, 600, 640, 3000);
    start_over(fixture);
    check(fixture->ledger, fixture);
}

static struct engine_health health_of(const struct fixture *fixture)
{
    struct engine_health health;
    engine_health(fixture->engine, &health);
    return health;
}

/* The device tells that it has no room (thin provisioning): unlike others, that failure may pass. */
static void waits_for_room(void **state)
{
    struct fixture *fixture = *state;
    begin_journal(fixture);
    mounts_hollow_out(fixture->image, fixture->mount);
    break_journal(fixture);
    assert_int_equal(put(fixture, 500, 3000), STATUS_UNKNOWN);
    assert_int_equal(health_of(fixture).state, ENGINE_READY);
    assert_int_equal(put(fixture, 501, 3000), STATUS_NO_SPACE);
    assert_int_equal(ledger_delete(fixture->ledger, fixture->engine, 1, WAIT_MS), STATUS_NO_SPACE);
    assert_int_equal(fixture->events[EVENT_JOURNAL_UNSEALED], 0);
    check(fixture->ledger, fixture);
    unlink(fixture->filler);
    for (int waited = 0; waited < SOON_MS && health_of(fixture).writable != STATUS_OK; waited += 10)
        pause_ms(10);
    put_keys(fixture, 501, 540, 3000);
    assert_int_equal(fixture->events[EVENT_JOURNAL_UNSEALED], 1);
    check(fixture->ledger, fixture);
    start_over(fixture);
    check(fixture->ledger, fixture);
}

static void is_read_only(void **state)
{
    struct fixture *fixture = *state;
    begin_journal(fixture);
    mounts_shut_down(fixture->mount, MOUNTS_CUT_AT_ONCE);
    assert_int_equal(put(fixture, 500, 3000), STATUS_UNKNOWN);
    assert_int_equal(health_of(fixture).state, ENGINE_READ_ONLY);
    assert_int_equal(put(fixture, 501, 3000), STATUS_READ_ONLY);
    assert_int_equal(ledger_delete(fixture->ledger, fixture->engine, 1, WAIT_MS), STATUS_READ_ONLY);
    assert_int_equal(fixture->events[EVENT_JOURNAL_UNSEALED], 0);
    check(fixture->ledger, fixture);
    start_over(fixture);
    check(fixture->ledger, fixture);
    put_keys(fixture, 600, 640, 3000);
    start_over(fixture);
    check(fixture->ledger, fixture);
}

/* ---- writers meanwhile ---- */

struct writer {
    pthread_t thread;
    struct engine *engine;
    struct ledger *ledger;
    const atomic_bool *stop;
};

static void *write_on(void *context)
{
    struct writer *writer = context;
    struct ledger *ledger = writer->ledger;
    while (!atomic_load(writer->stop)) {
        uint64_t random = threads_random(&ledger->random);
        unsigned key = (unsigned)(random % 200);
        enum status status =
            (random >> 16 & 3) == 0
                ? ledger_delete(ledger, writer->engine, key, 300)
                : ledger_put(ledger, writer->engine, key, (uint32_t)(random >> 20 & 0x7fff), 300);
        if (status != STATUS_OK)
            pause_ms(1);
    }
    return NULL;
}

/* Writers go on while `strike` does something to the disk. */
static void write_meanwhile(struct fixture *fixture, struct writer *writers,
                            void (*strike)(const struct fixture *fixture, int round), int round)
{
    atomic_bool stop = false;
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i].engine = fixture->engine;
        writers[i].stop = &stop;
        pthread_create(&writers[i].thread, NULL, write_on, &writers[i]);
    }
    strike(fixture, round);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_join(writers[i].thread, NULL);
}

/* The device refuses whatever is new to it for a while. */
static void refuse_room(const struct fixture *fixture, int round)
{
    pause_ms(150);
    mounts_hollow_out(fixture->image, fixture->mount);
    mounts_fill(fixture->filler, 0);
    pause_ms(300 + 200 * round);
    unlink(fixture->filler);
    pause_ms(150);
}

static void cut_power(const struct fixture *fixture, int round)
{
    pause_ms(40 + round * 37 % 200);
    mounts_shut_down(fixture->mount, (enum mounts_power_cut)(round % MOUNTS_POWER_CUTS));
    pause_ms(5);
}

static void check_rounds(struct fixture *fixture, int rounds,
                         void (*strike)(const struct fixture *fixture, int round))
{
    struct writer writers[WRITERS] = {{0}};
    for (unsigned i = 0; i < WRITERS; i++)
        writers[i].ledger = ledger_open(i + 1);
    for (int round = 0; round < rounds; round++) {
        write_meanwhile(fixture, writers, strike, round);
        start_over(fixture);
        for (unsigned i = 0; i < WRITERS; i++)
            check(writers[i].ledger, fixture);
    }
    assert_true(fixture->events[EVENT_DISK_FAILURE] > 0);
    for (unsigned i = 0; i < WRITERS; i++) {
        const unsigned *counts = writers[i].ledger->counts;
        print_message(
            "# writer %u: %u ok, %u no space, %u busy, %u unavailable, %u unknown, %u read-only\n",
            i, counts[STATUS_OK], counts[STATUS_NO_SPACE], counts[STATUS_BUSY],
            counts[STATUS_UNAVAILABLE], counts[STATUS_UNKNOWN], counts[STATUS_READ_ONLY]);
        assert_true(counts[STATUS_OK] > 0);
        free(writers[i].ledger);
    }
}

static void device_without_room(void **state)
{
    check_rounds(*state, 4, refuse_room);
}

static void power_cuts(void **state)
{
    const char *wanted = getenv("KEYREST_POWER_CUTS");
    check_rounds(*state, wanted != NULL ? atoi(wanted) : POWER_CUTS, cut_power);
}

/* ---- reads that fail ---- */

static struct sigaction guard;

/* The test library takes SIGBUS for itself at the start of each test: the engine's handler is put
 * back by those that need it. */
static void keep_guard(void)
{
    if (fault_guard_add(&guard, sizeof guard))
        fault_guard_remove(&guard);
    sigaction(SIGBUS, NULL, &guard);
}

/* Fills one table, and waits until it is there. */
static void make_table(struct fixture *fixture, char out_path[600])
{
    for (unsigned key = 0; key < LEDGER_KEYS; key++) {
        assert_int_equal(put(fixture, key, 3000), STATUS_OK);
        if (find_file(fixture, "table-", false, out_path) > 0)
            break;
    }
    struct stats *stats = engine_stats(fixture->engine);
    for (int waited = 0; waited < SOON_MS && stats_read(stats, STATS_dumps) == 0; waited += 10)
        pause_ms(10);
    assert_true(stats_read(stats, STATS_dumps) > 0);
    assert_true(find_file(fixture, "table-", false, out_path) > 0);
}

static void forget_cache(const char *path)
{
    int file = open(path, O_RDONLY);
    assert_true(file >= 0 && fsync(file) == 0);
    assert_int_equal(posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED), 0);
    close(file);
}

/* Some keys cannot be read, and say so; the others can. Sets which is which. */
static void check_damage(struct fixture *fixture, bool *out_corrupt)
{
    unsigned corrupt = 0, right = 0;
    for (unsigned key = 0; key < LEDGER_KEYS; key++) {
        if (fixture->ledger->versions[key].seed == 0)
            continue;
        char name[32];
        struct engine_item item = {0};
        snprintf(name, sizeof name, "0-%u", key);
        enum status status = engine_get(fixture->engine, bytes_of(name), &item);
        if (status != STATUS_CORRUPT)
            assert_int_equal(status, STATUS_OK);
        out_corrupt[key] = status == STATUS_CORRUPT;
        *(out_corrupt[key] ? &corrupt : &right) += 1;
        engine_item_done(&item);
    }
    print_message("# %u keys cannot be read, %u can\n", corrupt, right);
    assert_true(corrupt > 10 && right > 10);
    assert_true(fixture->events[EVENT_VALUE_CORRUPT] >= corrupt);
}

/* Writing a key anew or deleting it heals it, and nothing else was touched. */
static void heal(struct fixture *fixture, const bool *corrupt)
{
    for (unsigned key = 0; key < LEDGER_KEYS; key++) {
        if (corrupt[key] && key % 3 == 0)
            assert_int_equal(ledger_delete(fixture->ledger, fixture->engine, key, WAIT_MS),
                             STATUS_OK);
        else if (corrupt[key])
            assert_int_equal(put(fixture, key, 100), STATUS_OK);
    }
    check(fixture->ledger, fixture);
}

static void unreadable_device(void **state)
{
    struct fixture *fixture = *state;
    char table[600];
    bool corrupt[LEDGER_KEYS] = {false};
    struct stat about;
    make_table(fixture, table);
    forget_cache(table);
    sigaction(SIGBUS, &guard, NULL);
    assert_int_equal(stat(table, &about), 0);
    uint64_t middle = (uint64_t)about.st_size / 2 / BLOCK_BYTES * BLOCK_BYTES;
    uint64_t from = mounts_device_offset(table, middle);
    /* behind its end the image cannot be read, though the device believes that it is there */
    assert_int_equal(truncate(fixture->image, (off_t)from), 0);
    check_damage(fixture, corrupt);
    assert_int_equal(truncate(fixture->image, IMAGE_BYTES), 0);
    heal(fixture, corrupt);
}

static void truncated_table(void **state)
{
    struct fixture *fixture = *state;
    char table[600];
    bool corrupt[LEDGER_KEYS] = {false};
    struct stat about;
    make_table(fixture, table);
    assert_int_equal(stat(table, &about), 0);
    sigaction(SIGBUS, &guard, NULL);
    assert_int_equal(truncate(table, about.st_size / 2), 0);
    check_damage(fixture, corrupt);
    heal(fixture, corrupt);
}

#define DISK_TEST(promise, function)                                                               \
    {                                                                                              \
        promise, function, set_up, tear_down, NULL                                                 \
    }

int main(int argc, char **argv)
{
    keep_guard();
    static const struct CMUnitTest tests[] = {
        DISK_TEST("a journal that fails once is left behind, and nothing answered with it",
                  goes_on),
        DISK_TEST("a journal that fails for want of room goes on by itself when there is some",
                  waits_for_room),
        DISK_TEST("a file system that fails makes the store read-only until a start", is_read_only),
        DISK_TEST("writers on a device that has no room for a while lose nothing",
                  device_without_room),
        DISK_TEST("writers lose nothing by power cuts", power_cuts),
        DISK_TEST("a device that cannot be read costs just the keys that lie there",
                  unreadable_device),
        DISK_TEST("a table cut short under its mapping costs just the keys behind the cut",
                  truncated_table),
    };
    return mounts_main(argc, argv, "failing_disk", true, tests);
}
