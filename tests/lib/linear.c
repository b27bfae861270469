/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A search for one good order. Operations that have not happened yet are a list in the order of
 * invocation; the next to happen is one that was invoked before any of the list was answered. Known
 * ones are tried first and unknown ones only when they lead nowhere, since most unknown ones are
 * never seen; one that can wait no longer did not happen.
 */
#include "linear.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- the register ---- */

static bool condition_holds(const struct linear_operation *operation, uint32_t state)
{
    switch (operation->condition) {
    case LINEAR_ALWAYS:
        return true;
    case LINEAR_IF_ABSENT:
        return state == LINEAR_ABSENT;
    case LINEAR_IF_PRESENT:
        return state != LINEAR_ABSENT;
    case LINEAR_IF_IS:
        return state == operation->expected;
    case LINEAR_IF_NOT:
        return state != operation->expected;
    }
    return false;
}

static bool is_seen(const struct linear_operation *operation, uint32_t state)
{
    return operation->seen == state || (operation->seen == LINEAR_UNTOLD && state != LINEAR_ABSENT);
}

/* Whether the operation, happening at `state`, would have been answered as it was. */
static bool is_possible(const struct linear_operation *operation, uint32_t state)
{
    bool holds = condition_holds(operation, state);
    switch (operation->outcome) {
    case LINEAR_CREATED:
        return holds && state == LINEAR_ABSENT;
    case LINEAR_REPLACED:
    case LINEAR_DELETED:
        return holds && state != LINEAR_ABSENT;
    case LINEAR_FOUND:
        return holds && state != LINEAR_ABSENT && is_seen(operation, state);
    case LINEAR_MISSED:
        return state == LINEAR_ABSENT;
    case LINEAR_FAILED:
        return !holds && is_seen(operation, state);
    case LINEAR_UNKNOWN:
        return holds; /* else it is as if it had not happened */
    }
    return false;
}

static uint32_t state_after(const struct linear_operation *operation, uint32_t state)
{
    if (operation->outcome == LINEAR_FAILED || operation->kind == LINEAR_READ)
        return state;
    return operation->kind == LINEAR_PUT ? operation->version : LINEAR_ABSENT;
}

/* ---- the memory of configurations ---- */

struct configuration {
    uint64_t set;
    uint64_t state; /* + 1; 0: a free place */
};

struct memory {
    struct configuration *table;
    size_t count, capacity; /* a power of two, at most half full */
};

