/* SPDX-License-Identifier: Apache-2.0 */
/* Judging, building, writing and applying one group. */
#include "group.h"

#include <assert.h>

#include "../number.h"

enum {
    KEY_SLOTS_MIN = 16,
    KEY_SLOTS_MAX = GROUP_OPERATIONS_MAX * 2,
};

/* A key that an earlier request of this group writes. */
struct group_key {
    uint64_t generation; /* of the group that filled the slot */
    uint64_t hash;
    struct bytes key;
    const struct record *record; /* NULL: after that request the key is absent */
};

struct group {
    /* set at open, then constant */
    struct group_options options;
    struct store *store;
    struct journal *journal;
    /* of the group under way */
    uint64_t generation;
    int64_t now_ms;
    uint64_t last_sequence;
    uint32_t records;
    uint64_t bytes;
    int piece_count;
    struct iovec pieces[GROUP_OPERATIONS_MAX];
    uint64_t key_slots; /* in use, a power of two: a small group's stay in the cache */
    struct group_key keys[KEY_SLOTS_MAX];
};

enum status group_open(const struct group_options *options, struct group **out_group)
{
    struct group *group = calloc(1, sizeof *group);
    if (group == NULL)
        return STATUS_NO_MEMORY;
    group->options = *options;
    group->store = options->store;
    group->journal = options->journal;
    *out_group = group;
    return STATUS_OK;
}

void group_close(struct group *group)
{
    free(group);
}

/* ---- judging ---- */

/* The slot of `key`, or the free one where it would go. */
static struct group_key *key_slot(struct group *group, uint64_t hash, struct bytes key)
{
    for (uint64_t i = hash;; i++) {
        struct group_key *slot = &group->keys[i & (group->key_slots - 1)];
        if (slot->generation != group->generation ||
            (slot->hash == hash && bytes_equal(slot->key, key)))
            return slot;
    }
}

static void remember(struct group *group, uint64_t hash, struct bytes key,
                     const struct record *record)
{
    *key_slot(group, hash, key) = (struct group_key){group->generation, hash, key, record};
}

/* Whether the answer tells versions that were there before: otherwise no table need be read. */
static bool tells_current(const struct group_request *request)
{
    for (uint32_t i = 0; i < request->count; i++)
        if (request->operations[i].condition_count > 0 ||
            request->operations[i].type == ENGINE_CHECK)
            return true;
    return false;
}

/* The version that an addition counts on from, which may be one that this group writes. */
static enum status find_base(struct group *group, const struct engine_operation *operation,
                             struct group_write *write)
{
    const struct group_key *slot = key_slot(group, write->hash, operation->key);
    enum status status = STATUS_OK;
    if (slot->generation != group->generation)
        status = store_get_short(group->store, operation->key, NUMBER_BYTES_MAX, &write->base);
    else if (slot->record != NULL)
        write->base = (struct engine_item){
            .version = {group->store->epoch, slot->record->sequence},
            .expires_ms = slot->record->expires_ms,
            .meta = record_meta(slot->record),
            .value = record_value(slot->record),
        };
    uint64_t sequence = write->base.version.sequence;
    write->current = (struct store_current){.present = sequence != 0, .sequence = sequence};
    return status == STATUS_NOT_FOUND ? STATUS_OK : status;
}

static enum status find_current(struct group *group, const struct engine_operation *operation,
                                bool exact, struct group_write *write)
{
    const struct group_key *slot = key_slot(group, write->hash, operation->key);
    if (slot->generation == group->generation) {
        bool present = slot->record != NULL;
        write->current = (struct store_current){.present = present,
                                                .sequence = present ? slot->record->sequence : 0};
        return STATUS_OK;
    }
    return store_current(group->store, write->hash, operation->key, group->now_ms, exact,
                         &write->current);
}

static bool conditions_hold(const struct engine_operation *operation, struct engine_version current)
{
    for (uint32_t i = 0; i < operation->condition_count; i++)
        if (!engine_condition_holds(&operation->conditions[i], current))
            return false;
    return true;
}

