/* SPDX-License-Identifier: Apache-2.0 */
/* The list of deadlines and the reaper. */
#include "deadline.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

enum { PHASE_BITS = 7 };

static const uint64_t ns_per_ms = 1000000, ns_per_s = 1000000000;

_Static_assert(DEADLINE_PHASES <= PHASE_BITS + 1, "the phase fits below the time");

struct deadlines {
    struct deadlines_options options; /* set at open, then constant */
    pthread_mutex_t mutex;
    pthread_cond_t stop; /* monotonic clock */
    /* guarded by mutex */
    struct deadline *first;
    struct deadlines_figures figures;
    bool running, stopping;
    pthread_t reaper;
};

enum status deadlines_open(const struct deadlines_options *options,
                           struct deadlines **out_deadlines)
{
    struct deadlines *deadlines = calloc(1, sizeof *deadlines);
    if (deadlines == NULL)
        return STATUS_NO_MEMORY;
    deadlines->options = *options;
    pthread_mutex_init(&deadlines->mutex, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&deadlines->stop, &monotonic);
    pthread_condattr_destroy(&monotonic);
    *out_deadlines = deadlines;
    return STATUS_OK;
}

void deadlines_close(struct deadlines *deadlines)
{
    if (deadlines == NULL)
        return;
    if (deadlines->running) {
        pthread_mutex_lock(&deadlines->mutex);
        deadlines->stopping = true;
        pthread_cond_signal(&deadlines->stop);
        pthread_mutex_unlock(&deadlines->mutex);
        pthread_join(deadlines->reaper, NULL);
    }
    pthread_cond_destroy(&deadlines->stop);
    pthread_mutex_destroy(&deadlines->mutex);
    free(deadlines);
}

/* ---- the moves ---- */

static void move(struct deadline *deadline, enum deadline_phase phase, uint64_t ends_ns)
{
    atomic_store_explicit(&deadline->ends, (ends_ns & ~(uint64_t)PHASE_BITS) | phase,
                          memory_order_relaxed);
}

static enum deadline_phase phase_of(uint64_t ends)
{
    return (enum deadline_phase)(ends & PHASE_BITS);
}

static uint64_t after_ms(uint64_t now_ns, uint64_t ms)
{
    return now_ns + ms * ns_per_ms;
}

static uint64_t transfer_ns(const struct deadlines *deadlines, uint64_t bytes)
{
    uint64_t rate = deadlines->options.bytes_per_second_min;
    return bytes / rate * ns_per_s + bytes % rate * ns_per_s / rate;
}

void deadline_headers(const struct deadlines *deadlines, struct deadline *deadline, uint64_t now_ns)
{
    move(deadline, DEADLINE_HEADERS, after_ms(now_ns, deadlines->options.header_ms));
}

void deadline_body(const struct deadlines *deadlines, struct deadline *deadline, uint64_t now_ns)
{
    deadline->body_began_ns = now_ns;
    deadline_body_grows(deadlines, deadline, 0);
}

void deadline_body_grows(const struct deadlines *deadlines, struct deadline *deadline,
                         uint64_t bytes)
{
    move(deadline, DEADLINE_BODY,
         after_ms(deadline->body_began_ns, deadlines->options.header_ms) +
             transfer_ns(deadlines, bytes));
}

void deadline_working(struct deadline *deadline)
{
    move(deadline, DEADLINE_WORKING, UINT64_MAX);
}

void deadline_sending(const struct deadlines *deadlines, struct deadline *deadline, uint64_t now_ns,
                      uint64_t bytes)
{
    move(deadline, DEADLINE_SENDING,
         after_ms(now_ns, deadlines->options.header_ms) + transfer_ns(deadlines, bytes));
}

void deadline_idle(const struct deadlines *deadlines, struct deadline *deadline, uint64_t now_ns)
{
    move(deadline, DEADLINE_IDLE, after_ms(now_ns, deadlines->options.idle_ms));
}

/* ---- the list ---- */

void deadlines_add(struct deadlines *deadlines, struct deadline *deadline, int fd)
{
    const struct time_source *time = deadlines->options.time;
    *deadline = (struct deadline){.fd = fd};
    move(deadline, DEADLINE_FRESH,
         after_ms(time->monotonic_ns(time), deadlines->options.header_ms));
    pthread_mutex_lock(&deadlines->mutex);
    deadline->next = deadlines->first;
    if (deadlines->first != NULL)
        deadlines->first->previous = deadline;
    deadlines->first = deadline;
    deadlines->figures.open++;
    pthread_mutex_unlock(&deadlines->mutex);
}

