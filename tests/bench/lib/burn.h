/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A control's load: two threads that together use a share of one processor, in slices of 2 ms, on
 * memory as background work does.
 */
#ifndef KEYREST_TESTS_BENCH_LIB_BURN_H
#define KEYREST_TESTS_BENCH_LIB_BURN_H

#include <pthread.h>
#include <stdatomic.h>

struct burners {
    double share; /* of one processor, for each thread */
    atomic_bool done;
    pthread_t threads[2];
};

void burners_start(struct burners *burners, double share);
void burners_stop(struct burners *burners);

#endif
