/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rewriting tables: nothing live is lost, nothing deleted comes back, a newer write wins, and what
 * is given up leaves no trace. All over a simulated disk in one thread, audited after every step.
 */
#include "../../lib/scene.h"
#include "../../lib/test.h"

static uint64_t compact(struct scene *scene, const uint64_t *ids, size_t count)
{
    uint64_t id = catalog_next_table_id(&scene->parts.catalog);
    assert_int_equal(parts_compact_tables(&scene->parts, ids, count), STATUS_OK);
    reclaim_run(scene->parts.store.reclaim);
    return id;
}

static uint64_t tombstones(struct scene *scene, uint64_t id)
{
    const struct table *table = parts_table(&scene->parts, id);
    return table != NULL ? table->properties->tombstones : 0;
}

static void flip_index(struct scene *scene, uint64_t id)
{
    scene_flip(scene, id, parts_table(&scene->parts, id)->records_end);
}

/* ---- what stays and what goes ---- */

static void only_the_dead_is_left_out(void **state)
{
    (void)state;
    struct scene scene;
    scene_begin(&scene, (struct parts_options){0});
    for (size_t key = 0; key < SHADOW_KEYS; key++)
        scene_put(&scene, key, 100 + key);
    uint64_t first = scene_dump(&scene);
    for (size_t key = 0; key < SHADOW_KEYS; key += 2)
        scene_put(&scene, key, 50);
    for (size_t key = 0; key < SHADOW_KEYS; key += 3)
        scene_delete(&scene, key);
    uint64_t second = scene_dump(&scene);
    uint64_t both = compact(&scene, (uint64_t[]){first, second}, 2);
    scene_check(&scene);
    const struct table *table = parts_table(&scene.parts, both);
    assert_int_equal(parts_table_count(&scene.parts), 1);
    assert_int_equal(table->properties->records, scene.parts.store.keys);
    assert_int_equal(table->properties->tombstones, 0);
    assert_int_equal(table->live_records, table->properties->records);
    scene_check_reopened(&scene);
    assert_int_equal(parts_compact(&scene.parts, VICTIMS_ALL), STATUS_NOT_FOUND);
    scene_end(&scene);
}

static void tables_of_nothing_but_the_dead_become_none(void **state)
{
    (void)state;
    struct scene scene;
    scene_begin(&scene, (struct parts_options){0});
    for (size_t key = 0; key < SHADOW_KEYS; key++)
        scene_put(&scene, key, 10);
    uint64_t first = scene_dump(&scene);
    for (size_t key = 0; key < SHADOW_KEYS; key++)
        scene_delete(&scene, key);
    uint64_t second = scene_dump(&scene);
    compact(&scene, (uint64_t[]){first, second}, 2);
    assert_int_equal(parts_table_count(&scene.parts), 0);
    assert_int_equal(keymap_count(scene.parts.store.keymap), 0);
    scene_check_reopened(&scene);
    scene_end(&scene);
}

static void large_values_move_whole(void **state)
{
    (void)state;
    struct scene scene;
    scene_begin(&scene, (struct parts_options){.segment_bytes = 8 << 20});
    static const size_t sizes[] = {0, 64 << 10, (64 << 10) + 1, 1 << 20, 3 << 20, 5};
    for (size_t key = 0; key < COUNT_OF(sizes); key++)
        scene_put(&scene, key, sizes[key]);
    uint64_t first = scene_dump(&scene);
    scene_put(&scene, 2, 70000);
    uint64_t second = scene_dump(&scene);
    scene_check(&scene);
    compact(&scene, (uint64_t[]){first, second}, 2);
    scene_check_reopened(&scene);
    scene_end(&scene);
}

