/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keyrest's embedded engine behind its own face, with the checksums on as ever. Unsynced is
 * durability interval:1h.
 */
#include <stdio.h>
#include <string.h>

#include "../../../engine/engine.h"
#include "../lib/measure.h"
#include "contender.h"

static void must(enum status status, const char *what)
{
    if (status != STATUS_OK)
        fail("keyrest: %s: %s", what, status_text(status));
}

static void *open_store(const struct store_options *options)
{
    char url[4096];
    snprintf(url, sizeof url, "file:%s", options->directory);
    struct engine_options settings = engine_options_default();
    settings.url = url;
    settings.durability_interval_ms = options->synced ? 0 : 3600 * 1000;
    settings.memory_bytes_max = UINT64_C(16) << 30;
    settings.memtable_bytes = options->memtable_bytes;
    struct engine *engine;
    struct failure failure = {0};
    if (engine_open(&settings, &engine, &failure) != STATUS_OK)
        fail("keyrest: %s", failure.message);
    struct engine_health health;
    for (engine_health(engine, &health); health.state == ENGINE_LOADING;
         engine_health(engine, &health))
        sleep_ns(1000000);
    return engine;
}

static void close_store(void *store)
{
    engine_close(store);
}

static void *session_open(void *store)
{
    return store;
}

static void session_close(void *session)
{
    (void)session;
}

static void put(void *session, const char *key, const void *value, size_t size)
{
    struct engine *engine = session;
    struct engine_context context = {now_ns() + UINT64_C(60000000000), NULL};
    struct engine_operation operation = {.type = ENGINE_PUT, .key = {key, BENCH_KEY_BYTES}};
    must(engine_value_open(engine, operation.key, (struct bytes){NULL, 0}, size, &operation.value),
         "value_open");
    memcpy(operation.value->data, value, size);
    operation.value->size = size;
    must(engine_commit(engine, &operation, 1, &context), "commit");
}

static bool get(void *session, const char *key, take_value *take, void *taker)
{
    struct engine_item item;
    enum status status = engine_get(session, (struct bytes){key, BENCH_KEY_BYTES}, &item);
    if (status == STATUS_NOT_FOUND)
        return false;
    must(status, "get");
    take(taker, item.value.data, item.value.size);
    engine_item_done(&item);
    return true;
}

struct visit {
    take_value *take;
    void *taker;
    size_t left;
};

static bool visit_item(void *visitor, struct bytes key, enum status status,
                       struct engine_item *item)
{
    struct visit *visit = visitor;
    (void)key;
    must(status, "item");
    visit->take(visit->taker, item->value.data, item->value.size);
    return --visit->left > 0;
}

static size_t scan(void *session, const char *key, size_t count, take_value *take, void *taker)
{
    struct visit visit = {take, taker, count};
    struct engine_range range = {.from = {key, BENCH_KEY_BYTES}};
    struct engine_context context = {UINT64_MAX, NULL};
    must(engine_scan(session, &range, true, visit_item, &visit, &context), "scan");
    return count - visit.left;
}

const struct contender keyrest_contender = {
    "keyrest", open_store, close_store, session_open, session_close, put, get, scan, NULL};
