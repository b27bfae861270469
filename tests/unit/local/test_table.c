/* SPDX-License-Identifier: Apache-2.0 */
/* One table: what was written comes back, found by key and by place; damage is told wherever it is. */
#include <fcntl.h>
#include <unistd.h>

#include "../../../engine/local/checksum.h"
#include "../../lib/crash_disk.h"
#include "../../lib/table_file.h"
#include "../../lib/test.h"

/* A simulated disk, and a process on it. */
struct bench {
    struct crash_disk *crash;
    struct disk *disk;
};

static struct bench begin(void)
{
    struct bench bench = {.crash = crash_disk_open()};
    bench.disk = crash_disk_attach(bench.crash);
    return bench;
}

static void end(struct bench *bench)
{
    disk_close(bench->disk);
    crash_disk_close(bench->crash);
}

/* ---- reading back ---- */

static void check_rows(struct table *table, const struct table_row *rows, size_t count)
{
    struct table_cursor cursor;
    table_cursor_init(&cursor, table);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(table_cursor_next(&cursor), STATUS_OK);
        assert_true(bytes_equal(cursor.entry.key, rows[i].key));
        assert_int_equal(cursor.entry.sequence, rows[i].sequence);
        assert_int_equal(cursor.entry.type, rows[i].type != 0 ? rows[i].type : RECORD_PUT);
        assert_int_equal(cursor.entry.expires_ms, rows[i].expires_ms);
        struct record *record = table_file_record(table, cursor.entry.offset);
        assert_non_null(record);
        assert_int_equal(record_bytes(record), cursor.entry.record_bytes);
        assert_true(table_row_matches(&rows[i], record));
        free(record);
    }
    assert_int_equal(table_cursor_next(&cursor), STATUS_NOT_FOUND);
    assert_int_equal(table_cursor_next(&cursor), STATUS_NOT_FOUND);
    table_cursor_done(&cursor);
    assert_true(bytes_equal(table_first_key(table), rows[0].key));
    assert_true(bytes_equal(table_last_key(table), rows[count - 1].key));
    for (size_t i = 0; i < count; i++) {
        uint64_t sequence = 0;
        assert_int_equal(table_find(table, rows[i].key, &sequence), STATUS_OK);
        assert_int_equal(sequence, rows[i].sequence);
    }
}

static int compare_rows(const void *left, const void *right)
{
    const struct table_row *a = left, *b = right;
    return bytes_compare(a->key, b->key);
}

/* Keys that are prefixes of others, of every byte, of 1 and of 1024 bytes, sharing all but the end. */
static size_t awkward_rows(struct table_row *rows, size_t capacity, unsigned char (*keys)[1024])
{
    size_t count = 0;
    for (int byte = 0; byte < 256; byte++, count++) {
        keys[count][0] = (unsigned char)byte;
        rows[count].key = (struct bytes){keys[count], 1};
    }
    for (size_t size = 2; size <= 1024; size += size < 20 ? 1 : 251, count += 3) {
        memset(keys[count], 0, size);
        memset(keys[count + 1], 0xff, size);
        memset(keys[count + 2], 'p', size);
        for (size_t i = 0; i < 3; i++)
            rows[count + i].key = (struct bytes){keys[count + i], size};
    }
    for (int last = 0; last < 3; last++, count++) {
        memset(keys[count], 'q', 1024);
        keys[count][1023] = (unsigned char)(last * 127);
        rows[count].key = (struct bytes){keys[count], 1024};
    }
    assert_true(count <= capacity);
    qsort(rows, count, sizeof *rows, compare_rows);
    for (size_t i = 0; i < count; i++) {
        rows[i].sequence = (i * 7919) % 100000 + 1;
        rows[i].type = i % 5 == 3 ? RECORD_DELETE : i % 17 == 4 ? RECORD_EXPIRE : RECORD_PUT;
        rows[i].value_bytes = rows[i].type == RECORD_PUT ? i % 40 : 0;
        rows[i].expires_ms = rows[i].type == RECORD_PUT && i % 3 == 0 ? (int64_t)i + 1 : 0;
    }
    return count;
}

static void awkward_keys_come_back_in_order(void **state)
{
    (void)state;
    static struct table_row rows[400];
    static unsigned char keys[400][1024];
    size_t count = awkward_rows(rows, COUNT_OF(rows), keys);
    struct bench bench = begin();
    struct table *table = table_file_make(bench.disk, 1, rows, count);
    check_rows(table, rows, count);
    table_close(table);
    end(&bench);
}

