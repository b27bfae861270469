/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Large values replaced while replies still send them: a value lives until its last reply is gone,
 * whichever thread lets go of it, and its memory is then given back.
 */
#include <stdatomic.h>

#include "../../engine/local/reclaim.h"
#include "../../engine/local/value.h"
#include "../lib/test.h"
#include "../lib/threads.h"

enum {
    PLACES = 8,
    REPLACEMENTS = 3000,
    READERS = 3,
    HELD = 16, /* replies that a reader sends at a time */
    REPLIES_MIN = 100,
    SIZE = VALUE_LARGE_BYTES + 1,
};

/* A value in its place, until the grace period after its replacement. */
struct placed {
    struct retired retired;
    struct value *value;
};

static struct {
    struct budget budget;
    struct reclaim *reclaim;
    _Atomic(struct placed *) places[PLACES];
    atomic_bool done;
    _Atomic uint64_t replies;
} shared;

static void release_placed(struct retired *retired)
{
    struct placed *placed = (struct placed *)retired;
    value_retire(placed->value);
    free(placed);
}

static struct placed *place_value(uint64_t sequence)
{
    struct placed *placed = malloc(sizeof *placed);
    *placed = (struct placed){.retired = {.release = release_placed, .bytes = SIZE}};
    THREAD_ASSERT(value_open(&shared.budget, (struct bytes){"key", 3}, (struct bytes){NULL, 0},
                             SIZE, &placed->value) == STATUS_OK);
    memset(placed->value->face.data, (int)(sequence % 251), SIZE);
    placed->value->face.size = SIZE;
    value_seal(placed->value, 0);
    record_seal_head(&placed->value->record, sequence, 0);
    return placed;
}

static void *replace(void *context)
{
    (void)context;
    uint64_t state = 1;
    for (uint64_t i = PLACES; i < REPLACEMENTS; i++) {
        struct placed *before =
            atomic_exchange(&shared.places[threads_random(&state) % PLACES], place_value(i));
        reclaim_retire(shared.reclaim, &before->retired);
    }
    atomic_store(&shared.done, true);
    return NULL;
}

static void send(struct engine_item *item)
{
    if (item->value.data == NULL)
        return;
    const unsigned char *bytes = item->value.data;
    for (size_t i = 0; i < item->value.size; i += 1021)
        THREAD_ASSERT(bytes[i] == item->version.sequence % 251);
    engine_item_done(item);
    atomic_fetch_add(&shared.replies, 1);
}

static void *reply(void *context)
{
    uint64_t state = (uint64_t)(uintptr_t)context + 10;
    struct engine_item held[HELD] = {{.value = {NULL, 0}}};
    for (int i = 0; i < REPLIES_MIN || !atomic_load(&shared.done); i++) {
        struct engine_item *item = &held[threads_random(&state) % HELD];
        send(item);
        reclaim_enter(shared.reclaim);
        struct placed *placed = atomic_load(&shared.places[threads_random(&state) % PLACES]);
        enum status status = value_reply(&shared.budget, &placed->value->record, 1, true, item);
        reclaim_leave(shared.reclaim);
        THREAD_ASSERT(status == STATUS_OK);
    }
    for (size_t i = 0; i < HELD; i++)
        send(&held[i]);
    return NULL;
}

static void a_value_outlives_its_replacement_while_it_is_sent(void **state)
{
    (void)state;
    shared.budget.limit = UINT64_MAX;
    assert_int_equal(reclaim_open(true, &shared.reclaim), STATUS_OK);
    for (uint64_t i = 0; i < PLACES; i++)
        atomic_store(&shared.places[i], place_value(i));
    struct threads threads = {.count = 0};
    threads_start(&threads, replace, NULL);
    for (uint64_t i = 0; i < READERS; i++)
        threads_start(&threads, reply, (void *)(uintptr_t)i);
    threads_join(&threads);
    for (uint64_t i = 0; i < PLACES; i++)
        reclaim_retire(shared.reclaim, &atomic_load(&shared.places[i])->retired);
    reclaim_close(shared.reclaim);
    assert_int_equal(budget_used(&shared.budget), 0);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("a value outlives its replacement while it is sent",
             a_value_outlives_its_replacement_while_it_is_sent),
    };
    return test_main(argc, argv, "pinned", tests);
}
