/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writers, deleters and readers over memtables so small that dumps and compactions never cease: each
 * writer owns its keys and knows what must be in them; others read them meanwhile. Then everything
 * is audited, killed, started again, audited again.
 */
#include <sched.h>
#include <stdatomic.h>

#include "../lib/audit.h"
#include "../lib/test.h"
#include "../lib/threads.h"

enum { WRITERS = 4, KEYS = 40, COMMITS = 900, BATCH = 4, READERS = 2, ROUNDS = 2 };

/* What a writer knows of one of its keys. The value says it too: number of the write, then fill. */
struct key_state {
    uint64_t write; /* 0: absent */
    size_t size;
    struct engine_version version;
    _Atomic uint64_t answered; /* the newest write answered: a reader finds it or a later one */
};

struct writer {
    uint64_t index, random, writes;
    struct key_state keys[KEYS];
};

static struct {
    struct parts parts;
    struct writer writers[WRITERS];
    atomic_int writers_left;
    _Atomic uint64_t reads;
} shared;

static struct bytes key_of(char text[64], uint64_t writer, uint64_t number)
{
    /* All writers' keys lie in between each other's. */
    return (struct bytes){text, (size_t)snprintf(text, 64, "key %02u of writer %u",
                                                 (unsigned)number, (unsigned)writer)};
}

/* ---- writing ---- */

/* Most are small; some are read by a call instead of the mapping; some stand alone in memory. */
static size_t some_size(struct writer *writer)
{
    uint64_t dice = threads_random(&writer->random) % 40;
    size_t most = dice == 0 ? 200000 : dice < 4 ? 30000 : 400;
    return sizeof(uint64_t) + threads_random(&writer->random) % most;
}

static struct engine_operation put_operation(struct writer *writer, struct bytes key,
                                             struct key_state *wanted)
{
    wanted->write = ++writer->writes;
    wanted->size = some_size(writer);
    struct engine_operation put =
        parts_put_operation(&shared.parts, key, wanted->size, (int)(wanted->write % 251));
    memcpy(put.value->data, &wanted->write, sizeof wanted->write);
    return put;
}

/* Some ask for the version that is there, so that the leader has to read it from a table. */
static void set_condition(struct writer *writer, struct engine_operation *operation,
                          struct engine_condition *condition, const struct key_state *key)
{
    if (key->write == 0 || threads_random(&writer->random) % 4 != 0)
        return;
    *condition = (struct engine_condition){
        .kind = ENGINE_IF_ONE_OF, .versions = &key->version, .version_count = 1};
    operation->conditions = condition;
    operation->condition_count = 1;
}

static enum engine_outcome expected_outcome(const struct engine_operation *operation,
                                            const struct key_state *key)
{
    if (operation->type == ENGINE_PUT)
        return key->write != 0 ? ENGINE_REPLACED : ENGINE_CREATED;
    return key->write != 0 ? ENGINE_DELETED : ENGINE_ABSENT;
}

/* Takes over what an answered operation did. */
static void learn(const struct engine_operation *operation, const struct key_state *wanted,
                  struct key_state *key)
{
    THREAD_ASSERT(operation->outcome == expected_outcome(operation, key));
    key->write = wanted->write;
    key->size = wanted->size;
    key->version = operation->version;
    if (wanted->write != 0)
        atomic_store(&key->answered, wanted->write);
}

/* One commit of one to BATCH operations on different keys of this writer. */
static void commit_some(struct writer *writer)
{
    struct engine_operation operations[BATCH];
    struct engine_condition conditions[BATCH];
    struct key_state wanted[BATCH] = {{0}};
    uint64_t numbers[BATCH];
    char texts[BATCH][64];
    uint32_t count = 1 + (uint32_t)(threads_random(&writer->random) % BATCH);
    uint64_t first = threads_random(&writer->random) % KEYS;
    for (uint32_t i = 0; i < count; i++) {
        numbers[i] = (first + i * 7) % KEYS;
        struct bytes key = key_of(texts[i], writer->index, numbers[i]);
        if (threads_random(&writer->random) % 8 < 5)
            operations[i] = put_operation(writer, key, &wanted[i]);
        else
            operations[i] = (struct engine_operation){.type = ENGINE_DELETE, .key = key};
        set_condition(writer, &operations[i], &conditions[i], &writer->keys[numbers[i]]);
    }
    THREAD_ASSERT(parts_commit(&shared.parts, operations, count, NULL) == STATUS_OK);
    for (uint32_t i = 0; i < count; i++)
        learn(&operations[i], &wanted[i], &writer->keys[numbers[i]]);
}

/* ---- reading ---- */

static uint64_t check_item(const struct engine_item *item)
{
    uint64_t write;
    const unsigned char *bytes = item->value.data;
    THREAD_ASSERT(item->value.size >= sizeof write);
    memcpy(&write, bytes, sizeof write);
    for (size_t i = sizeof write; i < item->value.size; i++)
        THREAD_ASSERT(bytes[i] == write % 251);
    return write;
}

static void check_own_key(struct writer *writer, uint64_t number)
{
    const struct key_state *key = &writer->keys[number];
    char text[64];
    struct engine_item item;
    enum status status =
        store_get(&shared.parts.store, key_of(text, writer->index, number), true, &item);
    THREAD_ASSERT(status == (key->write != 0 ? STATUS_OK : STATUS_NOT_FOUND));
    if (status != STATUS_OK)
        return;
    THREAD_ASSERT(item.value.size == key->size);
    THREAD_ASSERT(item.version.sequence == key->version.sequence);
    THREAD_ASSERT(check_item(&item) == key->write);
    engine_item_done(&item);
}

