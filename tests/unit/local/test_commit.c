/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way in for writes. The disk's syncs are held where a test needs a leader that is busy, so
 * that who waits, who leads and who leaves does not depend on the machine's speed.
 */
#include <pthread.h>
#include <unistd.h>

#include "../../lib/held_disk.h"
#include "../../lib/parts.h"
#include "../../lib/test.h"

static void open_parts(struct parts *parts)
{
    parts_open(parts, &(struct parts_options){0});
}

/* In front of the C library's, to tell how long a leader waits for others. */
enum { YIELD_US = 100 };
static atomic_int yields;

int sched_yield(void)
{
    atomic_fetch_add(&yields, 1);
    return usleep(YIELD_US);
}

static uint64_t groups(struct parts *parts)
{
    return stats_read(parts->stats, STATS_commit_groups);
}

static uint64_t soon(void)
{
    const struct time_source *time = time_source_system();
    return time->monotonic_ns(time) + 20000000;
}

/* ---- writers in threads of their own ---- */

struct writer {
    struct parts *parts;
    char key[16];
    size_t value_bytes;
    struct engine_context context;
    const struct engine_condition *condition; /* may be NULL */
    enum status status;
    enum engine_outcome outcome;
    uint64_t sequence;
    pthread_t thread;
};

static void *write_one(void *context)
{
    struct writer *writer = context;
    struct engine_operation put =
        parts_put_operation(writer->parts, bytes_of(writer->key), writer->value_bytes, 'v');
    put.conditions = writer->condition;
    put.condition_count = writer->condition != NULL;
    writer->status = parts_commit(writer->parts, &put, 1, &writer->context);
    writer->outcome = put.outcome;
    writer->sequence = put.version.sequence;
    return NULL;
}

static void start(struct writer *writer, struct parts *parts, const char *key, size_t value_bytes)
{
    writer->parts = parts;
    writer->value_bytes = value_bytes;
    snprintf(writer->key, sizeof writer->key, "%s", key);
    if (writer->context.deadline_ns == 0)
        writer->context.deadline_ns = parts_patience().deadline_ns;
    assert_int_equal(pthread_create(&writer->thread, NULL, write_one, writer), 0);
}

static void finish(struct writer *writer, enum status expected)
{
    pthread_join(writer->thread, NULL);
    assert_int_equal(writer->status, expected);
}

/* A leader that stands in its fdatasync until the disk is released. */
static void start_busy_leader(struct writer *writer, struct parts *parts)
{
    held_disk_hold();
    start(writer, parts, "busy", 1);
    held_disk_wait_held();
}

static void wait_until_queued(struct parts *parts, uint32_t count)
{
    while (commit_queued(parts->commit) < count)
        usleep(200);
}

/* Counted as they begin to wait for room in the queue. */
static void wait_until_stalled(struct parts *parts, uint64_t count)
{
    while (stats_read(parts->stats, STATS_write_stalls_queue) < count)
        usleep(200);
}

/* ---- one writer ---- */

static void answers_with_outcome_and_version(void **state)
{
    (void)state;
    struct parts parts;
    open_parts(&parts);
    struct engine_operation put = parts_put_operation(&parts, bytes_of("a"), 3, 'x');
    assert_int_equal(parts_commit(&parts, &put, 1, NULL), STATUS_OK);
    assert_null(put.value); /* the store's now */
    assert_int_equal(put.outcome, ENGINE_CREATED);
    assert_int_equal(put.version.epoch, parts.store.epoch);
    assert_int_equal(put.version.sequence, 1);
    assert_true(parts_has(&parts, "a", "xxx"));
    put = parts_put_operation(&parts, bytes_of("a"), 0, 'x');
    assert_int_equal(parts_commit(&parts, &put, 1, NULL), STATUS_OK);
    assert_int_equal(put.outcome, ENGINE_REPLACED);
    assert_int_equal(put.version.sequence, 2);
    assert_true(parts_has(&parts, "a", ""));
    parts_close(&parts);
}

