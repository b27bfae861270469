/* SPDX-License-Identifier: Apache-2.0 */
/* What the store does by itself while it is in trouble, and what it tells of it, by a clock that the
 * test moves. */
#include "../../../engine/local/local.h"
#include "../../../engine/stats.h"
#include "../../lib/crash_disk.h"
#include "../../lib/manual_time.h"
#include "../../lib/test.h"

enum { VALUE_BYTES_MAX = 8192, SEGMENT_BYTES = 1 << 20, TICK_MS = 1000, EVENTS = 64 };

struct fixture {
    struct crash_disk *crash;
    struct manual_time time;
    struct engine *engine;
    uint64_t memory_bytes_max, interval_ms, segment_bytes;
    unsigned files_used_again;
    unsigned events[EVENTS];
};

static void on_event(void *context, const struct engine_event *event)
{
    struct fixture *fixture = context;
    fixture->events[event->name]++;
}

static void open_store(struct fixture *fixture)
{
    struct engine_options options = engine_options_default();
    struct failure failure = {0};
    options.url = "file:";
    options.key_bytes_max = 64;
    options.meta_bytes_max = 64;
    options.batch_operations_max = 2;
    options.value_bytes_max = VALUE_BYTES_MAX;
    options.memory_bytes_max = fixture->memory_bytes_max;
    options.memtable_bytes = 512 << 10;
    options.durability_interval_ms = fixture->interval_ms;
    options.journal_segment_bytes = fixture->segment_bytes;
    options.reserve_bytes = options.ballast_bytes = options.changes_bytes_max = 0;
    options.time = &fixture->time.source;
    options.on_event = on_event;
    options.on_event_context = fixture;
    if (local_open(&options, crash_disk_attach(fixture->crash), false, &fixture->engine,
                   &failure) != STATUS_OK)
        fail_msg("%s", failure.message);
}

static void begin(struct fixture *fixture, uint64_t memory_bytes_max, uint64_t interval_ms)
{
    *fixture = (struct fixture){.crash = crash_disk_open(),
                                .memory_bytes_max = memory_bytes_max,
                                .interval_ms = interval_ms,
                                .segment_bytes = SEGMENT_BYTES};
    manual_time_init(&fixture->time);
    open_store(fixture);
}

static void end(struct fixture *fixture)
{
    engine_close(fixture->engine);
    crash_disk_close(fixture->crash);
}

static void pass(struct fixture *fixture, uint64_t ms)
{
    manual_time_advance_ms(&fixture->time, ms);
    local_housekeep(fixture->engine);
}

static struct engine_health health(struct fixture *fixture)
{
    struct engine_health health;
    engine_health(fixture->engine, &health);
    return health;
}

static enum status put(struct fixture *fixture, const char *key, size_t size)
{
    struct engine_operation operation = {.type = ENGINE_PUT, .key = bytes_of(key)};
    struct engine_context patience = {UINT64_MAX, NULL};
    enum status status = engine_value_open(fixture->engine, operation.key, (struct bytes){NULL, 0},
                                           size, &operation.value);
    if (status != STATUS_OK)
        return status;
    memset(operation.value->data, 'v', size);
    operation.value->size = size;
    status = engine_commit(fixture->engine, &operation, 1, &patience);
    engine_value_close(fixture->engine, operation.value);
    return status;
}

static bool is_there(struct fixture *fixture, const char *key)
{
    struct engine_item item = {0};
    enum status status = engine_get(fixture->engine, bytes_of(key), &item);
    engine_item_done(&item);
    assert_true(status == STATUS_OK || status == STATUS_NOT_FOUND);
    return status == STATUS_OK;
}

static enum status delete_key(struct fixture *fixture, const char *key)
{
    struct engine_operation operation = {.type = ENGINE_DELETE, .key = bytes_of(key)};
    struct engine_context patience = {UINT64_MAX, NULL};
    return engine_commit(fixture->engine, &operation, 1, &patience);
}

/* ---- full memory ---- */

enum { BETWEEN = 200 }; /* operations: fewer than fill the memtables that may wait for a dump */

static const char *name_of(unsigned number)
{
    static char name[64];
    snprintf(name, sizeof name, "a key that takes some memory: %08u", number);
    return name;
}

