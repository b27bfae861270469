/* SPDX-License-Identifier: Apache-2.0 */
/* Versions of keys as memory knows them: applied, found, replayed. */
#include "../../../engine/local/store.h"
#include "../../../engine/local/value.h"
#include "../../lib/test.h"

/* A clock that stands where the test puts it. */
static int64_t fake_ms;

static uint64_t fake_monotonic_ns(const struct time_source *source)
{
    (void)source;
    return 0;
}

static int64_t fake_wall_ms(const struct time_source *source)
{
    (void)source;
    return fake_ms;
}

static const struct time_source fake_time = {fake_monotonic_ns, fake_wall_ms};

static void begin(struct store *store)
{
    fake_ms = 1000;
    assert_int_equal(store_init(store, 64 << 20, 64 << 20, NULL, &fake_time, false), STATUS_OK);
    store->epoch = 99;
}

/* A sealed record as it lies in the journal. */
static struct record *make(enum record_type type, const char *key, size_t value_bytes,
                           uint64_t sequence, int64_t expires_ms)
{
    struct record *record = calloc(1, record_size(strlen(key), 0, value_bytes));
    record_init(record, type, bytes_of(key), (struct bytes){NULL, 0});
    memset(record->data + strlen(key), (int)('a' + sequence % 26), value_bytes);
    record->expires_ms = expires_ms;
    record_seal_value(record, (uint32_t)value_bytes);
    record_seal_head(record, sequence, 1);
    return record;
}

static void replay(struct store *store, struct record *record)
{
    assert_int_equal(store_replay(store, record), STATUS_OK);
    free(record); /* it was copied */
}

static void check_value(struct store *store, const char *key, uint64_t sequence, size_t size)
{
    struct engine_item item;
    assert_int_equal(store_get(store, bytes_of(key), true, &item), STATUS_OK);
    assert_int_equal(item.version.epoch, 99);
    assert_int_equal(item.version.sequence, sequence);
    assert_int_equal(item.value.size, size);
    for (size_t i = 0; i < size; i++)
        assert_int_equal(((const char *)item.value.data)[i], 'a' + sequence % 26);
    engine_item_done(&item);
}

static void check_absent(struct store *store, const char *key)
{
    struct engine_item item;
    assert_int_equal(store_get(store, bytes_of(key), true, &item), STATUS_NOT_FOUND);
    struct store_current current = {.sequence = 7};
    assert_int_equal(store_current(store, keymap_hash(store->keymap, bytes_of(key)), bytes_of(key),
                                   fake_ms, true, &current),
                     STATUS_OK);
    assert_false(current.present);
    assert_int_equal(current.sequence, 0);
}

static void the_newest_version_counts(void **state)
{
    (void)state;
    struct store store;
    begin(&store);
    check_absent(&store, "a");
    replay(&store, make(RECORD_PUT, "a", 10, 1, 0));
    replay(&store, make(RECORD_PUT, "a", 20, 2, 0));
    replay(&store, make(RECORD_PUT, "b", 0, 3, 0));
    check_value(&store, "a", 2, 20);
    check_value(&store, "b", 3, 0);
    store_done(&store);
}

static void a_deleted_key_is_absent_until_put_again(void **state)
{
    (void)state;
    struct store store;
    begin(&store);
    replay(&store, make(RECORD_PUT, "a", 10, 1, 0));
    replay(&store, make(RECORD_DELETE, "a", 0, 2, 0));
    check_absent(&store, "a");
    replay(&store, make(RECORD_PUT, "a", 10, 3, 0));
    check_value(&store, "a", 3, 10);
    store_done(&store);
}

static void counts_keys_that_have_a_value(void **state)
{
    (void)state;
    struct store store;
    begin(&store);
    replay(&store, make(RECORD_PUT, "a", 1, 1, 0));
    replay(&store, make(RECORD_PUT, "a", 1, 2, 0));
    replay(&store, make(RECORD_PUT, "b", 1, 3, 0));
    assert_int_equal(store.keys, 2);
    replay(&store, make(RECORD_DELETE, "a", 0, 4, 0));
    replay(&store, make(RECORD_DELETE, "c", 0, 5, 0)); /* its put may lie in a table */
    assert_int_equal(store.keys, 1);
    replay(&store, make(RECORD_PUT, "a", 1, 6, 0));
    assert_int_equal(store.keys, 2);
    store_done(&store);
}