static void values_of_every_size_come_back(void **state)
{
    (void)state;
    static const size_t sizes[] = {0,        1,
                                   7,        8,
                                   9,        4096,
                                   64 << 10, 65 << 10,
                                   1 << 20,  (1 << 20) - 48,
                                   3 << 20,  (1 << 20) + 1,
                                   9 << 20,  5,
                                   0};
    struct table_row rows[COUNT_OF(sizes)];
    char keys[COUNT_OF(sizes)][8];
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        snprintf(keys[i], sizeof keys[i], "k%02u", (unsigned)i);
        rows[i] = (struct table_row){
            .key = bytes_of(keys[i]), .sequence = i + 1, .value_bytes = sizes[i]};
    }
    struct bench bench = begin();
    struct table *table = table_file_make(bench.disk, 1, rows, COUNT_OF(sizes));
    check_rows(table, rows, COUNT_OF(sizes));
    table_close(table);
    end(&bench);
}

static void one_record_is_a_table(void **state)
{
    (void)state;
    struct table_row row = {.key = bytes_of("k"), .sequence = 9, .type = RECORD_DELETE};
    struct bench bench = begin();
    struct table *table = table_file_make(bench.disk, 1, &row, 1);
    check_rows(table, &row, 1);
    assert_int_equal(table->properties->tombstones, 1);
    assert_int_equal(table->properties->first_sequence, 9);
    assert_int_equal(table->properties->last_sequence, 9);
    table_close(table);
    end(&bench);
}

/* ---- seeking ---- */

enum { MANY = 6000 };

struct many {
    struct table_row rows[MANY];
    char keys[MANY][40];
};

static struct many *many_rows(void)
{
    struct many *many = calloc(1, sizeof *many);
    for (size_t i = 0; i < MANY; i++) {
        snprintf(many->keys[i], sizeof many->keys[i], "%06u of many keys", (unsigned)i * 2);
        many->rows[i] =
            (struct table_row){.key = bytes_of(many->keys[i]), .sequence = i + 1, .value_bytes = 3};
    }
    return many;
}

/* The first key that is `key` or greater must be row `expected`, and the next ones follow it. */
static void check_seek(struct table_cursor *cursor, const struct many *many, struct bytes key,
                       size_t expected)
{
    enum status status = table_cursor_seek(cursor, key);
    for (size_t i = expected; i < expected + 3 && i < MANY; i++) {
        assert_int_equal(status, STATUS_OK);
        assert_true(bytes_equal(cursor->entry.key, many->rows[i].key));
        assert_int_equal(cursor->entry.sequence, many->rows[i].sequence);
        status = table_cursor_next(cursor);
    }
    if (expected + 3 > MANY)
        assert_int_equal(status, STATUS_NOT_FOUND);
}

static void a_seek_finds_its_place_at_every_border(void **state)
{
    (void)state;
    struct many *many = many_rows();
    struct bench bench = begin();
    struct table *table = table_file_make(bench.disk, 1, many->rows, MANY);
    assert_true(table->properties->blocks > 3);
    struct table_cursor cursor;
    table_cursor_init(&cursor, table);
    check_seek(&cursor, many, bytes_of(""), 0);
    check_seek(&cursor, many, bytes_of("0"), 0);
    check_seek(&cursor, many, bytes_of("999999999"), MANY);
    for (size_t i = 0; i < MANY; i++) {
        char text[48];
        uint64_t sequence = 77;
        check_seek(&cursor, many, many->rows[i].key, i);
        snprintf(text, sizeof text, "%s!", many->keys[i]); /* just behind it */
        check_seek(&cursor, many, bytes_of(text), i + 1);
        assert_int_equal(table_find(table, bytes_of(text), &sequence), STATUS_NOT_FOUND);
        snprintf(text, sizeof text, "%06u", (unsigned)i * 2); /* a prefix: just before it */
        check_seek(&cursor, many, bytes_of(text), i);
        assert_int_equal(table_find(table, bytes_of(text), &sequence), STATUS_NOT_FOUND);
        assert_int_equal(sequence, 77);
    }
    for (uint32_t block = 1; block < table->properties->blocks; block++) {
        struct bytes border = table_block_key(table, block);
        uint64_t sequence;
        assert_int_equal(table_find(table, border, &sequence), STATUS_OK);
        check_seek(&cursor, many, border, sequence - 1);
    }
    table_cursor_done(&cursor);
    table_close(table);
    free(many);
    end(&bench);
}

