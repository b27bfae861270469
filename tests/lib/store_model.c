/* SPDX-License-Identifier: Apache-2.0 */
/* Predicting, running and comparing. */
#include "store_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../engine/number.h"

enum { META_BYTES_MAX = 40 };

uint64_t model_random(uint64_t *random)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return *random;
}

static uint64_t below(uint64_t *random, uint64_t limit)
{
    return (model_random(random) >> 11) % limit;
}

/* ---- the bytes ---- */

static struct bytes key_bytes(size_t key, char buffer[MODEL_KEY_BYTES_MAX])
{
    int size = snprintf(buffer, MODEL_KEY_BYTES_MAX, "key/%zu", key);
    if (key == 1) /* keys of any bytes, and a long one */
        buffer[size++] = '\0';
    if (key == 2) {
        memset(buffer + size, 0xff, (size_t)(MODEL_KEY_BYTES_MAX - size));
        size = MODEL_KEY_BYTES_MAX;
    }
    return (struct bytes){buffer, (size_t)size};
}

static void fill(unsigned char *out_bytes, size_t size, uint64_t seed)
{
    uint64_t random = seed | 1;
    for (size_t i = 0; i < size; i += sizeof random) {
        model_random(&random);
        memcpy(out_bytes + i, &random, size - i < sizeof random ? size - i : sizeof random);
    }
}

static bool holds(struct bytes bytes, uint32_t size, uint64_t seed)
{
    uint64_t random = seed | 1;
    if (bytes.size != size)
        return false;
    for (size_t i = 0; i < size; i += sizeof random) {
        model_random(&random);
        if (memcmp((const unsigned char *)bytes.data + i, &random,
                   size - i < sizeof random ? size - i : sizeof random) != 0)
            return false;
    }
    return true;
}

/* ---- states ---- */

void model_add(struct model *model, struct model_state state)
{
    model->states = realloc(model->states, (model->count + 1) * sizeof state);
    if (model->states == NULL)
        abort();
    model->states[model->count++] = state;
}

void model_init(struct model *model)
{
    *model = (struct model){0};
    model_add(model, (struct model_state){0});
}

void model_done(struct model *model)
{
    free(model->states);
    *model = (struct model){0};
}

struct model model_copy(const struct model *model)
{
    struct model copy = {0};
    for (size_t i = 0; i < model->count; i++)
        model_add(&copy, model->states[i]);
    return copy;
}

/* ---- commits ---- */

static struct model_operation make_operation(uint64_t *random, size_t key, uint32_t value_bytes_max)
{
    static const enum engine_operation_type types[] = {
        ENGINE_PUT, ENGINE_PUT, ENGINE_PUT, ENGINE_DELETE, ENGINE_DELETE, ENGINE_CHECK, ENGINE_ADD};
    static const enum model_condition conditions[] = {
        MODEL_NONE,   MODEL_NONE,    MODEL_NONE,    MODEL_NONE,    MODEL_NONE, MODEL_NONE,
        MODEL_ABSENT, MODEL_PRESENT, MODEL_CURRENT, MODEL_CURRENT, MODEL_STALE};
    return (struct model_operation){
        .type = types[below(random, COUNT_OF(types))],
        .key = key,
        .condition = conditions[below(random, COUNT_OF(conditions))],
        .by = (int64_t)below(random, 2001) - 1000,
        .seed = model_random(random),
        .value_bytes = value_bytes_max / 2 + (uint32_t)below(random, value_bytes_max / 2),
        .meta_bytes = (uint32_t)below(random, META_BYTES_MAX),
    };
}

struct model_commit model_make_commit(uint64_t *random, uint32_t value_bytes_max)
{
    struct model_commit commit = {.count = 1};
    if (below(random, 3) == 0)
        commit.count = 1 + (uint32_t)below(random, MODEL_OPERATIONS_MAX);
    size_t first = below(random, MODEL_KEYS); /* distinct keys: 3 and 10 have no common divisor */
    for (uint32_t i = 0; i < commit.count; i++)
        commit.operations[i] =
            make_operation(random, (first + i * 3) % MODEL_KEYS, value_bytes_max / commit.count);
    return commit;
}