static void values_of_every_size_are_kept(void **state)
{
    (void)state;
    struct parts parts;
    open_parts(&parts);
    const size_t sizes[] = {0, 1, 65535, 65536, 65537, 1 << 20, 16 << 20};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        assert_int_equal(parts_put_sized(&parts, "a", sizes[i]), STATUS_OK);
        struct engine_item item;
        assert_int_equal(store_get(&parts.store, bytes_of("a"), true, &item), STATUS_OK);
        assert_int_equal(item.value.size, sizes[i]);
        engine_item_done(&item);
    }
    parts_stop(&parts);
    struct failure failure = {0};
    assert_int_equal(parts_recover(&parts, &failure), STATUS_OK);
    assert_int_equal(parts_version(&parts, "a"), COUNT_OF(sizes));
    parts_close(&parts);
}

static void a_refused_batch_names_what_failed(void **state)
{
    (void)state;
    struct parts parts;
    open_parts(&parts);
    assert_int_equal(parts_put(&parts, "a", "1"), STATUS_OK);
    static const struct engine_condition if_absent = {.kind = ENGINE_IF_ABSENT};
    struct engine_operation operations[] = {
        parts_put_operation(&parts, bytes_of("b"), 1, 'x'),
        parts_put_operation(&parts, bytes_of("a"), 1, 'x'),
        {.type = ENGINE_DELETE, .key = bytes_of("c")},
    };
    operations[1].conditions = &if_absent;
    operations[1].condition_count = 1;
    assert_int_equal(parts_commit(&parts, operations, 3, NULL), STATUS_CONFLICT);
    assert_int_equal(operations[0].outcome, ENGINE_CHECKED);
    assert_int_equal(operations[1].outcome, ENGINE_FAILED);
    assert_int_equal(operations[1].version.sequence, 1);
    assert_int_equal(parts_version(&parts, "b"), 0);
    assert_true(parts_has(&parts, "a", "1"));
    parts_close(&parts);
}

static void a_batch_takes_consecutive_sequences(void **state)
{
    (void)state;
    struct parts parts;
    open_parts(&parts);
    assert_int_equal(parts_put(&parts, "a", "1"), STATUS_OK);
    struct engine_operation operations[] = {
        parts_put_operation(&parts, bytes_of("b"), 1, 'x'),
        {.type = ENGINE_DELETE, .key = bytes_of("absent")},
        {.type = ENGINE_CHECK, .key = bytes_of("a")},
        {.type = ENGINE_DELETE, .key = bytes_of("a")},
        parts_put_operation(&parts, bytes_of("c"), 100000, 'x'),
    };
    /* The check and the delete are of one key. */
    assert_int_equal(parts_commit(&parts, operations, 5, NULL), STATUS_INVALID);
    operations[0] = parts_put_operation(&parts, bytes_of("b"), 1, 'x');
    operations[2].key = bytes_of("d");
    operations[4] = parts_put_operation(&parts, bytes_of("c"), 100000, 'x');
    assert_int_equal(parts_commit(&parts, operations, 5, NULL), STATUS_OK);
    assert_int_equal(operations[0].version.sequence, 2);
    assert_int_equal(operations[1].outcome, ENGINE_ABSENT);
    assert_int_equal(operations[3].version.sequence, 3);
    assert_int_equal(operations[3].outcome, ENGINE_DELETED);
    assert_int_equal(operations[4].version.sequence, 4);
    assert_int_equal(store_sequence(&parts.store), 4);
    parts_close(&parts);
}

static void hostile_requests_are_refused(void **state)
{
    (void)state;
    struct parts parts;
    open_parts(&parts);
    char long_key[1026] = "";
    memset(long_key, 'k', 1025);
    struct engine_operation operation = {.type = ENGINE_DELETE, .key = bytes_of("")};
    assert_int_equal(parts_commit(&parts, &operation, 0, NULL), STATUS_INVALID);
    assert_int_equal(parts_commit(&parts, &operation, 1, NULL), STATUS_INVALID);
    operation.key = bytes_of(long_key);
    assert_int_equal(parts_commit(&parts, &operation, 1, NULL), STATUS_INVALID);
    operation.key.size = 1024;
    assert_int_equal(parts_commit(&parts, &operation, 1, NULL), STATUS_OK);
    struct engine_operation values[2] = {
        parts_put_operation(&parts, bytes_of("a"), 8 << 20, 'x'),
        parts_put_operation(&parts, bytes_of("b"), (8 << 20) + 1, 'x'),
    };
    assert_int_equal(parts_commit(&parts, values, 2, NULL), STATUS_TOO_LARGE);
    assert_int_equal(store_sequence(&parts.store), 0);
    parts_close(&parts);
}

