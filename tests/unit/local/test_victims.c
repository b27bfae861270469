/* SPDX-License-Identifier: Apache-2.0 */
/* Which tables are picked for rewriting, and that picking comes to an end. */
#include "../../../engine/local/victims.h"
#include "../../lib/test.h"

#define MIB (UINT64_C(1) << 20)

/* A table as far as the policy looks at it. */
struct fake {
    struct table table;
    struct {
        struct table_properties head;
        char last_key[8];
    } properties;
    struct {
        struct table_block_header head;
        char first_key[8];
    } block;
    const struct table_block_header *blocks[1];
};

enum { FAKES = 200 };

static struct fake fakes[FAKES];
static struct table *tables[FAKES];
static struct view view;

static void begin(void)
{
    memset(fakes, 0, sizeof fakes);
    view = (struct view){.tables = tables};
}

static struct table *add(uint64_t record_bytes, uint64_t live_bytes, uint64_t tombstone_bytes)
{
    struct fake *fake = &fakes[view.table_count];
    fake->properties.head = (struct table_properties){
        .records = 1000,
        .record_bytes = record_bytes,
        .tombstone_bytes = tombstone_bytes,
        .blocks = 1,
        .last_key_bytes = 1,
    };
    fake->properties.last_key[0] = 'z';
    fake->block.head.key_bytes = 1;
    fake->block.first_key[0] = 'a';
    fake->blocks[0] = &fake->block.head;
    fake->table = (struct table){
        .identity = {.id = view.table_count + 1},
        .properties = &fake->properties.head,
        .blocks = fake->blocks,
        .live_bytes = live_bytes,
        .settled = true,
    };
    tables[view.table_count++] = &fake->table;
    return &fake->table;
}

static void set_range(struct table *table, char first, char last)
{
    struct fake *fake = (struct fake *)table;
    fake->block.first_key[0] = first;
    fake->properties.last_key[0] = last;
}

static bool has(const struct victims *victims, const struct table *table)
{
    for (size_t i = 0; i < victims->count; i++)
        if (victims->tables[i] == table)
            return true;
    return false;
}

static struct victims pick(enum victims_mode mode, uint64_t table_id_end, uint64_t live_bytes_max)
{
    struct victims victims;
    assert_int_equal(victims_pick(&view, mode, table_id_end, live_bytes_max, &victims), STATUS_OK);
    return victims;
}

static size_t count_due(void)
{
    struct victims victims = pick(VICTIMS_DUE, UINT64_MAX, UINT64_MAX / 2);
    size_t count = victims.count;
    victims_done(&victims);
    return count;
}

/* ---- space ---- */

static void nothing_is_due_while_little_is_dead(void **state)
{
    (void)state;
    begin();
    assert_int_equal(count_due(), 0);
    for (int i = 0; i < 10; i++)
        add(100 * MIB, 74 * MIB, 0); /* 1.35 times what is live */
    assert_int_equal(count_due(), 0);
}

static void a_table_that_is_half_dead_is_due(void **state)
{
    (void)state;
    begin();
    for (int i = 0; i < 10; i++)
        add(100 * MIB, 100 * MIB, 0);
    struct table *dead = add(100 * MIB, 48 * MIB, 0);
    struct victims victims = pick(VICTIMS_DUE, UINT64_MAX, UINT64_MAX / 2);
    assert_int_equal(victims.count, 1);
    assert_true(has(&victims, dead));
    victims_done(&victims);
}

static void the_sum_is_due_above_its_limit_deadest_first(void **state)
{
    (void)state;
    begin();
    struct table *most = add(20 * MIB, 11 * MIB, 0), *much = add(20 * MIB, 13 * MIB, 0),
                 *little = add(20 * MIB, 15 * MIB, 0), *none = add(20 * MIB, 16 * MIB, 0);
    struct victims victims = pick(VICTIMS_DUE, UINT64_MAX, UINT64_MAX / 2);
    assert_int_equal(victims.count, 3); /* until 32 MiB of live bytes are together */
    assert_ptr_equal(victims.tables[0], most);
    assert_ptr_equal(victims.tables[1], much);
    assert_ptr_equal(victims.tables[2], little);
    assert_false(has(&victims, none));
    assert_int_equal(victims.live_bytes, 39 * MIB);
    victims_done(&victims);
}

static void only_what_fits_is_picked(void **state)
{
    (void)state;
    begin();
    struct table *large = add(500 * MIB, 100 * MIB, 0), *small = add(100 * MIB, 40 * MIB, 0),
                 *empty = add(10 * MIB, 0, 0);
    struct victims victims = pick(VICTIMS_DUE, UINT64_MAX, 60 * MIB);
    assert_false(has(&victims, large));
    assert_true(has(&victims, small));
    assert_true(has(&victims, empty));
    assert_true(victims.some_do_not_fit);
    victims_done(&victims);
    victims = pick(VICTIMS_ALL, UINT64_MAX, UINT64_MAX / 2);
    assert_false(victims.some_do_not_fit);
    victims_done(&victims);
    victims = pick(VICTIMS_ALL, UINT64_MAX, 0);
    assert_int_equal(victims.count, 1); /* needs no room, and gives some */
    assert_true(has(&victims, empty));
    victims_done(&victims);
}

