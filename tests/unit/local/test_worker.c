/* SPDX-License-Identifier: Apache-2.0 */
/* A thread that runs when it is woken or when its time has come, and ends when it is told to. */
#include "../../../engine/local/worker.h"

#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "../../lib/test.h"

enum { HOUR_S = 3600 };

struct work {
    atomic_int runs;
    sem_t ran, go_on;
    atomic_bool stop_inside;
    uint64_t wait_ns;
    struct worker *_Atomic itself;
    atomic_int wakes_left;
};

static uint64_t run(void *context)
{
    struct work *work = context;
    bool stops = atomic_load(&work->stop_inside); /* as it was before anybody knows of this run */
    atomic_fetch_add(&work->runs, 1);
    sem_post(&work->ran);
    if (stops)
        while (sem_wait(&work->go_on) != 0)
            continue;
    if (atomic_load(&work->wakes_left) > 0) {
        atomic_fetch_sub(&work->wakes_left, 1);
        worker_wake(atomic_load(&work->itself));
    }
    return work->wait_ns;
}

static struct worker *begin(struct work *work, uint64_t wait_ns)
{
    struct worker *worker;
    *work = (struct work){.wait_ns = wait_ns};
    sem_init(&work->ran, 0, 0);
    sem_init(&work->go_on, 0, 0);
    assert_int_equal(worker_open("test", run, work, &worker), STATUS_OK);
    assert_int_equal(worker_start(worker), STATUS_OK);
    return worker;
}

static void wait_for_run(struct work *work)
{
    while (sem_wait(&work->ran) != 0)
        continue;
}

static void runs_at_the_start_and_when_woken(void **state)
{
    (void)state;
    struct work work;
    struct worker *worker = begin(&work, HOUR_S * UINT64_C(1000000000));
    for (int i = 1; i <= 50; i++) {
        wait_for_run(&work);
        assert_int_equal(work.runs, i);
        worker_wake(worker);
    }
    wait_for_run(&work);
    worker_close(worker);
    assert_int_equal(work.runs, 51);
}

static void a_wake_during_a_run_is_not_lost(void **state)
{
    (void)state;
    struct work work;
    struct worker *worker = begin(&work, HOUR_S * UINT64_C(1000000000));
    wait_for_run(&work);
    atomic_store(&work.stop_inside, true);
    worker_wake(worker);
    wait_for_run(&work);
    worker_wake(worker); /* while it runs, and twice: one more run */
    worker_wake(worker);
    atomic_store(&work.stop_inside, false);
    sem_post(&work.go_on);
    wait_for_run(&work);
    worker_close(worker);
    assert_int_equal(work.runs, 3);
}

static void runs_again_when_its_time_has_come(void **state)
{
    (void)state;
    struct work work;
    struct worker *worker = begin(&work, 1000);
    for (int i = 0; i < 20; i++)
        wait_for_run(&work);
    worker_close(worker);
    assert_true(work.runs >= 20);
}

static void may_wake_itself(void **state)
{
    (void)state;
    struct work work;
    struct worker *worker = begin(&work, HOUR_S * UINT64_C(1000000000));
    wait_for_run(&work);
    atomic_store(&work.itself, worker);
    atomic_store(&work.wakes_left, 5);
    worker_wake(worker); /* perhaps one with the first that it does itself */
    for (int i = 0; i < 5; i++)
        wait_for_run(&work);
    worker_close(worker);
    worker_close(NULL);
    worker_wake(NULL);
}

/* As when one of two workers that wake each other has ended, or has not begun. */
static void one_that_does_not_run_may_be_woken(void **state)
{
    (void)state;
    struct work work = {.wait_ns = HOUR_S * UINT64_C(1000000000)};
    sem_init(&work.ran, 0, 0);
    struct worker *worker;
    assert_int_equal(worker_open("test", run, &work, &worker), STATUS_OK);
    worker_wake(worker);
    assert_int_equal(work.runs, 0);
    assert_int_equal(worker_start(worker), STATUS_OK);
    wait_for_run(&work);
    worker_stop(worker);
    int runs = work.runs;
    worker_wake(worker);
    worker_stop(worker);
    assert_int_equal(work.runs, runs);
    worker_close(worker);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("runs at the start and when woken", runs_at_the_start_and_when_woken),
        TEST("a wake during a run is not lost", a_wake_during_a_run_is_not_lost),
        TEST("runs again when its time has come", runs_again_when_its_time_has_come),
        TEST("may wake itself", may_wake_itself),
        TEST("one that does not run may be woken", one_that_does_not_run_may_be_woken),
    };
    return test_main(argc, argv, "worker", tests);
}
