/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one writer was answered: for each of its keys the version that must be there, or, after a
 * write whose outcome is unknown, the two of which one must. Keys are "NUMBER-KEY"; the values can be
 * made again from their seeds. One thread each; a check, when that one rests.
 */
#ifndef KEYREST_TESTS_LIB_LEDGER_H
#define KEYREST_TESTS_LIB_LEDGER_H

#include "../../engine/engine.h"

enum { LEDGER_KEYS = 2000 };

struct ledger_version {
    uint64_t seed; /* 0: absent */
    uint32_t bytes;
};

struct ledger {
    unsigned number;
    uint64_t random; /* not 0 */
    struct ledger_version versions[LEDGER_KEYS];
    struct ledger_version perhaps[LEDGER_KEYS];
    bool unknown[LEDGER_KEYS];
    unsigned counts[STATUS_IO + 1]; /* of answers */
    uint64_t slowest_ns;
};

/* On the heap. */
struct ledger *ledger_open(unsigned number);

/* One write, with at most `wait_ms` to wait; what it is answered is noted. */
enum status ledger_put(struct ledger *ledger, struct engine *engine, unsigned key, uint32_t bytes,
                       uint64_t wait_ms);
enum status ledger_delete(struct ledger *ledger, struct engine *engine, unsigned key,
                          uint64_t wait_ms);

/* Reads every key. NULL: all is as it was answered; else what is not, in static text. */
const char *ledger_check(struct ledger *ledger, struct engine *engine);

unsigned ledger_present(const struct ledger *ledger);

#endif