static bool condition_holds(enum model_condition condition, const struct model_version *version)
{
    switch (condition) {
    case MODEL_NONE:
        return true;
    case MODEL_ABSENT:
        return version->sequence == 0;
    case MODEL_PRESENT:
    case MODEL_CURRENT:
        return version->sequence != 0;
    case MODEL_STALE:
        return false;
    }
    abort();
}

static bool can_add(const struct model_version *version)
{
    return version->sequence == 0 || version->is_number;
}

/* What an operation that may makes of its key. */
static void apply(const struct model_operation *operation, int64_t now_ms,
                  struct model_version *version, uint64_t *sequence)
{
    if (operation->type == ENGINE_PUT)
        *version = (struct model_version){.sequence = ++*sequence,
                                          .seed = operation->seed,
                                          .value_bytes = operation->value_bytes,
                                          .meta_bytes = operation->meta_bytes,
                                          .modified_ms = now_ms};
    if (operation->expired)
        *version = (struct model_version){0};
    if (operation->type == ENGINE_DELETE && version->sequence != 0) {
        *version = (struct model_version){0};
        ++*sequence;
    }
    if (operation->type == ENGINE_ADD) {
        version->sequence = ++*sequence;
        version->modified_ms = now_ms;
        version->is_number = true;
        version->number += operation->by;
    }
}

enum status model_predict(const struct model_state *state, const struct model_commit *commit,
                          int64_t now_ms, struct model_state *out_state)
{
    struct model_state after = *state;
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < commit->count; i++) {
        const struct model_operation *operation = &commit->operations[i];
        struct model_version *version = &after.keys[operation->key];
        if (!condition_holds(operation->condition, version))
            return STATUS_CONFLICT;
        if (operation->type == ENGINE_ADD && !can_add(version))
            status = STATUS_NOT_A_NUMBER;
        apply(operation, now_ms, version, &after.sequence);
        if (operation->expired)
            after.expired = operation->key + 1;
        else if (after.expired == operation->key + 1 && version->sequence != 0)
            after.expired = 0;
    }
    if (status == STATUS_OK)
        *out_state = after;
    return status;
}

struct model_state model_swept(const struct model_state *state)
{
    struct model_state swept = *state;
    swept.sequence += state->expired != 0;
    swept.expired = 0;
    return swept;
}

/* ---- running ---- */

struct prepared {
    char keys[MODEL_OPERATIONS_MAX][MODEL_KEY_BYTES_MAX];
    struct engine_version versions[MODEL_OPERATIONS_MAX];
    struct engine_condition conditions[MODEL_OPERATIONS_MAX];
    struct engine_operation operations[MODEL_OPERATIONS_MAX];
};

static void prepare_condition(struct prepared *prepared, uint32_t i, enum model_condition condition,
                              struct engine_version current)
{
    if (condition == MODEL_NONE)
        return;
    prepared->versions[i] = current;
    if (condition == MODEL_STALE)
        prepared->versions[i].sequence += 1000000;
    prepared->conditions[i] = (struct engine_condition){
        .kind = condition == MODEL_ABSENT    ? ENGINE_IF_ABSENT
                : condition == MODEL_PRESENT ? ENGINE_IF_PRESENT
                                             : ENGINE_IF_ONE_OF,
        .versions = &prepared->versions[i],
        .version_count = 1,
    };
    prepared->operations[i].conditions = &prepared->conditions[i];
    prepared->operations[i].condition_count = 1;
}

