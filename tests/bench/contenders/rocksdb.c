/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RocksDB by its C interface: bloom filters of 10 bits, a cache of 2 GiB, no compression, background
 * work on both processors, reads by rocksdb_get_pinned(), which copies nothing.
 */
#include <rocksdb/c.h>
#include <stdlib.h>

#include "../lib/measure.h"
#include "contender.h"

struct store {
    rocksdb_t *database;
    rocksdb_options_t *options;
    rocksdb_block_based_table_options_t *table_options;
    rocksdb_cache_t *cache;
    rocksdb_readoptions_t *reading;
    rocksdb_writeoptions_t *writing;
};

static void must(char *error)
{
    if (error != NULL)
        fail("rocksdb: %s", error);
}

static void *open_store(const struct store_options *wanted)
{
    enum { BLOOM_BITS = 10, THREADS = 2 };
    char *error = NULL;
    struct store *store = allocate(1, sizeof *store);
    store->cache = rocksdb_cache_create_lru((size_t)2 << 30);
    store->table_options = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(store->table_options, store->cache);
    rocksdb_block_based_options_set_filter_policy(store->table_options,
                                                  rocksdb_filterpolicy_create_bloom(BLOOM_BITS));
    store->options = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(store->options, 1);
    rocksdb_options_set_compression(store->options, rocksdb_no_compression);
    rocksdb_options_set_write_buffer_size(store->options, wanted->memtable_bytes);
    rocksdb_options_increase_parallelism(store->options, THREADS);
    rocksdb_options_set_block_based_table_factory(store->options, store->table_options);
    store->reading = rocksdb_readoptions_create();
    store->writing = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(store->writing, wanted->synced);
    store->database = rocksdb_open(store->options, wanted->directory, &error);
    must(error);
    return store;
}

static void close_store(void *session)
{
    struct store *store = session;
    rocksdb_close(store->database);
    rocksdb_writeoptions_destroy(store->writing);
    rocksdb_readoptions_destroy(store->reading);
    rocksdb_options_destroy(store->options);
    rocksdb_block_based_options_destroy(store->table_options);
    rocksdb_cache_destroy(store->cache);
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
    rocksdb_put(store->database, store->writing, key, BENCH_KEY_BYTES, value, size, &error);
    must(error);
}

static bool get(void *session, const char *key, take_value *take, void *taker)
{
    struct store *store = session;
    char *error = NULL;
    size_t size;
    rocksdb_pinnableslice_t *slice =
        rocksdb_get_pinned(store->database, store->reading, key, BENCH_KEY_BYTES, &error);
    must(error);
    if (slice == NULL)
        return false;
    const char *value = rocksdb_pinnableslice_value(slice, &size);
    take(taker, value, size);
    rocksdb_pinnableslice_destroy(slice);
    return true;
}

static size_t scan(void *session, const char *key, size_t count, take_value *take, void *taker)
{
    struct store *store = session;
    char *error = NULL;
    size_t size, seen = 0;
    rocksdb_iterator_t *iterator = rocksdb_create_iterator(store->database, store->reading);
    for (rocksdb_iter_seek(iterator, key, BENCH_KEY_BYTES);
         seen < count && rocksdb_iter_valid(iterator); rocksdb_iter_next(iterator), seen++) {
        const char *value = rocksdb_iter_value(iterator, &size);
        take(taker, value, size);
    }
    rocksdb_iter_get_error(iterator, &error);
    must(error);
    rocksdb_iter_destroy(iterator);
    return seen;
}

static void compact(void *session)
{
    struct store *store = session;
    rocksdb_compact_range(store->database, NULL, 0, NULL, 0);
}

const struct contender rocksdb_contender = {
    "rocksdb", open_store, close_store, session_open, session_close, put, get, scan, compact};
