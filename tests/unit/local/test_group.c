/* SPDX-License-Identifier: Apache-2.0 */
/* Groups whose members the test chooses: judged in order, written as one, applied as one. */
#include "../../lib/held_disk.h"
#include "../../lib/parts.h"
#include "../../lib/test.h"

struct fixture {
    struct parts parts;
    struct group *group;
};

static enum status stay_sealed(void *context)
{
    (void)context;
    return STATUS_READ_ONLY;
}

static void begin(struct fixture *fixture)
{
    parts_open(&fixture->parts, &(struct parts_options){.no_housekeeping = true});
    struct group_options options = {
        .store = &fixture->parts.store,
        .journal = fixture->parts.journal,
        .sync = true,
        .unseal = stay_sealed,
    };
    assert_int_equal(group_open(&options, &fixture->group), STATUS_OK);
}

static void end(struct fixture *fixture)
{
    group_close(fixture->group);
    parts_close(&fixture->parts);
}

/* One member of a group with one operation, prepared as its writer would. */
struct member {
    struct engine_operation operation;
    struct group_write write;
    struct group_request request;
};

static void prepare(struct fixture *fixture, struct member *member)
{
    struct store *store = &fixture->parts.store;
    member->write = (struct group_write){
        .hash = keymap_hash(store->keymap, member->operation.key),
    };
    if (member->operation.type == ENGINE_PUT) {
        member->write.value = value_of_face(member->operation.value);
        value_seal(member->write.value, member->operation.expires_ms);
    }
    if (member->operation.type == ENGINE_PUT || member->operation.type == ENGINE_ADD)
        member->write.spare = entry_pool_take(store->entries, member->operation.key);
    member->request = (struct group_request){
        .operations = &member->operation, .writes = &member->write, .count = 1, .bytes = 1000};
}

static struct member put(struct fixture *fixture, const char *key, const char *value)
{
    struct member member = {
        .operation = parts_put_operation(&fixture->parts, bytes_of(key), strlen(value), value[0])};
    return member;
}

static struct member delete (const char *key)
{
    return (struct member){.operation = {.type = ENGINE_DELETE, .key = bytes_of(key)}};
}

static struct member add(const char *key, int64_t by)
{
    return (struct member){.operation = {.type = ENGINE_ADD, .key = bytes_of(key), .by = by}};
}

static struct member check_only(const char *key)
{
    return (struct member){.operation = {.type = ENGINE_CHECK, .key = bytes_of(key)}};
}

static const struct engine_condition if_absent = {.kind = ENGINE_IF_ABSENT};
static const struct engine_condition if_present = {.kind = ENGINE_IF_PRESENT};

static struct member on(const struct engine_condition *condition, struct member member)
{
    member.operation.conditions = condition;
    member.operation.condition_count = 1;
    return member;
}

/* Runs all as one group and lets go of what each did not use. */
static void run(struct fixture *fixture, struct member *members, uint32_t count)
{
    struct group_request *requests[16] = {NULL};
    for (uint32_t i = 0; i < count; i++) {
        prepare(fixture, &members[i]);
        requests[i] = &members[i].request;
    }
    group_run(fixture->group, requests, count, 0);
    for (uint32_t i = 0; i < count; i++) {
        struct value *value = members[i].write.value;
        bool taken_over = value != NULL && members[i].request.status == STATUS_OK &&
                          members[i].write.record == &value->record;
        if (!taken_over)
            value_close(value);
        entry_pool_give(fixture->parts.store.entries, members[i].write.spare);
    }
}

#define RUN(fixture, members) run(fixture, members, (uint32_t)COUNT_OF(members))

static void check_member(const struct member *member, enum status status,
                         enum engine_outcome outcome, uint64_t sequence)
{
    assert_int_equal(member->request.status, status);
    assert_int_equal(member->operation.outcome, outcome);
    assert_int_equal(member->operation.version.sequence, sequence);
}

