/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small store of several tables and a journal, damaged in one place at a time: verification tells
 * of it, and where; and of nothing in a store as the engine leaves it.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../../engine/local/checksum.h"
#include "../../../engine/local/frame.h"
#include "../../../engine/local/local.h"
#include "../../../engine/local/manifest.h"
#include "../../../engine/local/record.h"
#include "../../../engine/local/segment.h"
#include "../../../engine/local/table_format.h"
#include "../../lib/test.h"

enum { KEYS = 60, FINDINGS_BYTES = 1600 };

static struct {
    char *path;
    char url[300];
    char table[64], journal[64], kept[64]; /* as note_file() says */
    /* of the last verification */
    struct engine_verification found;
    struct failure failure;
    char findings[FINDINGS_BYTES];
} fixture;

/* ---- the store ---- */

static struct engine_context patience(void)
{
    const struct time_source *time = time_source_system();
    return (struct engine_context){time->monotonic_ns(time) + UINT64_C(10000000000), NULL};
}

static void put(struct engine *engine, unsigned key, size_t bytes)
{
    char name[16];
    snprintf(name, sizeof name, "key-%u", key);
    struct engine_operation put = {.type = ENGINE_PUT, .key = bytes_of(name)};
    struct engine_context context = patience();
    assert_int_equal(engine_value_open(engine, put.key, bytes_of("meta"), bytes, &put.value),
                     STATUS_OK);
    memset(put.value->data, (int)key, bytes);
    put.value->size = bytes;
    assert_int_equal(engine_commit(engine, &put, 1, &context), STATUS_OK);
}

static void delete_key(struct engine *engine, const char *name)
{
    struct engine_operation operation = {.type = ENGINE_DELETE, .key = bytes_of(name)};
    struct engine_context context = patience();
    assert_int_equal(engine_commit(engine, &operation, 1, &context), STATUS_OK);
}

static struct engine *open_store(void)
{
    struct engine_options options = engine_options_default();
    struct engine *engine;
    struct disk *disk;
    options.key_bytes_max = 64;
    options.meta_bytes_max = 64;
    options.value_bytes_max = 16 << 10;
    options.batch_operations_max = 10;
    options.memtable_bytes = 8 << 10;
    options.journal_segment_bytes = 64 << 10;
    options.reserve_bytes = options.ballast_bytes = 0;
    assert_int_equal(disk_open(fixture.path, &disk, &fixture.failure), STATUS_OK);
    assert_int_equal(local_open(&options, disk, false, &engine, &fixture.failure), STATUS_OK);
    local_housekeep(engine);
    return engine;
}

/* Tables with a tombstone among them, and writes that only the journal has. */
static void fill_store(void)
{
    struct engine *engine = open_store();
    for (unsigned i = 0; i < KEYS * 2; i++) {
        put(engine, i % KEYS, 100 + i);
        if (i == 20)
            delete_key(engine, "key-3");
        if (i % 4 == 0)
            local_housekeep(engine);
    }
    for (unsigned key = 0; key < 5; key++)
        put(engine, key, 50);
    engine_close(engine);
}

/* The last table, the oldest segment that replay needs, and the oldest that is there. */
static enum status note_file(void *context, const char *name, uint64_t bytes)
{
    const struct manifest *manifest = context;
    uint64_t id;
    (void)bytes;
    if (strncmp(name, "table-", 6) == 0 && strcmp(name, fixture.table) > 0)
        snprintf(fixture.table, sizeof fixture.table, "%s", name);
    if (!segment_name_parse(name, &id))
        return STATUS_OK;
    if (id >= manifest->journal_first &&
        (fixture.journal[0] == '\0' || strcmp(name, fixture.journal) < 0))
        snprintf(fixture.journal, sizeof fixture.journal, "%s", name);
    if (fixture.kept[0] == '\0' || strcmp(name, fixture.kept) < 0)
        snprintf(fixture.kept, sizeof fixture.kept, "%s", name);
    return STATUS_OK;
}

