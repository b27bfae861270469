/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From memory to tables: nothing is lost, nothing deleted comes back, a newer write wins at every
 * moment, and what is given up leaves no trace.
 */
#include "../../lib/scene.h"
#include "../../lib/test.h"

static const struct table_properties *properties(struct scene *scene, uint64_t table_id)
{
    return parts_table(&scene->parts, table_id)->properties;
}

static enum status freeze(void *context)
{
    return store_freeze(context);
}

static void must_freeze(struct scene *scene)
{
    assert_int_equal(commit_alone(scene->parts.commit, freeze, &scene->parts.store), STATUS_OK);
}

/* Five keys of which three are still as the first writes left them. */
static void fill(struct scene *scene)
{
    for (size_t key = 0; key < 5; key++)
        scene_put(scene, key, 40 + key);
    scene_put(scene, 0, 50);
    scene_delete(scene, 1);
}

/* ---- promises ---- */

static void what_was_dumped_is_read_from_the_table(void **state)
{
    (void)state;
    struct scene scene;
    scene_begin(&scene, (struct parts_options){.segment_bytes = 8 << 20});
    static const size_t sizes[] = {0, 1, 64 << 10, (64 << 10) + 1, 3 << 20};
    for (size_t key = 0; key < COUNT_OF(sizes); key++)
        scene_put(&scene, key, sizes[key]);
    scene_put(&scene, SHADOW_KEYS - 1, 9);
    uint64_t used = budget_used(&scene.parts.store.budget);
    uint64_t id = scene_dump(&scene);
    reclaim_run(scene.parts.store.reclaim);
    assert_int_equal(scene.parts.store.memtables.alive, 1); /* the others' memory is back */
    assert_true(budget_used(&scene.parts.store.budget) < used - (3 << 20));
    assert_int_equal(properties(&scene, id)->records, COUNT_OF(sizes) + 1);
    scene_check_reopened(&scene);
    assert_int_equal(memtable_count(scene.parts.store.memtable), 0); /* what tables hold */
    scene_end(&scene);
}

static void only_newest_versions_are_written_and_every_tombstone_is(void **state)
{
    (void)state;
    struct scene scene;
    scene_begin(&scene, (struct parts_options){0});
    fill(&scene);
    scene_put(&scene, 9, 10);
    scene_delete(&scene, 9); /* no table ever had it: nobody says so */
    uint64_t id = scene_dump(&scene);
    assert_int_equal(properties(&scene, id)->records, 6);
    assert_int_equal(properties(&scene, id)->tombstones, 2);
    assert_int_equal(keymap_count(scene.parts.store.keymap), 4);
    scene_check_reopened(&scene);
    scene_end(&scene);
}

static void a_key_of_which_a_newer_version_is_in_memory_is_left_out(void **state)
{
    (void)state;
    struct scene scene;
    scene_begin(&scene, (struct parts_options){0});
    fill(&scene);
    must_freeze(&scene);
    scene_put(&scene, 2, 99);
    scene_delete(&scene, 3);
    scene_put(&scene, 1, 98); /* deleted in the frozen one */
    uint64_t id = catalog_next_table_id(&scene.parts.catalog);
    assert_int_equal(dump_oldest(scene.parts.dump), STATUS_OK);
    assert_int_equal(properties(&scene, id)->records, 2);
    assert_int_equal(properties(&scene, id)->tombstones, 0);
    scene_check_reopened(&scene);
    scene_end(&scene);
}

static void memtables_are_dumped_oldest_first(void **state)
{
    (void)state;
    struct scene scene;
    scene_begin(&scene, (struct parts_options){0});
    uint64_t flushed[3];
    for (size_t i = 0; i < 3; i++) {
        fill(&scene);
        flushed[i] = store_sequence(&scene.parts.store);
        must_freeze(&scene);
    }
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(dump_oldest(scene.parts.dump), STATUS_OK);
        assert_int_equal(catalog_flushed(&scene.parts.catalog), flushed[i]);
        scene_check(&scene);
    }
    assert_int_equal(dump_oldest(scene.parts.dump), STATUS_NOT_FOUND);
    assert_int_equal(parts_table_count(&scene.parts), 1); /* of the others nothing was newest */
    scene_check_reopened(&scene);
    scene_end(&scene);
}