static void outputs_end_where_they_should(void **state)
{
    (void)state;
    struct scene scene;
    scene_begin(&scene, (struct parts_options){.output_bytes_max = 3000});
    for (size_t key = 0; key < SHADOW_KEYS; key++)
        scene_put(&scene, key, 700);
    uint64_t first = scene_dump(&scene);
    scene_delete(&scene, 0);
    uint64_t second = scene_dump(&scene);
    compact(&scene, (uint64_t[]){first, second}, 2);
    assert_in_range(parts_table_count(&scene.parts), 6, 12);
    for (uint64_t id = second + 1; parts_table(&scene.parts, id + 1) != NULL; id++)
        assert_true(bytes_compare(table_last_key(parts_table(&scene.parts, id)),
                                  table_first_key(parts_table(&scene.parts, id + 1))) < 0);
    scene_check_reopened(&scene);
    scene_end(&scene);
}

/* ---- tombstones ---- */

static void a_tombstone_stays_while_another_table_has_an_older_version(void **state)
{
    (void)state;
    struct scene scene;
    scene_begin(&scene, (struct parts_options){0});
    scene_put(&scene, 1, 10);
    scene_put(&scene, 2, 10);
    uint64_t old = scene_dump(&scene);
    scene_delete(&scene, 1);
    scene_put(&scene, 3, 10);
    uint64_t dead = scene_dump(&scene);
    uint64_t alone = compact(&scene, &dead, 1);
    assert_int_equal(tombstones(&scene, alone), 1);
    assert_true(parts_table(&scene.parts, alone)->tombstones_were_kept);
    scene_check_reopened(&scene);
    assert_true(parts_table(&scene.parts, alone)->tombstones_were_kept);
    uint64_t mended = compact(&scene, &old, 1); /* the old version goes ... */
    assert_int_equal(tombstones(&scene, mended), 0);
    assert_false(parts_table(&scene.parts, alone)->tombstones_were_kept);
    scene_check_reopened(&scene);
    assert_false(parts_table(&scene.parts, alone)->tombstones_were_kept); /* also by the manifest */
    uint64_t clean = compact(&scene, &alone, 1); /* ... and so may the tombstone */
    assert_int_equal(tombstones(&scene, clean), 0);
    scene_check_reopened(&scene);
    scene_end(&scene);
}

static void a_table_of_one_tombstone_that_must_stay_is_rewritten(void **state)
{
    (void)state;
    struct scene scene;
    scene_begin(&scene, (struct parts_options){0});
    scene_put(&scene, 1, 10);
    scene_dump(&scene);
    scene_delete(&scene, 1);
    uint64_t dead = scene_dump(&scene);
    uint64_t again = compact(&scene, &dead, 1);
    assert_int_equal(tombstones(&scene, again), 1);
    scene_check_reopened(&scene);
    scene_end(&scene);
}

/* An older version in the same file, a newer one elsewhere, one that begins behind the key: none of
 * them is what a tombstone hides. */
static void a_tombstone_goes_when_nothing_older_is_left(void **state)
{
    (void)state;
    struct scene scene;
    scene_begin(&scene, (struct parts_options){0});
    scene_put(&scene, 1, 10);
    uint64_t old = scene_dump(&scene);
    scene_put(&scene, 0, 10);
    scene_put(&scene, 2, 10);
    scene_dump(&scene); /* spans the key, and does not have it */
    scene_delete(&scene, 1);
    uint64_t dead = scene_dump(&scene);
    scene_put(&scene, 1, 20);
    scene_put(&scene, 5, 20);
    scene_dump(&scene); /* newer */
    uint64_t both = compact(&scene, (uint64_t[]){old, dead}, 2);
    assert_int_equal(tombstones(&scene, both), 0);
    assert_null(parts_table(&scene.parts, both));
    scene_check_reopened(&scene);
    scene_delete(&scene, 1);
    scene_check_reopened(&scene);
    scene_end(&scene);
}

