/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole data directory with bytes changed: the first byte says whether checksums are then set
 * right, so that what lies behind them is reached, too. Then changes: file, offset, kind, bytes.
 *
 * One change with checksums as they were: nothing wrong is ever answered, but the value as it was,
 * CORRUPT, or no store at all; only the last write of all, which nothing behind it proves durable,
 * may be taken for torn. More changes, or checksums set right: anything may be answered, as long as
 * the program lives. And a store that does not open is never called clean.
 */
#include "../../engine/local/local.h"
#include "../../engine/local/verify.h"
#include "../lib/fuzz.h"
#include "../lib/golden.h"

static const char *const keys[] = {"absent",
                                   "brought back",
                                   "compacted",
                                   "deleted after its dump",
                                   "empty",
                                   "deleted in the journal",
                                   "expires",
                                   "deleted, its tombstone dumped",
                                   "large",
                                   "together 1",
                                   "together 2",
                                   "overwritten in the journal",
                                   "short-lived",
                                   "overwritten in a table",
                                   "only in the journal"};

struct answer {
    enum status status;
    uint64_t sequence, value_hash;
};

static struct {
    struct crash_disk *crash;
    struct answer answers[COUNT_OF(keys)]; /* of the store as it was */
} golden;

static struct engine_options small_options(void)
{
    struct engine_options options = engine_options_default();
    options.key_bytes_max = 64;
    options.meta_bytes_max = 64;
    options.batch_operations_max = 4;
    options.value_bytes_max = 12 << 10;
    options.journal_segment_bytes = 1;
    options.memtable_bytes = 1 << 20;
    options.memory_bytes_max = 64 << 20;
    options.reserve_bytes = options.ballast_bytes = 0;
    return options;
}

/* ---- asking ---- */

static uint64_t hash(struct bytes value)
{
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < value.size; i++)
        hash = (hash ^ ((const unsigned char *)value.data)[i]) * 1099511628211u;
    return hash;
}

static struct answer ask(struct engine *engine, const char *key)
{
    struct engine_item item;
    struct answer answer = {.status = engine_get(engine, bytes_of(key), &item)};
    if (answer.status != STATUS_OK)
        return answer;
    answer.sequence = item.version.sequence;
    answer.value_hash = hash(item.value);
    engine_item_done(&item);
    return answer;
}

static enum status open_store(struct crash_disk *crash, struct engine **out_engine)
{
    struct engine_options options = small_options();
    struct failure failure = {0};
    enum status status =
        local_open(&options, crash_disk_attach(crash), false, out_engine, &failure);
    assert_true(status == STATUS_OK || failure.message[0] != '\0');
    return status;
}

static void learn_answers(void)
{
    struct engine *engine;
    golden.crash = golden_disk_open();
    struct crash_disk *copy = crash_disk_fork(golden.crash);
    assert_int_equal(open_store(copy, &engine), STATUS_OK);
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        golden.answers[i] = ask(engine, keys[i]);
    engine_close(engine);
    crash_disk_close(copy);
}

/* ---- changing ---- */

enum { GROWN_BYTES = 64 };
enum change_kind { CHANGE_SET, CHANGE_FLIP, CHANGE_CUT, CHANGE_GROW, CHANGE_KINDS };

/* Offsets count in steps: what is interesting stands at the beginnings and ends of files. */
static size_t read_offset(struct fuzz_input *input, size_t size)
{
    uint32_t number = fuzz_number(input, 2);
    if (size == 0)
        return 0;
    return number & 1 ? size - 1 - (number >> 1) % size : (number >> 1) % size;
}

static void change_file(struct fuzz_input *input, struct crash_disk *crash)
{
    uint8_t choice = fuzz_byte(input);
    const char *name = golden_file_name(choice % 8);
    enum change_kind kind = choice / 8 % CHANGE_KINDS;
    size_t size, length = 1 + choice / 32;
    unsigned char *bytes = golden_file_read(crash, name, &size);
    size_t offset = read_offset(input, size);
    struct bytes given = fuzz_bytes(input, length);
    if (kind == CHANGE_CUT) {
        size = offset;
    } else if (kind == CHANGE_GROW) {
        bytes = realloc(bytes, size + GROWN_BYTES);
        memset(bytes + size, 0, GROWN_BYTES);
        size += GROWN_BYTES;
    }
    for (size_t i = 0; i < given.size && offset + i < size && kind <= CHANGE_FLIP; i++)
        bytes[offset + i] = (unsigned char)((kind == CHANGE_FLIP ? bytes[offset + i] : 0) ^
                                            ((const unsigned char *)given.data)[i]);
    golden_file_write(crash, name, (struct bytes){bytes, size});
    free(bytes);
}

/* ---- looking ---- */

static void count_finding(void *context, const char *finding)
{
    (void)finding;
    ++*(unsigned *)context;
}

static bool verifies_clean(struct crash_disk *crash)
{
    struct disk *disk = crash_disk_attach(crash);
    struct engine_verification found = {0};
    struct failure failure = {0};
    unsigned findings = 0;
    struct verify verify = {disk, count_finding, &findings, &found};
    enum status status = verify_run(&verify, &failure);
    assert_true(status != STATUS_OK || findings == 0);
    assert_true(status != STATUS_CORRUPT_LOG || findings > 0);
    disk_close(disk);
    return status == STATUS_OK;
}

static void look_at(struct engine *engine, bool exact)
{
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        struct answer now = ask(engine, keys[i]), *was = &golden.answers[i];
        bool same = now.status == was->status && now.sequence == was->sequence &&
                    now.value_hash == was->value_hash;
        bool was_last = strcmp(keys[i], "short-lived") == 0;
        if (exact && !same && !was_last && now.status != STATUS_CORRUPT)
            fail_msg("'%s' was %s, is %s", keys[i], status_text(was->status),
                     status_text(now.status));
    }
}

static void store_is_opened(struct fuzz_input *input)
{
    if (golden.crash == NULL)
        learn_answers();
    struct crash_disk *crash = crash_disk_fork(golden.crash);
    bool fixed = fuzz_byte(input) % 2 == 1;
    int changes = 0;
    for (; input->size > 0 && changes < 8; changes++)
        change_file(input, crash);
    if (fixed)
        golden_disk_fix(crash);
    struct engine *engine;
    bool clean = verifies_clean(crash);
    enum status status = open_store(crash, &engine);
    if (status == STATUS_OK) {
        look_at(engine, !fixed && changes <= 1);
        uint64_t id;
        assert_int_equal(engine_compact(engine, &id), STATUS_OK);
        local_housekeep(engine);
        look_at(engine, !fixed && changes <= 1);
        engine_close(engine);
    } else {
        assert_false(clean && (status == STATUS_CORRUPT_LOG || status == STATUS_FORMAT));
    }
    crash_disk_close(crash);
}

FUZZ_TARGET("fuzz_store", "damage is told or does no harm, whatever the checksums say",
            store_is_opened)
