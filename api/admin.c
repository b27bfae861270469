/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /admin/compact, /admin/compactions: asking the engine to reclaim what is dead on the disk, and
 * seeing how that goes. A client waits for the answer only: the compaction goes on without it.
 */
#include <inttypes.h>
#include <stdio.h>

#include "codec.h"
#include "handlers.h"
#include "reply.h"
#include "request.h"

#define COMPACTIONS_PATH "/admin/compactions/"

enum {
    WAIT_SLICE_MS = 250, /* how soon somebody who waits is told that the service stops */
    ID_DIGITS_MAX = 15,
};

/* ---- answering ---- */

static void add_location(struct response *response, uint64_t id)
{
    enum { BYTES = sizeof COMPACTIONS_PATH + 20 };
    char *room = reply_header_room(response, "Location", BYTES);
    if (room != NULL)
        snprintf(room, BYTES, COMPACTIONS_PATH "%" PRIu64, id);
}

static void answer_json(struct response *response, unsigned status, char *body, size_t size)
{
    reply_owned(response, status, "application/json", body, size);
    reply_header(response, "Cache-Control", "no-store");
}

static void answer_row(struct response *response, unsigned status,
                       const struct engine_compaction *row)
{
    size_t size = 0;
    char *body = codec_compaction(row, &size);
    answer_json(response, status, body, size);
    if (status == 202)
        add_location(response, row->id);
}

static void refuse(const struct api *api, struct api_request *request, enum status status)
{
    struct problem *problem = &request->problem;
    request_fail(api, request, status);
    if (status == STATUS_NOT_FOUND)
        problem_set_detail(problem, PROBLEM_ROUTE_NOT_FOUND,
                           "There is no compaction of that id: only the last %d since the start "
                           "are kept, and /admin/compactions lists them.",
                           ENGINE_COMPACTIONS_KEPT);
    if (status == STATUS_UNSUPPORTED)
        problem_set_detail(problem, PROBLEM_UNSUPPORTED,
                           "The engine %s: lacks the capability compact; use file:DIR, which has "
                           "it.",
                           engine_limits(api->engine)->scheme);
}

/* ---- looking ---- */

/* NOT_FOUND: there is none of that id, or not any more. */
static enum status find(const struct api *api, uint64_t id, struct engine_compaction *out_row)
{
    struct engine_compaction rows[ENGINE_COMPACTIONS_KEPT];
    size_t count = 0;
    enum status status = engine_compactions(api->engine, rows, COUNT_OF(rows), &count);
    if (status != STATUS_OK)
        return status;
    for (size_t i = 0; i < count; i++)
        if (rows[i].id == id) {
            *out_row = rows[i];
            return STATUS_OK;
        }
    return STATUS_NOT_FOUND;
}

/* An id as add_location() writes it; 0, which none has, for all else. */
static uint64_t read_id(struct bytes text)
{
    const char *digits = text.data;
    uint64_t id = 0;
    if (text.size == 0 || text.size > ID_DIGITS_MAX || digits[0] == '0')
        return 0;
    for (size_t i = 0; i < text.size; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return 0;
        id = id * 10 + (uint64_t)(digits[i] - '0');
    }
    return id;
}

void compactions_list(struct api *api, struct exchange *exchange, struct response *out_response)
{
    struct engine_compaction rows[ENGINE_COMPACTIONS_KEPT];
    size_t count = 0, size = 0;
    enum status status = engine_compactions(api->engine, rows, COUNT_OF(rows), &count);
    if (status != STATUS_OK) {
        refuse(api, exchange->request, status);
        return;
    }
    char *body = codec_compactions(rows, count, &size);
    answer_json(out_response, 200, body, size);
}

void compactions_get(struct api *api, struct exchange *exchange, struct response *out_response)
{
    struct engine_compaction row;
    enum status status = find(api, read_id(exchange->request->tail), &row);
    if (status == STATUS_OK)
        answer_row(out_response, 200, &row);
    else
        refuse(api, exchange->request, status);
}

/* ---- asking ---- */

/* RUNNING: one runs already, and `out_id` names it. */
static enum status start(struct api *api, const struct exchange *exchange, uint64_t *out_id)
{
    if (request_is_draining(api, exchange))
        return STATUS_CANCELLED; /* it would be given up before it did any good */
    return engine_compact(api->engine, out_id);
}

void compactions_post(struct api *api, struct exchange *exchange, struct response *out_response)
{
    struct api_request *request = exchange->request;
    struct engine_compaction row;
    uint64_t id = 0;
    enum status status = start(api, exchange, &id);
    if (status == STATUS_OK)
        status = find(api, id, &row);
    if (status == STATUS_OK) {
        answer_row(out_response, 202, &row);
        return;
    }
    refuse(api, request, status);
    if (status == STATUS_RUNNING) {
        add_location(out_response, id);
        problem_add_number(&request->problem, "id", id);
    }
}

/* ---- asking and waiting ---- */

/* BUSY: it runs on, and the request's time is over. CANCELLED: the client or the service goes. */
static enum status wait_until_ended(struct api *api, const struct exchange *exchange, uint64_t id)
{
    const struct time_source *time = api->options.time;
    for (;;) {
        uint64_t until_ns = time->monotonic_ns(time) + WAIT_SLICE_MS * UINT64_C(1000000);
        bool last = until_ns >= exchange->deadline_ns;
        struct engine_context context = {last ? exchange->deadline_ns : until_ns, exchange->cancel};
        enum status status = engine_compaction_wait(api->engine, id, &context);
        if (status != STATUS_BUSY || last)
            return status;
        if (request_is_draining(api, exchange))
            return STATUS_CANCELLED;
    }
}

/* A failure is no success of the request either: `curl -f` is to fail, and 507 to be tried again. */
static void refuse_failed(struct api_request *request, const struct engine_compaction *row)
{
    bool full = row->failure == STATUS_NO_SPACE || row->failure == STATUS_NO_MEMORY;
    enum problem_code code = full ? problem_of_status(row->failure) : PROBLEM_COMPACTION_FAILED;
    problem_set_detail(&request->problem, code, "%s (%s)",
                       problem_row(PROBLEM_COMPACTION_FAILED)->hint, status_text(row->failure));
    problem_add_number(&request->problem, "id", row->id);
}

static void answer_outcome(struct api_request *request, struct response *response,
                           const struct engine_compaction *row)
{
    switch (row->state) {
    case ENGINE_COMPACTION_RUNNING:
        answer_row(response, 202, row);
        break;
    case ENGINE_COMPACTION_DONE:
    case ENGINE_COMPACTION_NOTHING:
        answer_row(response, 200, row);
        break;
    case ENGINE_COMPACTION_FAILED:
        refuse_failed(request, row);
        add_location(response, row->id);
        break;
    }
}

void compact_post(struct api *api, struct exchange *exchange, struct response *out_response)
{
    struct api_request *request = exchange->request;
    struct engine_compaction row;
    uint64_t id = 0;
    enum status status = start(api, exchange, &id);
    if (status == STATUS_OK || status == STATUS_RUNNING)
        status = wait_until_ended(api, exchange, id);
    if (status == STATUS_OK || status == STATUS_BUSY)
        status = find(api, id, &row);
    if (status == STATUS_OK)
        answer_outcome(request, out_response, &row);
    else
        refuse(api, request, status);
}
