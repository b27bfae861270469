/* SPDX-License-Identifier: Apache-2.0 */
/* A start over tables: what is in them comes back, by however many threads; damage is refused. */
#include "../../../engine/local/load.h"
#include "../../lib/scene.h"
#include "../../lib/table_file.h"
#include "../../lib/test.h"

/* ---- from tables alone ---- */

/* Versions of numbered keys in a few tables, as a manifest lists them. */
struct shelf {
    struct crash_disk *crash;
    struct disk *disk;
    struct manifest manifest;
    size_t keys;
    uint64_t *newest;  /* by key: its sequence */
    bool *deleted;     /* by key */
    uint64_t sequence; /* used so far */
};

enum { SHELF_KEY_BYTES = 24 };

static struct bytes shelf_key(char text[SHELF_KEY_BYTES], size_t key)
{
    return (struct bytes){text, (size_t)snprintf(text, SHELF_KEY_BYTES, "key %08u", (unsigned)key)};
}

static void shelf_begin(struct shelf *shelf, size_t keys)
{
    *shelf = (struct shelf){.crash = crash_disk_open(), .keys = keys};
    shelf->disk = crash_disk_attach(shelf->crash);
    shelf->newest = calloc(keys, sizeof *shelf->newest);
    shelf->deleted = calloc(keys, sizeof *shelf->deleted);
    manifest_init(&shelf->manifest);
    memcpy(shelf->manifest.uuid, table_file_uuid, FORMAT_UUID_BYTES);
}

static void shelf_end(struct shelf *shelf)
{
    manifest_done(&shelf->manifest);
    disk_close(shelf->disk);
    crash_disk_close(shelf->crash);
    free(shelf->newest);
    free(shelf->deleted);
}

/* One more table: of every `step`-th key from `first` a version, some of them tombstones. */
static void shelf_add(struct shelf *shelf, size_t first, size_t step)
{
    size_t count = 0;
    struct table_row *rows = calloc(shelf->keys / step + 1, sizeof *rows);
    char(*texts)[SHELF_KEY_BYTES] = calloc(shelf->keys / step + 1, sizeof *texts);
    for (size_t key = first; key < shelf->keys; key += step, count++) {
        rows[count] = (struct table_row){
            .key = shelf_key(texts[count], key),
            .sequence = ++shelf->sequence,
            .type = key % 5 == shelf->manifest.table_count % 5 ? RECORD_DELETE : RECORD_PUT,
            .expires_ms = key % 11 == 3 ? 1 : 0,
        };
        shelf->newest[key] = rows[count].sequence;
        shelf->deleted[key] = rows[count].type == RECORD_DELETE;
    }
    struct manifest_table listing = {.flags = 0};
    uint64_t id = shelf->manifest.next_table_id++;
    assert_int_equal(table_file_write(shelf->disk, id, rows, count, &listing.identity), STATUS_OK);
    assert_int_equal(manifest_add(&shelf->manifest, &listing), STATUS_OK);
    free(rows);
    free(texts);
}

static enum status load_shelf(struct shelf *shelf, struct store *store, unsigned threads,
                              const atomic_bool *closing, struct failure *failure)
{
    static _Atomic uint64_t bytes_done;
    assert_int_equal(store_init(store, 1 << 30, 1 << 30, NULL, time_source_system(), true),
                     STATUS_OK);
    struct load load = {
        .disk = shelf->disk,
        .manifest = &shelf->manifest,
        .store = store,
        .closing = closing,
        .bytes_done = &bytes_done,
        .threads = threads,
    };
    return load_tables(&load, failure);
}