static enum status prepare(struct engine *engine, const struct model_commit *commit,
                           const struct model_state *before, uint64_t epoch,
                           struct prepared *prepared)
{
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < commit->count && status == STATUS_OK; i++) {
        const struct model_operation *wanted = &commit->operations[i];
        struct engine_operation *operation = &prepared->operations[i];
        *operation = (struct engine_operation){.type = wanted->type,
                                               .key = key_bytes(wanted->key, prepared->keys[i]),
                                               .by = wanted->by,
                                               .expires_ms = wanted->expired ? 1 : 0};
        prepare_condition(prepared, i, wanted->condition,
                          (struct engine_version){epoch, before->keys[wanted->key].sequence});
        if (wanted->type != ENGINE_PUT)
            continue;
        unsigned char meta[META_BYTES_MAX];
        fill(meta, wanted->meta_bytes, ~wanted->seed);
        status = engine_value_open(engine, operation->key, (struct bytes){meta, wanted->meta_bytes},
                                   wanted->value_bytes, &operation->value);
        if (status != STATUS_OK)
            break;
        fill(operation->value->data, wanted->value_bytes, wanted->seed);
        operation->value->size = wanted->value_bytes;
    }
    return status;
}

static enum engine_outcome expected_outcome(enum engine_operation_type type, bool was_there)
{
    if (type == ENGINE_PUT || type == ENGINE_ADD)
        return was_there ? ENGINE_REPLACED : ENGINE_CREATED;
    if (type == ENGINE_DELETE)
        return was_there ? ENGINE_DELETED : ENGINE_ABSENT;
    return ENGINE_CHECKED;
}

static const char *compare_answers(const struct model_commit *commit,
                                   const struct prepared *prepared,
                                   const struct model_state *before, uint64_t epoch)
{
    uint64_t sequence = before->sequence;
    for (uint32_t i = 0; i < commit->count; i++) {
        const struct engine_operation *operation = &prepared->operations[i];
        const struct model_version *base = &before->keys[commit->operations[i].key];
        uint64_t current = base->sequence;
        enum engine_outcome outcome = expected_outcome(operation->type, current != 0);
        bool writes = outcome != ENGINE_ABSENT && outcome != ENGINE_CHECKED;
        uint64_t version = writes ? ++sequence : current;
        if (operation->outcome != outcome)
            return "a commit's outcome is wrong";
        if (operation->version.sequence != version)
            return "a commit's version is wrong";
        if (version != 0 && operation->version.epoch != epoch)
            return "a commit's epoch is wrong";
        if (operation->type == ENGINE_ADD && operation->number != base->number + operation->by)
            return "an addition's number is wrong";
        if (operation->type == ENGINE_PUT && operation->value != NULL)
            return "a commit did not take over its value";
    }
    return NULL;
}

static const char *compare_refusal(const struct model_commit *commit,
                                   const struct prepared *prepared,
                                   const struct model_state *before)
{
    for (uint32_t i = 0; i < commit->count; i++) {
        const struct model_operation *wanted = &commit->operations[i];
        const struct model_version *current = &before->keys[wanted->key];
        bool failed = prepared->operations[i].outcome == ENGINE_FAILED;
        bool may = condition_holds(wanted->condition, current) &&
                   (wanted->type != ENGINE_ADD || can_add(current));
        if (failed == may)
            return "the wrong operation failed";
        if (failed && prepared->operations[i].version.sequence != current->sequence)
            return "a refusal does not tell the current version";
    }
    return NULL;
}

enum status model_run(struct engine *engine, const struct model_commit *commit,
                      const struct model_state *before, const struct model_state *after,
                      uint64_t epoch, uint64_t deadline_ns, const char **out_wrong)
{
    struct prepared prepared = {0};
    struct engine_context context = {.deadline_ns = deadline_ns};
    enum status status = prepare(engine, commit, before, epoch, &prepared);
    if (status == STATUS_OK)
        status = engine_commit(engine, prepared.operations, commit->count, &context);
    *out_wrong = NULL;
    if (status == STATUS_OK && after == NULL)
        *out_wrong = "a commit was applied against its conditions";
    else if ((status == STATUS_CONFLICT || status == STATUS_NOT_A_NUMBER) && after != NULL)
        *out_wrong = "a commit was refused though its conditions hold";
    else if (status == STATUS_OK)
        *out_wrong = compare_answers(commit, &prepared, before, epoch);
    else if (status == STATUS_CONFLICT || status == STATUS_NOT_A_NUMBER)
        *out_wrong = compare_refusal(commit, &prepared, before);
    for (uint32_t i = 0; i < commit->count; i++)
        engine_value_close(engine, prepared.operations[i].value);
    return status;
}

