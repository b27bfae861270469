/* SPDX-License-Identifier: Apache-2.0 */
/* The earliest comes first, whatever came, went and in which order. */
#include "../../../engine/memory/memory.h"
#include "../../lib/test.h"
#include "../../lib/threads.h"

enum { VERSIONS = 200, STEPS = 20000 };

static void check(const struct expiries *expiries, const struct version *versions)
{
    int64_t earliest = INT64_MAX;
    size_t count = 0;
    for (size_t i = 0; i < VERSIONS; i++) {
        if (versions[i].expiry_place == 0)
            continue;
        count++;
        assert_ptr_equal(expiries->heap[versions[i].expiry_place - 1], &versions[i]);
        if (versions[i].expires_ms < earliest)
            earliest = versions[i].expires_ms;
    }
    const struct version *first = expiries_first_locked(expiries);
    assert_int_equal(expiries->count, count);
    assert_true(count == 0 ? first == NULL : first->expires_ms == earliest);
}

static void the_earliest_comes_first(void **state)
{
    (void)state;
    static struct version versions[VERSIONS];
    struct expiries expiries = {0};
    uint64_t random = 5;
    for (int step = 0; step < STEPS; step++) {
        struct version *version = &versions[threads_random(&random) % VERSIONS];
        if (version->expiry_place != 0) {
            expiries_remove_locked(&expiries, version);
            assert_int_equal(version->expiry_place, 0);
        } else {
            version->expires_ms = (int64_t)(threads_random(&random) % 50);
            assert_int_equal(expiries_reserve_locked(&expiries, 1), STATUS_OK);
            expiries_add_locked(&expiries, version);
        }
        check(&expiries, versions);
    }
    expiries_done(&expiries);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("the earliest comes first", the_earliest_comes_first),
    };
    return test_main(argc, argv, "expiries", tests);
}