static void a_commit_that_fits_no_segment_is_too_large(void **state)
{
    (void)state;
    struct parts parts;
    parts_open(&parts, &(struct parts_options){.segment_bytes = 1 << 20});
    uint64_t largest = journal_payload_bytes_max(parts.journal) / 8 * 8 - record_size(1, 0, 0) + 7;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(parts_put_sized(&parts, "a", largest + 1), STATUS_TOO_LARGE);
        assert_int_equal(parts_put_sized(&parts, "a", largest), STATUS_OK);
    }
    parts_close(&parts);
}

static void the_largest_batch_is_committed_whole(void **state)
{
    (void)state;
    struct parts parts;
    open_parts(&parts);
    static struct engine_operation operations[GROUP_OPERATIONS_MAX + 1];
    static char keys[GROUP_OPERATIONS_MAX + 1][16];
    for (uint32_t i = 0; i <= GROUP_OPERATIONS_MAX; i++) {
        snprintf(keys[i], sizeof keys[i], "key %u", i * 7919 % 10007);
        operations[i] = (struct engine_operation){.type = ENGINE_CHECK, .key = bytes_of(keys[i])};
    }
    parts.limits.batch_operations_max = UINT32_MAX; /* a setting must not overrun the group */
    assert_int_equal(parts_commit(&parts, operations, GROUP_OPERATIONS_MAX + 1, NULL),
                     STATUS_TOO_LARGE);
    for (uint32_t i = 0; i < GROUP_OPERATIONS_MAX; i++)
        operations[i] =
            parts_put_operation(&parts, bytes_of(keys[i]), i % 50 == 0 ? 70000 : i, 'x');
    parts.limits.value_bytes_max = 1 << 30;
    assert_int_equal(parts_commit(&parts, operations, GROUP_OPERATIONS_MAX, NULL), STATUS_OK);
    assert_int_equal(parts.store.keys, GROUP_OPERATIONS_MAX);
    for (uint32_t i = 0; i < GROUP_OPERATIONS_MAX; i++)
        assert_int_equal(parts_version(&parts, keys[i]), i + 1);
    parts_stop(&parts);
    struct failure failure = {0};
    assert_int_equal(parts_recover(&parts, &failure), STATUS_OK);
    assert_int_equal(parts.store.keys, GROUP_OPERATIONS_MAX);
    parts_close(&parts);
}

static void segments_follow_each_other(void **state)
{
    (void)state;
    struct parts parts;
    parts_open(&parts, &(struct parts_options){.segment_bytes = 1 << 20});
    char key[16];
    for (int i = 0; i < 40; i++) {
        snprintf(key, sizeof key, "key %d", i);
        assert_int_equal(parts_put_sized(&parts, key, 200000), STATUS_OK);
    }
    assert_true(journal_figures(parts.journal).segments >= 8);
    parts_stop(&parts);
    struct failure failure = {0};
    assert_int_equal(parts_recover(&parts, &failure), STATUS_OK);
    assert_int_equal(parts.store.keys, 40);
    assert_int_equal(store_sequence(&parts.store), 40);
    parts_close(&parts);
}

static void a_lone_writer_never_waits_for_others(void **state)
{
    (void)state;
    struct parts parts;
    open_parts(&parts);
    atomic_store(&yields, 0);
    for (int i = 0; i < 20; i++)
        assert_int_equal(parts_put(&parts, "a", "1"), STATUS_OK);
    assert_int_equal(groups(&parts), 20);
    assert_int_equal(atomic_load(&yields), 0);
    parts_close(&parts);
}

/* ---- several writers ---- */

enum { CROWD = 30 };

