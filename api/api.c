/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of an exchange: what is refused before the body, in order of trust (framing, host,
 * origin, method, path, key, parameters, expectation, then the operation's own checks), the body,
 * the answer.
 */
#include "api.h"

#include <string.h>

#include "codec.h"
#include "handlers.h"
#include "reply.h"
#include "request.h"
#include "trace.h"

/* Texts of the largest size that may be received at once; there is room for many of a usual one. */
enum { API_LARGEST_TEXTS = 2 };

/* Who reads changes at once: enough to keep a disk and some processors busy. */
enum { API_FEEDS = 4 };

/* ---- opening and closing ---- */

static bool render_plain_problems(struct api *api)
{
    for (enum problem_code code = PROBLEM_NONE + 1; code < PROBLEM_COUNT; code++) {
        struct bytes *plain = &api->plain_problems[code];
        plain->data = codec_problem(&(struct problem){.code = code}, &plain->size);
        if (plain->data == NULL)
            return false;
    }
    return true;
}

enum status api_open(struct engine *engine, const struct api_options *options, struct api **out_api)
{
    struct api *api = calloc(1, sizeof *api);
    if (api == NULL)
        return STATUS_NO_MEMORY;
    api->engine = engine;
    api->options = *options;
    gate_init(&api->feeds, API_FEEDS, options->time);
    told_tail_init(&api->tail);
    api->texts.limit = API_LARGEST_TEXTS * request_text_bytes_max(api);
    api->metrics = metrics_open();
    if (api->metrics == NULL || !render_plain_problems(api)) {
        api_close(api);
        return STATUS_NO_MEMORY;
    }
    *out_api = api;
    return STATUS_OK;
}

void api_close(struct api *api)
{
    if (api == NULL)
        return;
    for (size_t i = 0; i < COUNT_OF(api->plain_problems); i++)
        free((void *)api->plain_problems[i].data);
    metrics_close(api->metrics);
    told_tail_done(&api->tail);
    gate_done(&api->feeds);
    free(api);
}

void api_drain(struct api *api)
{
    atomic_store_explicit(&api->draining, true, memory_order_relaxed);
}

/* ---- what is refused before the body ---- */

static bool accept_expectation(const struct headers *headers, struct problem *problem)
{
    uint32_t count = headers->counts[HEADER_EXPECT];
    if (count == 0 || (count == 1 && header_is(headers->values[HEADER_EXPECT], "100-continue")))
        return true;
    return problem_set(problem, PROBLEM_EXPECTATION_FAILED);
}

static bool accept_key(const struct api *api, struct api_request *request)
{
    if (strstr(request->route->path, "{key}") == NULL)
        return true;
    return target_read_key(request->tail, engine_limits(api->engine)->key_bytes_max,
                           request->decoded, &request->key, &request->problem);
}

/* The key comes before the method, so that an empty one is told as such to every method. */
static bool accept_route(const struct api *api, struct api_request *request)
{
    bool asks_for_all = bytes_equal(request->target.path, bytes_of("*"));
    if (request->method == METHOD_OTHER)
        return problem_set(&request->problem, PROBLEM_METHOD_UNKNOWN);
    if (asks_for_all && request->method == METHOD_OPTIONS)
        return true;
    if (request->route == NULL)
        return problem_set(&request->problem, PROBLEM_ROUTE_NOT_FOUND);
    if (!accept_key(api, request))
        return false;
    if (request->method == METHOD_OPTIONS)
        return true;
    request->operation = router_operation(request->route, request->method);
    if (request->operation == NULL)
        return problem_set(&request->problem, PROBLEM_METHOD_NOT_ALLOWED);
    return target_read_parameters(request->target.query, request->operation->parameters,
                                  request->decoded + request->tail.size, &request->parameters,
                                  &request->problem);
}

/* A body that nobody asked for is read and dropped, if that does not take long. */
static bool accept_ignored_body(struct api_request *request)
{
    request->body.limit = API_IGNORED_BODY_BYTES_MAX;
    if (request->framing.content_length <= API_IGNORED_BODY_BYTES_MAX)
        return true;
    problem_set_detail(&request->problem, PROBLEM_VALUE_TOO_LARGE,
                       "%s takes no body here and ignores small ones only: leave the body out.",
                       method_text(request->method));
    problem_add_number(&request->problem, "limit", API_IGNORED_BODY_BYTES_MAX);
    problem_add_number(&request->problem, "actual", request->framing.content_length);
    return false;
}

static bool is_probe(const struct api_request *request)
{
    return request->route != NULL && method_is_safe(request->method) &&
           (request->route->finish == health_live || request->route->finish == health_ready);
}

/* No load may fail it, or who watches would end a process that works. */
static bool asks_whether_alive(const struct api_request *request)
{
    return request->route != NULL && request->route->finish == health_live &&
           method_is_safe(request->method);
}

static bool accept(struct api *api, struct exchange *exchange)
{
    struct api_request *request = exchange->request;
    struct problem *problem = &request->problem;
    if (!headers_read(exchange, &request->headers, problem) ||
        !framing_read(exchange, &request->headers, &request->framing, problem) ||
        !target_read(exchange->target, exchange->target_has_nul, &request->target, problem))
        return false;
    /* Only looked up: so that log and metrics tell where a refusal was aimed. */
    request->route = router_find(request->target.path, &request->tail);
    if (exchange->refusal != NULL && !asks_whether_alive(request))
        return problem_set(problem, problem_find(bytes_of(exchange->refusal)));
    if (!framing_accept_host(&api->options, &request->headers, &request->target, is_probe(request),
                             problem))
        return false;
    if (!method_is_safe(request->method) &&
        !framing_accept_origin(&request->headers, &request->target, problem))
        return false;
    if (!accept_route(api, request) || !accept_expectation(&request->headers, problem))
        return false;
    if (request->operation != NULL && request->operation->begin != NULL)
        return request->operation->begin(api, exchange);
    return accept_ignored_body(request);
}

/* ---- answering ---- */

/* A header of a request that may not have got as far as having its headers read. */
static struct bytes sent(const struct exchange *exchange, enum header_name name)
{
    struct bytes value = {NULL, 0};
    size_t index = 0;
    if (exchange->request != NULL)
        return exchange->request->headers.values[name];
    headers_next(exchange, name, &index, &value);
    return value;
}

/* What every response has, whoever made it. */
static void finish_response(const struct api *api, const struct exchange *exchange,
                            struct response *response)
{
    const struct api_request *request = exchange->request;
    const struct route *route = request != NULL ? request->route : NULL;
    trace_write_request_id(sent(exchange, HEADER_REQUEST_ID), response->request_id);
    trace_write_parent(sent(exchange, HEADER_TRACEPARENT), response->traceparent);
    reply_header_copy(response, "Request-Id", bytes_of(response->request_id));
    reply_seal(response, strcmp(exchange->method, "HEAD") == 0);
    response->route = route != NULL ? route->path : router_other_path;
    response->close |= request_is_draining(api, exchange) || exchange->refusal != NULL;
}

static void add_allow(struct response *response, const struct route *route)
{
    char *room = reply_header_room(response, "Allow", ROUTER_ALLOW_BYTES);
    if (room != NULL)
        router_write_allow(route, room);
}

static void answer_problem(const struct api *api, const struct api_request *request,
                           struct response *response)
{
    enum problem_code code = request->problem.code;
    reply_problem(response, &request->problem, api->plain_problems[code],
                  request->method == METHOD_HEAD);
    if (code == PROBLEM_METHOD_NOT_ALLOWED)
        add_allow(response, request->route);
}

/* ---- the calls ---- */

/* What such a head said about its length is not to be believed. */
static bool distrusts_framing(enum problem_code code)
{
    return code == PROBLEM_BAD_FRAMING || code == PROBLEM_BAD_HOST;
}

size_t api_exchange_bytes(const char *target)
{
    return sizeof(struct api_request) + strlen(target) + 1;
}

enum api_verdict api_begin(struct api *api, struct exchange *exchange,
                           struct response *out_response)
{
    *out_response = (struct response){0};
    struct api_request *request = memset(exchange->memory, 0, sizeof *request);
    exchange->request = request;
    metrics_begin(api->metrics);
    request->method = method_find(exchange->method);
    if (accept(api, exchange))
        return body_is_wanted(&request->body) ? API_BODY : API_NO_BODY;
    if (!framing_has_body(&request->framing) && !distrusts_framing(request->problem.code))
        return API_NO_BODY; /* refused by api_finish: the connection can be kept */
    answer_problem(api, request, out_response);
    finish_response(api, exchange, out_response);
    out_response->close = true;
    return API_REFUSE;
}

bool api_body(struct api *api, struct exchange *exchange, const void *piece, size_t size)
{
    return body_take(api->engine, &exchange->request->body, piece, size);
}

static void work(struct api *api, struct exchange *exchange, struct response *out_response)
{
    struct api_request *request = exchange->request;
    if (body_is_over(&request->body))
        request_fail_body(api, request);
    else if (request->operation != NULL)
        request->operation->finish(api, exchange, out_response);
    else {
        out_response->status = 204;
        add_allow(out_response, request->route);
    }
}

void api_finish(struct api *api, struct exchange *exchange, struct response *out_response)
{
    struct api_request *request = exchange->request;
    *out_response = (struct response){0};
    if (request->problem.code == PROBLEM_NONE)
        work(api, exchange, out_response);
    if (request->problem.code != PROBLEM_NONE)
        answer_problem(api, request, out_response);
    finish_response(api, exchange, out_response);
}

void api_end(struct api *api, struct exchange *exchange, const struct api_result *result)
{
    struct api_request *request = exchange->request;
    struct api_result worked = *result;
    uint64_t waited_ns = request != NULL ? request->waited_ns : 0;
    worked.duration_ns -= waited_ns < worked.duration_ns ? waited_ns : worked.duration_ns;
    metrics_end(api->metrics, request != NULL, method_find(exchange->method),
                request != NULL ? request->route : NULL, &worked);
    if (request == NULL)
        return;
    body_close(api->engine, &request->body);
    problem_done(&request->problem);
    exchange->request = NULL;
}

void api_refuse(struct api *api, const struct exchange *exchange, const char *problem_code,
                unsigned retry_after_s, struct response *out_response)
{
    struct problem problem = {.retry_after_s = retry_after_s};
    enum problem_code code = problem_find(bytes_of(problem_code));
    problem_set(&problem, code != PROBLEM_NONE ? code : PROBLEM_INTERNAL);
    *out_response = (struct response){0};
    reply_problem(out_response, &problem, api->plain_problems[problem.code],
                  strcmp(exchange->method, "HEAD") == 0);
    finish_response(api, exchange, out_response);
}
