/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rewriting tables: nothing live is lost, nothing deleted comes back, a newer write wins, and what
 * is given up leaves no trace. All over a simulated disk in one thread, audited after every step.
 */
#include "../../lib/audit.h"
#include "../../lib/shadow.h"
#include "../../lib/test.h"

/* A store, what it must hold, and its disk. */
struct bench {
    struct crash_disk *crash;
    struct parts parts;
    struct shadow shadow;
};

static void begin_with(struct bench *bench, struct parts_options options)
{
    memset(bench, 0, sizeof *bench);
    bench->crash = crash_disk_open();
    options.crash = bench->crash;
    parts_open(&bench->parts, &options);
}

static void begin(struct bench *bench)
{
    begin_with(bench, (struct parts_options){0});
}

static void end(struct bench *bench)
{
    parts_close(&bench->parts);
    crash_disk_close(bench->crash);
}

static void check(struct bench *bench)
{
    shadow_check(&bench->shadow, &bench->parts);
    audit(&bench->parts);
}

static void reopen(struct bench *bench)
{
    struct failure failure = {0};
    parts_stop(&bench->parts);
    if (parts_recover(&bench->parts, &failure) != STATUS_OK)
        fail_msg("%s", failure.message);
}

static void check_reopened(struct bench *bench)
{
    check(bench);
    reopen(bench);
    check(bench);
}

static void put(struct bench *bench, size_t key, size_t size)
{
    shadow_must_put(&bench->shadow, &bench->parts, key, size);
}

static void delete (struct bench *bench, size_t key)
{
    shadow_must_delete(&bench->shadow, &bench->parts, key);
}

/* The id of the table that it became. */
static uint64_t dump(struct bench *bench)
{
    uint64_t id = catalog_next_table_id(&bench->parts.catalog);
    assert_int_equal(parts_dump(&bench->parts), STATUS_OK);
    return id;
}

static uint64_t compact(struct bench *bench, const uint64_t *ids, size_t count)
{
    uint64_t id = catalog_next_table_id(&bench->parts.catalog);
    assert_int_equal(parts_compact_tables(&bench->parts, ids, count), STATUS_OK);
    reclaim_run(bench->parts.store.reclaim);
    return id;
}

static uint64_t tombstones(struct bench *bench, uint64_t id)
{
    const struct table *table = parts_table(&bench->parts, id);
    return table != NULL ? table->properties->tombstones : 0;
}

/* Where the first index block of a table is damaged, as long as it is not mended again. */
static void flip_index(struct bench *bench, uint64_t id)
{
    const struct table *table = parts_table(&bench->parts, id);
    unsigned char byte;
    size_t got;
    assert_int_equal(disk_file_read(table->file, table->records_end, &byte, 1, &got), STATUS_OK);
    byte ^= 1;
    struct iovec piece = {&byte, 1};
    assert_int_equal(disk_file_write(table->file, table->records_end, &piece, 1), STATUS_OK);
}

static void flip_record(struct bench *bench, uint64_t id, uint64_t offset)
{
    const struct table *table = parts_table(&bench->parts, id);
    unsigned char byte;
    size_t got;
    assert_int_equal(disk_file_read(table->file, offset, &byte, 1, &got), STATUS_OK);
    byte ^= 1;
    struct iovec piece = {&byte, 1};
    assert_int_equal(disk_file_write(table->file, offset, &piece, 1), STATUS_OK);
}

/* ---- what stays and what goes ---- */