static void a_table_that_cannot_be_asked_holds_an_older_version(void **state)
{
    (void)state;
    struct scene scene;
    scene_begin(&scene, (struct parts_options){0});
    scene_put(&scene, 0, 10);
    scene_put(&scene, 2, 10);
    uint64_t other = scene_dump(&scene); /* spans key 1, and does not have it */
    scene_put(&scene, 1, 10);
    uint64_t old = scene_dump(&scene);
    scene_delete(&scene, 1);
    uint64_t dead = scene_dump(&scene);
    flip_index(&scene, other);
    uint64_t both = compact(&scene, (uint64_t[]){old, dead}, 2);
    assert_int_equal(tombstones(&scene, both), 1);
    flip_index(&scene, other);
    uint64_t again = compact(&scene, &both, 1);
    assert_int_equal(tombstones(&scene, again), 0);
    scene_check_reopened(&scene);
    scene_end(&scene);
}

static unsigned compact_what_is_due(struct scene *scene)
{
    unsigned runs = 0;
    while (parts_compact(&scene->parts, VICTIMS_DUE) == STATUS_OK)
        assert_true(++runs < 10);
    return runs;
}

/* Two tables whose tombstones all must stay: rewriting one is no reason to rewrite the other. */
static void tombstones_that_must_stay_are_not_rewritten_for_ever(void **state)
{
    (void)state;
    struct scene scene;
    scene_begin(&scene, (struct parts_options){0});
    for (size_t key = 0; key < SHADOW_KEYS; key++)
        scene_put(&scene, key, 4000);
    uint64_t old = scene_dump(&scene);
    atomic_store(&parts_table(&scene.parts, old)->damaged, true); /* it is never rewritten */
    for (size_t key = 1; key < 9; key += 2) {
        scene_delete(&scene, key);
        scene_delete(&scene, key + 9);
        scene_dump(&scene);
        assert_int_equal(compact_what_is_due(&scene), 1);
    }
    assert_int_equal(parts_table_count(&scene.parts), 5);
    scene_reopen(&scene);
    atomic_store(&parts_table(&scene.parts, old)->damaged, true);
    assert_int_equal(compact_what_is_due(&scene), 0);
    scene_check_reopened(&scene);
    assert_in_range(compact_what_is_due(&scene), 1, 9); /* now all of it can go */
    compact_what_is_due(&scene);
    scene_check_reopened(&scene);
    scene_end(&scene);
}

static void a_rewrite_that_left_nothing_out_forgives_nobody(void **state)
{
    (void)state;
    struct scene scene;
    scene_begin(&scene, (struct parts_options){.output_bytes_max = 1500});
    for (size_t key = 0; key < 20; key++)
        scene_put(&scene, key, 10);
    scene_dump(&scene);
    for (size_t i = 0; i < 20; i++)
        scene_delete(&scene, i * 7 % 20); /* in no order: the outputs' sequences overlap */
    uint64_t dead = scene_dump(&scene);
    uint64_t low = compact(&scene, &dead, 1), high = low + 1;
    assert_int_equal(tombstones(&scene, low) + tombstones(&scene, high), 20);
    uint64_t again = compact(&scene, &low, 1);
    assert_true(parts_table(&scene.parts, high)->tombstones_were_kept);
    compact(&scene, &high, 1);
    assert_true(parts_table(&scene.parts, again)->tombstones_were_kept);
    scene_check_reopened(&scene);
    scene_end(&scene);
}

/* ---- any order of everything ---- */

static uint64_t next_random(uint64_t *random)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return *random >> 33;
}

static void compact_some(struct scene *scene, uint64_t *random)
{
    uint64_t ids[64];
    size_t count = 0;
    const struct view *view = views_pin(&scene->parts.store.views);
    for (size_t i = 0; i < view->table_count && count < COUNT_OF(ids); i++)
        if (next_random(random) % 2 == 0)
            ids[count++] = view->tables[i]->identity.id;
    view_unpin(view);
    if (count > 0)
        compact(scene, ids, count);
}

