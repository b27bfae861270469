/* SPDX-License-Identifier: Apache-2.0 */
/* How the store's state becomes a refusal that tells what to do. */
#include "request.h"

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

bool request_fail_condition(struct api_request *request, struct engine_version current)
{
    problem_set(&request->problem, PROBLEM_PRECONDITION_FAILED);
    if (current.sequence != 0)
        etag_write(current, request->problem.etag);
    return false;
}
