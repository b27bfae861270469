/* SPDX-License-Identifier: Apache-2.0 */
/* /keys/{key}: one value as a resource (RFC 9110 section 9.3). */
#include <string.h>

#include "current.h"
#include "handlers.h"
#include "meta.h"
#include "range.h"
#include "reply.h"
#include "request.h"
#include "watch.h"

#define KEY_PATH "/keys/"

/* ---- reading ---- */

static void add_kept_headers(struct response *response, struct bytes meta)
{
    enum meta_header header;
    struct bytes value;
    bool typed = false;
    while (meta_next(&meta, &header, &value)) {
        reply_header_copy(response, meta_header_text(header), value);
        typed |= header == META_CONTENT_TYPE;
    }
    if (!typed)
        reply_header(response, "Content-Type", "application/octet-stream");
    /* What somebody stored must not run as a page of this service's origin. */
    reply_header(response, "X-Content-Type-Options", "nosniff");
    reply_header(response, "Content-Security-Policy", "sandbox");
}

/* Hands the bytes of the range over where they are, or releases them when there are none to send. */
static void take_value(struct response *response, struct engine_item *item,
                       const struct range *range)
{
    response->body_bytes = range->count;
    if (item->value.data == NULL || range->count == 0) {
        response->body_kind = range->count > 0 ? RESPONSE_OMITTED : RESPONSE_NONE;
        engine_item_done(item);
        return;
    }
    response->body = (const char *)item->value.data + range->first;
    response->body_kind = item->release != NULL ? RESPONSE_OWNED : RESPONSE_STATIC;
    response->release = item->release;
    response->owner = item->owner;
}

static void add_content_range(struct response *response, const struct range *range, uint64_t size)
{
    char *room = reply_header_room(response, "Content-Range", RANGE_CONTENT_BYTES);
    if (room != NULL)
        range_write(range, size, room);
}

static void answer_value(const struct api *api, struct response *response, struct engine_item *item,
                         const struct range *range)
{
    const struct time_source *time = api->options.time;
    response->status = range->kind == RANGE_PART ? 206 : 200;
    if (range->kind == RANGE_PART)
        add_content_range(response, range, item->value.size);
    reply_version(response, item->version, item->expires_ms);
    reply_last_modified(response, item->modified_ms, time->wall_ms(time));
    reply_header(response, "Cache-Control", "no-cache"); /* keep, but ask each time */
    reply_header(response, "Accept-Ranges", "bytes");
    add_kept_headers(response, item->meta);
    take_value(response, item, range);
}

static void answer_not_modified(struct response *response, struct engine_item *item)
{
    reply_not_modified(response, item->version, item->expires_ms, item->value.size);
    reply_header(response, "Cache-Control", "no-cache");
    engine_item_done(item);
}

static void refuse_range(struct api_request *request, struct response *response,
                         const struct engine_item *item, const struct range *range)
{
    problem_set(&request->problem, PROBLEM_RANGE_UNSATISFIABLE);
    problem_add_number(&request->problem, "size", item->value.size);
    etag_write(item->version, request->problem.etag);
    add_content_range(response, range, item->value.size);
}

/* Range is for GET alone (RFC 9110 section 14.2). */
static struct range select_range(const struct api_request *request, const struct engine_item *item)
{
    if (request->method != METHOD_GET)
        return (struct range){RANGE_WHOLE, 0, item->value.size};
    return range_select(&request->headers, item->version, item->value.size);
}

/*
 * Looks (get or head) and judges by what was found. True: the item is the caller's to answer with that
 * range of it. False: answered or refused.
 */
static bool find(struct api *api, struct api_request *request, struct response *response,
                 enum status (*look)(struct engine *, struct bytes, struct engine_item *),
                 struct engine_item *out_item, struct range *out_range)
{
    *out_item = (struct engine_item){0};
    enum status status = look(api->engine, request->key, out_item);
    if (status != STATUS_OK)
        return request_fail(api, request, status);
    switch (conditions_judge(&request->conditions, out_item)) {
    case CONDITIONS_HOLD:
        *out_range = select_range(request, out_item);
        if (out_range->kind != RANGE_UNSATISFIABLE)
            return true;
        refuse_range(request, response, out_item, out_range);
        break;
    case CONDITIONS_NOT_MODIFIED:
        answer_not_modified(response, out_item);
        return false;
    case CONDITIONS_FAILED:
        request_fail_condition(request, out_item->version);
        break;
    }
    engine_item_done(out_item);
    return false;
}

