/* SPDX-License-Identifier: Apache-2.0 */
/* Records that no table holds yet: where they lie, and what they are charged. */
#include "../../../engine/local/memtable.h"
#include "../../../engine/local/value.h"
#include "../../lib/test.h"

struct fixture {
    struct budget budget;
    struct memtable_home home;
    struct memtable *memtable;
};

static void begin(struct fixture *fixture)
{
    *fixture = (struct fixture){.budget = {.limit = UINT64_MAX}};
    fixture->home.budget = &fixture->budget;
    assert_int_equal(memtable_open(&fixture->home, &fixture->memtable), STATUS_OK);
}

static void end(struct fixture *fixture)
{
    memtable_close(fixture->memtable);
    assert_int_equal(budget_used(&fixture->budget), 0);
}

static void check_accounts(struct fixture *fixture)
{
    assert_int_equal(memtable_bytes(fixture->memtable), budget_used(&fixture->budget));
}

static struct record *list_small(struct fixture *fixture, size_t value_bytes)
{
    struct record *record = memtable_cut(fixture->memtable, record_size(3, 0, value_bytes));
    record_init(record, RECORD_PUT, bytes_of("key"), (struct bytes){NULL, 0});
    memset(record->data + 3, 'v', value_bytes);
    record_seal_value(record, (uint32_t)value_bytes);
    record_seal_head(record, 1, 1);
    assert_int_equal(memtable_reserve(fixture->memtable, 1), STATUS_OK);
    memtable_list(fixture->memtable, record);
    return record;
}

static struct value *list_large(struct fixture *fixture, size_t value_bytes)
{
    struct value *value;
    assert_int_equal(
        value_open(&fixture->budget, bytes_of("key"), (struct bytes){NULL, 0}, value_bytes, &value),
        STATUS_OK);
    memset(value->face.data, 'v', value_bytes);
    value->face.size = value_bytes;
    value_seal(value, 0);
    assert_int_equal(memtable_reserve(fixture->memtable, 1), STATUS_OK);
    memtable_list(fixture->memtable, &value->record);
    return value;
}

static void cuts_lie_next_to_each_other(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    unsigned char *first = memtable_cut(fixture.memtable, 64);
    unsigned char *second = memtable_cut(fixture.memtable, 8);
    assert_ptr_equal(second, first + 64);
    assert_ptr_equal(memtable_cut(fixture.memtable, 8), second + 8);
    assert_int_equal((uintptr_t)first % 8, 0);
    end(&fixture);
}

static void charges_what_it_takes(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    check_accounts(&fixture);
    for (int i = 0; i < 20; i++)
        assert_non_null(memtable_cut(fixture.memtable, MEMTABLE_CUT_BYTES_MAX));
    assert_true(memtable_bytes(fixture.memtable) >= 20 * MEMTABLE_CUT_BYTES_MAX);
    check_accounts(&fixture);
    end(&fixture);
}

static void going_back_frees_the_chunks_since(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    struct memtable_mark empty = memtable_mark(fixture.memtable);
    uint64_t bytes_empty = memtable_bytes(fixture.memtable);
    assert_non_null(memtable_cut(fixture.memtable, 64));
    struct memtable_mark mark = memtable_mark(fixture.memtable);
    uint64_t bytes = memtable_bytes(fixture.memtable);
    void *next = memtable_cut(fixture.memtable, 64);
    for (int i = 0; i < 20; i++)
        assert_non_null(memtable_cut(fixture.memtable, MEMTABLE_CUT_BYTES_MAX));
    memtable_rewind(fixture.memtable, mark);
    assert_int_equal(memtable_bytes(fixture.memtable), bytes);
    check_accounts(&fixture);
    assert_ptr_equal(memtable_cut(fixture.memtable, 64), next);
    memtable_rewind(fixture.memtable, empty);
    assert_int_equal(memtable_bytes(fixture.memtable), bytes_empty);
    end(&fixture);
}

static void a_reservation_makes_listing_sure(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    assert_int_equal(memtable_reserve(fixture.memtable, 10000), STATUS_OK);
    uint64_t bytes = memtable_bytes(fixture.memtable);
    struct record *record = memtable_cut(fixture.memtable, record_size(1, 0, 0));
    record_init(record, RECORD_DELETE, bytes_of("k"), (struct bytes){NULL, 0});
    record_seal_value(record, 0);
    record_seal_head(record, 1, 1);
    for (int i = 0; i < 10000; i++)
        memtable_list(fixture.memtable, record);
    assert_true(memtable_bytes(fixture.memtable) - bytes <=
                (1 << 20) + 64); /* the record's chunk */
    end(&fixture);
}

static void reserving_again_takes_no_more_room(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    assert_int_equal(memtable_reserve(fixture.memtable, 4096), STATUS_OK);
    uint64_t bytes = memtable_bytes(fixture.memtable);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(memtable_reserve(fixture.memtable, 4096), STATUS_OK);
    assert_int_equal(memtable_bytes(fixture.memtable), bytes);
    end(&fixture);
}

static void a_large_value_is_charged_once(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    list_large(&fixture, VALUE_LARGE_BYTES + 1);
    list_small(&fixture, VALUE_LARGE_BYTES);
    list_large(&fixture, 1 << 20);
    check_accounts(&fixture);
    end(&fixture);
}

static void a_value_in_use_outlives_it(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    list_large(&fixture, 100000);
    struct value *used = list_large(&fixture, 200000);
    pin_take(&used->pin);
    memtable_close(fixture.memtable);
    assert_int_equal(budget_used(&fixture.budget), used->charged); /* held by the reply alone */
    assert_int_equal(used->face.data[199999], 'v');
    assert_true(pin_drop(&used->pin));
    value_close(used);
    assert_int_equal(budget_used(&fixture.budget), 0);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("cuts lie next to each other", cuts_lie_next_to_each_other),
        TEST("charges what it takes", charges_what_it_takes),
        TEST("going back frees the chunks since", going_back_frees_the_chunks_since),
        TEST("a reservation makes listing sure", a_reservation_makes_listing_sure),
        TEST("reserving again takes no more room", reserving_again_takes_no_more_room),
        TEST("a large value is charged once", a_large_value_is_charged_once),
        TEST("a value in use outlives it", a_value_in_use_outlives_it),
    };
    return test_main(argc, argv, "memtable", tests);
}
