/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The states of the disk after a power cut: the durable part, and a plan for each pending change.
 * Plans are enumerated by theme, so that every place where a protocol may be wrong (order of two
 * files, of a file and its name, a torn or garbled write) has its own.
 */
#include "crash_parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum plan {
    PLAN_KEEP,
    PLAN_DROP,
    PLAN_KEEP_HEAD, /* the first `at` sectors */
    PLAN_KEEP_TAIL, /* all but the first `at` sectors */
    PLAN_GARBLE,    /* sector `at` holds something else */
    PLAN_GARBLE_ALL,
    PLAN_ZERO, /* the size has changed, the bytes are zeros */
};

struct enumeration {
    const struct crash_disk *crash;
    enum plan *plans; /* one per change */
    size_t at;
    void (*visit)(void *context, struct crash_state state);
    void *context;
};

/* ---- building one state ---- */

/* Whether the bytes of the change from `from` on are on the disk already. */
static bool is_durable(const struct crash_content *durable, const struct change *change,
                       size_t from, size_t size)
{
    unsigned char bytes[CRASH_SECTOR_BYTES];
    return crash_content_read(durable, change->offset + from, bytes, size) == size &&
           memcmp(bytes, change->data + from, size) == 0;
}

/* Sectors of the change, from `from` on, hold something else. */
static void spoil(struct crash_content *content, const struct crash_content *durable,
                  const struct change *change, size_t from, size_t size, bool zero)
{
    unsigned char bytes[CRASH_SECTOR_BYTES];
    for (size_t at = from; at < from + size; at += sizeof bytes) {
        size_t part = from + size - at < sizeof bytes ? from + size - at : sizeof bytes;
        if (is_durable(durable, change, at, part))
            continue;
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = zero ? 0 : (unsigned char)((change->offset + at + i) * 167 + 13);
        crash_content_write(content, change->offset + at, bytes, part);
    }
}

static void write_planned(struct crash_content *content, const struct crash_content *durable,
                          const struct change *change, enum plan plan, size_t at)
{
    size_t cut = at * CRASH_SECTOR_BYTES < change->size ? at * CRASH_SECTOR_BYTES : change->size;
    size_t rest = change->size - cut;
    size_t sector = rest < CRASH_SECTOR_BYTES ? rest : CRASH_SECTOR_BYTES;
    if (plan == PLAN_DROP)
        return;
    if (plan == PLAN_KEEP_HEAD)
        crash_content_write(content, change->offset, change->data, cut);
    else if (plan == PLAN_KEEP_TAIL)
        crash_content_write(content, change->offset + cut, change->data + cut, rest);
    else
        crash_content_write(content, change->offset, change->data, change->size);
    if (plan == PLAN_GARBLE)
        spoil(content, durable, change, cut, sector, false);
    if (plan == PLAN_GARBLE_ALL || plan == PLAN_ZERO)
        spoil(content, durable, change, 0, change->size, plan == PLAN_ZERO);
}

static struct crash_content planned_content(const struct enumeration *states, size_t file)
{
    const struct crash_disk *crash = states->crash;
    const struct crash_content *durable = &crash->files[file].durable;
    struct crash_content content = crash_content_copy(durable);
    for (size_t i = 0; i < crash->change_count; i++) {
        const struct change *change = &crash->changes[i];
        if (change->file != file || crash_is_name_change(change))
            continue;
        if (change->kind == CHANGE_WRITE)
            write_planned(&content, durable, change, states->plans[i], states->at);
        else if (states->plans[i] != PLAN_DROP)
            crash_content_truncate(&content, change->offset);
    }
    return content;
}

static struct crash_disk *build(const struct enumeration *states)
{
    const struct crash_disk *crash = states->crash;
    struct names names = crash_names_copy(&crash->durable);
    for (size_t i = 0; i < crash->change_count; i++)
        if (crash_is_name_change(&crash->changes[i]) && states->plans[i] != PLAN_DROP)
            crash_names_change(&names, &crash->changes[i]);
    struct crash_disk *built = crash_disk_open();
    built->limit_bytes = crash->limit_bytes;
    for (size_t i = 0; i < names.count; i++) {
        size_t file = crash_add_file(built);
        built->files[file].durable = planned_content(states, names.rows[i].file);
        built->files[file].cache = crash_content_copy(&built->files[file].durable);
        crash_names_set(&built->cache, names.rows[i].name, file);
    }
    built->durable = crash_names_copy(&built->cache);
    free(names.rows);
    return built;
}

static void emit(struct enumeration *states, const char *format, ...) PRINTF(2, 3);

