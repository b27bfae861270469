/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Storage engines in one process, one after the other in each round, so that a neighbour's load
 * falls on all of them.
 *
 *     engines write DIR KEYS ROUNDS SECONDS [CONTENDER...]   fill, then overwrite at random, unsynced
 *     engines read  ...   hits and misses on 1 and 2 threads, pages, a long scan, opening again
 *     engines sync  ...   synced puts on 1, 16 and 64 threads; one thread also without an engine
 *     engines maintenance ...   reads at a fixed pace while writes keep background work going, and
 *                               a control: the same reads while as much CPU is burnt
 *
 * KEYS of 16 + 100 bytes. DIR must be empty; what is put there is left. Contenders: all that were
 * linked. Prints the rows of lib/measure.h.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "contenders/contender.h"
#include "lib/burn.h"
#include "lib/measure.h"

enum { CONTENDERS_MAX = 8, THREADS_MAX = 64, MEMTABLE_BYTES = 64 << 20 };

struct field {
    const struct contender *contenders[CONTENDERS_MAX];
    void *stores[CONTENDERS_MAX];
    unsigned count;
    const char *directory;
    uint64_t keys;
    unsigned rounds;
    double seconds;
};

/* ---- stores --------------------------------------------------------------------------------- */

static void store_path(const struct field *field, unsigned index, const char *suffix,
                       char out_path[4096])
{
    snprintf(out_path, 4096, "%s/%s%s", field->directory, field->contenders[index]->name, suffix);
}

static void *store_open(const struct field *field, unsigned index, const char *suffix, bool synced,
                        size_t memtable_bytes)
{
    char path[4096];
    store_path(field, index, suffix, path);
    if (mkdir(path, 0700) != 0 && access(path, W_OK) != 0)
        fail("%s: %m", path);
    return field->contenders[index]->open(&(struct store_options){path, synced, memtable_bytes});
}

static void store_remove(const struct field *field, unsigned index, const char *suffix)
{
    char path[4096], command[4200];
    store_path(field, index, suffix, path);
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    if (system(command) != 0)
        fail("%s stays", path);
}

static void fill_value(unsigned char *value, size_t size, uint64_t number)
{
    uint64_t random = number;
    for (size_t i = 0; i < size; i += sizeof random) {
        uint64_t next = random_next(&random);
        memcpy(value + i, &next, size - i < sizeof next ? size - i : sizeof next);
    }
}

static void put_number(const struct contender *contender, void *session, uint64_t number,
                       size_t size)
{
    char key[BENCH_KEY_BYTES + 1];
    unsigned char value[1024];
    key_of(number, key);
    fill_value(value, size, number);
    contender->put(session, key, value, size);
}

static void fill(const struct contender *contender, void *store, uint64_t keys, size_t size)
{
    void *session = contender->session_open(store);
    for (uint64_t i = 0; i < keys; i++)
        put_number(contender, session, i, size);
    contender->session_close(session);
}

/* What a reader does with a value: it copies it out. */
struct reader {
    unsigned char value[1024];
    size_t bytes;
};

static void copy_out(void *taker, const void *value, size_t size)
{
    struct reader *reader = taker;
    memcpy(reader->value, value, size < sizeof reader->value ? size : sizeof reader->value);
    reader->bytes += size;
}

/* The contender whose turn it is: each round begins with another. */
static unsigned turn(const struct field *field, unsigned round, unsigned i)
{
    return (i + round) % field->count;
}

/* "WORK/1M" */
static const char *case_name(const struct field *field, const char *work, char out_name[64])
{
    if (field->keys % 1000000 == 0)
        snprintf(out_name, 64, "engines/%s/%lluM", work, (unsigned long long)field->keys / 1000000);
    else
        snprintf(out_name, 64, "engines/%s/%llu", work, (unsigned long long)field->keys);
    return out_name;
}

/* ---- write ---------------------------------------------------------------------------------- */

