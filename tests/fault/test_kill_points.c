/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The binary is made to kill itself right before and right after each kind of disk operation: of
 * dumps, manifest edits, compactions, recycling of segments, and of the start that follows. One
 * client knows what it was answered; after the next start that is there, and the one write under way
 * is there or not. The data directory lives on through all deaths.
 */
#include <signal.h>
#include <unistd.h>

#include "../lib/child.h"
#include "../lib/mounts.h"
#include "../lib/threads.h"
#include "../lib/wire.h"

enum {
    KEYS = 30,
    VALUE_BYTES_MAX = 20000,
    WRITES = 150,        /* of one life: several dumps, a new segment, a compaction */
    KILLS = 100,         /* KEYREST_KILLS=500 makes it a soak */
    KILLS_PER_TIME = 20, /* so many tries of each operation: */
    LAST_CALL = 25,      /* at calls up to this one, more of them early ones: the start's */
    KILLED = 128 + SIGKILL,
    TMPFS_BYTES = 128 << 20,
};

static const char *const settings[] = {"--value-bytes-max",
                                       "64KiB",
                                       "--memtable-bytes",
                                       "256KiB",
                                       "--journal-segment-bytes",
                                       "64KiB",
                                       "--reserve-bytes",
                                       "0",
                                       "--ballast-bytes",
                                       "64KiB",
                                       "--compaction-interval-ms",
                                       "100ms",
                                       NULL};

/* Every kind of disk operation that changes something; all of them must be met. */
static const char *const points[] = {
    "create:table:",       "reserve:table:",   "write:table:",     "truncate:table:",
    "fdatasync:table:",    "fsync::",          "create:MANIFEST:", "write:MANIFEST:",
    "fdatasync:MANIFEST:", "rename:MANIFEST:", "remove:table:",    "write:spare:",
    "fdatasync:spare:",    "rename:journal:",  "rename:spare:",    "write:journal:",
    "fdatasync:journal:",  "create:spare:",
};

struct version {
    uint64_t seed; /* 0: absent */
    uint32_t bytes;
};

static struct version versions[KEYS];
static struct {
    bool any;
    unsigned key;
    struct version version;
} pending; /* the write that was under way */
static uint64_t random_state = 1;
static char root[300];
static struct child child;

/* ---- the client ---- */

static unsigned char *value_of(struct version version)
{
    unsigned char *value = malloc(version.bytes + 8);
    for (uint32_t i = 0; i < version.bytes; i += 8) {
        uint64_t word = version.seed + i;
        memcpy(value + i, &word, 8);
    }
    return value;
}

static void target_of(unsigned key, char target[32])
{
    snprintf(target, 32, "/keys/k-%u", key);
}

/* False: the server is gone. */
static bool write_one(struct wire *wire)
{
    uint64_t random = threads_random(&random_state);
    unsigned key = (unsigned)(random % KEYS), status = 0;
    bool deletes = (random >> 8 & 3) == 0;
    struct version version = {0, 0};
    if (!deletes)
        version = (struct version){random | 1, (uint32_t)(random >> 16) % VALUE_BYTES_MAX};
    char target[32];
    target_of(key, target);
    unsigned char *value = value_of(version);
    struct wire_response response;
    pending.any = true;
    pending.key = key;
    pending.version = version;
    bool answered = wire_request(wire, deletes ? "DELETE" : "PUT", target, "",
                                 deletes ? NULL : value, version.bytes, &response);
    free(value);
    if (!answered)
        return false;
    status = response.status;
    wire_response_done(&response);
    if (deletes ? status != 204 && status != 404 : status != 201 && status != 204)
        fail_msg("%s: %u", target, status);
    versions[key] = version;
    pending.any = false;
    return true;
}

static void live(void)
{
    struct wire *wire = wire_make(child.port);
    bool there = wire != NULL;
    for (int i = 0; i < WRITES && there; i++)
        there = write_one(wire);
    wire_free(wire);
    if (there) /* 0: it died over it */
        wire_ask(child.port, "POST", "/admin/compact", "", NULL, 0, NULL);
}

static bool is_version(const struct wire_response *response, struct version version)
{
    if (version.seed == 0)
        return response->status == 404;
    unsigned char *value = value_of(version);
    bool same = response->status == 200 && response->body_bytes == version.bytes &&
                memcmp(response->body, value, version.bytes) == 0;
    free(value);
    return same;
}

static void check(const char *point)
{
    struct wire *wire = wire_make(child.port);
    assert_non_null(wire);
    for (unsigned key = 0; key < KEYS; key++) {
        char target[32];
        struct wire_response response;
        target_of(key, target);
        assert_true(wire_request(wire, "GET", target, "", NULL, 0, &response));
        bool perhaps = pending.any && pending.key == key && is_version(&response, pending.version);
        if (!perhaps && !is_version(&response, versions[key]))
            fail_msg("after %s: %s: %u with %zu bytes, wanted %u bytes", point, target,
                     response.status, response.body_bytes, versions[key].bytes);
        if (perhaps)
            versions[key] = pending.version;
        wire_response_done(&response);
    }
    pending.any = false;
    wire_free(wire);
}

/* ---- lives and deaths ---- */

/* One life with a deadly point, and one without. Whether the point was met. */
static bool die_at(const char *point)
{
    setenv("KEYREST_KILL_AT", point, 1);
    child_launch(&child, root, settings);
    unsetenv("KEYREST_KILL_AT");
    if (child_comes_up(&child)) {
        check(point);
        live();
    }
    /* what is due comes by itself, or with the end */
    child_end(&child, SIGTERM);
    int code = child.code;
    if (code != 0 && code != KILLED)
        fail_msg("%s: exit code %d", point, code);
    child_start(&child, root, settings);
    check(point);
    if (child_end(&child, SIGTERM) != 0)
        fail_msg("after %s: the next life did not end well", point);
    return code == KILLED;
}

static void dies_anywhere(const char *after)
{
    const char *wanted = getenv("KEYREST_KILLS");
    unsigned kills = wanted != NULL ? (unsigned)atoi(wanted) : KILLS;
    unsigned times = (kills < KILLS ? KILLS : kills) / KILLS_PER_TIME, deaths = 0;
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        unsigned met = 0;
        for (unsigned nth = 1; nth <= times; nth++) {
            char point[64];
            unsigned call = (LAST_CALL * nth * nth + times * times - 1) / (times * times);
            snprintf(point, sizeof point, "%s%u%s", points[i], call, after);
            met += die_at(point);
        }
        if (met == 0)
            fail_msg("%s was never met", points[i]);
        deaths += met;
    }
    print_message("# %u deaths\n", deaths);
}

static void dies_before(void **state)
{
    (void)state;
    dies_anywhere("");
}

static void dies_after(void **state)
{
    (void)state;
    dies_anywhere(":after");
}

static int set_up(void **state)
{
    char *path = test_directory_make();
    snprintf(root, sizeof root, "%s", path);
    mounts_tmpfs(root, TMPFS_BYTES); /* no disk is needed, and syncs are quick */
    memset(versions, 0, sizeof versions);
    *state = path;
    return 0;
}

static int tear_down(void **state)
{
    child_end(&child, SIGKILL);
    mounts_end(root);
    test_directory_remove(*state);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        {"a server that dies before any disk operation keeps what it answered", dies_before, set_up,
         tear_down, NULL},
        {"a server that dies after any disk operation keeps what it answered", dies_after, set_up,
         tear_down, NULL},
    };
    return mounts_main(argc, argv, "kill_points", false, tests);
}
