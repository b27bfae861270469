/* SPDX-License-Identifier: Apache-2.0 */
/* What the service tells about itself: `/`, /openapi.yaml, /problems/{code}. */
#include "codec.h"
#include "handlers.h"
#include "openapi_yaml.h"
#include "reply.h"
#include "request.h"
#include "text.h"

void discovery_root(struct api *api, struct exchange *exchange, struct response *out_response)
{
    (void)exchange;
    struct engine_health health;
    char epoch[ETAG_EPOCH_DIGITS + 1];
    engine_health(api->engine, &health);
    etag_write_epoch(health.epoch, epoch);
    struct discovery discovery = {
        .version = api->options.version,
        .epoch = health.epoch != 0 ? epoch : NULL,
        .limits = engine_limits(api->engine),
        .condition_tags_max = CONDITIONS_TAGS_MAX,
        .batch_get_keys_max = api->options.batch_get_keys_max,
        .watchers_max = api->options.watchers_max,
        .wait_ms_max = api->options.wait_ms_max,
        .heartbeat_ms = api->options.heartbeat_ms,
    };
    size_t size = 0;
    char *body = codec_discovery(&discovery, &size);
    reply_owned(out_response, 200, "application/json", body, size);
    reply_header(out_response, "Cache-Control", "no-cache");
    reply_header(out_response, "Link", "</openapi.yaml>; rel=\"service-desc\"");
}

void discovery_openapi(struct api *api, struct exchange *exchange, struct response *out_response)
{
    (void)api;
    (void)exchange;
    reply_static(out_response, 200, "application/yaml", openapi_yaml());
    reply_header(out_response, "Cache-Control", "no-cache");
}

void discovery_problem(struct api *api, struct exchange *exchange, struct response *out_response)
{
    (void)api;
    struct api_request *request = exchange->request;
    enum problem_code code = problem_find(request->tail);
    if (code == PROBLEM_NONE) {
        problem_set_detail(&request->problem, PROBLEM_ROUTE_NOT_FOUND,
                           "There is no problem of that code; /openapi.yaml lists the codes.");
        return;
    }
    const struct problem_row *row = problem_row(code);
    struct text text;
    char *body = NULL;
    if (text_open(&text)) {
        fprintf(text.out, "%s\n\nHTTP status %u, code %s.\n\n%s\n", row->title, row->status,
                row->code, row->hint);
        if (row->retry_after_s > 0)
            fprintf(text.out,
                    "\nAsking again may help, after the seconds that Retry-After says.\n");
        body = text_take(&text);
    }
    reply_owned(out_response, 200, "text/plain; charset=utf-8", body, text.size);
    reply_header(out_response, "Cache-Control", "no-cache");
}