/*
 * With conditions or a range the version is asked first, so that neither 304 nor 416 copies a value.
 * It may be a newer one by then: it is judged again, by its own version.
 */
void key_get(struct api *api, struct exchange *exchange, struct response *out_response)
{
    struct api_request *request = exchange->request;
    struct engine_item item;
    struct range range;
    bool head = request->method == METHOD_HEAD;
    if (!request_read_conditions(api, exchange) || !watch_key(api, exchange))
        return;
    if (!head &&
        (!conditions_are_none(&request->conditions) || request->headers.counts[HEADER_RANGE] > 0)) {
        if (!find(api, request, out_response, engine_head, &item, &range))
            return;
        engine_item_done(&item);
    }
    if (find(api, request, out_response, head ? engine_head : engine_get, &item, &range))
        answer_value(api, out_response, &item, &range);
}

/* ---- writing ---- */

static bool expects_continue(const struct exchange *exchange)
{
    return exchange->request->headers.counts[HEADER_EXPECT] > 0 && exchange->http_1_1;
}

/*
 * A client that waits before it sends its body, or whose body is too large to swallow, is told now
 * that a condition does not hold. For others the commit alone judges: refusing now would cost them
 * their connection. Whatever holds now is judged again by the commit.
 */
static bool accept_conditions(struct api *api, struct exchange *exchange)
{
    struct api_request *request = exchange->request;
    if (conditions_are_none(&request->conditions) ||
        (!expects_continue(exchange) &&
         request->framing.content_length <= API_IGNORED_BODY_BYTES_MAX))
        return true;
    struct engine_item item = {0};
    enum status status = engine_head(api->engine, request->key, &item); /* still 0 when absent */
    bool accepted = (status != STATUS_OK && status != STATUS_NOT_FOUND) ||
                    conditions_judge(&request->conditions, &item) == CONDITIONS_HOLD ||
                    request_fail_condition(request, item.version);
    engine_item_done(&item);
    return accepted;
}

static bool accept_length(const struct api *api, struct api_request *request)
{
    uint64_t limit = engine_limits(api->engine)->value_bytes_max;
    if (request->framing.content_length <= limit)
        return true;
    problem_set(&request->problem, PROBLEM_VALUE_TOO_LARGE);
    problem_add_number(&request->problem, "limit", limit);
    problem_add_number(&request->problem, "actual", request->framing.content_length);
    return false;
}

/* `return=previous`, or nothing. */
static bool read_return(struct api_request *request)
{
    const struct parameter *found = parameters_find(&request->parameters, "return");
    request->returns_previous = found != NULL;
    return found == NULL || bytes_equal(found->value, bytes_of("previous")) ||
           problem_set_detail(&request->problem, PROBLEM_BAD_PARAMETER,
                              "return is previous: leave it out for an answer without a value.");
}

static bool read_parameters(const struct api *api, struct api_request *request)
{
    const struct time_source *time = api->options.time;
    return read_return(request) && expiry_read(&request->parameters, time->wall_ms(time),
                                               &request->expiry, &request->problem);
}

bool key_put_begin(struct api *api, struct exchange *exchange)
{
    struct api_request *request = exchange->request;
    uint32_t meta_bytes_max = engine_limits(api->engine)->meta_bytes_max;
    AUTO_FREE unsigned char *meta = NULL;
    size_t meta_bytes = 0;
    if (request->headers.counts[HEADER_CONTENT_RANGE] > 0)
        return problem_set(&request->problem, PROBLEM_CONTENT_RANGE_REFUSED);
    if (!read_parameters(api, request) || !request_read_conditions(api, exchange) ||
        !meta_encode(exchange, &request->headers, meta_bytes_max, &meta, &meta_bytes,
                     &request->problem) ||
        !accept_length(api, request) || !accept_conditions(api, exchange))
        return false;
    enum status status =
        body_open(api->engine, &request->body, request->key, (struct bytes){meta, meta_bytes},
                  !request->framing.chunked, request->framing.content_length);
    return status == STATUS_OK || request_fail(api, request, status);
}

static size_t location_bytes(struct bytes key)
{
    return sizeof KEY_PATH + 3 * key.size;
}

/* A write on its way, for what is made of the version that it replaces. */
struct write {
    struct api *api;
    struct exchange *exchange;
    struct response *response;
};

/*
 * Once it is applied no lack of memory may say that it was not: the answer's room comes first, that
 * of the headers kept with what is replaced, too.
 */
