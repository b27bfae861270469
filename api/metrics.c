/* SPDX-License-Identifier: Apache-2.0 */
/* Counting, and /metrics. */
#include "metrics.h"

#include <inttypes.h>
#include <stdatomic.h>

#include "../engine/stats.h"
#include "handlers.h"
#include "process.h"
#include "reply.h"
#include "request.h"
#include "text.h"

#define PREFIX "keyrest_"

enum { FIGURES_MAX = 32 };

/* Label values of `code`; the last two are for requests that got no answer, and for all others. */
static const unsigned statuses[] = {200, 201, 202, 204, 206, 304, 400, 403, 404, 405, 409, 412,
                                    413, 414, 415, 416, 417, 422, 431, 500, 501, 503, 504, 507};
enum { CODE_ABORTED = COUNT_OF(statuses), CODE_OTHER, CODE_COUNT };

/* One path's counters. Pointers are set once, by whoever counts first; acquire and release, since
 * the counter behind must be seen whole. */
struct path_metrics {
    _Atomic(struct stats_counter *) requests[METHOD_COUNT][CODE_COUNT];
    struct stats_histogram *duration;
};

struct metrics {
    struct stats_counter *begun, *ended, *received, *sent;
    size_t path_count;
    struct path_metrics paths[];
};

struct metrics *metrics_open(void)
{
    size_t path_count = router_path_count();
    struct metrics *metrics = calloc(1, sizeof *metrics + path_count * sizeof(struct path_metrics));
    if (metrics == NULL)
        return NULL;
    metrics->path_count = path_count;
    metrics->begun = stats_counter_open();
    metrics->ended = stats_counter_open();
    metrics->received = stats_counter_open();
    metrics->sent = stats_counter_open();
    bool complete = metrics->begun != NULL && metrics->ended != NULL && metrics->received != NULL &&
                    metrics->sent != NULL;
    for (size_t i = 0; i < path_count; i++) {
        metrics->paths[i].duration = stats_histogram_open();
        complete &= metrics->paths[i].duration != NULL;
    }
    if (complete)
        return metrics;
    metrics_close(metrics);
    return NULL;
}

static void close_path(struct path_metrics *path)
{
    for (size_t method = 0; method < METHOD_COUNT; method++)
        for (size_t code = 0; code < CODE_COUNT; code++)
            stats_counter_close(atomic_load(&path->requests[method][code]));
    stats_histogram_close(path->duration);
}

void metrics_close(struct metrics *metrics)
{
    if (metrics == NULL)
        return;
    for (size_t i = 0; i < metrics->path_count; i++)
        close_path(&metrics->paths[i]);
    stats_counter_close(metrics->begun);
    stats_counter_close(metrics->ended);
    stats_counter_close(metrics->received);
    stats_counter_close(metrics->sent);
    free(metrics);
}

/* ---- counting ---- */

static size_t code_index(unsigned status)
{
    for (size_t i = 0; i < COUNT_OF(statuses); i++)
        if (statuses[i] == status)
            return i;
    return status == 0 ? CODE_ABORTED : CODE_OTHER;
}

/* The counter of one series, made at its first use; NULL: no memory, and nothing is counted. */
static struct stats_counter *series(_Atomic(struct stats_counter *) *slot)
{
    struct stats_counter *counter = atomic_load_explicit(slot, memory_order_acquire);
    if (counter != NULL)
        return counter;
    struct stats_counter *made = stats_counter_open();
    if (made == NULL || atomic_compare_exchange_strong(slot, &counter, made))
        return made;
    stats_counter_close(made);
    return counter;
}

void metrics_begin(struct metrics *metrics)
{
    stats_counter_add(metrics->begun, 1);
}

void metrics_end(struct metrics *metrics, bool begun, enum method method, const struct route *route,
                 const struct api_result *result)
{
    struct path_metrics *path = &metrics->paths[router_path_index(route)];
    struct stats_counter *requests = series(&path->requests[method][code_index(result->status)]);
    if (requests != NULL)
        stats_counter_add(requests, 1);
    stats_histogram_add(path->duration, result->duration_ns);
    if (result->received_bytes > 0)
        stats_counter_add(metrics->received, result->received_bytes);
    if (result->sent_bytes > 0)
        stats_counter_add(metrics->sent, result->sent_bytes);
    if (begun)
        stats_counter_add(metrics->ended, 1);
}

/* ---- rendering ---- */

static void write_head(FILE *out, const char *name, const char *type, const char *help)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void write_one(FILE *out, const char *name, const char *type, const char *help,
                      uint64_t value)
{
    write_head(out, name, type, help);
    fprintf(out, "%s %" PRIu64 "\n", name, value);
}

