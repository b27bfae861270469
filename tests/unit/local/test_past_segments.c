/* SPDX-License-Identifier: Apache-2.0 */
/* Journal segments behind the active one: needed, used again, or surplus. */
#include "../../../engine/local/past_segments.h"
#include "../../lib/test.h"

static void add(struct past_segments *past, uint64_t id, uint64_t last_sequence, uint64_t bytes)
{
    assert_int_equal(past_segments_reserve(past), STATUS_OK);
    past_segments_add(past, (struct past_segment){id, last_sequence, bytes});
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
    add(&past, 3, 30, 0); /* failed once */
    add(&past, 4, 40, 64);
    add(&past, 5, 50, 64);
    assert_int_equal(past_segments_take(&past, 64), 0);
    past.needed_first = 5;
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
        add(&past, id, id, id % 4 == 0 ? 0 : 64);
    past.needed_first = 11;
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

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("the first needed holds something above the tables",
             the_first_needed_holds_something_above_the_tables),
        TEST("only what is needed no more is used again",
             only_what_is_needed_no_more_is_used_again),
        TEST("surplus goes beyond what is kept", surplus_goes_beyond_what_is_kept),
    };
    return test_main(argc, argv, "past_segments", tests);
}
