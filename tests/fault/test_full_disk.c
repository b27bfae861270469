/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A real file system of 64 MiB that fills up, by the store itself or by others, in every phase of its
 * life, and has room again. Nothing is restarted unless the test is about starts; no answered write
 * is lost, none is invented.
 */
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "../../engine/stats.h"
#include "../lib/ledger.h"
#include "../lib/mounts.h"
#include "../lib/threads.h"

enum {
    DISK_BYTES = 64 << 20,
    VALUE_BYTES = 60000,
    SEGMENT_BYTES = 1 << 20,
    RESERVE_BYTES = 8 << 20,
    BALLAST_BYTES = 4 << 20,
    WAIT_MS = 4000,
    SOON_MS = 20000, /* for what must happen by itself, on a machine that is busy */
    WRITERS = 4,
    WEATHER_MS = 6000,
};

struct fixture {
    char *root;
    char data[300], filler[300], url[310];
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

static void open_store(struct fixture *fixture)
{
    struct failure failure = {0};
    enum status status = engine_open(&fixture->options, &fixture->engine, &failure);
    if (status != STATUS_OK)
        fail_msg("open: %s: %s", status_text(status), failure.message);
}

static void close_store(struct fixture *fixture)
{
    engine_close(fixture->engine);
    fixture->engine = NULL;
}

static struct engine_health health_of(const struct fixture *fixture)
{
    struct engine_health health;
    engine_health(fixture->engine, &health);
    return health;
}

/* ---- waiting for what must come by itself ---- */

static void wait_for_state(const struct fixture *fixture, enum status writable)
{
    struct engine_health health = health_of(fixture);
    for (int waited = 0; waited < SOON_MS; waited += 10) {
        assert_int_not_equal(health.state, ENGINE_UNUSABLE);
        if (health.state == ENGINE_READY && health.writable == writable)
            return;
        pause_ms(10);
        health = health_of(fixture);
    }
    fail_msg("state %d, writable: %s, wanted: %s (%s)", health.state, status_text(health.writable),
             status_text(writable), health.reason);
}

static void put_until_taken(struct fixture *fixture, unsigned key)
{
    enum status status = STATUS_OK;
    for (int waited = 0; waited < SOON_MS; waited += 10) {
        status = ledger_put(fixture->ledger, fixture->engine, key, VALUE_BYTES, WAIT_MS);
        if (status == STATUS_OK)
            return;
        pause_ms(10);
    }
    fail_msg("no put was taken again: %s", status_text(status));
}

static void reopen(struct fixture *fixture)
{
    close_store(fixture);
    open_store(fixture);
    wait_for_state(fixture, STATUS_OK);
}

static void check(struct fixture *fixture)
{
    const char *wrong = ledger_check(fixture->ledger, fixture->engine);
    if (wrong != NULL)
        fail_msg("%s", wrong);
}

/* ---- one store on one small disk ---- */

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    fixture->root = test_directory_make();
    snprintf(fixture->data, sizeof fixture->data, "%s/data", fixture->root);
    snprintf(fixture->filler, sizeof fixture->filler, "%s/filler", fixture->root);
    snprintf(fixture->url, sizeof fixture->url, "file:%s", fixture->data);
    mounts_tmpfs(fixture->root, DISK_BYTES);
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
    options->reserve_bytes = RESERVE_BYTES;
    options->ballast_bytes = BALLAST_BYTES;
    options->compaction_interval_ms = 200;
    options->on_event = on_event;
    options->on_event_context = fixture;
    open_store(fixture);
    wait_for_state(fixture, STATUS_OK);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    close_store(fixture);
    mounts_end(fixture->root);
    test_directory_remove(fixture->root);
    free(fixture->ledger);
    free(fixture);
    return 0;
}

/* A dump or a compaction under way may make room once more: it is full when a put stays refused. */
static enum status put_patiently(struct fixture *fixture, unsigned key)
{
    enum status status = STATUS_NO_SPACE;
    for (int tries = 0; tries < 10 && status == STATUS_NO_SPACE; tries++) {
        if (tries > 0)
            pause_ms(200);
        status = ledger_put(fixture->ledger, fixture->engine, key, VALUE_BYTES, WAIT_MS);
    }
    return status;
}

