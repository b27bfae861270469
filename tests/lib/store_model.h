/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a store must hold: a handful of keys as they are after each commit that wrote something. A
 * commit is predicted from the newest state, run against an engine, and its answers are compared;
 * an engine that was recovered must equal one of the states. One thread.
 */
#ifndef KEYREST_TESTS_LIB_STORE_MODEL_H
#define KEYREST_TESTS_LIB_STORE_MODEL_H

#include "../../engine/engine.h"

enum { MODEL_KEYS = 10, MODEL_OPERATIONS_MAX = 5, MODEL_KEY_BYTES_MAX = 300 };

struct model_version {
    uint64_t sequence; /* 0: absent */
    uint64_t seed;     /* of the bytes of value and meta */
    uint32_t value_bytes, meta_bytes;
    int64_t modified_ms;
    bool is_number; /* the value is `number` as text instead */
    int64_t number;
};

struct model_state {
    uint64_t sequence;
    size_t
        expired; /* 1 + the key with a version that nobody sees and a sweep will delete; 0: none */
    struct model_version keys[MODEL_KEYS];
};

enum model_condition { MODEL_NONE, MODEL_ABSENT, MODEL_PRESENT, MODEL_CURRENT, MODEL_STALE };

struct model_operation {
    enum engine_operation_type type;
    size_t key;
    enum model_condition condition;
    int64_t by;
    uint64_t seed;
    uint32_t value_bytes, meta_bytes;
    bool expired; /* a put that nobody ever sees: its time is over already */
};

struct model_commit {
    struct model_operation operations[MODEL_OPERATIONS_MAX];
    uint32_t count;
};

struct model {
    struct model_state *states; /* the first is the empty store */
    size_t count;
};

void model_init(struct model *model);
void model_done(struct model *model);
struct model model_copy(const struct model *model);

static inline const struct model_state *model_newest(const struct model *model)
{
    return &model->states[model->count - 1];
}

void model_add(struct model *model, struct model_state state);

/* Some commit on the keys; its values together are between half and all of `value_bytes_max`. */
struct model_commit model_make_commit(uint64_t *random, uint32_t value_bytes_max);

/* What the commit makes of a state: OK, CONFLICT or NOT_A_NUMBER; `*out_state` is set on OK. */
enum status model_predict(const struct model_state *state, const struct model_commit *commit,
                          int64_t now_ms, struct model_state *out_state);

/* What a sweep makes of a state. */
struct model_state model_swept(const struct model_state *state);

/*
 * Runs it. On OK, CONFLICT and NOT_A_NUMBER the answers (outcome, version, number) are compared with those that `before`
 * and `after` (may be NULL) demand; NULL, or what is wrong with them.
 */
enum status model_run(struct engine *engine, const struct model_commit *commit,
                      const struct model_state *before, const struct model_state *after,
                      uint64_t epoch, uint64_t deadline_ns, const char **out_wrong);

/*
 * Reads every key. NULL: the engine is in this state; else what differs, as static text: that of
 * CORRUPT only when nothing but that answer differs.
 */
const char *model_compare(struct engine *engine, const struct model_state *state, uint64_t epoch);

/* How many keys cannot be read since they are damaged. */
unsigned model_count_corrupt(struct engine *engine);

/*
 * Reads the feed of changes from as early as it goes, and from behind `cursor` if it is kept: it must
 * be the commits that lead to `states[state]`, each whole, in order and as written. NULL, or what
 * differs; adds how many changes were told.
 */
const char *model_follow(struct engine *engine, const struct model *model, size_t state,
                         uint64_t epoch, uint64_t cursor, uint64_t *told);

/* The next number of a sequence that `*random`, not 0, seeds. */
uint64_t model_random(uint64_t *random);

#endif
