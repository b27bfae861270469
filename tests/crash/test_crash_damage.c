/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store that was lived in and closed, and then damaged somewhere: a bit, a block, an end, a whole
 * file. Every answer that it gives afterwards is right, or says that something is damaged; what
 * refuses to open names the file and changes nothing. Verifying it finds whatever harms it.
 */
#include <inttypes.h>

#include "../../engine/local/local.h"
#include "../../engine/local/verify.h"
#include "../lib/crash_trial.h"
#include "../lib/test.h"

enum { LIVES = 8, STEPS = 60, DAMAGES = 4000, FILES_MAX = 64, BLOCK_BYTES = 4096 };

enum damage { FLIP, ZERO, STALE, CUT, REMOVE, DAMAGE_COUNT };

static const char *const damage_texts[] = {"a bit of", "a zeroed block of", "a misplaced block of",
                                           "the end of", "the whole of"};

struct files {
    struct {
        char name[64];
        uint64_t bytes;
    } rows[FILES_MAX];
    size_t count;
};

static enum status add_file(void *context, const char *name, uint64_t bytes)
{
    struct files *files = context;
    assert_true(files->count < FILES_MAX);
    snprintf(files->rows[files->count].name, sizeof files->rows[0].name, "%s", name);
    files->rows[files->count++].bytes = bytes;
    return STATUS_OK;
}

static struct files files_of(struct crash_disk *disk)
{
    struct files files = {.count = 0};
    struct disk *face = crash_disk_attach(disk);
    assert_int_equal(disk_list(face, add_file, &files), STATUS_OK);
    disk_close(face);
    return files;
}

static bool starts_with(const char *name, const char *start)
{
    return strncmp(name, start, strlen(start)) == 0;
}

/* ---- damaging ---- */

static void overwrite(struct disk_file *file, uint64_t offset, uint64_t source, enum damage damage)
{
    unsigned char bytes[BLOCK_BYTES] = {0};
    size_t got = 0;
    uint64_t from = damage == FLIP ? offset : source;
    if (damage != ZERO)
        assert_int_equal(disk_file_read(file, from, bytes, damage == FLIP ? 1 : sizeof bytes, &got),
                         STATUS_OK);
    if (damage == FLIP)
        bytes[0] = (unsigned char)(bytes[0] ^ 1u << source % 8);
    struct iovec piece = {bytes, damage == FLIP ? 1 : sizeof bytes};
    assert_int_equal(disk_file_write(file, offset, &piece, 1), STATUS_OK);
}

static void damage_file(struct disk *disk, const char *name, uint64_t bytes, enum damage damage,
                        uint64_t *random)
{
    if (damage == REMOVE) {
        assert_int_equal(disk_remove(disk, name), STATUS_OK);
        assert_int_equal(disk_sync_directory(disk), STATUS_OK);
        return;
    }
    struct disk_file *file;
    assert_int_equal(disk_open_file(disk, name, &file), STATUS_OK);
    uint64_t offset = model_random(random) % bytes;
    uint64_t source = model_random(random) % bytes;
    if (damage == ZERO || damage == STALE) {
        offset -= offset % BLOCK_BYTES;
        source -= source % BLOCK_BYTES;
    }
    if (damage == CUT)
        assert_int_equal(disk_file_truncate(file, offset), STATUS_OK);
    else
        overwrite(file, offset, source, damage);
    assert_int_equal(disk_file_sync(file), STATUS_OK);
    disk_file_close(file);
}

/* ---- looking at it ---- */

struct tally {
    unsigned refused, corrupt, unharmed;
};

static void ignore_finding(void *context, const char *finding)
{
    (void)context, (void)finding;
}

/* Whether verifying finds nothing; it changes nothing. */
static bool is_clean(struct crash_disk *disk)
{
    struct engine_verification found = {0};
    struct failure failure = {0};
    struct verify verify = {
        .disk = crash_disk_attach(disk), .on_finding = ignore_finding, .found = &found};
    uint64_t before = crash_disk_hash(disk);
    enum status status = verify_run(&verify, &failure);
    disk_close(verify.disk);
    if (before != crash_disk_hash(disk))
        fail_msg("verifying has changed something");
    return status == STATUS_OK && found.findings == 0;
}