static void a_seek_goes_on_from_where_it_is(void **state)
{
    (void)state;
    struct many *many = many_rows();
    struct bench bench = begin();
    struct table *table = table_file_make(bench.disk, 1, many->rows, MANY);
    static const size_t strides[] = {1, 2, 7, 150, 1100, 2500};
    for (size_t s = 0; s < COUNT_OF(strides); s++) {
        struct table_cursor cursor;
        table_cursor_init(&cursor, table);
        for (size_t i = 0; i <= MANY; i += strides[s] / 2 + i % strides[s] + 1) {
            char text[48];
            enum status expected = i < MANY ? STATUS_OK : STATUS_NOT_FOUND;
            size_t row = i < MANY ? i : MANY - 1;
            snprintf(text, sizeof text, "%s%s", many->keys[row], i < MANY ? "" : "!");
            text[i % 3 == 1 && i < MANY ? 6 : strlen(text)] = '\0'; /* just before it, or it */
            for (int twice = 0; twice < 2; twice++) {
                assert_int_equal(table_cursor_seek_on(&cursor, bytes_of(text)), expected);
                if (expected == STATUS_OK)
                    assert_int_equal(cursor.entry.sequence, i + 1);
            }
        }
        table_cursor_done(&cursor);
    }
    table_close(table);
    free(many);
    end(&bench);
}

/* ---- properties ---- */

static void quantiles_tell_when_each_share_has_expired(void **state)
{
    (void)state;
    static const size_t counts[] = {1, 2, 15, 16, 17, 160, 1000};
    for (size_t c = 0; c < COUNT_OF(counts); c++) {
        struct bench bench = begin();
        size_t count = counts[c];
        struct table_row *rows = calloc(count + 2, sizeof *rows);
        char(*keys)[16] = calloc(count + 2, sizeof *keys);
        for (size_t i = 0; i < count + 2; i++) {
            snprintf(keys[i], sizeof keys[i], "%08u", (unsigned)i);
            /* of 7 is prime to the counts' steps: the times come in no order */
            rows[i] = (struct table_row){.key = bytes_of(keys[i]),
                                         .sequence = i + 1,
                                         .expires_ms = (int64_t)(i * 7 % count) + 1};
        }
        rows[count].expires_ms = 0;
        rows[count + 1] = (struct table_row){
            .key = bytes_of(keys[count + 1]), .sequence = count + 2, .type = RECORD_DELETE};
        bool distinct = count % 7 != 0;
        assert_true(distinct);
        struct table *table = table_file_make(bench.disk, 1, rows, count + 2);
        const struct table_properties *properties = table->properties;
        assert_int_equal(properties->expiring, count);
        for (size_t i = 0; i < TABLE_EXPIRY_QUANTILES; i++) {
            /* at this time, at least (i+1)/16 have expired; a moment before, fewer */
            uint64_t expired = (uint64_t)properties->expiry[i]; /* times are 1, 2, ... count */
            assert_true(expired * 16 >= (i + 1) * count);
            assert_true((expired - 1) * 16 < (i + 1) * count);
        }
        assert_int_equal(properties->expiry[TABLE_EXPIRY_QUANTILES - 1], count);
        table_close(table);
        free(rows);
        free(keys);
        end(&bench);
    }
}

static void a_finished_file_has_the_size_that_was_foretold(void **state)
{
    (void)state;
    struct bench bench = begin();
    struct table_writer *writer;
    struct table_identity identity;
    assert_int_equal(table_writer_open(bench.disk, table_file_uuid, 5, 10 << 20, &writer),
                     STATUS_OK);
    for (uint64_t i = 0; i < 5000; i++) {
        char key[32];
        snprintf(key, sizeof key, "key %06u", (unsigned)i);
        struct table_row row = {.key = bytes_of(key), .sequence = i + 1, .value_bytes = i % 90};
        struct record *record = table_row_record(&row);
        uint64_t offset;
        assert_int_equal(table_writer_add(writer, record, &offset), STATUS_OK);
        free(record);
    }
    uint64_t foretold = table_writer_bytes(writer), size = 0;
    assert_int_equal(table_writer_finish(writer, &identity), STATUS_OK);
    table_writer_close(writer);
    assert_true(identity.bytes >= foretold && identity.bytes < foretold + 64);
    struct disk_file *file;
    assert_int_equal(disk_open_file(bench.disk, "table-0000000000000005.tbl", &file), STATUS_OK);
    assert_int_equal(disk_file_size(file, &size), STATUS_OK);
    assert_int_equal(size, identity.bytes); /* nothing of the 10 MiB is left */
    disk_file_close(file);
    end(&bench);
}

/* ---- failures while writing and opening ---- */

static size_t count_files(struct disk *disk);

static enum status count_file(void *context, const char *name, uint64_t bytes)
{
    (void)name, (void)bytes;
    ++*(size_t *)context;
    return STATUS_OK;
}

static size_t count_files(struct disk *disk)
{
    size_t count = 0;
    assert_int_equal(disk_list(disk, count_file, &count), STATUS_OK);
    return count;
}

