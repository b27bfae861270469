/* SPDX-License-Identifier: Apache-2.0 */
/* Values on their way in and out, and what they are charged. */
#include "../../../engine/local/value.h"
#include "../../lib/test.h"

enum { EPOCH = 77 };

static struct value *draft(struct budget *budget, size_t capacity)
{
    struct value *value = NULL;
    assert_int_equal(value_open(budget, bytes_of("key"), bytes_of("meta"), capacity, &value),
                     STATUS_OK);
    assert_int_equal(value->face.capacity, capacity);
    assert_int_equal(value->face.size, 0);
    return value;
}

static struct value *sealed(struct budget *budget, size_t size)
{
    struct value *value = draft(budget, size);
    memset(value->face.data, 'v', size);
    value->face.size = size;
    value_seal(value, 9000);
    record_seal_head(&value->record, 5, 1234);
    return value;
}

static void is_refused_over_the_budget(void **state)
{
    (void)state;
    struct budget budget = {.limit = 10000};
    struct value *value;
    assert_int_equal(value_open(&budget, bytes_of("key"), bytes_of(""), 10000, &value),
                     STATUS_NO_MEMORY);
    assert_int_equal(budget_used(&budget), 0);
    value = draft(&budget, 5000);
    assert_true(budget_used(&budget) >= 5000);
    value_close(value);
    assert_int_equal(budget_used(&budget), 0);
    value_close(NULL);
}

static void grows_and_keeps_what_was_received(void **state)
{
    (void)state;
    struct budget budget = {.limit = 1 << 20};
    struct value *value = draft(&budget, 0);
    size_t received = 0;
    for (size_t capacity = 1; capacity <= 100000; capacity = capacity * 3 + 1) {
        assert_int_equal(value_grow(&value, capacity), STATUS_OK);
        assert_int_equal(value->face.capacity, capacity);
        for (; received < capacity; received++)
            value->face.data[received] = (unsigned char)received;
        value->face.size = received;
        assert_int_equal(budget_used(&budget), value->charged);
    }
    for (size_t i = 0; i < received; i++)
        assert_int_equal(value->face.data[i], (unsigned char)i);
    value_seal(value, 0);
    record_seal_head(&value->record, 1, 1);
    assert_true(record_head_is_valid(&value->record, record_bytes(&value->record)));
    assert_true(bytes_equal(record_key(&value->record), bytes_of("key")));
    assert_true(bytes_equal(record_meta(&value->record), bytes_of("meta")));
    value_close(value);
    assert_int_equal(budget_used(&budget), 0);
}

static void a_refused_growth_changes_nothing(void **state)
{
    (void)state;
    struct budget budget = {.limit = 10000};
    struct value *value = draft(&budget, 5000), *before = value;
    value->face.data[4999] = 'x';
    uint64_t used = budget_used(&budget);
    assert_int_equal(value_grow(&value, 20000), STATUS_NO_MEMORY);
    assert_ptr_equal(value, before);
    assert_int_equal(value->face.capacity, 5000);
    assert_int_equal(value->face.data[4999], 'x');
    assert_int_equal(budget_used(&budget), used);
    assert_int_equal(value_grow(&value, 100), STATUS_OK); /* never smaller */
    assert_int_equal(value->face.capacity, 5000);
    value_close(value);
}

/* ---- replies ---- */

static void check_reply(const struct engine_item *item, size_t size)
{
    assert_int_equal(item->version.epoch, EPOCH);
    assert_int_equal(item->version.sequence, 5);
    assert_int_equal(item->modified_ms, 1234);
    assert_int_equal(item->expires_ms, 9000);
    assert_true(bytes_equal(item->meta, bytes_of("meta")));
    assert_int_equal(item->value.size, size);
    const unsigned char *bytes = item->value.data;
    for (size_t i = 0; i < size; i++)
        assert_int_equal(bytes[i], 'v');
}

static void a_small_reply_is_a_copy(void **state)
{
    (void)state;
    struct budget budget = {.limit = UINT64_MAX};
    const size_t sizes[] = {0, 1, 1000, 16000, 20000, VALUE_LARGE_BYTES};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        struct value *value = sealed(&budget, sizes[i]);
        struct engine_item item;
        assert_int_equal(value_reply(&budget, &value->record, EPOCH, true, &item), STATUS_OK);
        value_close(value); /* the copy does not need it */
        check_reply(&item, sizes[i]);
        if (sizes[i] >= 16 << 10) /* held bytes are charged, else bounded by the connections */
            assert_true(budget_used(&budget) >= sizes[i]);
        engine_item_done(&item);
        assert_null(item.release);
        assert_int_equal(budget_used(&budget), 0);
    }
}

