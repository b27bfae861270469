/* SPDX-License-Identifier: Apache-2.0 */
/* Key -> entry, alone; with readers beside it in tests/stress/test_index.c. */
#include <pthread.h>

#include "../../../engine/local/keymap.h"
#include "../../lib/test.h"

struct fixture {
    struct budget budget;
    struct reclaim *reclaim;
    struct entry_pool *pool;
    struct keymap *keymap;
};

static void begin(struct fixture *fixture)
{
    *fixture = (struct fixture){.budget = {.limit = UINT64_MAX}};
    assert_int_equal(reclaim_open(false, &fixture->reclaim), STATUS_OK);
    assert_int_equal(entry_pool_open(&fixture->budget, &fixture->pool), STATUS_OK);
    assert_int_equal(keymap_open(fixture->reclaim, &fixture->budget, &fixture->keymap), STATUS_OK);
}

static void end(struct fixture *fixture)
{
    reclaim_close(fixture->reclaim);
    keymap_close(fixture->keymap);
    entry_pool_close(fixture->pool);
    assert_int_equal(budget_used(&fixture->budget), 0);
}

/* Puts under a hash of the caller's choice; returns the place before. */
static uint64_t put_hashed(struct fixture *fixture, uint64_t hash, struct bytes key, uint64_t place)
{
    uint64_t before = UINT64_MAX;
    struct entry *spare = entry_pool_take(fixture->pool, key);
    assert_int_equal(keymap_reserve(fixture->keymap, hash), STATUS_OK);
    struct entry *entry = keymap_put(fixture->keymap, hash, key, spare, place, &before);
    assert_true(bytes_equal(entry_key(entry), key));
    if (entry != spare)
        entry_pool_give(fixture->pool, spare);
    return before;
}

static uint64_t put(struct fixture *fixture, struct bytes key, uint64_t place)
{
    return put_hashed(fixture, keymap_hash(fixture->keymap, key), key, place);
}

/* The place of `key`, 0 when it has no entry. */
static uint64_t place_of_hashed(struct fixture *fixture, uint64_t hash, struct bytes key)
{
    reclaim_enter(fixture->reclaim);
    struct entry *entry = keymap_find(fixture->keymap, hash, key);
    uint64_t place = entry != NULL ? atomic_load(&entry->place) : 0;
    reclaim_leave(fixture->reclaim);
    return place;
}

static uint64_t place_of(struct fixture *fixture, struct bytes key)
{
    return place_of_hashed(fixture, keymap_hash(fixture->keymap, key), key);
}

static struct bytes numbered(char text[32], uint64_t number)
{
    return (struct bytes){text,
                          (size_t)snprintf(text, 32, "key %010llu", (unsigned long long)number)};
}

static void finds_what_was_put_and_nothing_else(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    assert_int_equal(place_of(&fixture, bytes_of("a")), 0);
    assert_int_equal(put(&fixture, bytes_of("a"), 8), 0);
    assert_int_equal(place_of(&fixture, bytes_of("a")), 8);
    assert_int_equal(place_of(&fixture, bytes_of("b")), 0);
    assert_int_equal(place_of(&fixture, (struct bytes){"a\0", 2}), 0);
    end(&fixture);
}

static void a_second_put_tells_the_place_before(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    put(&fixture, bytes_of("a"), 8);
    assert_int_equal(put(&fixture, bytes_of("a"), 16), 8);
    assert_int_equal(put(&fixture, bytes_of("a"), 24), 16);
    assert_int_equal(place_of(&fixture, bytes_of("a")), 24);
    assert_int_equal(keymap_count(fixture.keymap), 1);
    end(&fixture);
}

static void a_known_key_needs_no_spare(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    struct bytes key = bytes_of("a");
    put(&fixture, key, 8);
    uint64_t before;
    uint64_t hash = keymap_hash(fixture.keymap, key);
    assert_non_null(keymap_put(fixture.keymap, hash, key, NULL, 16, &before));
    assert_int_equal(before, 8);
    end(&fixture);
}

static void keys_of_one_hash_stay_apart(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    char text[32];
    uint64_t hash = keymap_hash(fixture.keymap, bytes_of("any"));
    for (uint64_t i = 1; i <= 16; i++)
        assert_int_equal(put_hashed(&fixture, hash, numbered(text, i), i * 8), 0);
    for (uint64_t i = 1; i <= 16; i++)
        assert_int_equal(place_of_hashed(&fixture, hash, numbered(text, i)), i * 8);
    assert_int_equal(place_of_hashed(&fixture, hash, numbered(text, 17)), 0);
    end(&fixture);
}