static void a_write_that_fails_leaves_no_file(void **state)
{
    (void)state;
    struct many *many = many_rows();
    for (size_t i = 0; i < MANY; i += 20)
        many->rows[i].value_bytes = 100000; /* 30 MB: syncs on the way */
    unsigned failures = 0;
    for (uint64_t nth = 1; failures < nth; nth++) {
        struct bench bench = begin();
        struct table_identity identity;
        crash_disk_fail(bench.crash,
                        (struct crash_fault){.operations = CRASH_WRITE | CRASH_SYNC | CRASH_CREATE |
                                                           CRASH_TRUNCATE,
                                             .nth = nth,
                                             .status = STATUS_NO_SPACE});
        enum status status = table_file_write(bench.disk, 1, many->rows, MANY, &identity);
        bool struck = crash_disk_failed(bench.crash);
        assert_int_equal(status, struck ? STATUS_NO_SPACE : STATUS_OK);
        assert_int_equal(count_files(bench.disk), struck ? 0 : 1);
        failures += struck;
        end(&bench);
        if (!struck)
            break;
    }
    assert_true(failures > 10);
    free(many);
}

static void a_read_that_fails_is_told_at_open(void **state)
{
    (void)state;
    struct table_row rows[] = {{.key = bytes_of("a"), .sequence = 1},
                               {.key = bytes_of("b"), .sequence = 2}};
    struct bench bench = begin();
    struct table_identity identity;
    assert_int_equal(table_file_write(bench.disk, 1, rows, 2, &identity), STATUS_OK);
    for (uint64_t nth = 1;; nth++) {
        struct table *table = NULL;
        struct failure failure = {0};
        crash_disk_fail(
            bench.crash,
            (struct crash_fault){.operations = CRASH_READ, .nth = nth, .status = STATUS_IO});
        enum status status = table_open(bench.disk, table_file_uuid, &identity, &table, &failure);
        if (!crash_disk_failed(bench.crash)) {
            assert_int_equal(status, STATUS_OK);
            table_close(table);
            break;
        }
        assert_int_equal(status, STATUS_IO);
        assert_non_null(strstr(failure.message, "table-0000000000000001.tbl"));
    }
    end(&bench);
}

/* ---- damage ---- */

struct image {
    unsigned char *bytes;
    struct table_identity identity;
};

static void put_image(struct disk *disk, const char *name, const unsigned char *bytes, size_t size)
{
    struct disk_file *file;
    enum status status = disk_remove(disk, name);
    (void)status;
    assert_int_equal(disk_create(disk, name, &file), STATUS_OK);
    struct iovec piece = {(void *)(uintptr_t)bytes, size};
    assert_int_equal(disk_file_write(file, 0, &piece, 1), STATUS_OK);
    assert_int_equal(disk_file_sync(file), STATUS_OK); /* nothing pending piles up */
    assert_int_equal(disk_sync_directory(disk), STATUS_OK);
    disk_file_close(file);
}

static struct image take_image(struct disk *disk, uint64_t id, const struct table_row *rows,
                               size_t count)
{
    struct image image;
    struct disk_file *file;
    char name[64];
    size_t got = 0;
    assert_int_equal(table_file_write(disk, id, rows, count, &image.identity), STATUS_OK);
    image.bytes = malloc(image.identity.bytes);
    table_name(id, name);
    assert_int_equal(disk_open_file(disk, name, &file), STATUS_OK);
    assert_int_equal(disk_file_read(file, 0, image.bytes, image.identity.bytes, &got), STATUS_OK);
    assert_int_equal(got, image.identity.bytes);
    disk_file_close(file);
    return image;
}

static const char name_1[] = "table-0000000000000001.tbl";

enum { SMALL = 40 };

static void small_rows(struct table_row rows[SMALL], char keys[SMALL][16])
{
    for (size_t i = 0; i < SMALL; i++) {
        snprintf(keys[i], 16, "key %02u%s", (unsigned)i, i % 3 == 0 ? " long" : "");
        rows[i] = (struct table_row){.key = bytes_of(keys[i]),
                                     .sequence = 100 + i,
                                     .type = i % 7 == 3 ? RECORD_DELETE : RECORD_PUT,
                                     .value_bytes = i % 7 == 3 ? 0 : i,
                                     .expires_ms = i % 7 == 5 ? 5000 : 0};
    }
}