static void step(struct scene *scene, uint64_t *random)
{
    uint64_t dice = next_random(random) % 20;
    size_t key = next_random(random) % SHADOW_KEYS;
    if (dice < 8)
        scene_put(scene, key, next_random(random) % 200);
    else if (dice < 13)
        scene_delete(scene, key);
    else if (dice < 16)
        scene_dump(scene);
    else if (dice < 19)
        compact_some(scene, random);
    else
        scene_reopen(scene);
}

static void whatever_happens_no_key_is_wrong(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct scene scene;
        uint64_t random = seed;
        scene_begin(&scene, (struct parts_options){.lazy = seed % 2 == 0,
                                                   .output_bytes_max = seed % 3 == 0 ? 2000 : 0});
        for (int i = 0; i < 400; i++) {
            step(&scene, &random);
            if (i % 8 == 0)
                scene_check(&scene);
        }
        scene_check_reopened(&scene);
        scene_end(&scene);
    }
}

/* ---- writes in between ---- */

/* Two tables with dead and live records, and something in memory. */
static void fill(struct scene *scene, uint64_t ids[2])
{
    for (size_t key = 0; key < 12; key++)
        scene_put(scene, key, 60 + key);
    ids[0] = scene_dump(scene);
    for (size_t key = 0; key < 12; key += 3)
        scene_put(scene, key, 30);
    scene_delete(scene, 4);
    scene_delete(scene, 5);
    scene_put(scene, 20, 40);
    ids[1] = scene_dump(scene);
    scene_put(scene, 6, 11);
}

static void overwrite_and_delete(struct scene *scene)
{
    scene_put(scene, 1, 33);  /* live in the first victim */
    scene_put(scene, 0, 34);  /* live in the second */
    scene_delete(scene, 2);   /* live in the first */
    scene_delete(scene, 20);  /* live in the second */
    scene_put(scene, 4, 35);  /* dead */
    scene_put(scene, 15, 36); /* new */
}

static void overwrite_and_dump(struct scene *scene)
{
    overwrite_and_delete(scene);
    pthread_mutex_t *edits = &scene->parts.catalog.mutex;
    if (pthread_mutex_trylock(edits) != 0)
        return; /* in the middle of an edit, which the dump would wait for */
    pthread_mutex_unlock(edits);
    scene_dump(scene);
    scene_put(scene, 2, 37); /* after its tombstone was dumped: a new entry */
}

static void intrude_everywhere(bool lazy, void (*act)(struct scene *scene))
{
    bool struck = true;
    for (uint64_t n = 1; struck; n++) {
        struct scene scene;
        uint64_t ids[2];
        scene_begin(&scene, (struct parts_options){.lazy = lazy});
        fill(&scene, ids);
        struct scene_intruder intruder = {.scene = &scene, .left = n, .act = act};
        scene_intrude(&intruder);
        assert_int_equal(parts_compact_tables(&scene.parts, ids, 2), STATUS_OK);
        crash_disk_watch(scene.crash, NULL, NULL);
        struck = intruder.struck;
        assert_true(struck || n > 8);
        reclaim_run(scene.parts.store.reclaim);
        scene_check_reopened(&scene);
        scene_dump(&scene);
        scene_check_reopened(&scene);
        scene_end(&scene);
    }
}

static void newer_writes_win_at_every_moment(void **state)
{
    (void)state;
    intrude_everywhere(false, overwrite_and_delete);
    intrude_everywhere(true, overwrite_and_delete);
}

static void a_dump_at_every_moment_harms_nothing(void **state)
{
    (void)state;
    intrude_everywhere(false, overwrite_and_dump);
}

/* ---- failures ---- */

