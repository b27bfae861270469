/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The judge of histories, judged: by histories known to be good or bad, by thousands of small ones
 * against a search without any cleverness, and by a long one.
 */
#include "../../lib/linear.h"

#include <stdbool.h>

#include "../../lib/test.h"
#include "../../lib/threads.h"

#define SPAN(from, to) .invoked = (from), .answered = (to)
#define PUT(number, ...)                                                                           \
    {                                                                                              \
        .kind = LINEAR_PUT, .version = (number), __VA_ARGS__                                       \
    }
#define DELETE(...)                                                                                \
    {                                                                                              \
        .kind = LINEAR_DELETE, __VA_ARGS__                                                         \
    }
#define FOUND(number, ...)                                                                         \
    {                                                                                              \
        .kind = LINEAR_READ, .outcome = LINEAR_FOUND, .seen = (number), __VA_ARGS__                \
    }
#define MISSED(...)                                                                                \
    {                                                                                              \
        .kind = LINEAR_READ, .outcome = LINEAR_MISSED, __VA_ARGS__                                 \
    }
#define CREATED        .outcome = LINEAR_CREATED
#define REPLACED       .outcome = LINEAR_REPLACED
#define DELETED        .outcome = LINEAR_DELETED
#define UNKNOWN        .outcome = LINEAR_UNKNOWN
#define FAILED(number) .outcome = LINEAR_FAILED, .seen = (number)
#define IF_ABSENT      .condition = LINEAR_IF_ABSENT
#define IF_PRESENT     .condition = LINEAR_IF_PRESENT
#define IF_IS(number)  .condition = LINEAR_IF_IS, .expected = (number)
#define IF_NOT(number) .condition = LINEAR_IF_NOT, .expected = (number)

#define JUDGE(verdict, ...)                                                                        \
    do {                                                                                           \
        struct linear_operation history_[] = {__VA_ARGS__};                                        \
        judge(verdict, history_, sizeof history_ / sizeof history_[0], __LINE__);                  \
    } while (0)
#define GOOD(...) JUDGE(LINEAR_GOOD, __VA_ARGS__)
#define BAD(...)  JUDGE(LINEAR_BAD, __VA_ARGS__)

static void judge(enum linear_verdict expected, struct linear_operation *history, size_t count,
                  int line)
{
    size_t stuck;
    if (linear_check(history, count, &stuck) != expected)
        fail_msg("line %d: the verdict is wrong", line);
}

/* ---- known histories ---- */

static void one_after_the_other(void **state)
{
    (void)state;
    GOOD(MISSED(SPAN(1, 2)), PUT(1, CREATED, SPAN(3, 4)), FOUND(1, SPAN(5, 6)),
         PUT(2, REPLACED, SPAN(7, 8)), FOUND(2, SPAN(9, 10)), DELETE(DELETED, SPAN(11, 12)),
         MISSED(SPAN(13, 14)), DELETE(.outcome = LINEAR_MISSED, SPAN(15, 16)),
         PUT(3, CREATED, SPAN(17, 18)));
    BAD(FOUND(1, SPAN(1, 2)));
    BAD(PUT(1, REPLACED, SPAN(1, 2)));
    BAD(DELETE(DELETED, SPAN(1, 2)));
    BAD(PUT(1, CREATED, SPAN(1, 2)), MISSED(SPAN(3, 4)));
    BAD(PUT(1, CREATED, SPAN(1, 2)), PUT(2, CREATED, SPAN(3, 4)));
    BAD(PUT(1, CREATED, SPAN(1, 2)), DELETE(.outcome = LINEAR_MISSED, SPAN(3, 4)));
}

static void a_read_sees_what_was_answered_before(void **state)
{
    (void)state;
    BAD(PUT(1, CREATED, SPAN(1, 2)), PUT(2, REPLACED, SPAN(3, 4)), FOUND(1, SPAN(5, 6)));
    GOOD(PUT(1, CREATED, SPAN(1, 2)), PUT(2, REPLACED, SPAN(3, 6)), FOUND(1, SPAN(4, 5)));
    GOOD(PUT(1, CREATED, SPAN(1, 2)), PUT(2, REPLACED, SPAN(3, 6)), FOUND(2, SPAN(4, 5)));
    /* two readers within one write: the later may not see less */
    GOOD(PUT(1, CREATED, SPAN(1, 2)), PUT(2, REPLACED, SPAN(3, 8)), FOUND(1, SPAN(4, 5)),
         FOUND(2, SPAN(6, 7)));
    BAD(PUT(1, CREATED, SPAN(1, 2)), PUT(2, REPLACED, SPAN(3, 8)), FOUND(2, SPAN(4, 5)),
        FOUND(1, SPAN(6, 7)));
}

