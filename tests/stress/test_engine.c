/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole engine through its face, with segments so small that they change all the time, and with
 * memtables so small that they are dumped and compacted all the time: writers that own their keys
 * and know what must be in them, readers beside them, restarts in between.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "../../engine/engine.h"
#include "../../engine/stats.h"
#include "../lib/test.h"
#include "../lib/threads.h"

enum { WRITERS = 4, KEYS = 40, ROUNDS = 3, COMMITS = 250, BATCH = 4, READERS = 2 };
enum { MEMTABLE_SMALL = 1 << 20, MEMTABLE_LARGE = 1 << 30 };
enum { MEMORY_SMALL = 6 << 20, CLOSES = 25 };
#define MEMORY_LARGE (UINT64_C(2) << 30)

/* What a writer knows of one of its keys. The value says it too: number of the write, then fill. */
struct key_state {
    uint64_t write; /* 0: absent */
    size_t size;
    uint64_t sequence;
    _Atomic uint64_t
        answered; /* the newest write that was answered: readers see it or a later one */
};

struct writer {
    uint64_t index, state, writes;
    struct key_state keys[KEYS];
};

static struct {
    struct engine *engine;
    struct writer writers[WRITERS];
    _Atomic uint64_t applied;
    atomic_int writers_left;
    _Atomic uint64_t reads;
} shared;

static struct bytes key_of(char text[32], uint64_t writer, uint64_t number)
{
    return (struct bytes){
        text, (size_t)snprintf(text, 32, "writer %u key %u", (unsigned)writer, (unsigned)number)};
}

static struct engine_context patience(void)
{
    const struct time_source *time = time_source_system();
    return (struct engine_context){time->monotonic_ns(time) + UINT64_C(60000000000), NULL};
}

/* ---- writing ---- */

static size_t some_size(struct writer *writer)
{
    uint64_t dice = threads_random(&writer->state);
    size_t most = dice % 10 == 0 ? 70000 : dice % 5 == 0 ? 20000 : 300;
    return sizeof(uint64_t) + threads_random(&writer->state) % most;
}

static struct engine_operation put_operation(struct writer *writer, struct bytes key,
                                             struct key_state *wanted)
{
    *wanted = (struct key_state){.write = ++writer->writes, .size = some_size(writer)};
    struct engine_value *value;
    enum status status =
        engine_value_open(shared.engine, key, (struct bytes){"meta", 4}, wanted->size, &value);
    THREAD_ASSERT(status == STATUS_OK);
    memset(value->data, (int)(wanted->write % 251), wanted->size);
    memcpy(value->data, &wanted->write, sizeof wanted->write);
    value->size = wanted->size;
    return (struct engine_operation){.type = ENGINE_PUT, .key = key, .value = value};
}

static enum engine_outcome expected_outcome(const struct engine_operation *operation, bool present)
{
    if (operation->type == ENGINE_PUT)
        return present ? ENGINE_REPLACED : ENGINE_CREATED;
    if (operation->type == ENGINE_DELETE)
        return present ? ENGINE_DELETED : ENGINE_ABSENT;
    return ENGINE_CHECKED;
}

/* Takes over what an answered operation did. */
static void learn(const struct engine_operation *operation, const struct key_state *wanted,
                  struct key_state *key)
{
    bool present = key->write != 0;
    THREAD_ASSERT(operation->outcome == expected_outcome(operation, present));
    bool applied = operation->type == ENGINE_PUT || (operation->type == ENGINE_DELETE && present);
    if (!applied) {
        THREAD_ASSERT(operation->version.sequence == key->sequence);
        return;
    }
    THREAD_ASSERT(operation->version.sequence > key->sequence);
    key->write = wanted->write;
    key->size = wanted->size;
    key->sequence = operation->type == ENGINE_PUT ? operation->version.sequence : 0;
    if (wanted->write != 0)
        atomic_store(&key->answered, wanted->write);
    atomic_fetch_add(&shared.applied, 1);
}

/* One commit of one to BATCH operations on different keys of this writer. */
static void commit_some(struct writer *writer)
{
    struct engine_operation operations[BATCH];
    struct key_state wanted[BATCH] = {{0}};
    uint64_t numbers[BATCH];
    char texts[BATCH][32];
    uint32_t count = 1 + (uint32_t)(threads_random(&writer->state) % BATCH);
    uint64_t first = threads_random(&writer->state) % KEYS;
    for (uint32_t i = 0; i < count; i++) {
        numbers[i] = (first + i * 7) % KEYS;
        struct bytes key = key_of(texts[i], writer->index, numbers[i]);
        uint64_t dice = threads_random(&writer->state) % 8;
        if (dice < 5)
            operations[i] = put_operation(writer, key, &wanted[i]);
        else
            operations[i] = (struct engine_operation){
                .type = dice < 7 ? ENGINE_DELETE : ENGINE_CHECK, .key = key};
    }
    struct engine_context context = patience();
    enum status status = engine_commit(shared.engine, operations, count, &context);
    THREAD_ASSERT(status == STATUS_OK);
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
    THREAD_ASSERT(bytes_equal(item->meta, (struct bytes){"meta", 4}));
    return write;
}