/* Puts new keys until one is refused; how many there are then. */
static unsigned fill_store(struct fixture *fixture)
{
    for (unsigned key = 0; key < LEDGER_KEYS; key++) {
        if (fixture->ledger->versions[key].seed != 0)
            continue;
        enum status status = put_patiently(fixture, key);
        if (status == STATUS_NO_SPACE)
            return ledger_present(fixture->ledger);
        if (status != STATUS_OK)
            fail_msg("put %u: %s", key, status_text(status));
    }
    fail_msg("the disk did not become full");
    return 0;
}

/* Deletes every `step`-th key; none may be refused. */
static void delete_keys(struct fixture *fixture, unsigned step)
{
    for (unsigned key = 0; key < LEDGER_KEYS; key += step) {
        if (fixture->ledger->versions[key].seed == 0)
            continue;
        enum status status = ledger_delete(fixture->ledger, fixture->engine, key, WAIT_MS);
        if (status != STATUS_OK)
            fail_msg("delete %u: %s", key, status_text(status));
    }
}

/* ---- the store fills the disk itself ---- */

static void full_by_itself(void **state)
{
    struct fixture *fixture = *state;
    for (int round = 0; round < 3; round++) {
        unsigned keys = fill_store(fixture);
        assert_true(keys * (uint64_t)VALUE_BYTES > DISK_BYTES / 4);
        assert_true(mounts_free_bytes(fixture->root) > 0);
        assert_int_equal(health_of(fixture).writable, STATUS_NO_SPACE);
        check(fixture);
        delete_keys(fixture, 2);
        wait_for_state(fixture, STATUS_OK);
        put_until_taken(fixture, 0);
        check(fixture);
    }
    reopen(fixture);
    check(fixture);
}

static void deleting_everything(void **state)
{
    struct fixture *fixture = *state;
    unsigned keys = fill_store(fixture);
    delete_keys(fixture, 1);
    wait_for_state(fixture, STATUS_OK);
    for (unsigned key = 0; key < keys / 2; key++)
        put_until_taken(fixture, key);
    check(fixture);
    reopen(fixture);
    check(fixture);
}

static void many_deletes(void **state)
{
    struct fixture *fixture = *state;
    for (unsigned key = 0; key < LEDGER_KEYS; key++)
        assert_int_equal(ledger_put(fixture->ledger, fixture->engine, key, 100, WAIT_MS),
                         STATUS_OK);
    mounts_fill(fixture->filler, 5 << 20); /* below the reserve */
    wait_for_state(fixture, STATUS_NO_SPACE);
    /* 2000 deletes take 8 MiB of journal, which is used again meanwhile */
    delete_keys(fixture, 1);
    check(fixture);
    assert_int_equal(unlink(fixture->filler), 0);
    wait_for_state(fixture, STATUS_OK);
    put_until_taken(fixture, 0);
    reopen(fixture);
    check(fixture);
}

/* ---- others fill it ---- */

static void full_by_others(void **state)
{
    struct fixture *fixture = *state;
    struct ledger *ledger = fixture->ledger;
    for (unsigned key = 0; key < 300; key++)
        put_until_taken(fixture, key);
    for (int round = 0; round < 3; round++) {
        mounts_fill(fixture->filler, 0);
        wait_for_state(fixture, STATUS_NO_SPACE);
        assert_int_equal(ledger_put(ledger, fixture->engine, 1000, 1, WAIT_MS), STATUS_NO_SPACE);
        enum status status = STATUS_OK;
        for (unsigned i = 0; i < 2000 && status == STATUS_OK; i++)
            status =
                ledger_delete(ledger, fixture->engine, (i + 300 * (unsigned)round) % 300, WAIT_MS);
        if (status != STATUS_OK)
            assert_int_equal(status, STATUS_NO_SPACE);
        assert_true(ledger->slowest_ns < UINT64_C(2000000) * WAIT_MS);
        check(fixture);
        mounts_fill(fixture->filler, 0); /* the ballast's room, too */
        pause_ms(1500);                  /* so that what is due is tried, and fails */
        check(fixture);
        assert_int_equal(unlink(fixture->filler), 0);
        wait_for_state(fixture, STATUS_OK);
        for (unsigned key = 0; key < 300; key++)
            put_until_taken(fixture, key);
        check(fixture);
    }
    assert_true(fixture->events[EVENT_DISK_FAILURE] < 100);
    reopen(fixture);
    check(fixture);
}

