/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes in use against a limit. */
#include <pthread.h>

#include "../../../engine/local/budget.h"
#include "../../lib/test.h"

static void takes_up_to_the_limit_and_no_byte_more(void **state)
{
    (void)state;
    struct budget budget = {.limit = 100};
    assert_true(budget_take(&budget, 60));
    assert_false(budget_take(&budget, 41));
    assert_true(budget_take(&budget, 40));
    assert_false(budget_take(&budget, 1));
    assert_int_equal(budget_used(&budget), 100);
}

static void what_must_happen_goes_over_the_limit(void **state)
{
    (void)state;
    struct budget budget = {.limit = 100};
    budget_force(&budget, 150);
    assert_int_equal(budget_used(&budget), 150);
    assert_false(budget_take(&budget, 0));
    budget_give(&budget, 150);
    assert_true(budget_take(&budget, 100));
}

static void a_hostile_size_is_refused(void **state)
{
    (void)state;
    struct budget budget = {.limit = 100};
    budget_force(&budget, 10);
    assert_false(budget_take(&budget, UINT64_MAX));
    assert_false(budget_take(&budget, UINT64_MAX - 9)); /* 10 more than it is 0 */
    assert_int_equal(budget_used(&budget), 10);
}

enum { ROUNDS = 200000 };

static struct {
    struct budget budget;
    atomic_bool begun, done;
} shared = {.budget = {.limit = 1000}};

static void *ask_too_much(void *context)
{
    (void)context;
    while (!atomic_load(&shared.done)) {
        assert_false(budget_take(&shared.budget, 1001));
        atomic_store(&shared.begun, true);
    }
    return NULL;
}

static void a_refused_taker_stands_in_nobodys_way(void **state)
{
    (void)state;
    pthread_t greedy;
    assert_int_equal(pthread_create(&greedy, NULL, ask_too_much, NULL), 0);
    while (!atomic_load(&shared.begun))
        continue;
    int refused = 0;
    for (int i = 0; i < ROUNDS; i++) {
        if (!budget_take(&shared.budget, 1))
            refused++;
        else
            budget_give(&shared.budget, 1);
    }
    atomic_store(&shared.done, true);
    pthread_join(greedy, NULL);
    assert_int_equal(refused, 0);
    assert_int_equal(budget_used(&shared.budget), 0);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("takes up to the limit and no byte more", takes_up_to_the_limit_and_no_byte_more),
        TEST("what must happen goes over the limit", what_must_happen_goes_over_the_limit),
        TEST("a hostile size is refused", a_hostile_size_is_refused),
        TEST("a refused taker stands in nobody's way", a_refused_taker_stands_in_nobodys_way),
    };
    return test_main(argc, argv, "budget", tests);
}
