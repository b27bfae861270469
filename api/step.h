/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One operation of a batch, as its JSON object says it: read, refused at the member that is wrong, and
 * its value put into room that the engine gives and counts. One thread.
 */
#ifndef KEYREST_API_STEP_H
#define KEYREST_API_STEP_H

#include "../engine/engine.h"
#include "conditions.h"
#include "reader.h"

struct step {
    enum engine_operation_type type; /* PUT, DELETE, CHECK */
    struct bytes key;                /* its own */
    struct conditions conditions;
    struct engine_value *value; /* put: its own, until a commit takes it over */
    int64_t expires_ms;
};

/* What all steps of a batch have in common. */
struct step_context {
    struct engine *engine;
    int64_t now_ms;
    uint64_t value_bytes; /* of all values read so far; at most value_bytes_max */
    enum status failed;   /* why the engine gave no room for a value */
};

/*
 * Reads one into `step`, which is zero. False: the reader's problem is set, or `failed`. To be done in
 * any case.
 */
MUST_CHECK bool step_read(struct step_context *context, struct reader *reader, struct step *step);
void step_done(struct step *step, struct engine *engine);

/*
 * Makes a malloc'ed key of its text, or of its base64, which stood at `member` of the value that is read
 * (NULL: was it).
 */
MUST_CHECK bool step_read_key(struct reader *reader, const char *member, struct bytes given,
                              bool is_base64, uint32_t key_bytes_max, struct bytes *out_key);

#endif
