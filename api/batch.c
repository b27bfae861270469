/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /batch: operations on many keys, applied together or not at all. All conditions are judged by what
 * was there before; a key may be checked once and written once, and both become one operation of the
 * engine.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "handlers.h"
#include "reply.h"
#include "request.h"
#include "step.h"

enum { RESULT_BYTES = sizeof "{\"status\":201,\"etag\":\"\\\"\\\"\"}," + ETAG_BYTES };

/* A step and where it went. */
struct member {
    struct step step;
    struct member *write; /* of the same key, for a check that goes along with it */
    struct engine_condition conditions[2 * CONDITIONS_MAX];
    struct engine_operation *operation;
};

struct batch {
    struct step_context context;
    struct member *members;
    uint32_t count, limit;
    struct engine_operation *operations;
    uint32_t operation_count;
};

static void batch_close(struct batch *batch)
{
    for (uint32_t i = 0; i < batch->count; i++)
        step_done(&batch->members[i].step, batch->context.engine);
    free(batch->members);
    free(batch->operations);
}

/* Memory of the members that come, since calloc gives pages as they are touched. */
static bool batch_open(struct api *api, struct batch *batch)
{
    const struct time_source *time = api->options.time;
    uint32_t limit = engine_limits(api->engine)->batch_operations_max;
    *batch = (struct batch){
        .context = {.engine = api->engine, .now_ms = time->wall_ms(time)},
        .members = calloc(limit, sizeof(struct member)),
        .limit = limit,
        .operations = calloc(limit, sizeof(struct engine_operation)),
    };
    return batch->members != NULL && batch->operations != NULL;
}

/* ---- reading ---- */

static bool read_step(void *context, struct reader *reader)
{
    struct batch *batch = context;
    if (batch->count == batch->limit) {
        problem_set_detail(reader->problem, PROBLEM_BATCH_TOO_LARGE,
                           "There are more than %u operations: send fewer at once. Nothing was "
                           "changed.",
                           batch->limit);
        problem_add_number(reader->problem, "limit", batch->limit);
        return false;
    }
    return step_read(&batch->context, reader, &batch->members[batch->count++].step);
}

static bool read_body(void *context, struct reader *reader, struct bytes name)
{
    const struct batch *batch = context;
    if (!bytes_equal(name, bytes_of("ops")))
        return reader_refuse(reader, NULL, "a batch has the member ops only.");
    if (batch->count > 0)
        return reader_refuse(reader, NULL, "it is given twice.");
    return reader_array(reader, read_step, context) &&
           (batch->count > 0 || reader_refuse(reader, NULL, "there is no operation in it."));
}

/* ---- keys that stand there twice ---- */

/* By key; one key's in the order of the batch. */
static int compare_members(const void *left, const void *right)
{
    const struct member *a = *(struct member *const *)left, *b = *(struct member *const *)right;
    int order = bytes_compare(a->step.key, b->step.key);
    return order != 0 ? order : (a > b) - (a < b);
}

static bool refuse_repeated(const struct batch *batch, const struct member *member,
                            struct reader *reader)
{
    snprintf(reader->pointer, sizeof reader->pointer, "/ops/%td", member - batch->members);
    return reader_refuse(reader, "key", "another operation %s it already.",
                         member->step.type == ENGINE_CHECK ? "checks" : "writes");
}

/* Lets each check find its write. */
static bool pair_members(const struct batch *batch, struct reader *reader)
{
    AUTO_FREE struct member **sorted = malloc(batch->count * sizeof(struct member *));
    if (sorted == NULL)
        return problem_set(reader->problem, PROBLEM_MEMORY_FULL);
    for (uint32_t i = 0; i < batch->count; i++)
        sorted[i] = &batch->members[i];
    qsort(sorted, batch->count, sizeof(struct member *), compare_members);
    for (uint32_t i = 1; i < batch->count; i++) {
        struct member *earlier = sorted[i - 1], *later = sorted[i];
        if (!bytes_equal(earlier->step.key, later->step.key))
            continue;
        bool earlier_checks = earlier->step.type == ENGINE_CHECK;
        bool third = i > 1 && bytes_equal(sorted[i - 2]->step.key, later->step.key);
        if (third || earlier_checks == (later->step.type == ENGINE_CHECK))
            return refuse_repeated(batch, later, reader);
        if (earlier_checks)
            earlier->write = later;
        else
            later->write = earlier;
    }
    return true;
}

/* ---- committing ---- */

static void add_conditions(struct engine_operation *operation, struct member *owner,
                           const struct conditions *conditions)
{
    for (uint32_t i = 0; i < conditions->count; i++)
        owner->conditions[operation->condition_count++] = conditions->items[i];
    operation->conditions = owner->conditions;
}

/* In the order of the batch, so that its versions ascend. */
static void make_operations(struct batch *batch)
{
    for (uint32_t i = 0; i < batch->count; i++) {
        struct member *member = &batch->members[i];
        if (member->write != NULL)
            continue;
        struct engine_operation *operation = &batch->operations[batch->operation_count++];
        operation->type = member->step.type;
        operation->key = member->step.key;
        operation->value = member->step.value;
        operation->expires_ms = member->step.expires_ms;
        add_conditions(operation, member, &member->step.conditions);
        member->operation = operation;
    }
    for (uint32_t i = 0; i < batch->count; i++) {
        struct member *member = &batch->members[i];
        if (member->write == NULL)
            continue;
        member->operation = member->write->operation;
        add_conditions(member->operation, member->write, &member->step.conditions);
    }
}