/* ---- comparing ---- */

static bool has_value(struct bytes value, const struct model_version *version)
{
    char text[NUMBER_BYTES_MAX];
    return version->is_number
               ? bytes_equal(value, (struct bytes){text, number_write(version->number, text)})
               : holds(value, version->value_bytes, version->seed);
}

static const char *compare_item(const struct engine_item *item, const struct model_version *version,
                                uint64_t epoch, bool with_value)
{
    if (item->version.sequence != version->sequence)
        return "a key has another version";
    if (item->version.epoch != epoch)
        return "a key has another epoch";
    if (item->modified_ms != version->modified_ms || item->expires_ms != 0)
        return "a key has other times";
    if (!holds(item->meta, version->meta_bytes, ~version->seed))
        return "a key has other kept headers";
    if (with_value && !has_value(item->value, version))
        return "a key has another value";
    char text[NUMBER_BYTES_MAX];
    size_t size = version->is_number ? number_write(version->number, text) : version->value_bytes;
    return item->value.size == size ? NULL : "a value has another size";
}

static const char *compare_key(struct engine *engine, size_t key,
                               const struct model_version *version, uint64_t epoch)
{
    char buffer[MODEL_KEY_BYTES_MAX];
    for (int with_value = 0; with_value < 2; with_value++) {
        struct engine_item item = {0};
        enum status status = with_value ? engine_get(engine, key_bytes(key, buffer), &item)
                                        : engine_head(engine, key_bytes(key, buffer), &item);
        if (status == STATUS_NOT_FOUND && version->sequence == 0)
            continue;
        if (status != STATUS_OK)
            return status == STATUS_NOT_FOUND ? "a key is lost" : status_text(status);
        const char *wrong = version->sequence == 0
                                ? "a deleted key is back"
                                : compare_item(&item, version, epoch, with_value == 1);
        engine_item_done(&item);
        if (wrong != NULL)
            return wrong;
    }
    return NULL;
}

const char *model_compare(struct engine *engine, const struct model_state *state, uint64_t epoch)
{
    struct engine_health health;
    engine_health(engine, &health);
    if (health.sequence != state->sequence)
        return "the last sequence differs";
    const char *corrupt = NULL;
    for (size_t key = 0; key < MODEL_KEYS; key++) {
        const char *wrong = compare_key(engine, key, &state->keys[key], epoch);
        if (wrong == status_text(STATUS_CORRUPT))
            corrupt = wrong;
        else if (wrong != NULL)
            return wrong;
    }
    return corrupt;
}

unsigned model_count_corrupt(struct engine *engine)
{
    unsigned corrupt = 0;
    for (size_t key = 0; key < MODEL_KEYS; key++) {
        char buffer[MODEL_KEY_BYTES_MAX];
        struct engine_item item = {0};
        enum status status = engine_get(engine, key_bytes(key, buffer), &item);
        corrupt += status == STATUS_CORRUPT;
        if (status == STATUS_OK)
            engine_item_done(&item);
    }
    return corrupt;
}

/* ---- the feed of changes ---- */

struct follower {
    const struct model *model;
    size_t state; /* whose commit is being told */
    uint64_t epoch;
    uint64_t sequence; /* the last one told */
    unsigned keys;     /* bits: those told of this commit */
    const char *wrong;
};