static enum status prepare(void *context, const struct engine_item *replaced,
                           struct engine_operation *operation)
{
    const struct write *write = context;
    const struct api_request *request = write->exchange->request;
    const struct time_source *time = write->api->options.time;
    operation->expires_ms = expiry_ms(&request->expiry, time->wall_ms(time), replaced->expires_ms);
    return reply_reserve(write->response, location_bytes(request->key) + replaced->meta.size)
               ? STATUS_OK
               : STATUS_NO_MEMORY;
}

static enum status apply(struct write *write, struct engine_operation *operation,
                         struct engine_item *out_replaced)
{
    struct exchange *exchange = write->exchange;
    const struct api_request *request = exchange->request;
    struct engine_context context = {exchange->deadline_ns, exchange->cancel};
    *out_replaced = (struct engine_item){0};
    if (request->returns_previous || request->expiry.kind == EXPIRY_KEPT ||
        request->conditions.has_unmodified_since)
        return current_commit(write->api, exchange, request->returns_previous, prepare, write,
                              operation, out_replaced);
    enum status status = prepare(write, out_replaced, operation);
    operation->conditions = request->conditions.items;
    operation->condition_count = request->conditions.count;
    return status == STATUS_OK ? engine_commit(write->api->engine, operation, 1, &context) : status;
}

/*
 * One operation on the request's key, judged and applied by the engine. False: refused. `out_replaced`
 * is what was there, as far as the answer needs it.
 */
static bool commit(struct api *api, struct exchange *exchange, enum engine_operation_type type,
                   struct engine_operation *out_operation, struct engine_item *out_replaced,
                   struct response *response)
{
    struct api_request *request = exchange->request;
    struct write write = {api, exchange, response};
    *out_operation = (struct engine_operation){
        .type = type,
        .key = request->key,
        .value = request->body.value,
    };
    enum status status = apply(&write, out_operation, out_replaced);
    if (status == STATUS_OK)
        return true;
    if (status == STATUS_CONFLICT)
        return request_fail_condition(request, out_operation->version);
    return request_fail(api, request, status);
}

/* What was there becomes the answer, or is released when nobody asked for it. */
static void answer_replaced(const struct api_request *request, struct response *response,
                            struct engine_item *replaced)
{
    if (!request->returns_previous || replaced->version.sequence == 0) {
        engine_item_done(replaced);
        return;
    }
    const struct range whole = {RANGE_WHOLE, 0, replaced->value.size};
    response->status = 200;
    reply_tag(response, "Keyrest-Previous-ETag", replaced->version);
    add_kept_headers(response, replaced->meta);
    take_value(response, replaced, &whole);
}

static void add_location(struct response *response, struct bytes key)
{
    char *room = reply_header_room(response, "Location", location_bytes(key));
    if (room == NULL)
        return;
    char *encoded = stpcpy(room, KEY_PATH);
    encoded[target_write_key(key, encoded)] = '\0';
}

void key_put(struct api *api, struct exchange *exchange, struct response *out_response)
{
    struct api_request *request = exchange->request;
    struct engine_operation operation;
    struct engine_item replaced;
    if (!commit(api, exchange, ENGINE_PUT, &operation, &replaced, out_response))
        return;
    request->body.value = NULL; /* the engine's now */
    out_response->status = 204;
    if (operation.outcome == ENGINE_CREATED) {
        out_response->status = 201;
        add_location(out_response, request->key);
    }
    reply_version(out_response, operation.version, operation.expires_ms);
    answer_replaced(request, out_response, &replaced);
}

/* An absent key is 404 whatever the conditions say: RFC 9110 section 13.2.1. */
void key_delete(struct api *api, struct exchange *exchange, struct response *out_response)
{
    struct api_request *request = exchange->request;
    struct engine_operation operation;
    struct engine_item replaced;
    if (!read_return(request) || !request_read_conditions(api, exchange))
        return;
    bool done = commit(api, exchange, ENGINE_DELETE, &operation, &replaced, out_response);
    bool absent = done ? operation.outcome == ENGINE_ABSENT
                       : request->problem.code == PROBLEM_PRECONDITION_FAILED &&
                             operation.version.sequence == 0;
    if (absent) {
        problem_set(&request->problem, PROBLEM_KEY_NOT_FOUND);
    } else if (done) {
        out_response->status = 204;
        answer_replaced(request, out_response, &replaced);
    }
}