/* Sets what an addition makes of what is there. False: it is no number. */
static bool add(struct engine_operation *operation, const struct group_write *write)
{
    int64_t number = 0;
    operation->expires_ms = write->base.expires_ms;
    bool is_number = !write->current.present || number_read(write->base.value, &number);
    return is_number && !__builtin_add_overflow(number, operation->by, &operation->number);
}

static enum status judge_one(struct group *group, struct engine_operation *operation, bool exact,
                             struct group_write *write)
{
    enum status status = operation->type == ENGINE_ADD
                             ? find_base(group, operation, write)
                             : find_current(group, operation, exact, write);
    if (status != STATUS_OK)
        return status;
    uint64_t current = write->current.sequence;
    operation->before = (struct engine_version){current != 0 ? group->store->epoch : 0, current};
    operation->version = operation->before;
    if (!conditions_hold(operation, operation->version))
        return STATUS_CONFLICT;
    return operation->type == ENGINE_ADD && !add(operation, write) ? STATUS_NOT_A_NUMBER
                                                                   : STATUS_OK;
}

/* Judges every operation, so that a refusal can name each one that failed. */
static enum status judge(struct group *group, struct group_request *request)
{
    enum status status = STATUS_OK;
    bool exact = tells_current(request);
    for (uint32_t i = 0; i < request->count; i++) {
        struct engine_operation *operation = &request->operations[i];
        struct group_write *write = &request->writes[i];
        enum status judged = judge_one(group, operation, exact, write);
        if (request->expires) /* there is something to delete only where nothing is to be seen */
            write->current.present = write->current.expired;
        operation->outcome = judged == STATUS_OK ? ENGINE_CHECKED : ENGINE_FAILED;
        if (judged != STATUS_OK && judged != STATUS_CONFLICT && judged != STATUS_NOT_A_NUMBER)
            return judged;
        if (judged != STATUS_OK && status != STATUS_CONFLICT)
            status = judged;
    }
    return status;
}

/* ---- building ---- */

static bool writes_value(const struct engine_operation *operation)
{
    return operation->type == ENGINE_PUT || operation->type == ENGINE_ADD;
}

static bool writes_something(const struct engine_operation *operation,
                             const struct group_write *write)
{
    return writes_value(operation) || (operation->type == ENGINE_DELETE && write->current.present);
}

static bool is_new_key(const struct engine_operation *operation, const struct group_write *write)
{
    return writes_value(operation) && !write->current.present;
}

static struct record *lay_sum(struct memtable *memtable, const struct engine_operation *operation,
                              const struct engine_item *base)
{
    char text[NUMBER_BYTES_MAX];
    size_t size = number_write(operation->number, text);
    struct record *sum =
        memtable_cut(memtable, record_size(operation->key.size, base->meta.size, size));
    if (sum == NULL)
        return NULL;
    record_init(sum, RECORD_PUT, operation->key, base->meta);
    sum->expires_ms = base->expires_ms;
    memcpy(sum->data + sum->key_bytes + sum->meta_bytes, text, size);
    record_seal_value(sum, (uint32_t)size);
    return sum;
}

static struct record *lay_tombstone(struct memtable *memtable, enum record_type type,
                                    struct bytes key)
{
    struct record *tombstone = memtable_cut(memtable, record_size(key.size, 0, 0));
    if (tombstone != NULL) {
        record_init(tombstone, type, key, (struct bytes){NULL, 0});
        record_seal_value(tombstone, 0);
    }
    return tombstone;
}

static struct record *lay_record(struct group *group, const struct group_request *request,
                                 uint32_t index)
{
    const struct engine_operation *operation = &request->operations[index];
    const struct group_write *write = &request->writes[index];
    struct memtable *memtable = group->store->memtable;
    if (operation->type == ENGINE_DELETE)
        return lay_tombstone(memtable, request->expires ? RECORD_EXPIRE : RECORD_DELETE,
                             operation->key);
    if (operation->type == ENGINE_ADD)
        return lay_sum(memtable, operation, &write->base);
    struct record *draft = &write->value->record;
    if (value_is_large(draft))
        return draft;
    struct record *copy = memtable_cut(memtable, record_bytes(draft));
    if (copy != NULL)
        memcpy(copy, draft, record_bytes(draft));
    return copy;
}

