/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Judges what concurrent clients were told about one key: can it have happened one operation after
 * the other, each at some moment between being sent and being answered, as a single register would
 * have answered? (Herlihy and Wing, Linearizability, 1990.) Keys are independent of each other, so
 * one history per key is all there is to judge.
 *
 * The search is Wing and Gong's (Testing and Verifying Concurrent Objects, 1993) with Lowe's memory
 * of the configurations that led nowhere (Testing for Linearizability, 2017). A configuration is
 * the key's state and the set of operations that have happened; the set is remembered as a 64-bit
 * sum over its members. Two sets of one sum, about 1 in 10^7 for a million configurations, could
 * make a good history look bad, never a bad one good.
 *
 * Threads: none; each call by itself.
 */
#ifndef KEYREST_TESTS_LIB_LINEAR_H
#define KEYREST_TESTS_LIB_LINEAR_H

#include <stddef.h>
#include <stdint.h>

/* A version of the key is a number that each put has for itself, from 1. */
#define LINEAR_ABSENT UINT32_C(0)
#define LINEAR_UNTOLD UINT32_MAX /* seen: some version; expected: one that the key never has */

enum linear_kind { LINEAR_PUT, LINEAR_DELETE, LINEAR_READ };

enum linear_condition {
    LINEAR_ALWAYS,
    LINEAR_IF_ABSENT,
    LINEAR_IF_PRESENT,
    LINEAR_IF_IS,  /* the version is `expected` */
    LINEAR_IF_NOT, /* it is absent or another */
};

enum linear_outcome {
    LINEAR_CREATED,
    LINEAR_REPLACED,
    LINEAR_DELETED,
    LINEAR_FOUND,   /* `seen` */
    LINEAR_MISSED,  /* read, delete: absent, whatever the condition says */
    LINEAR_FAILED,  /* the condition does not hold: the version is `seen` */
    LINEAR_UNKNOWN, /* no answer: it may have happened until `answered`, or not at all */
};

struct linear_operation {
    enum linear_kind kind;
    enum linear_condition condition;
    enum linear_outcome outcome;
    uint32_t expected;
    uint32_t version; /* put */
    uint32_t seen;
    unsigned client;            /* who sent it; for linear_describe() only */
    uint64_t invoked, answered; /* of one clock; what is invoked at `answered` comes after */
};

enum linear_verdict {
    LINEAR_GOOD,
    LINEAR_BAD,
    LINEAR_TOO_HARD, /* over LINEAR_CONFIGURATIONS_MAX: nothing is known */
};

enum { LINEAR_CONFIGURATIONS_MAX = 4 << 20 };

/*
 * Judges a whole history that begins with the key absent. Sorts `operations` by when they were
 * invoked. BAD sets `*out_stuck`: in the attempt that got farthest, the operation whose answer
 * nothing explained. Cost: n times what is under way at once, much more where the answers leave
 * many orders possible.
 */
enum linear_verdict linear_check(struct linear_operation *operations, size_t count,
                                 size_t *out_stuck);

/* One line, for people. */
enum { LINEAR_LINE_BYTES = 160 };
void linear_describe(const struct linear_operation *operation, char out_line[LINEAR_LINE_BYTES]);

#endif