static void fail_once(unsigned operations, uint64_t nth, enum status fault, bool for_ever,
                      bool *out_struck)
{
    struct scene scene;
    uint64_t ids[2];
    scene_begin(&scene, (struct parts_options){0});
    fill(&scene, ids);
    struct scene_tables before = scene_tables(&scene);
    crash_disk_fail(scene.crash, (struct crash_fault){.operations = operations,
                                                      .nth = nth,
                                                      .for_ever = for_ever,
                                                      .status = fault});
    enum status status = parts_compact_tables(&scene.parts, ids, 2);
    *out_struck = crash_disk_failed(scene.crash);
    crash_disk_fail(scene.crash, (struct crash_fault){0});
    reclaim_run(scene.parts.store.reclaim);
    shadow_check(&scene.shadow, &scene.parts);
    struct scene_tables after = scene_tables(&scene);
    if (status == STATUS_UNKNOWN) {
        assert_true(after.count > before.count); /* nothing was removed, old or new */
        assert_int_equal(parts_compact_tables(&scene.parts, ids, 2), STATUS_UNKNOWN);
        assert_int_equal(parts_dump(&scene.parts), STATUS_UNKNOWN);
        assert_int_equal(scene_tables(&scene).count, after.count); /* nor is more written in vain */
        audit_memory(&scene.parts);
        scene_check_cuts(&scene);
    } else if (status != STATUS_OK) {
        assert_int_equal(status, fault);
        assert_int_equal(scene.parts.progress.files_before, 0);
        assert_int_equal(scene.parts.progress.files_after, 0);
        assert_int_equal(scene.parts.progress.bytes_before, 0);
        assert_int_equal(scene.parts.progress.bytes_after, 0);
        audit_memory(&scene.parts);
        scene_check_cuts(&scene);
        /* While removals failed, too, a stray may be left. */
        if ((operations & CRASH_REMOVE) == 0 || !for_ever) {
            assert_int_equal(after.hash, before.hash);
            compact(&scene, ids, 2);
            scene_check(&scene);
        }
    } else {
        scene_check_cuts(&scene);
    }
    scene_check_cuts(&scene);
    scene_reopen(&scene);
    scene_check(&scene);
    scene_end(&scene);
}

static void fail_everywhere(unsigned operations, enum status fault, bool for_ever,
                            uint64_t at_least)
{
    bool struck = true;
    uint64_t nth = 0;
    while (struck)
        fail_once(operations, ++nth, fault, for_ever, &struck);
    assert_true(nth > at_least);
}

enum {
    CHANGES = CRASH_WRITE | CRASH_SYNC | CRASH_CREATE | CRASH_RENAME | CRASH_SYNC_DIRECTORY |
              CRASH_TRUNCATE,
};

static void a_full_disk_at_any_step_leaves_all_as_it_was(void **state)
{
    (void)state;
    fail_everywhere(CRASH_WRITE | CRASH_CREATE | CRASH_TRUNCATE, STATUS_NO_SPACE, false, 4);
    fail_everywhere(CRASH_WRITE | CRASH_CREATE | CRASH_TRUNCATE, STATUS_NO_SPACE, true, 4);
}

static void an_error_at_any_step_leaves_all_as_it_was(void **state)
{
    (void)state;
    fail_everywhere(CHANGES, STATUS_IO, false, 8);
    fail_everywhere(CHANGES | CRASH_REMOVE, STATUS_IO, true, 8);
}

/* Also one behind the edit, where the outputs' index is read again to move the keys. */
static void a_failed_read_at_any_step_loses_nothing(void **state)
{
    (void)state;
    bool struck = true;
    unsigned failed = 0;
    for (uint64_t nth = 1; struck; nth++) {
        struct scene scene;
        uint64_t ids[2];
        scene_begin(&scene, (struct parts_options){0});
        fill(&scene, ids);
        crash_disk_fail(
            scene.crash,
            (struct crash_fault){.operations = CRASH_READ, .nth = nth, .status = STATUS_IO});
        failed += parts_compact_tables(&scene.parts, ids, 2) != STATUS_OK;
        struck = crash_disk_failed(scene.crash);
        crash_disk_fail(scene.crash, (struct crash_fault){0});
        reclaim_run(scene.parts.store.reclaim);
        shadow_check(&scene.shadow, &scene.parts);
        scene_put(&scene, 0, 99);
        scene_delete(&scene, 1);
        scene_dump(&scene);
        shadow_check(&scene.shadow, &scene.parts);
        scene_reopen(&scene);
        scene_check(&scene);
        scene_end(&scene);
    }
    assert_true(failed > 3);
}