static void *write_and_check(void *context)
{
    struct writer *writer = context;
    for (int i = 0; i < COMMITS; i++) {
        commit_some(writer);
        check_own_key(writer, threads_random(&writer->random) % KEYS);
    }
    atomic_fetch_sub(&shared.writers_left, 1);
    return NULL;
}

/* Others' keys: whole values, never older than one answered before the read began. */
static void *read_others(void *context)
{
    uint64_t random = (uint64_t)(uintptr_t)context + 1000;
    while (atomic_load(&shared.writers_left) > 0) {
        uint64_t writer = threads_random(&random) % WRITERS;
        uint64_t number = threads_random(&random) % KEYS;
        uint64_t answered = atomic_load(&shared.writers[writer].keys[number].answered);
        char text[64];
        struct engine_item item;
        enum status status =
            store_get(&shared.parts.store, key_of(text, writer, number), true, &item);
        THREAD_ASSERT(status == STATUS_OK || status == STATUS_NOT_FOUND);
        if (status != STATUS_OK)
            continue;
        THREAD_ASSERT(check_item(&item) >= answered);
        engine_item_done(&item);
        atomic_fetch_add(&shared.reads, 1);
    }
    return NULL;
}

/* ---- rewriting ---- */

/* One after the other: whatever has anything dead in it, again and again. */
static void *keep_compacting(void *context)
{
    struct engine_context patience = parts_patience();
    (void)context;
    while (atomic_load(&shared.writers_left) > 0) {
        uint64_t id = 0;
        if (compactor_start(shared.parts.compactor, &id) == STATUS_OK)
            THREAD_ASSERT(compactor_wait(shared.parts.compactor, id, &patience) == STATUS_OK);
        sched_yield();
    }
    return NULL;
}

/* ---- rounds ---- */

static void work_in_threads(void)
{
    struct threads threads = {.count = 0};
    atomic_store(&shared.writers_left, WRITERS);
    threads_start(&threads, keep_compacting, NULL);
    for (uint64_t i = 0; i < WRITERS; i++)
        threads_start(&threads, write_and_check, &shared.writers[i]);
    for (uint64_t i = 0; i < READERS; i++)
        threads_start(&threads, read_others, (void *)(uintptr_t)i);
    threads_join(&threads);
}

/* Nothing is frozen any more, and nothing is left to be rewritten. */
static void wait_for_quiet(void)
{
    struct engine_context patience = parts_patience();
    struct engine_compaction row = {0};
    while (parts_memtable_count(&shared.parts) > 1)
        sched_yield();
    while (row.state != ENGINE_COMPACTION_NOTHING) {
        uint64_t id = 0;
        enum status status = compactor_start(shared.parts.compactor, &id);
        assert_true(status == STATUS_OK || status == STATUS_RUNNING);
        assert_int_equal(compactor_wait(shared.parts.compactor, id, &patience), STATUS_OK);
        compactor_history(shared.parts.compactor, &row, 1);
    }
}

static void check_everything(void)
{
    uint64_t present = 0;
    for (uint64_t i = 0; i < WRITERS; i++)
        for (uint64_t number = 0; number < KEYS; number++) {
            check_own_key(&shared.writers[i], number);
            present += shared.writers[i].keys[number].write != 0;
        }
    assert_int_equal(shared.parts.store.keys, present);
    audit(&shared.parts);
}

static void restart(void)
{
    struct failure failure = {0};
    parts_stop(&shared.parts);
    if (parts_recover(&shared.parts, &failure) != STATUS_OK)
        fail_msg("%s", failure.message);
    /* In interval mode a store that was not closed takes a new one. */
    for (uint64_t i = 0; i < WRITERS; i++)
        for (uint64_t number = 0; number < KEYS; number++)
            shared.writers[i].keys[number].version.epoch = shared.parts.store.epoch;
}

static void keys_stay_right(bool lazy)
{
    memset(&shared, 0, sizeof shared);
    for (uint64_t i = 0; i < WRITERS; i++)
        shared.writers[i] = (struct writer){.index = i, .random = i + 1};
    parts_open(&shared.parts, &(struct parts_options){.lazy = lazy,
                                                      .memtable_bytes = 300 << 10,
                                                      .segment_bytes = 4 << 20,
                                                      .output_bytes_max = 500 << 10,
                                                      .load_threads = 2,
                                                      .with_compactor = true});
    for (int round = 0; round < ROUNDS; round++) {
        work_in_threads();
        wait_for_quiet();
        assert_true(stats_read(shared.parts.stats, STATS_dumps) > 20);
        assert_true(stats_read(shared.parts.stats, STATS_compactions) > 5);
        assert_int_equal(stats_read(shared.parts.stats, STATS_compaction_bugs), 0);
        assert_int_equal(stats_read(shared.parts.stats, STATS_compaction_failures), 0);
        check_everything();
        restart();
        wait_for_quiet();
        check_everything();
    }
    assert_true(shared.reads > 0);
    parts_close(&shared.parts);
}

static void keys_stay_right_over_tables(void **state)
{
    (void)state;
    keys_stay_right(false);
}

static void keys_stay_right_over_tables_in_interval_mode(void **state)
{
    (void)state;
    keys_stay_right(true);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("keys stay right over tables", keys_stay_right_over_tables),
        TEST("keys stay right over tables in interval mode",
             keys_stay_right_over_tables_in_interval_mode),
    };
    return test_main(argc, argv, "tables", tests);
}
