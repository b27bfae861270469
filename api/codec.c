/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects are filled member by member and a failed member shows at the end only, as a missing one:
 * json_object_set_new() refuses NULL, so every step is and-ed into one result.
 */
#include "codec.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base64.h"
#include "meta.h"
#include "query.h"
#include "target.h"
#include "timestamp.h"

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

static json_t *base64(struct bytes bytes)
{
    char *text = malloc(base64_text_bytes(bytes.size));
    if (text == NULL)
        return NULL;
    json_t *value = json_stringn_nocheck(text, base64_write(bytes, text));
    free(text);
    return value;
}

/* As text under `name`, or as base64 under `base64_name` when it is no UTF-8. */
static bool set_bytes(json_t *object, const char *name, const char *base64_name, struct bytes bytes)
{
    json_t *text = json_stringn(bytes.size > 0 ? bytes.data : "", bytes.size);
    return text != NULL ? set(object, name, text) : set(object, base64_name, base64(bytes));
}

/* JSON writes most control bytes with six: base64 bounds what a value can grow to. */
static bool is_plain(struct bytes value)
{
    const unsigned char *bytes = value.data;
    for (size_t i = 0; i < value.size; i++)
        if (bytes[i] < ' ' && bytes[i] != '\t' && bytes[i] != '\n' && bytes[i] != '\r')
            return false;
    return true;
}

static bool set_value(json_t *object, struct bytes value)
{
    return is_plain(value) ? set_bytes(object, "value", "value_base64", value)
                           : set(object, "value_base64", base64(value));
}

static bool set_etag(json_t *object, struct engine_version version)
{
    char text[ETAG_BYTES];
    etag_write(version, text);
    return set_text(object, "etag", text);
}

