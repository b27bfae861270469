/* SPDX-License-Identifier: Apache-2.0 */
/* Failures on demand: each status at each call, the nth call only, states, and bad requests. */
#include "../../../engine/engine.h"
#include "../../lib/test.h"

static struct engine *open_with(const char *url)
{
    struct engine_options options = engine_options_default();
    struct engine *engine = NULL;
    struct failure failure = {0};
    options.url = url;
    if (engine_open(&options, &engine, &failure) != STATUS_OK)
        fail_msg("%s: %s", url, failure.message);
    return engine;
}

static enum status get(struct engine *engine)
{
    struct engine_item item = {0};
    enum status status = engine_get(engine, bytes_of("k"), &item);
    engine_item_done(&item);
    return status;
}

static enum status head(struct engine *engine)
{
    struct engine_item item = {0};
    enum status status = engine_head(engine, bytes_of("k"), &item);
    engine_item_done(&item);
    return status;
}

static enum status value_open(struct engine *engine)
{
    struct engine_value *value = NULL;
    enum status status =
        engine_value_open(engine, bytes_of("k"), (struct bytes){NULL, 0}, 1, &value);
    engine_value_close(engine, value);
    return status;
}

static bool see(void *visitor, struct bytes key, enum status status, struct engine_item *item)
{
    (void)visitor, (void)key, (void)status, (void)item;
    return true;
}

static enum status scan(struct engine *engine)
{
    const struct engine_range all = {.reverse = false};
    struct engine_context context = {.deadline_ns = UINT64_MAX};
    return engine_scan(engine, &all, false, see, NULL, &context);
}

static enum status value_grow(struct engine *engine)
{
    struct engine_value *value = NULL;
    if (engine_value_open(engine, bytes_of("k"), (struct bytes){NULL, 0}, 1, &value) != STATUS_OK)
        return STATUS_OK;
    enum status status = engine_value_grow(engine, &value, 10);
    engine_value_close(engine, value);
    return status;
}

static enum status commit(struct engine *engine)
{
    struct engine_operation erase = {.type = ENGINE_DELETE, .key = bytes_of("k")};
    struct engine_context context = {.deadline_ns = UINT64_MAX};
    return engine_commit(engine, &erase, 1, &context);
}

static enum status compact(struct engine *engine)
{
    uint64_t id;
    return engine_compact(engine, &id);
}

static enum status compactions(struct engine *engine)
{
    struct engine_compaction row;
    size_t count;
    return engine_compactions(engine, &row, 1, &count);
}

static const struct {
    const char *name;
    enum status (*call)(struct engine *engine);
    enum status plain; /* what it answers when nothing is injected */
} calls[] = {
    {"get", get, STATUS_NOT_FOUND},
    {"head", head, STATUS_NOT_FOUND},
    {"scan", scan, STATUS_OK},
    {"value_open", value_open, STATUS_OK},
    {"value_grow", value_grow, STATUS_OK},
    {"commit", commit, STATUS_OK},
    {"compact", compact, STATUS_UNSUPPORTED},
    {"compactions", compactions, STATUS_UNSUPPORTED},
};

static const char *const statuses[] = {
#define X(name, text) [STATUS_##name] = #name,
#include "../../../engine/status.def"
};

static void every_call_can_answer_every_status(void **state)
{
    (void)state;
    for (size_t call = 0; call < COUNT_OF(calls); call++) {
        for (size_t status = 0; status < COUNT_OF(statuses); status++) {
            if (status == STATUS_OK || status == STATUS_CONFLICT)
                continue;
            char url[80];
            snprintf(url, sizeof url, "memory:?fail=%s:%s", calls[call].name, statuses[status]);
            struct engine *engine = open_with(url);
            assert_int_equal(calls[call].call(engine), status);
            for (size_t other = 0; other < COUNT_OF(calls); other++)
                if (other != call && calls[other].call != value_grow)
                    assert_int_equal(calls[other].call(engine), calls[other].plain);
            engine_close(engine);
        }
    }
}

static void only_the_nth_call_fails_when_asked(void **state)
{
    (void)state;
    struct engine *engine =
        open_with("memory:?fail=commit:UNKNOWN:2&fail=commit:BUSY:3&fail=get:CORRUPT:1");
    assert_int_equal(commit(engine), STATUS_OK);
    assert_int_equal(commit(engine), STATUS_UNKNOWN);
    assert_int_equal(commit(engine), STATUS_BUSY);
    assert_int_equal(commit(engine), STATUS_OK);
    assert_int_equal(get(engine), STATUS_CORRUPT);
    assert_int_equal(get(engine), STATUS_NOT_FOUND);
    engine_close(engine);
}

static void states_show_in_health_and_in_every_call(void **state)
{
    (void)state;
    const struct {
        const char *url;
        enum engine_state state;
        enum status reads, writes;
    } rows[] = {
        {"memory:?state=loading", ENGINE_LOADING, STATUS_LOADING, STATUS_LOADING},
        {"memory:?state=unusable", ENGINE_UNUSABLE, STATUS_LOADING, STATUS_LOADING},
        {"memory:?state=read_only", ENGINE_READ_ONLY, STATUS_NOT_FOUND, STATUS_READ_ONLY},
        {"memory:?fail=value_open:NO_SPACE", ENGINE_READY, STATUS_NOT_FOUND, STATUS_NO_SPACE},
        {"memory:", ENGINE_READY, STATUS_NOT_FOUND, STATUS_OK},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct engine *engine = open_with(rows[i].url);
        struct engine_health health;
        engine_health(engine, &health);
        assert_int_equal(health.state, rows[i].state);
        assert_int_equal(health.writable, rows[i].writes);
        assert_int_equal(health.reason[0] != '\0', rows[i].writes != STATUS_OK);
        assert_int_equal(get(engine), rows[i].reads);
        assert_int_equal(value_open(engine), rows[i].writes);
        engine_close(engine);
    }
}

static void what_cannot_be_injected_is_refused_with_a_reason(void **state)
{
    (void)state;
    const char *const urls[] = {
        "memory:x",
        "memory:?fail=walk:BUSY",
        "memory:?fail=get:BUSYY",
        "memory:?fail=get",
        "memory:?fail=get:OK",
        "memory:?fail=commit:CONFLICT",
        "memory:?state=tired",
        "memory:?fail=get:BUSY&what",
    };
    for (size_t i = 0; i < COUNT_OF(urls); i++) {
        struct engine_options options = engine_options_default();
        struct engine *engine = NULL;
        struct failure failure = {0};
        options.url = urls[i];
        assert_int_equal(engine_open(&options, &engine, &failure), STATUS_INVALID);
        assert_non_null(strstr(failure.message, "inject"));
        assert_null(engine);
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("every call can answer every status", every_call_can_answer_every_status),
        TEST("only the nth call fails when asked", only_the_nth_call_fails_when_asked),
        TEST("states show in health and in every call", states_show_in_health_and_in_every_call),
        TEST("what cannot be injected is refused with a reason",
             what_cannot_be_injected_is_refused_with_a_reason),
    };
    return test_main(argc, argv, "inject", tests);
}
