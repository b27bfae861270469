/* SPDX-License-Identifier: Apache-2.0 */
/* Sleeping in slices, so that a fired cancel is seen. */
#include "published.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S UINT64_C(1000000000)

/* Hundreds may sleep at once: looking oftener for a cancel would cost more than it is worth. */
static const uint64_t slice_ns = 250000000;

/* A futex has 32 bits: the sequence's lower half, which stands first, changes with each commit. */
static void *word_of(struct published *published)
{
    return &published->sequence;
}

static void sleep_at(struct published *published, uint64_t sequence, uint64_t ns)
{
    struct timespec timeout = {(time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S)};
    syscall(SYS_futex, word_of(published), FUTEX_WAIT_PRIVATE, (uint32_t)sequence, &timeout);
}

void published_wake(struct published *published)
{
    syscall(SYS_futex, word_of(published), FUTEX_WAKE_PRIVATE, INT_MAX);
}

static enum status wait_counted(struct published *published, uint64_t sequence,
                                uint64_t *out_sequence, const struct time_source *time,
                                const struct engine_context *context)
{
    for (;;) {
        *out_sequence = atomic_load(&published->sequence);
        if (*out_sequence > sequence)
            return STATUS_OK;
        if (cancel_fired(context->cancel))
            return STATUS_CANCELLED;
        uint64_t now = time->monotonic_ns(time);
        if (now >= context->deadline_ns)
            return STATUS_BUSY;
        uint64_t left_ns = context->deadline_ns - now;
        bool sliced = context->cancel != NULL && left_ns > slice_ns;
        sleep_at(published, *out_sequence, sliced ? slice_ns : left_ns);
    }
}

enum status published_wait(struct published *published, uint64_t sequence, uint64_t *out_sequence,
                           const struct time_source *time, const struct engine_context *context)
{
    atomic_fetch_add(&published->waiting, 1);
    enum status status = wait_counted(published, sequence, out_sequence, time, context);
    atomic_fetch_sub(&published->waiting, 1);
    return status;
}