static void check_own_key(struct writer *writer, uint64_t number)
{
    const struct key_state *key = &writer->keys[number];
    char text[32];
    struct engine_item item;
    enum status status = engine_get(shared.engine, key_of(text, writer->index, number), &item);
    THREAD_ASSERT(status == (key->write != 0 ? STATUS_OK : STATUS_NOT_FOUND));
    if (status != STATUS_OK)
        return;
    THREAD_ASSERT(item.version.sequence == key->sequence);
    THREAD_ASSERT(item.value.size == key->size);
    THREAD_ASSERT(check_item(&item) == key->write);
    engine_item_done(&item);
}

static void *write_and_check(void *context)
{
    struct writer *writer = context;
    for (int i = 0; i < COMMITS; i++) {
        commit_some(writer);
        check_own_key(writer, threads_random(&writer->state) % KEYS);
    }
    atomic_fetch_sub(&shared.writers_left, 1);
    return NULL;
}

/* Others' keys: whole values, never older than one answered before the read began. */
static void *read_others(void *context)
{
    uint64_t state = (uint64_t)(uintptr_t)context + 1000;
    while (atomic_load(&shared.writers_left) > 0) {
        uint64_t writer = threads_random(&state) % WRITERS, number = threads_random(&state) % KEYS;
        uint64_t answered = atomic_load(&shared.writers[writer].keys[number].answered);
        char text[32];
        struct bytes key = key_of(text, writer, number);
        struct engine_item item;
        enum status status = threads_random(&state) % 4 == 0
                                 ? engine_head(shared.engine, key, &item)
                                 : engine_get(shared.engine, key, &item);
        THREAD_ASSERT(status == STATUS_OK || status == STATUS_NOT_FOUND);
        if (status == STATUS_OK && item.value.data != NULL)
            THREAD_ASSERT(check_item(&item) >= answered);
        if (status == STATUS_OK)
            engine_item_done(&item);
        atomic_fetch_add(&shared.reads, 1);
    }
    return NULL;
}

/* One compaction after the other, as fast as they go. */
static void *compact_all_the_time(void *context)
{
    (void)context;
    while (atomic_load(&shared.writers_left) > 0) {
        uint64_t id;
        struct engine_context context_of_wait = patience();
        enum status status = engine_compact(shared.engine, &id);
        THREAD_ASSERT(status == STATUS_OK || status == STATUS_RUNNING);
        THREAD_ASSERT(engine_compaction_wait(shared.engine, id, &context_of_wait) == STATUS_OK);
        usleep(1000);
    }
    return NULL;
}

static void check_compactions(void)
{
    struct engine_compaction rows[ENGINE_COMPACTIONS_KEPT];
    size_t count;
    assert_int_equal(engine_compactions(shared.engine, rows, COUNT_OF(rows), &count), STATUS_OK);
    for (size_t i = 0; i < count; i++)
        assert_int_not_equal(rows[i].state, ENGINE_COMPACTION_FAILED);
}

/* ---- restarts ---- */

static void open_engine(const char *path, uint64_t interval_ms, uint64_t memtable_bytes,
                        uint64_t memory_bytes)
{
    char url[300];
    snprintf(url, sizeof url, "file:%s", path);
    struct engine_options options = engine_options_default();
    options.url = url;
    options.durability_interval_ms = interval_ms;
    options.key_bytes_max = 64;
    options.meta_bytes_max = 64;
    options.batch_operations_max = BATCH;
    options.value_bytes_max = 300 << 10; /* of a whole batch: the segment need not hold more */
    options.journal_segment_bytes = 1;
    options.reserve_bytes = 0;
    options.memory_bytes_max = memory_bytes;
    options.memtable_bytes = memtable_bytes;
    struct failure failure = {0};
    if (engine_open(&options, &shared.engine, &failure) != STATUS_OK)
        fail_msg("%s", failure.message);
    struct engine_health health;
    for (engine_health(shared.engine, &health); health.state == ENGINE_LOADING;
         engine_health(shared.engine, &health))
        usleep(1000);
    if (health.state != ENGINE_READY)
        fail_msg("%s", health.reason);
    assert_int_equal(health.sequence, shared.applied); /* gapless: one for each that was applied */
}