static void sees_what_earlier_members_did(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    struct member members[] = {
        on(&if_absent, put(&fixture, "a", "1")), on(&if_absent, put(&fixture, "a", "2")),
        on(&if_present, delete ("a")),           on(&if_absent, put(&fixture, "a", "3")),
        on(&if_present, check_only("a")),        put(&fixture, "a", "4"),
    };
    RUN(&fixture, members);
    check_member(&members[0], STATUS_OK, ENGINE_CREATED, 1);
    check_member(&members[1], STATUS_CONFLICT, ENGINE_FAILED,
                 1); /* the version that stood in its way */
    check_member(&members[2], STATUS_OK, ENGINE_DELETED, 2);
    check_member(&members[3], STATUS_OK, ENGINE_CREATED, 3);
    check_member(&members[4], STATUS_OK, ENGINE_CHECKED, 3);
    check_member(&members[5], STATUS_OK, ENGINE_REPLACED, 4);
    assert_true(parts_has(&fixture.parts, "a", "4"));
    assert_int_equal(store_sequence(&fixture.parts.store), 4);
    assert_int_equal(fixture.parts.store.keys, 1);
    end(&fixture);
}

static void additions_count_on_from_earlier_members(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    struct member before[] = {put(&fixture, "b", "4")};
    RUN(&fixture, before);
    struct member members[] = {
        add("a", 1),
        add("a", 1),
        put(&fixture, "a", "7"),
        add("a", 1),
        add("b", -5),
        add("b", INT64_MIN),
        delete ("a"),
        add("a", INT64_MIN),
        add("b", 3),
        put(&fixture, "b", "x"),
        add("b", 1),
    };
    RUN(&fixture, members);
    check_member(&members[0], STATUS_OK, ENGINE_CREATED, 2);
    check_member(&members[1], STATUS_OK, ENGINE_REPLACED, 3);
    check_member(&members[3], STATUS_OK, ENGINE_REPLACED, 5);
    check_member(&members[4], STATUS_OK, ENGINE_REPLACED, 6);
    check_member(&members[5], STATUS_NOT_A_NUMBER, ENGINE_FAILED, 6);
    check_member(&members[7], STATUS_OK, ENGINE_CREATED, 8);
    check_member(&members[8], STATUS_OK, ENGINE_REPLACED, 9);
    check_member(&members[10], STATUS_NOT_A_NUMBER, ENGINE_FAILED, 10);
    const struct {
        int member;
        int64_t number;
    } numbers[] = {{0, 1}, {1, 2}, {3, 8}, {4, -1}, {7, INT64_MIN}, {8, 2}};
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        assert_int_equal(members[numbers[i].member].operation.number, numbers[i].number);
    assert_true(parts_has(&fixture.parts, "a", "-9223372036854775808"));
    assert_true(parts_has(&fixture.parts, "b", "x"));
    end(&fixture);
}

static void an_addition_to_what_a_failed_write_held_counts_on_from_before(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    struct member before[] = {add("a", 5)};
    RUN(&fixture, before);
    held_disk_fail(HELD_SYNC, STATUS_IO);
    struct member members[] = {add("a", 1), add("a", 1), add("fresh", 1)};
    RUN(&fixture, members);
    for (size_t i = 0; i < COUNT_OF(members); i++)
        assert_int_equal(members[i].request.status, STATUS_UNKNOWN);
    assert_true(parts_has(&fixture.parts, "a", "5"));
    assert_int_equal(parts_version(&fixture.parts, "fresh"), 0);
    end(&fixture);
}

static void a_group_is_one_frame_and_one_sync(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    struct member members[] = {put(&fixture, "a", "1"), put(&fixture, "b", "2"), delete ("a")};
    uint64_t writes = held_disk_count(HELD_WRITE), syncs = held_disk_count(HELD_SYNC);
    RUN(&fixture, members);
    assert_int_equal(held_disk_count(HELD_WRITE), writes + 1);
    assert_int_equal(held_disk_count(HELD_SYNC), syncs + 1);
    end(&fixture);
}

static void what_changes_nothing_writes_nothing(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    struct member members[] = {delete ("absent"), check_only("absent"),
                               on(&if_present, put(&fixture, "absent", "1"))};
    uint64_t writes = held_disk_count(HELD_WRITE);
    RUN(&fixture, members);
    check_member(&members[0], STATUS_OK, ENGINE_ABSENT, 0);
    check_member(&members[1], STATUS_OK, ENGINE_CHECKED, 0);
    check_member(&members[2], STATUS_CONFLICT, ENGINE_FAILED, 0);
    assert_int_equal(held_disk_count(HELD_WRITE), writes);
    assert_int_equal(store_sequence(&fixture.parts.store), 0);
    end(&fixture);
}

