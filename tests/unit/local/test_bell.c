/* SPDX-License-Identifier: Apache-2.0 */
/* Many sleep on one word: a ring wakes those it is for, and whoever missed it does not sleep. */
#include <pthread.h>

#include "../../../engine/local/bell.h"
#include "../../lib/test.h"

enum { THREADS = 8, ROUNDS = 2000 };

static void who_missed_a_ring_does_not_sleep(void **state)
{
    (void)state;
    struct bell bell = {0};
    uint32_t heard = bell_heard(&bell);
    bell_ring(&bell, 2); /* also one that is for others: it may have been for this one before */
    bell_sleep(&bell, heard, 1, NULL);
    assert_int_not_equal(bell_heard(&bell), heard);
}

static void a_sleep_ends_at_its_time(void **state)
{
    (void)state;
    struct bell bell = {0};
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    bell_sleep(&bell, bell_heard(&bell), 1, &now);
}

static struct {
    struct bell bell;
    atomic_int turn; /* of the thread that may go on */
    int went[THREADS];
} shared;

static void *take_turns(void *context)
{
    int self = (int)(intptr_t)context;
    for (int round = 0; round < ROUNDS; round++) {
        for (;;) {
            uint32_t heard = bell_heard(&shared.bell);
            if (atomic_load_explicit(&shared.turn, memory_order_acquire) == self)
                break;
            bell_sleep(&shared.bell, heard, UINT32_C(1) << self, NULL);
        }
        shared.went[self]++;
        int next = (self + 1) % THREADS;
        atomic_store_explicit(&shared.turn, next, memory_order_release);
        bell_ring(&shared.bell, UINT32_C(1) << next);
    }
    return NULL;
}

/* A ring that was lost would leave all of them asleep. */
static void no_ring_is_lost_among_many_sleepers(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    for (intptr_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_turns, (void *)i), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(shared.went[i], ROUNDS);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("who missed a ring does not sleep", who_missed_a_ring_does_not_sleep),
        TEST("a sleep ends at its time", a_sleep_ends_at_its_time),
        TEST("no ring is lost among many sleepers", no_ring_is_lost_among_many_sleepers),
    };
    return test_main(argc, argv, "bell", tests);
}