static enum status commit(struct batch *batch, const struct exchange *exchange)
{
    struct engine_context context = {exchange->deadline_ns, exchange->cancel};
    enum status status =
        engine_commit(batch->context.engine, batch->operations, batch->operation_count, &context);
    for (uint32_t i = 0; i < batch->count; i++)
        if (status == STATUS_OK)
            batch->members[i].step.value = NULL; /* the engine's now */
    return status;
}

/* ---- answering ---- */

static unsigned status_of(const struct member *member)
{
    switch (member->step.type) {
    case ENGINE_PUT:
        return member->operation->outcome == ENGINE_CREATED ? 201 : 204;
    case ENGINE_DELETE:
        return member->operation->outcome == ENGINE_DELETED ? 204 : 404;
    case ENGINE_CHECK:
    case ENGINE_ADD:
        return 200;
    }
    return 200;
}

static struct engine_version version_of(const struct member *member)
{
    if (member->step.type == ENGINE_CHECK)
        return member->operation->before;
    return member->step.type == ENGINE_PUT ? member->operation->version
                                           : (struct engine_version){0, 0};
}

/* Written by hand into room made before the commit: what is applied is never told to have failed. */
static size_t write_results(const struct batch *batch, char *out_text)
{
    char *next = stpcpy(out_text, "{\"results\":[");
    for (uint32_t i = 0; i < batch->count; i++) {
        struct engine_version version = version_of(&batch->members[i]);
        char tag[ETAG_BYTES];
        next += sprintf(next, "%s{\"status\":%u", i > 0 ? "," : "", status_of(&batch->members[i]));
        if (version.sequence != 0) {
            size_t size = etag_write(version, tag);
            next += sprintf(next, ",\"etag\":\"\\\"%.*s\\\"\"", (int)size - 2, tag + 1);
        }
        next = stpcpy(next, "}");
    }
    next = stpcpy(next, "]}\n");
    return (size_t)(next - out_text);
}

/* Whose conditions do not hold: a check and a write of one key are judged apart. */
static void refuse_conflict(const struct batch *batch, struct problem *problem)
{
    size_t count = 0, key_bytes = 0;
    for (uint32_t i = 0; i < batch->count; i++)
        key_bytes += batch->members[i].step.key.size;
    problem_set_detail(
        problem, PROBLEM_PRECONDITION_FAILED,
        "The conditions of the operations that `failed` lists do not hold: read their "
        "keys again and decide again. Nothing was changed.");
    struct problem_failed *failed = malloc(batch->count * sizeof *failed + key_bytes);
    if (failed == NULL)
        return;
    unsigned char *keys = (unsigned char *)(failed + batch->count);
    for (uint32_t i = 0; i < batch->count; i++) {
        const struct step *step = &batch->members[i].step;
        struct engine_version current = batch->members[i].operation->before;
        if (conditions_judge(&step->conditions, &(struct engine_item){.version = current}) ==
            CONDITIONS_HOLD)
            continue;
        memcpy(keys, step->key.data, step->key.size);
        failed[count++] = (struct problem_failed){i, {keys, step->key.size}, current};
        keys += step->key.size;
    }
    problem->failed = failed;
    problem->failed_count = count;
}

static void commit_and_answer(struct api *api, struct exchange *exchange, struct batch *batch,
                              struct response *response)
{
    struct problem *problem = &exchange->request->problem;
    AUTO_FREE char *body = malloc((size_t)batch->count * RESULT_BYTES + RESULT_BYTES);
    enum status status = STATUS_NO_MEMORY;
    if (body != NULL && reply_reserve(response, 0))
        status = commit(batch, exchange);
    if (status == STATUS_OK) {
        size_t size = write_results(batch, body);
        reply_owned(response, 200, "application/json", TAKE(body), size);
    } else if (status == STATUS_CONFLICT) {
        refuse_conflict(batch, problem);
    } else if (status == STATUS_TOO_LARGE) {
        problem_set(problem, PROBLEM_BATCH_TOO_LARGE);
    } else {
        request_fail(api, exchange->request, status);
    }
}

bool batch_begin(struct api *api, struct exchange *exchange)
{
    return request_begin_json(api, exchange->request);
}

void batch_post(struct api *api, struct exchange *exchange, struct response *out_response)
{
    struct api_request *request = exchange->request;
    struct reader reader;
    struct batch batch;
    bool ok = batch_open(api, &batch) || problem_set(&request->problem, PROBLEM_MEMORY_FULL);
    ok = ok && reader_open(&reader, body_text(&request->body), &request->problem) &&
         reader_object(&reader, read_body, &batch) && reader_end(&reader) &&
         (batch.count > 0 || reader_refuse(&reader, NULL, "it lacks the member ops."));
    if (!ok && batch.context.failed != STATUS_OK)
        request_fail(api, request, batch.context.failed);
    body_close(api->engine, &request->body); /* it is all in the steps */
    ok = ok && pair_members(&batch, &reader);
    if (ok) {
        make_operations(&batch);
        commit_and_answer(api, exchange, &batch, out_response);
    }
    batch_close(&batch);
}