/* New keys until one is refused; how many there are then. */
static unsigned fill_index(struct fixture *fixture)
{
    enum status status = STATUS_OK;
    unsigned count = 0;
    while ((status = put(fixture, name_of(count), 10)) == STATUS_OK)
        if (++count % BETWEEN == 0)
            local_housekeep(fixture->engine);
    assert_int_equal(status, STATUS_NO_MEMORY); /* and not BUSY: it does not pass by itself */
    return count;
}

static void delete_keys(struct fixture *fixture, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        assert_int_equal(delete_key(fixture, name_of(i)), STATUS_OK);
        if (i % BETWEEN == 0)
            local_housekeep(fixture->engine);
    }
}

static void keys_that_fill_memory_stop_new_keys_alone(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, 8 << 20, 60000);
    unsigned count = fill_index(&fixture);
    assert_true(count > 20000);
    for (unsigned i = 0; i < 4 * BETWEEN; i++) { /* replaced, and again from a table */
        assert_int_equal(put(&fixture, name_of(i % (2 * BETWEEN)), VALUE_BYTES_MAX / 2), STATUS_OK);
        if (i % (BETWEEN / 10) == 0)
            local_housekeep(fixture.engine);
    }
    for (int i = 0; i < 5; i++)
        pass(&fixture, TICK_MS);
    assert_int_equal(fixture.events[EVENT_MEMORY_FULL], 1);
    assert_int_equal(health(&fixture).writable, STATUS_NO_MEMORY);
    assert_int_equal(put(&fixture, name_of(count), 10), STATUS_NO_MEMORY);
    assert_true(is_there(&fixture, name_of(count - 1)));
    end(&fixture);
}

static void deleted_keys_make_room_for_as_many(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, 8 << 20, 60000);
    unsigned count = fill_index(&fixture);
    for (unsigned from = 0; from < 5 * BETWEEN; from += BETWEEN) {
        delete_keys(&fixture, from, from + BETWEEN);
        pass(&fixture, TICK_MS); /* they are dumped, though the memtable is not full */
        pass(&fixture, TICK_MS);
        for (unsigned i = 0; i < BETWEEN / 2; i++)
            assert_int_equal(put(&fixture, name_of(count++), 10), STATUS_OK);
    }
    assert_int_equal(fixture.events[EVENT_MEMORY_OK], 0); /* it is full all the time, or nearly */
    delete_keys(&fixture, 5 * BETWEEN, count / 2);
    pass(&fixture, TICK_MS);
    pass(&fixture, TICK_MS);
    assert_int_equal(health(&fixture).writable, STATUS_OK);
    assert_int_equal(fixture.events[EVENT_MEMORY_FULL], 1);
    assert_int_equal(fixture.events[EVENT_MEMORY_OK], 1);
    assert_true(is_there(&fixture, name_of(count - 1)));
    end(&fixture);
}

static void a_start_with_less_memory_than_the_keys_take_keeps_all(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, 16 << 20, 60000);
    for (unsigned i = 0; i < 60000; i++) {
        assert_int_equal(put(&fixture, name_of(i), 10), STATUS_OK);
        if (i % BETWEEN == 0)
            local_housekeep(fixture.engine);
    }
    engine_close(fixture.engine);
    fixture.memory_bytes_max = 8 << 20;
    open_store(&fixture);
    pass(&fixture, TICK_MS);
    assert_int_equal(fixture.events[EVENT_MEMORY_FULL], 1);
    for (unsigned i = 0; i < 60000; i++)
        assert_true(is_there(&fixture, name_of(i)));
    assert_int_equal(put(&fixture, "new", 10), STATUS_NO_MEMORY);
    assert_int_equal(put(&fixture, name_of(7), 10), STATUS_OK);
    end(&fixture);
}

/* ---- the journal's files ---- */

static void watch_files(void *context)
{
    struct fixture *fixture = context;
    struct crash_last last = crash_disk_last(fixture->crash);
    fixture->files_used_again +=
        last.operation == CRASH_RENAME && strncmp(last.to, "spare-", strlen("spare-")) == 0;
}

