/* SPDX-License-Identifier: Apache-2.0 */
/* How the store's state becomes a refusal that tells what to do. */
#include "request.h"

#include <string.h>

#include "codec.h"

bool request_is_draining(const struct api *api, const struct exchange *exchange)
{
    return exchange->draining || atomic_load_explicit(&api->draining, memory_order_relaxed);
}

static void tell_progress(const struct api *api, struct problem *problem)
{
    struct engine_health health;
    engine_health(api->engine, &health);
    problem_add_number(problem, "loaded", health.loaded);
    problem_add_number(problem, "to_load", health.to_load);
}

/* The hint says what to do, the engine knows the reason. */
static void tell_reason(const struct api *api, struct problem *problem)
{
    struct engine_health health;
    engine_health(api->engine, &health);
    if (health.reason[0] != '\0')
        problem_set_detail(problem, problem->code, "%s (%s)", problem_row(problem->code)->hint,
                           health.reason);
}

bool request_fail(const struct api *api, struct api_request *request, enum status status)
{
    struct problem *problem = &request->problem;
    problem_set(problem, problem_of_status(status));
    if (problem->code == PROBLEM_LOADING)
        tell_progress(api, problem);
    if (problem->code == PROBLEM_READ_ONLY || problem->code == PROBLEM_DISK_FULL ||
        problem->code == PROBLEM_MEMORY_FULL)
        tell_reason(api, problem);
    if (problem->code == PROBLEM_VALUE_TOO_LARGE)
        problem_add_number(problem, "limit", engine_limits(api->engine)->value_bytes_max);
    return false;
}

/* Values as base64 or escaped text, and what stands around them. */
uint64_t request_text_bytes_max(const struct api *api)
{
    return 2 * engine_limits(api->engine)->value_bytes_max + (4 << 20);
}

static bool refuse_text(struct api_request *request, uint64_t limit, uint64_t actual)
{
    problem_set_detail(
        &request->problem, PROBLEM_BATCH_TOO_LARGE,
        "The body is too large: send fewer or smaller operations at once. `limit` is "
        "in bytes. Nothing was changed.");
    problem_add_number(&request->problem, "limit", limit);
    problem_add_number(&request->problem, "actual", actual);
    return false;
}

bool request_fail_body(const struct api *api, struct api_request *request)
{
    const struct body *body = &request->body;
    if (body->failed != STATUS_OK)
        return request_fail(api, request, body->failed);
    if (body->budget != NULL)
        return refuse_text(request, body->limit, body->received);
    return request_fail(api, request, STATUS_TOO_LARGE);
}

static bool is_json(const struct headers *headers)
{
    struct bytes type = headers->values[HEADER_CONTENT_TYPE];
    const char *end = type.size > 0 ? memchr(type.data, ';', type.size) : NULL;
    if (end != NULL)
        type.size = (size_t)(end - (const char *)type.data);
    while (type.size > 0 && ((const char *)type.data)[type.size - 1] == ' ')
        type.size--;
    return headers->counts[HEADER_CONTENT_TYPE] == 1 && header_is(type, "application/json");
}

bool request_begin_json(struct api *api, struct api_request *request)
{
    uint64_t limit = request_text_bytes_max(api);
    if (!is_json(&request->headers))
        return problem_set(&request->problem, PROBLEM_MEDIA_TYPE);
    if (request->framing.content_length > limit)
        return refuse_text(request, limit, request->framing.content_length);
    enum status status = body_open_text(&request->body, &api->texts, limit);
    return status == STATUS_OK || request_fail(api, request, status);
}

bool request_charge_values(struct api *api, struct api_request *request, uint64_t value_bytes,
                           uint64_t *out_charged)
{
    *out_charged = value_bytes * CODEC_BYTES_PER_VALUE_BYTE;
    return text_budget_charge(&api->texts, *out_charged) || request_fail(api, request, STATUS_BUSY);
}

bool request_read_conditions(const struct api *api, struct exchange *exchange)
{
    struct api_request *request = exchange->request;
    return conditions_read(exchange, &request->headers, api->options.time, &request->conditions,
                           &request->problem);
}

bool request_fail_condition(struct api_request *request, struct engine_version current)
{
    problem_set(&request->problem, PROBLEM_PRECONDITION_FAILED);
    if (current.sequence != 0)
        etag_write(current, request->problem.etag);
    return false;
}