/* The manifest that a start reads may be lost again with the power: the older one lists the victims. */
static void a_start_behind_a_lost_rename_keeps_what_the_older_manifest_lists(void **state)
{
    (void)state;
    struct scene scene;
    uint64_t ids[2];
    scene_begin(&scene, (struct parts_options){0});
    fill(&scene, ids);
    crash_disk_fail(
        scene.crash, /* the outputs' names are durable, the edit's is not */
        (struct crash_fault){.operations = CRASH_SYNC_DIRECTORY, .nth = 2, .status = STATUS_IO});
    assert_int_equal(parts_compact_tables(&scene.parts, ids, 2), STATUS_UNKNOWN);
    crash_disk_fail(scene.crash, (struct crash_fault){0});
    crash_disk_watch(scene.crash, scene_check_every_cut, &scene);
    scene_reopen(&scene);
    crash_disk_watch(scene.crash, NULL, NULL);
    assert_null(parts_table(&scene.parts, ids[0])); /* it was the newer one */
    scene_check(&scene);
    scene_end(&scene);
}

/* In interval mode the version that a dead one yielded to may not be durable yet. */
static void what_justified_a_choice_is_durable_before_the_edit(void **state)
{
    (void)state;
    struct scene scene;
    scene_begin(&scene, (struct parts_options){.lazy = true});
    scene_put(&scene, 1, 10);
    scene_put(&scene, 2, 10);
    uint64_t old = scene_dump(&scene);
    scene_put(&scene, 1, 20);
    scene_delete(&scene, 2);
    compact(&scene, &old, 1);
    scene_check_cuts(&scene);
    scene_put(&scene, 3, 10);
    scene_put(&scene, 3, 11);
    assert_int_equal(parts_dump(&scene.parts), STATUS_OK);
    scene_check_cuts(&scene);
    scene_end(&scene);
}

static void a_cancelled_one_leaves_all_as_it_was(void **state)
{
    (void)state;
    struct scene scene;
    scene_begin(&scene, (struct parts_options){.segment_bytes = 8 << 20});
    for (size_t key = 0; key < 10; key++)
        scene_put(&scene, key, 300 << 10);
    uint64_t first = scene_dump(&scene);
    struct scene_tables before = scene_tables(&scene);
    atomic_store(&scene.parts.closing, true);
    assert_int_equal(parts_compact_tables(&scene.parts, &first, 1), STATUS_CANCELLED);
    assert_int_equal(scene_tables(&scene).hash, before.hash);
    scene_check(&scene);
    atomic_store(&scene.parts.closing, false);
    compact(&scene, &first, 1);
    scene_check_reopened(&scene);
    scene_end(&scene);
}

/* ---- damage ---- */

static uint64_t offset_in(struct table *table, struct bytes key)
{
    uint64_t offset = 0;
    struct table_cursor cursor;
    table_cursor_init(&cursor, table);
    while (table_cursor_next(&cursor) == STATUS_OK)
        if (bytes_equal(cursor.entry.key, key))
            offset = cursor.entry.offset;
    table_cursor_done(&cursor);
    return offset;
}