/* A file has whole blocks, also where the size that was asked for has not. */
static void files_of_any_size_are_used_again(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture, 64 << 20, 0);
    engine_close(fixture.engine);
    fixture.segment_bytes = SEGMENT_BYTES + 1;
    open_store(&fixture);
    crash_disk_watch(fixture.crash, watch_files, &fixture);
    for (unsigned i = 0; fixture.files_used_again < 3; i++) {
        assert_true(i < 1000);
        assert_int_equal(put(&fixture, name_of(i % 10), VALUE_BYTES_MAX), STATUS_OK);
        pass(&fixture, TICK_MS);
    }
    crash_disk_watch(fixture.crash, NULL, NULL);
    end(&fixture);
}

/* ---- a journal that fails ---- */

/* The next sync fails, and its writer is told. */
static enum status put_and_fail(struct fixture *fixture, const char *key)
{
    crash_disk_fail(fixture->crash, (struct crash_fault){CRASH_SYNC, 1, false, STATUS_IO});
    enum status status = put(fixture, key, 100);
    assert_true(crash_disk_failed(fixture->crash));
    crash_disk_fail(fixture->crash, (struct crash_fault){0});
    return status;
}

static void begin_failing(struct fixture *fixture)
{
    begin(fixture, 64 << 20, 0);
    pass(fixture, TICK_MS);
    assert_int_equal(put(fixture, "before", 100), STATUS_OK);
    assert_int_equal(put_and_fail(fixture, "first"), STATUS_UNAVAILABLE);
    assert_false(is_there(fixture, "first"));
    assert_int_equal(fixture->events[EVENT_JOURNAL_UNSEALED], 1);
}

static void a_journal_that_fails_twice_within_a_minute_is_given_up(void **state)
{
    (void)state;
    struct fixture fixture;
    uint64_t id;
    begin_failing(&fixture);
    pass(&fixture, 59000);
    assert_int_equal(put(&fixture, "between", 100), STATUS_OK);
    assert_int_equal(put_and_fail(&fixture, "second"), STATUS_UNKNOWN);
    assert_int_equal(fixture.events[EVENT_READ_ONLY], 1);
    assert_int_equal(health(&fixture).state, ENGINE_READ_ONLY);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(put(&fixture, "more", 100), STATUS_READ_ONLY);
        assert_int_equal(delete_key(&fixture, "before"), STATUS_READ_ONLY);
        assert_int_equal(engine_compact(fixture.engine, &id), STATUS_READ_ONLY);
        pass(&fixture, 61000);
    }
    assert_true(is_there(&fixture, "before") && is_there(&fixture, "between"));
    assert_int_equal(fixture.events[EVENT_READ_ONLY], 1);
    engine_close(fixture.engine);
    open_store(&fixture); /* the way out */
    assert_true(is_there(&fixture, "before") && is_there(&fixture, "between"));
    assert_int_equal(put(&fixture, "more", 100), STATUS_OK);
    end(&fixture);
}

static void a_journal_that_fails_once_a_minute_goes_on(void **state)
{
    (void)state;
    struct fixture fixture;
    begin_failing(&fixture);
    for (unsigned i = 2; i < 6; i++) {
        pass(&fixture, 60000);
        assert_int_equal(put_and_fail(&fixture, "again"), STATUS_UNAVAILABLE);
        assert_int_equal(fixture.events[EVENT_JOURNAL_UNSEALED], i);
        assert_int_equal(put(&fixture, name_of(i), 100), STATUS_OK);
    }
    assert_int_equal(fixture.events[EVENT_READ_ONLY], 0);
    engine_close(fixture.engine);
    open_store(&fixture);
    assert_true(is_there(&fixture, name_of(2)) && is_there(&fixture, name_of(5)));
    assert_false(is_there(&fixture, "first") || is_there(&fixture, "again"));
    end(&fixture);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("keys that fill memory stop new keys alone",
             keys_that_fill_memory_stop_new_keys_alone),
        TEST("deleted keys make room for as many", deleted_keys_make_room_for_as_many),
        TEST("a start with less memory than the keys take keeps all",
             a_start_with_less_memory_than_the_keys_take_keeps_all),
        TEST("the journal's files are used again, whatever size was asked for",
             files_of_any_size_are_used_again),
        TEST("a journal that fails twice within a minute is given up",
             a_journal_that_fails_twice_within_a_minute_is_given_up),
        TEST("a journal that fails once a minute goes on",
             a_journal_that_fails_once_a_minute_goes_on),
    };
    return test_main(argc, argv, "maintenance", tests);
}