/* Whatever can be read of a table is right; returns how many of its records can. */
static size_t check_what_can_be_read(struct table *table, const struct table_row *rows,
                                     const uint64_t *offsets, bool *out_index_is_whole)
{
    struct table_cursor cursor;
    enum status status = STATUS_OK;
    size_t readable = 0, walked = 0;
    table_cursor_init(&cursor, table);
    while ((status = table_cursor_next(&cursor)) == STATUS_OK) {
        assert_true(bytes_equal(cursor.entry.key, rows[walked].key));
        assert_int_equal(cursor.entry.sequence, rows[walked].sequence);
        assert_int_equal(cursor.entry.offset, offsets[walked]);
        walked++;
    }
    assert_true(status == STATUS_NOT_FOUND || status == STATUS_CORRUPT);
    *out_index_is_whole = status == STATUS_NOT_FOUND;
    assert_true(!*out_index_is_whole || walked == SMALL);
    table_cursor_done(&cursor);
    for (size_t i = 0; i < SMALL; i++) {
        struct record *record = table_file_record(table, offsets[i]);
        assert_true(record == NULL || table_row_matches(&rows[i], record));
        readable += record != NULL;
        free(record);
    }
    return readable;
}

static void take_offsets(struct table *table, uint64_t offsets[SMALL])
{
    struct table_cursor cursor;
    table_cursor_init(&cursor, table);
    for (size_t i = 0; i < SMALL; i++) {
        assert_int_equal(table_cursor_next(&cursor), STATUS_OK);
        offsets[i] = cursor.entry.offset;
    }
    table_cursor_done(&cursor);
}

static void every_flipped_byte_is_told_or_harmless(void **state)
{
    (void)state;
    struct table_row rows[SMALL];
    char keys[SMALL][16];
    uint64_t offsets[SMALL];
    small_rows(rows, keys);
    struct bench bench = begin();
    struct image image = take_image(bench.disk, 1, rows, SMALL);
    struct table *table;
    assert_int_equal(table_open(bench.disk, table_file_uuid, &image.identity, &table, NULL),
                     STATUS_OK);
    take_offsets(table, offsets);
    uint64_t records_end = table->records_end;
    const struct table_footer *footer =
        (const struct table_footer *)(image.bytes + image.identity.bytes - sizeof *footer);
    uint64_t tail_offset = footer->tail_offset;
    table_close(table);
    for (uint64_t at = 0; at < image.identity.bytes; at++) {
        static const unsigned char flips[] = {0x01, 0x80, 0xff};
        image.bytes[at] ^= flips[at % 3];
        put_image(bench.disk, name_1, image.bytes, image.identity.bytes);
        image.bytes[at] ^= flips[at % 3];
        struct failure failure = {0};
        enum status status =
            table_open(bench.disk, table_file_uuid, &image.identity, &table, &failure);
        bool vouched = at < sizeof(struct table_header) || at >= tail_offset;
        if (vouched) {
            assert_int_equal(status, STATUS_CORRUPT_LOG);
            assert_non_null(strstr(failure.message, name_1));
            assert_non_null(strstr(failure.message, "offset "));
            continue;
        }
        assert_int_equal(status, STATUS_OK);
        bool whole;
        size_t readable = check_what_can_be_read(table, rows, offsets, &whole);
        assert_int_equal(whole, at < records_end);
        assert_true(readable >= (at < records_end ? SMALL - 1 : SMALL));
        table_close(table);
    }
    free(image.bytes);
    end(&bench);
}

static void a_file_cut_at_any_length_is_refused(void **state)
{
    (void)state;
    struct table_row rows[SMALL];
    char keys[SMALL][16];
    small_rows(rows, keys);
    struct bench bench = begin();
    struct image image = take_image(bench.disk, 1, rows, SMALL);
    for (uint64_t size = 0; size < image.identity.bytes; size++) {
        struct failure failure = {0};
        struct table *table;
        put_image(bench.disk, name_1, image.bytes, size);
        assert_int_equal(table_open(bench.disk, table_file_uuid, &image.identity, &table, &failure),
                         STATUS_CORRUPT_LOG);
        assert_non_null(strstr(failure.message, name_1));
        /* A manifest that believed the short size is no manifest of this file either. */
        struct table_identity shorter = image.identity;
        shorter.bytes = size;
        assert_int_not_equal(table_open(bench.disk, table_file_uuid, &shorter, &table, &failure),
                             STATUS_OK);
    }
    free(image.bytes);
    end(&bench);
}

static void check_refused(struct bench *bench, const struct image *image, enum status expected)
{
    struct failure failure = {0};
    struct table *table;
    put_image(bench->disk, name_1, image->bytes, image->identity.bytes);
    assert_int_equal(table_open(bench->disk, table_file_uuid, &image->identity, &table, &failure),
                     expected);
    assert_non_null(strstr(failure.message, name_1));
    assert_non_null(strstr(failure.message, "offset "));
}

