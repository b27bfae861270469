/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The embedded engine in process, without HTTP: how it grows, what overwriting costs, and what
 * readers feel while dumps and compactions run.
 *
 *     store grow DIR KEYS           fill with 16 + 100 bytes, look at memory and disk, open again
 *     store pages DIR KEYS          fill, then pages of 100 through all keys: CPU per page
 *     store overwrite DIR MIB       1 KiB values, 64 writers, uniform, five times the data
 *     store readers DIR SECONDS     one reader at a fixed pace: under maintenance, then a control
 *
 * Prints lines of "name value". DIR must not exist; it is left for the caller to look at.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "../../engine/engine.h"
#include "../../engine/stats.h"

enum { KEY_BYTES = 16, NS_PER_S = 1000000000, READ_PACE_US = 200 };

static uint64_t now_ns(void)
{
    return time_source_system()->monotonic_ns(time_source_system());
}

static double cpu_seconds(int who)
{
    struct rusage usage;
    getrusage(who, &usage);
    return (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void must(enum status status, const char *what)
{
    if (status == STATUS_OK)
        return;
    fprintf(stderr, "%s: %s\n", what, status_text(status));
    exit(1);
}

/* ---- the engine ---- */

static struct engine *engine_open_ready(const struct engine_options *options)
{
    struct engine *engine;
    struct failure failure = {0};
    if (engine_open(options, &engine, &failure) != STATUS_OK) {
        fprintf(stderr, "%s\n", failure.message);
        exit(1);
    }
    struct engine_health health;
    for (engine_health(engine, &health); health.state == ENGINE_LOADING;
         engine_health(engine, &health))
        usleep(1000);
    return engine;
}

static void key_of(uint64_t number, char out_key[KEY_BYTES + 1])
{
    snprintf(out_key, KEY_BYTES + 1, "%016llx",
             (unsigned long long)(number * UINT64_C(0x9e3779b97f4a7c15)));
}

static void put(struct engine *engine, uint64_t number, size_t value_bytes)
{
    char key[KEY_BYTES + 1];
    key_of(number, key);
    struct engine_context context = {now_ns() + 60 * (uint64_t)NS_PER_S, NULL};
    struct engine_value *value;
    must(engine_value_open(engine, bytes_of(key), (struct bytes){NULL, 0}, value_bytes, &value),
         "value_open");
    memset(value->data, (int)('a' + number % 26), value_bytes);
    value->size = value_bytes;
    struct engine_operation operation = {.type = ENGINE_PUT, .key = bytes_of(key), .value = value};
    must(engine_commit(engine, &operation, 1, &context), "commit");
}

static void get(struct engine *engine, uint64_t number)
{
    char key[KEY_BYTES + 1];
    key_of(number, key);
    struct engine_item item;
    must(engine_get(engine, bytes_of(key), &item), "get");
    engine_item_done(&item);
}

static uint64_t figure(struct engine *engine, enum stats_name name)
{
    return stats_read(engine_stats(engine), name);
}

static uint64_t anonymous_bytes(void)
{
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    unsigned long long kib = 0;
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "RssAnon: %llu kB", &kib) == 1)
            break;
    if (file != NULL)
        fclose(file);
    return kib * 1024;
}

static struct engine_options unsynced(const char *directory)
{
    static char url[4096];
    snprintf(url, sizeof url, "file:%s", directory);
    struct engine_options options = engine_options_default();
    options.url = url;
    options.durability_interval_ms = 3600 * 1000;
    options.memory_bytes_max = UINT64_C(16) << 30;
    return options;
}

static void wait_for_dumps(struct engine *engine)
{
    for (uint64_t before = UINT64_MAX, dumps; (dumps = figure(engine, STATS_dumps)) != before;
         before = dumps)
        usleep(500000);
}

/* ---- grow ---- */

static void print_growth(struct engine *engine, uint64_t keys, uint64_t base_bytes)
{
    uint64_t memtables = figure(engine, STATS_memtable);
    double anonymous = (double)anonymous_bytes() - (double)base_bytes - (double)memtables;
    uint64_t disk = figure(engine, STATS_table) + figure(engine, STATS_journal);
    printf("memory_bytes_per_key %.1f\n", anonymous / (double)keys);
    printf("index_bytes_per_key %.1f\n", (double)figure(engine, STATS_keymap) / (double)keys);
    printf("disk_bytes_per_key %.1f\n", (double)disk / (double)keys);
    printf("table_bytes_per_key %.1f\n", (double)figure(engine, STATS_table) / (double)keys);
    printf("tables %llu\n", (unsigned long long)figure(engine, STATS_tables));
}