static void those_who_wait_become_one_group(void **state)
{
    (void)state;
    struct parts parts;
    open_parts(&parts);
    struct writer leader = {0}, crowd[CROWD] = {{0}};
    start_busy_leader(&leader, &parts);
    char key[16];
    for (uint32_t i = 0; i < CROWD; i++) {
        snprintf(key, sizeof key, "key %u", i);
        start(&crowd[i], &parts, key, 10);
        wait_until_queued(&parts, i + 1);
    }
    held_disk_release();
    finish(&leader, STATUS_OK);
    for (uint32_t i = 0; i < CROWD; i++) {
        finish(&crowd[i], STATUS_OK);
        assert_int_equal(crowd[i].sequence, i + 2); /* in the order of their coming */
    }
    assert_int_equal(groups(&parts), 2);
    parts_close(&parts);
}

static void a_slow_group_does_not_make_the_next_one_wait_long(void **state)
{
    (void)state;
    struct parts parts;
    open_parts(&parts);
    struct writer leader = {0}, first = {0}, second = {0};
    start_busy_leader(&leader, &parts);
    start(&first, &parts, "first", 10);
    wait_until_queued(&parts, 1);
    start(&second, &parts, "second", 10);
    wait_until_queued(&parts, 2);
    held_disk_release_one();
    held_disk_wait_held();
    usleep(400000); /* a group of two whose quarter is 100 ms */
    held_disk_release();
    finish(&leader, STATUS_OK);
    finish(&first, STATUS_OK);
    finish(&second, STATUS_OK);
    atomic_store(&yields, 0);
    assert_int_equal(parts_put(&parts, "alone", "1"), STATUS_OK);
    assert_true(atomic_load(&yields) <= 2000 / YIELD_US + 1);
    parts_close(&parts);
}

static void a_group_stays_below_its_byte_limit(void **state)
{
    (void)state;
    struct parts parts;
    open_parts(&parts);
    struct writer leader = {0}, crowd[6] = {{0}};
    start_busy_leader(&leader, &parts);
    /* Two fit into 1 MiB, then one alone is larger, then the rest. */
    const size_t sizes[] = {400000, 400000, 400000, 3000000, 10, 10};
    for (uint32_t i = 0; i < 6; i++) {
        start(&crowd[i], &parts, (char[]){(char)('a' + i), 0}, sizes[i]);
        wait_until_queued(&parts, i + 1);
    }
    held_disk_release();
    finish(&leader, STATUS_OK);
    for (uint32_t i = 0; i < 6; i++) {
        finish(&crowd[i], STATUS_OK);
        assert_int_equal(crowd[i].sequence, i + 2);
    }
    assert_int_equal(groups(&parts), 5);
    parts_close(&parts);
}

static void nobody_is_answered_before_the_sync(void **state)
{
    (void)state;
    struct parts parts;
    open_parts(&parts);
    static const struct engine_condition if_absent = {.kind = ENGINE_IF_ABSENT};
    struct writer leader = {0}, first = {.condition = &if_absent}, second = first;
    start_busy_leader(&leader, &parts);
    start(&first, &parts, "a", 1);
    wait_until_queued(&parts, 1);
    start(&second, &parts, "a", 1);
    wait_until_queued(&parts, 2);
    assert_int_equal(parts_version(&parts, "busy"), 0); /* durable before visible */
    held_disk_fail(HELD_SYNC, STATUS_IO);
    held_disk_release();
    finish(&leader, STATUS_UNKNOWN);
    finish(&first, STATUS_READ_ONLY);
    finish(&second, STATUS_READ_ONLY); /* and not CONFLICT with what never happened */
    parts_close(&parts);
}

static void a_member_is_answered_with_its_group(void **state)
{
    (void)state;
    struct parts parts;
    open_parts(&parts);
    struct writer leader = {0}, first = {0}, second = {0};
    start_busy_leader(&leader, &parts);
    start(&first, &parts, "a", 1);
    wait_until_queued(&parts, 1);
    start(&second, &parts, "b", 1);
    wait_until_queued(&parts, 2);
    held_disk_release_one();
    held_disk_wait_held(); /* both are members of the group whose sync this is */
    usleep(20000);         /* a wrong answer needs some time to come; a right one never does */
    held_disk_fail(HELD_SYNC, STATUS_IO);
    held_disk_release();
    finish(&leader, STATUS_OK);
    finish(&first, STATUS_UNKNOWN);
    finish(&second, STATUS_UNKNOWN);
    parts_close(&parts);
}