static void check_damaged_victim(uint64_t into_record)
{
    struct scene scene;
    uint64_t ids[2];
    scene_begin(&scene, (struct parts_options){0});
    fill(&scene, ids);
    /* Of key 0, overwritten; then of key 1, live. */
    uint64_t dead_offset = sizeof(struct table_header);
    uint64_t live_offset = offset_in(parts_table(&scene.parts, ids[0]), bytes_of(shadow_name(1)));
    scene_flip(&scene, ids[0], dead_offset + into_record);
    scene_flip(&scene, ids[0], live_offset + into_record);
    struct scene_tables before = scene_tables(&scene);
    assert_int_equal(parts_compact_tables(&scene.parts, ids, 2), STATUS_CORRUPT);
    assert_int_equal(scene_tables(&scene).hash, before.hash);
    assert_true(parts_table(&scene.parts, ids[0])->damaged);
    assert_false(parts_table(&scene.parts, ids[1])->damaged);
    while (parts_compact(&scene.parts, VICTIMS_ALL) == STATUS_OK)
        reclaim_run(scene.parts.store.reclaim);
    assert_non_null(parts_table(&scene.parts, ids[0])); /* never picked */
    assert_null(parts_table(&scene.parts, ids[1]));
    scene_reopen(&scene);
    for (size_t key = 0; key < SHADOW_KEYS; key++)
        if (key == 1)
            assert_int_equal(parts_read(&scene.parts, shadow_name(key)), STATUS_CORRUPT);
        else
            assert_true(shadow_key_is_right(&scene.shadow, &scene.parts, key));
    scene_put(&scene, 1, 5); /* a new version heals the key */
    shadow_check(&scene.shadow, &scene.parts);
    scene_end(&scene);
}

static void a_damaged_victim_is_left_alone_and_kept(void **state)
{
    (void)state;
    check_damaged_victim(sizeof(struct record));                              /* in the key */
    check_damaged_victim(sizeof(struct record) + strlen(shadow_name(1)) + 5); /* in the value */
}

static void a_victim_with_a_damaged_index_is_left_alone(void **state)
{
    (void)state;
    struct scene scene;
    uint64_t ids[2];
    scene_begin(&scene, (struct parts_options){0});
    fill(&scene, ids);
    flip_index(&scene, ids[0]);
    assert_int_equal(parts_compact_tables(&scene.parts, ids, 2), STATUS_CORRUPT);
    assert_true(parts_table(&scene.parts, ids[0])->damaged);
    shadow_check(&scene.shadow, &scene.parts);
    flip_index(&scene, ids[0]);
    scene_check_reopened(&scene);
    scene_end(&scene);
}

/* A writer counts what it displaced a moment after it did: a count that is too high is no bug. */
static void a_count_that_lags_is_no_bug(void **state)
{
    (void)state;
    struct scene scene;
    uint64_t ids[2];
    scene_begin(&scene, (struct parts_options){0});
    fill(&scene, ids);
    store_table_live(parts_table(&scene.parts, ids[0]), 1, 8);
    compact(&scene, ids, 2);
    assert_int_equal(stats_read(scene.parts.stats, STATS_compaction_bugs), 0);
    scene_check_reopened(&scene);
    scene_end(&scene);
}

/* As a bug would: a record that was dead when it was passed over is the newest one again. */
static void bring_key_6_back(struct scene *scene)
{
    struct store *store = &scene->parts.store;
    struct bytes key = bytes_of(shadow_name(6));
    struct table *table = parts_table(&scene->parts, 1);
    struct entry *entry = keymap_find(store->keymap, keymap_hash(store->keymap, key), key);
    uint64_t offset = offset_in(table, key);
    atomic_store(&entry->place, place_of_position(table->slot, offset));
    store_table_live(table, 1, sizeof(struct record));
}

static void a_copy_that_is_missing_stops_the_edit(void **state)
{
    (void)state;
    struct scene scene;
    uint64_t ids[2];
    scene_begin(&scene, (struct parts_options){0});
    fill(&scene, ids);
    struct scene_tables before = scene_tables(&scene);
    struct scene_intruder intruder = {.scene = &scene, .left = 2, .act = bring_key_6_back};
    scene_intrude(&intruder); /* the output's file was made, and all is chosen that it will hold */
    assert_int_equal(parts_compact_tables(&scene.parts, ids, 2), STATUS_CORRUPT);
    crash_disk_watch(scene.crash, NULL, NULL);
    assert_int_equal(stats_read(scene.parts.stats, STATS_compaction_bugs), 1);
    assert_int_equal(scene_tables(&scene).hash, before.hash);
    assert_true(parts_table(&scene.parts, ids[0])->damaged); /* and no victim any more */
    assert_int_equal(parts_read(&scene.parts, shadow_name(6)), STATUS_OK);
    scene_end(&scene);
}

