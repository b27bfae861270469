/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Epoch records are never freed before close (ck_epoch keeps them in a list), so threads that end
 * put theirs on a freelist. Retired objects go onto one multi-producer stack; the reclaimer takes
 * the whole stack, waits one grace period, frees it, and sleeps while it is empty.
 */
#include "reclaim.h"

#include <assert.h>
#include <ck_epoch.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <unistd.h>

#include "race.h"

enum { GRACE_POLL_US = 50 };

struct epoch_slot {
    ck_epoch_record_t record; /* first: ck asks for cache-line alignment */
    struct reclaim *reclaim;
    struct epoch_slot *next_free;
    struct epoch_slot *next_made;
    unsigned depth; /* owned by the thread that holds the slot */
};

struct reclaim {
    /* set at open, then constant */
    pthread_key_t key; /* this thread's slot */
    bool threaded;
    pthread_t thread;
    /* synchronise themselves */
    ck_epoch_t epoch;
    _Atomic(struct retired *) retired; /* pushed by any (release), taken whole (acquire) */
    sem_t wake;                        /* posted when an empty stack is pushed onto, and at close */
    _Atomic uint64_t bytes;
    atomic_bool closing;
    /* guarded by slots_mutex */
    pthread_mutex_t slots_mutex;
    struct epoch_slot *slots_free;
    struct epoch_slot *slots_made;
};

static void slot_return(void *context)
{
    struct epoch_slot *slot = context;
    struct reclaim *reclaim = slot->reclaim;
    pthread_mutex_lock(&reclaim->slots_mutex);
    slot->next_free = reclaim->slots_free;
    reclaim->slots_free = slot;
    pthread_mutex_unlock(&reclaim->slots_mutex);
}

/* Aborts without memory: a reader that cannot mark its section cannot read safely. */
static struct epoch_slot *slot_make_locked(struct reclaim *reclaim)
{
    struct epoch_slot *slot = aligned_alloc(CK_MD_CACHELINE, (sizeof *slot + CK_MD_CACHELINE - 1) /
                                                                 CK_MD_CACHELINE * CK_MD_CACHELINE);
    if (slot == NULL)
        abort();
    *slot = (struct epoch_slot){.reclaim = reclaim, .next_made = reclaim->slots_made};
    reclaim->slots_made = slot;
    ck_epoch_register(&reclaim->epoch, &slot->record, NULL);
    return slot;
}

static struct epoch_slot *slot_of_this_thread(struct reclaim *reclaim)
{
    struct epoch_slot *slot = pthread_getspecific(reclaim->key);
    if (slot != NULL)
        return slot;
    pthread_mutex_lock(&reclaim->slots_mutex);
    slot = reclaim->slots_free;
    if (slot != NULL)
        reclaim->slots_free = slot->next_free;
    else
        slot = slot_make_locked(reclaim);
    pthread_mutex_unlock(&reclaim->slots_mutex);
    if (pthread_setspecific(reclaim->key, slot) != 0)
        abort();
    return slot;
}

void reclaim_enter(struct reclaim *reclaim)
{
    struct epoch_slot *slot = slot_of_this_thread(reclaim);
    if (slot->depth++ == 0)
        ck_epoch_begin(&slot->record, NULL);
}

void reclaim_leave(struct reclaim *reclaim)
{
    struct epoch_slot *slot = pthread_getspecific(reclaim->key);
    assert(slot != NULL && slot->depth > 0);
    if (--slot->depth == 0) {
        RACE_RELEASE(reclaim); /* pairs with: reclaim_run */
        ck_epoch_end(&slot->record, NULL);
    }
}

void reclaim_retire(struct reclaim *reclaim, struct retired *retired)
{
    atomic_fetch_add_explicit(&reclaim->bytes, retired->bytes, memory_order_relaxed);
    struct retired *before = atomic_load_explicit(&reclaim->retired, memory_order_relaxed);
    do
        retired->next = before;
    while (!atomic_compare_exchange_weak_explicit(&reclaim->retired, &before, retired,
                                                  memory_order_release, memory_order_relaxed));
    /* The very step that found it empty wakes: a look before the push could be out of date. */
    if (before == NULL)
        sem_post(&reclaim->wake);
}

static void pause_between_scans(ck_epoch_t *epoch, ck_epoch_record_t *record, void *context)
{
    (void)epoch, (void)record, (void)context;
    usleep(GRACE_POLL_US);
}

void reclaim_run(struct reclaim *reclaim)
{
    struct retired *taken = atomic_exchange_explicit(&reclaim->retired, NULL, memory_order_acquire);
    if (taken == NULL)
        return;
    ck_epoch_synchronize_wait(&reclaim->epoch, pause_between_scans, NULL);
    RACE_ACQUIRE(reclaim); /* pairs with: reclaim_leave */
    while (taken != NULL) {
        struct retired *retired = taken;
        taken = retired->next;
        atomic_fetch_sub_explicit(&reclaim->bytes, retired->bytes, memory_order_relaxed);
        retired->release(retired);
    }
}

static void *reclaimer(void *context)
{
    struct reclaim *reclaim = context;
    pthread_setname_np(pthread_self(), "reclaim");
    while (!atomic_load(&reclaim->closing)) {
        while (sem_wait(&reclaim->wake) != 0)
            continue;
        reclaim_run(reclaim);
    }
    return NULL;
}

uint64_t reclaim_bytes(const struct reclaim *reclaim)
{
    return atomic_load_explicit(&reclaim->bytes, memory_order_relaxed);
}

enum status reclaim_open(bool threaded, struct reclaim **out_reclaim)
{
    struct reclaim *reclaim = calloc(1, sizeof *reclaim);
    if (reclaim == NULL)
        return STATUS_NO_MEMORY;
    if (pthread_key_create(&reclaim->key, slot_return) != 0) {
        free(reclaim);
        return STATUS_NO_MEMORY;
    }
    ck_epoch_init(&reclaim->epoch);
    sem_init(&reclaim->wake, 0, 0);
    pthread_mutex_init(&reclaim->slots_mutex, NULL);
    if (threaded && pthread_create(&reclaim->thread, NULL, reclaimer, reclaim) == 0)
        reclaim->threaded = true;
    if (threaded && !reclaim->threaded) {
        reclaim_close(reclaim);
        return STATUS_NO_MEMORY;
    }
    *out_reclaim = reclaim;
    return STATUS_OK;
}

void reclaim_close(struct reclaim *reclaim)
{
    if (reclaim == NULL)
        return;
    if (reclaim->threaded) {
        atomic_store(&reclaim->closing, true);
        sem_post(&reclaim->wake);
        pthread_join(reclaim->thread, NULL);
    }
    reclaim_run(reclaim);
    pthread_key_delete(reclaim->key);
    for (struct epoch_slot *slot = reclaim->slots_made, *next; slot != NULL; slot = next) {
        next = slot->next_made;
        free(slot);
    }
    pthread_mutex_destroy(&reclaim->slots_mutex);
    sem_destroy(&reclaim->wake);
    free(reclaim);
}