/* Background work that the puts left behind is theirs, too. */
static void time_puts(const struct field *field, unsigned index, void *store, const char *work,
                      unsigned round)
{
    const struct contender *contender = field->contenders[index];
    char name[64];
    bool overwrite = strcmp(work, "overwrite") == 0;
    uint64_t random = round;
    void *session = contender->session_open(store);
    double cpu = process_cpu_s();
    uint64_t begun = now_ns();
    for (uint64_t i = 0; i < field->keys; i++)
        put_number(contender, session, overwrite ? random_next(&random) % field->keys : i,
                   BENCH_VALUE_BYTES);
    double wall = (double)(now_ns() - begun) / 1e9;
    contender->session_close(session);
    wait_until_idle();
    case_name(field, work, name);
    row(name, contender->name, "rate", round, (double)field->keys / wall);
    row(name, contender->name, "cpu_us", round,
        (process_cpu_s() - cpu) * 1e6 / (double)field->keys);
}

static void write_work(struct field *field)
{
    for (unsigned round = 1; round <= field->rounds; round++)
        for (unsigned i = 0; i < field->count; i++) {
            unsigned index = turn(field, round, i);
            void *store = store_open(field, index, "", false, MEMTABLE_BYTES);
            time_puts(field, index, store, "fill", round);
            time_puts(field, index, store, "overwrite", round);
            field->contenders[index]->close(store);
            store_remove(field, index, "");
        }
}

/* ---- threads -------------------------------------------------------------------------------- */

struct crew {
    const struct contender *contender;
    void *store;
    void (*act)(const struct crew *crew, void *session, uint64_t *random, struct reader *reader);
    uint64_t keys, end_ns;
    _Atomic uint64_t next; /* a number that nobody had */
};

struct hand {
    struct crew *crew;
    pthread_t thread;
    uint64_t seed, actions;
};

static void *hand_run(void *context)
{
    struct hand *hand = context;
    struct crew *crew = hand->crew;
    struct reader *reader = allocate(1, sizeof *reader);
    uint64_t random = hand->seed;
    void *session = crew->contender->session_open(crew->store);
    do {
        crew->act(crew, session, &random, reader);
        hand->actions++;
    } while ((hand->actions & 15) != 0 || now_ns() < crew->end_ns);
    crew->contender->session_close(session);
    free(reader);
    return NULL;
}

/* Rows: actions per second of all threads together, and CPU of the process per action. */
static void time_crew(const struct field *field, struct crew *crew, unsigned threads,
                      const char *name, unsigned round)
{
    struct hand hands[THREADS_MAX];
    uint64_t actions = 0, begun = now_ns();
    double cpu = process_cpu_s();
    crew->end_ns = begun + (uint64_t)(field->seconds * 1e9);
    for (unsigned i = 0; i < threads; i++) {
        hands[i] = (struct hand){.crew = crew, .seed = round * 1000 + i};
        if (pthread_create(&hands[i].thread, NULL, hand_run, &hands[i]) != 0)
            fail("no thread");
    }
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(hands[i].thread, NULL);
        actions += hands[i].actions;
    }
    double wall = (double)(now_ns() - begun) / 1e9;
    row(name, crew->contender->name, "rate", round, (double)actions / wall);
    row(name, crew->contender->name, "cpu_us", round,
        (process_cpu_s() - cpu) * 1e6 / (double)actions);
}

/* ---- read ----------------------------------------------------------------------------------- */

static void get_number(const struct crew *crew, void *session, uint64_t number, bool expected,
                       struct reader *reader)
{
    char key[BENCH_KEY_BYTES + 1];
    key_of(number, key);
    if (crew->contender->get(session, key, copy_out, reader) != expected)
        fail("%s: a read of %s is wrong", crew->contender->name, key);
}

static void read_hit(const struct crew *crew, void *session, uint64_t *random,
                     struct reader *reader)
{
    get_number(crew, session, random_next(random) % crew->keys, true, reader);
}

