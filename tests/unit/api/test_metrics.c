/* SPDX-License-Identifier: Apache-2.0 */
/* What is counted, and how it is rendered. */
#include "client.h"

#include <pthread.h>

static char *metrics_of(struct client *client)
{
    struct answer answer = get(client, "/metrics");
    assert_int_equal(answer.response.status, 200);
    assert_header(&answer, "Content-Type", "text/plain; version=0.0.4; charset=utf-8");
    free(answer.headers);
    return answer.body;
}

#define METRICS AUTO_FREE char

static void requests_are_counted_by_method_route_and_code(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER made = put(&client, "/keys/k", "v");
    ANSWER read = get(&client, "/keys/k");
    ANSWER again = get(&client, "/keys/k");
    ANSWER none = get(&client, "/keys/secret-key");
    ANSWER odd = SEND(&client, .method = "BREW", .target = "/some/path");
    ANSWER gone = SEND(&client, .method = "PUT", .target = "/keys/k", .gone = true);
    METRICS *text = metrics_of(&client);
    assert_contains(text, "keyrest_http_requests_total{method=\"PUT\",route=\"/keys/{key}\","
                          "code=\"201\"} 1\n");
    assert_contains(text, "keyrest_http_requests_total{method=\"GET\",route=\"/keys/{key}\","
                          "code=\"200\"} 2\n");
    assert_contains(text, "keyrest_http_requests_total{method=\"GET\",route=\"/keys/{key}\","
                          "code=\"404\"} 1\n");
    assert_contains(text, "keyrest_http_requests_total{method=\"other\",route=\"other\","
                          "code=\"501\"} 1\n");
    assert_contains(text, "keyrest_http_requests_total{method=\"PUT\",route=\"/keys/{key}\","
                          "code=\"aborted\"} 1\n");
    assert_contains(text, "keyrest_http_received_bytes_total 1\n");
    assert_contains(text, "keyrest_http_requests_in_flight 1\n"); /* this one */
    assert_null(strstr(text, "secret-key"));
    assert_null(strstr(text, "BREW"));
}

static void durations_are_histograms_by_route(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER made = put(&client, "/keys/k", "v"); /* the test client says 1 ms */
    METRICS *text = metrics_of(&client);
    assert_contains(text, "# TYPE keyrest_http_request_duration_seconds histogram\n");
    assert_contains(text, "keyrest_http_request_duration_seconds_bucket{route=\"/keys/{key}\","
                          "le=\"0.0005\"} 0\n");
    assert_contains(text, "keyrest_http_request_duration_seconds_bucket{route=\"/keys/{key}\","
                          "le=\"0.001\"} 1\n");
    assert_contains(text, "keyrest_http_request_duration_seconds_bucket{route=\"/keys/{key}\","
                          "le=\"+Inf\"} 1\n");
    assert_contains(text, "keyrest_http_request_duration_seconds_sum{route=\"/keys/{key}\"} "
                          "0.001000000\n");
    assert_contains(text, "keyrest_http_request_duration_seconds_count{route=\"/keys/{key}\"} 1\n");
}

static void engine_process_and_build_are_there(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER made = put(&client, "/keys/k", "v");
    METRICS *text = metrics_of(&client);
    assert_contains(text, "# TYPE keyrest_puts_total counter\nkeyrest_puts_total 1\n");
    assert_contains(text, "# TYPE keyrest_keys gauge\nkeyrest_keys 1\n");
    assert_contains(text, "\nkeyrest_accepted_bytes_total ");
    assert_contains(text, "\nkeyrest_commit_seconds_bucket{le=\"5e-05\"} ");
    assert_contains(text, "\nkeyrest_commit_seconds_count ");
    assert_contains(text, "keyrest_build_info{version=\"1.2.3\"} 1\n");
    assert_contains(text, "\nprocess_resident_memory_bytes ");
    assert_contains(text, "\nprocess_cpu_seconds_total ");
    assert_contains(text, "\nprocess_open_fds ");
    assert_contains(text, "\nprocess_start_time_seconds ");
}