static void only_the_dead_is_left_out(void **state)
{
    (void)state;
    struct bench bench;
    begin(&bench);
    for (size_t key = 0; key < SHADOW_KEYS; key++)
        put(&bench, key, 100 + key);
    uint64_t first = dump(&bench);
    for (size_t key = 0; key < SHADOW_KEYS; key += 2)
        put(&bench, key, 50);
    for (size_t key = 0; key < SHADOW_KEYS; key += 3)
        delete (&bench, key);
    uint64_t second = dump(&bench);
    uint64_t both = compact(&bench, (uint64_t[]){first, second}, 2);
    check(&bench);
    const struct table *table = parts_table(&bench.parts, both);
    assert_int_equal(parts_table_count(&bench.parts), 1);
    assert_int_equal(table->properties->records, bench.parts.store.keys);
    assert_int_equal(table->properties->tombstones, 0);
    assert_int_equal(table->live_records, table->properties->records);
    check_reopened(&bench);
    assert_int_equal(parts_compact(&bench.parts, VICTIMS_ALL), STATUS_NOT_FOUND);
    end(&bench);
}

static void tables_of_nothing_but_the_dead_become_none(void **state)
{
    (void)state;
    struct bench bench;
    begin(&bench);
    for (size_t key = 0; key < SHADOW_KEYS; key++)
        put(&bench, key, 10);
    uint64_t first = dump(&bench);
    for (size_t key = 0; key < SHADOW_KEYS; key++)
        delete (&bench, key);
    uint64_t second = dump(&bench);
    compact(&bench, (uint64_t[]){first, second}, 2);
    assert_int_equal(parts_table_count(&bench.parts), 0);
    assert_int_equal(keymap_count(bench.parts.store.keymap), 0);
    check_reopened(&bench);
    end(&bench);
}

static void large_values_move_whole(void **state)
{
    (void)state;
    struct bench bench;
    begin_with(&bench, (struct parts_options){.segment_bytes = 8 << 20});
    static const size_t sizes[] = {0, 64 << 10, (64 << 10) + 1, 1 << 20, 3 << 20, 5};
    for (size_t key = 0; key < COUNT_OF(sizes); key++)
        put(&bench, key, sizes[key]);
    uint64_t first = dump(&bench);
    put(&bench, 2, 70000);
    uint64_t second = dump(&bench);
    check(&bench);
    compact(&bench, (uint64_t[]){first, second}, 2);
    check_reopened(&bench);
    end(&bench);
}

static void outputs_end_where_they_should(void **state)
{
    (void)state;
    struct bench bench;
    begin_with(&bench, (struct parts_options){.output_bytes_max = 3000});
    for (size_t key = 0; key < SHADOW_KEYS; key++)
        put(&bench, key, 700);
    uint64_t first = dump(&bench);
    delete (&bench, 0);
    uint64_t second = dump(&bench);
    compact(&bench, (uint64_t[]){first, second}, 2);
    assert_in_range(parts_table_count(&bench.parts), 6, 12);
    for (uint64_t id = second + 1; parts_table(&bench.parts, id + 1) != NULL; id++)
        assert_true(bytes_compare(table_last_key(parts_table(&bench.parts, id)),
                                  table_first_key(parts_table(&bench.parts, id + 1))) < 0);
    check_reopened(&bench);
    end(&bench);
}

/* ---- tombstones ---- */

static void a_tombstone_stays_while_another_table_has_an_older_version(void **state)
{
    (void)state;
    struct bench bench;
    begin(&bench);
    put(&bench, 1, 10);
    put(&bench, 2, 10);
    uint64_t old = dump(&bench);
    delete (&bench, 1);
    put(&bench, 3, 10);
    uint64_t dead = dump(&bench);
    uint64_t alone = compact(&bench, &dead, 1);
    assert_int_equal(tombstones(&bench, alone), 1);
    assert_true(parts_table(&bench.parts, alone)->tombstones_were_kept);
    check_reopened(&bench);
    assert_true(parts_table(&bench.parts, alone)->tombstones_were_kept);
    uint64_t mended = compact(&bench, &old, 1); /* the old version goes ... */
    assert_int_equal(tombstones(&bench, mended), 0);
    assert_false(parts_table(&bench.parts, alone)->tombstones_were_kept);
    check_reopened(&bench);
    assert_false(parts_table(&bench.parts, alone)->tombstones_were_kept); /* also by the manifest */
    uint64_t clean = compact(&bench, &alone, 1); /* ... and so may the tombstone */
    assert_int_equal(tombstones(&bench, clean), 0);
    check_reopened(&bench);
    end(&bench);
}