static int set_up(void **state)
{
    (void)state;
    struct disk *disk;
    memset(&fixture, 0, sizeof fixture);
    fixture.path = test_directory_make();
    snprintf(fixture.url, sizeof fixture.url, "file:%s", fixture.path);
    fill_store();
    assert_int_equal(disk_open(fixture.path, &disk, &fixture.failure), STATUS_OK);
    struct manifest manifest;
    assert_int_equal(manifest_read(disk, &manifest, &fixture.failure), STATUS_OK);
    assert_int_equal(disk_list(disk, note_file, &manifest), STATUS_OK);
    manifest_done(&manifest);
    disk_close(disk);
    assert_string_not_equal(fixture.table, "");
    assert_string_not_equal(fixture.journal, "");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    test_directory_remove(fixture.path);
    return 0;
}

/* ---- verifying ---- */

static void note_finding(void *context, const char *finding)
{
    (void)context;
    size_t used = strlen(fixture.findings);
    snprintf(fixture.findings + used, sizeof fixture.findings - used, "%s\n", finding);
}

static enum status verify(void)
{
    fixture.findings[0] = '\0';
    fixture.failure = (struct failure){0};
    return engine_verify(fixture.url, note_finding, NULL, &fixture.found, &fixture.failure);
}

static void expect_clean(void)
{
    enum status status = verify();
    if (status != STATUS_OK)
        fail_msg("%s: %s%s", status_text(status), fixture.failure.message, fixture.findings);
    assert_int_equal(fixture.found.findings, 0);
    assert_string_equal(fixture.findings, "");
}

/* One finding that begins with file and offset and says `what`. */
static void expect_finding(const char *file, uint64_t offset, const char *what)
{
    char place[120];
    snprintf(place, sizeof place, "%s: offset %llu: ", file, (unsigned long long)offset);
    assert_int_equal(verify(), STATUS_CORRUPT_LOG);
    if (strstr(fixture.findings, place) != fixture.findings ||
        strstr(fixture.findings, what) == NULL || fixture.found.findings != 1)
        fail_msg("wanted '%s' with '%s', found: %s", place, what, fixture.findings);
}

/* ---- damaging ---- */

static int open_file(const char *name)
{
    char path[400];
    snprintf(path, sizeof path, "%s/%s", fixture.path, name);
    int file = open(path, O_RDWR);
    assert_true(file >= 0);
    return file;
}

static uint64_t size_of(const char *name)
{
    struct stat about;
    int file = open_file(name);
    assert_int_equal(fstat(file, &about), 0);
    close(file);
    return (uint64_t)about.st_size;
}

static void read_at(const char *name, uint64_t offset, void *buffer, size_t size)
{
    int file = open_file(name);
    assert_int_equal(pread(file, buffer, size, (off_t)offset), size);
    close(file);
}

/* Twice leaves the file as it was. */
static void flip(const char *name, uint64_t offset)
{
    unsigned char byte;
    int file = open_file(name);
    assert_int_equal(pread(file, &byte, 1, (off_t)offset), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(file, &byte, 1, (off_t)offset), 1);
    close(file);
}

/* One finding as long as one byte is wrong. */
static void expect_flip_found(const char *file, uint64_t offset, uint64_t told_offset,
                              const char *what)
{
    flip(file, offset);
    expect_finding(file, told_offset, what);
    flip(file, offset);
}

static void move_file(const char *from, const char *to)
{
    char from_path[400], to_path[400];
    snprintf(from_path, sizeof from_path, "%s/%s", fixture.path, from);
    snprintf(to_path, sizeof to_path, "%s/%s", fixture.path, to);
    assert_int_equal(rename(from_path, to_path), 0);
}

static struct table_footer footer_of(const char *table)
{
    struct table_footer footer;
    read_at(table, size_of(table) - sizeof footer, &footer, sizeof footer);
    return footer;
}

/* ---- promises ---- */

static void clean(void **state)
{
    (void)state;
    expect_clean();
    assert_true(fixture.found.tables >= 2);
    assert_true(fixture.found.frames > 0 && fixture.found.journal_records >= 5);
    assert_true(fixture.found.records + fixture.found.journal_records >= KEYS);
    struct engine_verification before = fixture.found;
    expect_clean();
    assert_memory_equal(&before, &fixture.found, sizeof before);
    engine_close(open_store()); /* being verified has not hurt it */
    expect_clean();
}