static void strange_tables_are_refused(void **state)
{
    (void)state;
    struct table_row rows[SMALL];
    char keys[SMALL][16];
    small_rows(rows, keys);
    struct bench bench = begin();
    struct image image = take_image(bench.disk, 1, rows, SMALL);
    struct image other = take_image(bench.disk, 2, rows, SMALL);
    struct table_header *header = (struct table_header *)image.bytes, whole = *header;

    header->uuid[3] ^= 1; /* another store's */
    header->check = checksum64(header, offsetof(struct table_header, check), 0);
    check_refused(&bench, &image, STATUS_CORRUPT_LOG);
    *header = whole;
    header->id = 2;
    header->check = checksum64(header, offsetof(struct table_header, check), 0);
    check_refused(&bench, &image, STATUS_CORRUPT_LOG);
    *header = whole;
    header->format = FORMAT_VERSION + 1;
    header->check = checksum64(header, offsetof(struct table_header, check), 0);
    check_refused(&bench, &image, STATUS_FORMAT);
    *header = whole;
    header->features = 1u << 31;
    header->check = checksum64(header, offsetof(struct table_header, check), 0);
    check_refused(&bench, &image, STATUS_FORMAT);
    *header = whole;
    header->magic++;
    header->check = checksum64(header, offsetof(struct table_header, check), 0);
    check_refused(&bench, &image, STATUS_CORRUPT_LOG);
    *header = whole;

    /* Table 2's file under table 1's name; and table 1's header before table 2's rest. */
    other.identity.id = 1;
    check_refused(&bench, &other, STATUS_CORRUPT_LOG);
    memcpy(other.bytes, image.bytes, sizeof *header);
    check_refused(&bench, &other, STATUS_CORRUPT_LOG);
    /* An older whole table 1 than the manifest lists. */
    image.identity.check++;
    check_refused(&bench, &image, STATUS_CORRUPT_LOG);
    free(image.bytes);
    free(other.bytes);
    end(&bench);
}

static void a_missing_table_is_named(void **state)
{
    (void)state;
    struct bench bench = begin();
    struct table *table;
    struct failure failure = {0};
    assert_int_equal(table_open(bench.disk, table_file_uuid,
                                &(struct table_identity){.id = 0xabc, .bytes = 1000}, &table,
                                &failure),
                     STATUS_CORRUPT_LOG);
    assert_non_null(strstr(failure.message, "table-0000000000000abc.tbl"));
    end(&bench);
}

/* Makes all checksums right again behind a change of index or tail. */
static void reseal(struct image *image, const struct table_footer *whole)
{
    struct table_footer footer = *whole;
    unsigned char *tail = image->bytes + footer.tail_offset;
    struct table_properties *properties = (struct table_properties *)tail;
    uint64_t at =
        sizeof *properties + format_align(properties->last_key_bytes, FORMAT_RECORD_ALIGNMENT);
    for (uint32_t i = 0; i < properties->blocks; i++) {
        if (at > footer.tail_bytes || footer.tail_bytes - at < sizeof(struct table_block_header))
            break;
        struct table_block_header *block = (struct table_block_header *)(tail + at);
        if (block->offset < footer.tail_offset &&
            block->bytes <= footer.tail_offset - block->offset)
            block->check = checksum64(image->bytes + block->offset, block->bytes, 0);
        at += format_align(sizeof *block + block->key_bytes, FORMAT_RECORD_ALIGNMENT);
    }
    footer.tail_check = checksum64(tail, footer.tail_bytes, 0);
    footer.check = checksum64(&footer, offsetof(struct table_footer, check), 0);
    memcpy(image->bytes + image->identity.bytes - sizeof footer, &footer, sizeof footer);
    image->identity.check = footer.check;
}

/* A forged index whose checksums are right may say anything: it is no crash and no foreign byte. */
static void a_forged_index_harms_nobody(void **state)
{
    (void)state;
    struct table_row rows[SMALL];
    char keys[SMALL][16];
    small_rows(rows, keys);
    struct bench bench = begin();
    struct image image = take_image(bench.disk, 1, rows, SMALL);
    struct table_footer footer;
    memcpy(&footer, image.bytes + image.identity.bytes - sizeof footer, sizeof footer);
    uint64_t index_bytes = footer.tail_offset + footer.tail_bytes - footer.records_end;
    uint64_t random = 12345;
    unsigned char *whole = malloc(image.identity.bytes);
    memcpy(whole, image.bytes, image.identity.bytes);
    unsigned opened = 0;
    for (int i = 0; i < 4000; i++) {
        memcpy(image.bytes, whole, image.identity.bytes);
        for (int flips = 1 + i % 3; flips > 0; flips--) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            uint64_t at = footer.records_end + (random >> 33) % index_bytes;
            image.bytes[at] = (unsigned char)(i % 2 == 0 ? random >> 20 : 0xff);
        }
        reseal(&image, &footer);
        put_image(bench.disk, name_1, image.bytes, image.identity.bytes);
        struct table *table;
        if (table_open(bench.disk, table_file_uuid, &image.identity, &table, NULL) != STATUS_OK)
            continue;
        opened++;
        struct table_cursor cursor;
        table_cursor_init(&cursor, table);
        while (table_cursor_next(&cursor) == STATUS_OK)
            free(table_file_record(table, cursor.entry.offset));
        uint64_t sequence;
        enum status status = table_cursor_seek(&cursor, rows[SMALL / 2].key);
        status = table_find(table, rows[3].key, &sequence);
        (void)status;
        table_cursor_done(&cursor);
        table_close(table);
    }
    assert_true(opened > 1000);
    free(whole);
    free(image.bytes);
    end(&bench);
}