static void a_deadline_ends_the_wait_in_the_queue(void **state)
{
    (void)state;
    struct parts parts;
    open_parts(&parts);
    struct writer leader = {0}, late = {.context = {.deadline_ns = soon()}};
    start_busy_leader(&leader, &parts);
    start(&late, &parts, "late", 10);
    finish(&late, STATUS_BUSY);
    held_disk_release();
    finish(&leader, STATUS_OK);
    assert_int_equal(parts_version(&parts, "late"), 0);
    assert_int_equal(stats_read(parts.stats, STATS_busy), 1);
    parts_close(&parts);
}

static void a_cancelled_writer_leaves_the_queue(void **state)
{
    (void)state;
    struct parts parts;
    open_parts(&parts);
    struct cancel cancel = {false};
    struct writer leader = {0}, first = {0}, gone = {.context = {.cancel = &cancel}}, last = {0};
    start_busy_leader(&leader, &parts);
    start(&first, &parts, "first", 10);
    wait_until_queued(&parts, 1);
    start(&gone, &parts, "gone", 10);
    wait_until_queued(&parts, 2);
    start(&last, &parts, "last", 10);
    wait_until_queued(&parts, 3);
    cancel_fire(&cancel);
    finish(&gone, STATUS_CANCELLED);
    held_disk_release();
    finish(&leader, STATUS_OK);
    finish(&first, STATUS_OK);
    finish(&last, STATUS_OK);
    assert_int_equal(parts_version(&parts, "gone"), 0);
    assert_int_equal(first.sequence, 2);
    assert_int_equal(last.sequence, 3);
    parts_close(&parts);
}

static void a_gathered_writer_stays_to_the_end(void **state)
{
    (void)state;
    struct parts parts;
    open_parts(&parts);
    struct cancel cancel = {false};
    struct writer first = {0}, leader = {0}, member = {.context = {.cancel = &cancel}};
    start_busy_leader(&first, &parts);
    start(&leader, &parts, "leader", 10);
    wait_until_queued(&parts, 1);
    start(&member, &parts, "member", 10);
    wait_until_queued(&parts, 2);
    held_disk_release_one();
    held_disk_wait_held(); /* leader and member are one group now, and it is being synced */
    cancel_fire(&cancel);
    usleep(120000); /* longer than the interval at which a fired cancel is seen */
    held_disk_release();
    finish(&first, STATUS_OK);
    finish(&leader, STATUS_OK);
    finish(&member, STATUS_OK);
    assert_true(parts_version(&parts, "member") != 0);
    parts_close(&parts);
}

/* The queue is full of one large request; a small one waits for room until its deadline. */
static void a_deadline_ends_the_wait_for_room(void **state)
{
    (void)state;
    struct parts parts;
    parts_open(&parts, &(struct parts_options){.queue_bytes_max = 1000});
    struct cancel cancel = {false};
    struct writer leader = {0}, large = {0}, late = {.context = {.deadline_ns = soon()}};
    struct writer gone = {.context = {.cancel = &cancel}}, patient = {0};
    start_busy_leader(&leader, &parts);
    start(&large, &parts, "large", 5000); /* alone it may wait, though larger than the room */
    wait_until_queued(&parts, 1);
    start(&late, &parts, "late", 10);
    finish(&late, STATUS_BUSY);
    uint64_t stalls = stats_read(parts.stats, STATS_write_stalls_queue);
    start(&gone, &parts, "gone", 10);
    start(&patient, &parts, "patient", 10);
    wait_until_stalled(&parts, stalls + 2);
    cancel_fire(&cancel);
    finish(&gone, STATUS_CANCELLED);
    held_disk_release();
    finish(&leader, STATUS_OK);
    finish(&large, STATUS_OK);
    finish(&patient, STATUS_OK);
    assert_int_equal(stats_read(parts.stats, STATS_write_stalls_queue), stalls + 2);
    assert_int_equal(stats_read(parts.stats, STATS_write_stalls_memtables), 0);
    parts_close(&parts);
}