static void read_miss(const struct crew *crew, void *session, uint64_t *random,
                      struct reader *reader)
{
    get_number(crew, session, crew->keys + random_next(random) % crew->keys, false, reader);
}

static void scan_from(const struct crew *crew, void *session, uint64_t number, size_t count,
                      struct reader *reader)
{
    char key[BENCH_KEY_BYTES + 1];
    key_of(number, key);
    crew->contender->scan(session, key, count, copy_out, reader);
}

static void read_page(const struct crew *crew, void *session, uint64_t *random,
                      struct reader *reader)
{
    scan_from(crew, session, random_next(random) % crew->keys, 100, reader);
}

static void time_scan(const struct field *field, unsigned index, const char *name, unsigned round)
{
    enum { KEYS_MAX = 1000000 };
    struct reader *reader = allocate(1, sizeof *reader);
    const struct contender *contender = field->contenders[index];
    void *session = contender->session_open(field->stores[index]);
    double cpu = thread_cpu_s();
    uint64_t begun = now_ns();
    size_t seen = contender->scan(session, "0000000000000000", KEYS_MAX, copy_out, reader);
    if (seen != (field->keys < KEYS_MAX ? field->keys : KEYS_MAX))
        fail("%s: a scan saw %zu keys", contender->name, seen);
    row(name, contender->name, "rate", round, (double)seen * 1e9 / (double)(now_ns() - begun));
    row(name, contender->name, "cpu_us", round, (thread_cpu_s() - cpu) * 1e6 / (double)seen);
    contender->session_close(session);
    free(reader);
}

static void time_open(struct field *field, unsigned index, const char *name, unsigned round)
{
    const struct contender *contender = field->contenders[index];
    contender->close(field->stores[index]);
    double cpu = process_cpu_s();
    uint64_t begun = now_ns();
    field->stores[index] = store_open(field, index, "", false, MEMTABLE_BYTES);
    row(name, contender->name, "ms", round, (double)(now_ns() - begun) / 1e6);
    row(name, contender->name, "cpu_ms", round, (process_cpu_s() - cpu) * 1e3);
}

static void read_round(struct field *field, unsigned round)
{
    static const struct {
        const char *work;
        unsigned threads;
        void (*act)(const struct crew *, void *, uint64_t *, struct reader *);
    } kinds[] = {{"hit-1", 1, read_hit},
                 {"hit-2", 2, read_hit},
                 {"miss-1", 1, read_miss},
                 {"miss-2", 2, read_miss},
                 {"page", 1, read_page}};
    char name[64];
    for (size_t kind = 0; kind < sizeof kinds / sizeof *kinds; kind++)
        for (unsigned i = 0; i < field->count; i++) {
            unsigned index = turn(field, round, i);
            struct crew crew = {.contender = field->contenders[index],
                                .store = field->stores[index],
                                .act = kinds[kind].act,
                                .keys = field->keys};
            time_crew(field, &crew, kinds[kind].threads, case_name(field, kinds[kind].work, name),
                      round);
        }
    for (unsigned i = 0; i < field->count; i++)
        time_scan(field, turn(field, round, i), case_name(field, "scan", name), round);
}

static void read_work(struct field *field)
{
    char name[64];
    struct reader reader = {.bytes = 0};
    for (unsigned i = 0; i < field->count; i++) {
        const struct contender *contender = field->contenders[i];
        field->stores[i] = store_open(field, i, "", false, MEMTABLE_BYTES);
        fill(contender, field->stores[i], field->keys, BENCH_VALUE_BYTES);
        wait_until_idle();
        if (contender->compact != NULL)
            contender->compact(field->stores[i]);
        wait_until_idle();
    }
    for (unsigned i = 0; i < field->count; i++) { /* caches are warm, as the maps are */
        void *session = field->contenders[i]->session_open(field->stores[i]);
        field->contenders[i]->scan(session, "0000000000000000", SIZE_MAX, copy_out, &reader);
        field->contenders[i]->session_close(session);
    }
    for (unsigned round = 1; round <= field->rounds; round++)
        read_round(field, round);
    for (unsigned round = 1; round <= field->rounds; round++)
        for (unsigned i = 0; i < field->count; i++)
            time_open(field, turn(field, round, i), case_name(field, "open", name), round);
    for (unsigned i = 0; i < field->count; i++)
        field->contenders[i]->close(field->stores[i]);
}