static void a_memtable_without_a_newest_version_becomes_no_table(void **state)
{
    (void)state;
    struct scene scene;
    scene_begin(&scene, (struct parts_options){0});
    scene_put(&scene, 1, 5);
    must_freeze(&scene);
    scene_put(&scene, 1, 6);
    assert_int_equal(dump_oldest(scene.parts.dump), STATUS_OK);
    assert_int_equal(parts_table_count(&scene.parts), 0);
    must_freeze(&scene);
    must_freeze(&scene); /* an empty one */
    assert_int_equal(dump_oldest(scene.parts.dump), STATUS_OK);
    assert_int_equal(dump_oldest(scene.parts.dump), STATUS_OK);
    assert_int_equal(parts_table_count(&scene.parts), 1);
    scene_check_reopened(&scene);
    scene_end(&scene);
}

/* A table's writer refuses any other order. */
static void keys_are_written_in_their_order_however_they_begin(void **state)
{
    (void)state;
    static const char *const beginnings[] = {"", "k", "key of a length/"};
    static const char *const rests[] = {"b",    "\xff\xff",  "abcdefgh\xff", "abcdefgh",
                                        "a",    "abcdefgh1", "abcdefg",      "\x7f\xff",
                                        "\x80", "\x01",      "abcdefgh\x01"};
    for (size_t i = 0; i < COUNT_OF(beginnings); i++) {
        struct scene scene;
        scene_begin(&scene, (struct parts_options){0});
        for (size_t j = 0; j < COUNT_OF(rests); j++) {
            char key[64];
            snprintf(key, sizeof key, "%s%s", beginnings[i], rests[j]);
            struct engine_operation put =
                parts_put_operation(&scene.parts, bytes_of(key), 10, (unsigned char)j);
            assert_int_equal(parts_commit(&scene.parts, &put, 1, NULL), STATUS_OK);
        }
        assert_int_equal(properties(&scene, scene_dump(&scene))->records, COUNT_OF(rests));
        scene_end(&scene);
    }
}

static void the_journal_behind_it_is_let_go(void **state)
{
    (void)state;
    struct scene scene;
    scene_begin(&scene, (struct parts_options){.segment_bytes = 128 << 10});
    for (int i = 0; i < 40; i++)
        scene_put(&scene, (size_t)i % 4, 20000);
    uint64_t segments = journal_figures(scene.parts.journal).segments;
    assert_true(segments > 5);
    uint64_t first = scene.parts.catalog.manifest.journal_first;
    scene_dump(&scene);
    assert_true(scene.parts.catalog.manifest.journal_first > first + 4);
    journal_trim(scene.parts.journal);
    assert_in_range(journal_figures(scene.parts.journal).segments, 1, 3);
    scene_check_reopened(&scene);
    scene_check_cuts(&scene);
    scene_end(&scene);
}

/* In interval mode the version that one was left out for may not be durable yet. */
static void what_justified_a_choice_is_durable_before_the_edit(void **state)
{
    (void)state;
    struct scene scene;
    scene_begin(&scene, (struct parts_options){.lazy = true});
    scene_put(&scene, 1, 10);
    scene_put(&scene, 2, 10);
    must_freeze(&scene);
    scene_put(&scene, 1, 20);
    scene_delete(&scene, 2);
    assert_int_equal(dump_oldest(scene.parts.dump), STATUS_OK);
    scene_check_cuts(&scene);
    scene_end(&scene);
}

static void keys_that_died_leave_no_memory_behind(void **state)
{
    (void)state;
    struct scene scene;
    scene_begin(&scene, (struct parts_options){0});
    uint64_t bytes = 0;
    for (int round = 0; round < 300; round++) {
        for (size_t key = 0; key < SHADOW_KEYS; key++)
            scene_put(&scene, key, 5);
        for (size_t key = 0; key < SHADOW_KEYS; key++)
            scene_delete(&scene, key);
        scene_dump(&scene);
        reclaim_run(scene.parts.store.reclaim);
        assert_int_equal(keymap_count(scene.parts.store.keymap), 0);
        if (round == 5)
            bytes = entry_pool_bytes(scene.parts.store.entries);
    }
    assert_int_equal(entry_pool_bytes(scene.parts.store.entries), bytes);
    scene_end(&scene);
}

/* ---- writes in between ---- */

static void overwrite_and_delete(struct scene *scene)
{
    scene_put(scene, 0, 71);
    scene_delete(scene, 2);
    scene_put(scene, 1, 72); /* whose tombstone is on its way to the table */
    scene_put(scene, 6, 73);
}

static void bring_back_and_delete_again(struct scene *scene)
{
    scene_put(scene, 1, 81);
    scene_delete(scene, 1);
    scene_delete(scene, 3);
    scene_put(scene, 3, 82);
}

static void dump_frozen(struct scene *scene)
{
    assert_int_equal(dump_oldest(scene->parts.dump), STATUS_OK);
}