/* splitmix64: unlike numbers for neighbours. */
static uint64_t mix(uint64_t bits)
{
    bits += UINT64_C(0x9e3779b97f4a7c15);
    bits = (bits ^ bits >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    bits = (bits ^ bits >> 27) * UINT64_C(0x94d049bb133111eb);
    return bits ^ bits >> 31;
}

static struct configuration *memory_place(const struct memory *memory, struct configuration wanted)
{
    size_t at = mix(wanted.set ^ wanted.state << 32) & (memory->capacity - 1);
    for (;; at = (at + 1) & (memory->capacity - 1)) {
        struct configuration *found = &memory->table[at];
        if (found->state == 0 || (found->set == wanted.set && found->state == wanted.state))
            return found;
    }
}

static void memory_grow(struct memory *memory)
{
    struct memory larger = {.count = memory->count,
                            .capacity = memory->capacity > 0 ? memory->capacity * 2 : 1024};
    larger.table = calloc(larger.capacity, sizeof *larger.table);
    if (larger.table == NULL)
        abort();
    for (size_t i = 0; i < memory->capacity; i++)
        if (memory->table[i].state != 0)
            *memory_place(&larger, memory->table[i]) = memory->table[i];
    free(memory->table);
    *memory = larger;
}

/* False: it was there. */
static bool memory_add(struct memory *memory, uint64_t set, uint32_t state)
{
    if (memory->count * 2 >= memory->capacity)
        memory_grow(memory);
    struct configuration added = {set, (uint64_t)state + 1}, *place = memory_place(memory, added);
    if (place->state != 0)
        return false;
    *place = added;
    memory->count++;
    return true;
}

/* ---- the search ---- */

/* In the order in which they are tried. */
enum way { WAY_KNOWN, WAY_UNKNOWN, WAY_DROP };

struct choice {
    size_t operation; /* the search's end: none yet of this way */
    enum way way;
    uint32_t state; /* before it */
};

struct search {
    const struct linear_operation *operations;
    size_t count;
    size_t *next, *previous; /* of those that have not happened; both ends are [count] */
    struct choice *choices;
    size_t depth;
    uint64_t set;
    uint32_t state;
    struct memory memory;
    size_t deepest, stuck;
};

static void search_open(struct search *search, const struct linear_operation *operations,
                        size_t count)
{
    *search = (struct search){.operations = operations, .count = count};
    search->next = calloc(count + 1, sizeof *search->next);
    search->previous = calloc(count + 1, sizeof *search->previous);
    search->choices = calloc(count + 1, sizeof *search->choices);
    if (search->next == NULL || search->previous == NULL || search->choices == NULL)
        abort();
    for (size_t i = 0; i <= count; i++) {
        search->next[i] = i < count ? i + 1 : 0;
        search->previous[i] = i > 0 ? i - 1 : count;
    }
}

static void search_close(struct search *search)
{
    free(search->next);
    free(search->previous);
    free(search->choices);
    free(search->memory.table);
}

static void take_out(struct search *search, size_t i)
{
    search->next[search->previous[i]] = search->next[i];
    search->previous[search->next[i]] = search->previous[i];
}

/* Where take_out() took it from; only in the reverse order. */
static void put_back(struct search *search, size_t i)
{
    search->next[search->previous[i]] = i;
    search->previous[search->next[i]] = i;
}

/* Makes `i` the next to happen, unless that leads where the search has been. */
static bool go(struct search *search, size_t i, enum way way)
{
    const struct linear_operation *operation = &search->operations[i];
    uint64_t set = search->set ^ mix(i);
    uint32_t state = way == WAY_DROP ? search->state : state_after(operation, search->state);
    if ((way != WAY_DROP && !is_possible(operation, search->state)) ||
        !memory_add(&search->memory, set, state))
        return false;
    search->choices[search->depth++] = (struct choice){i, way, search->state};
    search->set = set;
    search->state = state;
    take_out(search, i);
    return true;
}

static struct choice go_back(struct search *search)
{
    struct choice choice = search->choices[--search->depth];
    search->set ^= mix(choice.operation);
    search->state = choice.state;
    put_back(search, choice.operation);
    return choice;
}

/* Tries what may happen next in this way, behind the operation `after`. Sets the one that is
 * answered first: all others were invoked before, or must wait for it. */
static bool go_one_way(struct search *search, enum way way, size_t after, size_t *out_first)
{
    bool behind = after == search->count;
    uint64_t first_answered = UINT64_MAX;
    for (size_t i = search->next[search->count]; i != search->count; i = search->next[i]) {
        const struct linear_operation *operation = &search->operations[i];
        bool unknown = operation->outcome == LINEAR_UNKNOWN;
        if (operation->invoked >= first_answered)
            break;
        if (operation->answered < first_answered) {
            first_answered = operation->answered;
            *out_first = i;
        }
        if (behind && unknown == (way == WAY_UNKNOWN) && go(search, i, way))
            return true;
        behind = behind || i == after;
    }
    return false;
}

/* Goes one step, by another choice than `last` and those before it. */
static bool go_on(struct search *search, struct choice last)
{
    size_t first = search->count, after = last.operation;
    if (last.way == WAY_DROP)
        return false;
    for (enum way way = last.way; way < WAY_DROP; way++, after = search->count)
        if (go_one_way(search, way, after, &first))
            return true;
    if (search->depth >= search->deepest) {
        search->deepest = search->depth;
        search->stuck = first;
    }
    return search->operations[first].outcome == LINEAR_UNKNOWN && go(search, first, WAY_DROP);
}

static enum linear_verdict run(struct search *search)
{
    while (search->next[search->count] != search->count) {
        struct choice last = {.operation = search->count, .way = WAY_KNOWN};
        while (!go_on(search, last)) {
            if (search->depth == 0)
                return LINEAR_BAD;
            last = go_back(search);
        }
        if (search->memory.count > LINEAR_CONFIGURATIONS_MAX)
            return LINEAR_TOO_HARD;
    }
    return LINEAR_GOOD;
}

static int compare_by_invocation(const void *left, const void *right)
{
    const struct linear_operation *a = left, *b = right;
    return (a->invoked > b->invoked) - (a->invoked < b->invoked);
}

enum linear_verdict linear_check(struct linear_operation *operations, size_t count,
                                 size_t *out_stuck)
{
    struct search search;
    qsort(operations, count, sizeof *operations, compare_by_invocation);
    search_open(&search, operations, count);
    enum linear_verdict verdict = run(&search);
    if (verdict == LINEAR_BAD)
        *out_stuck = search.stuck;
    search_close(&search);
    return verdict;
}

/* ---- for people ---- */

void linear_describe(const struct linear_operation *operation, char out_line[LINEAR_LINE_BYTES])
{
    static const char *const kinds[] = {"put", "delete", "read"};
    static const char *const conditions[] = {"", " if absent", " if present", " if it is",
                                             " if it is not"};
    static const char *const outcomes[] = {"created", "replaced", "deleted", "found",
                                           "missed",  "failed",   "unknown"};
    char version[16] = "", expected[16] = "", seen[16] = "";
    if (operation->kind == LINEAR_PUT)
        snprintf(version, sizeof version, " %u", operation->version);
    if (operation->condition == LINEAR_IF_IS || operation->condition == LINEAR_IF_NOT)
        snprintf(expected, sizeof expected, " %u", operation->expected);
    if (operation->outcome == LINEAR_FOUND || operation->outcome == LINEAR_FAILED)
        snprintf(seen, sizeof seen, " %u", operation->seen);
    snprintf(out_line, LINEAR_LINE_BYTES, "%llu..%llu client %u: %s%s%s%s -> %s%s",
             (unsigned long long)operation->invoked, (unsigned long long)operation->answered,
             operation->client, kinds[operation->kind], version, conditions[operation->condition],
             expected, outcomes[operation->outcome], seen);
}