static void emit(struct enumeration *states, const char *format, ...)
{
    struct crash_state state;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(state.what, sizeof state.what, format, arguments);
    va_end(arguments);
    state.disk = build(states);
    states->visit(states->context, state);
}

/* ---- the themes ---- */

static void plan_all(struct enumeration *states, enum plan plan)
{
    for (size_t i = 0; i < states->crash->change_count; i++)
        states->plans[i] = plan;
}

static const char *kind_text(const struct change *change)
{
    static const char *const texts[] = {"write", "truncation", "create", "rename", "remove"};
    return texts[change->kind];
}

static void each_alone(struct enumeration *states)
{
    for (size_t i = 0; i < states->crash->change_count; i++) {
        const struct change *change = &states->crash->changes[i];
        plan_all(states, PLAN_KEEP);
        states->plans[i] = PLAN_DROP;
        emit(states, "%s %zu of %s lost", kind_text(change), i, change->name);
        plan_all(states, PLAN_DROP);
        states->plans[i] = PLAN_KEEP;
        emit(states, "only %s %zu of %s kept", kind_text(change), i, change->name);
    }
}

static void in_order(struct enumeration *states)
{
    plan_all(states, PLAN_DROP);
    for (size_t i = 0; i + 1 < states->crash->change_count; i++) {
        states->plans[i] = PLAN_KEEP;
        emit(states, "the first %zu changes kept", i + 1);
    }
}

static void names_against_data(struct enumeration *states)
{
    for (int names = 0; names < 2; names++) {
        for (size_t i = 0; i < states->crash->change_count; i++)
            states->plans[i] = crash_is_name_change(&states->crash->changes[i]) == (names == 1)
                                   ? PLAN_KEEP
                                   : PLAN_DROP;
        emit(states, names == 1 ? "names kept, data lost" : "data kept, names lost");
    }
    for (size_t i = 0; i < states->crash->change_count; i++)
        states->plans[i] = states->crash->changes[i].kind == CHANGE_WRITE ? PLAN_ZERO : PLAN_KEEP;
    emit(states, "sizes and names kept, data zero");
}

/* One write, at every sector or, if `sparse`, in the middle. The changes beside it are kept. */
static void torn(struct enumeration *states, size_t index, bool sparse)
{
    const struct change *change = &states->crash->changes[index];
    size_t sectors = (change->size + CRASH_SECTOR_BYTES - 1) / CRASH_SECTOR_BYTES;
    static const struct {
        enum plan plan;
        const char *text;
    } themes[] = {{PLAN_KEEP_HEAD, "torn behind"},
                  {PLAN_KEEP_TAIL, "torn before"},
                  {PLAN_GARBLE, "garbled in"}};
    plan_all(states, PLAN_KEEP);
    for (size_t theme = 0; theme < COUNT_OF(themes); theme++)
        for (states->at = sparse ? sectors / 2 : 0; states->at < sectors;
             states->at += sparse ? sectors : 1) {
            states->plans[index] = themes[theme].plan;
            emit(states, "write %zu of %s %s sector %zu", index, change->name, themes[theme].text,
                 states->at);
        }
    states->at = 0;
    states->plans[index] = PLAN_GARBLE_ALL;
    emit(states, "write %zu of %s garbled", index, change->name);
    states->plans[index] = PLAN_ZERO;
    emit(states, "write %zu of %s: size kept, data zero", index, change->name);
}

void crash_disk_each_state(const struct crash_disk *crash,
                           void (*visit)(void *context, struct crash_state state), void *context)
{
    struct enumeration states = {.crash = crash, .visit = visit, .context = context};
    states.plans = crash_grown(NULL, crash->change_count, sizeof *states.plans);
    plan_all(&states, PLAN_KEEP);
    emit(&states, "all kept");
    plan_all(&states, PLAN_DROP);
    emit(&states, "all pending lost");
    each_alone(&states);
    in_order(&states);
    names_against_data(&states);
    /* Each write was the last one once, so only that one is torn everywhere. */
    bool last = true;
    for (size_t i = crash->change_count; i-- > 0;)
        if (crash->changes[i].kind == CHANGE_WRITE) {
            torn(&states, i, !last);
            last = false;
        }
    free(states.plans);
}

struct crash_disk *crash_disk_cut(const struct crash_disk *crash, bool keep_pending)
{
    struct enumeration states = {.crash = crash};
    states.plans = crash_grown(NULL, crash->change_count, sizeof *states.plans);
    plan_all(&states, keep_pending ? PLAN_KEEP : PLAN_DROP);
    struct crash_disk *built = build(&states);
    free(states.plans);
    return built;
}
