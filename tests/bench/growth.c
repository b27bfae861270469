/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The embedded engine alone: how what it costs grows with the number of keys, and what overwriting
 * writes. ROUND goes into the rows.
 *
 *     growth fill DIR KEYS ROUND       16 + 100 bytes: puts, memory, disk, gets, pages
 *     growth restart DIR KEYS ROUND    what fill left is opened again: time, memory
 *     growth compact DIR KEYS ROUND    half of it is written anew, then everything is compacted
 *     growth overwrite DIR MIB ROUND   1 KiB values, 64 writers, uniform, five times the data
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../engine/engine.h"
#include "../../engine/stats.h"
#include "lib/measure.h"

static const char *name; /* of the case */
static unsigned round_number;

static void tell(const char *metric, double value)
{
    row(name, "keyrest", metric, round_number, value);
}

/* ---- the engine ----------------------------------------------------------------------------- */

static void must(enum status status, const char *what)
{
    if (status != STATUS_OK)
        fail("%s: %s", what, status_text(status));
}

static struct engine *open_ready(const char *directory)
{
    char url[4096];
    snprintf(url, sizeof url, "file:%s", directory);
    struct engine_options options = engine_options_default();
    options.url = url;
    options.durability_interval_ms = 3600 * 1000;
    options.memory_bytes_max = UINT64_C(16) << 30;
    struct engine *engine;
    struct failure failure = {0};
    if (engine_open(&options, &engine, &failure) != STATUS_OK)
        fail("%s", failure.message);
    struct engine_health health;
    for (engine_health(engine, &health); health.state == ENGINE_LOADING;
         engine_health(engine, &health))
        sleep_ns(1000000);
    return engine;
}

static void put(struct engine *engine, uint64_t number, size_t value_bytes)
{
    char key[BENCH_KEY_BYTES + 1];
    key_of(number, key);
    struct engine_context context = {now_ns() + UINT64_C(60000000000), NULL};
    struct engine_operation operation = {.type = ENGINE_PUT, .key = bytes_of(key)};
    must(engine_value_open(engine, operation.key, (struct bytes){NULL, 0}, value_bytes,
                           &operation.value),
         "value_open");
    memset(operation.value->data, (int)('a' + number % 26), value_bytes);
    operation.value->size = value_bytes;
    must(engine_commit(engine, &operation, 1, &context), "commit");
}

static double figure(struct engine *engine, enum stats_name figure_name)
{
    return (double)stats_read(engine_stats(engine), figure_name);
}

/* ---- fill ----------------------------------------------------------------------------------- */

static void time_gets(struct engine *engine, uint64_t keys)
{
    enum { READS = 1000000 };
    double cpu = thread_cpu_s();
    uint64_t random = 1;
    for (int i = 0; i < READS; i++) {
        char key[BENCH_KEY_BYTES + 1];
        struct engine_item item;
        key_of(random_next(&random) % keys, key);
        must(engine_get(engine, bytes_of(key), &item), "get");
        engine_item_done(&item);
    }
    tell("get_cpu_us", (thread_cpu_s() - cpu) * 1e6 / READS);
}

enum { PAGE = 100, PAGES = 200 };

struct page {
    unsigned char last[BENCH_KEY_BYTES + 1];
    unsigned count;
};

static bool see_key(void *visitor, struct bytes key, enum status status, struct engine_item *item)
{
    struct page *page = visitor;
    must(status, "item");
    (void)item;
    memcpy(page->last, key.data, key.size);
    page->last[key.size] = 0; /* the next one begins behind it */
    return ++page->count < PAGE;
}

/* CPU of a page, of PAGES one after the other from there on. */
static void time_pages(struct engine *engine, const char *from, const char *metric)
{
    struct page page;
    struct engine_range range = {.from = bytes_of(from)};
    struct engine_context context = {UINT64_MAX, NULL};
    double cpu = thread_cpu_s();
    for (int i = 0; i < PAGES; i++) {
        page.count = 0;
        must(engine_scan(engine, &range, false, see_key, &page, &context), "scan");
        range.from = (struct bytes){page.last, sizeof page.last};
    }
    tell(metric, (thread_cpu_s() - cpu) * 1e6 / PAGES);
}

static void fill(const char *directory, uint64_t keys)
{
    enum { PAGE_ROUNDS = 5 };
    double empty = (double)anonymous_bytes(), count = (double)keys;
    struct engine *engine = open_ready(directory);
    double cpu = process_cpu_s();
    uint64_t begun = now_ns();
    for (uint64_t i = 0; i < keys; i++)
        put(engine, i, BENCH_VALUE_BYTES);
    tell("put_us", (double)(now_ns() - begun) / 1e3 / count);
    wait_until_idle();
    tell("put_cpu_us", (process_cpu_s() - cpu) * 1e6 / count);
    double memtable = figure(engine, STATS_memtable);
    tell("memory_bytes_per_key",
         ((double)anonymous_bytes() - empty - memtable) / count - BENCH_KEY_BYTES);
    tell("index_bytes_per_key", figure(engine, STATS_keymap) / count);
    tell("disk_bytes_per_key",
         (figure(engine, STATS_table) + figure(engine, STATS_journal)) / count);
    tell("tables", figure(engine, STATS_tables));
    time_gets(engine, keys);
    for (unsigned round = 1; round <= PAGE_ROUNDS; round++) {
        round_number = round;
        time_pages(engine, "0", "first_page_cpu_us");
        time_pages(engine, keys >= 1000000 ? "f" : "c", "last_page_cpu_us");
    }
    engine_close(engine);
}

