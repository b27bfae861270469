/* SPDX-License-Identifier: Apache-2.0 */
/* Keys that many tables and memtables have, and scans that outlast the view that they began with. */
#include "../../../engine/local/scan.h"

#include "../../lib/scene.h"
#include "../../lib/test.h"

/* What a scan has told so far: as many keys as expected, each behind the one before it. */
struct told {
    bool reverse;
    char last[64];
    unsigned count;
    bool out_of_order;
};

static bool tell(void *context, struct bytes key, enum status status, struct engine_item *item)
{
    struct told *told = context;
    (void)item;
    assert_int_equal(status, STATUS_OK);
    assert_true(key.size < sizeof told->last);
    int order = bytes_compare(bytes_of(told->last), key);
    told->out_of_order |= told->count > 0 && (told->reverse ? order <= 0 : order >= 0);
    memcpy(told->last, key.data, key.size);
    told->last[key.size] = '\0';
    told->count++;
    return !told->out_of_order;
}

static void check_all_told_once(struct parts *parts, unsigned count)
{
    for (int reverse = 0; reverse < 2; reverse++) {
        const struct engine_range all = {.reverse = reverse != 0};
        const struct engine_context patience = parts_patience();
        struct told told = {.reverse = reverse != 0};
        assert_int_equal(scan_run(&parts->store, &all, false, tell, &told, &patience), STATUS_OK);
        if (told.out_of_order)
            fail_msg("key %u of a scan is %s", told.count, told.last);
        assert_int_equal(told.count, count);
    }
}

static void a_key_that_many_tables_have_is_told_once(void **state)
{
    (void)state;
    struct scene scene;
    scene_begin(&scene, (struct parts_options){0});
    for (size_t round = 0; round < 4; round++) {
        for (size_t key = 0; key < 6; key++)
            scene_put(&scene, key, 20 + round);
        if (round < 3)
            scene_dump(&scene);
    }
    scene_delete(&scene, 2);
    assert_int_equal(parts_table_count(&scene.parts), 3);
    check_all_told_once(&scene.parts, 5);
    scene_end(&scene);
}

static void a_scan_goes_on_in_the_next_view(void **state)
{
    (void)state;
    enum { KEYS = SCAN_PINNED_MAX + 500 };
    struct parts parts;
    parts_open(&parts, &(struct parts_options){.lazy = true});
    for (unsigned i = 0; i < KEYS; i++) {
        char key[16];
        snprintf(key, sizeof key, "%05u", i * 7919 % KEYS);
        assert_int_equal(parts_put(&parts, key, "v"), STATUS_OK);
        if (i == KEYS / 2)
            assert_int_equal(parts_dump(&parts), STATUS_OK);
    }
    check_all_told_once(&parts, KEYS);
    parts_close(&parts);
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        TEST("a key that many tables have is told once", a_key_that_many_tables_have_is_told_once),
        TEST("a scan goes on in the next view", a_scan_goes_on_in_the_next_view),
    };
    return test_main(argc, argv, "scan", tests);
}