static void time_reads(struct engine *engine, uint64_t keys)
{
    enum { READS = 1000000 };
    double cpu = cpu_seconds(RUSAGE_THREAD);
    uint64_t begun = now_ns(), random = 1;
    for (int i = 0; i < READS; i++) {
        random = random * UINT64_C(6364136223846793005) + 1;
        get(engine, (random >> 33) % keys);
    }
    printf("get_ns %.0f\n", (double)(now_ns() - begun) / READS);
    printf("get_cpu_ns %.0f\n", (cpu_seconds(RUSAGE_THREAD) - cpu) * 1e9 / READS);
}

static void grow(const char *directory, uint64_t keys)
{
    struct engine_options options = unsynced(directory);
    uint64_t base_bytes = anonymous_bytes();
    struct engine *engine = engine_open_ready(&options);
    double cpu = cpu_seconds(RUSAGE_SELF);
    uint64_t begun = now_ns();
    for (uint64_t i = 0; i < keys; i++)
        put(engine, i, 100);
    printf("put_ns %.0f\n", (double)(now_ns() - begun) / (double)keys);
    wait_for_dumps(engine);
    printf("put_cpu_ns %.0f\n", (cpu_seconds(RUSAGE_SELF) - cpu) * 1e9 / (double)keys);
    printf("after_fill:\n");
    print_growth(engine, keys, base_bytes);
    time_reads(engine, keys);
    engine_close(engine);

    cpu = cpu_seconds(RUSAGE_SELF);
    begun = now_ns();
    engine = engine_open_ready(&options);
    printf("restart_s %.2f\n", (double)(now_ns() - begun) / 1e9);
    printf("restart_cpu_s %.2f\n", cpu_seconds(RUSAGE_SELF) - cpu);
    if (figure(engine, STATS_keys) != keys) {
        fprintf(stderr, "keys are missing\n");
        exit(1);
    }
    engine_close(engine);
}

/* ---- pages ---- */

enum { PAGE = 100, PAGES = 500 };