static void grows_and_loses_nothing(void **state)
{
    (void)state;
    enum { KEYS = 100000 };
    struct fixture fixture;
    begin(&fixture);
    char text[32];
    uint64_t empty = keymap_bytes(fixture.keymap);
    for (uint64_t i = 1; i <= KEYS; i++)
        assert_int_equal(put(&fixture, numbered(text, i), i * 8), 0);
    for (uint64_t i = 1; i <= KEYS; i++)
        assert_int_equal(place_of(&fixture, numbered(text, i)), i * 8);
    for (uint64_t i = KEYS + 1; i <= 2 * KEYS; i++)
        assert_int_equal(place_of(&fixture, numbered(text, i)), 0);
    assert_int_equal(keymap_count(fixture.keymap), KEYS);
    assert_true(reclaim_bytes(fixture.reclaim) > 0); /* readers may still walk the old arrays */
    reclaim_run(fixture.reclaim);
    assert_int_equal(reclaim_bytes(fixture.reclaim), 0);
    uint64_t bytes = keymap_bytes(fixture.keymap);
    assert_true(bytes > empty);
    assert_true(bytes >= KEYS * 16 && bytes <= KEYS * 34); /* a quarter to a half full */
    end(&fixture);
}

static void room_is_kept_for_what_is_reserved(void **state)
{
    (void)state;
    enum { KEYS = 20000 };
    struct fixture fixture;
    begin(&fixture);
    char text[32];
    for (uint64_t i = 0; i < KEYS; i++)
        assert_int_equal(
            keymap_reserve(fixture.keymap, keymap_hash(fixture.keymap, numbered(text, i))),
            STATUS_OK);
    uint64_t bytes = keymap_bytes(fixture.keymap);
    for (uint64_t i = 0; i < KEYS; i++) {
        struct bytes key = numbered(text, i);
        uint64_t before;
        keymap_put(fixture.keymap, keymap_hash(fixture.keymap, key), key,
                   entry_pool_take(fixture.pool, key), 8, &before);
    }
    assert_int_equal(keymap_bytes(fixture.keymap), bytes); /* no growth when it must not fail */
    end(&fixture);
}

static void a_reservation_is_used_up_or_given_back(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    struct bytes key = bytes_of("a");
    uint64_t hash = keymap_hash(fixture.keymap, key);
    uint64_t bytes = keymap_bytes(fixture.keymap);
    for (uint64_t i = 0; i < 1000; i++) {
        put(&fixture, key, 8); /* from the second on the key is known, and the spare not used */
        assert_int_equal(keymap_reserve(fixture.keymap, hash), STATUS_OK);
        keymap_unreserve(fixture.keymap, hash);
    }
    assert_int_equal(keymap_bytes(fixture.keymap), bytes);
    end(&fixture);
}

/* ---- removal ---- */

static bool remove_key(struct fixture *fixture, struct bytes key, uint64_t place)
{
    uint64_t hash = keymap_hash(fixture->keymap, key);
    struct entry *entry = keymap_remove(fixture->keymap, hash, key, place);
    reclaim_run(fixture->reclaim);
    entry_pool_give(fixture->pool, entry);
    return entry != NULL;
}

static void a_key_is_removed_only_from_the_place_that_was_meant(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    assert_false(remove_key(&fixture, bytes_of("a"), 8));
    put(&fixture, bytes_of("a"), 8);
    put(&fixture, bytes_of("a"), 16);
    assert_false(remove_key(&fixture, bytes_of("a"), 8)); /* a newer version has come */
    assert_int_equal(place_of(&fixture, bytes_of("a")), 16);
    assert_true(remove_key(&fixture, bytes_of("a"), 16));
    assert_int_equal(place_of(&fixture, bytes_of("a")), 0);
    assert_int_equal(keymap_count(fixture.keymap), 0);
    assert_int_equal(put(&fixture, bytes_of("a"), 24), 0); /* as a new key */
    assert_int_equal(place_of(&fixture, bytes_of("a")), 24);
    end(&fixture);
}

