/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pool of entries: one class per multiple of 8 bytes. A class cuts entries off its newest slab
 * and reuses those given back. Slabs start small, so that a store with few keys stays small; those of
 * a class with many are huge pages, since a read of a key at random waits for the page's address.
 */
#include "entry.h"

#include <assert.h>
#include <pthread.h>
#include <sys/mman.h>

enum {
    CLASS_BYTES = 8,
    CLASSES = (offsetof(struct entry, key) + UINT16_MAX) / CLASS_BYTES + 2,
    SLAB_BYTES_MIN = 4 << 10,
    SLAB_BYTES_MAX = 256 << 10, /* of slabs that are not huge */
    HUGE_SLAB_BYTES = 2 << 20,  /* and aligned so: amd64's huge page */
    HUGE_SLABS_FROM = 8 << 20,  /* bytes of a class: what is not yet cut stays a small part */
    RUN_ENTRIES = 64,           /* that a cutter gets at once */
};

struct slab {
    struct slab *next;
    uint64_t bytes;
};

struct size_class {
    void *given_back; /* linked through their first word */
    unsigned char *cut, *end;
    uint64_t bytes; /* of all its slabs */
};

struct entry_pool {
    struct budget *budget;
    _Atomic uint64_t bytes, idle_bytes; /* written under the mutex, read by anyone */
    pthread_mutex_t mutex;
    /* guarded by mutex */
    struct slab *slabs;
    struct size_class classes[CLASSES];
};

static size_t class_of(size_t key_bytes)
{
    return (offsetof(struct entry, key) + key_bytes + CLASS_BYTES - 1) / CLASS_BYTES;
}

/* ---- slabs ---- */