static uint64_t kept_bytes(const struct fixture *fixture)
{
    return stats_read(engine_stats(fixture->engine), STATS_journal_kept);
}

static bool note_sequence(void *visitor, const struct engine_change *change)
{
    uint64_t *last = visitor;
    assert_int_equal(change->version.sequence, *last + 1);
    *last = change->version.sequence;
    return true;
}

/* Follows the feed from as early as it goes to its end. */
static void follow_feed(const struct fixture *fixture)
{
    struct engine_context context = {UINT64_MAX, NULL};
    struct engine_feed feed = {0};
    uint64_t last = 0;
    while (last < health_of(fixture).sequence) {
        uint64_t after = last;
        enum status status =
            engine_changes(fixture->engine, after, note_sequence, &last, &feed, &context);
        if (status == STATUS_GONE && after == 0) {
            last = feed.oldest;
            continue;
        }
        assert_int_equal(status, STATUS_OK);
        assert_int_equal(feed.after, last);
    }
}

/* More is kept than is wanted: the rest stays, and so do the ballast and the puts. */
static void kept_goes_first(void **state)
{
    struct fixture *fixture = *state;
    char ballast[330];
    snprintf(ballast, sizeof ballast, "%s/BALLAST", fixture->data);
    for (unsigned i = 0; i < 400; i++)
        put_until_taken(fixture, i % 100);
    for (int waited = 0; waited < SOON_MS && access(ballast, F_OK) != 0; waited += 10)
        pause_ms(10);
    uint64_t kept = kept_bytes(fixture);
    assert_true(kept > RESERVE_BYTES);
    follow_feed(fixture);
    mounts_fill(fixture->filler, 2 << 20);
    for (int waited = 0; waited < SOON_MS && kept_bytes(fixture) >= kept; waited += 10)
        pause_ms(10); /* a dump under way may keep some more */
    wait_for_state(fixture, STATUS_OK);
    assert_in_range(kept_bytes(fixture), 1, kept - 1);
    assert_int_equal(access(ballast, F_OK), 0);
    put_until_taken(fixture, 0);
    follow_feed(fixture);
    reopen(fixture);
    follow_feed(fixture);
    for (int waited = 0; waited < SOON_MS && kept_bytes(fixture) != 0; waited += 10) {
        mounts_fill(fixture->filler, 0);
        pause_ms(10);
    }
    assert_int_equal(kept_bytes(fixture), 0);
    follow_feed(fixture);
    assert_int_equal(unlink(fixture->filler), 0);
    wait_for_state(fixture, STATUS_OK);
    reopen(fixture);
    follow_feed(fixture);
    check(fixture);
}

/* ---- starts ---- */

static void start_gives_up_kept(void **state)
{
    struct fixture *fixture = *state;
    char ballast[330];
    snprintf(ballast, sizeof ballast, "%s/BALLAST", fixture->data);
    for (unsigned i = 0; i < 400; i++)
        put_until_taken(fixture, i % 100);
    for (int waited = 0; waited < SOON_MS && access(ballast, F_OK) != 0; waited += 10)
        pause_ms(10);
    assert_true(kept_bytes(fixture) > RESERVE_BYTES);
    close_store(fixture);
    mounts_fill(fixture->filler, 0);
    open_store(fixture);
    wait_for_state(fixture, STATUS_OK);
    assert_int_equal(fixture->events[EVENT_NO_JOURNAL], 0);
    assert_int_equal(access(ballast, F_OK), 0);
    follow_feed(fixture);
    check(fixture);
}