static void a_value_dead_on_arrival_is_absent_to_the_group(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    struct member members[] = {put(&fixture, "a", "1"), on(&if_absent, put(&fixture, "a", "2"))};
    members[0].operation.expires_ms = 1; /* long ago, as a reader in the next group sees it */
    RUN(&fixture, members);
    check_member(&members[1], STATUS_OK, ENGINE_CREATED, 2);
    end(&fixture);
}

static void a_failed_sync_applies_nothing(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    struct member before[] = {put(&fixture, "a", "1")};
    RUN(&fixture, before);
    struct member members[] = {put(&fixture, "a", "2"), put(&fixture, "b", "2"),
                               on(&if_present, check_only("b")), /* judged on what never happened */
                               on(&if_absent, put(&fixture, "a", "3"))};
    held_disk_fail(HELD_SYNC, STATUS_IO);
    RUN(&fixture, members);
    assert_int_equal(members[0].request.status, STATUS_UNKNOWN);
    assert_int_equal(members[1].request.status, STATUS_UNKNOWN);
    assert_int_equal(members[2].request.status, STATUS_UNAVAILABLE);
    assert_int_equal(members[3].request.status, STATUS_UNAVAILABLE);
    assert_true(parts_has(&fixture.parts, "a", "1"));
    assert_int_equal(parts_version(&fixture.parts, "b"), 0);
    assert_int_equal(store_sequence(&fixture.parts.store), 1);
    held_disk_fail(HELD_SYNC, STATUS_OK); /* the failed one is never believed again */
    struct member after[] = {put(&fixture, "a", "4")};
    RUN(&fixture, after);
    assert_int_equal(after[0].request.status, STATUS_READ_ONLY);
    end(&fixture);
}

static void a_failed_write_applies_nothing(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    held_disk_fail(HELD_WRITE, STATUS_NO_SPACE);
    struct member members[] = {put(&fixture, "a", "2")};
    RUN(&fixture, members);
    assert_int_equal(members[0].request.status, STATUS_UNKNOWN);
    assert_int_equal(parts_version(&fixture.parts, "a"), 0);
    assert_true(journal_is_sealed(fixture.parts.journal));
    end(&fixture);
}

static void without_a_next_segment_it_is_busy_and_changes_nothing(void **state)
{
    (void)state;
    struct fixture fixture;
    begin(&fixture);
    struct member members[] = {put(&fixture, "a", "1")};
    prepare(&fixture, &members[0]);
    members[0].request.bytes = journal_room(fixture.parts.journal) + 1;
    struct group_request *requests[] = {&members[0].request};
    group_run(fixture.group, requests, 1, 0);
    assert_int_equal(members[0].request.status, STATUS_BUSY);
    assert_int_equal(journal_prepare(fixture.parts.journal), STATUS_OK);
    group_run(fixture.group, requests, 1, 0);
    assert_int_equal(members[0].request.status, STATUS_OK);
    value_close(members[0].write.value);
    assert_true(parts_has(&fixture.parts, "a", "1"));
    end(&fixture);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("sees what earlier members did", sees_what_earlier_members_did),
        TEST("additions count on from earlier members", additions_count_on_from_earlier_members),
        TEST("an addition to what a failed write held counts on from before",
             an_addition_to_what_a_failed_write_held_counts_on_from_before),
        TEST("a group is one frame and one sync", a_group_is_one_frame_and_one_sync),
        TEST("what changes nothing writes nothing", what_changes_nothing_writes_nothing),
        TEST("a value dead on arrival is absent to the group",
             a_value_dead_on_arrival_is_absent_to_the_group),
        TEST("a failed sync applies nothing", a_failed_sync_applies_nothing),
        TEST("a failed write applies nothing", a_failed_write_applies_nothing),
        TEST("without a next segment it is busy and changes nothing",
             without_a_next_segment_it_is_busy_and_changes_nothing),
    };
    return test_main(argc, argv, "group", tests);
}