static void intrude_everywhere(void (*act)(struct scene *scene), bool lazy)
{
    bool struck = true;
    for (uint64_t n = 1; struck; n++) {
        struct scene scene;
        scene_begin(&scene, (struct parts_options){.lazy = lazy});
        fill(&scene);
        scene_dump(&scene);
        fill(&scene);
        struct scene_intruder intruder = {.scene = &scene, .left = n, .act = act};
        scene_intrude(&intruder);
        scene_dump(&scene);
        crash_disk_watch(scene.crash, NULL, NULL);
        struck = intruder.struck;
        assert_true(struck || n > 8);
        scene_check_reopened(&scene);
        scene_dump(&scene);
        scene_check_reopened(&scene);
        scene_end(&scene);
    }
}

static void newer_writes_win_at_every_moment(void **state)
{
    (void)state;
    for (int lazy = 0; lazy < 2; lazy++) {
        intrude_everywhere(overwrite_and_delete, lazy);
        intrude_everywhere(bring_back_and_delete_again, lazy);
    }
}

/* An entry that the leader found before its sync may be dead behind it. */
static void a_dump_in_the_midst_of_a_commit_harms_nothing(void **state)
{
    (void)state;
    bool struck = true;
    for (uint64_t n = 1; struck; n++) {
        for (size_t key = 0; key < 3; key++) { /* replaced, deleted and as it was first */
            struct scene scene;
            scene_begin(&scene, (struct parts_options){0});
            fill(&scene);
            must_freeze(&scene);
            struct scene_intruder intruder = {.scene = &scene, .left = n, .act = dump_frozen};
            scene_intrude(&intruder);
            scene_put(&scene, key, 33);
            crash_disk_watch(scene.crash, NULL, NULL);
            struck = intruder.struck;
            assert_true(struck || n > 2);
            scene_check_reopened(&scene);
            scene_end(&scene);
        }
    }
}

/* ---- failures ---- */

static void check_given_up(struct scene *scene, enum status status, enum status fault,
                           const struct scene_tables *before)
{
    if (status == STATUS_UNKNOWN) {
        assert_true(scene_tables(scene).count > before->count);
        size_t count = scene_tables(scene).count;
        assert_int_equal(parts_dump(&scene->parts), STATUS_UNKNOWN);
        assert_int_equal(scene_tables(scene).count, count);
        return;
    }
    assert_int_equal(status, fault);
    assert_int_equal(scene_tables(scene).hash, before->hash);
    scene_check(scene);
    scene_dump(scene); /* the next one does it all */
    scene_check(scene);
}

static bool fail_once(uint64_t nth, enum status fault, bool for_ever)
{
    struct scene scene;
    scene_begin(&scene, (struct parts_options){0});
    fill(&scene);
    scene_dump(&scene);
    fill(&scene);
    scene_put(&scene, 12, 12);
    struct scene_tables before = scene_tables(&scene);
    unsigned changes = CRASH_WRITE | CRASH_SYNC | CRASH_CREATE | CRASH_RENAME |
                       CRASH_SYNC_DIRECTORY | CRASH_TRUNCATE;
    crash_disk_fail(scene.crash, (struct crash_fault){
                                     .operations = changes | (fault == STATUS_IO ? CRASH_READ : 0u),
                                     .nth = nth,
                                     .for_ever = for_ever,
                                     .status = fault});
    enum status status = parts_dump(&scene.parts);
    bool struck = crash_disk_failed(scene.crash);
    crash_disk_fail(scene.crash, (struct crash_fault){0});
    shadow_check(&scene.shadow, &scene.parts);
    scene_check_cuts(&scene);
    if (status != STATUS_OK)
        check_given_up(&scene, status, fault, &before);
    scene_check_cuts(&scene);
    scene_reopen(&scene);
    scene_check(&scene);
    scene_end(&scene);
    return struck;
}

static void a_failure_at_any_step_leaves_all_as_it_was(void **state)
{
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        uint64_t nth = 1;
        while (fail_once(nth, kind % 2 == 0 ? STATUS_IO : STATUS_NO_SPACE, kind >= 2))
            nth++;
        assert_true(nth > 10);
    }
}

/* ---- behind a journal that failed ---- */

