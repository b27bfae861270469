/* SPDX-License-Identifier: Apache-2.0 */
/* Reading, judging, trying. */
#include "current.h"

static enum status read_item(struct engine *engine, struct bytes key, bool with_value,
                             struct engine_item *out_item)
{
    enum status status =
        with_value ? engine_get(engine, key, out_item) : engine_head(engine, key, out_item);
    return status == STATUS_NOT_FOUND ? STATUS_OK : status; /* it is zero */
}

/* Commits if `item` is still what is there. */
static enum status commit(struct api *api, const struct exchange *exchange,
                          const struct engine_item *item, struct engine_operation *operation)
{
    struct engine_context context = {exchange->deadline_ns, exchange->cancel};
    struct engine_condition still_there = {
        .kind = item->version.sequence != 0 ? ENGINE_IF_ONE_OF : ENGINE_IF_ABSENT,
        .versions = &item->version,
        .version_count = 1,
    };
    operation->conditions = &still_there;
    operation->condition_count = 1;
    enum status status = engine_commit(api->engine, operation, 1, &context);
    operation->conditions = NULL;
    operation->condition_count = 0;
    return status;
}

enum status current_commit(struct api *api, const struct exchange *exchange, bool with_value,
                           current_change *change, void *context,
                           struct engine_operation *operation, struct engine_item *out_item)
{
    const struct api_request *request = exchange->request;
    const struct time_source *time = api->options.time;
    for (;;) {
        struct engine_item item = {0};
        operation->key = request->key;
        enum status status = read_item(api->engine, request->key, with_value, &item);
        bool holds = conditions_judge(&request->conditions, &item) == CONDITIONS_HOLD;
        operation->version = item.version;
        if (status == STATUS_OK && change != NULL)
            status = change(context, &item, operation);
        if (status == STATUS_OK && !holds)
            status = STATUS_CONFLICT;
        if (status == STATUS_OK)
            status = commit(api, exchange, &item, operation);
        if (status == STATUS_OK) {
            *out_item = item;
            return STATUS_OK;
        }
        engine_item_done(&item);
        if (status != STATUS_CONFLICT || !holds)
            return status;
        if (time->monotonic_ns(time) >= exchange->deadline_ns)
            return STATUS_BUSY;
    }
}