static void finds_table_damage(void **state)
{
    (void)state;
    const char *table = fixture.table;
    struct table_footer footer = footer_of(table);
    struct record record;
    uint64_t first = sizeof(struct table_header);
    read_at(table, first, &record, sizeof record);
    uint64_t value = first + sizeof record + record.key_bytes + record.meta_bytes;
    expect_flip_found(table, 20, 0, "header is damaged");
    expect_flip_found(table, first + 8, first, "record's head or key is damaged");
    expect_flip_found(table, first + sizeof record, first, "record's head or key is damaged");
    expect_flip_found(table, value + record.value_bytes - 1, first, "value is damaged");
    expect_flip_found(table, footer.records_end + 3, footer.records_end,
                      "the index block is damaged");
    expect_flip_found(table, footer.tail_offset + 3, footer.tail_offset, "top index is damaged");
    uint64_t footer_offset = size_of(table) - sizeof footer;
    expect_flip_found(table, footer_offset + 12, footer_offset, "footer is damaged");
    expect_clean();
}

/* But for the zeros that bring a record to a multiple of 8 bytes: they mean nothing. */
static bool is_padding(uint64_t offset)
{
    uint64_t at = sizeof(struct table_header);
    struct table_footer footer = footer_of(fixture.table);
    while (at < footer.records_end) {
        struct record record;
        read_at(fixture.table, at, &record, sizeof record);
        uint64_t used = sizeof record + record.key_bytes + record.meta_bytes + record.value_bytes;
        if (offset >= at + used && offset < at + record_bytes(&record))
            return true;
        at += record_bytes(&record);
    }
    return false;
}

static void finds_every_byte_of_a_table(void **state)
{
    (void)state;
    uint64_t bytes = size_of(fixture.table);
    for (uint64_t offset = 0; offset < bytes; offset += offset < 700 ? 1 : 23) {
        if (is_padding(offset))
            continue;
        flip(fixture.table, offset);
        if (verify() != STATUS_CORRUPT_LOG || fixture.found.findings == 0)
            fail_msg("byte %llu of %s may be anything", (unsigned long long)offset, fixture.table);
        flip(fixture.table, offset);
    }
    expect_clean();
}

static void tells_all(void **state)
{
    (void)state;
    uint64_t first = sizeof(struct table_header), second;
    struct record record;
    read_at(fixture.table, first, &record, sizeof record);
    second = first + record_bytes(&record);
    flip(fixture.table, first + 8);
    flip(fixture.table, second + 8);
    flip(fixture.journal, 3);
    assert_int_equal(verify(), STATUS_CORRUPT_LOG);
    assert_int_equal(fixture.found.findings, 3);
}

static void finds_missing_files(void **state)
{
    (void)state;
    move_file(fixture.table, "elsewhere");
    expect_finding(fixture.table, 0, "is missing");
    move_file("elsewhere", fixture.table);
    uint64_t bytes = size_of(fixture.table);
    int file = open_file(fixture.table);
    assert_int_equal(ftruncate(file, (off_t)bytes + 1), 0);
    expect_finding(fixture.table, bytes + 1, "size is not what the manifest says");
    assert_int_equal(ftruncate(file, (off_t)bytes), 0);
    close(file);
    expect_clean();
}

static void counts_strays(void **state)
{
    (void)state;
    char path[400];
    expect_clean();
    uint64_t strays = fixture.found.strays;
    snprintf(path, sizeof path, "%s/table-0000000000000fff.tbl", fixture.path);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    expect_clean();
    assert_int_equal(fixture.found.strays, strays + 1);
    assert_int_equal(access(path, F_OK), 0); /* nothing is removed */
}

static void finds_journal_damage(void **state)
{
    (void)state;
    struct frame_header link, frame;
    uint64_t offset = SEGMENT_HEADER_BYTES;
    expect_flip_found(fixture.journal, 30, 0, "header is damaged");
    read_at(fixture.journal, offset, &link, sizeof link);
    offset += frame_extent(link.bytes, false);
    read_at(fixture.journal, offset, &frame, sizeof frame);
    assert_true(frame.magic == FORMAT_FRAME_MAGIC && frame.records > 0);
    expect_flip_found(fixture.journal, offset + sizeof frame + 5, offset, "");
    expect_clean();
}