static void a_table_of_one_tombstone_that_must_stay_is_rewritten(void **state)
{
    (void)state;
    struct bench bench;
    begin(&bench);
    put(&bench, 1, 10);
    dump(&bench);
    delete (&bench, 1);
    uint64_t dead = dump(&bench);
    uint64_t again = compact(&bench, &dead, 1);
    assert_int_equal(tombstones(&bench, again), 1);
    check_reopened(&bench);
    end(&bench);
}

/* An older version in the same file, a newer one elsewhere, one that begins behind the key: none of
 * them is what a tombstone hides. */
static void a_tombstone_goes_when_nothing_older_is_left(void **state)
{
    (void)state;
    struct bench bench;
    begin(&bench);
    put(&bench, 1, 10);
    uint64_t old = dump(&bench);
    put(&bench, 0, 10);
    put(&bench, 2, 10);
    dump(&bench); /* spans the key, and does not have it */
    delete (&bench, 1);
    uint64_t dead = dump(&bench);
    put(&bench, 1, 20);
    put(&bench, 5, 20);
    dump(&bench); /* newer */
    uint64_t both = compact(&bench, (uint64_t[]){old, dead}, 2);
    assert_int_equal(tombstones(&bench, both), 0);
    assert_null(parts_table(&bench.parts, both));
    check_reopened(&bench);
    delete (&bench, 1);
    check_reopened(&bench);
    end(&bench);
}

static void a_table_that_cannot_be_asked_holds_an_older_version(void **state)
{
    (void)state;
    struct bench bench;
    begin(&bench);
    put(&bench, 0, 10);
    put(&bench, 2, 10);
    uint64_t other = dump(&bench); /* spans key 1, and does not have it */
    put(&bench, 1, 10);
    uint64_t old = dump(&bench);
    delete (&bench, 1);
    uint64_t dead = dump(&bench);
    flip_index(&bench, other);
    uint64_t both = compact(&bench, (uint64_t[]){old, dead}, 2);
    assert_int_equal(tombstones(&bench, both), 1);
    flip_index(&bench, other);
    uint64_t again = compact(&bench, &both, 1);
    assert_int_equal(tombstones(&bench, again), 0);
    check_reopened(&bench);
    end(&bench);
}

static unsigned compact_what_is_due(struct bench *bench)
{
    unsigned runs = 0;
    while (parts_compact(&bench->parts, VICTIMS_DUE) == STATUS_OK)
        assert_true(++runs < 10);
    return runs;
}

/* Two tables whose tombstones all must stay: rewriting one is no reason to rewrite the other. */
static void tombstones_that_must_stay_are_not_rewritten_for_ever(void **state)
{
    (void)state;
    struct bench bench;
    begin(&bench);
    for (size_t key = 0; key < SHADOW_KEYS; key++)
        put(&bench, key, 4000);
    uint64_t old = dump(&bench);
    atomic_store(&parts_table(&bench.parts, old)->damaged, true); /* it is never rewritten */
    for (size_t key = 1; key < 9; key += 2) {
        delete (&bench, key);
        delete (&bench, key + 9);
        dump(&bench);
        assert_int_equal(compact_what_is_due(&bench), 1);
    }
    assert_int_equal(parts_table_count(&bench.parts), 5);
    reopen(&bench);
    atomic_store(&parts_table(&bench.parts, old)->damaged, true);
    assert_int_equal(compact_what_is_due(&bench), 0);
    check_reopened(&bench);
    assert_in_range(compact_what_is_due(&bench), 1, 9); /* now all of it can go */
    compact_what_is_due(&bench);
    check_reopened(&bench);
    end(&bench);
}

