/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many writers through one commit queue. Whatever they race with, an answer tells the truth: OK is
 * applied once, everything else is not; and a restart finds the same.
 */
#include <stdatomic.h>
#include <unistd.h>

#include "../lib/parts.h"
#include "../lib/test.h"
#include "../lib/threads.h"

enum { WRITERS = 8, COUNTERS = 3, INCREMENTS = 300 };

static struct {
    struct parts parts;
    _Atomic uint64_t applied, refused, given_up;
    _Atomic uint64_t next_writer;
    atomic_bool done;
} shared;

static void begin(const struct parts_options *options)
{
    memset(&shared, 0, sizeof shared);
    parts_open(&shared.parts, options);
}

static struct bytes counter_key(uint64_t number)
{
    static const char *const keys[COUNTERS] = {"counter 0", "counter 1", "counter 2"};
    return bytes_of(keys[number]);
}

/* The counter's value and version, both 0 when it is absent. */
static uint64_t read_counter(struct bytes key, struct engine_version *out_version)
{
    struct engine_item item;
    enum status status = store_get(&shared.parts.store, key, true, &item);
    *out_version = (struct engine_version){0, 0};
    if (status == STATUS_NOT_FOUND)
        return 0;
    THREAD_ASSERT(status == STATUS_OK && item.value.size == sizeof(uint64_t));
    uint64_t count;
    memcpy(&count, item.value.data, sizeof count);
    *out_version = item.version;
    engine_item_done(&item);
    return count;
}

static enum status write_counter(struct bytes key, uint64_t count, struct engine_version version,
                                 const struct engine_context *context)
{
    struct engine_condition condition = {.kind = ENGINE_IF_ABSENT};
    if (version.sequence != 0)
        condition = (struct engine_condition){ENGINE_IF_ONE_OF, &version, 1};
    struct engine_operation put = parts_put_operation(&shared.parts, key, sizeof count, 0);
    memcpy(put.value->data, &count, sizeof count);
    put.conditions = &condition;
    put.condition_count = 1;
    enum status status = parts_commit(&shared.parts, &put, 1, context);
    if (status == STATUS_CONFLICT) /* it is told the version that stood in its way, a later one */
        THREAD_ASSERT(put.version.sequence > version.sequence);
    return status;
}

static bool increment(uint64_t number, const struct engine_context *context)
{
    struct engine_version version;
    struct bytes key = counter_key(number);
    uint64_t count = read_counter(key, &version);
    enum status status = write_counter(key, count + 1, version, context);
    THREAD_ASSERT(status == STATUS_OK || status == STATUS_CONFLICT || status == STATUS_BUSY ||
                  status == STATUS_CANCELLED);
    if (status == STATUS_OK)
        atomic_fetch_add(&shared.applied, 1);
    else if (status == STATUS_CONFLICT)
        atomic_fetch_add(&shared.refused, 1);
    else
        atomic_fetch_add(&shared.given_up, 1);
    return status == STATUS_OK;
}

static void check_counters(void)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < COUNTERS; i++) {
        struct engine_version version;
        sum += read_counter(counter_key(i), &version);
    }
    assert_int_equal(sum, shared.applied);
    assert_int_equal(store_sequence(&shared.parts.store), shared.applied); /* gapless */
}

static void check_counters_again_after_a_restart(void)
{
    struct failure failure = {0};
    check_counters();
    parts_stop(&shared.parts);
    assert_int_equal(parts_recover(&shared.parts, &failure), STATUS_OK);
    check_counters();
    parts_close(&shared.parts);
}

/* ---- patient writers ---- */

static void *count_patiently(void *context)
{
    (void)context;
    uint64_t state = atomic_fetch_add(&shared.next_writer, 1) + 1;
    for (int i = 0; i < INCREMENTS; i++) {
        uint64_t number = threads_random(&state) % COUNTERS;
        while (!increment(number, NULL))
            continue;
    }
    return NULL;
}

static void no_increment_is_lost(void **state)
{
    (void)state;
    begin(&(struct parts_options){.segment_bytes = 256 << 10}); /* and segments change meanwhile */
    struct threads threads = {.count = 0};
    for (int i = 0; i < WRITERS; i++)
        threads_start(&threads, count_patiently, NULL);
    threads_join(&threads);
    assert_int_equal(shared.applied, WRITERS * INCREMENTS);
    assert_int_equal(shared.given_up, 0);
    check_counters_again_after_a_restart();
}

static void no_increment_is_lost_in_interval_mode(void **state)
{
    (void)state;
    begin(&(struct parts_options){.lazy = true, .segment_bytes = 128 << 10});
    struct threads threads = {.count = 0};
    for (int i = 0; i < WRITERS; i++)
        threads_start(&threads, count_patiently, NULL);
    threads_join(&threads);
    assert_int_equal(shared.applied, WRITERS * INCREMENTS);
    check_counters_again_after_a_restart();
}

/* ---- writers that give up ---- */

enum { ATTEMPTS = 600 };

/* Where each writer's present cancel is, for the thread that fires them. */
static _Atomic(struct cancel *) cancels[WRITERS];

static void *count_impatiently(void *context)
{
    (void)context;
    uint64_t writer = atomic_fetch_add(&shared.next_writer, 1), state = writer + 1;
    const struct time_source *time = time_source_system();
    static struct cancel all[WRITERS];
    for (int i = 0; i < ATTEMPTS; i++) {
        struct cancel *cancel = &all[writer];
        atomic_store(&cancel->fired, false);
        atomic_store(&cancels[writer], cancel);
        uint64_t patience_ns = threads_random(&state) % 3 == 0 ? 1000000000 /* may be cancelled */
                                                               : threads_random(&state) % 2000000;
        struct engine_context impatience = {time->monotonic_ns(time) + patience_ns, cancel};
        increment(threads_random(&state) % COUNTERS, &impatience);
        atomic_store(&cancels[writer], NULL);
    }
    return NULL;
}