static void check_shelf(struct shelf *shelf, struct store *store)
{
    uint64_t present = 0, present_bytes = 0;
    for (size_t key = 0; key < shelf->keys; key++) {
        char text[SHELF_KEY_BYTES];
        struct bytes bytes = shelf_key(text, key);
        const struct entry *entry =
            keymap_find(store->keymap, keymap_hash(store->keymap, bytes), bytes);
        bool expected = shelf->newest[key] != 0 && !shelf->deleted[key];
        assert_int_equal(entry != NULL, expected);
        present += expected;
        if (!expected)
            continue;
        present_bytes += entry->record_bytes;
        uint64_t place = entry_place(entry);
        struct record head;
        assert_int_equal(
            table_head(slots_table(&store->slots, place_slot(place)), place_offset(place), &head),
            STATUS_OK);
        assert_int_equal(head.sequence, shelf->newest[key]);
        assert_int_equal(record_bytes(&head), entry->record_bytes);
        assert_int_equal(entry->flags & ENTRY_EXPIRES, key % 11 == 3 ? ENTRY_EXPIRES : 0);
    }
    assert_int_equal(store->keys, present);
    assert_int_equal(keymap_count(store->keymap), present);
    uint64_t live = 0, live_bytes = 0;
    const struct view *view = views_pin(&store->views);
    for (size_t i = 0; i < view->table_count; i++) {
        live += view->tables[i]->live_records;
        live_bytes += view->tables[i]->live_bytes;
    }
    view_unpin(view);
    assert_int_equal(live, present);
    assert_int_equal(live_bytes, present_bytes);
}

static void threads_load_what_one_does(void **state)
{
    (void)state;
    static const atomic_bool open;
    struct shelf shelf;
    shelf_begin(&shelf, 120000);
    shelf_add(&shelf, 0, 1);
    shelf_add(&shelf, 1, 2);
    shelf_add(&shelf, 0, 3);
    shelf_add(&shelf, 70000, 1);
    shelf_add(&shelf, 2, 1000);
    for (unsigned threads = 1; threads <= LOAD_THREADS_MAX; threads += 3) {
        struct store store;
        struct failure failure = {0};
        assert_int_equal(load_shelf(&shelf, &store, threads, &open, &failure), STATUS_OK);
        check_shelf(&shelf, &store);
        store_done(&store);
    }
    shelf_end(&shelf);
}

/* Most of the records are older versions: the room made beforehand must not be theirs, too. */
static void dead_records_get_no_room(void **state)
{
    (void)state;
    static const atomic_bool open;
    enum { KEYS = 40000, VERSIONS = 5 };
    struct shelf shelf;
    struct store store;
    struct failure failure = {0};
    shelf_begin(&shelf, KEYS);
    for (int i = 0; i < VERSIONS; i++)
        shelf_add(&shelf, 0, 1);
    assert_int_equal(load_shelf(&shelf, &store, 2, &open, &failure), STATUS_OK);
    check_shelf(&shelf, &store);
    reclaim_run(store.reclaim);
    assert_true(keymap_bytes(store.keymap) <= keymap_count(store.keymap) * 34);
    store_done(&store);
    shelf_end(&shelf);
}

static void hundreds_of_tables_are_loaded(void **state)
{
    (void)state;
    static const atomic_bool open;
    struct shelf shelf;
    struct store store;
    struct failure failure = {0};
    shelf_begin(&shelf, 3000);
    for (size_t i = 0; i < 600; i++)
        shelf_add(&shelf, i * 4, 1 + i % 900);
    assert_int_equal(load_shelf(&shelf, &store, 4, &open, &failure), STATUS_OK);
    check_shelf(&shelf, &store);
    store_done(&store);
    shelf_end(&shelf);
}

static void a_close_ends_it(void **state)
{
    (void)state;
    static const atomic_bool closing = true;
    struct shelf shelf;
    struct store store;
    struct failure failure = {0};
    shelf_begin(&shelf, 20000);
    shelf_add(&shelf, 0, 1);
    assert_int_equal(load_shelf(&shelf, &store, 2, &closing, &failure), STATUS_CANCELLED);
    store_done(&store);
    shelf_end(&shelf);
}