static void a_rewrite_that_left_nothing_out_forgives_nobody(void **state)
{
    (void)state;
    struct bench bench;
    begin_with(&bench, (struct parts_options){.output_bytes_max = 1500});
    for (size_t key = 0; key < 20; key++)
        put(&bench, key, 10);
    dump(&bench);
    for (size_t i = 0; i < 20; i++)
        delete (&bench, i * 7 % 20); /* in no order: the outputs' sequences overlap */
    uint64_t dead = dump(&bench);
    uint64_t low = compact(&bench, &dead, 1), high = low + 1;
    assert_int_equal(tombstones(&bench, low) + tombstones(&bench, high), 20);
    uint64_t again = compact(&bench, &low, 1);
    assert_true(parts_table(&bench.parts, high)->tombstones_were_kept);
    compact(&bench, &high, 1);
    assert_true(parts_table(&bench.parts, again)->tombstones_were_kept);
    check_reopened(&bench);
    end(&bench);
}

/* ---- any order of everything ---- */

static uint64_t next_random(uint64_t *random)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return *random >> 33;
}

static void compact_some(struct bench *bench, uint64_t *random)
{
    uint64_t ids[64];
    size_t count = 0;
    const struct view *view = views_pin(&bench->parts.store.views);
    for (size_t i = 0; i < view->table_count && count < COUNT_OF(ids); i++)
        if (next_random(random) % 2 == 0)
            ids[count++] = view->tables[i]->identity.id;
    view_unpin(view);
    if (count > 0)
        compact(bench, ids, count);
}

static void step(struct bench *bench, uint64_t *random)
{
    uint64_t dice = next_random(random) % 20;
    size_t key = next_random(random) % SHADOW_KEYS;
    if (dice < 8)
        put(bench, key, next_random(random) % 200);
    else if (dice < 13)
        delete (bench, key);
    else if (dice < 16)
        dump(bench);
    else if (dice < 19)
        compact_some(bench, random);
    else
        reopen(bench);
}

static void whatever_happens_no_key_is_wrong(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        struct bench bench;
        uint64_t random = seed;
        begin_with(&bench, (struct parts_options){.lazy = seed % 2 == 0,
                                                  .output_bytes_max = seed % 3 == 0 ? 2000 : 0});
        for (int i = 0; i < 400; i++) {
            step(&bench, &random);
            if (i % 8 == 0)
                check(&bench);
        }
        check_reopened(&bench);
        end(&bench);
    }
}

/* ---- writes in between ---- */

/* Two tables with dead and live records, and something in memory. */
static void fill(struct bench *bench, uint64_t ids[2])
{
    for (size_t key = 0; key < 12; key++)
        put(bench, key, 60 + key);
    ids[0] = dump(bench);
    for (size_t key = 0; key < 12; key += 3)
        put(bench, key, 30);
    delete (bench, 4);
    delete (bench, 5);
    put(bench, 20, 40);
    ids[1] = dump(bench);
    put(bench, 6, 11);
}

/* Does something behind the n-th change of the disk. */
struct intruder {
    struct bench *bench;
    uint64_t left;
    bool inside, struck;
    void (*act)(struct bench *bench);
};

static void intrude(void *context)
{
    struct intruder *intruder = context;
    if (intruder->inside || intruder->struck || --intruder->left > 0)
        return;
    intruder->inside = true;
    intruder->struck = true;
    intruder->act(intruder->bench);
    intruder->inside = false;
}

static void overwrite_and_delete(struct bench *bench)
{
    put(bench, 1, 33);  /* live in the first victim */
    put(bench, 0, 34);  /* live in the second */
    delete (bench, 2);  /* live in the first */
    delete (bench, 20); /* live in the second */
    put(bench, 4, 35);  /* dead */
    put(bench, 15, 36); /* new */
}