/* ---- slots ---- */

static void a_slot_is_used_again_after_the_grace_period(void **state)
{
    (void)state;
    struct scene scene;
    uint64_t ids[2];
    scene_begin(&scene, (struct parts_options){0});
    fill(&scene, ids);
    uint32_t old = parts_table(&scene.parts, ids[0])->slot;
    reclaim_enter(scene.parts.store.reclaim); /* a reader, who may still hold a place in it */
    assert_int_equal(parts_compact_tables(&scene.parts, ids, 2), STATUS_OK);
    assert_non_null(slots_table(&scene.parts.store.slots, old));
    uint64_t other = scene_dump(&scene);
    assert_int_not_equal(parts_table(&scene.parts, other)->slot, old);
    reclaim_leave(scene.parts.store.reclaim);
    reclaim_run(scene.parts.store.reclaim);
    assert_null(slots_table(&scene.parts.store.slots, old));
    scene_put(&scene, 7, 70);
    uint64_t third = scene_dump(&scene);
    assert_int_equal(parts_table(&scene.parts, third)->slot, old);
    scene_check_reopened(&scene);
    scene_end(&scene);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("only the dead is left out", only_the_dead_is_left_out),
        TEST("tables of nothing but the dead become none",
             tables_of_nothing_but_the_dead_become_none),
        TEST("large values move whole", large_values_move_whole),
        TEST("outputs end where they should", outputs_end_where_they_should),
        TEST("a tombstone stays while another table has an older version",
             a_tombstone_stays_while_another_table_has_an_older_version),
        TEST("a table of one tombstone that must stay is rewritten",
             a_table_of_one_tombstone_that_must_stay_is_rewritten),
        TEST("a tombstone goes when nothing older is left",
             a_tombstone_goes_when_nothing_older_is_left),
        TEST("a table that cannot be asked holds an older version",
             a_table_that_cannot_be_asked_holds_an_older_version),
        TEST("tombstones that must stay are not rewritten for ever",
             tombstones_that_must_stay_are_not_rewritten_for_ever),
        TEST("a rewrite that left nothing out forgives nobody",
             a_rewrite_that_left_nothing_out_forgives_nobody),
        TEST("whatever happens, no key is wrong", whatever_happens_no_key_is_wrong),
        TEST("newer writes win at every moment", newer_writes_win_at_every_moment),
        TEST("a dump at every moment harms nothing", a_dump_at_every_moment_harms_nothing),
        TEST("a full disk at any step leaves all as it was",
             a_full_disk_at_any_step_leaves_all_as_it_was),
        TEST("an error at any step leaves all as it was",
             an_error_at_any_step_leaves_all_as_it_was),
        TEST("a failed read at any step loses nothing", a_failed_read_at_any_step_loses_nothing),
        TEST("a start behind a lost rename keeps what the older manifest lists",
             a_start_behind_a_lost_rename_keeps_what_the_older_manifest_lists),
        TEST("what justified a choice is durable before the edit",
             what_justified_a_choice_is_durable_before_the_edit),
        TEST("a cancelled one leaves all as it was", a_cancelled_one_leaves_all_as_it_was),
        TEST("a damaged victim is left alone and kept", a_damaged_victim_is_left_alone_and_kept),
        TEST("a victim with a damaged index is left alone",
             a_victim_with_a_damaged_index_is_left_alone),
        TEST("a count that lags is no bug", a_count_that_lags_is_no_bug),
        TEST("a copy that is missing stops the edit", a_copy_that_is_missing_stops_the_edit),
        TEST("a slot is used again after the grace period",
             a_slot_is_used_again_after_the_grace_period),
    };
    return test_main(argc, argv, "compaction", tests);
}