static void of_two_updates_of_one_version_one_fails(void **state)
{
    (void)state;
    BAD(PUT(1, CREATED, SPAN(1, 2)), PUT(2, IF_IS(1), REPLACED, SPAN(3, 5)),
        PUT(3, IF_IS(1), REPLACED, SPAN(4, 6)));
    GOOD(PUT(1, CREATED, SPAN(1, 2)), PUT(2, IF_IS(1), REPLACED, SPAN(3, 5)),
         PUT(3, IF_IS(1), FAILED(2), SPAN(4, 6)));
    /* a lost update: the plain put is gone without a trace */
    BAD(PUT(1, CREATED, SPAN(1, 2)), PUT(2, REPLACED, SPAN(3, 4)),
        PUT(3, IF_IS(1), REPLACED, SPAN(5, 6)));
}

static void of_two_creators_one_fails(void **state)
{
    (void)state;
    BAD(PUT(1, IF_ABSENT, CREATED, SPAN(1, 3)), PUT(2, IF_ABSENT, CREATED, SPAN(2, 4)));
    GOOD(PUT(1, IF_ABSENT, CREATED, SPAN(1, 3)), PUT(2, IF_ABSENT, FAILED(1), SPAN(2, 4)));
    GOOD(PUT(1, IF_ABSENT, CREATED, SPAN(1, 3)), PUT(2, IF_ABSENT, CREATED, SPAN(2, 4)),
         DELETE(DELETED, SPAN(1, 4)));
}

static void a_condition_fails_only_where_it_does_not_hold(void **state)
{
    (void)state;
    BAD(PUT(1, IF_ABSENT, FAILED(2), SPAN(1, 2)));
    BAD(PUT(1, CREATED, SPAN(1, 2)), PUT(2, IF_IS(1), FAILED(1), SPAN(3, 4)));
    BAD(PUT(1, CREATED, SPAN(1, 2)), PUT(2, IF_PRESENT, FAILED(0), SPAN(3, 4)));
    GOOD(PUT(1, IF_PRESENT, FAILED(0), SPAN(1, 2)), PUT(2, CREATED, SPAN(3, 4)),
         FOUND(2, IF_PRESENT, SPAN(5, 6)), FOUND(2, IF_NOT(1), SPAN(7, 8)),
         (struct linear_operation){
             .kind = LINEAR_READ, IF_NOT(2), FAILED(LINEAR_UNTOLD), SPAN(9, 10)},
         DELETE(IF_IS(LINEAR_UNTOLD), FAILED(2), SPAN(11, 12)));
    /* it names a version that was gone before */
    BAD(PUT(1, CREATED, SPAN(1, 2)), PUT(2, REPLACED, SPAN(3, 4)),
        PUT(3, IF_ABSENT, FAILED(1), SPAN(5, 6)));
}

static void an_unknown_write_happened_or_not(void **state)
{
    (void)state;
    GOOD(PUT(1, CREATED, SPAN(1, 2)), PUT(2, UNKNOWN, SPAN(3, 10)), FOUND(1, SPAN(11, 12)));
    GOOD(PUT(1, CREATED, SPAN(1, 2)), PUT(2, UNKNOWN, SPAN(3, 10)), FOUND(2, SPAN(11, 12)));
    GOOD(PUT(1, CREATED, SPAN(1, 2)), PUT(2, UNKNOWN, SPAN(3, 10)), FOUND(1, SPAN(4, 5)),
         FOUND(2, SPAN(6, 7)));
    GOOD(PUT(1, CREATED, SPAN(1, 2)), DELETE(UNKNOWN, SPAN(3, 10)), PUT(2, CREATED, SPAN(4, 5)));
    /* its condition is judged as any other */
    BAD(PUT(1, CREATED, SPAN(1, 2)), PUT(2, IF_ABSENT, UNKNOWN, SPAN(3, 10)),
        FOUND(2, SPAN(11, 12)));
}

static void an_unknown_write_does_not_come_and_go(void **state)
{
    (void)state;
    BAD(PUT(1, CREATED, SPAN(1, 2)), PUT(2, UNKNOWN, SPAN(3, 10)), FOUND(2, SPAN(4, 5)),
        FOUND(1, SPAN(6, 7)));
    BAD(PUT(1, CREATED, SPAN(1, 2)), PUT(2, UNKNOWN, SPAN(3, 10)), FOUND(2, SPAN(11, 12)),
        FOUND(1, SPAN(13, 14)));
    /* nor does it come after the crash that ended it */
    BAD(PUT(1, CREATED, SPAN(1, 2)), PUT(2, UNKNOWN, SPAN(3, 10)), FOUND(1, SPAN(11, 12)),
        FOUND(2, SPAN(13, 14)));
    BAD(PUT(1, UNKNOWN, SPAN(1, 4)), PUT(2, UNKNOWN, SPAN(2, 4)), FOUND(1, SPAN(5, 6)),
        FOUND(2, SPAN(7, 8)));
}