static void overwrite_and_dump(struct bench *bench)
{
    overwrite_and_delete(bench);
    pthread_mutex_t *edits = &bench->parts.catalog.mutex;
    if (pthread_mutex_trylock(edits) != 0)
        return; /* in the middle of an edit, which the dump would wait for */
    pthread_mutex_unlock(edits);
    dump(bench);
    put(bench, 2, 37); /* after its tombstone was dumped: a new entry */
}

static void intrude_everywhere(bool lazy, void (*act)(struct bench *bench))
{
    bool struck = true;
    for (uint64_t n = 1; struck; n++) {
        struct bench bench;
        uint64_t ids[2];
        begin_with(&bench, (struct parts_options){.lazy = lazy});
        fill(&bench, ids);
        struct intruder intruder = {.bench = &bench, .left = n, .act = act};
        crash_disk_watch(bench.crash, intrude, &intruder);
        assert_int_equal(parts_compact_tables(&bench.parts, ids, 2), STATUS_OK);
        crash_disk_watch(bench.crash, NULL, NULL);
        struck = intruder.struck;
        assert_true(struck || n > 8);
        reclaim_run(bench.parts.store.reclaim);
        check_reopened(&bench);
        dump(&bench);
        check_reopened(&bench);
        end(&bench);
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

struct names {
    uint64_t hash;
    size_t count;
};

static enum status visit_name(void *context, const char *name, uint64_t bytes)
{
    struct names *names = context;
    uint64_t id;
    if (!table_name_parse(name, &id))
        return STATUS_OK;
    names->count++;
    names->hash += id * 1000003 + bytes;
    return STATUS_OK;
}

static struct names names_of(struct bench *bench)
{
    struct names names = {0};
    assert_int_equal(disk_list(bench->parts.disk, visit_name, &names), STATUS_OK);
    return names;
}

/* The disk may have either manifest after a power cut: both must do. */
static void check_cuts(struct bench *bench)
{
    for (int keep = 0; keep < 2; keep++) {
        struct bench cut = {.shadow = bench->shadow};
        struct failure failure = {0};
        cut.crash = crash_disk_cut(bench->crash, keep != 0);
        cut.parts.options = bench->parts.options;
        cut.parts.options.crash = cut.crash;
        if (parts_recover(&cut.parts, &failure) != STATUS_OK)
            fail_msg("%s", failure.message);
        check(&cut);
        end(&cut);
    }
}

static void fail_once(unsigned operations, uint64_t nth, enum status fault, bool for_ever,
                      bool *out_struck)
{
    struct bench bench;
    uint64_t ids[2];
    begin(&bench);
    fill(&bench, ids);
    struct names before = names_of(&bench);
    crash_disk_fail(bench.crash, (struct crash_fault){.operations = operations,
                                                      .nth = nth,
                                                      .for_ever = for_ever,
                                                      .status = fault});
    enum status status = parts_compact_tables(&bench.parts, ids, 2);
    *out_struck = crash_disk_failed(bench.crash);
    crash_disk_fail(bench.crash, (struct crash_fault){0});
    reclaim_run(bench.parts.store.reclaim);
    shadow_check(&bench.shadow, &bench.parts);
    struct names after = names_of(&bench);
    if (status == STATUS_UNKNOWN) {
        assert_true(after.count > before.count); /* nothing was removed, old or new */
        assert_int_equal(parts_compact_tables(&bench.parts, ids, 2), STATUS_UNKNOWN);
        assert_int_equal(parts_dump(&bench.parts), STATUS_UNKNOWN);
        assert_int_equal(names_of(&bench).count, after.count); /* nor is more written in vain */
        audit_memory(&bench.parts);
        check_cuts(&bench);
    } else if (status != STATUS_OK) {
        assert_int_equal(status, fault);
        assert_int_equal(bench.parts.progress.files_before, 0);
        assert_int_equal(bench.parts.progress.files_after, 0);
        assert_int_equal(bench.parts.progress.bytes_before, 0);
        assert_int_equal(bench.parts.progress.bytes_after, 0);
        audit_memory(&bench.parts);
        check_cuts(&bench);
        /* While removals failed, too, a stray may be left. */
        if ((operations & CRASH_REMOVE) == 0 || !for_ever) {
            assert_int_equal(after.hash, before.hash);
            compact(&bench, ids, 2);
            check(&bench);
        }
    } else {
        check_cuts(&bench);
    }
    check_cuts(&bench);
    reopen(&bench);
    check(&bench);
    end(&bench);
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
        struct bench bench;
        uint64_t ids[2];
        begin(&bench);
        fill(&bench, ids);
        crash_disk_fail(
            bench.crash,
            (struct crash_fault){.operations = CRASH_READ, .nth = nth, .status = STATUS_IO});
        failed += parts_compact_tables(&bench.parts, ids, 2) != STATUS_OK;
        struck = crash_disk_failed(bench.crash);
        crash_disk_fail(bench.crash, (struct crash_fault){0});
        reclaim_run(bench.parts.store.reclaim);
        shadow_check(&bench.shadow, &bench.parts);
        put(&bench, 0, 99);
        delete (&bench, 1);
        dump(&bench);
        shadow_check(&bench.shadow, &bench.parts);
        reopen(&bench);
        check(&bench);
        end(&bench);
    }
    assert_true(failed > 3);
}

/* In interval mode the version that a dead one yielded to may not be durable yet. */
static void what_justified_a_choice_is_durable_before_the_edit(void **state)
{
    (void)state;
    struct bench bench;
    begin_with(&bench, (struct parts_options){.lazy = true});
    put(&bench, 1, 10);
    put(&bench, 2, 10);
    uint64_t old = dump(&bench);
    put(&bench, 1, 20);
    delete (&bench, 2);
    compact(&bench, &old, 1);
    check_cuts(&bench);
    put(&bench, 3, 10);
    put(&bench, 3, 11);
    assert_int_equal(parts_dump(&bench.parts), STATUS_OK);
    check_cuts(&bench);
    end(&bench);
}

static void a_cancelled_one_leaves_all_as_it_was(void **state)
{
    (void)state;
    struct bench bench;
    begin_with(&bench, (struct parts_options){.segment_bytes = 8 << 20});
    for (size_t key = 0; key < 10; key++)
        put(&bench, key, 300 << 10);
    uint64_t first = dump(&bench);
    struct names before = names_of(&bench);
    atomic_store(&bench.parts.closing, true);
    assert_int_equal(parts_compact_tables(&bench.parts, &first, 1), STATUS_CANCELLED);
    assert_int_equal(names_of(&bench).hash, before.hash);
    check(&bench);
    atomic_store(&bench.parts.closing, false);
    compact(&bench, &first, 1);
    check_reopened(&bench);
    end(&bench);
}

/* ---- damage ---- */

static void a_damaged_victim_is_left_alone_and_kept(void **state)
{
    (void)state;
    struct bench bench;
    uint64_t ids[2];
    begin(&bench);
    fill(&bench, ids);
    /* The last byte of the first record's key: key 0, overwritten; then of key 1, live. */
    uint64_t dead_offset = sizeof(struct table_header), live_offset = 0;
    struct table_cursor cursor;
    table_cursor_init(&cursor, parts_table(&bench.parts, ids[0]));
    while (table_cursor_next(&cursor) == STATUS_OK)
        if (bytes_equal(cursor.entry.key, bytes_of(shadow_name(1))))
            live_offset = cursor.entry.offset;
    table_cursor_done(&cursor);
    flip_record(&bench, ids[0], dead_offset + sizeof(struct record));
    flip_record(&bench, ids[0], live_offset + sizeof(struct record));
    struct names before = names_of(&bench);
    assert_int_equal(parts_compact_tables(&bench.parts, ids, 2), STATUS_CORRUPT);
    assert_int_equal(names_of(&bench).hash, before.hash);
    assert_true(parts_table(&bench.parts, ids[0])->damaged);
    assert_false(parts_table(&bench.parts, ids[1])->damaged);
    while (parts_compact(&bench.parts, VICTIMS_ALL) == STATUS_OK)
        reclaim_run(bench.parts.store.reclaim);
    assert_non_null(parts_table(&bench.parts, ids[0])); /* never picked */
    assert_null(parts_table(&bench.parts, ids[1]));
    reopen(&bench);
    for (size_t key = 0; key < SHADOW_KEYS; key++)
        if (key == 1)
            assert_int_equal(parts_read(&bench.parts, shadow_name(key)), STATUS_CORRUPT);
        else
            assert_true(shadow_key_is_right(&bench.shadow, &bench.parts, key));
    put(&bench, 1, 5); /* a new version heals the key */
    shadow_check(&bench.shadow, &bench.parts);
    end(&bench);
}

static void a_victim_with_a_damaged_index_is_left_alone(void **state)
{
    (void)state;
    struct bench bench;
    uint64_t ids[2];
    begin(&bench);
    fill(&bench, ids);
    flip_index(&bench, ids[0]);
    assert_int_equal(parts_compact_tables(&bench.parts, ids, 2), STATUS_CORRUPT);
    assert_true(parts_table(&bench.parts, ids[0])->damaged);
    shadow_check(&bench.shadow, &bench.parts);
    flip_index(&bench, ids[0]);
    check_reopened(&bench);
    end(&bench);
}

/* A writer counts what it displaced a moment after it did: a count that is too high is no bug. */
static void a_count_that_lags_is_no_bug(void **state)
{
    (void)state;
    struct bench bench;
    uint64_t ids[2];
    begin(&bench);
    fill(&bench, ids);
    store_table_live(parts_table(&bench.parts, ids[0]), 8);
    compact(&bench, ids, 2);
    assert_int_equal(stats_read(bench.parts.stats, STATS_compaction_bugs), 0);
    check_reopened(&bench);
    end(&bench);
}

/* ---- slots ---- */

static void a_slot_is_used_again_after_the_grace_period(void **state)
{
    (void)state;
    struct bench bench;
    uint64_t ids[2];
    begin(&bench);
    fill(&bench, ids);
    uint32_t old = parts_table(&bench.parts, ids[0])->slot;
    reclaim_enter(bench.parts.store.reclaim); /* a reader, who may still hold a place in it */
    assert_int_equal(parts_compact_tables(&bench.parts, ids, 2), STATUS_OK);
    assert_non_null(slots_table(&bench.parts.store.slots, old));
    uint64_t other = dump(&bench);
    assert_int_not_equal(parts_table(&bench.parts, other)->slot, old);
    reclaim_leave(bench.parts.store.reclaim);
    reclaim_run(bench.parts.store.reclaim);
    assert_null(slots_table(&bench.parts.store.slots, old));
    put(&bench, 7, 70);
    uint64_t third = dump(&bench);
    assert_int_equal(parts_table(&bench.parts, third)->slot, old);
    check_reopened(&bench);
    end(&bench);
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
        TEST("what justified a choice is durable before the edit",
             what_justified_a_choice_is_durable_before_the_edit),
        TEST("a cancelled one leaves all as it was", a_cancelled_one_leaves_all_as_it_was),
        TEST("a damaged victim is left alone and kept", a_damaged_victim_is_left_alone_and_kept),
        TEST("a victim with a damaged index is left alone",
             a_victim_with_a_damaged_index_is_left_alone),
        TEST("a count that lags is no bug", a_count_that_lags_is_no_bug),
        TEST("a slot is used again after the grace period",
             a_slot_is_used_again_after_the_grace_period),
    };
    return test_main(argc, argv, "compaction", tests);
}
