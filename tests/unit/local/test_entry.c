/* SPDX-License-Identifier: Apache-2.0 */
/* One key in memory, and the pool that entries come from. */
#include "../../../engine/local/entry.h"
#include "../../../engine/scope.h"
#include "../../lib/test.h"

struct fixture {
    struct budget budget;
    struct entry_pool *pool;
};

static void begin(struct fixture *fixture)
{
    *fixture = (struct fixture){.budget = {.limit = UINT64_MAX}};
    assert_int_equal(entry_pool_open(&fixture->budget, &fixture->pool), STATUS_OK);
}

static void end(struct fixture *fixture)
{
    entry_pool_close(fixture->pool);
    assert_int_equal(budget_used(&fixture->budget), 0);
}

static void keeps_the_key_and_has_no_place(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    struct entry *entry = entry_pool_take(fixture.pool, bytes_of("a key"));
    assert_true(bytes_equal(entry_key(entry), bytes_of("a key")));
    assert_int_equal(entry_place(entry), 0);
    assert_int_equal(entry->record_bytes, 0);
    assert_int_equal(entry->flags, 0);
    end(&fixture);
}

static void costs_fifteen_bytes_beside_the_key(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    enum { COUNT = 100000 };
    for (int i = 0; i < COUNT; i++)
        assert_non_null(entry_pool_take(fixture.pool, bytes_of("seventeen bytes..")));
    uint64_t bytes = entry_pool_bytes(fixture.pool);
    assert_true(bytes >= COUNT * 32); /* 15 + 17, no padding, no header */
    assert_true(bytes < COUNT * 32 + COUNT * 32 / 8);
    assert_int_equal(budget_used(&fixture.budget), bytes);
    end(&fixture);
}

static void many_of_one_length_cost_hardly_more(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    enum { COUNT = 1000000 };
    for (int i = 0; i < COUNT; i++) {
        char key[18];
        snprintf(key, sizeof key, "%017d", i);
        struct entry *entry = entry_pool_take(fixture.pool, bytes_of(key));
        assert_non_null(entry);
        assert_true(bytes_equal(entry_key(entry), bytes_of(key)));
        if (i % 3 == 0)
            entry_pool_give(fixture.pool, entry);
    }
    uint64_t bytes = entry_pool_bytes(fixture.pool);
    assert_true(bytes < COUNT / 3 * 2 * 32 + COUNT / 3 * 2 * 32 / 8);
    assert_int_equal(budget_used(&fixture.budget), bytes);
    end(&fixture);
}

static void a_store_of_few_keys_stays_small(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    assert_non_null(entry_pool_take(fixture.pool, bytes_of("key")));
    assert_true(entry_pool_bytes(fixture.pool) <= 4096);
    end(&fixture);
}

static void what_is_given_back_is_used_again(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    struct entry *first = entry_pool_take(fixture.pool, bytes_of("a"));
    struct entry *second = entry_pool_take(fixture.pool, bytes_of("b"));
    atomic_store(&first->place, 77);
    entry_pool_give(fixture.pool, first);
    entry_pool_give(fixture.pool, second);
    entry_pool_give(fixture.pool, NULL);
    uint64_t bytes = entry_pool_bytes(fixture.pool);
    for (int i = 0; i < 10000; i++) {
        struct entry *entry = entry_pool_take(fixture.pool, bytes_of("c"));
        assert_true(bytes_equal(entry_key(entry), bytes_of("c")));
        assert_int_equal(entry_place(entry), 0);
        entry_pool_give(fixture.pool, entry);
    }
    assert_int_equal(entry_pool_bytes(fixture.pool), bytes);
    end(&fixture);
}

static void what_is_idle_is_taken_without_more_memory(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    struct bytes key = bytes_of("a key");
    assert_null(entry_pool_take_idle(fixture.pool, key));
    assert_int_equal(entry_pool_bytes(fixture.pool), 0);
    struct entry *first = entry_pool_take(fixture.pool, key);
    uint64_t bytes = entry_pool_bytes(fixture.pool);
    size_t count = 1;
    while (entry_pool_take_idle(fixture.pool, key) != NULL)
        count++;
    assert_true(count > 100);
    assert_null(entry_pool_take_idle(fixture.pool, bytes_of("a key of another length")));
    assert_int_equal(entry_pool_idle_bytes(fixture.pool), 0);
    entry_pool_give(fixture.pool, first);
    assert_int_equal(entry_pool_idle_bytes(fixture.pool), 24);
    assert_ptr_equal(entry_pool_take_idle(fixture.pool, key), first);
    assert_null(entry_pool_take_idle(fixture.pool, key));
    assert_int_equal(entry_pool_idle_bytes(fixture.pool), 0);
    assert_int_equal(entry_pool_bytes(fixture.pool), bytes);
    end(&fixture);
}