static void any_damaged_index_block_is_refused_with_its_place(void **state)
{
    (void)state;
    static const atomic_bool open;
    struct shelf shelf;
    shelf_begin(&shelf, 6000);
    shelf_add(&shelf, 0, 1);
    shelf_add(&shelf, 0, 2);
    for (uint64_t i = 0; i < 2; i++) {
        struct table *table;
        assert_int_equal(table_open(shelf.disk, table_file_uuid, &shelf.manifest.tables[i].identity,
                                    &table, NULL),
                         STATUS_OK);
        for (uint32_t block = 0; block < table->properties->blocks; block++) {
            uint64_t offset = table->blocks[block]->offset;
            unsigned char byte;
            size_t got;
            assert_int_equal(disk_file_read(table->file, offset + 40, &byte, 1, &got), STATUS_OK);
            struct iovec piece = {&byte, 1};
            byte ^= 4;
            assert_int_equal(disk_file_write(table->file, offset + 40, &piece, 1), STATUS_OK);
            struct store store;
            struct failure failure = {0};
            char place[100];
            assert_int_equal(load_shelf(&shelf, &store, 1, &open, &failure), STATUS_CORRUPT_LOG);
            snprintf(place, sizeof place, "%s: offset %llu:", table->file->name,
                     (unsigned long long)offset);
            assert_non_null(strstr(failure.message, place));
            store_done(&store);
            byte ^= 4;
            assert_int_equal(disk_file_write(table->file, offset + 40, &piece, 1), STATUS_OK);
        }
        table_close(table);
    }
    shelf_end(&shelf);
}

/* ---- a whole start ---- */

static void fill(struct scene *scene, uint64_t ids[2])
{
    for (size_t key = 0; key < 10; key++)
        scene_put(scene, key, 20 + key);
    ids[0] = scene_dump(scene);
    for (size_t key = 0; key < 10; key += 3)
        scene_put(scene, key, 10);
    scene_delete(scene, 1);
    ids[1] = scene_dump(scene);
    scene_put(scene, 2, 5); /* in the journal alone */
    scene_delete(scene, 4);
}

static void unlisted_tables_are_removed(void **state)
{
    (void)state;
    struct scene scene;
    uint64_t ids[2];
    scene_begin(&scene, (struct parts_options){0});
    fill(&scene, ids);
    struct table_row row = {.key = bytes_of("key 00"), .sequence = 1000000};
    struct table_identity identity;
    assert_int_equal(table_file_write(scene.parts.disk, 77, &row, 1, &identity), STATUS_OK);
    struct scene_tables before = scene_tables(&scene);
    scene_reopen(&scene);
    assert_int_equal(scene_tables(&scene).count, before.count - 1);
    scene_check(&scene);
    assert_true(catalog_next_table_id(&scene.parts.catalog) > 77); /* its id is not given again */
    scene_end(&scene);
}

static enum status start_copy(const struct scene *scene, struct scene *copy,
                              struct failure *failure)
{
    copy->shadow = scene->shadow;
    copy->parts = (struct parts){.options = scene->parts.options};
    copy->parts.options.crash = copy->crash;
    return parts_recover(&copy->parts, failure);
}

static void a_listed_table_that_is_missing_is_refused(void **state)
{
    (void)state;
    struct scene scene;
    uint64_t ids[2];
    scene_begin(&scene, (struct parts_options){0});
    fill(&scene, ids);
    for (size_t i = 0; i < 2; i++) {
        struct scene copy = {.crash = crash_disk_fork(scene.crash)};
        struct disk *disk = crash_disk_attach(copy.crash);
        struct failure failure = {0};
        char name[64];
        table_name(ids[i], name);
        assert_int_equal(disk_remove(disk, name), STATUS_OK);
        disk_close(disk);
        assert_int_equal(start_copy(&scene, &copy, &failure), STATUS_CORRUPT_LOG);
        assert_non_null(strstr(failure.message, name));
        scene_end(&copy);
    }
    scene_end(&scene);
}

/* ---- every byte of every file ---- */

struct file_list {
    char names[16][64];
    uint64_t bytes[16];
    size_t count;
};

static enum status list_file(void *context, const char *name, uint64_t bytes)
{
    struct file_list *files = context;
    uint64_t id;
    if (!table_name_parse(name, &id) && strcmp(name, FORMAT_MANIFEST_NAME) != 0)
        return STATUS_OK;
    snprintf(files->names[files->count], 64, "%s", name);
    files->bytes[files->count++] = bytes;
    return STATUS_OK;
}

