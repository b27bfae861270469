/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LMDB: a map of 32 GiB, written through (MDB_WRITEMAP), a transaction per put; unsynced with
 * MDB_NOSYNC. A reader keeps one transaction and renews it for each read, as its manual advises. It
 * has no checksums.
 */
#include <lmdb.h>
#include <stdlib.h>

#include "../lib/measure.h"
#include "contender.h"

struct store {
    MDB_env *environment;
    MDB_dbi table;
};

struct session {
    struct store *store;
    MDB_txn *reading;
};

static void must(int error)
{
    if (error != 0)
        fail("lmdb: %s", mdb_strerror(error));
}

static void *open_store(const struct store_options *options)
{
    struct store *store = allocate(1, sizeof *store);
    unsigned flags = MDB_WRITEMAP | MDB_NOTLS | (options->synced ? 0 : MDB_NOSYNC);
    MDB_txn *transaction;
    must(mdb_env_create(&store->environment));
    must(mdb_env_set_mapsize(store->environment, (size_t)32 << 30));
    must(mdb_env_open(store->environment, options->directory, flags, 0600));
    must(mdb_txn_begin(store->environment, NULL, 0, &transaction));
    must(mdb_dbi_open(transaction, NULL, 0, &store->table));
    must(mdb_txn_commit(transaction));
    return store;
}

static void close_store(void *opened)
{
    struct store *store = opened;
    mdb_env_close(store->environment);
    free(store);
}

static void *session_open(void *store)
{
    struct session *session = allocate(1, sizeof *session);
    session->store = store;
    must(mdb_txn_begin(session->store->environment, NULL, MDB_RDONLY, &session->reading));
    mdb_txn_reset(session->reading);
    return session;
}

static void session_close(void *opened)
{
    struct session *session = opened;
    mdb_txn_abort(session->reading);
    free(session);
}

static void put(void *opened, const char *key, const void *value, size_t size)
{
    struct session *session = opened;
    MDB_txn *transaction;
    MDB_val mdb_key = {BENCH_KEY_BYTES, (void *)(uintptr_t)key};
    MDB_val mdb_value = {size, (void *)(uintptr_t)value};
    must(mdb_txn_begin(session->store->environment, NULL, 0, &transaction));
    must(mdb_put(transaction, session->store->table, &mdb_key, &mdb_value, 0));
    must(mdb_txn_commit(transaction));
}

static bool get(void *opened, const char *key, take_value *take, void *taker)
{
    struct session *session = opened;
    MDB_val mdb_key = {BENCH_KEY_BYTES, (void *)(uintptr_t)key}, value;
    must(mdb_txn_renew(session->reading));
    int error = mdb_get(session->reading, session->store->table, &mdb_key, &value);
    if (error != MDB_NOTFOUND) {
        must(error);
        take(taker, value.mv_data, value.mv_size);
    }
    mdb_txn_reset(session->reading);
    return error == 0;
}

static size_t scan(void *opened, const char *key, size_t count, take_value *take, void *taker)
{
    struct session *session = opened;
    MDB_val mdb_key = {BENCH_KEY_BYTES, (void *)(uintptr_t)key}, value;
    MDB_cursor *cursor;
    size_t seen = 0;
    must(mdb_txn_renew(session->reading));
    must(mdb_cursor_open(session->reading, session->store->table, &cursor));
    int error = mdb_cursor_get(cursor, &mdb_key, &value, MDB_SET_RANGE);
    for (; error == 0 && seen < count; seen++) {
        take(taker, value.mv_data, value.mv_size);
        error = mdb_cursor_get(cursor, &mdb_key, &value, MDB_NEXT);
    }
    if (error != MDB_NOTFOUND)
        must(error);
    mdb_cursor_close(cursor);
    mdb_txn_reset(session->reading);
    return seen;
}

const struct contender lmdb_contender = {
    "lmdb", open_store, close_store, session_open, session_close, put, get, scan, NULL};