static void keys_of_every_length_fit(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    static unsigned char key[UINT16_MAX];
    memset(key, 'k', sizeof key);
    static struct entry *entries[UINT16_MAX + 1];
    size_t step = 1;
    for (size_t size = 1; size <= sizeof key; size += step) {
        entries[size] = entry_pool_take(fixture.pool, (struct bytes){key, size});
        assert_int_equal((uintptr_t)entries[size] % sizeof(uint64_t), 0);
        step = size < 2000 || size > sizeof key - 20 ? 1 : 511;
        if (size + step > sizeof key && size < sizeof key)
            step = 1;
    }
    for (size_t size = 1; size <= sizeof key; size++)
        if (entries[size] != NULL)
            assert_true(bytes_equal(entry_key(entries[size]), (struct bytes){key, size}));
    assert_non_null(entries[sizeof key]);
    end(&fixture);
}

/* Keys from 1 to 2000 bytes, by turns from two cutters and the pool. */
static void cutters_and_pool_do_not_share_an_entry(void **state)
{
    (void)state;
    enum { COUNT = 30000, KEY_BYTES_MAX = 2000 };
    struct fixture fixture;
    begin(&fixture);
    static unsigned char keys[3][KEY_BYTES_MAX];
    static struct entry *entries[COUNT];
    struct entry_cutter cutters[2];
    for (size_t i = 0; i < 2; i++)
        entry_cutter_init(&cutters[i], fixture.pool);
    for (size_t i = 0; i < 3; i++)
        memset(keys[i], 'a' + (int)i, KEY_BYTES_MAX);
    for (size_t i = 0; i < COUNT; i++) {
        struct bytes key = {keys[i % 3], 1 + (i % 7 == 0 ? i % KEY_BYTES_MAX : i % 40)};
        entries[i] = i % 3 == 2 ? entry_pool_take(fixture.pool, key)
                                : entry_cutter_take(&cutters[i % 3], key);
        assert_non_null(entries[i]);
        assert_int_equal(entry_place(entries[i]), 0);
        atomic_store(&entries[i]->place, i);
    }
    for (size_t i = 0; i < COUNT; i++) {
        assert_int_equal(entry_place(entries[i]), i);
        assert_true(
            bytes_equal(entry_key(entries[i]), (struct bytes){keys[i % 3], entries[i]->key_bytes}));
    }
    for (size_t i = 0; i < 2; i++)
        entry_cutter_done(&cutters[i]);
    end(&fixture);
}

static void what_a_cutter_did_not_use_is_the_pools_again(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    struct entry_cutter cutter;
    entry_cutter_init(&cutter, fixture.pool);
    struct entry *taken = entry_cutter_take(&cutter, bytes_of("a key"));
    assert_int_equal(entry_pool_idle_bytes(fixture.pool), 0);
    entry_cutter_done(&cutter);
    uint64_t idle = entry_pool_idle_bytes(fixture.pool), bytes = entry_pool_bytes(fixture.pool);
    assert_true(idle > 0 && idle % 24 == 0);
    size_t count = 1;
    for (struct entry *entry; (entry = entry_pool_take_idle(fixture.pool, bytes_of("a key")));)
        count += entry != taken;
    assert_true(count >= bytes / 24 - 1); /* all of the slab but its head */
    assert_int_equal(entry_pool_idle_bytes(fixture.pool), 0);
    assert_int_equal(entry_pool_bytes(fixture.pool), bytes);
    assert_true(bytes_equal(entry_key(taken), bytes_of("a key")));
    end(&fixture);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("keeps the key and has no place", keeps_the_key_and_has_no_place),
        TEST("costs fifteen bytes beside the key", costs_fifteen_bytes_beside_the_key),
        TEST("many of one length cost hardly more", many_of_one_length_cost_hardly_more),
        TEST("a store of few keys stays small", a_store_of_few_keys_stays_small),
        TEST("what is given back is used again", what_is_given_back_is_used_again),
        TEST("what is idle is taken without more memory",
             what_is_idle_is_taken_without_more_memory),
        TEST("keys of every length fit", keys_of_every_length_fit),
        TEST("cutters and pool do not share an entry", cutters_and_pool_do_not_share_an_entry),
        TEST("what a cutter did not use is the pool's again",
             what_a_cutter_did_not_use_is_the_pools_again),
    };
    return test_main(argc, argv, "entry", tests);
}