/* The first `reserved` writes give back the room that was made for their keys. */
static void unreserve(struct group *group, struct group_request *request, uint32_t reserved)
{
    for (uint32_t i = 0; i < request->count; i++) {
        struct group_write *write = &request->writes[i];
        if (i < reserved && write->record != NULL && is_new_key(&request->operations[i], write))
            keymap_unreserve(group->store->keymap, write->hash);
        write->record = NULL;
    }
}

/* Takes all the memory that the request needs, or none: after this nothing may fail but the disk. */
static enum status make_room(struct group *group, struct group_request *request)
{
    struct memtable_mark mark = memtable_mark(group->store->memtable);
    enum status status = memtable_reserve(group->store->memtable, group->records + request->count);
    uint32_t reserved = 0;
    for (uint32_t i = 0; i < request->count && status == STATUS_OK; i++) {
        struct group_write *write = &request->writes[i];
        if (!writes_something(&request->operations[i], write))
            continue;
        bool new_key = is_new_key(&request->operations[i], write);
        write->record = lay_record(group, request, i);
        if (write->record == NULL || (new_key && write->spare == NULL))
            status = STATUS_NO_MEMORY;
        else if (new_key)
            status = keymap_reserve(group->store->keymap, write->hash);
        if (status == STATUS_OK)
            reserved = i + 1;
    }
    if (status != STATUS_OK) {
        unreserve(group, request, reserved);
        memtable_rewind(group->store->memtable, mark);
    }
    return status;
}

static void add_piece(struct group *group, struct record *record)
{
    size_t size = record_bytes(record);
    group->records++;
    group->bytes += size;
    if (group->piece_count > 0) {
        struct iovec *last = &group->pieces[group->piece_count - 1];
        if ((unsigned char *)last->iov_base + last->iov_len == (unsigned char *)record) {
            last->iov_len += size;
            return;
        }
    }
    group->pieces[group->piece_count++] = (struct iovec){record, size};
}

static enum engine_outcome outcome_of(const struct engine_operation *operation,
                                      const struct group_write *write)
{
    if (writes_value(operation))
        return write->current.present ? ENGINE_REPLACED : ENGINE_CREATED;
    if (operation->type == ENGINE_DELETE)
        return write->current.present ? ENGINE_DELETED : ENGINE_ABSENT;
    return ENGINE_CHECKED;
}

static void build(struct group *group, struct engine_operation *operation,
                  struct group_write *write)
{
    operation->outcome = outcome_of(operation, write);
    if (write->record == NULL)
        return;
    uint64_t sequence = ++group->last_sequence;
    record_seal_head(write->record, sequence, group->now_ms);
    operation->version = (struct engine_version){group->store->epoch, sequence};
    add_piece(group, write->record);
    /* Also a put may be dead: one that had expired on arrival. */
    bool is_live = record_is_live(write->record, group->now_ms);
    remember(group, write->hash, operation->key, is_live ? write->record : NULL);
}

static enum status admit(struct group *group, struct group_request *request)
{
    enum status status = judge(group, request);
    if (status == STATUS_OK)
        status = make_room(group, request);
    for (uint32_t i = 0; i < request->count; i++)
        engine_item_done(&request->writes[i].base);
    if (status != STATUS_OK)
        return status;
    for (uint32_t i = 0; i < request->count; i++)
        build(group, &request->operations[i], &request->writes[i]);
    return STATUS_OK;
}

/* ---- writing ---- */

static enum status write_group(struct group *group)
{
    if (group->records == 0)
        return STATUS_OK;
    struct journal_group frame = {
        .pieces = group->pieces,
        .piece_count = group->piece_count,
        .bytes = (uint32_t)group->bytes,
        .records = group->records,
        .first_sequence = group->last_sequence - group->records + 1,
        .last_sequence = group->last_sequence,
    };
    enum status status = journal_write(group->journal, &frame);
    if (status == STATUS_OK && group->options.sync)
        status = journal_sync(group->journal);
    memtable_note_journal(group->store->memtable, frame_extent(frame.bytes, !group->options.sync));
    return status;
}

/* ---- applying ---- */