/* NULL: no memory. Where there are no huge pages, it is as good as any other memory. */
static struct slab *huge_slab_make(void)
{
    unsigned char *map =
        mmap(NULL, 2 * HUGE_SLAB_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return NULL;
    size_t before = -(uintptr_t)map % HUGE_SLAB_BYTES;
    if (before > 0)
        munmap(map, before);
    munmap(map + before + HUGE_SLAB_BYTES, HUGE_SLAB_BYTES - before);
    madvise(map + before, HUGE_SLAB_BYTES, MADV_HUGEPAGE);
    return (struct slab *)(map + before);
}

static void slab_free(struct slab *slab)
{
    if (slab->bytes == HUGE_SLAB_BYTES)
        munmap(slab, HUGE_SLAB_BYTES);
    else
        free(slab);
}

/* Twice as large as the last one, up to the largest; at least one entry. */
static uint64_t slab_bytes_next(const struct size_class *class, size_t entry_bytes)
{
    uint64_t bytes = class->bytes + SLAB_BYTES_MIN;
    if (class->bytes >= HUGE_SLABS_FROM)
        bytes = HUGE_SLAB_BYTES;
    else if (bytes > SLAB_BYTES_MAX)
        bytes = SLAB_BYTES_MAX;
    return bytes < sizeof(struct slab) + entry_bytes ? sizeof(struct slab) + entry_bytes : bytes;
}

/* ---- the pool ---- */

enum status entry_pool_open(struct budget *budget, struct entry_pool **out_pool)
{
    struct entry_pool *pool = calloc(1, sizeof *pool);
    if (pool == NULL)
        return STATUS_NO_MEMORY;
    pool->budget = budget;
    pthread_mutex_init(&pool->mutex, NULL);
    *out_pool = pool;
    return STATUS_OK;
}

void entry_pool_close(struct entry_pool *pool)
{
    if (pool == NULL)
        return;
    for (struct slab *slab = pool->slabs, *next; slab != NULL; slab = next) {
        next = slab->next;
        slab_free(slab);
    }
    budget_give(pool->budget, entry_pool_bytes(pool));
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
}

static bool slab_add_locked(struct entry_pool *pool, struct size_class *class, size_t entry_bytes)
{
    uint64_t bytes = slab_bytes_next(class, entry_bytes);
    struct slab *slab = bytes == HUGE_SLAB_BYTES ? huge_slab_make() : malloc(bytes);
    if (slab == NULL)
        return false;
    *slab = (struct slab){pool->slabs, bytes};
    pool->slabs = slab;
    class->cut = (unsigned char *)(slab + 1);
    class->end = (unsigned char *)slab + bytes;
    class->bytes += bytes;
    atomic_fetch_add_explicit(&pool->bytes, bytes, memory_order_relaxed);
    budget_force(pool->budget, bytes);
    return true;
}

static void *take_locked(struct entry_pool *pool, size_t class_index, bool may_grow)
{
    struct size_class *class = &pool->classes[class_index];
    size_t entry_bytes = class_index * CLASS_BYTES;
    void *taken = class->given_back;
    if (taken != NULL) {
        class->given_back = *(void **)taken;
        atomic_fetch_sub_explicit(&pool->idle_bytes, entry_bytes, memory_order_relaxed);
        return taken;
    }
    if ((size_t)(class->end - class->cut) < entry_bytes &&
        !(may_grow && slab_add_locked(pool, class, entry_bytes)))
        return NULL;
    taken = class->cut;
    class->cut += entry_bytes;
    return taken;
}

static struct entry *entry_fill(struct entry *entry, struct bytes key)
{
    atomic_init(&entry->place, 0);
    entry->record_bytes = 0;
    entry->key_bytes = (uint16_t)key.size;
    entry->flags = 0;
    memcpy(entry->key, key.data, key.size);
    return entry;
}

static struct entry *take(struct entry_pool *pool, struct bytes key, bool may_grow)
{
    assert(key.size > 0 && key.size <= UINT16_MAX);
    pthread_mutex_lock(&pool->mutex);
    struct entry *entry = take_locked(pool, class_of(key.size), may_grow);
    pthread_mutex_unlock(&pool->mutex);
    return entry != NULL ? entry_fill(entry, key) : NULL;
}

struct entry *entry_pool_take(struct entry_pool *pool, struct bytes key)
{
    return take(pool, key, true);
}

struct entry *entry_pool_take_idle(struct entry_pool *pool, struct bytes key)
{
    return take(pool, key, false);
}

static void give_locked(struct entry_pool *pool, size_t class_index, void *entry)
{
    struct size_class *class = &pool->classes[class_index];
    *(void **)entry = class->given_back;
    class->given_back = entry;
    atomic_fetch_add_explicit(&pool->idle_bytes, class_index * CLASS_BYTES, memory_order_relaxed);
}

void entry_pool_give(struct entry_pool *pool, struct entry *entry)
{
    if (entry == NULL)
        return;
    pthread_mutex_lock(&pool->mutex);
    give_locked(pool, class_of(entry->key_bytes), entry);
    pthread_mutex_unlock(&pool->mutex);
}

/* ---- cutters ---- */

/* A run of at least one entry; what is left of the slab may be less than was wanted. */
static bool cutter_refill(struct entry_cutter *cutter, size_t class_index)
{
    struct entry_pool *pool = cutter->pool;
    size_t entry_bytes = class_index * CLASS_BYTES;
    pthread_mutex_lock(&pool->mutex);
    struct size_class *class = &pool->classes[class_index];
    bool any = (size_t)(class->end - class->cut) >= entry_bytes ||
               slab_add_locked(pool, class, entry_bytes);
    if (any) {
        size_t entries = (size_t)(class->end - class->cut) / entry_bytes;
        if (entries > RUN_ENTRIES)
            entries = RUN_ENTRIES;
        cutter->runs[class_index].at = class->cut;
        cutter->runs[class_index].end = class->cut += entries * entry_bytes;
    }
    pthread_mutex_unlock(&pool->mutex);
    return any;
}

struct entry *entry_cutter_take(struct entry_cutter *cutter, struct bytes key)
{
    size_t class_index = class_of(key.size);
    if (class_index >= ENTRY_CUTTER_CLASSES)
        return entry_pool_take(cutter->pool, key);
    if (cutter->runs[class_index].at == cutter->runs[class_index].end &&
        !cutter_refill(cutter, class_index))
        return NULL;
    struct entry *entry = (struct entry *)cutter->runs[class_index].at;
    cutter->runs[class_index].at += class_index * CLASS_BYTES;
    return entry_fill(entry, key);
}

void entry_cutter_done(struct entry_cutter *cutter)
{
    for (size_t i = 0; i < ENTRY_CUTTER_CLASSES; i++) {
        pthread_mutex_lock(&cutter->pool->mutex);
        for (; cutter->runs[i].at < cutter->runs[i].end; cutter->runs[i].at += i * CLASS_BYTES)
            give_locked(cutter->pool, i, cutter->runs[i].at);
        pthread_mutex_unlock(&cutter->pool->mutex);
    }
}

/* ---- figures ---- */

uint64_t entry_pool_bytes(const struct entry_pool *pool)
{
    return atomic_load_explicit(&pool->bytes, memory_order_relaxed);
}

uint64_t entry_pool_idle_bytes(const struct entry_pool *pool)
{
    return atomic_load_explicit(&pool->idle_bytes, memory_order_relaxed);
}