/* MODEL_KEYS: it is none of the model's. */
static size_t key_of(struct bytes bytes)
{
    char buffer[MODEL_KEY_BYTES_MAX];
    size_t key = 0;
    while (key < MODEL_KEYS && !bytes_equal(bytes, key_bytes(key, buffer)))
        key++;
    return key;
}

static const char *compare_change(const struct follower *follower, size_t key,
                                  const struct engine_change *change)
{
    const struct model_state *states = &follower->model->states[follower->state];
    const struct model_version *after = &states[0].keys[key], *before = &states[-1].keys[key];
    if (change->version.epoch != follower->epoch)
        return "a change has another epoch";
    if (change->type == ENGINE_CHANGE_EXPIRE)
        return states[-1].expired == key + 1 && states[0].expired == 0
                   ? NULL
                   : "a change tells of an expiry that was none";
    if (change->expires_ms != 0) /* what nobody sees is not kept in the model */
        return states[0].expired == key + 1 ? NULL : "a change expires that should not";
    if (change->type == ENGINE_CHANGE_DELETE)
        return after->sequence == 0 && before->sequence != 0
                   ? NULL
                   : "a change tells of a delete that was none";
    struct engine_item item = {.version = change->version,
                               .modified_ms = change->modified_ms,
                               .expires_ms = change->expires_ms,
                               .meta = change->meta,
                               .value = change->value};
    return compare_item(&item, after, follower->epoch, true) == NULL
               ? NULL
               : "a change is not what was written";
}

static bool follow_one(void *visitor, const struct engine_change *change)
{
    struct follower *follower = visitor;
    if (change->version.sequence != ++follower->sequence) {
        follower->wrong = "the feed has a gap";
        return false;
    }
    while (follower->model->states[follower->state].sequence < follower->sequence) {
        follower->state++;
        follower->keys = 0;
    }
    size_t key = key_of(change->key);
    if (key == MODEL_KEYS || (follower->keys >> key & 1) != 0)
        follower->wrong = "a change is of a key that was not written";
    else
        follower->wrong = compare_change(follower, key, change);
    follower->keys |= 1u << key;
    return follower->wrong == NULL;
}

/* From behind `after` to the end. */
static const char *follow_from(struct engine *engine, struct follower *follower, uint64_t end,
                               uint64_t after)
{
    const struct engine_context context = {.deadline_ns = UINT64_MAX};
    follower->sequence = after;
    follower->state = 0;
    follower->keys = 0;
    while (follower->model->states[follower->state].sequence < after)
        follower->state++;
    while (follower->sequence < end && follower->wrong == NULL) {
        struct engine_feed feed;
        uint64_t begun = follower->sequence;
        enum status status = engine_changes(engine, begun, follow_one, follower, &feed, &context);
        if (status != STATUS_OK)
            return status_text(status);
        if (follower->wrong == NULL &&
            (feed.after != follower->sequence || follower->sequence == begun))
            return "the feed stands still";
    }
    return follower->wrong;
}

static bool tells_nothing(void *visitor, const struct engine_change *change)
{
    (void)visitor;
    (void)change;
    return false;
}

const char *model_follow(struct engine *engine, const struct model *model, size_t state,
                         uint64_t epoch, uint64_t cursor, uint64_t *told)
{
    const struct engine_context context = {.deadline_ns = UINT64_MAX};
    struct follower follower = {.model = model, .epoch = epoch};
    struct engine_feed feed;
    uint64_t end = model->states[state].sequence;
    enum status status = engine_changes(engine, 0, tells_nothing, NULL, &feed, &context);
    if (status != STATUS_OK && status != STATUS_GONE)
        return status_text(status);
    if (feed.oldest > end)
        return "the feed begins behind its end";
    const char *wrong = follow_from(engine, &follower, end, feed.oldest);
    *told += end - feed.oldest;
    if (wrong == NULL && cursor >= feed.oldest && cursor <= end)
        wrong = follow_from(engine, &follower, end, cursor);
    return wrong;
}