/* The first entries of a table of two long keys; sealed again and read after each change. */
static void check_impossible(struct bench *bench, struct image *image,
                             const struct table_footer *footer, size_t entry,
                             struct table_entry_header changed)
{
    unsigned char *place = image->bytes + footer->records_end + entry;
    struct table_entry_header whole;
    struct table *table;
    struct table_cursor cursor;
    memcpy(&whole, place, sizeof whole);
    memcpy(place, &changed, sizeof changed);
    reseal(image, footer);
    put_image(bench->disk, name_1, image->bytes, image->identity.bytes);
    assert_int_equal(table_open(bench->disk, table_file_uuid, &image->identity, &table, NULL),
                     STATUS_OK);
    table_cursor_init(&cursor, table);
    assert_int_equal(entry == 0 ? STATUS_OK : table_cursor_next(&cursor), STATUS_OK);
    assert_int_equal(table_cursor_next(&cursor), STATUS_CORRUPT);
    table_cursor_done(&cursor);
    table_close(table);
    memcpy(place, &whole, sizeof whole);
}

static void an_entry_that_no_record_can_have_is_corrupt(void **state)
{
    (void)state;
    enum { LONG_KEY = 60000, SECOND_KEY = 20000 };
    char *first = malloc(LONG_KEY), *second = malloc(SECOND_KEY);
    memset(first, 'a', LONG_KEY);
    memset(second, 'b', SECOND_KEY);
    struct table_row rows[] = {{.key = {first, LONG_KEY}, .sequence = 1},
                               {.key = {second, SECOND_KEY}, .sequence = 2}};
    struct bench bench = begin();
    struct image image = take_image(bench.disk, 1, rows, 2);
    struct table_footer footer;
    memcpy(&footer, image.bytes + image.identity.bytes - sizeof footer, sizeof footer);
    struct table_entry_header header, changed;
    memcpy(&header, image.bytes + footer.records_end, sizeof header);
    const uint32_t sizes[] = {0, sizeof(struct record) - 8, header.record_bytes + 1,
                              UINT32_MAX - 7};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        changed = header;
        changed.record_bytes = sizes[i];
        check_impossible(&bench, &image, &footer, 0, changed);
    }
    for (uint64_t type = 0; type <= TABLE_ENTRY_TYPE_MASK; type++) {
        changed = header;
        changed.word = 1 | type << TABLE_ENTRY_TYPE_SHIFT;
        if (type < RECORD_PUT || type > RECORD_EXPIRE)
            check_impossible(&bench, &image, &footer, 0, changed);
    }
    changed = header;
    changed.suffix_bytes = 0; /* no key */
    check_impossible(&bench, &image, &footer, 0, changed);
    size_t at = sizeof header + LONG_KEY;
    memcpy(&header, image.bytes + footer.records_end + at, sizeof header);
    header.shared_bytes = LONG_KEY; /* a key of 80000 bytes, where 65535 have room */
    check_impossible(&bench, &image, &footer, at, header);
    free(image.bytes);
    free(first);
    free(second);
    end(&bench);
}

/* Memory is taken by that number when the store opens. */
static void more_records_than_there_is_room_for_are_refused(void **state)
{
    (void)state;
    struct table_row rows[SMALL];
    char keys[SMALL][16];
    small_rows(rows, keys);
    struct bench bench = begin();
    struct image image = take_image(bench.disk, 1, rows, SMALL);
    struct table_footer footer;
    memcpy(&footer, image.bytes + image.identity.bytes - sizeof footer, sizeof footer);
    ((struct table_properties *)(image.bytes + footer.tail_offset))->records = UINT64_C(1) << 40;
    reseal(&image, &footer);
    check_refused(&bench, &image, STATUS_CORRUPT_LOG);
    free(image.bytes);
    end(&bench);
}

