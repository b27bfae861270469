/* SPDX-License-Identifier: Apache-2.0 */
/* Writing, noting, comparing. */
#include "ledger.h"

#include <stdio.h>

#include "threads.h"

struct ledger *ledger_open(unsigned number)
{
    struct ledger *ledger = calloc(1, sizeof *ledger);
    ledger->number = number;
    ledger->random = number + 1;
    return ledger;
}

static struct bytes name_of(const struct ledger *ledger, unsigned key, char buffer[32])
{
    snprintf(buffer, 32, "%u-%u", ledger->number, key);
    return bytes_of(buffer);
}

/* Eight bytes differ from all others, and the rest follows from them. */
static void fill(unsigned char *data, struct ledger_version version)
{
    uint64_t word = version.seed;
    for (uint32_t i = 0; i < version.bytes; i += sizeof word) {
        size_t left = version.bytes - i;
        memcpy(data + i, &word, left < sizeof word ? left : sizeof word);
        word = word * 6364136223846793005u + 1442695040888963407u;
    }
}

static enum status commit(struct ledger *ledger, struct engine *engine,
                          struct engine_operation *operation, uint64_t wait_ms)
{
    const struct time_source *time = time_source_system();
    uint64_t begun = time->monotonic_ns(time);
    struct engine_context context = {begun + wait_ms * 1000000, NULL};
    enum status status = engine_commit(engine, operation, 1, &context);
    uint64_t took = time->monotonic_ns(time) - begun;
    if (took > ledger->slowest_ns)
        ledger->slowest_ns = took;
    return status;
}

static enum status note(struct ledger *ledger, unsigned key, struct ledger_version version,
                        enum status status)
{
    ledger->counts[status]++;
    if (status == STATUS_OK) {
        ledger->versions[key] = version;
        ledger->unknown[key] = false;
    } else if (status == STATUS_UNKNOWN) {
        ledger->perhaps[key] = version;
        ledger->unknown[key] = true;
    }
    return status;
}

enum status ledger_put(struct ledger *ledger, struct engine *engine, unsigned key, uint32_t bytes,
                       uint64_t wait_ms)
{
    char buffer[32];
    struct ledger_version version = {threads_random(&ledger->random) | 1, bytes};
    struct engine_operation put = {.type = ENGINE_PUT, .key = name_of(ledger, key, buffer)};
    if (ledger->unknown[key])
        return STATUS_UNKNOWN; /* one doubt per key is enough */
    enum status status =
        engine_value_open(engine, put.key, (struct bytes){NULL, 0}, bytes, &put.value);
    if (status == STATUS_OK) {
        fill(put.value->data, version);
        put.value->size = bytes;
        status = commit(ledger, engine, &put, wait_ms);
        engine_value_close(engine, put.value);
    }
    return note(ledger, key, version, status);
}

enum status ledger_delete(struct ledger *ledger, struct engine *engine, unsigned key,
                          uint64_t wait_ms)
{
    char buffer[32];
    struct engine_operation operation = {.type = ENGINE_DELETE,
                                         .key = name_of(ledger, key, buffer)};
    if (ledger->unknown[key])
        return STATUS_UNKNOWN;
    enum status status = commit(ledger, engine, &operation, wait_ms);
    return note(ledger, key, (struct ledger_version){0, 0}, status);
}

static bool is_version(const struct engine_item *item, struct ledger_version version)
{
    if (version.seed == 0 || item->value.size != version.bytes)
        return false;
    unsigned char *wanted = malloc(version.bytes + 1);
    fill(wanted, version);
    bool same = memcmp(wanted, item->value.data, version.bytes) == 0;
    free(wanted);
    return same;
}

/* Whether what was read is `version`. */
static bool agrees(enum status status, const struct engine_item *item,
                   struct ledger_version version)
{
    return version.seed == 0 ? status == STATUS_NOT_FOUND
                             : status == STATUS_OK && is_version(item, version);
}

const char *ledger_check(struct ledger *ledger, struct engine *engine)
{
    static _Thread_local char wrong[120];
    for (unsigned key = 0; key < LEDGER_KEYS; key++) {
        char buffer[32];
        struct engine_item item = {0};
        enum status status = engine_get(engine, name_of(ledger, key, buffer), &item);
        bool perhaps = ledger->unknown[key] && agrees(status, &item, ledger->perhaps[key]);
        bool right = perhaps || agrees(status, &item, ledger->versions[key]);
        engine_item_done(&item);
        if (!right) {
            snprintf(wrong, sizeof wrong, "key %u-%u: %s, wanted %u bytes%s", ledger->number, key,
                     status_text(status), ledger->versions[key].bytes,
                     ledger->unknown[key] ? ", perhaps" : "");
            return wrong;
        }
        if (perhaps)
            ledger->versions[key] = ledger->perhaps[key];
        ledger->unknown[key] = false;
    }
    return NULL;
}

unsigned ledger_present(const struct ledger *ledger)
{
    unsigned present = 0;
    for (unsigned key = 0; key < LEDGER_KEYS; key++)
        present += ledger->versions[key].seed != 0;
    return present;
}