/* What only readers of changes would miss. */
static void finds_kept_damage(void **state)
{
    (void)state;
    struct frame_header link;
    uint64_t offset = SEGMENT_HEADER_BYTES;
    assert_string_not_equal(fixture.kept, fixture.journal);
    read_at(fixture.kept, offset, &link, sizeof link);
    offset += frame_extent(link.bytes, false);
    expect_flip_found(fixture.kept, offset + sizeof link + 5, offset, "only the feed of changes");
    expect_clean();
    uint64_t strays = fixture.found.strays, segments = fixture.found.segments;
    flip(fixture.kept, 30);
    expect_clean(); /* a file that was about to be used again looks like it */
    assert_int_equal(fixture.found.strays, strays + 1);
    assert_int_equal(fixture.found.segments, segments - 1);
}

/* Changes the manifest and writes it with the right checksum. */
static void rewrite_manifest(void (*change)(struct manifest *manifest))
{
    struct disk *disk;
    struct manifest manifest;
    assert_int_equal(disk_open(fixture.path, &disk, &fixture.failure), STATUS_OK);
    assert_int_equal(manifest_read(disk, &manifest, &fixture.failure), STATUS_OK);
    change(&manifest);
    assert_int_equal(manifest_write(disk, &manifest), STATUS_OK);
    manifest_done(&manifest);
    disk_close(disk);
}

static void list_twice(struct manifest *manifest)
{
    struct manifest_table table = manifest->tables[0];
    assert_int_equal(manifest_add(manifest, &table), STATUS_OK);
}

static void forget_ids(struct manifest *manifest)
{
    manifest->next_table_id = 1;
}

static void forget_flushed(struct manifest *manifest)
{
    manifest->flushed_sequence = 1;
}

static void expect_contradiction(void (*change)(struct manifest *manifest), const char *what)
{
    rewrite_manifest(change);
    assert_int_equal(verify(), STATUS_CORRUPT_LOG);
    if (strstr(fixture.findings, what) == NULL)
        fail_msg("wanted '%s', found: %s", what, fixture.findings);
}

static struct table_identity resealed;

static void list_resealed(struct manifest *manifest)
{
    for (uint64_t i = 0; i < manifest->table_count; i++)
        if (manifest->tables[i].identity.id == resealed.id)
            manifest->tables[i].identity = resealed;
}

/* The last table's index, of one block, in memory. */
struct index {
    struct table_footer footer;
    unsigned char *bytes; /* from where the records end */
    struct table_properties *properties;
    struct table_block_header *block;
};

static struct index read_index(void)
{
    struct index index = {.footer = footer_of(fixture.table)};
    const struct table_footer *footer = &index.footer;
    uint64_t block_bytes = footer->tail_offset - footer->records_end;
    index.bytes = malloc(block_bytes + footer->tail_bytes);
    read_at(fixture.table, footer->records_end, index.bytes, block_bytes + footer->tail_bytes);
    index.properties = (struct table_properties *)(index.bytes + block_bytes);
    assert_int_equal(index.properties->blocks, 1);
    index.block = (struct table_block_header *)((unsigned char *)(index.properties + 1) +
                                                format_align(index.properties->last_key_bytes, 8));
    return index;
}

/* Writes it with all checksums right, here and in the manifest. */
static void write_index(struct index *index)
{
    struct table_footer *footer = &index->footer;
    uint64_t block_bytes = footer->tail_offset - footer->records_end;
    index->block->check = checksum64(index->bytes, index->block->bytes, 0);
    footer->tail_check = checksum64(index->properties, footer->tail_bytes, 0);
    footer->check = checksum64(footer, offsetof(struct table_footer, check), 0);
    resealed = (struct table_identity){footer->id, size_of(fixture.table), footer->check};
    int file = open_file(fixture.table);
    assert_int_equal(
        pwrite(file, index->bytes, block_bytes + footer->tail_bytes, (off_t)footer->records_end),
        block_bytes + footer->tail_bytes);
    assert_int_equal(pwrite(file, footer, sizeof *footer, (off_t)(resealed.bytes - sizeof *footer)),
                     sizeof *footer);
    close(file);
    rewrite_manifest(list_resealed);
}

static void forge_block_key(struct index *index)
{
    ((unsigned char *)(index->block + 1))[0]--;
}

static void forge_order(struct index *index)
{
    const struct table_entry_header *entry = (const struct table_entry_header *)index->bytes;
    index->bytes[sizeof *entry + entry->suffix_bytes - 1] = '~';
}

static void forge_place(struct index *index)
{
    index->block->first_record += FORMAT_RECORD_ALIGNMENT;
}