static void reopen_full(struct fixture *fixture)
{
    close_store(fixture);
    open_store(fixture);
    wait_for_state(fixture, STATUS_NO_SPACE);
    check(fixture);
}

static void start_without_space(void **state)
{
    struct fixture *fixture = *state;
    struct ledger *ledger = fixture->ledger;
    for (unsigned key = 0; key < 30; key++) /* too few for a ballast */
        put_until_taken(fixture, key);
    mounts_fill(fixture->filler, 0);
    reopen_full(fixture); /* uses up the segment that may be ready */
    for (int round = 0; round < 2; round++) {
        unsigned told = fixture->events[EVENT_NO_JOURNAL];
        mounts_fill(fixture->filler, 0);
        reopen_full(fixture);
        assert_non_null(strstr(health_of(fixture).reason, "no room for a journal segment"));
        assert_int_equal(ledger_put(ledger, fixture->engine, 1000, 1, WAIT_MS), STATUS_NO_SPACE);
        assert_int_equal(ledger_delete(ledger, fixture->engine, 1, WAIT_MS), STATUS_NO_SPACE);
        check(fixture);
        assert_int_equal(fixture->events[EVENT_NO_JOURNAL], told + 1);
    }
    assert_int_equal(unlink(fixture->filler), 0);
    wait_for_state(fixture, STATUS_OK);
    check(fixture);
    assert_int_equal(ledger_delete(ledger, fixture->engine, 1, WAIT_MS), STATUS_OK);
    put_until_taken(fixture, 1000);
    reopen(fixture);
    check(fixture);
}

static void start_with_ballast(void **state)
{
    struct fixture *fixture = *state;
    close_store(fixture);
    fixture->options.changes_bytes_max = 0; /* which would go first */
    open_store(fixture);
    wait_for_state(fixture, STATUS_OK);
    for (unsigned key = 0; key < 300; key++)
        put_until_taken(fixture, key);
    char ballast[330];
    snprintf(ballast, sizeof ballast, "%s/BALLAST", fixture->data);
    for (int waited = 0; waited < SOON_MS && access(ballast, F_OK) != 0; waited += 10)
        pause_ms(10);
    assert_int_equal(access(ballast, F_OK), 0);
    close_store(fixture);
    mounts_fill(fixture->filler, 0);
    open_store(fixture);
    wait_for_state(fixture, STATUS_NO_SPACE);
    assert_int_equal(ledger_delete(fixture->ledger, fixture->engine, 1, WAIT_MS), STATUS_OK);
    assert_int_not_equal(access(ballast, F_OK), 0);
    check(fixture);
    assert_int_equal(unlink(fixture->filler), 0);
    wait_for_state(fixture, STATUS_OK);
    check(fixture);
}

static void too_small(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(fixture->events[EVENT_DISK_SMALL], 0);
    close_store(fixture);
    fixture->options.reserve_bytes = DISK_BYTES;
    open_store(fixture);
    wait_for_state(fixture, STATUS_NO_SPACE);
    assert_int_equal(fixture->events[EVENT_DISK_SMALL], 1);
    close_store(fixture);
    fixture->options.reserve_bytes = RESERVE_BYTES;
    open_store(fixture);
    wait_for_state(fixture, STATUS_OK);
    assert_int_equal(fixture->events[EVENT_DISK_SMALL], 1);
}

/* ---- limits of the process ---- */

