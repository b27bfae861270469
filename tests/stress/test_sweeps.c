/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writers whose keys live for a moment or for ever, while time runs, and sweeps, dumps and compactions
 * never cease: a key that was written for ever is there until its writer says otherwise, and in the
 * end all others are gone.
 */
#include <sched.h>

#include "../lib/audit.h"
#include "../lib/test.h"
#include "../lib/threads.h"
#include "../lib/wall_time.h"

enum { WRITERS = 4, KEYS = 30, COMMITS = 1500, SHORT_MS_MAX = 20 };

struct writer {
    uint64_t index, random;
    bool stays[KEYS];
};

static struct {
    struct wall_time time;
    struct parts parts;
    struct writer writers[WRITERS];
    _Atomic uint64_t next_writer;
    atomic_int writers_left;
} shared;

static const char *name_of(char text[64], const struct writer *writer, uint64_t key)
{
    snprintf(text, 64, "key %02u of writer %u", (unsigned)key, (unsigned)writer->index);
    return text;
}

static void write_one(struct writer *writer)
{
    struct engine_context patience = parts_patience();
    uint64_t key = threads_random(&writer->random) % KEYS;
    uint64_t dice = threads_random(&writer->random);
    char text[64];
    size_t size = dice % 50 == 0 ? 100000 : dice % 300;
    struct engine_operation put =
        parts_put_operation(&shared.parts, bytes_of(name_of(text, writer, key)), size, 'v');
    writer->stays[key] = dice % 3 == 0;
    put.expires_ms = writer->stays[key] ? 0 : shared.time.ms + (int64_t)(dice % SHORT_MS_MAX);
    THREAD_ASSERT(parts_commit(&shared.parts, &put, 1, &patience) == STATUS_OK);
}

static void check_one(struct writer *writer)
{
    uint64_t key = threads_random(&writer->random) % KEYS;
    char text[64];
    if (writer->stays[key])
        THREAD_ASSERT(parts_version(&shared.parts, name_of(text, writer, key)) != 0);
}

static void *write_and_check(void *context)
{
    (void)context;
    struct writer *writer = &shared.writers[atomic_fetch_add(&shared.next_writer, 1)];
    for (int i = 0; i < COMMITS; i++) {
        write_one(writer);
        check_one(writer);
        atomic_fetch_add(&shared.time.ms, 1);
    }
    atomic_fetch_sub(&shared.writers_left, 1);
    return NULL;
}

static void *sweep_always(void *context)
{
    (void)context;
    while (atomic_load(&shared.writers_left) > 0) {
        uint64_t ignored = sweep_run(shared.parts.sweep, true);
        (void)ignored;
        sched_yield();
    }
    return NULL;
}

static void *dump_and_compact_always(void *context)
{
    (void)context;
    while (atomic_load(&shared.writers_left) > 0) {
        enum status status = parts_dump(&shared.parts);
        THREAD_ASSERT(status == STATUS_OK || status == STATUS_BUSY);
        sched_yield();
    }
    return NULL;
}

static uint64_t keys_that_stay(void)
{
    uint64_t count = 0;
    for (int i = 0; i < WRITERS; i++)
        for (int key = 0; key < KEYS; key++)
            count += shared.writers[i].stays[key];
    return count;
}

static void only_what_has_expired_is_deleted(void **state)
{
    (void)state;
    struct threads threads = {0};
    wall_time_init(&shared.time, INT64_C(1700000000000));
    parts_open(&shared.parts, &(struct parts_options){.lazy = true, .time = &shared.time.source});
    shared.writers_left = WRITERS;
    for (uint64_t i = 0; i < WRITERS; i++) {
        shared.writers[i] = (struct writer){.index = i, .random = i + 1};
        threads_start(&threads, write_and_check, NULL);
    }
    threads_start(&threads, sweep_always, NULL);
    threads_start(&threads, dump_and_compact_always, NULL);
    threads_join(&threads);
    shared.time.ms += SHORT_MS_MAX;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(sweep_run(shared.parts.sweep, true), UINT64_MAX);
        assert_int_equal(atomic_load(&shared.parts.store.keys), keys_that_stay());
        assert_int_equal(parts_dump(&shared.parts), STATUS_OK);
        while (parts_compact(&shared.parts, VICTIMS_ALL) == STATUS_OK)
            continue;
    }
    assert_true(stats_read(shared.parts.stats, STATS_expired) > 0);
    audit(&shared.parts);
    parts_close(&shared.parts);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("only what has expired is deleted, and all of it", only_what_has_expired_is_deleted),
    };
    return test_main(argc, argv, "sweeps", tests);
}