static void keys_that_come_and_go_do_not_make_it_grow(void **state)
{
    (void)state;
    enum { LIVE = 3000, ROUNDS = 200000 };
    struct fixture fixture;
    begin(&fixture);
    char text[32];
    for (uint64_t i = 0; i < LIVE; i++)
        put(&fixture, numbered(text, i), 8);
    reclaim_run(fixture.reclaim);
    uint64_t bytes = keymap_bytes(fixture.keymap), entries = entry_pool_bytes(fixture.pool);
    for (uint64_t i = LIVE; i < ROUNDS; i++) {
        assert_true(remove_key(&fixture, numbered(text, i - LIVE), 8));
        assert_int_equal(put(&fixture, numbered(text, i), 8), 0);
    }
    for (uint64_t i = ROUNDS - LIVE; i < ROUNDS; i++)
        assert_int_equal(place_of(&fixture, numbered(text, i)), 8);
    assert_int_equal(keymap_count(fixture.keymap), LIVE);
    reclaim_run(fixture.reclaim);
    assert_true(keymap_bytes(fixture.keymap) <= bytes * 2); /* a shard may be fuller for a while */
    assert_true(entry_pool_bytes(fixture.pool) <= entries * 2);
    end(&fixture);
}

static void expected_keys_find_their_room_made(void **state)
{
    (void)state;
    enum { KEYS = 50000 };
    struct fixture fixture;
    begin(&fixture);
    char text[32];
    put(&fixture, bytes_of("before"), 8);
    assert_int_equal(keymap_expect(fixture.keymap, KEYS), STATUS_OK);
    reclaim_run(fixture.reclaim);
    uint64_t bytes = keymap_bytes(fixture.keymap);
    for (uint64_t i = 0; i < KEYS; i++)
        put(&fixture, numbered(text, i), 16);
    assert_int_equal(place_of(&fixture, bytes_of("before")), 8);
    reclaim_run(fixture.reclaim);
    assert_true(keymap_bytes(fixture.keymap) <= bytes + bytes / 4); /* shards differ a little */
    end(&fixture);
}

/* ---- many at once ---- */

/* New keys of one shard, from the `*number`-th on. */
static void add(struct fixture *fixture, uint64_t *number, size_t count)
{
    struct keymap_addition *additions = calloc(count, sizeof *additions);
    unsigned shard = 0;
    char text[32];
    for (size_t i = 0; i < count; ++*number) {
        struct bytes key = numbered(text, *number);
        uint64_t hash = keymap_hash(fixture->keymap, key);
        if (i > 0 && keymap_shard(hash) != shard)
            continue;
        shard = keymap_shard(hash);
        struct entry *entry = entry_pool_take(fixture->pool, key);
        atomic_store(&entry->place, *number * 8);
        additions[i++] = (struct keymap_addition){hash, entry};
    }
    assert_int_equal(keymap_add(fixture->keymap, additions, count), STATUS_OK);
    for (size_t i = 0; i < count; i++) {
        struct entry *entry = additions[i].entry;
        assert_int_equal(place_of_hashed(fixture, additions[i].hash, entry_key(entry)),
                         entry_place(entry));
    }
    free(additions);
}

static void what_is_added_at_once_is_found(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    char text[32];
    uint64_t number = 1, added = 0;
    put(&fixture, bytes_of("before"), 8);
    for (size_t count = 1; count <= 256; added += count, count *= 2)
        add(&fixture, &number, count); /* the last ones make their shard grow */
    assert_int_equal(keymap_count(fixture.keymap), added + 1);
    assert_int_equal(place_of(&fixture, bytes_of("before")), 8);
    for (uint64_t i = number; i < number + 1000; i++)
        assert_int_equal(place_of(&fixture, numbered(text, i)), 0);
    end(&fixture);
}

static void what_is_added_leaves_the_reserved_room(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    struct bytes key = bytes_of("reserved");
    uint64_t hash = keymap_hash(fixture.keymap, key), before, number = 0;
    char text[32];
    while (keymap_shard(keymap_hash(fixture.keymap, numbered(text, number))) != keymap_shard(hash))
        number++;
    for (int i = 0; i < 20; i++)
        assert_int_equal(keymap_reserve(fixture.keymap, hash), STATUS_OK);
    uint64_t bytes = keymap_bytes(fixture.keymap);
    add(&fixture, &number, 20); /* 40 of 64 slots would be more than half */
    assert_true(keymap_bytes(fixture.keymap) > bytes);
    bytes = keymap_bytes(fixture.keymap);
    keymap_put(fixture.keymap, hash, key, entry_pool_take(fixture.pool, key), 8, &before);
    assert_int_equal(keymap_bytes(fixture.keymap), bytes);
    end(&fixture);
}

