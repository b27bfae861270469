/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One storage engine, as engines.c drives it: keys of 16 bytes, values of any size. Each adapter is
 * a file of this folder. Adapters of engines whose library is not there are not linked; their
 * symbols are weak here, and engines.c leaves them out.
 *
 * Whatever fails ends the program: a benchmark that failed has no figures.
 */
#ifndef KEYREST_TESTS_BENCH_CONTENDERS_CONTENDER_H
#define KEYREST_TESTS_BENCH_CONTENDERS_CONTENDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store_options {
    const char *directory; /* exists */
    bool synced;           /* a write is durable when put() returns */
    size_t memtable_bytes; /* written as a table when there is so much, where there are tables */
};

/* Told of a value, valid for the call only. */
typedef void take_value(void *taker, const void *value, size_t size);

struct contender {
    const char *name;
    void *(*open)(const struct store_options *options); /* returns when reads are answered */
    void (*close)(void *store);
    /* One per thread that reads or writes. */
    void *(*session_open)(void *store);
    void (*session_close)(void *session);
    void (*put)(void *session, const char *key, const void *value, size_t size);
    /* NULL, as all below: it writes only. False: there is no such key. */
    bool (*get)(void *session, const char *key, take_value *take, void *taker);
    /* Values of up to `count` keys in order, from the first that is not below `key`; how many. */
    size_t (*scan)(void *session, const char *key, size_t count, take_value *take, void *taker);
    /* Brings what is stored into the form that is best to read. NULL: it always is. */
    void (*compact)(void *store);
};

extern const struct contender keyrest_contender, bare_contender;
#pragma weak rocksdb_contender
#pragma weak leveldb_contender
#pragma weak lmdb_contender
extern const struct contender rocksdb_contender, leveldb_contender, lmdb_contender;

#endif