struct page {
    unsigned char last[KEY_BYTES + 1];
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

/* CPU of one page each from there on. */
static void time_pages(struct engine *engine, const char *from, bool reverse, const char *what)
{
    struct page page;
    struct engine_range range = {.reverse = reverse};
    struct engine_context context = {UINT64_MAX, NULL};
    snprintf((char *)page.last, sizeof page.last, "%s", from);
    *(reverse ? &range.until : &range.from) = bytes_of(from);
    double cpu = cpu_seconds(RUSAGE_THREAD);
    uint64_t begun = now_ns();
    for (int i = 0; i < PAGES; i++) {
        page.count = 0;
        must(engine_scan(engine, &range, false, see_key, &page, &context), "scan");
        *(reverse ? &range.until : &range.from) =
            (struct bytes){page.last, reverse ? KEY_BYTES : KEY_BYTES + 1};
    }
    printf("%s cpu_us %.0f wall_us %.0f\n", what, (cpu_seconds(RUSAGE_THREAD) - cpu) * 1e6 / PAGES,
           (double)(now_ns() - begun) / 1e3 / PAGES);
}

static void pages(const char *directory, uint64_t keys)
{
    struct engine_options options = unsynced(directory);
    struct engine *engine = engine_open_ready(&options);
    for (uint64_t i = 0; i < keys; i++)
        put(engine, i, 100);
    time_pages(engine, "0", false, "first_after_fill");
    wait_for_dumps(engine);
    printf("tables %llu\n", (unsigned long long)figure(engine, STATS_tables));
    for (int round = 0; round < 3; round++) {
        time_pages(engine, "0", false, "first");
        time_pages(engine, "8", false, "middle");
        time_pages(engine, "ff", false, "last");
        time_pages(engine, "8", true, "reverse");
    }
    engine_close(engine);
}

/* ---- overwrite ---- */

enum { WRITERS = 64, OVERWRITE_VALUE_BYTES = 1024 };

struct overwrite {
    struct engine *engine;
    uint64_t keys, writes;
    _Atomic uint64_t next;
};

static void *overwrite_some(void *context)
{
    struct overwrite *overwrite = context;
    uint64_t write;
    while ((write = atomic_fetch_add(&overwrite->next, 1)) < overwrite->writes) {
        uint64_t mixed = write * UINT64_C(0xd1342543de82ef95) + 12345;
        mixed ^= mixed >> 29;
        mixed *= UINT64_C(0xbf58476d1ce4e5b9);
        put(overwrite->engine, (mixed >> 20) % overwrite->keys, OVERWRITE_VALUE_BYTES);
    }
    return NULL;
}

/* Total over live bytes of tables, looked at all the time while writers run. */
struct watch {
    struct engine *engine;
    atomic_bool done;
    double sum, most;
    unsigned count;
};

static double total_per_live(struct engine *engine)
{
    double live = (double)figure(engine, STATS_table_live);
    return live > 0 ? (double)figure(engine, STATS_table) / live : 0.0;
}

static void *watch_space(void *context)
{
    struct watch *watch = context;
    while (!atomic_load(&watch->done)) {
        double now = total_per_live(watch->engine);
        watch->most = now > watch->most ? now : watch->most;
        watch->sum += now;
        watch->count++;
        usleep(50000);
    }
    return NULL;
}

static void print_amplification(struct engine *engine, const char *when)
{
    uint64_t accepted = figure(engine, STATS_accepted);
    uint64_t written = figure(engine, STATS_journal_written) + figure(engine, STATS_table_written);
    printf("%s written_per_accepted %.2f total_per_live %.2f compactions %llu\n", when,
           (double)written / (double)accepted, total_per_live(engine),
           (unsigned long long)figure(engine, STATS_compactions));
}

static void overwrite(const char *directory, uint64_t mib)
{
    struct engine_options options = unsynced(directory);
    options.compaction_interval_ms = 1000;
    struct overwrite work = {.keys = mib * 1024, .engine = engine_open_ready(&options)};
    for (uint64_t i = 0; i < work.keys; i++)
        put(work.engine, i, OVERWRITE_VALUE_BYTES);
    wait_for_dumps(work.engine);
    print_amplification(work.engine, "filled");
    for (int round = 1; round <= 5; round++) {
        char when[32];
        pthread_t threads[WRITERS], watcher;
        struct watch watch = {.engine = work.engine};
        pthread_create(&watcher, NULL, watch_space, &watch);
        atomic_store(&work.next, work.writes);
        work.writes += work.keys;
        for (int i = 0; i < WRITERS; i++)
            pthread_create(&threads[i], NULL, overwrite_some, &work);
        for (int i = 0; i < WRITERS; i++)
            pthread_join(threads[i], NULL);
        atomic_store(&watch.done, true);
        pthread_join(watcher, NULL);
        snprintf(when, sizeof when, "overwritten_%dx", round);
        print_amplification(work.engine, when);
        printf("meanwhile total_per_live mean %.2f most %.2f\n", watch.sum / watch.count,
               watch.most);
    }
    wait_for_dumps(work.engine);
    print_amplification(work.engine, "end");
    engine_close(work.engine);
}

/* ---- readers ---- */

struct reader {
    struct engine *engine;
    uint64_t keys;
    unsigned seconds;
    uint32_t *latencies_ns;
    size_t count;
    long waits; /* voluntary context switches beside those of the pace */
    double cpu;
};

static int compare_latencies(const void *left, const void *right)
{
    const uint32_t *a = left, *b = right;
    return (*a > *b) - (*a < *b);
}

static void *read_at_pace(void *context)
{
    struct reader *reader = context;
    struct rusage before, after;
    long sleeps = 0;
    uint64_t random = 7, begun = now_ns(), end = begun + reader->seconds * (uint64_t)NS_PER_S;
    getrusage(RUSAGE_THREAD, &before);
    for (uint64_t due = begun; due < end; due += READ_PACE_US * 1000) {
        if (now_ns() < due) {
            struct timespec until = {(time_t)(due / NS_PER_S), (long)(due % NS_PER_S)};
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
            sleeps++;
        }
        random = random * UINT64_C(6364136223846793005) + 1;
        uint64_t from = now_ns();
        get(reader->engine, (random >> 33) % reader->keys);
        reader->latencies_ns[reader->count++] = (uint32_t)(now_ns() - from);
    }
    getrusage(RUSAGE_THREAD, &after);
    reader->waits = after.ru_nvcsw - before.ru_nvcsw - sleeps;
    reader->cpu = cpu_seconds(RUSAGE_THREAD);
    return NULL;
}

static void print_reader(struct reader *reader, const char *when)
{
    qsort(reader->latencies_ns, reader->count, sizeof *reader->latencies_ns, compare_latencies);
    printf("%s p50_us %.1f p99_us %.1f p999_us %.1f max_us %.1f waits %ld\n", when,
           reader->latencies_ns[reader->count / 2] / 1e3,
           reader->latencies_ns[reader->count * 99 / 100] / 1e3,
           reader->latencies_ns[reader->count * 999 / 1000] / 1e3,
           reader->latencies_ns[reader->count - 1] / 1e3, reader->waits);
}

static struct reader reader_make(struct engine *engine, uint64_t keys, unsigned seconds)
{
    size_t most = (size_t)seconds * 1000000 / READ_PACE_US + 2;
    return (struct reader){.engine = engine,
                           .keys = keys,
                           .seconds = seconds,
                           .latencies_ns = calloc(most, sizeof(uint32_t))};
}

/* Keeps dumps and compactions busy with a bounded rate of writes. */
struct writer {
    struct engine *engine;
    uint64_t keys;
    atomic_bool done;
    uint64_t writes;
};

static void *write_at_pace(void *context)
{
    enum { BURST = 50, BURST_US = 2000 };
    struct writer *writer = context;
    uint64_t random = 99;
    while (!atomic_load(&writer->done)) {
        for (int i = 0; i < BURST; i++) {
            random = random * UINT64_C(6364136223846793005) + 1;
            put(writer->engine, (random >> 33) % writer->keys, 400);
            writer->writes++;
        }
        usleep(BURST_US);
    }
    return NULL;
}

/* Burns a share of one processor, in slices, on memory as maintenance does. */
struct burner {
    double share;
    atomic_bool done;
};

static void *burn(void *context)
{
    enum { SLICE_US = 2000, BYTES = 1 << 20 };
    struct burner *burner = context;
    unsigned char *from = calloc(2, BYTES), *to = from + BYTES;
    while (!atomic_load(&burner->done)) {
        uint64_t until = now_ns() + (uint64_t)(burner->share * SLICE_US * 1000);
        while (now_ns() < until)
            memcpy(to, from, BYTES / 64);
        if (burner->share < 1)
            usleep((useconds_t)((1 - burner->share) * SLICE_US));
    }
    free(from);
    return NULL;
}

static double under_maintenance(struct engine *engine, uint64_t keys, unsigned seconds)
{
    struct reader reader = reader_make(engine, keys, seconds);
    struct writer writer = {.engine = engine, .keys = keys};
    pthread_t reading, writing;
    uint64_t dumps = figure(engine, STATS_dumps), compactions = figure(engine, STATS_compactions);
    pthread_create(&writing, NULL, write_at_pace, &writer);
    double cpu = cpu_seconds(RUSAGE_SELF);
    pthread_create(&reading, NULL, read_at_pace, &reader);
    pthread_join(reading, NULL);
    double others = cpu_seconds(RUSAGE_SELF) - cpu - reader.cpu;
    atomic_store(&writer.done, true);
    pthread_join(writing, NULL);
    print_reader(&reader, "maintenance");
    printf("maintenance dumps %llu compactions %llu writes_per_s %.0f cpu_of_others %.2f\n",
           (unsigned long long)(figure(engine, STATS_dumps) - dumps),
           (unsigned long long)(figure(engine, STATS_compactions) - compactions),
           (double)writer.writes / seconds, others / seconds);
    free(reader.latencies_ns);
    return others / seconds;
}

static void control(struct engine *engine, uint64_t keys, unsigned seconds, double share)
{
    enum { BURNERS = 2 };
    struct reader reader = reader_make(engine, keys, seconds);
    struct burner burner = {.share = share / BURNERS};
    pthread_t reading, burning[BURNERS];
    for (int i = 0; i < BURNERS; i++)
        pthread_create(&burning[i], NULL, burn, &burner);
    pthread_create(&reading, NULL, read_at_pace, &reader);
    pthread_join(reading, NULL);
    atomic_store(&burner.done, true);
    for (int i = 0; i < BURNERS; i++)
        pthread_join(burning[i], NULL);
    print_reader(&reader, "control");
    free(reader.latencies_ns);
}

static void readers(const char *directory, unsigned seconds)
{
    enum { KEYS = 200000 };
    struct engine_options options = unsynced(directory);
    options.memtable_bytes = 8 << 20;
    options.compaction_interval_ms = 500;
    struct engine *engine = engine_open_ready(&options);
    for (uint64_t i = 0; i < KEYS; i++)
        put(engine, i, 400);
    for (int round = 0; round < 3; round++) {
        double share = under_maintenance(engine, KEYS, seconds);
        wait_for_dumps(engine);
        control(engine, KEYS, seconds, share);
    }
    engine_close(engine);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: store grow|pages|overwrite|readers DIR NUMBER\n");
        return 2;
    }
    uint64_t number = strtoull(argv[3], NULL, 10);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (strcmp(argv[1], "grow") == 0)
        grow(argv[2], number);
    else if (strcmp(argv[1], "pages") == 0)
        pages(argv[2], number);
    else if (strcmp(argv[1], "overwrite") == 0)
        overwrite(argv[2], number);
    else
        readers(argv[2], (unsigned)number);
    return 0;
}
