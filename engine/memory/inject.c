/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the URL's parameters into rules, and asks them at each call. */
#include "inject.h"

#ifdef KEYREST_TEST

#include <stdatomic.h>
#include <stdio.h>

enum { RULES_MAX = 32 };

struct rule {
    enum inject_call call;
    enum status status;
    uint64_t only; /* the one call that fails, from 1; 0: each */
};

struct inject {
    enum engine_state state;
    size_t rule_count;
    struct rule rules[RULES_MAX];
    _Atomic uint64_t calls[INJECT_CALLS]; /* seen so far */
};

static const char *const call_names[] = {
    [INJECT_GET] = "get",
    [INJECT_HEAD] = "head",
    [INJECT_SCAN] = "scan",
    [INJECT_VALUE_OPEN] = "value_open",
    [INJECT_VALUE_GROW] = "value_grow",
    [INJECT_COMMIT] = "commit",
    [INJECT_COMPACT] = "compact",
    [INJECT_COMPACTIONS] = "compactions",
    [INJECT_CHANGES] = "changes",
    [INJECT_WAIT] = "wait",
};

static const char *const status_names[] = {
#define X(name, text) [STATUS_##name] = #name,
#include "../status.def"
};

static const char *const state_names[] = {
    [ENGINE_LOADING] = "loading",
    [ENGINE_READY] = "ready",
    [ENGINE_READ_ONLY] = "read_only",
    [ENGINE_UNUSABLE] = "unusable",
};

/* ---- reading the parameters ---- */

static bool find_name(const char *const *names, size_t count, const char *name, unsigned *out_index)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0) {
            *out_index = (unsigned)i;
            return true;
        }
    }
    return false;
}

/* CALL:STATUS[:NTH] */
static bool add_rule(struct inject *inject, const char *text)
{
    char call[16], status[16];
    unsigned call_index, status_index, only = 0;
    if (inject->rule_count == RULES_MAX ||
        sscanf(text, "%15[^:]:%15[^:]:%u", call, status, &only) < 2 ||
        !find_name(call_names, COUNT_OF(call_names), call, &call_index) ||
        !find_name(status_names, COUNT_OF(status_names), status, &status_index) ||
        status_index == STATUS_OK || status_index == STATUS_CONFLICT)
        return false;
    struct rule *rule = &inject->rules[inject->rule_count++];
    rule->call = (enum inject_call)call_index;
    rule->status = (enum status)status_index;
    rule->only = only;
    return true;
}

static bool add_parameter(struct inject *inject, const char *parameter)
{
    unsigned state;
    if (strncmp(parameter, "fail=", 5) == 0)
        return add_rule(inject, parameter + 5);
    if (strncmp(parameter, "state=", 6) != 0 ||
        !find_name(state_names, COUNT_OF(state_names), parameter + 6, &state))
        return false;
    inject->state = (enum engine_state)state;
    return true;
}

enum status inject_open(const char *parameters, struct inject **out_inject, struct failure *failure)
{
    struct inject *inject = calloc(1, sizeof *inject);
    AUTO_FREE char *copy = strdup(*parameters == '?' ? parameters + 1 : parameters);
    if (inject == NULL || copy == NULL) {
        free(inject);
        return failure_set(failure, STATUS_NO_MEMORY, "no memory for the engine");
    }
    inject->state = ENGINE_READY;
    char *rest = copy;
    for (char *parameter; (parameter = strsep(&rest, "&")) != NULL;) {
        if (*parameter == '\0' || add_parameter(inject, parameter))
            continue;
        free(inject);
        return failure_set(failure, STATUS_INVALID,
                           "memory: cannot inject '%s': use fail=CALL:STATUS[:NTH] or state=STATE",
                           parameter);
    }
    *out_inject = inject;
    return STATUS_OK;
}

void inject_close(struct inject *inject)
{
    free(inject);
}

/* ---- asking ---- */

static enum status of_state(const struct inject *inject, enum inject_call call)
{
    if (inject->state == ENGINE_LOADING || inject->state == ENGINE_UNUSABLE)
        return STATUS_LOADING;
    bool reads = call == INJECT_GET || call == INJECT_HEAD || call == INJECT_COMPACTIONS ||
                 call == INJECT_CHANGES || call == INJECT_WAIT;
    return inject->state == ENGINE_READ_ONLY && !reads ? STATUS_READ_ONLY : STATUS_OK;
}

enum status inject_next(struct inject *inject, enum inject_call call)
{
    uint64_t before = atomic_fetch_add_explicit(&inject->calls[call], 1, memory_order_relaxed);
    for (size_t i = 0; i < inject->rule_count; i++) {
        const struct rule *rule = &inject->rules[i];
        if (rule->call == call && (rule->only == 0 || rule->only == before + 1))
            return rule->status;
    }
    return of_state(inject, call);
}

void inject_health(const struct inject *inject, struct engine_health *health)
{
    health->state = inject->state;
    enum status writable = of_state(inject, INJECT_VALUE_OPEN);
    for (size_t i = 0; i < inject->rule_count && writable == STATUS_OK; i++)
        if (inject->rules[i].call == INJECT_VALUE_OPEN && inject->rules[i].only == 0)
            writable = inject->rules[i].status;
    if (inject->state == ENGINE_LOADING) {
        health->epoch = 0;
        health->loaded = 250;
        health->to_load = 1000;
    }
    if (writable == STATUS_OK)
        return;
    health->writable = writable;
    snprintf(health->reason, sizeof health->reason, "injected: %s", status_text(writable));
}

#endif
