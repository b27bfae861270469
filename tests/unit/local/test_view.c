/* SPDX-License-Identifier: Apache-2.0 */
/* Views and slots: what a pinned view lists stays open, and no longer than it must. */
#include "../../../engine/local/slots.h"
#include "../../../engine/local/view.h"
#include "../../lib/table_file.h"
#include "../../lib/test.h"

/* Views over tables that are no files: closing one frees it and nothing else. */
struct fixture {
    struct reclaim *reclaim;
    struct budget budget;
    struct memtable_home home;
    struct views views;
    struct slots slots;
};

static void begin(struct fixture *fixture)
{
    *fixture = (struct fixture){.budget = {.limit = 1 << 30}};
    fixture->home.budget = &fixture->budget;
    assert_int_equal(reclaim_open(false, &fixture->reclaim), STATUS_OK);
    struct memtable *active;
    assert_int_equal(memtable_open(&fixture->home, &active), STATUS_OK);
    assert_int_equal(views_init(&fixture->views, fixture->reclaim, active), STATUS_OK);
    slots_init(&fixture->slots);
}

static void end(struct fixture *fixture)
{
    reclaim_close(fixture->reclaim);
    views_done(&fixture->views);
    slots_done(&fixture->slots);
    assert_int_equal(fixture->budget.used, 0);
    assert_int_equal(fixture->home.alive, 0);
}

static struct table *make_table(uint64_t id)
{
    struct table *table = calloc(1, sizeof *table);
    table->identity.id = id;
    return table;
}

static void change(struct fixture *fixture, struct view_change change)
{
    assert_int_equal(views_change(&fixture->views, &change), STATUS_OK);
}

static void add_table(struct fixture *fixture, struct table *table)
{
    change(fixture, (struct view_change){.added_tables = &table, .added_table_count = 1});
}

static void remove_table(struct fixture *fixture, struct table *table)
{
    change(fixture, (struct view_change){.removed_tables = &table, .removed_table_count = 1});
}

static void release(struct retired *retired)
{
    struct table *table =
        (struct table *)((unsigned char *)retired - offsetof(struct table, retired));
    if (pin_retire(&table->pin))
        table_close(table);
}

static void retire(struct fixture *fixture, struct table *table)
{
    table->retired = (struct retired){.release = release};
    reclaim_retire(fixture->reclaim, &table->retired);
}

static uint64_t pins(const struct table *table)
{
    return table->pin.word / PIN_ONE;
}

static struct memtable *active_of(const struct view *view)
{
    return view->memtables[view->memtable_count - 1];
}

/* ---- promises ---- */

static void a_pinned_view_does_not_change(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    struct table *first = make_table(1), *second = make_table(2);
    add_table(&fixture, first);
    const struct view *old = views_pin(&fixture.views);
    add_table(&fixture, second);
    remove_table(&fixture, first);
    retire(&fixture, first);
    reclaim_run(fixture.reclaim);
    assert_int_equal(old->table_count, 1);
    assert_ptr_equal(old->tables[0], first);
    assert_int_equal(first->identity.id, 1); /* still there: the old view pins it */
    assert_int_equal(pins(first), 1);
    const struct view *new = views_pin(&fixture.views);
    assert_int_equal(new->table_count, 1);
    assert_ptr_equal(new->tables[0], second);
    view_unpin(new);
    view_unpin(old); /* closes the first table */
    reclaim_run(fixture.reclaim);
    assert_int_equal(pins(second), 1);
    end(&fixture);
}

static void memtables_come_and_go_oldest_first(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    struct memtable *fresh[3], *frozen[3];
    for (size_t i = 0; i < 3; i++) {
        const struct view *view = views_pin(&fixture.views);
        frozen[i] = active_of(view);
        view_unpin(view);
        assert_int_equal(memtable_open(&fixture.home, &fresh[i]), STATUS_OK);
        change(&fixture, (struct view_change){.added_memtable = fresh[i]});
    }
    const struct view *view = views_pin(&fixture.views);
    assert_int_equal(view->memtable_count, 4);
    for (size_t i = 0; i < 3; i++)
        assert_ptr_equal(view->memtables[i], frozen[i]);
    assert_ptr_equal(active_of(view), fresh[2]);
    view_unpin(view);
    change(&fixture,
           (struct view_change){.removed_memtables = frozen, .removed_memtable_count = 2});
    for (size_t i = 0; i < 2; i++)
        memtable_retire(frozen[i], fixture.reclaim);
    assert_int_equal(fixture.home.alive, 4);
    reclaim_run(fixture.reclaim);
    assert_int_equal(fixture.home.alive, 2);
    end(&fixture);
}

/* A compaction may take minutes: writers must not wait for the memtables that it found. */
static void tables_pinned_alone_keep_no_memtable(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    struct table *table = make_table(1);
    add_table(&fixture, table);
    const struct view *view = views_pin_tables(&fixture.views);
    assert_int_equal(view->table_count, 1);
    assert_int_equal(view->memtable_count, 0);
    const struct view *whole = views_pin(&fixture.views);
    struct memtable *old = active_of(whole), *fresh;
    view_unpin(whole);
    assert_int_equal(memtable_open(&fixture.home, &fresh), STATUS_OK);
    change(&fixture, (struct view_change){
                         .added_memtable = fresh,
                         .removed_memtables = &old,
                         .removed_memtable_count = 1,
                     });
    memtable_retire(old, fixture.reclaim);
    remove_table(&fixture, table);
    retire(&fixture, table);
    reclaim_run(fixture.reclaim);
    assert_int_equal(fixture.home.alive, 1);
    assert_int_equal(pins(table), 1);
    view_unpin(view); /* closes the table */
    end(&fixture);
}

static void slots_are_dense_and_reused(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    enum { TABLES = SLOTS_CHUNK + 10 };
    static struct table tables[TABLES];
    memset(tables, 0, sizeof tables);
    for (uint32_t i = 0; i < TABLES; i++) {
        assert_int_equal(slots_join(&fixture.slots, &tables[i]), STATUS_OK);
        assert_int_equal(tables[i].slot, i);
        assert_ptr_equal(slots_table(&fixture.slots, i), &tables[i]);
    }
    static const uint32_t gone[] = {SLOTS_CHUNK + 3, 7, 500};
    for (size_t i = 0; i < COUNT_OF(gone); i++)
        slots_leave(&fixture.slots, gone[i]);
    static const uint32_t expected[] = {7, 500, SLOTS_CHUNK + 3, TABLES};
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        struct table another;
        assert_int_equal(slots_join(&fixture.slots, &another), STATUS_OK);
        assert_int_equal(another.slot, expected[i]);
    }
    end(&fixture);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("a pinned view does not change", a_pinned_view_does_not_change),
        TEST("memtables come and go, oldest first", memtables_come_and_go_oldest_first),
        TEST("tables pinned alone keep no memtable", tables_pinned_alone_keep_no_memtable),
        TEST("slots are dense and reused", slots_are_dense_and_reused),
    };
    return test_main(argc, argv, "view", tests);
}
