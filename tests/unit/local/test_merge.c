/* SPDX-License-Identifier: Apache-2.0 */
/* Several tables read as one: every key once, its newest version, in order. */
#include "../../../engine/local/merge.h"
#include "../../lib/crash_disk.h"
#include "../../lib/table_file.h"
#include "../../lib/test.h"

enum { KEYS = 3000, TABLES = 9 };

/* Versions spread over tables: newest[key] is what a merge must find. */
struct bench {
    struct crash_disk *crash;
    struct disk *disk;
    char keys[KEYS][24];
    struct table *tables[TABLES];
    struct table_row newest[KEYS]; /* key NULL: no version */
    struct table *newest_table[KEYS];
};

static uint64_t next_random(uint64_t *random)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return *random >> 33;
}

static void fill_table(struct bench *bench, size_t index, uint64_t *random)
{
    struct table_row *rows = calloc(KEYS, sizeof *rows);
    size_t count = 0;
    size_t first = next_random(random) % KEYS / 2, last = first + KEYS / 2;
    for (size_t key = first; key < last; key++) {
        if (next_random(random) % 3 == 0 && key != first)
            continue;
        struct table_row row = {.key = bytes_of(bench->keys[key]),
                                .sequence = next_random(random) * TABLES + index + 1,
                                .type = next_random(random) % 4 == 0 ? RECORD_DELETE : RECORD_PUT};
        rows[count++] = row;
        if (bench->newest[key].sequence < row.sequence)
            bench->newest[key] = row;
    }
    bench->tables[index] = table_file_make(bench->disk, index + 1, rows, count);
    for (size_t i = 0; i < count; i++)
        for (size_t key = first; key < last; key++)
            if (bench->newest[key].sequence == rows[i].sequence)
                bench->newest_table[key] = bench->tables[index];
    free(rows);
}

static struct bench *begin(uint64_t seed)
{
    struct bench *bench = calloc(1, sizeof *bench);
    bench->crash = crash_disk_open();
    bench->disk = crash_disk_attach(bench->crash);
    for (size_t i = 0; i < KEYS; i++)
        snprintf(bench->keys[i], sizeof bench->keys[i], "key %05u", (unsigned)i);
    for (size_t i = 0; i < TABLES; i++)
        fill_table(bench, i, &seed);
    return bench;
}

static void end(struct bench *bench)
{
    for (size_t i = 0; i < TABLES; i++)
        table_close(bench->tables[i]);
    disk_close(bench->disk);
    crash_disk_close(bench->crash);
    free(bench);
}

/* From the first key that is `from` or greater on. */
static void check_merge(struct bench *bench, struct bytes from)
{
    struct merge merge;
    assert_int_equal(merge_open(&merge, bench->tables, TABLES, from), STATUS_OK);
    const struct table_entry *entry;
    struct table *table;
    for (size_t key = 0; key < KEYS; key++) {
        const struct table_row *newest = &bench->newest[key];
        if (newest->sequence == 0 || bytes_compare(newest->key, from) < 0)
            continue;
        assert_int_equal(merge_next(&merge, &entry, &table), STATUS_OK);
        assert_true(bytes_equal(entry->key, newest->key));
        assert_int_equal(entry->sequence, newest->sequence);
        assert_int_equal(entry->type, newest->type);
        assert_ptr_equal(table, bench->newest_table[key]);
    }
    assert_int_equal(merge_next(&merge, &entry, &table), STATUS_NOT_FOUND);
    assert_int_equal(merge_next(&merge, &entry, &table), STATUS_NOT_FOUND);
    merge_close(&merge);
}

static void the_newest_version_of_every_key_comes_once_in_order(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct bench *bench = begin(seed);
        check_merge(bench, (struct bytes){NULL, 0});
        end(bench);
    }
}

static void a_merge_begins_at_any_key(void **state)
{
    (void)state;
    struct bench *bench = begin(7);
    char between[32];
    for (size_t key = 0; key < KEYS; key += 271) {
        check_merge(bench, bytes_of(bench->keys[key]));
        snprintf(between, sizeof between, "%s!", bench->keys[key]);
        check_merge(bench, bytes_of(between));
    }
    check_merge(bench, bytes_of("a"));
    check_merge(bench, bytes_of("z"));
    end(bench);
}

static void no_table_is_no_key(void **state)
{
    (void)state;
    struct merge merge;
    const struct table_entry *entry;
    struct table *table;
    assert_int_equal(merge_open(&merge, NULL, 0, (struct bytes){NULL, 0}), STATUS_OK);
    assert_int_equal(merge_next(&merge, &entry, &table), STATUS_NOT_FOUND);
    merge_close(&merge);
    merge_close(&merge);
}

/* Damage in any block of any table: everything before it is right, and it is named. */
static void damage_ends_a_merge_and_is_named(void **state)
{
    (void)state;
    struct bench *bench = begin(3);
    for (size_t i = 0; i < TABLES; i++)
        for (uint32_t block = 0; block < bench->tables[i]->properties->blocks; block++) {
            struct table *table = bench->tables[i];
            unsigned char byte;
            size_t got;
            uint64_t offset = table->blocks[block]->offset + 9;
            assert_int_equal(disk_file_read(table->file, offset, &byte, 1, &got), STATUS_OK);
            struct iovec piece = {&byte, 1};
            byte ^= 0x10;
            assert_int_equal(disk_file_write(table->file, offset, &piece, 1), STATUS_OK);
            struct merge merge;
            enum status status = merge_open(&merge, bench->tables, TABLES, (struct bytes){NULL, 0});
            const struct table_entry *entry;
            struct table *found;
            for (size_t key = 0; key < KEYS && status == STATUS_OK; key++) {
                if (bench->newest[key].sequence == 0)
                    continue;
                status = merge_next(&merge, &entry, &found);
                if (status == STATUS_OK)
                    assert_int_equal(entry->sequence, bench->newest[key].sequence);
            }
            assert_int_equal(status, STATUS_CORRUPT);
            assert_ptr_equal(merge.failed, table);
            assert_int_equal(merge.failed_offset, table->blocks[block]->offset);
            merge_close(&merge);
            byte ^= 0x10;
            assert_int_equal(disk_file_write(table->file, offset, &piece, 1), STATUS_OK);
        }
    check_merge(bench, (struct bytes){NULL, 0});
    end(bench);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("the newest version of every key comes once, in order",
             the_newest_version_of_every_key_comes_once_in_order),
        TEST("a merge begins at any key", a_merge_begins_at_any_key),
        TEST("no table is no key", no_table_is_no_key),
        TEST("damage ends a merge and is named", damage_ends_a_merge_and_is_named),
    };
    return test_main(argc, argv, "merge", tests);
}
