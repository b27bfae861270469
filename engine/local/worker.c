/* SPDX-License-Identifier: Apache-2.0 */
/* One flag and one condition: wakes that come during a run are not lost. */
#include "worker.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

struct worker {
    /* set at open, then constant */
    const char *name;
    uint64_t (*run)(void *context);
    void *context;
    /* the caller's of start, stop and close */
    pthread_t thread;
    bool started;
    /* shared */
    pthread_mutex_t mutex;
    pthread_cond_t cond; /* monotonic clock */
    /* guarded by mutex */
    bool woken, closing;
};

static struct timespec time_after(uint64_t ns)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    ns += (uint64_t)until.tv_nsec;
    until.tv_sec += (time_t)(ns / 1000000000u);
    until.tv_nsec = (long)(ns % 1000000000u);
    return until;
}

/* True: run again. */
static bool wait_for_work(struct worker *worker, uint64_t timeout_ns)
{
    struct timespec until = time_after(timeout_ns);
    pthread_mutex_lock(&worker->mutex);
    while (!worker->woken && !worker->closing)
        if (pthread_cond_timedwait(&worker->cond, &worker->mutex, &until) != 0)
            break;
    worker->woken = false;
    bool go_on = !worker->closing;
    pthread_mutex_unlock(&worker->mutex);
    return go_on;
}

static void *work(void *context)
{
    struct worker *worker = context;
    while (wait_for_work(worker, worker->run(worker->context)))
        continue;
    return NULL;
}

enum status worker_open(const char *name, uint64_t (*run)(void *context), void *context,
                        struct worker **out_worker)
{
    struct worker *worker = calloc(1, sizeof *worker);
    if (worker == NULL)
        return STATUS_NO_MEMORY;
    worker->name = name;
    worker->run = run;
    worker->context = context;
    pthread_mutex_init(&worker->mutex, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&worker->cond, &monotonic);
    pthread_condattr_destroy(&monotonic);
    *out_worker = worker;
    return STATUS_OK;
}

enum status worker_start(struct worker *worker)
{
    if (pthread_create(&worker->thread, NULL, work, worker) != 0)
        return STATUS_NO_MEMORY;
    pthread_setname_np(worker->thread, worker->name);
    worker->started = true;
    return STATUS_OK;
}

void worker_wake(struct worker *worker)
{
    if (worker == NULL)
        return;
    pthread_mutex_lock(&worker->mutex);
    worker->woken = true;
    pthread_cond_signal(&worker->cond);
    pthread_mutex_unlock(&worker->mutex);
}

void worker_stop(struct worker *worker)
{
    if (worker == NULL || !worker->started)
        return;
    pthread_mutex_lock(&worker->mutex);
    worker->closing = true;
    pthread_cond_signal(&worker->cond);
    pthread_mutex_unlock(&worker->mutex);
    pthread_join(worker->thread, NULL);
    worker->started = false;
}

void worker_close(struct worker *worker)
{
    if (worker == NULL)
        return;
    worker_stop(worker);
    pthread_cond_destroy(&worker->cond);
    pthread_mutex_destroy(&worker->mutex);
    free(worker);
}
