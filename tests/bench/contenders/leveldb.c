/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LevelDB by its C interface: bloom filters of 10 bits, a cache of 2 GiB, no compression, checksums
 * verified on reads as Keyrest and RocksDB always do.
 */
#include <leveldb/c.h>
#include <stdlib.h>

#include "../lib/measure.h"
#include "contender.h"

struct store {
    leveldb_t *database;
    leveldb_options_t *options;
    leveldb_cache_t *cache;
    leveldb_filterpolicy_t *filter;
    leveldb_readoptions_t *reading;
    leveldb_writeoptions_t *writing;
};

static void must(const char *error)
{
    if (error != NULL)
        fail("leveldb: %s", error);
}

static void *open_store(const struct store_options *wanted)
{
    enum { BLOOM_BITS = 10 };
    char *error = NULL;
    struct store *store = allocate(1, sizeof *store);
    store->cache = leveldb_cache_create_lru((size_t)2 << 30);
    store->filter = leveldb_filterpolicy_create_bloom(BLOOM_BITS);
    store->options = leveldb_options_create();
    leveldb_options_set_create_if_missing(store->options, 1);
    leveldb_options_set_compression(store->options, leveldb_no_compression);
    leveldb_options_set_cache(store->options, store->cache);
    leveldb_options_set_filter_policy(store->options, store->filter);
    leveldb_options_set_write_buffer_size(store->options, wanted->memtable_bytes);
    store->reading = leveldb_readoptions_create();
    leveldb_readoptions_set_verify_checksums(store->reading, 1);
    store->writing = leveldb_writeoptions_create();
    leveldb_writeoptions_set_sync(store->writing, wanted->synced);
    store->database = leveldb_open(store->options, wanted->directory, &error);
    must(error);
    return store;
}

static void close_store(void *session)
{
    struct store *store = session;
    leveldb_close(store->database);
    leveldb_writeoptions_destroy(store->writing);
    leveldb_readoptions_destroy(store->reading);
    leveldb_options_destroy(store->options);
    leveldb_filterpolicy_destroy(store->filter);
    leveldb_cache_destroy(store->cache);
    free(store);
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
    struct store *store = session;
    char *error = NULL;
    leveldb_put(store->database, store->writing, key, BENCH_KEY_BYTES, value, size, &error);
    must(error);
}

static bool get(void *session, const char *key, take_value *take, void *taker)
{
    struct store *store = session;
    char *error = NULL;
    size_t size;
    char *value = leveldb_get(store->database, store->reading, key, BENCH_KEY_BYTES, &size, &error);
    must(error);
    if (value == NULL)
        return false;
    take(taker, value, size);
    leveldb_free(value);
    return true;
}

static size_t scan(void *session, const char *key, size_t count, take_value *take, void *taker)
{
    struct store *store = session;
    char *error = NULL;
    size_t size, seen = 0;
    leveldb_iterator_t *iterator = leveldb_create_iterator(store->database, store->reading);
    for (leveldb_iter_seek(iterator, key, BENCH_KEY_BYTES);
         seen < count && leveldb_iter_valid(iterator); leveldb_iter_next(iterator), seen++) {
        const char *value = leveldb_iter_value(iterator, &size);
        take(taker, value, size);
    }
    leveldb_iter_get_error(iterator, &error);
    must(error);
    leveldb_iter_destroy(iterator);
    return seen;
}

static void compact(void *session)
{
    struct store *store = session;
    leveldb_compact_range(store->database, NULL, 0, NULL, 0);
}

const struct contender leveldb_contender = {
    "leveldb", open_store, close_store, session_open, session_close, put, get, scan, compact};