static void forge_length(struct index *index)
{
    ((struct table_entry_header *)index->bytes)->record_bytes += FORMAT_RECORD_ALIGNMENT;
}

static void forge_sequence(struct index *index)
{
    ((struct table_entry_header *)index->bytes)->word ^= 1;
}

static void forge_count(struct index *index)
{
    index->properties->tombstones++;
}

static void forge_sequences(struct index *index)
{
    index->properties->first_sequence--;
}

static void forge_last_key(struct index *index)
{
    ((unsigned char *)(index->properties + 1))[0]++;
}

static void finds_forgeries(void **state)
{
    (void)state;
    static const struct {
        void (*forge)(struct index *index);
        const char *found;
    } forgeries[] = {
        {forge_block_key, "begins with another key"},
        {forge_order, "its key does not follow the one before it"},
        {forge_place, "does not begin where the one before it ends"},
        {forge_length, "is not the one that the index tells of"},
        {forge_sequence, "is not the one that the index tells of"},
        {forge_count, "count other records"},
        {forge_sequences, "name other sequences"},
        {forge_last_key, "name another last key"},
    };
    for (size_t i = 0; i < COUNT_OF(forgeries); i++) {
        struct index whole = read_index(), forged = read_index();
        forgeries[i].forge(&forged);
        write_index(&forged);
        assert_int_equal(verify(), STATUS_CORRUPT_LOG);
        if (strstr(fixture.findings, forgeries[i].found) == NULL)
            fail_msg("wanted '%s', found: %s", forgeries[i].found, fixture.findings);
        write_index(&whole);
        expect_clean();
        free(whole.bytes);
        free(forged.bytes);
    }
}

static void finds_contradictions(void **state)
{
    (void)state;
    expect_contradiction(list_twice, "lists it twice");
    expect_contradiction(forget_ids, "give its id to another table");
    expect_contradiction(forget_flushed, "holds sequences that the manifest says it cannot");
    flip("MANIFEST", 40);
    expect_finding("MANIFEST", 0, "checksum or size differs");
}

static void refuses(void **state)
{
    (void)state;
    struct engine *engine = open_store();
    assert_int_equal(verify(), STATUS_LOCKED);
    assert_string_not_equal(fixture.failure.message, "");
    engine_close(engine);
    move_file("MANIFEST", "elsewhere");
    assert_int_equal(verify(), STATUS_NOT_FOUND);
    move_file("elsewhere", "MANIFEST");
    expect_clean();
    flip("MANIFEST", 0);
    assert_int_equal(verify(), STATUS_FORMAT);
    assert_int_equal(engine_verify("memory:", note_finding, NULL, &fixture.found, &fixture.failure),
                     STATUS_UNSUPPORTED);
    assert_int_equal(engine_verify("other:", note_finding, NULL, &fixture.found, &fixture.failure),
                     STATUS_INVALID);
    char url[320];
    snprintf(url, sizeof url, "%s/nowhere", fixture.url);
    assert_int_equal(engine_verify(url, note_finding, NULL, &fixture.found, &fixture.failure),
                     STATUS_IO);
    assert_int_not_equal(access(url + strlen("file:"), F_OK), 0);
}

#define STORE_TEST(promise, function)                                                              \
    {                                                                                              \
        promise, function, set_up, tear_down, NULL                                                 \
    }

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        STORE_TEST("a store as the engine leaves it is clean, and stays as it is", clean),
        STORE_TEST("damage to each part of a table is found, with its place", finds_table_damage),
        STORE_TEST("no byte of a table may be anything else", finds_every_byte_of_a_table),
        STORE_TEST("one fault does not hide the others", tells_all),
        STORE_TEST("tables that are missing or of another size are found", finds_missing_files),
        STORE_TEST("files that do not count are counted, and left", counts_strays),
        STORE_TEST("damage to the journal is found", finds_journal_damage),
        STORE_TEST("damage to what is kept for the feed is found", finds_kept_damage),
        STORE_TEST("a manifest that contradicts itself is found", finds_contradictions),
        STORE_TEST("an index that contradicts itself or its records is found", finds_forgeries),
        STORE_TEST("what is in use, or no store, is refused and not made", refuses),
    };
    return test_main(argc, argv, "verify", tests);
}
