/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /ttl/{key}: how long a key is to live still, told and set beside its value. To set it writes the
 * same value and headers again: the version changes, since the expiry is part of it.
 */
#include <stdlib.h>
#include <string.h>

#include "codec.h"
#include "current.h"
#include "handlers.h"
#include "reader.h"
#include "reply.h"

/* ---- telling ---- */

/* No cache is to keep it: what is left is less each time, under the same ETag. */
static void answer_ttl(struct response *response, const struct engine_item *item, int64_t now_ms,
                       bool modified)
{
    size_t size = 0;
    char *body = codec_ttl(item->expires_ms, now_ms, &size);
    if (modified || body == NULL) {
        reply_owned(response, 200, "application/json", body, size);
        reply_version(response, item->version, item->expires_ms);
    } else {
        reply_not_modified(response, item->version, item->expires_ms, size);
        free(body);
    }
    reply_header(response, "Cache-Control", "no-store");
}

void ttl_get(struct api *api, struct exchange *exchange, struct response *out_response)
{
    struct api_request *request = exchange->request;
    const struct time_source *time = api->options.time;
    struct engine_item item = {0};
    if (!request_read_conditions(api, exchange))
        return;
    enum status status = engine_head(api->engine, request->key, &item);
    if (status != STATUS_OK) {
        request_fail(api, request, status);
        return;
    }
    enum conditions_verdict verdict = conditions_judge(&request->conditions, &item);
    if (verdict == CONDITIONS_FAILED)
        request_fail_condition(request, item.version);
    else
        answer_ttl(out_response, &item, time->wall_ms(time), verdict == CONDITIONS_HOLD);
    engine_item_done(&item);
}

/* ---- setting ---- */

/* What the body says. */
struct lifetime {
    struct expiry expiry;
    int64_t now_ms;
    bool is_given;
};

static bool read_member(void *context, struct reader *reader, struct bytes name)
{
    struct lifetime *lifetime = context;
    struct reader_text text;
    bool is_ttl = bytes_equal(name, bytes_of("ttl"));
    if (!is_ttl && !bytes_equal(name, bytes_of("expires")))
        return reader_refuse(reader, NULL, "there are the members ttl and expires only.");
    if (lifetime->is_given)
        return reader_refuse(reader, NULL, "give either ttl or expires, once.");
    if (!reader_text(reader, &text))
        return false;
    lifetime->is_given = true;
    bool ok = is_ttl ? expiry_read_after(text.bytes, lifetime->now_ms, &lifetime->expiry)
                     : expiry_read_at(text.bytes, lifetime->now_ms, &lifetime->expiry);
    reader_text_done(&text);
    return ok ||
           reader_refuse(reader, NULL, "it must be %s.", is_ttl ? DURATION_SHAPE : EXPIRY_AT_SHAPE);
}

static bool read_body(const struct api *api, struct api_request *request)
{
    const struct time_source *time = api->options.time;
    struct lifetime lifetime = {.now_ms = time->wall_ms(time)};
    struct reader reader;
    if (!reader_open(&reader, body_text(&request->body), &request->problem) ||
        !reader_object(&reader, read_member, &lifetime) || !reader_end(&reader))
        return false;
    request->expiry = lifetime.expiry;
    return lifetime.is_given ||
           reader_refuse(&reader, NULL,
                         "it lacks the member ttl or expires; DELETE makes the key permanent.");
}

/* A change on its way. */
struct change {
    struct api *api;
    const struct api_request *request;
    struct response *response;
};

/* The same value and headers with another expiry; nothing, if it is that one already. */
static enum status rewrite(void *context, const struct engine_item *item,
                           struct engine_operation *operation)
{
    const struct change *change = context;
    const struct time_source *time = change->api->options.time;
    struct engine *engine = change->api->engine;
    if (item->version.sequence == 0)
        return STATUS_NOT_FOUND;
    if (!reply_reserve(change->response, 0))
        return STATUS_NO_MEMORY;
    engine_value_close(engine, operation->value); /* of the attempt before */
    operation->value = NULL;
    operation->type = ENGINE_CHECK;
    operation->expires_ms =
        expiry_ms(&change->request->expiry, time->wall_ms(time), item->expires_ms);
    if (operation->expires_ms == item->expires_ms)
        return STATUS_OK;
    operation->type = ENGINE_PUT;
    enum status status =
        engine_value_open(engine, operation->key, item->meta, item->value.size, &operation->value);
    if (status != STATUS_OK)
        return status;
    operation->value->size = item->value.size;
    if (item->value.size > 0)
        memcpy(operation->value->data, item->value.data, item->value.size);
    return STATUS_OK;
}

static void set_expiry(struct api *api, struct exchange *exchange, struct response *response)
{
    struct api_request *request = exchange->request;
    struct change change = {api, request, response};
    struct engine_operation operation = {.type = ENGINE_CHECK};
    struct engine_item item = {0};
    if (!request_read_conditions(api, exchange))
        return;
    enum status status = current_commit(api, exchange, true, rewrite, &change, &operation, &item);
    if (status == STATUS_OK) {
        response->status = 204;
        reply_version(response, operation.version, operation.expires_ms);
    } else if (status == STATUS_CONFLICT) {
        request_fail_condition(request, operation.version);
    } else {
        request_fail(api, request, status);
    }
    engine_value_close(api->engine, operation.value);
    engine_item_done(&item);
}

bool ttl_put_begin(struct api *api, struct exchange *exchange)
{
    return request_begin_json(api, exchange->request);
}

void ttl_put(struct api *api, struct exchange *exchange, struct response *out_response)
{
    if (read_body(api, exchange->request))
        set_expiry(api, exchange, out_response);
}

void ttl_delete(struct api *api, struct exchange *exchange, struct response *out_response)
{
    exchange->request->expiry = (struct expiry){EXPIRY_NEVER, 0};
    set_expiry(api, exchange, out_response);
}