static void limit_file_bytes(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void limited_files(void **state)
{
    struct fixture *fixture = *state;
    struct ledger *ledger = fixture->ledger;
    signal(SIGXFSZ, SIG_IGN); /* as the service does */
    limit_file_bytes(SEGMENT_BYTES / 2);
    enum status status = STATUS_OK;
    for (unsigned key = 0; key < LEDGER_KEYS && status == STATUS_OK; key++)
        status = ledger_put(ledger, fixture->engine, key, VALUE_BYTES, WAIT_MS);
    assert_int_equal(status, STATUS_NO_SPACE);
    check(fixture);
    limit_file_bytes(RLIM_INFINITY);
    wait_for_state(fixture, STATUS_OK);
    put_until_taken(fixture, 0);
    check(fixture);
    reopen(fixture);
    check(fixture);
}

/* ---- changing weather ---- */

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
        unsigned key = (unsigned)(random % 150);
        enum status status = random >> 16 & 1 ? ledger_delete(ledger, writer->engine, key, 500)
                                              : ledger_put(ledger, writer->engine, key,
                                                           (uint32_t)(random >> 20 & 0xffff), 500);
        if (status == STATUS_NO_SPACE)
            pause_ms(2);
    }
    return NULL;
}

static void stir_disk(const struct fixture *fixture)
{
    uint64_t random = 7, left = 0;
    for (int passed = 0; passed < WEATHER_MS;) {
        long ms = (long)(threads_random(&random) % 300);
        mounts_fill(fixture->filler, left);
        pause_ms(ms);
        unlink(fixture->filler);
        pause_ms(ms / 2);
        passed += (int)(ms + ms / 2) + 1;
        left = threads_random(&random) % 4 == 0 ? threads_random(&random) % (6 << 20) : 0;
    }
}

static void weather(void **state, uint64_t interval_ms)
{
    struct fixture *fixture = *state;
    struct writer writers[WRITERS];
    atomic_bool stop = false;
    close_store(fixture);
    fixture->options.durability_interval_ms = interval_ms;
    open_store(fixture);
    wait_for_state(fixture, STATUS_OK);
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){0, fixture->engine, ledger_open(i + 1), &stop};
        pthread_create(&writers[i].thread, NULL, write_on, &writers[i]);
    }
    stir_disk(fixture);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_join(writers[i].thread, NULL);
    wait_for_state(fixture, STATUS_OK);
    for (int starts = 0; starts < 2; starts++) {
        for (unsigned i = 0; i < WRITERS; i++) {
            const char *wrong = ledger_check(writers[i].ledger, fixture->engine);
            if (wrong != NULL)
                fail_msg("after %d starts: %s", starts, wrong);
            put_until_taken(fixture, i);
        }
        reopen(fixture);
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        const unsigned *counts = writers[i].ledger->counts;
        print_message("# writer %u: %u ok, %u no space, %u busy, %u unavailable, %u unknown\n", i,
                      counts[STATUS_OK], counts[STATUS_NO_SPACE], counts[STATUS_BUSY],
                      counts[STATUS_UNAVAILABLE], counts[STATUS_UNKNOWN]);
        assert_true(counts[STATUS_OK] > 0 && counts[STATUS_NO_SPACE] > 0);
        free(writers[i].ledger);
    }
}

static void weather_always(void **state)
{
    weather(state, 0);
}

static void weather_interval(void **state)
{
    weather(state, 50);
}

#define DISK_TEST(promise, function)                                                               \
    {                                                                                              \
        promise, function, set_up, tear_down, NULL                                                 \
    }

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        DISK_TEST("a store that fills its disk refuses puts early, and goes on by itself",
                  full_by_itself),
        DISK_TEST("everything can be deleted on a full disk, which makes room",
                  deleting_everything),
        DISK_TEST("more deletes than the reserve would hold go on below it", many_deletes),
        DISK_TEST("a disk that others fill stops only growth, and heals", full_by_others),
        DISK_TEST("what is kept for the feed of changes goes before anything else",
                  kept_goes_first),
        DISK_TEST("a start gives it up before the ballast", start_gives_up_kept),
        DISK_TEST("a start without any space answers reads, then writes", start_without_space),
        DISK_TEST("a start gives up the ballast when there is no other space", start_with_ballast),
        DISK_TEST("settings that ask for more than the disk has are told once", too_small),
        DISK_TEST("a limit on file sizes is a full disk, and is outlived", limited_files),
        DISK_TEST("a disk that fills and empties all the time loses nothing", weather_always),
        DISK_TEST("the same in interval mode", weather_interval),
    };
    return mounts_main(argc, argv, "full_disk", false, tests);
}