static void flip(struct crash_disk *crash, const char *name, uint64_t offset, unsigned char bits)
{
    struct disk *disk = crash_disk_attach(crash);
    struct disk_file *file;
    unsigned char byte;
    size_t got;
    assert_int_equal(disk_open_file(disk, name, &file), STATUS_OK);
    assert_int_equal(disk_file_read(file, offset, &byte, 1, &got), STATUS_OK);
    byte ^= bits;
    struct iovec piece = {&byte, 1};
    assert_int_equal(disk_file_write(file, offset, &piece, 1), STATUS_OK);
    disk_file_close(file);
    disk_close(disk);
}

/* Refused with the file's name and an offset; or every key is right, or at most one CORRUPT. */
static void check_start(const struct scene *scene, struct scene *copy, const char *name)
{
    struct failure failure = {0};
    enum status status = start_copy(scene, copy, &failure);
    if (status != STATUS_OK) {
        assert_true(status == STATUS_CORRUPT_LOG || status == STATUS_FORMAT);
        assert_non_null(strstr(failure.message, name));
        assert_non_null(strstr(failure.message, "offset "));
        return;
    }
    size_t wrong = 0;
    for (size_t key = 0; key < SHADOW_KEYS; key++) {
        if (shadow_key_is_right(&copy->shadow, &copy->parts, key))
            continue;
        assert_int_equal(parts_read(&copy->parts, shadow_name(key)), STATUS_CORRUPT);
        wrong++;
    }
    assert_in_range(wrong, 0, 1);
    assert_string_not_equal(name, FORMAT_MANIFEST_NAME);
}

static void no_flipped_byte_makes_a_key_wrong(void **state)
{
    (void)state;
    struct scene scene;
    uint64_t ids[2];
    static const unsigned char patterns[] = {0x01, 0x80, 0xff};
    scene_begin(&scene, (struct parts_options){.segment_bytes = 128 << 10});
    fill(&scene, ids);
    struct file_list files = {.count = 0};
    assert_int_equal(disk_list(scene.parts.disk, list_file, &files), STATUS_OK);
    assert_int_equal(files.count, 3);
    for (size_t i = 0; i < files.count; i++)
        for (uint64_t offset = 0; offset < files.bytes[i]; offset++) {
            struct scene copy = {.crash = crash_disk_cut(scene.crash, true)};
            flip(copy.crash, files.names[i], offset, patterns[offset % 3]);
            check_start(&scene, &copy, files.names[i]);
            scene_end(&copy);
        }
    scene_end(&scene);
}

static void no_cut_file_makes_a_key_wrong(void **state)
{
    (void)state;
    struct scene scene;
    uint64_t ids[2];
    scene_begin(&scene, (struct parts_options){.segment_bytes = 128 << 10});
    fill(&scene, ids);
    struct file_list files = {.count = 0};
    assert_int_equal(disk_list(scene.parts.disk, list_file, &files), STATUS_OK);
    for (size_t i = 0; i < files.count; i++)
        for (uint64_t bytes = 0; bytes < files.bytes[i]; bytes += 7) {
            struct scene copy = {.crash = crash_disk_cut(scene.crash, true)};
            struct disk *disk = crash_disk_attach(copy.crash);
            struct disk_file *file;
            struct failure failure = {0};
            assert_int_equal(disk_open_file(disk, files.names[i], &file), STATUS_OK);
            assert_int_equal(disk_file_truncate(file, bytes), STATUS_OK);
            disk_file_close(file);
            disk_close(disk);
            assert_int_equal(start_copy(&scene, &copy, &failure), STATUS_CORRUPT_LOG);
            assert_non_null(strstr(failure.message, files.names[i]));
            scene_end(&copy);
        }
    scene_end(&scene);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("threads load what one does", threads_load_what_one_does),
        TEST("dead records get no room", dead_records_get_no_room),
        TEST("hundreds of tables are loaded", hundreds_of_tables_are_loaded),
        TEST("a close ends it", a_close_ends_it),
        TEST("any damaged index block is refused with its place",
             any_damaged_index_block_is_refused_with_its_place),
        TEST("unlisted tables are removed", unlisted_tables_are_removed),
        TEST("a listed table that is missing is refused",
             a_listed_table_that_is_missing_is_refused),
        TEST("no flipped byte makes a key wrong", no_flipped_byte_makes_a_key_wrong),
        TEST("no cut file makes a key wrong", no_cut_file_makes_a_key_wrong),
    };
    return test_main(argc, argv, "load", tests);
}
