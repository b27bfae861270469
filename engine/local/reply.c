/* SPDX-License-Identifier: Apache-2.0 */
/* The charge stands in front of the copy. */
#include "reply.h"

enum { CHARGED_BYTES = 16 << 10 };

struct reply {
    struct budget *budget; /* NULL: not charged */
    uint64_t charged;
    struct record record;
};

static struct reply *reply_of(struct record *copy)
{
    return (struct reply *)((unsigned char *)copy - offsetof(struct reply, record));
}

struct record *reply_open(struct budget *budget, uint64_t bytes)
{
    uint64_t charged = offsetof(struct reply, record) + bytes;
    struct reply *reply = malloc(charged);
    if (reply == NULL)
        return NULL;
    reply->budget = charged >= CHARGED_BYTES ? budget : NULL;
    reply->charged = charged;
    if (reply->budget != NULL)
        budget_force(budget, charged);
    return &reply->record;
}

void reply_close(struct record *copy)
{
    if (copy == NULL)
        return;
    struct reply *reply = reply_of(copy);
    if (reply->budget != NULL)
        budget_give(reply->budget, reply->charged);
    free(reply);
}

bool reply_is_valid(const struct record *copy, struct bytes key, bool with_value)
{
    return record_head_is_valid(copy, record_bytes(copy)) && bytes_equal(record_key(copy), key) &&
           (!with_value || record_value_is_valid(copy, record_value(copy)));
}

static void release(void *owner)
{
    reply_close(owner);
}

struct engine_item reply_item(struct record *copy, uint64_t epoch, bool with_value)
{
    struct bytes value = record_value(copy);
    return (struct engine_item){
        .version = {epoch, copy->sequence},
        .modified_ms = copy->modified_ms,
        .expires_ms = copy->expires_ms,
        .meta = record_meta(copy),
        .value = {with_value ? value.data : NULL, value.size},
        .release = release,
        .owner = copy,
    };
}
