/* SPDX-License-Identifier: Apache-2.0 */
/* Journal segments behind the active one: needed, used again, or surplus. */
#include "../../../engine/local/past_segments.h"
#include "../../lib/test.h"

static struct past_segment *add(struct past_segments *past, uint64_t id, uint64_t last_sequence,
                                uint64_t bytes)
{
    uint64_t before = past->count > 0 ? past->rows[past->count - 1].last_sequence : 0;
    struct segment_index *index = segment_index_open(id, before, bytes, bytes);
    assert_non_null(index);
    assert_int_equal(past_segments_reserve(past), STATUS_OK);
    past_segments_add(past, (struct past_segment){id, last_sequence, bytes, false, index});
    return &past->rows[past->count - 1];
}

/* Without any that is kept. */
static void need_from(struct past_segments *past, uint64_t id)
{
    past->needed_first = past->kept_first = id;
}

static void the_first_needed_holds_something_above_the_tables(void **state)
{
    (void)state;
    struct past_segments past = {0};
    assert_int_equal(past_segments_first_above(&past, 0, 9), 9);
    add(&past, 3, 100, 64);
    add(&past, 4, 100, 64); /* nothing but marks */
    add(&past, 5, 200, 64);
    assert_int_equal(past_segments_first_above(&past, 0, 9), 3);
    assert_int_equal(past_segments_first_above(&past, 99, 9), 3);
    assert_int_equal(past_segments_first_above(&past, 100, 9), 5);
    assert_int_equal(past_segments_first_above(&past, 199, 9), 5);
    assert_int_equal(past_segments_first_above(&past, 200, 9), 9);
    past.needed_first = 4; /* released once, it never comes back */
    assert_int_equal(past_segments_first_above(&past, 0, 9), 4);
    past_segments_done(&past);
}

static void only_what_is_needed_no_more_is_used_again(void **state)
{
    (void)state;
    struct past_segments past = {0};
    add(&past, 1, 10, 32);
    add(&past, 2, 20, 64);
    add(&past, 3, 30, 64)->failed = true;
    add(&past, 4, 40, 64);
    add(&past, 5, 50, 64);
    assert_int_equal(past_segments_take(&past, 64), 0);
    need_from(&past, 5);
    assert_int_equal(past_segments_take(&past, 64), 2);
    assert_int_equal(past_segments_take(&past, 64), 4);
    assert_int_equal(past_segments_take(&past, 64), 0);
    assert_int_equal(past.count, 3);
    assert_int_equal(past.rows[0].id, 1);
    assert_int_equal(past.rows[1].id, 3);
    assert_int_equal(past.rows[2].id, 5);
    past_segments_done(&past);
}

static void surplus_goes_beyond_what_is_kept(void **state)
{
    (void)state;
    struct past_segments past = {0};
    struct past_segment taken;
    for (uint64_t id = 1; id <= 40; id++)
        add(&past, id, id, 64)->failed = id % 4 == 0;
    need_from(&past, 11);
    uint64_t expected[] = {3, 4, 5, 6, 7, 8, 9, 10};
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        assert_true(past_segments_take_surplus(&past, 64, 2, &taken));
        assert_int_equal(taken.id, expected[i]);
    }
    assert_false(past_segments_take_surplus(&past, 64, 2, &taken));
    assert_int_equal(past.count, 32);
    past_segments_done(&past);
    assert_null(past.rows);
}

static void what_is_kept_is_not_free_until_it_is_let_go(void **state)
{
    (void)state;
    struct past_segments past = {0};
    for (uint64_t id = 1; id <= 6; id++)
        add(&past, id, id * 10, 64);
    past.needed_first = 5;
    assert_int_equal(past_segments_kept_bytes(&past), 4 * 64);
    assert_int_equal(past_segments_take(&past, 64), 0);
    assert_int_equal(past_segments_keep(&past, 4 * 64), 0);
    assert_int_equal(past_segments_oldest(&past)->id, 1);
    assert_int_equal(past_segments_keep(&past, 2 * 64 + 63), 2 * 64);
    assert_int_equal(past_segments_kept_bytes(&past), 2 * 64);
    assert_int_equal(past_segments_oldest(&past)->id, 3);
    assert_int_equal(past_segments_take(&past, 64), 1);
    assert_int_equal(past_segments_take(&past, 64), 2);
    assert_int_equal(past_segments_take(&past, 64), 0);
    assert_int_equal(past_segments_keep(&past, 0), 2 * 64);
    assert_int_equal(past_segments_oldest(&past)->id, 5); /* what is needed is there as well */
    past_segments_done(&past);
}

static void a_sequence_is_found_where_what_follows_it_begins(void **state)
{
    (void)state;
    struct past_segments past = {0};
    assert_null(past_segments_oldest(&past));
    assert_null(past_segments_find(&past, 0));
    add(&past, 3, 100, 64);
    add(&past, 4, 100, 64); /* nothing but marks */
    add(&past, 7, 200, 64);
    past.needed_first = 7;
    assert_int_equal(past_segments_find(&past, 0)->id, 3);
    assert_int_equal(past_segments_find(&past, 99)->id, 3);
    assert_int_equal(past_segments_find(&past, 100)->id, 7);
    assert_int_equal(past_segments_find(&past, 500)->id, 7);
    past_segments_keep(&past, 64);
    assert_null(past_segments_find(&past, 99));
    assert_int_equal(past_segments_find(&past, 100)->id, 7);
    past_segments_done(&past);
}

static void a_file_stays_while_it_has_readers(void **state)
{
    (void)state;
    struct past_segments past = {0};
    struct past_segment taken;
    add(&past, 1, 10, 64)->index->readers = 1;
    add(&past, 2, 20, 64);
    need_from(&past, 3);
    assert_int_equal(past_segments_take(&past, 64), 2);
    assert_int_equal(past_segments_take(&past, 64), 0);
    assert_false(past_segments_take_surplus(&past, 64, 0, &taken));
    past.rows[0].index->readers = 0;
    assert_true(past_segments_take_surplus(&past, 64, 0, &taken));
    assert_int_equal(taken.id, 1);
    past_segments_done(&past);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("the first needed holds something above the tables",
             the_first_needed_holds_something_above_the_tables),
        TEST("only what is needed no more is used again",
             only_what_is_needed_no_more_is_used_again),
        TEST("surplus goes beyond what is kept", surplus_goes_beyond_what_is_kept),
        TEST("what is kept is not free until it is let go",
             what_is_kept_is_not_free_until_it_is_let_go),
        TEST("a sequence is found where what follows it begins",
             a_sequence_is_found_where_what_follows_it_begins),
        TEST("a file stays while it has readers", a_file_stays_while_it_has_readers),
    };
    return test_main(argc, argv, "past_segments", tests);
}