static size_t two_figures(void *context, struct api_figure *out_rows, size_t capacity)
{
    assert_true(capacity >= 2);
    out_rows[0] =
        (struct api_figure){"connections", "Open connections.", false, *(const uint64_t *)context};
    out_rows[1] = (struct api_figure){"accepted_total", "Accepted ones.", true, 9};
    return 2;
}

static void the_service_adds_its_figures(void **state)
{
    (void)state;
    uint64_t connections = 5;
    struct api_options options = {
        .loopback = true, .figures = two_figures, .figures_context = &connections};
    CLIENT client = client_open_with("memory:", options, engine_options_default());
    METRICS *text = metrics_of(&client);
    assert_contains(text, "# HELP keyrest_connections Open connections.\n"
                          "# TYPE keyrest_connections gauge\nkeyrest_connections 5\n");
    assert_contains(text, "# TYPE keyrest_accepted_total counter\nkeyrest_accepted_total 9\n");
}

/* Every line is a comment or `name[{labels}] number`, and a name's HELP and TYPE come once. */
static void the_text_is_well_formed(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    ANSWER made = put(&client, "/keys/k", "v");
    METRICS *text = metrics_of(&client);
    for (char *line = text, *end; *line != '\0'; line = end + 1) {
        end = strchr(line, '\n');
        assert_non_null(end);
        *end = '\0';
        if (strncmp(line, "# TYPE ", 7) == 0) {
            char type[200]; /* without the kind, which is the last word */
            int size = (int)(strrchr(line, ' ') + 1 - line);
            snprintf(type, sizeof type, "%.*s", size, line);
            assert_null(strstr(end + 1, type));
        } else if (line[0] != '#') {
            char *value = strrchr(line, ' '), *rest;
            assert_non_null(value);
            strtod(value + 1, &rest);
            assert_true(*rest == '\0' && rest > value + 1);
        }
        *end = '\n';
    }
}

static size_t count_lines(const char *text)
{
    size_t lines = 0;
    for (; *text != '\0'; text++)
        lines += *text == '\n';
    return lines;
}

static void strange_requests_make_no_new_series(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    size_t lines = 0;
    for (int i = 0; i < 2000; i++) {
        char method[16], target[40];
        snprintf(method, sizeof method, "M%d", i);
        snprintf(target, sizeof target, "/p%d/%d", i, i);
        ANSWER strange = SEND(&client, .method = method, .target = target);
        ANSWER missing = get(&client, target);
        METRICS *text = i == 10 || i == 1999 ? metrics_of(&client) : NULL;
        if (i == 10) {
            METRICS *second = metrics_of(&client); /* the first one's own series is there now */
            lines = count_lines(second);
        }
        if (i == 1999)
            assert_int_equal(count_lines(text), lines);
    }
}

static void *send_many(void *context)
{
    struct client *client = context;
    for (int i = 0; i < 500; i++) {
        ANSWER answer = get(client, "/livez");
        assert_int_equal(answer.response.status, 200);
    }
    return NULL;
}

static void racing_threads_count_every_request(void **state)
{
    (void)state;
    CLIENT client = client_open("memory:");
    pthread_t threads[4];
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        pthread_create(&threads[i], NULL, send_many, &client);
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        pthread_join(threads[i], NULL);
    METRICS *text = metrics_of(&client);
    assert_contains(text, "keyrest_http_requests_total{method=\"GET\",route=\"/livez\","
                          "code=\"200\"} 2000\n");
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("requests are counted by method, route and code",
             requests_are_counted_by_method_route_and_code),
        TEST("durations are histograms by route", durations_are_histograms_by_route),
        TEST("engine, process and build are there", engine_process_and_build_are_there),
        TEST("the service adds its figures", the_service_adds_its_figures),
        TEST("the text is well formed", the_text_is_well_formed),
        TEST("strange requests make no new series", strange_requests_make_no_new_series),
        TEST("racing threads count every request", racing_threads_count_every_request),
    };
    return test_main(argc, argv, "metrics", tests);
}