/* ---- restart, compact ----------------------------------------------------------------------- */

static void restart(const char *directory, uint64_t keys)
{
    double cpu = process_cpu_s(), empty = (double)anonymous_bytes();
    uint64_t begun = now_ns();
    struct engine *engine = open_ready(directory);
    tell("restart_s", (double)(now_ns() - begun) / 1e9);
    tell("restart_cpu_s", process_cpu_s() - cpu);
    if (figure(engine, STATS_keys) < (double)keys)
        fail("keys are missing");
    tell("memory_after_restart_bytes_per_key",
         ((double)anonymous_bytes() - empty - figure(engine, STATS_memtable)) / (double)keys -
             BENCH_KEY_BYTES);
    engine_close(engine);
}

static void compact(const char *directory, uint64_t keys)
{
    struct engine *engine = open_ready(directory);
    struct engine_context context = {UINT64_MAX, NULL};
    uint64_t id;
    for (uint64_t i = 0; i < keys; i += 2)
        put(engine, i, BENCH_VALUE_BYTES);
    wait_until_idle();
    double cpu = process_cpu_s();
    uint64_t begun = now_ns();
    must(engine_compact(engine, &id), "compact");
    must(engine_compaction_wait(engine, id, &context), "compaction_wait");
    tell("compaction_s", (double)(now_ns() - begun) / 1e9);
    tell("compaction_cpu_s", process_cpu_s() - cpu);
    engine_close(engine);
}

/* ---- overwrite ------------------------------------------------------------------------------ */

enum { WRITERS = 64, OVERWRITE_VALUE_BYTES = 1024, OVERWRITES = 5 };

struct overwrite {
    struct engine *engine;
    uint64_t keys, writes;
    _Atomic uint64_t next;
    atomic_bool done;
    double sum, most; /* of total over live bytes, looked at all the time */
    unsigned looks;
};

static void *overwrite_some(void *context)
{
    struct overwrite *work = context;
    uint64_t write;
    while ((write = atomic_fetch_add(&work->next, 1)) < work->writes)
        put(work->engine, random_next(&write) % work->keys, OVERWRITE_VALUE_BYTES);
    return NULL;
}

static void *watch_space(void *context)
{
    struct overwrite *work = context;
    while (!atomic_load(&work->done)) {
        double now = figure(work->engine, STATS_table) / figure(work->engine, STATS_table_live);
        work->most = now > work->most ? now : work->most;
        work->sum += now;
        work->looks++;
        sleep_ns(50000000);
    }
    return NULL;
}

static double written(struct engine *engine)
{
    return figure(engine, STATS_journal_written) + figure(engine, STATS_table_written);
}

static void overwrite(const char *directory, uint64_t mib)
{
    struct overwrite work = {.keys = mib * 1024, .engine = open_ready(directory)};
    pthread_t threads[WRITERS], watcher;
    for (uint64_t i = 0; i < work.keys; i++)
        put(work.engine, i, OVERWRITE_VALUE_BYTES);
    wait_until_idle();
    double before = written(work.engine), accepted = figure(work.engine, STATS_accepted);
    work.writes = OVERWRITES * work.keys;
    pthread_create(&watcher, NULL, watch_space, &work);
    for (int i = 0; i < WRITERS; i++)
        pthread_create(&threads[i], NULL, overwrite_some, &work);
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    atomic_store(&work.done, true);
    pthread_join(watcher, NULL);
    wait_until_idle();
    tell("written_per_accepted",
         (written(work.engine) - before) / (figure(work.engine, STATS_accepted) - accepted));
    tell("total_per_live_mean", work.sum / work.looks);
    tell("total_per_live_most", work.most);
    engine_close(work.engine);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*work)(const char *directory, uint64_t number);
    } works[] = {
        {"fill", fill}, {"restart", restart}, {"compact", compact}, {"overwrite", overwrite}};
    char name_room[64];
    if (argc != 5)
        fail("usage: growth fill|restart|compact|overwrite DIR NUMBER ROUND");
    uint64_t number = strtoull(argv[3], NULL, 10);
    round_number = (unsigned)strtoul(argv[4], NULL, 10);
    snprintf(name_room, sizeof name_room,
             strcmp(argv[1], "overwrite") == 0 ? "growth/overwrite/%" PRIu64 "MiB"
                                               : "growth/keys/%" PRIu64,
             number);
    name = name_room;
    for (size_t i = 0; i < sizeof works / sizeof *works; i++)
        if (strcmp(argv[1], works[i].name) == 0) {
            works[i].work(argv[2], number);
            return 0;
        }
    fail("there is no work %s", argv[1]);
}
