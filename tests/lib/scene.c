/* SPDX-License-Identifier: Apache-2.0 */
/* Beginning, ending, disturbing. */
#include "scene.h"

#include "test.h"

void scene_begin(struct scene *scene, struct parts_options options)
{
    *scene = (struct scene){.crash = crash_disk_open()};
    options.crash = scene->crash;
    parts_open(&scene->parts, &options);
}

void scene_end(struct scene *scene)
{
    parts_close(&scene->parts);
    crash_disk_close(scene->crash);
}

void scene_check(struct scene *scene)
{
    shadow_check(&scene->shadow, &scene->parts);
    audit(&scene->parts);
}

static void start(struct scene *scene)
{
    struct failure failure = {0};
    if (parts_recover(&scene->parts, &failure) != STATUS_OK)
        fail_msg("%s", failure.message);
}

void scene_reopen(struct scene *scene)
{
    parts_stop(&scene->parts);
    start(scene);
}

void scene_check_reopened(struct scene *scene)
{
    scene_check(scene);
    scene_reopen(scene);
    scene_check(scene);
}

/* Takes the disk. */
static void check_cut(const struct scene *scene, struct crash_disk *disk)
{
    struct scene cut = {
        .crash = disk, .shadow = scene->shadow, .parts = {.options = scene->parts.options}};
    cut.parts.options.crash = disk;
    start(&cut);
    scene_check(&cut);
    scene_end(&cut);
}

void scene_check_cuts(const struct scene *scene)
{
    for (int keep = 0; keep < 2; keep++)
        check_cut(scene, crash_disk_cut(scene->crash, keep != 0));
}

static void visit_state(void *context, struct crash_state state)
{
    check_cut(context, state.disk);
}

void scene_check_every_cut(void *scene)
{
    crash_disk_each_state(((struct scene *)scene)->crash, visit_state, scene);
}

void scene_put(struct scene *scene, size_t key, size_t size)
{
    shadow_must_put(&scene->shadow, &scene->parts, key, size);
}

void scene_delete(struct scene *scene, size_t key)
{
    shadow_must_delete(&scene->shadow, &scene->parts, key);
}

uint64_t scene_dump(struct scene *scene)
{
    uint64_t id = catalog_next_table_id(&scene->parts.catalog);
    assert_int_equal(parts_dump(&scene->parts), STATUS_OK);
    return id;
}

static enum status visit(void *context, const char *name, uint64_t bytes)
{
    struct scene_tables *tables = context;
    uint64_t id;
    if (!table_name_parse(name, &id))
        return STATUS_OK;
    tables->count++;
    tables->hash += id * 1000003 + bytes;
    return STATUS_OK;
}

struct scene_tables scene_tables(const struct scene *scene)
{
    struct scene_tables tables = {0};
    assert_int_equal(disk_list(scene->parts.disk, visit, &tables), STATUS_OK);
    return tables;
}

void scene_flip(struct scene *scene, uint64_t table_id, uint64_t offset)
{
    const struct table *table = parts_table(&scene->parts, table_id);
    unsigned char byte;
    size_t got;
    assert_int_equal(disk_file_read(table->file, offset, &byte, 1, &got), STATUS_OK);
    byte ^= 1;
    struct iovec piece = {&byte, 1};
    assert_int_equal(disk_file_write(table->file, offset, &piece, 1), STATUS_OK);
}

static void look(void *context)
{
    struct scene_intruder *intruder = context;
    if (intruder->inside || intruder->struck || --intruder->left > 0)
        return;
    intruder->inside = true;
    intruder->struck = true;
    intruder->act(intruder->scene);
    intruder->inside = false;
}

void scene_intrude(struct scene_intruder *intruder)
{
    crash_disk_watch(intruder->scene->crash, look, intruder);
}
