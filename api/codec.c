/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects are filled member by member and a failed member shows at the end only, as a missing one:
 * json_object_set_new() refuses NULL, so every step is and-ed into one result.
 */
#include "codec.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static char *dump(const json_t *object, size_t flags, size_t *out_size)
{
    size_t size = json_dumpb(object, NULL, 0, flags);
    char *text = size > 0 ? malloc(size + 2) : NULL;
    if (text == NULL)
        return NULL;
    if (json_dumpb(object, text, size, flags) != size) {
        free(text);
        return NULL;
    }
    text[size] = '\n';
    text[size + 1] = '\0';
    *out_size = size + 1;
    return text;
}

/* Takes `object` over. */
static char *write_out(json_t *object, bool complete, size_t flags, size_t *out_size)
{
    char *text = object != NULL && complete ? dump(object, flags, out_size) : NULL;
    json_decref(object);
    return text;
}

static bool set(json_t *object, const char *name, json_t *value)
{
    return json_object_set_new(object, name, value) == 0;
}

static bool set_text(json_t *object, const char *name, const char *text)
{
    return set(object, name, json_string(text));
}

static bool set_number(json_t *object, const char *name, uint64_t number)
{
    return set(object, name, json_integer((json_int_t)number));
}

char *codec_problem(const struct problem *problem, size_t *out_size)
{
    const struct problem_row *row = problem_row(problem->code);
    unsigned retry_after_s = problem_retry_after_s(problem);
    json_t *object = json_object();
    bool ok =
        set(object, "type", json_sprintf("/problems/%s", row->code)) &&
        set_text(object, "title", row->title) && set_number(object, "status", row->status) &&
        set_text(object, "detail", problem->detail[0] != '\0' ? problem->detail : row->hint) &&
        set_text(object, "code", row->code);
    for (size_t i = 0; i < problem->member_count; i++) {
        const struct problem_member *member = &problem->members[i];
        ok = ok && set_number(object, member->name, member->number);
    }
    if (problem->etag[0] != '\0')
        ok = ok && set_text(object, "etag", problem->etag);
    if (retry_after_s > 0)
        ok = ok && set_number(object, "retry_after_ms", (uint64_t)retry_after_s * 1000);
    return write_out(object, ok, JSON_COMPACT, out_size);
}

static json_t *capabilities(uint32_t bits)
{
    json_t *names = json_array();
    const char *name;
    for (uint32_t bit = 0; (name = engine_capability_name(bit)) != NULL; bit++)
        if ((bits & 1u << bit) != 0 && json_array_append_new(names, json_string(name)) != 0) {
            json_decref(names);
            return NULL;
        }
    return names;
}

char *codec_discovery(const struct discovery *discovery, size_t *out_size)
{
    const struct engine_limits *limits = discovery->limits;
    json_t *object = json_pack(
        "{s:s, s:s, s:s?, s:{s:s, s:s, s:o}, s:{s:I, s:I, s:I, s:I},"
        " s:{s:s, s:s, s:s, s:s, s:s, s:s, s:s}}",
        "name", "keyrest", "version", discovery->version, "epoch", discovery->epoch, "engine",
        "scheme", limits->scheme, "durability", limits->durability, "capabilities",
        capabilities(limits->capabilities), "limits", "key_bytes_max",
        (json_int_t)limits->key_bytes_max, "value_bytes_max", (json_int_t)limits->value_bytes_max,
        "meta_bytes_max", (json_int_t)limits->meta_bytes_max, "condition_tags_max",
        (json_int_t)discovery->condition_tags_max, "links", "keys", "/keys/{key}", "openapi",
        "/openapi.yaml", "problems", "/problems/{code}", "metrics", "/metrics", "livez", "/livez",
        "readyz", "/readyz", "compactions", "/admin/compactions");
    return write_out(object, true, JSON_INDENT(2), out_size);
}

/* ---- compactions ---- */

enum {
    TIME_BYTES = 32,
    SECONDS_DIGITS = 12, /* a double's noise begins behind them */
};

/* RFC 3339, UTC, with milliseconds. */
static void write_time(int64_t ms, char out_text[static TIME_BYTES])
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    size_t size = strftime(out_text, TIME_BYTES, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(out_text + size, TIME_BYTES - size, ".%03uZ", (unsigned)(ms % 1000));
}

static const char *state_text(enum engine_compaction_state state)
{
    static const char *const texts[] = {
        [ENGINE_COMPACTION_RUNNING] = "running",
        [ENGINE_COMPACTION_DONE] = "done",
        [ENGINE_COMPACTION_FAILED] = "failed",
        [ENGINE_COMPACTION_NOTHING] = "nothing-to-do",
    };
    return texts[state];
}

static json_t *compaction(const struct engine_compaction *row)
{
    char started[TIME_BYTES];
    bool failed = row->state == ENGINE_COMPACTION_FAILED;
    write_time(row->started_ms, started);
    return json_pack("{s:I, s:s, s:s*, s:s, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:i}", "id",
                     (json_int_t)row->id, "state", state_text(row->state), "reason",
                     failed ? status_text(row->failure) : NULL, "started", started, "seconds",
                     (double)row->duration_ms / 1000, "files_before", (json_int_t)row->files_before,
                     "files_after", (json_int_t)row->files_after, "bytes_before",
                     (json_int_t)row->bytes_before, "bytes_after", (json_int_t)row->bytes_after,
                     "bytes_read", (json_int_t)row->bytes_read, "bytes_written",
                     (json_int_t)row->bytes_written, "percent", (int)row->percent);
}

char *codec_compaction(const struct engine_compaction *row, size_t *out_size)
{
    return write_out(compaction(row), true, JSON_COMPACT | JSON_REAL_PRECISION(SECONDS_DIGITS),
                     out_size);
}

char *codec_compactions(const struct engine_compaction *rows, size_t count, size_t *out_size)
{
    json_t *list = json_array();
    bool ok = list != NULL;
    for (size_t i = 0; i < count && ok; i++)
        ok = json_array_append_new(list, compaction(&rows[i])) == 0;
    json_t *object = json_pack("{s:o}", "compactions", list);
    return write_out(object, ok, JSON_COMPACT | JSON_REAL_PRECISION(SECONDS_DIGITS), out_size);
}
