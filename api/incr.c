/* SPDX-License-Identifier: Apache-2.0 */
/* /incr/{key}: a value that is a decimal number, counted up or down where it stands. */
#include <inttypes.h>
#include <stdlib.h>

#include "../engine/number.h"
#include "current.h"
#include "handlers.h"
#include "reply.h"
#include "request.h"

/* How far to count: 1 unless the request says. */
static bool read_by(const struct parameters *parameters, int64_t *out_by, struct problem *problem)
{
    const struct parameter *by = parameters_find(parameters, "by");
    *out_by = 1;
    return by == NULL || number_read(by->value, out_by) ||
           problem_set_detail(problem, PROBLEM_BAD_PARAMETER,
                              "by must be a decimal number from %" PRId64 " to %" PRId64 ".",
                              INT64_MIN, INT64_MAX);
}

/* Takes `text` over, which has room for the number. */
static void answer_number(struct response *response, const struct engine_operation *operation,
                          char *text)
{
    reply_owned(response, 200, "text/plain", text, number_write(operation->number, text));
    reply_version(response, operation->version, operation->expires_ms);
}

/* The engine counts, and judges all but a date. */
static enum status count(struct api *api, const struct exchange *exchange,
                         struct engine_operation *operation)
{
    const struct conditions *conditions = &exchange->request->conditions;
    struct engine_context context = {exchange->deadline_ns, exchange->cancel};
    struct engine_item before = {0};
    if (!conditions->has_unmodified_since) {
        operation->conditions = conditions->items;
        operation->condition_count = conditions->count;
        return engine_commit(api->engine, operation, 1, &context);
    }
    enum status status = current_commit(api, exchange, false, NULL, NULL, operation, &before);
    engine_item_done(&before);
    return status;
}

void incr_post(struct api *api, struct exchange *exchange, struct response *out_response)
{
    struct api_request *request = exchange->request;
    struct engine_operation operation = {.type = ENGINE_ADD, .key = request->key};
    if (!read_by(&request->parameters, &operation.by, &request->problem) ||
        !request_read_conditions(api, exchange))
        return;
    /* Once it is counted no lack of memory may say that it was not: the answer's room comes first. */
    AUTO_FREE char *text = malloc(NUMBER_BYTES_MAX);
    if (text == NULL || !reply_reserve(out_response, 0)) {
        request_fail(api, request, STATUS_NO_MEMORY);
        return;
    }
    enum status status = count(api, exchange, &operation);
    if (status == STATUS_OK)
        answer_number(out_response, &operation, TAKE(text));
    else if (status == STATUS_CONFLICT)
        request_fail_condition(request, operation.version);
    else
        request_fail(api, request, status);
}