static void check_refusal(const char *name, enum status status, const struct failure *failure)
{
    if (status != STATUS_CORRUPT_LOG && status != STATUS_FORMAT)
        fail_msg("%s: refused with '%s'", name, status_text(status));
    if (strstr(failure->message, name) == NULL && strstr(failure->message, "MANIFEST") == NULL &&
        strstr(failure->message, "journal-") == NULL)
        fail_msg("%s: the refusal names no file: %s", name, failure->message);
}

/* What a start made of the damage, and reads after it. */
struct outcome {
    enum status status;
    struct failure failure; /* when it was refused */
    unsigned keys_corrupt;  /* else */
};

/* `where` is damaged in `name`: whatever comes of that is told, and verifying knew it before. */
static struct outcome check_damaged(struct trial *trial, struct crash_disk *disk, const char *name,
                                    const char *where)
{
    struct engine_options options = trial_options(trial, false);
    struct outcome outcome = {0};
    struct engine *engine;
    struct engine_health health;
    bool clean = is_clean(disk);
    uint64_t before = crash_disk_hash(disk);
    outcome.status =
        local_open(&options, crash_disk_attach(disk), false, &engine, &outcome.failure);
    if (outcome.status != STATUS_OK) {
        check_refusal(name, outcome.status, &outcome.failure);
        if (before != crash_disk_hash(disk))
            fail_msg("%s: the refused start has changed something", name);
        if (clean)
            fail_msg("%s: refused, and verifying finds nothing: %s", name, outcome.failure.message);
        return outcome;
    }
    engine_health(engine, &health);
    const char *wrong = model_compare(engine, model_newest(&trial->model), health.epoch);
    bool corrupt = wrong != NULL && strcmp(wrong, status_text(STATUS_CORRUPT)) == 0;
    if (wrong != NULL && !(corrupt && starts_with(name, "table-")))
        fail_msg("seed %" PRIu64 ": without %s %s: %s", trial->seed, where, name, wrong);
    if (corrupt && clean)
        fail_msg("%s: a key is refused, and verifying finds nothing", name);
    outcome.keys_corrupt = corrupt ? model_count_corrupt(engine) : 0;
    crash_disk_kill(disk);
    engine_close(engine);
    return outcome;
}

static void count(struct tally *tally, const struct outcome *outcome)
{
    bool opened = outcome->status == STATUS_OK;
    tally->refused += !opened;
    tally->corrupt += outcome->keys_corrupt > 0;
    tally->unharmed += opened && outcome->keys_corrupt == 0;
}

static void damage_and_check(struct trial *trial, const struct files *files, struct tally *tally)
{
    size_t index = model_random(&trial->random) % files->count;
    enum damage damage = (enum damage)(model_random(&trial->random) % (DAMAGE_COUNT + 3));
    if (damage >= DAMAGE_COUNT) /* most often */
        damage = FLIP;
    struct crash_disk *disk = crash_disk_fork(trial->disk);
    struct disk *face = crash_disk_attach(disk);
    damage_file(face, files->rows[index].name, files->rows[index].bytes, damage, &trial->random);
    disk_close(face);
    struct outcome outcome =
        check_damaged(trial, disk, files->rows[index].name, damage_texts[damage]);
    count(tally, &outcome);
    crash_disk_close(disk);
}

/* Closed, and nothing pending. */
static void settle(struct trial *trial)
{
    trial_idle(trial, 1100);
    engine_close(trial->engine);
    struct crash_disk *settled = crash_disk_cut(trial->disk, true);
    crash_disk_close(trial->disk);
    trial->disk = settled;
}

static void live_and_close(struct trial *trial)
{
    trial_start(trial);
    for (int i = 0; i < STEPS; i++) {
        struct model_commit commit = model_make_commit(&trial->random, 4000);
        trial_idle(trial, 20);
        trial_commit(trial, &commit);
        if (i % 20 != 19)
            continue;
        engine_close(trial->engine);
        trial_start(trial);
    }
    settle(trial);
}

static void damage_is_told_or_does_no_harm(void **state)
{
    (void)state;
    uint64_t first = trial_seed_from_environment(1);
    struct tally tally = {0};
    for (uint64_t seed = first; seed < first + LIVES; seed++) {
        struct trial trial;
        trial_init(&trial, seed, CRASH_ALWAYS);
        live_and_close(&trial);
        struct files files = files_of(trial.disk);
        for (int i = 0; i < DAMAGES / (int)trial_share(); i++)
            damage_and_check(&trial, &files, &tally);
        trial_done(&trial);
    }
    print_message("# refused %u, keys refused %u, unharmed %u, seed %" PRIu64 " and on\n",
                  tally.refused, tally.corrupt, tally.unharmed, first);
    assert_true(tally.refused > 0 && tally.corrupt > 0 && tally.unharmed > 0);
}