/* ---- sync ----------------------------------------------------------------------------------- */

static void put_next(const struct crew *crew, void *session, uint64_t *random,
                     struct reader *reader)
{
    (void)random, (void)reader;
    uint64_t number = atomic_fetch_add(&((struct crew *)(uintptr_t)crew)->next, 1);
    put_number(crew->contender, session, number, BENCH_VALUE_BYTES);
}

static void sync_work(struct field *field)
{
    static const unsigned threads[] = {1, 16, 64};
    struct crew crews[CONTENDERS_MAX] = {0};
    char name[64];
    for (unsigned i = 0; i < field->count; i++) {
        crews[i].contender = field->contenders[i];
        crews[i].store = store_open(field, i, "", true, MEMTABLE_BYTES);
        crews[i].act = put_next;
    }
    for (unsigned round = 1; round <= field->rounds; round++)
        for (size_t t = 0; t < sizeof threads / sizeof *threads; t++) {
            snprintf(name, sizeof name, "engines/sync-%u", threads[t]);
            for (unsigned i = 0; i < field->count; i++) {
                unsigned index = turn(field, round, i);
                if (threads[t] == 1 || field->contenders[index]->get != NULL)
                    time_crew(field, &crews[index], threads[t], name, round);
            }
        }
    for (unsigned i = 0; i < field->count; i++)
        field->contenders[i]->close(crews[i].store);
}

/* ---- maintenance ---------------------------------------------------------------------------- */

enum { MAINTENANCE_VALUE_BYTES = 400, READ_PACE_NS = 200000 };

/* Overwrites at a bounded rate, so that tables are written and rewritten all the time. */
struct overwriter {
    const struct contender *contender;
    void *store;
    uint64_t keys, writes;
    atomic_bool done;
};

static void *overwrite_at_pace(void *context)
{
    enum { BURST = 50, PAUSE_NS = 2000000 };
    struct overwriter *overwriter = context;
    uint64_t random = 99;
    void *session = overwriter->contender->session_open(overwriter->store);
    for (; !atomic_load(&overwriter->done); overwriter->writes += BURST) {
        for (int i = 0; i < BURST; i++)
            put_number(overwriter->contender, session, random_next(&random) % overwriter->keys,
                       MAINTENANCE_VALUE_BYTES);
        sleep_ns(PAUSE_NS);
    }
    overwriter->contender->session_close(session);
    return NULL;
}

/* In the calling thread; returns the CPU of all others meanwhile, as a share of one processor. */
static double read_at_pace(const struct field *field, unsigned index, const char *name,
                           unsigned round)
{
    struct crew crew = {.contender = field->contenders[index], .keys = field->keys};
    struct reader *reader = allocate(1, sizeof *reader);
    struct latencies latencies;
    uint64_t random = round, begun = now_ns(), end = begun + (uint64_t)(field->seconds * 1e9);
    void *session = crew.contender->session_open(field->stores[index]);
    double cpu = process_cpu_s() - thread_cpu_s();
    latencies_init(&latencies, (size_t)(field->seconds * 1e9 / READ_PACE_NS) + 2);
    for (uint64_t due = begun; due < end; due += READ_PACE_NS) {
        if (now_ns() < due)
            sleep_until_ns(due);
        uint64_t from = now_ns();
        read_hit(&crew, session, &random, reader);
        latencies_add(&latencies, now_ns() - from);
    }
    double share = (process_cpu_s() - thread_cpu_s() - cpu) * 1e9 / (double)(now_ns() - begun);
    latencies_rows(&latencies, name, crew.contender->name, round);
    row(name, crew.contender->name, "cpu_of_others", round, share);
    latencies_done(&latencies);
    crew.contender->session_close(session);
    free(reader);
    return share;
}

