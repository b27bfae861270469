/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readers and writers on one keymap, and a thread that buries deleted keys as a dump does: their
 * entries die and come back as new ones while they are read and written. A version or an entry freed
 * too early is a sanitizer's find; a version that goes back in time, or belongs to another key, is
 * ours. Readers come and go, so that epoch records change hands; the keymap starts empty and loses
 * keys all the time, so that its slot arrays grow and are rebuilt beneath the readers.
 */
#include <stdatomic.h>
#include <stdio.h>

#include "../../engine/local/keymap.h"
#include "../../engine/local/pin.h"
#include "../lib/test.h"
#include "../lib/threads.h"

enum { KEYS = 20000, WRITERS = 2, WRITES = 60000, READERS = 3, READS_PER_LIFE = 5000 };

struct version {
    struct retired retired;
    struct pin pin; /* of the burier */
    uint64_t key, generation;
    bool deleted;
    uint64_t check; /* overwritten before it is freed */
};

/* An entry on its way out. */
struct dead_entry {
    struct retired retired;
    struct entry *entry;
};

static struct {
    struct budget budget;
    struct reclaim *reclaim;
    struct entry_pool *pool;
    struct keymap *keymap;
    atomic_int writers_left;
    _Atomic uint64_t made, freed, found, buried;
    _Atomic(struct version *) deleted[KEYS]; /* pinned, for the burier */
} shared;

static uint64_t check_of(const struct version *version)
{
    return (version->key * 31 + version->generation) * 31 + version->deleted + 1;
}

static void free_version(struct version *version)
{
    version->check = 0;
    free(version);
    atomic_fetch_add(&shared.freed, 1);
}

static void release_version(struct retired *retired)
{
    struct version *version = (struct version *)retired;
    if (pin_retire(&version->pin))
        free_version(version);
}

static void unpin_version(struct version *version)
{
    if (version != NULL && pin_drop(&version->pin))
        free_version(version);
}

static struct bytes key_of(char text[32], uint64_t number)
{
    return (struct bytes){text, (size_t)snprintf(text, 32, "%llu", (unsigned long long)number)};
}

static void write_one(uint64_t number, uint64_t generation, bool deleted)
{
    char text[32];
    struct bytes key = key_of(text, number);
    uint64_t hash = keymap_hash(shared.keymap, key), before;
    struct version *version = calloc(1, sizeof *version);
    *version = (struct version){
        .retired = {.release = release_version, .bytes = sizeof *version},
        .key = number,
        .generation = generation,
        .deleted = deleted,
    };
    version->check = check_of(version);
    atomic_fetch_add(&shared.made, 1);
    if (deleted)
        pin_take(&version->pin);
    struct entry *spare = entry_pool_take(shared.pool, key);
    THREAD_ASSERT(keymap_reserve(shared.keymap, hash) == STATUS_OK);
    if (keymap_put(shared.keymap, hash, key, spare, (uint64_t)(uintptr_t)version, &before) != spare)
        entry_pool_give(shared.pool, spare);
    if (before != 0)
        reclaim_retire(shared.reclaim, (struct retired *)(uintptr_t)before);
    if (deleted)
        unpin_version(atomic_exchange(&shared.deleted[number], version));
}

static void release_entry(struct retired *retired)
{
    struct dead_entry *dead = (struct dead_entry *)retired;
    entry_pool_give(shared.pool, dead->entry);
    free(dead);
}

/* Removes the key if it is still deleted. */
static void bury(struct version *version)
{
    char text[32];
    struct bytes key = key_of(text, version->key);
    struct entry *entry = keymap_remove(shared.keymap, keymap_hash(shared.keymap, key), key,
                                        (uint64_t)(uintptr_t)version);
    if (entry == NULL)
        return;
    struct dead_entry *dead = malloc(sizeof *dead);
    *dead = (struct dead_entry){{.release = release_entry, .bytes = 32}, entry};
    reclaim_retire(shared.reclaim, &dead->retired);
    reclaim_retire(shared.reclaim, &version->retired);
    atomic_fetch_add(&shared.buried, 1);
}

static void bury_all(void)
{
    for (size_t i = 0; i < KEYS; i++) {
        struct version *version = atomic_exchange(&shared.deleted[i], NULL);
        if (version != NULL)
            bury(version);
        unpin_version(version);
    }
}