static json_t *failed_operations(const struct problem *problem)
{
    json_t *list = json_array();
    bool ok = list != NULL;
    for (size_t i = 0; i < problem->failed_count && ok; i++) {
        const struct problem_failed *failed = &problem->failed[i];
        json_t *object = json_object();
        ok = json_array_append_new(list, object) == 0 &&
             set_number(object, "index", failed->index) &&
             set_bytes(object, "key", "key_base64", failed->key) &&
             (failed->version.sequence == 0 || set_etag(object, failed->version));
    }
    if (ok)
        return list;
    json_decref(list);
    return NULL;
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
    if (problem->oldest[0] != '\0')
        ok = ok && set_text(object, "oldest", problem->oldest);
    if (problem->pointer[0] != '\0')
        ok = ok && set_text(object, "pointer", problem->pointer);
    if (problem->failed_count > 0)
        ok = ok && set(object, "failed", failed_operations(problem));
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

static json_t *limits_of(const struct discovery *discovery)
{
    const struct engine_limits *limits = discovery->limits;
    json_t *object = json_object();
    bool ok = set_number(object, "key_bytes_max", limits->key_bytes_max) &&
              set_number(object, "value_bytes_max", limits->value_bytes_max) &&
              set_number(object, "meta_bytes_max", limits->meta_bytes_max) &&
              set_number(object, "condition_tags_max", discovery->condition_tags_max) &&
              set_number(object, "batch_operations_max", limits->batch_operations_max) &&
              set_number(object, "batch_get_keys_max", discovery->batch_get_keys_max) &&
              set_number(object, "changes_bytes_max", limits->changes_bytes_max) &&
              set_number(object, "watchers_max", discovery->watchers_max) &&
              set_number(object, "wait_ms_max", discovery->wait_ms_max) &&
              set_number(object, "heartbeat_ms", discovery->heartbeat_ms);
    if (ok)
        return object;
    json_decref(object);
    return NULL;
}

static json_t *links(void)
{
    static const char *const rows[][2] = {
        {"keys", "/keys/{key}"},
        {"list", "/keys"},
        {"batch", "/batch"},
        {"batch_get", "/batch/get"},
        {"ttl", "/ttl/{key}"},
        {"incr", "/incr/{key}"},
        {"changes", "/changes"},
        {"openapi", "/openapi.yaml"},
        {"problems", "/problems/{code}"},
        {"metrics", "/metrics"},
        {"livez", "/livez"},
        {"readyz", "/readyz"},
        {"compactions", "/admin/compactions"},
    };
    json_t *object = json_object();
    bool ok = true;
    for (size_t i = 0; i < COUNT_OF(rows) && ok; i++)
        ok = set_text(object, rows[i][0], rows[i][1]);
    if (ok)
        return object;
    json_decref(object);
    return NULL;
}

char *codec_discovery(const struct discovery *discovery, size_t *out_size)
{
    const struct engine_limits *limits = discovery->limits;
    json_t *object = json_pack("{s:s, s:s, s:s?, s:{s:s, s:s, s:o}, s:o, s:o}", "name", "keyrest",
                               "version", discovery->version, "epoch", discovery->epoch, "engine",
                               "scheme", limits->scheme, "durability", limits->durability,
                               "capabilities", capabilities(limits->capabilities), "limits",
                               limits_of(discovery), "links", links());
    return write_out(object, true, JSON_INDENT(2), out_size);
}

/* ---- compactions ---- */

enum { SECONDS_DIGITS = 12 }; /* a double's noise begins behind them */

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
    char started[TIMESTAMP_BYTES];
    bool failed = row->state == ENGINE_COMPACTION_FAILED;
    timestamp_write(row->started_ms, started);
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

/* ---- listings ---- */

static bool set_href(json_t *object, struct bytes key)
{
    static const char path[] = "/keys/";
    char *text = malloc(sizeof path + 3 * key.size);
    if (text == NULL)
        return false;
    memcpy(text, path, sizeof path);
    size_t size = sizeof path - 1 + target_write_key(key, text + sizeof path - 1);
    bool ok = set(object, "href", json_stringn_nocheck(text, size));
    free(text);
    return ok;
}

static bool set_time(json_t *object, const char *name, int64_t ms)
{
    char text[TIMESTAMP_BYTES];
    if (ms == 0)
        return set(object, name, json_null());
    timestamp_write(ms, text);
    return set_text(object, name, text);
}

char *codec_ttl(int64_t expires_ms, int64_t now_ms, size_t *out_size)
{
    json_t *object = json_object();
    uint64_t left_ms = expires_ms > now_ms ? (uint64_t)(expires_ms - now_ms) : 0;
    bool ok = (expires_ms != 0 ? set_number(object, "ttl_ms", left_ms)
                               : set(object, "ttl_ms", json_null())) &&
              set_time(object, "expires", expires_ms);
    return write_out(object, ok, JSON_COMPACT, out_size);
}

static bool set_content_type(json_t *object, struct bytes meta)
{
    enum meta_header header;
    struct bytes value;
    while (meta_next(&meta, &header, &value))
        if (header == META_CONTENT_TYPE)
            return set_bytes(object, "content_type", "content_type_base64", value);
    return set_text(object, "content_type", "application/octet-stream");
}

static bool set_known(json_t *object, const struct engine_item *item, uint32_t fields)
{
    return ((fields & QUERY_ETAG) == 0 || set_etag(object, item->version)) &&
           ((fields & QUERY_SIZE) == 0 || set_number(object, "size", item->value.size)) &&
           ((fields & QUERY_CONTENT_TYPE) == 0 || set_content_type(object, item->meta)) &&
           ((fields & QUERY_MODIFIED) == 0 || set_time(object, "modified", item->modified_ms)) &&
           ((fields & QUERY_EXPIRES) == 0 || set_time(object, "expires", item->expires_ms)) &&
           ((fields & QUERY_VALUE) == 0 || set_value(object, item->value));
}

/* NULL: no memory. */
static json_t *listed_object(const struct listed *listed, uint32_t fields)
{
    json_t *object = json_object();
    bool damaged = listed->item.version.sequence == 0;
    bool ok = set_bytes(object, "key", "key_base64", listed->key) && set_href(object, listed->key);
    ok = ok && (damaged ? set_text(object, "error", "data-corrupt")
                        : set_known(object, &listed->item, fields));
    if (ok)
        return object;
    json_decref(object);
    return NULL;
}

char *codec_listed(const struct listed *listed, uint32_t fields, size_t *out_size)
{
    return write_out(listed_object(listed, fields), true, JSON_COMPACT, out_size);
}

char *codec_prefix(struct bytes prefix, size_t *out_size)
{
    json_t *object = json_object();
    bool ok = set_bytes(object, "prefix", "prefix_base64", prefix);
    return write_out(object, ok, JSON_COMPACT, out_size);
}

char *codec_list_end(uint64_t count, size_t *out_size)
{
    return write_out(json_pack("{s:b, s:I}", "end", 1, "count", (json_int_t)count), true,
                     JSON_COMPACT, out_size);
}

size_t codec_deleted_room(const char *next)
{
    return 64 + (next != NULL ? strlen(next) : 0);
}

size_t codec_deleted(uint64_t deleted, const char *next, char *room)
{
    size_t capacity = codec_deleted_room(next);
    int size = next == NULL
                   ? snprintf(room, capacity, "{\"deleted\":%" PRIu64 "}\n", deleted)
                   : snprintf(room, capacity, "{\"deleted\":%" PRIu64 ",\"next\":\"%s\"}\n",
                              deleted, next);
    return (size_t)size;
}

/* ---- changes ---- */

const char *codec_change_name(enum engine_change_type type)
{
    static const char *const names[] = {
        [ENGINE_CHANGE_PUT] = "put",
        [ENGINE_CHANGE_DELETE] = "delete",
        [ENGINE_CHANGE_EXPIRE] = "expire",
    };
    return names[type];
}

char *codec_change(const struct engine_change *change, bool with_value, size_t *out_size)
{
    json_t *object = json_object();
    bool ok = set_text(object, "op", codec_change_name(change->type)) &&
              set_bytes(object, "key", "key_base64", change->key) &&
              set_etag(object, change->version) &&
              set_time(object, "modified", change->modified_ms);
    if (with_value && change->type == ENGINE_CHANGE_PUT)
        ok = ok && set_bytes(object, "value", "value_base64", change->value);
    return write_out(object, ok, JSON_COMPACT, out_size);
}

/* ---- pages ---- */

static bool append_prefix(json_t *prefixes, struct bytes prefix)
{
    json_t *text = json_stringn(prefix.data, prefix.size);
    if (text == NULL)
        text = json_pack("{s:o}", "base64", base64(prefix));
    return json_array_append_new(prefixes, text) == 0;
}

char *codec_found(const struct listed *items, size_t count, size_t *out_size)
{
    json_t *list = json_array(), *object = json_pack("{s:o}", "items", list);
    bool ok = object != NULL;
    for (size_t i = 0; i < count && ok; i++)
        ok = json_array_append_new(
                 list, items[i].key.size == 0
                           ? json_null()
                           : listed_object(&items[i], QUERY_FIELDS_STANDARD | QUERY_VALUE)) == 0;
    return write_out(object, ok, JSON_COMPACT, out_size);
}

char *codec_page(const struct page *page, size_t *out_size)
{
    json_t *object = json_object(), *items = json_array(), *prefixes = json_array();
    bool ok = set(object, "items", items);
    ok = set(object, "prefixes", prefixes) && ok; /* both are the object's now */
    for (size_t i = 0; i < page->item_count && ok; i++)
        ok = json_array_append_new(items, listed_object(&page->items[i], page->fields)) == 0;
    for (size_t i = 0; i < page->prefix_count && ok; i++)
        ok = append_prefix(prefixes, page->prefixes[i]);
    if (page->next != NULL)
        ok = ok && set_text(object, "next", page->next);
    return write_out(object, ok, JSON_COMPACT, out_size);
}