static void a_reply_goes_out_when_memory_is_full(void **state)
{
    (void)state;
    struct budget budget = {.limit = 100000};
    struct value *value = sealed(&budget, 40000);
    budget_force(&budget, 100000);
    struct engine_item item;
    assert_int_equal(value_reply(&budget, &value->record, EPOCH, true, &item), STATUS_OK);
    check_reply(&item, 40000);
    engine_item_done(&item);
    value_close(value);
    assert_int_equal(budget_used(&budget), 100000);
}

static void a_large_reply_pins_the_value(void **state)
{
    (void)state;
    struct budget budget = {.limit = UINT64_MAX};
    enum { SIZE = VALUE_LARGE_BYTES + 1 };
    struct value *value = sealed(&budget, SIZE);
    struct engine_item first, second;
    assert_int_equal(value_reply(&budget, &value->record, EPOCH, true, &first), STATUS_OK);
    assert_int_equal(value_reply(&budget, &value->record, EPOCH, true, &second), STATUS_OK);
    assert_ptr_equal(first.value.data, value->face.data);
    uint64_t charged = value->charged;
    value_retire(value);
    check_reply(&first, SIZE);
    assert_int_equal(budget_used(&budget), charged);
    engine_item_done(&first);
    check_reply(&second, SIZE);
    engine_item_done(&second);
    assert_int_equal(budget_used(&budget), 0);
}

static void a_head_has_a_size_and_no_bytes(void **state)
{
    (void)state;
    struct budget budget = {.limit = UINT64_MAX};
    const size_t sizes[] = {0, 10, VALUE_LARGE_BYTES + 1};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        struct value *value = sealed(&budget, sizes[i]);
        struct engine_item item;
        assert_int_equal(value_reply(&budget, &value->record, EPOCH, false, &item), STATUS_OK);
        value_retire(value); /* a head pins nothing */
        assert_int_equal(budget_used(&budget), 0);
        assert_int_equal(item.value.size, sizes[i]);
        assert_null(item.value.data);
        assert_true(bytes_equal(item.meta, bytes_of("meta")));
        engine_item_done(&item);
    }
}

static void damage_is_never_sent(void **state)
{
    (void)state;
    struct budget budget = {.limit = UINT64_MAX};
    struct value *value = sealed(&budget, 20000);
    uint64_t used = budget_used(&budget);
    struct engine_item item = {.modified_ms = 42};
    value->face.data[19999] ^= 1;
    assert_int_equal(value_reply(&budget, &value->record, EPOCH, true, &item), STATUS_CORRUPT);
    assert_int_equal(item.modified_ms, 42);
    assert_int_equal(budget_used(&budget), used);
    assert_int_equal(value_reply(&budget, &value->record, EPOCH, false, &item), STATUS_OK);
    engine_item_done(&item);
    value->record.data[0] ^= 1; /* the key */
    assert_int_equal(value_reply(&budget, &value->record, EPOCH, false, &item), STATUS_CORRUPT);
    value_close(value);
}

static void what_is_stored_already_is_kept_over_the_budget(void **state)
{
    (void)state;
    struct budget stored = {.limit = UINT64_MAX}, full = {.limit = 1000};
    struct value *value = sealed(&stored, 100000), *kept;
    assert_int_equal(value_keep(&full, &value->record, &kept), STATUS_OK);
    assert_true(budget_used(&full) >= 100000);
    struct engine_item item;
    assert_int_equal(value_reply(&full, &kept->record, EPOCH, true, &item), STATUS_OK);
    check_reply(&item, 100000);
    engine_item_done(&item);
    value_retire(kept);
    assert_int_equal(budget_used(&full), 0);
    value_close(value);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("is refused over the budget", is_refused_over_the_budget),
        TEST("grows and keeps what was received", grows_and_keeps_what_was_received),
        TEST("a refused growth changes nothing", a_refused_growth_changes_nothing),
        TEST("a small reply is a copy", a_small_reply_is_a_copy),
        TEST("a reply goes out when memory is full", a_reply_goes_out_when_memory_is_full),
        TEST("a large reply pins the value", a_large_reply_pins_the_value),
        TEST("a head has a size and no bytes", a_head_has_a_size_and_no_bytes),
        TEST("damage is never sent", damage_is_never_sent),
        TEST("what is stored already is kept over the budget",
             what_is_stored_already_is_kept_over_the_budget),
    };
    return test_main(argc, argv, "value", tests);
}
