/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store in one thread over a simulated disk, and what it must hold: audited, killed, cut from its
 * power and disturbed at any moment. Everything that is asked of it must succeed, or the test fails.
 */
#ifndef KEYREST_TESTS_LIB_SCENE_H
#define KEYREST_TESTS_LIB_SCENE_H

#include "audit.h"
#include "shadow.h"

struct scene {
    struct crash_disk *crash;
    struct parts parts;
    struct shadow shadow;
};

void scene_begin(struct scene *scene, struct parts_options options);
void scene_end(struct scene *scene);

/* Every key is right, and the audit finds nothing. */
void scene_check(struct scene *scene);

/* Kills it and starts it again; checks before and after. */
void scene_reopen(struct scene *scene);
void scene_check_reopened(struct scene *scene);

/* What a power cut leaves now, with and without all that is pending, is right. */
void scene_check_cuts(const struct scene *scene);

/* The same for every state that a power cut could leave; to be called behind each change. */
void scene_check_every_cut(void *scene);

void scene_put(struct scene *scene, size_t key, size_t size);
void scene_delete(struct scene *scene, size_t key);

/* Dumps all of memory; returns the id of the table that the first dump writes. */
uint64_t scene_dump(struct scene *scene);

/* The tables' files: how many there are, and a number that changes with any of them. */
struct scene_tables {
    uint64_t hash;
    size_t count;
};
struct scene_tables scene_tables(const struct scene *scene);

/* Flips a bit of a table's file at `offset`, or back again. */
void scene_flip(struct scene *scene, uint64_t table_id, uint64_t offset);

/* Does something behind the n-th change of the disk from now on, once. */
struct scene_intruder {
    struct scene *scene;
    uint64_t left; /* n */
    void (*act)(struct scene *scene);
    bool inside, struck;
};
void scene_intrude(struct scene_intruder *intruder);

#endif