static void *bury_keys(void *context)
{
    (void)context;
    while (atomic_load(&shared.writers_left) > 0)
        bury_all();
    return NULL;
}

/* Each writer has its own keys: number % WRITERS. */
static void *write_keys(void *context)
{
    uint64_t writer = (uint64_t)(uintptr_t)context, state = writer + 1;
    /* until enough was buried under writers, however late the burier's thread was let run */
    for (uint64_t i = 1; i <= WRITES || atomic_load(&shared.buried) <= KEYS; i++) {
        uint64_t number = threads_random(&state) % (KEYS / WRITERS) * WRITERS + writer;
        write_one(number, i, threads_random(&state) % 2 == 0);
    }
    atomic_fetch_sub(&shared.writers_left, 1);
    return NULL;
}

static void read_one(uint64_t number, uint64_t *last_generation)
{
    char text[32];
    struct bytes key = key_of(text, number);
    uint64_t hash = keymap_hash(shared.keymap, key);
    reclaim_enter(shared.reclaim);
    const struct entry *entry = keymap_find(shared.keymap, hash, key);
    if (entry != NULL) {
        const struct version *version = (const struct version *)(uintptr_t)atomic_load_explicit(
            &entry->place, memory_order_acquire);
        THREAD_ASSERT(version->check == check_of(version));
        THREAD_ASSERT(version->key == number);
        THREAD_ASSERT(version->generation >= *last_generation);
        *last_generation = version->generation;
        atomic_fetch_add_explicit(&shared.found, !version->deleted, memory_order_relaxed);
    }
    reclaim_leave(shared.reclaim);
}

struct reader {
    uint64_t state;
    uint64_t last_generations[KEYS];
};

static void *read_keys(void *context)
{
    struct reader *reader = context;
    for (int i = 0; i < READS_PER_LIFE; i++) {
        uint64_t number = threads_random(&reader->state) % KEYS;
        read_one(number, &reader->last_generations[number]);
    }
    return NULL;
}

/* One thread after the other, with the same memory of what it saw. */
static void *live_many_lives(void *context)
{
    while (atomic_load(&shared.writers_left) > 0) {
        struct threads life = {.count = 0};
        threads_start(&life, read_keys, context);
        threads_join(&life);
    }
    return NULL;
}

static void check_all_is_there(void)
{
    uint64_t found_keys = 0;
    for (uint64_t number = 0; number < KEYS; number++) {
        char text[32];
        struct bytes key = key_of(text, number);
        const struct entry *entry =
            keymap_find(shared.keymap, keymap_hash(shared.keymap, key), key);
        if (entry == NULL)
            continue;
        found_keys++;
        struct version *version = (struct version *)(uintptr_t)atomic_load(&entry->place);
        assert_int_equal(version->key, number);
        assert_false(version->deleted);
        release_version(&version->retired);
    }
    assert_int_equal(found_keys, keymap_count(shared.keymap));
}

static void readers_never_see_what_was_freed(void **state)
{
    (void)state;
    shared.budget.limit = UINT64_MAX;
    assert_int_equal(reclaim_open(true, &shared.reclaim), STATUS_OK);
    assert_int_equal(entry_pool_open(&shared.budget, &shared.pool), STATUS_OK);
    assert_int_equal(keymap_open(shared.reclaim, &shared.budget, &shared.keymap), STATUS_OK);
    atomic_store(&shared.writers_left, WRITERS);
    struct threads threads = {.count = 0};
    static struct reader readers[READERS];
    for (uint64_t i = 0; i < WRITERS; i++)
        threads_start(&threads, write_keys, (void *)(uintptr_t)i);
    for (uint64_t i = 0; i < READERS; i++) {
        readers[i].state = i + 100;
        threads_start(&threads, live_many_lives, &readers[i]);
    }
    threads_start(&threads, bury_keys, NULL);
    threads_join(&threads);
    assert_true(shared.found > 0);
    bury_all();
    assert_true(shared.buried > KEYS);
    reclaim_run(shared.reclaim);
    check_all_is_there();
    reclaim_close(shared.reclaim);
    assert_int_equal(shared.freed, shared.made);
    keymap_close(shared.keymap);
    entry_pool_close(shared.pool);
    assert_int_equal(budget_used(&shared.budget), 0);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("readers never see what was freed", readers_never_see_what_was_freed),
    };
    return test_main(argc, argv, "index", tests);
}