static void an_expired_key_is_absent(void **state)
{
    (void)state;
    struct store store;
    begin(&store);
    replay(&store, make(RECORD_PUT, "a", 10, 1, 2000));
    fake_ms = 1999;
    check_value(&store, "a", 1, 10);
    fake_ms = 2000;
    check_absent(&store, "a");
    store_done(&store);
}

static void large_and_small_values_are_replayed(void **state)
{
    (void)state;
    struct store store;
    begin(&store);
    const size_t sizes[] = {0, 1, VALUE_LARGE_BYTES, VALUE_LARGE_BYTES + 1, 3 << 20};
    uint64_t sequence = 0;
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < COUNT_OF(sizes); i++) {
            sequence++;
            replay(&store, make(RECORD_PUT, "a", sizes[i], sequence, 0));
            check_value(&store, "a", sequence, sizes[i]);
        }
    store_done(&store);
}

static void a_limit_below_the_data_does_not_stop_a_replay(void **state)
{
    (void)state;
    struct store store;
    assert_int_equal(store_init(&store, 1, 64 << 20, NULL, &fake_time, false), STATUS_OK);
    store.epoch = 99;
    replay(&store, make(RECORD_PUT, "small", 100, 1, 0));
    replay(&store, make(RECORD_PUT, "large", 1 << 20, 2, 0));
    check_value(&store, "small", 1, 100);
    check_value(&store, "large", 2, 1 << 20);
    store_done(&store);
}

static void damage_in_memory_is_told(void **state)
{
    (void)state;
    struct store store;
    begin(&store);
    replay(&store, make(RECORD_PUT, "a", 10, 1, 0));
    uint64_t hash = keymap_hash(store.keymap, bytes_of("a"));
    struct store_current current;
    struct record *record = (struct record *)(uintptr_t)atomic_load(
        &keymap_find(store.keymap, hash, bytes_of("a"))->place);
    record->modified_ms++;
    struct engine_item item;
    assert_int_equal(store_get(&store, bytes_of("a"), true, &item), STATUS_CORRUPT);
    assert_int_equal(store_current(&store, hash, bytes_of("a"), fake_ms, true, &current),
                     STATUS_CORRUPT);
    store_done(&store);
}

static void every_byte_is_accounted_for(void **state)
{
    (void)state;
    struct store store;
    begin(&store);
    char key[32];
    for (uint64_t i = 1; i <= 20000; i++) {
        snprintf(key, sizeof key, "key %llu", (unsigned long long)(i % 9000));
        replay(&store, make(i % 7 == 0 ? RECORD_DELETE : RECORD_PUT, key,
                            i % 7 == 0      ? 0
                            : i % 1000 == 1 ? 100000
                                            : i % 300,
                            i, 0));
    }
    reclaim_run(store.reclaim);
    assert_int_equal(budget_used(&store.budget), keymap_bytes(store.keymap) +
                                                     entry_pool_bytes(store.entries) +
                                                     memtable_bytes(store.memtable));
    store_done(&store);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("the newest version counts", the_newest_version_counts),
        TEST("a deleted key is absent until put again", a_deleted_key_is_absent_until_put_again),
        TEST("counts keys that have a value", counts_keys_that_have_a_value),
        TEST("an expired key is absent", an_expired_key_is_absent),
        TEST("large and small values are replayed", large_and_small_values_are_replayed),
        TEST("a limit below the data does not stop a replay",
             a_limit_below_the_data_does_not_stop_a_replay),
        TEST("damage in memory is told", damage_in_memory_is_told),
        TEST("every byte is accounted for", every_byte_is_accounted_for),
    };
    return test_main(argc, argv, "store", tests);
}
