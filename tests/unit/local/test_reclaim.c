/* SPDX-License-Identifier: Apache-2.0 */
/* Grace periods: what a section may still see is not freed, and all else is. */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "../../../engine/local/reclaim.h"
#include "../../../engine/scope.h"
#include "../../lib/test.h"

struct thing {
    struct retired retired;
    atomic_int *released;
};

static void release_thing(struct retired *retired)
{
    struct thing *thing = (struct thing *)retired;
    atomic_fetch_add(thing->released, 1);
    free(thing);
}

static void retire_one(struct reclaim *reclaim, atomic_int *released)
{
    struct thing *thing = malloc(sizeof *thing);
    *thing = (struct thing){{.release = release_thing, .bytes = 100}, released};
    reclaim_retire(reclaim, &thing->retired);
}

/* Whether all was freed within a time after which only a defect can be the reason. */
static bool all_freed(const struct reclaim *reclaim)
{
    struct timespec begun, now;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    do {
        if (reclaim_bytes(reclaim) == 0)
            return true;
        usleep(100);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (now.tv_sec - begun.tv_sec < 20);
    return false;
}

static void frees_what_nobody_can_see(void **state)
{
    (void)state;
    atomic_int released = 0;
    struct reclaim *reclaim;
    assert_int_equal(reclaim_open(false, &reclaim), STATUS_OK);
    retire_one(reclaim, &released);
    retire_one(reclaim, &released);
    assert_int_equal(reclaim_bytes(reclaim), 200);
    assert_int_equal(released, 0);
    reclaim_run(reclaim);
    assert_int_equal(released, 2);
    assert_int_equal(reclaim_bytes(reclaim), 0);
    reclaim_close(reclaim);
}

static void close_frees_the_rest(void **state)
{
    (void)state;
    for (int threaded = 0; threaded < 2; threaded++) {
        atomic_int released = 0;
        struct reclaim *reclaim;
        assert_int_equal(reclaim_open(threaded, &reclaim), STATUS_OK);
        retire_one(reclaim, &released);
        reclaim_close(reclaim);
        assert_int_equal(released, 1);
    }
    reclaim_close(NULL);
}

static void the_thread_frees_unasked(void **state)
{
    (void)state;
    atomic_int released = 0;
    struct reclaim *reclaim;
    assert_int_equal(reclaim_open(true, &reclaim), STATUS_OK);
    for (int i = 1; i <= 100; i++) {
        retire_one(reclaim, &released);
        assert_true(all_freed(reclaim));
    }
    reclaim_close(reclaim);
}

/* ---- a reader in a section ---- */

struct reader {
    struct reclaim *reclaim;
    pthread_barrier_t inside, leave;
    int nested;
};

static void *read_for_long(void *context)
{
    struct reader *reader = context;
    for (int i = 0; i < reader->nested; i++)
        reclaim_enter(reader->reclaim);
    for (int i = 1; i < reader->nested; i++)
        reclaim_leave(reader->reclaim);
    pthread_barrier_wait(&reader->inside);
    pthread_barrier_wait(&reader->leave);
    reclaim_leave(reader->reclaim);
    return NULL;
}

static void start_reader(struct reader *reader, struct reclaim *reclaim, int nested,
                         pthread_t *thread)
{
    *reader = (struct reader){.nested = nested, .reclaim = reclaim};
    pthread_barrier_init(&reader->inside, NULL, 2);
    pthread_barrier_init(&reader->leave, NULL, 2);
    assert_int_equal(pthread_create(thread, NULL, read_for_long, reader), 0);
    pthread_barrier_wait(&reader->inside);
}

static void end_reader(struct reader *reader, pthread_t thread)
{
    pthread_barrier_wait(&reader->leave);
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&reader->inside);
    pthread_barrier_destroy(&reader->leave);
}

static void keeps_what_a_section_may_see(int nested)
{
    atomic_int released = 0;
    struct reclaim *reclaim;
    struct reader reader;
    pthread_t thread;
    assert_int_equal(reclaim_open(true, &reclaim), STATUS_OK);
    start_reader(&reader, reclaim, nested, &thread);
    retire_one(reclaim, &released);
    usleep(20000); /* a wrong free needs some time to happen; a right one never does */
    assert_int_equal(released, 0);
    end_reader(&reader, thread);
    assert_true(all_freed(reclaim));
    reclaim_close(reclaim);
}

static void a_section_keeps_what_it_may_see(void **state)
{
    (void)state;
    keeps_what_a_section_may_see(1);
}

static void a_nested_section_ends_with_the_outer_one(void **state)
{
    (void)state;
    keeps_what_a_section_may_see(3);
}