static void maintenance_round(struct field *field, unsigned index, unsigned round)
{
    struct overwriter overwriter = {
        .contender = field->contenders[index], .store = field->stores[index], .keys = field->keys};
    pthread_t thread;
    char name[64];
    if (pthread_create(&thread, NULL, overwrite_at_pace, &overwriter) != 0)
        fail("no thread");
    uint64_t begun = now_ns();
    double share =
        read_at_pace(field, index, case_name(field, "reads-under-maintenance", name), round);
    atomic_store(&overwriter.done, true);
    pthread_join(thread, NULL);
    row(name, overwriter.contender->name, "writes", round,
        (double)overwriter.writes * 1e9 / (double)(now_ns() - begun));
    wait_until_idle();
    struct burners burners;
    burners_start(&burners, share);
    read_at_pace(field, index, case_name(field, "reads-under-load", name), round);
    burners_stop(&burners);
}

static void maintenance_work(struct field *field)
{
    enum { SMALL_MEMTABLE_BYTES = 8 << 20 };
    for (unsigned i = 0; i < field->count; i++) {
        field->stores[i] = store_open(field, i, "", false, SMALL_MEMTABLE_BYTES);
        fill(field->contenders[i], field->stores[i], field->keys, MAINTENANCE_VALUE_BYTES);
    }
    wait_until_idle();
    for (unsigned round = 1; round <= field->rounds; round++)
        for (unsigned i = 0; i < field->count; i++)
            maintenance_round(field, turn(field, round, i), round);
    for (unsigned i = 0; i < field->count; i++)
        field->contenders[i]->close(field->stores[i]);
}

/* ---- main ----------------------------------------------------------------------------------- */

static bool is_named(const char *name, char **names)
{
    bool named = *names == NULL;
    for (; *names != NULL; names++)
        named |= strcmp(*names, name) == 0;
    return named;
}

/* Those that are linked and, if any are named, named. */
static void choose(struct field *field, bool writers_too, char **names)
{
    const struct {
        const char *name;
        const struct contender *contender;
    } all[] = {{"keyrest", &keyrest_contender},
               {"rocksdb", &rocksdb_contender},
               {"leveldb", &leveldb_contender},
               {"lmdb", &lmdb_contender},
               {"bare", &bare_contender}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const struct contender *contender = all[i].contender;
        if (!is_named(all[i].name, names))
            continue;
        if (contender == NULL)
            fprintf(stderr, "skipped: %s is not there (make deps-bench)\n", all[i].name);
        else if (contender->get != NULL || writers_too)
            field->contenders[field->count++] = contender;
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*work)(struct field *field);
    } works[] = {{"write", write_work},
                 {"read", read_work},
                 {"sync", sync_work},
                 {"maintenance", maintenance_work}};
    if (argc < 6)
        fail("usage: engines WORK DIR KEYS ROUNDS SECONDS [CONTENDER...]");
    struct field field = {.directory = argv[2],
                          .keys = strtoull(argv[3], NULL, 10),
                          .rounds = (unsigned)strtoul(argv[4], NULL, 10),
                          .seconds = strtod(argv[5], NULL)};
    choose(&field, strcmp(argv[1], "sync") == 0, argv + 6);
    for (size_t i = 0; i < sizeof works / sizeof *works; i++)
        if (strcmp(argv[1], works[i].name) == 0) {
            works[i].work(&field);
            return 0;
        }
    fail("there is no work %s", argv[1]);
}