/* ---- byte by byte ---- */

enum { FLIP_STEPS = 40, NEAR_BYTES = 64, ZEROS_STRIDE = 61 };

/* A file's bytes, to be freed. */
static unsigned char *content_of(struct crash_disk *disk, const char *name, uint64_t bytes)
{
    struct disk *face = crash_disk_attach(disk);
    struct disk_file *file;
    unsigned char *content = malloc(bytes);
    size_t got;
    assert_non_null(content);
    assert_int_equal(disk_open_file(face, name, &file), STATUS_OK);
    assert_int_equal(disk_file_read(file, 0, content, bytes, &got), STATUS_OK);
    disk_file_close(file);
    disk_close(face);
    return content;
}

/* Long stretches of zeros fill a block, or a segment: there, some bytes stand for all. */
static bool is_tried(const unsigned char *content, uint64_t bytes, uint64_t offset)
{
    uint64_t from = offset < NEAR_BYTES ? 0 : offset - NEAR_BYTES;
    uint64_t until = bytes - offset < NEAR_BYTES ? bytes : offset + NEAR_BYTES;
    for (uint64_t at = from; at < until; at++)
        if (content[at] != 0)
            return true;
    return offset % ZEROS_STRIDE == 0;
}

/* A refusal says where; else one byte of one record costs the key whose record it is, no other. */
static void check_flip(struct trial *trial, const char *name, uint64_t offset, struct tally *tally)
{
    struct crash_disk *disk = crash_disk_fork(trial->disk);
    struct disk *face = crash_disk_attach(disk);
    struct disk_file *file;
    char where[40];
    assert_int_equal(disk_open_file(face, name, &file), STATUS_OK);
    overwrite(file, offset, offset, FLIP); /* a bit that differs from byte to byte */
    assert_int_equal(disk_file_sync(file), STATUS_OK);
    disk_file_close(file);
    disk_close(face);
    snprintf(where, sizeof where, "byte %" PRIu64 " of", offset);
    struct outcome outcome = check_damaged(trial, disk, name, where);
    const char *message = outcome.failure.message;
    if (outcome.status != STATUS_OK &&
        (strstr(message, name) == NULL || strstr(message, "offset") == NULL))
        fail_msg("%s %s: the refusal does not say where: %s", where, name, message);
    if (outcome.keys_corrupt > 1)
        fail_msg("%s %s: %u keys are refused", where, name, outcome.keys_corrupt);
    count(tally, &outcome);
    crash_disk_close(disk);
}

/* Of tables and the manifest each byte; of the journal, where it was ever written. */
static void flip_file(struct trial *trial, const char *name, uint64_t bytes)
{
    struct tally tally = {0};
    unsigned char *content = content_of(trial->disk, name, bytes);
    for (uint64_t offset = 0; offset < bytes; offset += trial_share())
        if (!starts_with(name, "journal-") || is_tried(content, bytes, offset))
            check_flip(trial, name, offset, &tally);
    free(content);
    print_message("# %s: refused %u, keys refused %u, unharmed %u\n", name, tally.refused,
                  tally.corrupt, tally.unharmed);
}

/* A store of small values, with tables and a journal, or with a journal alone. */
static void flip_store(uint64_t seed)
{
    struct trial trial;
    trial_init(&trial, seed, CRASH_ALWAYS);
    trial_start(&trial);
    for (int i = 0; i < FLIP_STEPS; i++) {
        struct model_commit commit = model_make_commit(&trial.random, 200);
        trial_idle(&trial, 20);
        trial_commit(&trial, &commit);
    }
    settle(&trial);
    struct files files = files_of(trial.disk);
    for (size_t i = 0; i < files.count; i++)
        flip_file(&trial, files.rows[i].name, files.rows[i].bytes);
    trial_done(&trial);
}

static void each_byte_matters_or_does_not(void **state)
{
    (void)state;
    flip_store(2);
    flip_store(4);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("damage is told, or does no harm", damage_is_told_or_does_no_harm),
        TEST("each flipped byte is told with file and offset, costs one key, or does no harm",
             each_byte_matters_or_does_not),
    };
    return test_main(argc, argv, "crash_damage", tests);
}