/* `label` is empty or `name="value"`. */
static void write_histogram(FILE *out, const char *name, const char *label,
                            const struct stats_histogram *histogram)
{
    uint64_t counts[STATS_BUCKETS], sum_ns, seen = 0;
    const char *comma = label[0] != '\0' ? "," : "";
    stats_histogram_read(histogram, counts, &sum_ns);
    for (size_t i = 0; i + 1 < STATS_BUCKETS; i++) {
        seen += counts[i];
        fprintf(out, "%s_bucket{%s%sle=\"%g\"} %" PRIu64 "\n", name, label, comma,
                (double)stats_bucket_bounds_ns[i] / 1e9, seen);
    }
    seen += counts[STATS_BUCKETS - 1];
    fprintf(out, "%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", name, label, comma, seen);
    const char *open = label[0] != '\0' ? "{" : "", *close = label[0] != '\0' ? "}" : "";
    fprintf(out, "%s_sum%s%s%s %.9f\n", name, open, label, close, (double)sum_ns / 1e9);
    fprintf(out, "%s_count%s%s%s %" PRIu64 "\n", name, open, label, close, seen);
}

static void write_requests(FILE *out, struct path_metrics *path, const char *label)
{
    for (enum method method = 0; method < METHOD_COUNT; method++)
        for (size_t code = 0; code < CODE_COUNT; code++) {
            struct stats_counter *counter =
                atomic_load_explicit(&path->requests[method][code], memory_order_acquire);
            if (counter == NULL)
                continue;
            fprintf(out, PREFIX "http_requests_total{method=\"%s\",route=\"%s\",code=\"",
                    method_text(method), label);
            if (code < COUNT_OF(statuses))
                fprintf(out, "%u", statuses[code]);
            else
                fputs(code == CODE_ABORTED ? "aborted" : "other", out);
            fprintf(out, "\"} %" PRIu64 "\n", stats_counter_read(counter));
        }
}

static void write_http(FILE *out, struct metrics *metrics, uint64_t watchers)
{
    write_head(out, PREFIX "http_requests_total", "counter", "Requests, by what became of them.");
    for (size_t i = 0; i < metrics->path_count; i++)
        if (router_path(i) != NULL)
            write_requests(out, &metrics->paths[i], router_path(i));
    write_head(out, PREFIX "http_request_duration_seconds", "histogram",
               "From a request's head to the end of its response, but for waiting for changes.");
    for (size_t i = 0; i < metrics->path_count; i++) {
        char label[80];
        if (router_path(i) == NULL)
            continue;
        snprintf(label, sizeof label, "route=\"%s\"", router_path(i));
        write_histogram(out, PREFIX "http_request_duration_seconds", label,
                        metrics->paths[i].duration);
    }
    uint64_t ended = stats_counter_read(metrics->ended); /* first, so that it is never ahead */
    write_one(out, PREFIX "http_requests_in_flight", "gauge", "Requests begun and not yet ended.",
              stats_counter_read(metrics->begun) - ended);
    write_one(out, PREFIX "watchers", "gauge", "Requests that wait for changes.", watchers);
    write_one(out, PREFIX "http_received_bytes_total", "counter", "Bytes of request bodies.",
              stats_counter_read(metrics->received));
    write_one(out, PREFIX "http_sent_bytes_total", "counter", "Bytes of response bodies.",
              stats_counter_read(metrics->sent));
}

static void write_engine(FILE *out, struct engine *engine)
{
    struct stats *stats = engine_stats(engine);
    for (enum stats_name i = 0; i < STATS_COUNT; i++) {
        const struct stats_row *row = stats_row(i);
        char name[100];
        snprintf(name, sizeof name, PREFIX "%s%s%s%s", row->name, row->unit[0] != '\0' ? "_" : "",
                 row->unit, row->kind == STATS_COUNTER ? "_total" : "");
        if (row->kind == STATS_HISTOGRAM) {
            write_head(out, name, "histogram", row->help);
            write_histogram(out, name, "", stats_read_histogram(stats, i));
        } else if (strcmp(row->unit, "seconds") == 0) {
            write_head(out, name, "gauge", row->help);
            fprintf(out, "%s %.9f\n", name, (double)stats_read(stats, i) / 1e9);
        } else {
            write_one(out, name, row->kind == STATS_COUNTER ? "counter" : "gauge", row->help,
                      stats_read(stats, i));
        }
    }
}

static void write_service(FILE *out, const struct api_options *options)
{
    struct api_figure rows[FIGURES_MAX];
    size_t count = options->figures != NULL
                       ? options->figures(options->figures_context, rows, FIGURES_MAX)
                       : 0;
    for (size_t i = 0; i < count; i++) {
        char name[100];
        snprintf(name, sizeof name, PREFIX "%s", rows[i].name);
        write_one(out, name, rows[i].is_counter ? "counter" : "gauge", rows[i].help, rows[i].value);
    }
    write_head(out, PREFIX "build_info", "gauge", "Always 1; the label tells the version.");
    fprintf(out, PREFIX "build_info{version=\"%s\"} 1\n", options->version);
}

void metrics_get(struct api *api, struct exchange *exchange, struct response *out_response)
{
    (void)exchange;
    struct text text;
    char *body = NULL;
    if (text_open(&text)) {
        write_http(text.out, api->metrics,
                   atomic_load_explicit(&api->watchers, memory_order_relaxed));
        write_engine(text.out, api->engine);
        write_service(text.out, &api->options);
        process_write(text.out);
        body = text_take(&text);
    }
    reply_owned(out_response, 200, "text/plain; version=0.0.4; charset=utf-8", body, text.size);
    reply_header(out_response, "Cache-Control", "no-store");
}