static void *fire_cancels(void *context)
{
    (void)context;
    uint64_t state = 77;
    while (!atomic_load(&shared.done)) {
        struct cancel *cancel = atomic_load(&cancels[threads_random(&state) % WRITERS]);
        if (cancel != NULL)
            cancel_fire(cancel);
        usleep(100);
    }
    return NULL;
}

/* Large values keep leaders busy and the room full. */
static void *fill_the_queue(void *context)
{
    (void)context;
    uint64_t number = 0;
    while (!atomic_load(&shared.done)) {
        char key[32];
        snprintf(key, sizeof key, "large %llu", (unsigned long long)number++ % 5);
        struct engine_context patience = parts_patience();
        static const struct engine_condition never = {.kind = ENGINE_IF_PRESENT};
        struct engine_operation put =
            parts_put_operation(&shared.parts, bytes_of(key), 300000, 'x');
        put.conditions = &never;
        put.condition_count = 1;
        THREAD_ASSERT(parts_commit(&shared.parts, &put, 1, &patience) == STATUS_CONFLICT);
    }
    return NULL;
}

static void who_gave_up_changed_nothing(void **state)
{
    (void)state;
    begin(&(struct parts_options){.segment_bytes = 2 << 20, .queue_bytes_max = 1000});
    struct threads counting = {.count = 0}, disturbing = {.count = 0};
    for (int i = 0; i < WRITERS; i++)
        threads_start(&counting, count_impatiently, NULL);
    threads_start(&disturbing, fire_cancels, NULL);
    for (int i = 0; i < 3; i++)
        threads_start(&disturbing, fill_the_queue, NULL);
    threads_join(&counting);
    atomic_store(&shared.done, true);
    threads_join(&disturbing);
    assert_int_equal(shared.applied + shared.refused + shared.given_up, WRITERS * ATTEMPTS);
    check_counters_again_after_a_restart();
}

/* ---- batches ---- */

enum { ACCOUNTS = 6, TRANSFERS = 200, DEPOSIT = 1000 };

static const char *account_key(uint64_t number)
{
    static const char *const keys[ACCOUNTS] = {"a", "b", "c", "d", "e", "f"};
    return keys[number];
}

static struct engine_operation balance_operation(uint64_t account, uint64_t balance,
                                                 const struct engine_condition *condition)
{
    struct engine_operation put =
        parts_put_operation(&shared.parts, bytes_of(account_key(account)), sizeof balance, 0);
    memcpy(put.value->data, &balance, sizeof balance);
    put.conditions = condition;
    put.condition_count = 1;
    return put;
}

static bool transfer(uint64_t from, uint64_t to, uint64_t amount)
{
    struct engine_version versions[2];
    uint64_t rich = read_counter(bytes_of(account_key(from)), &versions[0]);
    uint64_t poor = read_counter(bytes_of(account_key(to)), &versions[1]);
    if (rich < amount)
        return true;
    const struct engine_condition unchanged[2] = {{ENGINE_IF_ONE_OF, &versions[0], 1},
                                                  {ENGINE_IF_ONE_OF, &versions[1], 1}};
    struct engine_operation operations[2] = {
        balance_operation(from, rich - amount, &unchanged[0]),
        balance_operation(to, poor + amount, &unchanged[1]),
    };
    enum status status = parts_commit(&shared.parts, operations, 2, NULL);
    THREAD_ASSERT(status == STATUS_OK || status == STATUS_CONFLICT);
    return status == STATUS_OK;
}

static void *transfer_often(void *context)
{
    (void)context;
    uint64_t state = atomic_fetch_add(&shared.next_writer, 1) + 1;
    for (int i = 0; i < TRANSFERS; i++) {
        uint64_t from = threads_random(&state) % ACCOUNTS;
        uint64_t to = (from + 1 + threads_random(&state) % (ACCOUNTS - 1)) % ACCOUNTS;
        while (!transfer(from, to, threads_random(&state) % 50))
            continue;
    }
    return NULL;
}

static void check_balances(void)
{
    uint64_t sum = 0;
    for (uint64_t i = 0; i < ACCOUNTS; i++) {
        struct engine_version version;
        sum += read_counter(bytes_of(account_key(i)), &version);
    }
    assert_int_equal(sum, ACCOUNTS * DEPOSIT);
}

static void a_batch_is_all_or_nothing(void **state)
{
    (void)state;
    begin(&(struct parts_options){0});
    static const struct engine_condition absent = {.kind = ENGINE_IF_ABSENT};
    for (uint64_t i = 0; i < ACCOUNTS; i++) {
        struct engine_operation open_account = balance_operation(i, DEPOSIT, &absent);
        assert_int_equal(parts_commit(&shared.parts, &open_account, 1, NULL), STATUS_OK);
    }
    struct threads threads = {.count = 0};
    for (int i = 0; i < WRITERS; i++)
        threads_start(&threads, transfer_often, NULL);
    threads_join(&threads);
    check_balances();
    struct failure failure = {0};
    parts_stop(&shared.parts);
    assert_int_equal(parts_recover(&shared.parts, &failure), STATUS_OK);
    check_balances();
    parts_close(&shared.parts);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("no increment is lost", no_increment_is_lost),
        TEST("no increment is lost in interval mode", no_increment_is_lost_in_interval_mode),
        TEST("who gave up changed nothing", who_gave_up_changed_nothing),
        TEST("a batch is all or nothing", a_batch_is_all_or_nothing),
    };
    return test_main(argc, argv, "writers", tests);
}
