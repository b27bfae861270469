/* SPDX-License-Identifier: Apache-2.0 */
/* Writing twice, comparing. */
#include "shadow.h"

#include "test.h"

const char *shadow_name(size_t key)
{
    static char names[SHADOW_KEYS][1025];
    char *name = names[key];
    assert_true(key < SHADOW_KEYS);
    if (name[0] != '\0')
        return name;
    if (key == SHADOW_KEYS - 1)
        memset(name, 'z', 1024);
    else if (key % 4 == 3) /* the key before it and more */
        snprintf(name, sizeof names[key], "key %02u!", (unsigned)key - 1);
    else
        snprintf(name, sizeof names[key], "key %02u", (unsigned)key);
    return name;
}

enum status shadow_put(struct shadow *shadow, struct parts *parts, size_t key, size_t size)
{
    unsigned char fill = (unsigned char)(++shadow->writes % 255 + 1);
    struct engine_operation put =
        parts_put_operation(parts, bytes_of(shadow_name(key)), size, fill);
    enum status status = parts_commit(parts, &put, 1, NULL);
    if (status == STATUS_OK)
        shadow->keys[key] = (struct shadow_key){.present = true, .fill = fill, .size = size};
    return status;
}

enum status shadow_delete(struct shadow *shadow, struct parts *parts, size_t key)
{
    enum status status = parts_delete(parts, shadow_name(key));
    if (status == STATUS_OK)
        shadow->keys[key] = (struct shadow_key){.present = false};
    return status;
}

void shadow_must_put(struct shadow *shadow, struct parts *parts, size_t key, size_t size)
{
    assert_int_equal(shadow_put(shadow, parts, key, size), STATUS_OK);
}

void shadow_must_delete(struct shadow *shadow, struct parts *parts, size_t key)
{
    assert_int_equal(shadow_delete(shadow, parts, key), STATUS_OK);
}

static bool is_filled(struct bytes value, const struct shadow_key *expected)
{
    const unsigned char *bytes = value.data;
    if (value.size != expected->size)
        return false;
    for (size_t i = 0; i < value.size; i++)
        if (bytes[i] != expected->fill)
            return false;
    return true;
}

bool shadow_key_is_right(const struct shadow *shadow, struct parts *parts, size_t key)
{
    const struct shadow_key *expected = &shadow->keys[key];
    struct engine_item item;
    enum status status = store_get(&parts->store, bytes_of(shadow_name(key)), true, &item);
    if (status != STATUS_OK)
        return status == STATUS_NOT_FOUND && !expected->present;
    bool right = expected->present && is_filled(item.value, expected);
    engine_item_done(&item);
    return right;
}

void shadow_check(const struct shadow *shadow, struct parts *parts)
{
    for (size_t key = 0; key < SHADOW_KEYS; key++)
        if (!shadow_key_is_right(shadow, parts, key))
            fail_msg("key %u (%.20s) is %s", (unsigned)key, shadow_name(key),
                     status_text(parts_read(parts, shadow_name(key))));
}