static void a_mark_waits_for_nobody_and_blocks_nobody(void **state)
{
    (void)state;
    struct parts parts;
    parts_open(&parts, &(struct parts_options){.no_housekeeping = true});
    assert_int_equal(commit_mark(parts.commit, FRAME_EMPTY), STATUS_OK);
    struct writer leader = {0};
    start_busy_leader(&leader, &parts);
    assert_int_equal(commit_mark(parts.commit, FRAME_EMPTY), STATUS_BUSY);
    held_disk_release();
    finish(&leader, STATUS_OK);
    assert_int_equal(commit_mark(parts.commit, FRAME_CLEAN), STATUS_OK);
    assert_int_equal(parts_put(&parts, "a", "1"), STATUS_OK);
    parts_close(&parts);
}

static void without_memory_a_put_is_refused_and_a_delete_is_not(void **state)
{
    (void)state;
    struct parts parts;
    open_parts(&parts);
    assert_int_equal(parts_put(&parts, "a", "1"), STATUS_OK);
    struct value *value;
    struct budget *budget = &parts.store.budget;
    budget_force(budget, budget->limit);
    assert_int_equal(value_open(budget, bytes_of("b"), bytes_of(""), 1, &value), STATUS_NO_MEMORY);
    assert_int_equal(parts_delete(&parts, "a"), STATUS_OK);
    assert_int_equal(parts_version(&parts, "a"), 0);
    budget_give(budget, budget->limit);
    parts_close(&parts);
}

static void interval_mode_answers_before_the_sync(void **state)
{
    (void)state;
    struct parts parts;
    parts_open(&parts, &(struct parts_options){.lazy = true, .no_housekeeping = true});
    held_disk_hold();
    assert_int_equal(parts_put(&parts, "a", "1"), STATUS_OK);
    assert_true(parts_has(&parts, "a", "1"));
    held_disk_release();
    parts_close(&parts);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("answers with outcome and version", answers_with_outcome_and_version),
        TEST("values of every size are kept", values_of_every_size_are_kept),
        TEST("a refused batch names what failed", a_refused_batch_names_what_failed),
        TEST("a batch takes consecutive sequences", a_batch_takes_consecutive_sequences),
        TEST("hostile requests are refused", hostile_requests_are_refused),
        TEST("a commit that fits no segment is too large",
             a_commit_that_fits_no_segment_is_too_large),
        TEST("the largest batch is committed whole", the_largest_batch_is_committed_whole),
        TEST("segments follow each other", segments_follow_each_other),
        TEST("a lone writer never waits for others", a_lone_writer_never_waits_for_others),
        TEST("those who wait become one group", those_who_wait_become_one_group),
        TEST("a slow group does not make the next one wait long",
             a_slow_group_does_not_make_the_next_one_wait_long),
        TEST("a group stays below its byte limit", a_group_stays_below_its_byte_limit),
        TEST("nobody is answered before the sync", nobody_is_answered_before_the_sync),
        TEST("a member is answered with its group", a_member_is_answered_with_its_group),
        TEST("a deadline ends the wait in the queue", a_deadline_ends_the_wait_in_the_queue),
        TEST("a cancelled writer leaves the queue", a_cancelled_writer_leaves_the_queue),
        TEST("a gathered writer stays to the end", a_gathered_writer_stays_to_the_end),
        TEST("a deadline ends the wait for room", a_deadline_ends_the_wait_for_room),
        TEST("a mark waits for nobody and blocks nobody",
             a_mark_waits_for_nobody_and_blocks_nobody),
        TEST("without memory a put is refused and a delete is not",
             without_memory_a_put_is_refused_and_a_delete_is_not),
        TEST("interval mode answers before the sync", interval_mode_answers_before_the_sync),
    };
    return test_main(argc, argv, "commit", tests);
}
