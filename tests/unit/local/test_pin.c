/* SPDX-License-Identifier: Apache-2.0 */
/* One word that keeps an object alive: whoever brings it to {0, RETIRED} frees, once. */
#include <pthread.h>

#include "../../../engine/local/pin.h"
#include "../../lib/test.h"

static void the_last_user_of_a_retired_object_frees(void **state)
{
    (void)state;
    struct pin pin = {0};
    pin_take(&pin);
    pin_take(&pin);
    assert_false(pin_retire(&pin));
    assert_false(pin_drop(&pin));
    assert_true(pin_drop(&pin));
}

static void the_owner_of_an_unused_object_frees(void **state)
{
    (void)state;
    struct pin pin = {0};
    pin_take(&pin);
    assert_false(pin_drop(&pin));
    assert_true(pin_retire(&pin));
}

enum { THREADS = 4, ROUNDS = 20000 };

static struct {
    pthread_barrier_t barrier;
    struct pin pin;
    int *object;
    atomic_int freed;
} shared;

static void release(bool last)
{
    if (last) {
        free(shared.object); /* a second one would be seen by the allocator or a sanitizer */
        atomic_fetch_add(&shared.freed, 1);
    }
}

static void *use(void *context)
{
    (void)context;
    for (int i = 0; i < ROUNDS; i++) {
        pthread_barrier_wait(&shared.barrier); /* the object is there, pinned for each user */
        assert(*shared.object == i);
        release(pin_drop(&shared.pin));
        pthread_barrier_wait(&shared.barrier);
    }
    return NULL;
}

static void is_freed_once_when_all_let_go_at_once(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    pthread_barrier_init(&shared.barrier, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use, NULL), 0);
    for (int i = 0; i < ROUNDS; i++) {
        shared.object = malloc(sizeof *shared.object);
        *shared.object = i;
        atomic_init(&shared.pin.word, 0);
        for (int j = 0; j < THREADS; j++)
            pin_take(&shared.pin);
        pthread_barrier_wait(&shared.barrier);
        release(pin_retire(&shared.pin));
        pthread_barrier_wait(&shared.barrier);
        assert_int_equal(atomic_load(&shared.freed), i + 1);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&shared.barrier);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("the last user of a retired object frees", the_last_user_of_a_retired_object_frees),
        TEST("the owner of an unused object frees", the_owner_of_an_unused_object_frees),
        TEST("is freed once when all let go at once", is_freed_once_when_all_let_go_at_once),
    };
    return test_main(argc, argv, "pin", tests);
}