/* ---- a reader who comes while a grace period passes ---- */

/* In front of the C library's: called between two looks at readers who hold a period up. */
static void (*between_looks)(void);

int usleep(useconds_t us)
{
    if (between_looks != NULL)
        between_looks();
    return nanosleep(&(struct timespec){.tv_nsec = (long)us * 1000}, NULL);
}

static struct {
    struct reclaim *reclaim;
    struct reader early, late;
    pthread_t early_thread, late_thread;
    atomic_int released_late;
} passing;

/* The late one may see what is retired only then; the early one held the period up. */
static void one_comes_and_one_leaves(void)
{
    between_looks = NULL;
    start_reader(&passing.late, passing.reclaim, 1, &passing.late_thread);
    retire_one(passing.reclaim, &passing.released_late);
    end_reader(&passing.early, passing.early_thread);
}

static void what_is_retired_during_a_grace_period_waits_for_the_next(void **state)
{
    (void)state;
    atomic_int released = 0;
    assert_int_equal(reclaim_open(false, &passing.reclaim), STATUS_OK);
    start_reader(&passing.early, passing.reclaim, 1, &passing.early_thread);
    retire_one(passing.reclaim, &released);
    between_looks = one_comes_and_one_leaves;
    reclaim_run(passing.reclaim);
    assert_null(between_looks);
    assert_int_equal(released, 1);
    assert_int_equal(passing.released_late, 0);
    end_reader(&passing.late, passing.late_thread);
    reclaim_run(passing.reclaim);
    assert_int_equal(passing.released_late, 1);
    reclaim_close(passing.reclaim);
}

/* ---- threads that come and go ---- */

static void *read_once(void *context)
{
    reclaim_enter(context);
    reclaim_leave(context);
    return NULL;
}

static void threads_come_and_go(void **state)
{
    (void)state;
    atomic_int released = 0;
    struct reclaim *reclaim;
    assert_int_equal(reclaim_open(true, &reclaim), STATUS_OK);
    for (int i = 0; i < 1000; i++) {
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, read_once, reclaim), 0);
        pthread_join(thread, NULL);
    }
    retire_one(reclaim, &released);
    assert_true(all_freed(reclaim));
    reclaim_close(reclaim);
}

static void two_at_once_have_nothing_in_common(void **state)
{
    (void)state;
    atomic_int released = 0;
    struct reclaim *first, *second;
    assert_int_equal(reclaim_open(false, &first), STATUS_OK);
    assert_int_equal(reclaim_open(false, &second), STATUS_OK);
    retire_one(first, &released);
    reclaim_enter(second);
    reclaim_run(first); /* would not return if it waited for the other's section */
    reclaim_leave(second);
    assert_int_equal(released, 1);
    reclaim_close(first);
    reclaim_close(second);
}

/* ---- retiring from many threads ---- */

enum { RETIRERS = 4, ROUNDS = 3000 };

struct retirer {
    struct reclaim *reclaim;
    atomic_int *released;
};

static void *retire_many(void *context)
{
    struct retirer *retirer = context;
    for (int i = 0; i < ROUNDS; i++) {
        retire_one(retirer->reclaim, retirer->released);
        if (i % 16 == 0)
            sched_yield();
    }
    return NULL;
}

static void no_retirement_is_forgotten(void **state)
{
    (void)state;
    atomic_int released = 0;
    struct retirer retirer = {.released = &released};
    assert_int_equal(reclaim_open(true, &retirer.reclaim), STATUS_OK);
    for (int round = 0; round < 10; round++) {
        pthread_t threads[RETIRERS];
        for (int i = 0; i < RETIRERS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, retire_many, &retirer), 0);
        for (int i = 0; i < RETIRERS; i++)
            pthread_join(threads[i], NULL);
        assert_true(all_freed(retirer.reclaim));
        assert_int_equal(released, (round + 1) * RETIRERS * ROUNDS);
    }
    reclaim_close(retirer.reclaim);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("frees what nobody can see", frees_what_nobody_can_see),
        TEST("close frees the rest", close_frees_the_rest),
        TEST("the thread frees unasked", the_thread_frees_unasked),
        TEST("a section keeps what it may see", a_section_keeps_what_it_may_see),
        TEST("a nested section ends with the outer one", a_nested_section_ends_with_the_outer_one),
        TEST("threads come and go", threads_come_and_go),
        TEST("what is retired during a grace period waits for the next",
             what_is_retired_during_a_grace_period_waits_for_the_next),
        TEST("two at once have nothing in common", two_at_once_have_nothing_in_common),
        TEST("no retirement is forgotten", no_retirement_is_forgotten),
    };
    return test_main(argc, argv, "reclaim", tests);
}