static void a_crash_takes_back_nothing(void **state)
{
    (void)state;
    /* the crash is at 10 */
    BAD(PUT(1, CREATED, SPAN(1, 2)), DELETE(DELETED, SPAN(3, 4)), FOUND(1, SPAN(11, 12)));
    BAD(PUT(1, CREATED, SPAN(1, 2)), PUT(2, REPLACED, SPAN(3, 4)), PUT(3, UNKNOWN, SPAN(5, 10)),
        FOUND(1, SPAN(11, 12)));
    BAD(PUT(1, CREATED, SPAN(1, 2)), PUT(2, UNKNOWN, SPAN(3, 10)), MISSED(SPAN(11, 12)));
    GOOD(PUT(1, CREATED, SPAN(1, 2)), DELETE(UNKNOWN, SPAN(3, 10)), MISSED(SPAN(11, 12)));
    BAD(PUT(1, CREATED, SPAN(1, 2)), FOUND(2, SPAN(11, 12)));
}

static void the_answer_that_nothing_explains_is_named(void **state)
{
    (void)state;
    struct linear_operation history[] = {
        FOUND(1, .client = 7, SPAN(5, 6)),
        PUT(1, CREATED, SPAN(1, 2)),
        PUT(2, REPLACED, SPAN(3, 4)),
        FOUND(2, SPAN(7, 8)),
    };
    size_t stuck;
    char line[LINEAR_LINE_BYTES];
    assert_int_equal(linear_check(history, 4, &stuck), LINEAR_BAD);
    assert_int_equal(stuck, 2);
    linear_describe(&history[stuck], line);
    assert_string_equal(line, "5..6 client 7: read -> found 1");
}

/* ---- against a search without cleverness ---- */

enum { SMALL = 7, VERSIONS = 3, HISTORIES = 30000 };

/* What the operation is told at this state. Told in another way than linear.c does. */
static uint32_t answer(struct linear_operation *operation, uint32_t state)
{
    bool present = state != 0, same = state == operation->expected;
    const bool holds[] = {true, !present, present, present && same, !same};
    bool reads = operation->kind == LINEAR_READ, puts = operation->kind == LINEAR_PUT;
    operation->seen = 0;
    if (!present && !puts) {
        operation->outcome = LINEAR_MISSED;
        return 0;
    }
    if (!holds[operation->condition] || reads) {
        operation->outcome = holds[operation->condition] ? LINEAR_FOUND : LINEAR_FAILED;
        operation->seen = state;
        return state;
    }
    operation->outcome = !puts ? LINEAR_DELETED : present ? LINEAR_REPLACED : LINEAR_CREATED;
    return puts ? operation->version : 0;
}

static bool may_be_next(const struct linear_operation *history, unsigned left, int i)
{
    for (int j = 0; j < SMALL; j++)
        if ((left & 1u << j) != 0 && history[j].answered <= history[i].invoked)
            return false;
    return (left & 1u << i) != 0;
}

/* Whether the operations `left` can happen from this state on, in any order. */
static bool can_happen(const struct linear_operation *history, unsigned left, uint32_t state)
{
    bool can = left == 0;
    for (int i = 0; i < SMALL && !can; i++) {
        if (!may_be_next(history, left, i))
            continue;
        struct linear_operation told = history[i];
        uint32_t after = answer(&told, state);
        bool unknown = history[i].outcome == LINEAR_UNKNOWN;
        bool as_told = told.outcome == history[i].outcome && told.seen == history[i].seen;
        can = ((unknown || as_told) && can_happen(history, left & ~(1u << i), after)) ||
              (unknown && can_happen(history, left & ~(1u << i), state));
    }
    return can;
}

static uint32_t below(uint64_t *random, uint32_t end)
{
    return (uint32_t)(threads_random(random) % end);
}

static struct linear_operation any_operation(uint64_t *random, uint32_t version, uint32_t versions)
{
    return (struct linear_operation){
        .kind = (enum linear_kind)below(random, 3),
        .condition = (enum linear_condition)below(random, 5),
        .expected = 1 + below(random, versions),
        .version = version,
    };
}

