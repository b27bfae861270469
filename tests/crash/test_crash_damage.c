/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store that was lived in and closed, and then damaged somewhere: a bit, a block, an end, a whole
 * file. Every answer that it gives afterwards is right, or says that something is damaged; what
 * refuses to open names the file and changes nothing.
 */
#include <inttypes.h>

#include "../../engine/local/local.h"
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

static void check_refusal(const char *name, enum status status, const struct failure *failure,
                          uint64_t before, uint64_t after)
{
    if (status != STATUS_CORRUPT_LOG && status != STATUS_FORMAT)
        fail_msg("%s: refused with '%s'", name, status_text(status));
    if (strstr(failure->message, name) == NULL && strstr(failure->message, "MANIFEST") == NULL &&
        strstr(failure->message, "journal-") == NULL)
        fail_msg("%s: the refusal names no file: %s", name, failure->message);
    if (before != after)
        fail_msg("%s: the refused start has changed something", name);
}

static void check_damaged(struct trial *trial, struct crash_disk *disk, const char *name,
                          enum damage damage, struct tally *tally)
{
    struct engine_options options = trial_options(trial, false);
    struct failure failure = {0};
    struct engine *engine;
    uint64_t before = crash_disk_hash(disk);
    enum status status = local_open(&options, crash_disk_attach(disk), false, &engine, &failure);
    if (status != STATUS_OK) {
        check_refusal(name, status, &failure, before, crash_disk_hash(disk));
        tally->refused++;
        return;
    }
    struct engine_health health;
    engine_health(engine, &health);
    const char *wrong = model_compare(engine, model_newest(&trial->model), health.epoch);
    bool corrupt = wrong != NULL && strcmp(wrong, status_text(STATUS_CORRUPT)) == 0;
    if (wrong != NULL && !(corrupt && starts_with(name, "table-")))
        fail_msg("seed %" PRIu64 ": without %s %s: %s", trial->seed, damage_texts[damage], name,
                 wrong);
    tally->corrupt += corrupt;
    tally->unharmed += wrong == NULL;
    crash_disk_kill(disk);
    engine_close(engine);
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
    check_damaged(trial, disk, files->rows[index].name, damage, tally);
    crash_disk_close(disk);
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
    trial_idle(trial, 1100);
    engine_close(trial->engine);
    struct crash_disk *settled = crash_disk_cut(trial->disk, true);
    crash_disk_close(trial->disk);
    trial->disk = settled;
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
        struct files files = {0};
        struct disk *face = crash_disk_attach(trial.disk);
        assert_int_equal(disk_list(face, add_file, &files), STATUS_OK);
        disk_close(face);
        for (int i = 0; i < DAMAGES / (int)trial_share(); i++)
            damage_and_check(&trial, &files, &tally);
        trial_done(&trial);
    }
    print_message("# refused %u, keys refused %u, unharmed %u, seed %" PRIu64 " and on\n",
                  tally.refused, tally.corrupt, tally.unharmed, first);
    assert_true(tally.refused > 0 && tally.corrupt > 0 && tally.unharmed > 0);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("damage is told, or does no harm", damage_is_told_or_does_no_harm),
    };
    return test_main(argc, argv, "crash_damage", tests);
}