static void tombstones_that_had_to_stay_take_room_and_are_not_dead(void **state)
{
    (void)state;
    begin();
    struct table *deletes = add(100 * MIB, 10 * MIB, 90 * MIB);
    assert_int_equal(victims_dead_bytes(deletes), 90 * MIB);
    assert_int_equal(count_due(), 1);
    atomic_store(&deletes->tombstones_were_kept, true);
    assert_int_equal(victims_dead_bytes(deletes), 0);
    assert_int_equal(count_due(), 0);
    struct victims victims = pick(VICTIMS_ALL, UINT64_MAX, UINT64_MAX / 2);
    assert_int_equal(victims.count, 0);
    victims_done(&victims);
    atomic_store(&deletes->live_bytes, 1 * MIB); /* something else died in it */
    victims = pick(VICTIMS_ALL, UINT64_MAX, 90 * MIB);
    assert_int_equal(victims.count, 0); /* 91 MiB would have to be written */
    victims_done(&victims);
    victims = pick(VICTIMS_ALL, UINT64_MAX, 91 * MIB);
    assert_int_equal(victims.count, 1);
    assert_int_equal(victims.live_bytes, 91 * MIB);
    victims_done(&victims);
}

static void who_asks_gets_all_that_has_anything_dead(void **state)
{
    (void)state;
    begin();
    struct table *bit = add(10 * MIB, 10 * MIB - 8, 0), *whole = add(10 * MIB, 10 * MIB, 0);
    assert_int_equal(count_due(), 0);
    struct victims victims = pick(VICTIMS_ALL, UINT64_MAX, UINT64_MAX / 2);
    assert_int_equal(victims.count, 1);
    assert_true(has(&victims, bit));
    assert_false(has(&victims, whole));
    victims_done(&victims);
}

static void new_damaged_and_unsettled_tables_are_left_alone(void **state)
{
    (void)state;
    begin();
    struct table *damaged = add(100 * MIB, 1, 0), *unsettled = add(100 * MIB, 1, 0),
                 *good = add(100 * MIB, 1, 0), *new = add(100 * MIB, 1, 0);
    atomic_store(&damaged->damaged, true);
    atomic_store(&unsettled->settled, false);
    for (enum victims_mode mode = VICTIMS_DUE; mode <= VICTIMS_ALL; mode++) {
        struct victims victims = pick(mode, new->identity.id, UINT64_MAX / 2);
        assert_int_equal(victims.count, 1);
        assert_true(has(&victims, good));
        victims_done(&victims);
    }
    /* Those that cannot be rewritten make no others due, which would then be due for ever. */
    atomic_store(&good->live_bytes, 75 * MIB);
    atomic_store(&new->live_bytes, 75 * MIB);
    struct victims victims = pick(VICTIMS_DUE, new->identity.id, UINT64_MAX / 2);
    assert_int_equal(victims.count, 0);
    victims_done(&victims);
}

static void new_tables_count_in_the_sum(void **state)
{
    (void)state;
    begin();
    struct table *old = add(100 * MIB, 60 * MIB, 0), *new = add(100 * MIB, 100 * MIB, 0);
    struct victims victims = pick(VICTIMS_DUE, new->identity.id, UINT64_MAX / 2);
    assert_int_equal(victims.count, 0);
    victims_done(&victims);
    atomic_store(&new->live_bytes, 80 * MIB);
    victims = pick(VICTIMS_DUE, new->identity.id, UINT64_MAX / 2);
    assert_int_equal(victims.count, 1);
    assert_true(has(&victims, old));
    victims_done(&victims);
}

/* ---- fan-in ---- */

static void too_many_at_one_key_are_merged_smallest_first(void **state)
{
    (void)state;
    begin();
    for (uint64_t i = 0; i < 64; i++)
        set_range(add((100 + i) * MIB, (100 + i) * MIB, 0), (char)('a' + i % 4), 'm');
    for (uint64_t i = 0; i < 64; i++) /* elsewhere */
        set_range(add(MIB, MIB, 0), 'n', 'z');
    assert_int_equal(count_due(), 0);
    struct table *one_more = add(MIB, MIB, 0);
    set_range(one_more, 'd', 'e');
    struct victims victims = pick(VICTIMS_DUE, UINT64_MAX, UINT64_MAX / 2);
    assert_int_equal(victims.count, 16);
    assert_ptr_equal(victims.tables[0], one_more);
    for (size_t i = 1; i < 16; i++)
        assert_ptr_equal(victims.tables[i], &fakes[i - 1].table);
    victims_done(&victims);
    victims = pick(VICTIMS_ALL, UINT64_MAX, UINT64_MAX / 2);
    assert_int_equal(victims.count, 0); /* it frees nothing */
    victims_done(&victims);
    victims = pick(VICTIMS_DUE, UINT64_MAX, 50 * MIB); /* only one fits: no gain */
    assert_int_equal(victims.count, 0);
    victims_done(&victims);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("nothing is due while little is dead", nothing_is_due_while_little_is_dead),
        TEST("a table that is half dead is due", a_table_that_is_half_dead_is_due),
        TEST("the sum is due above its limit, deadest first",
             the_sum_is_due_above_its_limit_deadest_first),
        TEST("only what fits is picked", only_what_fits_is_picked),
        TEST("tombstones that had to stay take room and are not dead",
             tombstones_that_had_to_stay_take_room_and_are_not_dead),
        TEST("who asks gets all that has anything dead", who_asks_gets_all_that_has_anything_dead),
        TEST("new, damaged and unsettled tables are left alone",
             new_damaged_and_unsettled_tables_are_left_alone),
        TEST("new tables count in the sum", new_tables_count_in_the_sum),
        TEST("too many at one key are merged, smallest first",
             too_many_at_one_key_are_merged_smallest_first),
    };
    return test_main(argc, argv, "victims", tests);
}