/* Operations that happened one after the other, each told within some time around that moment. */
static void make_history(uint64_t *random, struct linear_operation *history)
{
    uint32_t state = 0;
    for (uint32_t i = 0; i < SMALL; i++) {
        history[i] = any_operation(random, 1 + below(random, VERSIONS), VERSIONS);
        uint32_t after = answer(&history[i], state);
        uint64_t moment = 20 + 4 * i;
        history[i].invoked = moment - below(random, 16);
        history[i].answered = moment + 1 + below(random, 16);
        if (history[i].kind != LINEAR_READ && below(random, 4) == 0) {
            history[i].outcome = LINEAR_UNKNOWN;
            history[i].seen = 0;
            after = below(random, 2) == 0 ? state : after;
        }
        state = after;
    }
}

static void spoil(uint64_t *random, struct linear_operation *history)
{
    struct linear_operation *operation = &history[below(random, SMALL)];
    if (operation->outcome == LINEAR_FOUND || operation->outcome == LINEAR_FAILED)
        operation->seen = 1 + below(random, VERSIONS);
    else if (operation->outcome != LINEAR_UNKNOWN)
        answer(operation, below(random, VERSIONS + 1));
}

static void it_agrees_with_trying_every_order(void **state)
{
    (void)state;
    uint64_t random = 20260101;
    unsigned good = 0;
    for (int i = 0; i < HISTORIES; i++) {
        struct linear_operation history[SMALL];
        size_t stuck;
        make_history(&random, history);
        assert_int_equal(linear_check(history, SMALL, &stuck), LINEAR_GOOD);
        spoil(&random, history);
        bool can = can_happen(history, (1u << SMALL) - 1, 0);
        assert_int_equal(linear_check(history, SMALL, &stuck), can ? LINEAR_GOOD : LINEAR_BAD);
        good += can;
    }
    assert_in_range(good, HISTORIES / 4, HISTORIES * 3 / 4);
}

/* ---- a long one ---- */

enum { LONG = 20000, AT_ONCE = 16, CRASH_EVERY = 1000 };

/* Sixteen at once all the time, a crash now and then that leaves all that is under way unknown. */
static void make_long_history(uint64_t *random, struct linear_operation *history)
{
    uint32_t state = 0;
    for (uint32_t i = 0; i < LONG; i++) {
        uint64_t moment = (uint64_t)(i + 1) * 64, before = 1 + below(random, AT_ONCE * 32);
        uint64_t last_crash = i / CRASH_EVERY * CRASH_EVERY * 64 + 1;
        uint64_t crash = last_crash + CRASH_EVERY * 64;
        uint32_t recent = i < 8 ? i : 8;
        history[i] = any_operation(random, i + 1, recent + 1);
        history[i].expected += i - recent;
        uint32_t after = answer(&history[i], state);
        history[i].invoked = moment > last_crash + before ? moment - before : last_crash;
        history[i].answered = moment + 1 + below(random, AT_ONCE * 32);
        if (history[i].answered > crash) {
            history[i].answered = crash;
            history[i].outcome = LINEAR_UNKNOWN;
            after = below(random, 2) == 0 ? state : after;
        }
        state = after;
    }
}

static void a_long_history_is_judged(void **state)
{
    (void)state;
    uint64_t random = 7;
    struct linear_operation *history = calloc(LONG, sizeof *history);
    size_t stuck;
    make_long_history(&random, history);
    assert_int_equal(linear_check(history, LONG, &stuck), LINEAR_GOOD);
    for (size_t i = LONG - 100; i < LONG; i++)
        if (history[i].outcome == LINEAR_FOUND) {
            history[i].seen -= 1000;
            break;
        }
    assert_int_equal(linear_check(history, LONG, &stuck), LINEAR_BAD);
    assert_in_range(stuck, LONG - 200, LONG - 1);
    free(history);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest promises[] = {
        TEST("operations one after the other are judged as a register is", one_after_the_other),
        TEST("a stale read is bad", a_read_sees_what_was_answered_before),
        TEST("a lost update is bad", of_two_updates_of_one_version_one_fails),
        TEST("a condition that holds twice is bad", of_two_creators_one_fails),
        TEST("a condition that fails without a reason is bad",
             a_condition_fails_only_where_it_does_not_hold),
        TEST("an unknown write happened or did not", an_unknown_write_happened_or_not),
        TEST("an unknown write that comes and goes is bad", an_unknown_write_does_not_come_and_go),
        TEST("a write lost or undone by a crash is bad", a_crash_takes_back_nothing),
        TEST("the answer that nothing explains is named",
             the_answer_that_nothing_explains_is_named),
        TEST("small histories are judged as by trying every order",
             it_agrees_with_trying_every_order),
        TEST("a long history of many at once, with crashes, is judged", a_long_history_is_judged),
    };
    return test_main(argc, argv, "linear", promises);
}