/* ---- keys that ck_hs finds no slot for, though half of the slots are free ---- */

enum { SLOTS = 64, LINE_SLOTS = 8, LINES_FILLED = 3 };

static uint64_t shard_of(uint64_t hash)
{
    return hash >> 40 & 0xff;
}

/* Bits that make a probe stay within three cache lines of a shard with 64 slots. */
static bool probes_three_lines(uint64_t hash)
{
    return (hash >> 6 & 0x1fff) == 0x1fff && hash % LINE_SLOTS < 3;
}

static struct bytes find_key(struct fixture *fixture, char text[32], uint64_t *number, bool lines,
                             uint64_t shard, uint64_t line)
{
    for (;; (*number)++) {
        struct bytes key = numbered(text, *number);
        uint64_t hash = keymap_hash(fixture->keymap, key);
        bool found = lines ? probes_three_lines(hash)
                           : shard_of(hash) == shard && hash % SLOTS / LINE_SLOTS == line &&
                                 !probes_three_lines(hash);
        if (found)
            return key;
    }
}

static void *put_in_a_thread_of_its_own(void *context)
{
    struct fixture *fixture = context;
    char text[32];
    uint64_t number = 0, before;
    struct bytes key = find_key(fixture, text, &number, true, 0, 0);
    keymap_put(fixture->keymap, keymap_hash(fixture->keymap, key), key,
               entry_pool_take(fixture->pool, key), 8, &before);
    return NULL;
}

static void a_key_without_a_free_slot_makes_the_shard_grow(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    char text[32], other[32];
    uint64_t number = 0;
    struct bytes key = find_key(&fixture, text, &number, true, 0, 0);
    uint64_t hash = keymap_hash(fixture.keymap, key), next = 0;
    for (uint64_t i = 0; i < LINES_FILLED; i++)
        for (int j = 0; j < LINE_SLOTS; j++, next++)
            put(&fixture,
                find_key(&fixture, other, &next, false, shard_of(hash),
                         (hash % SLOTS / LINE_SLOTS + i) % (SLOTS / LINE_SLOTS)),
                16);
    uint64_t bytes = keymap_bytes(fixture.keymap);
    assert_int_equal(keymap_reserve(fixture.keymap, hash), STATUS_OK);
    pthread_t thread; /* one that never grew a shard before */
    assert_int_equal(pthread_create(&thread, NULL, put_in_a_thread_of_its_own, &fixture), 0);
    pthread_join(thread, NULL);
    assert_true(keymap_bytes(fixture.keymap) > bytes); /* else this tests nothing */
    assert_int_equal(place_of(&fixture, key), 8);
    for (uint64_t i = UINT32_MAX; i < UINT32_MAX + UINT64_C(100000);
         i++) /* it goes on growing from its new size */
        put(&fixture, numbered(text, i), 24);
    assert_int_equal(keymap_count(fixture.keymap), LINES_FILLED * LINE_SLOTS + 1 + 100000);
    end(&fixture);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("finds what was put and nothing else", finds_what_was_put_and_nothing_else),
        TEST("a second put tells the place before", a_second_put_tells_the_place_before),
        TEST("a known key needs no spare", a_known_key_needs_no_spare),
        TEST("keys of one hash stay apart", keys_of_one_hash_stay_apart),
        TEST("grows and loses nothing", grows_and_loses_nothing),
        TEST("room is kept for what is reserved", room_is_kept_for_what_is_reserved),
        TEST("a reservation is used up or given back", a_reservation_is_used_up_or_given_back),
        TEST("a key is removed only from the place that was meant",
             a_key_is_removed_only_from_the_place_that_was_meant),
        TEST("keys that come and go do not make it grow",
             keys_that_come_and_go_do_not_make_it_grow),
        TEST("expected keys find their room made", expected_keys_find_their_room_made),
        TEST("what is added at once is found", what_is_added_at_once_is_found),
        TEST("what is added leaves the reserved room", what_is_added_leaves_the_reserved_room),
        TEST("a key without a free slot makes the shard grow",
             a_key_without_a_free_slot_makes_the_shard_grow),
    };
    return test_main(argc, argv, "keymap", tests);
}
