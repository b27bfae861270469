/* SPDX-License-Identifier: Apache-2.0 */
/* Reading, and the sum. */
#include "expiry.h"

bool expiry_read_after(struct bytes text, int64_t now_ms, struct expiry *out_expiry)
{
    int64_t ms;
    if (!duration_read(text, &ms) || ms > TIMESTAMP_MS_MAX - now_ms)
        return false;
    *out_expiry = (struct expiry){EXPIRY_AFTER, ms};
    return true;
}

bool expiry_read_at(struct bytes text, int64_t now_ms, struct expiry *out_expiry)
{
    int64_t ms;
    if (!timestamp_read(text, &ms) || ms <= now_ms)
        return false;
    *out_expiry = (struct expiry){EXPIRY_AT, ms};
    return true;
}

static bool read_ttl(struct bytes text, int64_t now_ms, struct expiry *out_expiry,
                     struct problem *problem)
{
    if (bytes_equal(text, bytes_of("keep"))) {
        *out_expiry = (struct expiry){EXPIRY_KEPT, 0};
        return true;
    }
    return expiry_read_after(text, now_ms, out_expiry) ||
           problem_set_detail(problem, PROBLEM_BAD_PARAMETER,
                              "ttl is " DURATION_SHAPE ", or keep; leave it out for a key that "
                              "stays.");
}

bool expiry_read(const struct parameters *parameters, int64_t now_ms, struct expiry *out_expiry,
                 struct problem *problem)
{
    const struct parameter *ttl = parameters_find(parameters, "ttl");
    const struct parameter *at = parameters_find(parameters, "expires-at");
    *out_expiry = (struct expiry){EXPIRY_NEVER, 0};
    if (ttl != NULL && at != NULL)
        return problem_set_detail(problem, PROBLEM_BAD_PARAMETER,
                                  "ttl and expires-at contradict each other: give one of them.");
    if (ttl != NULL)
        return read_ttl(ttl->value, now_ms, out_expiry, problem);
    return at == NULL || expiry_read_at(at->value, now_ms, out_expiry) ||
           problem_set_detail(problem, PROBLEM_BAD_PARAMETER,
                              "expires-at is " EXPIRY_AT_SHAPE "; write the + of an offset as it "
                              "is, or as %%2B.");
}

int64_t expiry_ms(const struct expiry *expiry, int64_t now_ms, int64_t replaced_ms)
{
    switch (expiry->kind) {
    case EXPIRY_NEVER:
        return 0;
    case EXPIRY_AFTER:
        return now_ms + expiry->ms;
    case EXPIRY_AT:
        return expiry->ms;
    case EXPIRY_KEPT:
        return replaced_ms;
    }
    return 0;
}