void deadlines_remove(struct deadlines *deadlines, struct deadline *deadline)
{
    pthread_mutex_lock(&deadlines->mutex);
    if (deadline->previous != NULL)
        deadline->previous->next = deadline->next;
    else
        deadlines->first = deadline->next;
    if (deadline->next != NULL)
        deadline->next->previous = deadline->previous;
    deadlines->figures.open--;
    pthread_mutex_unlock(&deadlines->mutex);
}

size_t deadlines_busy(struct deadlines *deadlines)
{
    size_t busy = 0;
    pthread_mutex_lock(&deadlines->mutex);
    for (struct deadline *at = deadlines->first; at != NULL; at = at->next)
        busy += phase_of(atomic_load_explicit(&at->ends, memory_order_relaxed)) >= DEADLINE_HEADERS;
    pthread_mutex_unlock(&deadlines->mutex);
    return busy;
}

void deadlines_cancel_all(struct deadlines *deadlines)
{
    pthread_mutex_lock(&deadlines->mutex);
    for (struct deadline *at = deadlines->first; at != NULL; at = at->next)
        cancel_fire(&at->cancel);
    pthread_mutex_unlock(&deadlines->mutex);
}

struct deadlines_figures deadlines_figures(struct deadlines *deadlines)
{
    pthread_mutex_lock(&deadlines->mutex);
    struct deadlines_figures figures = deadlines->figures;
    pthread_mutex_unlock(&deadlines->mutex);
    return figures;
}

/* ---- the reaper ---- */

/* POLLRDHUP, not POLLIN: a client may have sent its next request already. */
static bool client_has_gone(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLRDHUP};
    return poll(&poll_fd, 1, 0) == 1;
}

static void look_locked(struct deadlines *deadlines, struct deadline *deadline, uint64_t now_ns)
{
    uint64_t ends = atomic_load_explicit(&deadline->ends, memory_order_relaxed);
    enum deadline_phase phase = phase_of(ends);
    if (phase == DEADLINE_WORKING) {
        if (!cancel_fired(&deadline->cancel) && client_has_gone(deadline->fd)) {
            cancel_fire(&deadline->cancel);
            deadlines->figures.gone++;
        }
    } else if (ends < now_ns && !deadline->cut) {
        /* The thread wakes from its poll or send, sees the end, and lets the library close. */
        shutdown(deadline->fd, SHUT_RDWR);
        deadline->cut = true;
        deadlines->figures.cut[phase]++;
    }
}

static void scan_locked(struct deadlines *deadlines)
{
    const struct time_source *time = deadlines->options.time;
    uint64_t now_ns = time->monotonic_ns(time);
    for (struct deadline *at = deadlines->first; at != NULL; at = at->next)
        look_locked(deadlines, at, now_ns);
}

void deadlines_scan(struct deadlines *deadlines)
{
    pthread_mutex_lock(&deadlines->mutex);
    scan_locked(deadlines);
    pthread_mutex_unlock(&deadlines->mutex);
}

static void *reap(void *argument)
{
    struct deadlines *deadlines = argument;
    struct timespec next;
    clock_gettime(CLOCK_MONOTONIC, &next);
    pthread_mutex_lock(&deadlines->mutex);
    while (!deadlines->stopping) {
        scan_locked(deadlines);
        uint64_t ns = (uint64_t)next.tv_nsec + DEADLINE_SCAN_MS * ns_per_ms;
        next.tv_sec += (time_t)(ns / ns_per_s);
        next.tv_nsec = (long)(ns % ns_per_s);
        pthread_cond_timedwait(&deadlines->stop, &deadlines->mutex, &next);
    }
    pthread_mutex_unlock(&deadlines->mutex);
    return NULL;
}

enum status deadlines_start(struct deadlines *deadlines)
{
    if (pthread_create(&deadlines->reaper, NULL, reap, deadlines) != 0)
        return STATUS_NO_MEMORY;
    pthread_setname_np(deadlines->reaper, "reaper");
    deadlines->running = true;
    return STATUS_OK;
}
