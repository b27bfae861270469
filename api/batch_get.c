/* SPDX-License-Identifier: Apache-2.0 */
/* /batch/get: many keys in one answer, each as it is when it is read. */
#include <stdlib.h>

#include "codec.h"
#include "handlers.h"
#include "reply.h"
#include "request.h"
#include "step.h"

struct lookup {
    struct engine *engine;
    uint32_t keys_max;
    struct listed *items;
    size_t count;
    uint64_t value_bytes;
};

static void lookup_close(struct lookup *lookup)
{
    for (size_t i = 0; i < lookup->count; i++) {
        free((void *)lookup->items[i].key.data);
        engine_item_done(&lookup->items[i].item);
    }
    free(lookup->items);
}

/* ---- reading ---- */

static bool add_key(struct lookup *lookup, struct reader *reader, const char *member,
                    struct bytes given, bool is_base64)
{
    uint32_t key_bytes_max = engine_limits(lookup->engine)->key_bytes_max;
    struct listed *item = &lookup->items[lookup->count];
    if (!step_read_key(reader, member, given, is_base64, key_bytes_max, &item->key))
        return false;
    lookup->count++;
    return true;
}

static bool read_base64(void *context, struct reader *reader, struct bytes name)
{
    struct reader_text *text = context;
    if (!bytes_equal(name, bytes_of("key_base64")) || text->owner != NULL)
        return reader_refuse(reader, NULL, "a key is a text, or has the member key_base64, once.");
    return reader_text(reader, text);
}

static bool read_key(void *context, struct reader *reader)
{
    struct lookup *lookup = context;
    struct reader_text text = {{NULL, 0}, NULL};
    bool is_base64 = reader_is_at_object(reader);
    if (lookup->count == lookup->keys_max) {
        problem_set_detail(reader->problem, PROBLEM_BATCH_TOO_LARGE,
                           "There are more than %u keys: ask for fewer at once.", lookup->keys_max);
        problem_add_number(reader->problem, "limit", lookup->keys_max);
        return false;
    }
    bool ok = is_base64 ? reader_object(reader, read_base64, &text) : reader_text(reader, &text);
    if (ok && text.owner == NULL)
        ok = reader_refuse(reader, NULL, "it lacks the member key_base64.");
    ok = ok && add_key(lookup, reader, is_base64 ? "key_base64" : NULL, text.bytes, is_base64);
    reader_text_done(&text);
    return ok;
}

static bool read_body(void *context, struct reader *reader, struct bytes name)
{
    const struct lookup *lookup = context;
    if (!bytes_equal(name, bytes_of("keys")))
        return reader_refuse(reader, NULL, "there is the member keys only.");
    if (lookup->count > 0)
        return reader_refuse(reader, NULL, "it is given twice.");
    return reader_array(reader, read_key, context) &&
           (lookup->count > 0 || reader_refuse(reader, NULL, "there is no key in it."));
}

/* ---- looking ---- */

static bool refuse_size(struct api_request *request, uint64_t limit)
{
    problem_set_detail(&request->problem, PROBLEM_BATCH_TOO_LARGE,
                       "The values together are larger than one value may be: ask for fewer at "
                       "once, or get large ones one by one. `limit` is in bytes.");
    problem_add_number(&request->problem, "limit", limit);
    return false;
}

/* Leaves an item without key where there is none, and one without version where it is damaged. */
static bool find(struct api *api, struct api_request *request, struct lookup *lookup)
{
    uint64_t limit = engine_limits(api->engine)->value_bytes_max;
    for (size_t i = 0; i < lookup->count; i++) {
        struct listed *item = &lookup->items[i];
        enum status status = engine_get(api->engine, item->key, &item->item);
        if (status == STATUS_NOT_FOUND)
            item->key.size = 0;
        else if (status != STATUS_OK && status != STATUS_CORRUPT)
            return request_fail(api, request, status);
        lookup->value_bytes += item->item.value.size;
        if (lookup->value_bytes > limit)
            return refuse_size(request, limit);
    }
    return true;
}

void batch_get(struct api *api, struct exchange *exchange, struct response *out_response)
{
    struct api_request *request = exchange->request;
    struct reader reader;
    uint32_t keys_max = api->options.batch_get_keys_max;
    struct lookup lookup = {.engine = api->engine,
                            .keys_max = keys_max,
                            .items = calloc(keys_max, sizeof(struct listed))};
    bool ok = lookup.items != NULL || problem_set(&request->problem, PROBLEM_MEMORY_FULL);
    ok = ok && reader_open(&reader, body_text(&request->body), &request->problem) &&
         reader_object(&reader, read_body, &lookup) && reader_end(&reader) &&
         (lookup.count > 0 || reader_refuse(&reader, NULL, "it lacks the member keys."));
    body_close(api->engine, &request->body);
    uint64_t charged;
    if (ok && find(api, request, &lookup) &&
        request_charge_values(api, request, lookup.value_bytes, &charged)) {
        size_t size = 0;
        char *body = codec_found(lookup.items, lookup.count, &size);
        reply_charged(out_response, "application/json", body, size, &api->texts, charged);
        reply_header(out_response, "Cache-Control", "no-store");
    }
    lookup_close(&lookup);
}