static void all_memory_is_dumped_when_the_journal_fails(void **state)
{
    (void)state;
    for (int lazy = 0; lazy < 2; lazy++) {
        struct scene scene;
        scene_begin(&scene, (struct parts_options){.lazy = lazy});
        fill(&scene);
        must_freeze(&scene);
        fill(&scene);
        scene_put(&scene, 7, 7);
        uint64_t sequence = store_sequence(&scene.parts.store);
        crash_disk_fail(scene.crash, (struct crash_fault){
                                         .operations = CRASH_WRITE, .nth = 1, .status = STATUS_IO});
        assert_int_equal(shadow_put(&scene.shadow, &scene.parts, 8, 8), STATUS_UNAVAILABLE);
        assert_true(crash_disk_failed(scene.crash));
        assert_int_equal(catalog_flushed(&scene.parts.catalog), sequence);
        assert_int_equal(parts_memtable_count(&scene.parts), 1);
        scene_check(&scene);
        scene_check_cuts(&scene); /* also what interval mode had not synced */
        scene_put(&scene, 8, 9);
        scene_delete(&scene, 7);
        assert_int_equal(store_sequence(&scene.parts.store), sequence + 2);
        scene_check_reopened(&scene);
        scene_end(&scene);
    }
}

static void fail_a_write(struct scene *scene, enum status expected)
{
    crash_disk_fail(scene->crash,
                    (struct crash_fault){.operations = CRASH_WRITE, .nth = 1, .status = STATUS_IO});
    assert_int_equal(shadow_put(&scene->shadow, &scene->parts, 8, 8), expected);
    assert_true(crash_disk_failed(scene->crash));
    crash_disk_fail(scene->crash, (struct crash_fault){0});
}

static void a_journal_that_fails_again_within_a_minute_is_given_up(void **state)
{
    (void)state;
    struct scene scene;
    scene_begin(&scene, (struct parts_options){0}); /* times stand still */
    fill(&scene);
    fail_a_write(&scene, STATUS_UNAVAILABLE);
    scene_put(&scene, 7, 7);
    fail_a_write(&scene, STATUS_UNKNOWN);
    assert_int_equal(shadow_put(&scene.shadow, &scene.parts, 9, 9), STATUS_READ_ONLY);
    scene_reopen(&scene);
    scene_put(&scene, 8, 9); /* nobody can say what became of it */
    scene_check(&scene);
    scene_end(&scene);
}

/* ---- names ---- */

static void a_name_that_a_file_has_is_not_given_out_again(void **state)
{
    (void)state;
    struct scene scene;
    struct disk_file *stray;
    char name[64];
    scene_begin(&scene, (struct parts_options){0});
    fill(&scene);
    uint64_t id = scene_dump(&scene) + 1; /* as after a dump that a crash cut off */
    table_name(id, name);
    assert_int_equal(disk_create(scene.parts.disk, name, &stray), STATUS_OK);
    disk_file_close(stray);
    /* The manifest's temporary file is the first that a start removes. */
    crash_disk_fail(scene.crash, (struct crash_fault){
                                     .operations = CRASH_REMOVE, .nth = 2, .status = STATUS_IO});
    scene_reopen(&scene);
    assert_int_equal(scene_tables(&scene).count, 2);
    fill(&scene);
    assert_int_equal(scene_dump(&scene), id + 1);
    shadow_check(&scene.shadow, &scene.parts);
    scene_end(&scene);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("what was dumped is read from the table", what_was_dumped_is_read_from_the_table),
        TEST("only newest versions are written, and every tombstone is",
             only_newest_versions_are_written_and_every_tombstone_is),
        TEST("a key of which a newer version is in memory is left out",
             a_key_of_which_a_newer_version_is_in_memory_is_left_out),
        TEST("memtables are dumped oldest first", memtables_are_dumped_oldest_first),
        TEST("a memtable without a newest version becomes no table",
             a_memtable_without_a_newest_version_becomes_no_table),
        TEST("keys are written in their order, however they begin",
             keys_are_written_in_their_order_however_they_begin),
        TEST("the journal behind it is let go", the_journal_behind_it_is_let_go),
        TEST("what justified a choice is durable before the edit",
             what_justified_a_choice_is_durable_before_the_edit),
        TEST("keys that died leave no memory behind", keys_that_died_leave_no_memory_behind),
        TEST("newer writes win at every moment", newer_writes_win_at_every_moment),
        TEST("a dump in the midst of a commit harms nothing",
             a_dump_in_the_midst_of_a_commit_harms_nothing),
        TEST("a failure at any step leaves all as it was",
             a_failure_at_any_step_leaves_all_as_it_was),
        TEST("all memory is dumped when the journal fails",
             all_memory_is_dumped_when_the_journal_fails),
        TEST("a journal that fails again within a minute is given up",
             a_journal_that_fails_again_within_a_minute_is_given_up),
        TEST("a name that a file has is not given out again",
             a_name_that_a_file_has_is_not_given_out_again),
    };
    return test_main(argc, argv, "dump", tests);
}