static void count_write(struct store *store, const struct record *record)
{
    if (record->type == RECORD_EXPIRE) {
        stats_add(store->stats, STATS_expired, 1);
        return; /* nobody asked for it: nothing was accepted */
    }
    stats_add(store->stats, record->type == RECORD_PUT ? STATS_puts : STATS_deletes, 1);
    stats_add(store->stats, STATS_accepted,
              (uint64_t)record->key_bytes + record->meta_bytes + record->value_bytes);
}

static void apply(struct group *group, struct group_request *request)
{
    for (uint32_t i = 0; i < request->count; i++) {
        struct group_write *write = &request->writes[i];
        if (write->record == NULL)
            continue;
        bool new_key = is_new_key(&request->operations[i], write);
        if (store_apply(group->store, write->hash, write->record, new_key ? write->spare : NULL))
            write->spare = NULL;
        count_write(group->store, write->record);
    }
}

static bool has_writes(const struct group_request *request)
{
    for (uint32_t i = 0; i < request->count; i++)
        if (request->writes[i].record != NULL)
            return true;
    return false;
}

static void fail_all(struct group_request *const *requests, uint32_t count, enum status status)
{
    for (uint32_t i = 0; i < count; i++)
        requests[i]->status = status;
}

/*
 * The frame may be there or not. If the journal goes on without it, nothing was applied; if it does
 * not, a restart may find it whole, and nobody can say. A request that wrote nothing was judged
 * against writes that did not happen: it is not applied either way.
 */
static void fail_write(struct group *group, struct group_request *const *requests, uint32_t count)
{
    bool gone = group->options.unseal(group->options.context) == STATUS_OK;
    for (uint32_t i = 0; i < count; i++) {
        requests[i]->status =
            gone || !has_writes(requests[i]) ? STATUS_UNAVAILABLE : STATUS_UNKNOWN;
        unreserve(group, requests[i], requests[i]->count);
    }
}

static void freeze_if_full(struct group *group)
{
    if (store_freeze_if_full(group->store))
        group->options.on_frozen(group->options.context);
}

static enum status make_writable(struct group *group, uint64_t bytes, uint64_t rotate_deadline_ns)
{
    if (journal_is_sealed(group->journal)) {
        enum status status = group->options.unseal(group->options.context);
        if (status != STATUS_OK)
            return status;
    }
    return bytes > journal_room(group->journal) ? journal_rotate(group->journal, rotate_deadline_ns)
                                                : STATUS_OK;
}

static enum status begin(struct group *group, struct group_request *const *requests, uint32_t count,
                         uint64_t rotate_deadline_ns)
{
    const struct time_source *time = group->store->time;
    uint64_t bytes = 0, operations = 0;
    for (uint32_t i = 0; i < count; i++) {
        bytes += requests[i]->bytes;
        operations += requests[i]->count;
    }
    enum status status = make_writable(group, bytes, rotate_deadline_ns);
    if (status == STATUS_IO) /* it was sealed while rotating: once more, behind what is kept */
        status = make_writable(group, bytes, rotate_deadline_ns);
    if (status != STATUS_OK)
        return status == STATUS_IO ? STATUS_UNAVAILABLE : status;
    freeze_if_full(group);
    group->generation++;
    group->key_slots = KEY_SLOTS_MIN;
    while (group->key_slots < operations * 2)
        group->key_slots *= 2;
    group->now_ms = time->wall_ms(time);
    group->last_sequence = store_sequence(group->store);
    group->records = 0;
    group->bytes = 0;
    group->piece_count = 0;
    return STATUS_OK;
}

void group_run(struct group *group, struct group_request *const *requests, uint32_t count,
               uint64_t rotate_deadline_ns)
{
    enum status status = begin(group, requests, count, rotate_deadline_ns);
    if (status != STATUS_OK) {
        fail_all(requests, count, status);
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        requests[i]->status = admit(group, requests[i]);
    if (write_group(group) != STATUS_OK) {
        fail_write(group, requests, count);
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        if (requests[i]->status == STATUS_OK)
            apply(group, requests[i]);
    stats_add(group->store->stats, STATS_commit_groups, 1);
    store_publish(group->store, group->last_sequence);
    freeze_if_full(group);
}
