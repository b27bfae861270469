/* SPDX-License-Identifier: Apache-2.0 */
/* One version of one key: its bytes, and what passes for them. */
#include "../../../engine/local/record.h"
#include "../../lib/test.h"

enum { ROOM = 4096 };

static struct record *make(const char *key, const char *meta, const char *value)
{
    struct record *record = malloc(ROOM);
    memset(record, 0xee, ROOM); /* what was in memory before must not show */
    record_init(record, RECORD_PUT, bytes_of(key), bytes_of(meta));
    memcpy(record->data + strlen(key) + strlen(meta), value, strlen(value));
    record->expires_ms = 5000;
    record_seal_value(record, (uint32_t)strlen(value));
    record_seal_head(record, 7, 1234);
    return record;
}

static bool is_valid(const struct record *record, uint64_t available)
{
    return record_head_is_valid(record, available) &&
           record_value_is_valid(record, record_value(record));
}

static void gives_back_what_was_sealed(void **state)
{
    (void)state;
    struct record *record = make("key", "meta", "value");
    assert_true(is_valid(record, record_bytes(record)));
    assert_true(bytes_equal(record_key(record), bytes_of("key")));
    assert_true(bytes_equal(record_meta(record), bytes_of("meta")));
    assert_true(bytes_equal(record_value(record), bytes_of("value")));
    assert_int_equal(record->sequence, 7);
    assert_int_equal(record->modified_ms, 1234);
    assert_int_equal(record->expires_ms, 5000);
    free(record);
}

static void pads_with_zeros_to_eight_bytes(void **state)
{
    (void)state;
    struct record *record = make("key", "", "v");
    assert_int_equal(record_bytes(record), 56);
    const unsigned char *bytes = (const unsigned char *)record;
    for (size_t i = sizeof *record + 4; i < record_bytes(record); i++)
        assert_int_equal(bytes[i], 0);
    assert_int_equal(bytes[record_bytes(record)], 0xee);
    free(record);
}

static void a_flipped_bit_anywhere_is_noticed(void **state)
{
    (void)state;
    struct record *record = make("some key", "some meta", "some value!!!");
    unsigned char *bytes = (unsigned char *)record;
    size_t used = sizeof *record + 8 + 9 + 13; /* the padding is the frame's to check */
    for (size_t bit = 0; bit < used * 8; bit++) {
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        assert_false(is_valid(record, ROOM));
        bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
    }
    assert_true(is_valid(record, ROOM));
    free(record);
}

static void a_damaged_value_leaves_the_head_valid(void **state)
{
    (void)state;
    struct record *record = make("key", "meta", "value");
    record->data[7] ^= 1;
    assert_true(record_head_is_valid(record, ROOM));
    assert_false(record_value_is_valid(record, record_value(record)));
    free(record);
}

static void never_reads_past_what_is_available(void **state)
{
    (void)state;
    struct record *record = make("key", "meta", "value");
    size_t whole = record_bytes(record);
    for (size_t available = 0; available < whole; available++) {
        /* An allocation of exactly that size: a sanitizer sees every byte read past it. */
        struct record *part = malloc(available > 0 ? available : 1);
        memcpy(part, record, available);
        assert_false(record_head_is_valid(part, available));
        free(part);
    }
    free(record);
}

static void hostile_lengths_are_refused(void **state)
{
    (void)state;
    struct record *record = make("key", "meta", "value");
    uint64_t whole = record_bytes(record);
    record->value_bytes = UINT32_MAX;
    assert_false(record_head_is_valid(record, whole));
    record->value_bytes = 5;
    record->key_bytes = UINT16_MAX;
    assert_false(record_head_is_valid(record, whole));
    record->key_bytes = 0;
    assert_false(record_head_is_valid(record, whole));
    free(record);
}

static void zeros_are_no_record(void **state)
{
    (void)state;
    static const uint64_t zeros[16];
    assert_false(record_head_is_valid((const struct record *)zeros, sizeof zeros));
}

static void an_unknown_type_is_no_record(void **state)
{
    (void)state;
    struct record *record = make("key", "", "value");
    record->type = RECORD_EXPIRE + 1;
    record_seal_head(record, 7, 1234);
    assert_false(record_head_is_valid(record, ROOM));
    free(record);
}

static void an_empty_value_is_a_value(void **state)
{
    (void)state;
    struct record *record = make("key", "", "");
    assert_true(is_valid(record, ROOM));
    assert_int_equal(record_value(record).size, 0);
    assert_true(record_is_live(record, 4999));
    free(record);
}

static void only_an_unexpired_put_is_live(void **state)
{
    (void)state;
    struct record *record = make("key", "", "value");
    assert_true(record_is_live(record, 4999));
    assert_false(record_is_live(record, 5000));
    record->expires_ms = 0;
    assert_true(record_is_live(record, INT64_MAX));
    record->type = RECORD_DELETE;
    assert_false(record_is_live(record, 0));
    record->type = RECORD_EXPIRE;
    assert_false(record_is_live(record, 0));
    free(record);
}

static void the_layout_is_the_documented_one(void **state)
{
    (void)state;
    assert_int_equal(offsetof(struct record, head_check), 0);
    assert_int_equal(offsetof(struct record, value_check), 4);
    assert_int_equal(offsetof(struct record, sequence), 8);
    assert_int_equal(offsetof(struct record, modified_ms), 16);
    assert_int_equal(offsetof(struct record, expires_ms), 24);
    assert_int_equal(offsetof(struct record, value_bytes), 32);
    assert_int_equal(offsetof(struct record, key_bytes), 36);
    assert_int_equal(offsetof(struct record, meta_bytes), 38);
    assert_int_equal(offsetof(struct record, type), 40);
    assert_int_equal(offsetof(struct record, data), 48);
}

static void the_checksums_never_change(void **state)
{
    (void)state;
    /* Files of every earlier version depend on these two numbers. */
    struct record *record = make("key", "meta", "value");
    assert_int_equal(record->value_check, 0x9b9df0f0);
    assert_int_equal(record->head_check, 0x15e82bb3);
    free(record);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("gives back what was sealed", gives_back_what_was_sealed),
        TEST("pads with zeros to eight bytes", pads_with_zeros_to_eight_bytes),
        TEST("a flipped bit anywhere is noticed", a_flipped_bit_anywhere_is_noticed),
        TEST("a damaged value leaves the head valid", a_damaged_value_leaves_the_head_valid),
        TEST("never reads past what is available", never_reads_past_what_is_available),
        TEST("hostile lengths are refused", hostile_lengths_are_refused),
        TEST("zeros are no record", zeros_are_no_record),
        TEST("an unknown type is no record", an_unknown_type_is_no_record),
        TEST("an empty value is a value", an_empty_value_is_a_value),
        TEST("only an unexpired put is live", only_an_unexpired_put_is_live),
        TEST("the layout is the documented one", the_layout_is_the_documented_one),
        TEST("the checksums never change", the_checksums_never_change),
    };
    return test_main(argc, argv, "record", tests);
}
