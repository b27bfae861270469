/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /livez, /readyz, /healthz: texts and parameters as in Kubernetes. A check that only informs is
 * shown with its mark and never fails the probe: a full or read-only store still answers reads, and
 * taking it out of service would take the reads away too.
 */
#include <inttypes.h>
#include <string.h>

#include "handlers.h"
#include "reply.h"
#include "request.h"
#include "text.h"

struct check {
    const char *name;
    bool ok;
    bool informs; /* does not decide */
    char detail[512];
};

enum { CHECKS_MAX = 6 };

struct checks {
    struct check items[CHECKS_MAX];
    size_t count;
};

static struct check *add(struct checks *checks, const char *name, bool ok)
{
    struct check *check = &checks->items[checks->count++];
    check->name = name;
    check->ok = ok;
    check->informs = false;
    check->detail[0] = '\0';
    return check;
}

static void add_loaded(struct checks *checks, const struct engine_health *health)
{
    bool loaded = health->state != ENGINE_LOADING && health->state != ENGINE_UNUSABLE;
    struct check *check = add(checks, "loaded", loaded);
    if (health->state == ENGINE_LOADING)
        snprintf(check->detail, sizeof check->detail, "%" PRIu64 " of %" PRIu64 " bytes",
                 health->loaded, health->to_load);
    else if (!loaded)
        snprintf(check->detail, sizeof check->detail, "%s", health->reason);
}

static void add_writable(struct checks *checks, const struct engine_health *health)
{
    struct check *check = add(checks, "writable", health->writable == STATUS_OK);
    check->informs = true;
    if (!check->ok)
        snprintf(check->detail, sizeof check->detail, "%s%s%s", status_text(health->writable),
                 health->reason[0] != '\0' ? ": " : "", health->reason);
}

static void add_durability(struct checks *checks, const struct engine_limits *limits,
                           const struct engine_health *health)
{
    bool lazy = strncmp(limits->durability, "interval", strlen("interval")) == 0;
    struct check *check = add(checks, "durability", true);
    check->informs = true;
    if (lazy)
        snprintf(
            check->detail, sizeof check->detail,
            "%s: a crash of the machine may take back answered writes of the last interval; the "
            "oldest not yet on disk is %" PRIu64 " ms old",
            limits->durability, health->oldest_unsynced_ms);
    else
        snprintf(check->detail, sizeof check->detail, "%s", limits->durability);
}

/* The newest one tells: that it failed, or how far it is. */
static void add_compaction(struct checks *checks, struct engine *engine)
{
    struct engine_compaction newest;
    size_t count = 0;
    if ((engine_limits(engine)->capabilities & ENGINE_COMPACT) == 0)
        return;
    struct check *check = add(checks, "compaction", true);
    check->informs = true;
    if (engine_compactions(engine, &newest, 1, &count) != STATUS_OK || count == 0)
        return;
    check->ok = newest.state != ENGINE_COMPACTION_FAILED;
    if (!check->ok)
        snprintf(check->detail, sizeof check->detail, "%s", status_text(newest.failure));
    if (newest.state == ENGINE_COMPACTION_RUNNING)
        snprintf(check->detail, sizeof check->detail, "%u %% done", newest.percent);
}

static bool is_excluded(const struct parameters *parameters, const char *name)
{
    for (size_t i = 0; i < parameters->count; i++)
        if (bytes_equal(parameters->items[i].name, bytes_of("exclude")) &&
            bytes_equal(parameters->items[i].value, bytes_of(name)))
            return true;
    return false;
}

static bool is_check(const struct checks *checks, struct bytes name)
{
    for (size_t i = 0; i < checks->count; i++)
        if (bytes_equal(bytes_of(checks->items[i].name), name))
            return true;
    return false;
}

static void write_checks(FILE *out, const struct checks *checks,
                         const struct parameters *parameters)
{
    for (size_t i = 0; i < checks->count; i++) {
        const struct check *check = &checks->items[i];
        if (is_excluded(parameters, check->name))
            fprintf(out, "[+]%s excluded: ok\n", check->name);
        else
            fprintf(out, "[%c]%s %s%s%s\n", check->ok ? '+' : '-', check->name,
                    check->ok ? "ok" : "failed", check->detail[0] != '\0' ? ": " : "",
                    check->detail);
    }
    for (size_t i = 0; i < parameters->count; i++) {
        const struct parameter *parameter = &parameters->items[i];
        if (bytes_equal(parameter->name, bytes_of("exclude")) &&
            !is_check(checks, parameter->value))
            fprintf(out, "warn: no check is called \"%.*s\": nothing was excluded for it\n",
                    (int)parameter->value.size, (const char *)parameter->value.data);
    }
}

static void answer(const struct api_request *request, struct response *response,
                   const struct checks *checks)
{
    const struct parameters *parameters = &request->parameters;
    const char *name = request->operation->path + 1;
    bool passed = true;
    for (size_t i = 0; i < checks->count; i++)
        passed &= checks->items[i].ok || checks->items[i].informs ||
                  is_excluded(parameters, checks->items[i].name);
    reply_header(response, "Cache-Control", "no-store");
    if (passed && parameters_find(parameters, "verbose") == NULL) {
        reply_static(response, 200, "text/plain; charset=utf-8", bytes_of("ok"));
        return;
    }
    struct text text;
    if (!text_open(&text)) {
        reply_owned(response, 507, "text/plain", NULL, 0);
        return;
    }
    write_checks(text.out, checks, parameters);
    fprintf(text.out, "%s check %s\n", name, passed ? "passed" : "failed");
    char *bytes = text_take(&text);
    reply_owned(response, passed ? 200 : 503, "text/plain; charset=utf-8", bytes, text.size);
    if (!passed)
        reply_header(response, "Retry-After", "1");
}

/* That this is answered is the check. */
void health_live(struct api *api, struct exchange *exchange, struct response *out_response)
{
    (void)api;
    struct checks checks = {.count = 0};
    add(&checks, "ping", true);
    answer(exchange->request, out_response, &checks);
}

void health_ready(struct api *api, struct exchange *exchange, struct response *out_response)
{
    struct checks checks = {.count = 0};
    struct engine_health health;
    engine_health(api->engine, &health);
    add(&checks, "ping", true);
    add(&checks, "shutdown", !request_is_draining(api, exchange));
    add_loaded(&checks, &health);
    add_writable(&checks, &health);
    add_durability(&checks, engine_limits(api->engine), &health);
    add_compaction(&checks, api->engine);
    answer(exchange->request, out_response, &checks);
}