static void an_offset_that_is_no_record_is_corrupt(void **state)
{
    (void)state;
    struct table_row rows[SMALL];
    char keys[SMALL][16];
    small_rows(rows, keys);
    struct bench bench = begin();
    struct table *table = table_file_make(bench.disk, 1, rows, SMALL);
    struct record head;
    assert_int_equal(table_head(table, 0, &head), STATUS_CORRUPT);
    assert_int_equal(table_head(table, table->records_end, &head), STATUS_CORRUPT);
    assert_int_equal(table_head(table, table->records_end - 8, &head), STATUS_CORRUPT);
    assert_int_equal(table_head(table, table->records_end + 8, &head), STATUS_CORRUPT);
    assert_int_equal(table_head(table, UINT64_MAX - 7, &head), STATUS_CORRUPT);
    table_close(table);
    end(&bench);
}

/* ---- a file that is cut while it is mapped ---- */

static void cut_file(const char *directory, uint64_t bytes)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s", directory, name_1);
    assert_int_equal(truncate(path, (off_t)bytes), 0);
}

static void a_cut_under_the_mapping_harms_only_what_is_gone(void **state)
{
    (void)state;
    char *directory = test_directory_make();
    struct disk *disk;
    struct failure failure;
    assert_int_equal(disk_open(directory, &disk, &failure), STATUS_OK);
    enum { ROWS = 40 };
    struct table_row rows[ROWS];
    char keys[ROWS][8];
    for (size_t i = 0; i < ROWS; i++) {
        snprintf(keys[i], sizeof keys[i], "k%02u", (unsigned)i);
        /* a mapping and a pread meet the cut in their own ways */
        rows[i] = (struct table_row){
            .key = bytes_of(keys[i]), .sequence = i + 1, .value_bytes = i % 4 == 3 ? 80000 : 3000};
    }
    struct table *table = table_file_make(disk, 1, rows, ROWS);
    uint64_t offsets[ROWS], cut = table->records_end / 2;
    struct table_cursor cursor;
    table_cursor_init(&cursor, table);
    for (size_t i = 0; i < ROWS; i++) {
        assert_int_equal(table_cursor_next(&cursor), STATUS_OK);
        offsets[i] = cursor.entry.offset;
    }
    table_cursor_done(&cursor);
    cut_file(directory, cut);
    size_t lost = 0;
    for (size_t i = 0; i < ROWS; i++) {
        struct record *record = table_file_record(table, offsets[i]);
        uint64_t end = i + 1 < ROWS ? offsets[i + 1] : table->records_end;
        if (end <= cut)
            assert_true(record != NULL && table_row_matches(&rows[i], record));
        else
            assert_null(record);
        lost += record == NULL;
        free(record);
    }
    assert_in_range(lost, 5, ROWS - 5);
    table_cursor_init(&cursor, table); /* the index is gone */
    assert_int_equal(table_cursor_next(&cursor), STATUS_CORRUPT);
    table_cursor_done(&cursor);
    table_close(table);
    disk_close(disk);
    test_directory_remove(directory);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("awkward keys come back in order", awkward_keys_come_back_in_order),
        TEST("values of every size come back", values_of_every_size_come_back),
        TEST("one record is a table", one_record_is_a_table),
        TEST("a seek finds its place at every border", a_seek_finds_its_place_at_every_border),
        TEST("a seek goes on from where it is", a_seek_goes_on_from_where_it_is),
        TEST("quantiles tell when each share has expired",
             quantiles_tell_when_each_share_has_expired),
        TEST("a finished file has the size that was foretold",
             a_finished_file_has_the_size_that_was_foretold),
        TEST("a write that fails leaves no file", a_write_that_fails_leaves_no_file),
        TEST("a read that fails is told at open", a_read_that_fails_is_told_at_open),
        TEST("every flipped byte is told or harmless", every_flipped_byte_is_told_or_harmless),
        TEST("a file cut at any length is refused", a_file_cut_at_any_length_is_refused),
        TEST("strange tables are refused", strange_tables_are_refused),
        TEST("a missing table is named", a_missing_table_is_named),
        TEST("a forged index harms nobody", a_forged_index_harms_nobody),
        TEST("an entry that no record can have is corrupt",
             an_entry_that_no_record_can_have_is_corrupt),
        TEST("more records than there is room for are refused",
             more_records_than_there_is_room_for_are_refused),
        TEST("an offset that is no record is corrupt", an_offset_that_is_no_record_is_corrupt),
        TEST("a cut under the mapping harms only what is gone",
             a_cut_under_the_mapping_harms_only_what_is_gone),
    };
    return test_main(argc, argv, "table", tests);
}