static void check_everything(void)
{
    uint64_t present = 0;
    for (uint64_t i = 0; i < WRITERS; i++)
        for (uint64_t number = 0; number < KEYS; number++) {
            check_own_key(&shared.writers[i], number);
            present += shared.writers[i].keys[number].write != 0;
        }
    assert_int_equal(stats_read(engine_stats(shared.engine), STATS_keys), present);
}

static void write_from_many_threads(void)
{
    struct threads threads = {.count = 0};
    atomic_store(&shared.writers_left, WRITERS);
    for (uint64_t i = 0; i < WRITERS; i++)
        threads_start(&threads, write_and_check, &shared.writers[i]);
    for (uint64_t i = 0; i < READERS; i++)
        threads_start(&threads, read_others, (void *)(uintptr_t)i);
    threads_start(&threads, compact_all_the_time, NULL);
    threads_join(&threads);
    check_compactions();
}

static void answers_stay_true(uint64_t interval_ms, uint64_t memtable_bytes)
{
    memset(&shared, 0, sizeof shared);
    for (uint64_t i = 0; i < WRITERS; i++) {
        shared.writers[i].index = i;
        shared.writers[i].state = i + 1;
    }
    char *path = test_directory_make();
    uint64_t dumps = 0, compactions = 0;
    for (int round = 0; round < ROUNDS; round++) {
        open_engine(path, interval_ms, memtable_bytes, MEMORY_LARGE);
        check_everything();
        write_from_many_threads();
        check_everything();
        dumps += stats_read(engine_stats(shared.engine), STATS_dumps);
        compactions += stats_read(engine_stats(shared.engine), STATS_compactions);
        engine_close(shared.engine);
    }
    open_engine(path, interval_ms, memtable_bytes, MEMORY_LARGE);
    check_everything();
    engine_close(shared.engine);
    assert_true(shared.reads > 0);
    assert_true((dumps > 0) == (memtable_bytes < MEMTABLE_LARGE));
    assert_true((compactions > 0) == (memtable_bytes < MEMTABLE_LARGE));
    test_directory_remove(path);
}

static void answers_stay_true_over_restarts(void **state)
{
    (void)state;
    answers_stay_true(0, MEMTABLE_LARGE);
}

static void answers_stay_true_in_interval_mode(void **state)
{
    (void)state;
    answers_stay_true(5, MEMTABLE_LARGE);
}

static void answers_stay_true_while_memory_is_outgrown(void **state)
{
    (void)state;
    answers_stay_true(0, MEMTABLE_SMALL);
}

static void answers_stay_true_while_memory_is_outgrown_lazily(void **state)
{
    (void)state;
    answers_stay_true(5, MEMTABLE_SMALL);
}

/* Housekeeping wakes the dump when memory gets scarce, just when either of them ends or begins. */
static void closes_while_memory_is_being_freed(void **state)
{
    (void)state;
    memset(&shared, 0, sizeof shared);
    char *path = test_directory_make();
    struct writer *writer = &shared.writers[0];
    for (int round = 0; round < CLOSES; round++) {
        open_engine(path, 0, MEMORY_SMALL, MEMORY_SMALL);
        enum status status = STATUS_OK;
        for (int i = 0; i < 40 && status == STATUS_OK; i++) {
            char text[32];
            struct bytes key = key_of(text, 0, (uint64_t)i);
            struct engine_value *value;
            status = engine_value_open(shared.engine, key, (struct bytes){0}, 200 << 10, &value);
            if (status != STATUS_OK)
                break;
            value->size = 200 << 10;
            memset(value->data, (int)(++writer->writes % 251), value->size);
            struct engine_operation put = {.type = ENGINE_PUT, .key = key, .value = value};
            struct engine_context context = patience();
            status = engine_commit(shared.engine, &put, 1, &context);
            if (status != STATUS_OK)
                engine_value_close(shared.engine, value);
            else
                shared.applied++;
        }
        assert_true(status == STATUS_OK || status == STATUS_BUSY);
        engine_close(shared.engine);
    }
    test_directory_remove(path);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("answers stay true over restarts", answers_stay_true_over_restarts),
        TEST("answers stay true in interval mode", answers_stay_true_in_interval_mode),
        TEST("answers stay true while memory is outgrown",
             answers_stay_true_while_memory_is_outgrown),
        TEST("answers stay true while memory is outgrown in interval mode",
             answers_stay_true_while_memory_is_outgrown_lazily),
        TEST("closes while memory is being freed", closes_while_memory_is_being_freed),
    };
    return test_main(argc, argv, "engine", tests);
}
