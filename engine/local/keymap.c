/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ck_hs in object mode stores one pointer per slot. The pointer carries 16 bits of the hash in its
 * unused top bits, so that a probe rarely has to touch an entry of another key. A look-up passes a
 * struct query instead of an entry, told apart by bit 0, which no entry's address has.
 * Only put, grow and rebuild are used: set, fas and gc move entries and make readers retry.
 */
#include "keymap.h"

#include <assert.h>
#include <ck_hs.h>
#include <pthread.h>
#include <sys/mman.h>

#include "../random.h"
#include "checksum.h"
#include "race.h"

enum {
    TAG_SHIFT = 48,             /* hash bits: low = slot, 40..47 = shard, 48..63 = tag */
    SLOTS_MIN = 64,             /* per shard at first; capacity_of_allocation() needs at least 32 */
    MAP_PREFIX_BYTES = 64,      /* in front of each slot array; keeps ck's cache-line alignment */
    PAGED_BYTES_MIN = 16 << 10, /* larger arrays have pages of their own */
    QUERY_BIT = 1,
    REBUILD_SHARE = 8, /* lay a shard out anew when removals exceed this share of its slots */
};

#define POINTER_MASK ((UINT64_C(1) << TAG_SHIFT) - 1)

struct shard {
    ck_hs_t set; /* written under the mutex, read by anyone */
    pthread_mutex_t mutex;
    /* guarded by mutex */
    const void **slots; /* of the set */
    uint64_t capacity;
    uint64_t count;
    uint64_t reserved; /* promised to keys that are not inserted yet */
    uint64_t removals; /* since the slots were last laid out: each left a mark that probes pass */
} __attribute__((aligned(64)));

struct keymap {
    /* set at open, then constant */
    struct reclaim *reclaim;
    struct budget *budget;
    struct checksum_secret secret;
    struct ck_malloc allocator;
    /* atomic: written under a shard's mutex, read by anyone */
    _Atomic uint64_t bytes;
    struct shard shards[KEYMAP_SHARDS];
};

/* What a look-up compares entries with. */
struct query {
    struct bytes key;
};

/* In front of each slot array. */
struct map_prefix {
    struct retired retired;
    struct keymap *keymap;
    size_t bytes;
};

_Static_assert(sizeof(struct map_prefix) <= MAP_PREFIX_BYTES, "fits in front of a slot array");

/*
 * ck_hs's allocator callbacks have no context: the thread that opens or grows a shard says here for
 * which keymap, and learns where the new array is and how large it became (ck_hs may double more than
 * asked).
 */
static __thread struct {
    struct keymap *keymap;
    void *map;
    size_t bytes;
} growing;

/* Large ones go back to the system when they are outgrown: an allocator would keep them, and an array
 * of twice the size never fits there. NULL: no memory. */
static struct map_prefix *array_make(size_t bytes)
{
    if (bytes < PAGED_BYTES_MIN)
        return aligned_alloc(64, format_align(bytes, 64));
    void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return pages == MAP_FAILED ? NULL : pages;
}

static void array_free(struct map_prefix *prefix, size_t bytes)
{
    if (bytes < PAGED_BYTES_MIN)
        free(prefix);
    else
        munmap(prefix, bytes);
}

static void *map_allocate(size_t bytes)
{
    struct map_prefix *prefix = array_make(MAP_PREFIX_BYTES + bytes);
    if (prefix == NULL)
        return NULL;
    *prefix = (struct map_prefix){.keymap = growing.keymap, .bytes = bytes};
    growing.bytes = bytes;
    growing.map = (unsigned char *)prefix + MAP_PREFIX_BYTES;
    atomic_fetch_add_explicit(&prefix->keymap->bytes, bytes, memory_order_relaxed);
    budget_force(prefix->keymap->budget, bytes);
    return growing.map;
}

static void map_release(struct retired *retired)
{
    struct map_prefix *prefix = (struct map_prefix *)retired;
    atomic_fetch_sub_explicit(&prefix->keymap->bytes, prefix->bytes, memory_order_relaxed);
    budget_give(prefix->keymap->budget, prefix->bytes);
    array_free(prefix, MAP_PREFIX_BYTES + prefix->bytes);
}

static void map_free(void *map, size_t bytes, bool deferred)
{
    (void)bytes;
    struct map_prefix *prefix = (struct map_prefix *)((unsigned char *)map - MAP_PREFIX_BYTES);
    prefix->retired = (struct retired){.release = map_release, .bytes = prefix->bytes};
    if (deferred)
        reclaim_retire(prefix->keymap->reclaim, &prefix->retired);
    else
        map_release(&prefix->retired);
}

/* Slots of an array of so many bytes: a power of two of pointers plus less than 32 pointers. */
static uint64_t capacity_of_allocation(size_t bytes)
{
    return UINT64_C(1) << (63 - __builtin_clzll(bytes / sizeof(void *)));
}

/* They are at its end, and begin with a cache line. */
static const void **slots_of_allocation(void *map, size_t bytes)
{
    size_t before = bytes - capacity_of_allocation(bytes) * sizeof(void *);
    return (const void **)((unsigned char *)map + before / CK_MD_CACHELINE * CK_MD_CACHELINE);
}

static const void *tagged(const void *pointer, uint64_t hash)
{
    return (const void *)(((uintptr_t)pointer & POINTER_MASK) | (hash >> TAG_SHIFT << TAG_SHIFT));
}

static const struct entry *untagged(const void *slot)
{
    return (const struct entry *)((uintptr_t)slot & POINTER_MASK);
}

static struct bytes key_of(const void *object)
{
    uintptr_t pointer = (uintptr_t)object & POINTER_MASK;
    if (pointer & QUERY_BIT)
        return ((const struct query *)(pointer - QUERY_BIT))->key;
    return entry_key((const struct entry *)pointer);
}

static bool same_key(const void *slot, const void *object)
{
    if (((uintptr_t)slot ^ (uintptr_t)object) & ~POINTER_MASK)
        return false;
    const struct entry *entry = untagged(slot);
    RACE_ACQUIRE(entry); /* pairs with: keymap_put */
    return bytes_equal(entry_key(entry), key_of(object));
}

static unsigned long rehash(const void *slot, unsigned long seed)
{
    /* The seed of every set is its keymap, whose secret the hash needs. */
    return keymap_hash((const struct keymap *)seed, entry_key(untagged(slot)));
}

static struct shard *shard_of(struct keymap *keymap, uint64_t hash)
{
    return &keymap->shards[keymap_shard(hash)];
}

uint64_t keymap_hash(const struct keymap *keymap, struct bytes key)
{
    return checksum_hash(&keymap->secret, key.data, key.size);
}

struct entry *keymap_find(struct keymap *keymap, uint64_t hash, struct bytes key)
{
    struct query query = {key};
    const void *object = tagged((const unsigned char *)&query + QUERY_BIT, hash);
    ck_hs_t *set = &shard_of(keymap, hash)->set;
    return (struct entry *)untagged(ck_hs_get(set, hash, object));
}

/* Around every call that may allocate a slot array. */
static void growing_begin(struct keymap *keymap)
{
    growing.keymap = keymap;
    growing.bytes = 0;
}

static void growing_end(struct shard *shard)
{
    if (growing.bytes == 0)
        return;
    shard->capacity = capacity_of_allocation(growing.bytes);
    shard->slots = slots_of_allocation(growing.map, growing.bytes);
    shard->removals = 0;
}

static enum status grow_locked(struct keymap *keymap, struct shard *shard, uint64_t capacity)
{
    growing_begin(keymap);
    if (!ck_hs_grow(&shard->set, capacity))
        return STATUS_NO_MEMORY;
    growing_end(shard);
    return STATUS_OK;
}

/* For so many more keys, beyond those reserved. */
static enum status make_room_locked(struct keymap *keymap, struct shard *shard, uint64_t count)
{
    uint64_t wanted = (shard->count + shard->reserved + count) * 2;
    return wanted > shard->capacity ? grow_locked(keymap, shard, wanted) : STATUS_OK;
}

enum status keymap_reserve(struct keymap *keymap, uint64_t hash)
{
    struct shard *shard = shard_of(keymap, hash);
    pthread_mutex_lock(&shard->mutex);
    enum status status = make_room_locked(keymap, shard, 1);
    if (status == STATUS_OK)
        shard->reserved++;
    pthread_mutex_unlock(&shard->mutex);
    return status;
}

static void unreserve_locked(struct shard *shard)
{
    assert(shard->reserved > 0);
    shard->reserved--;
}

void keymap_unreserve(struct keymap *keymap, uint64_t hash)
{
    struct shard *shard = shard_of(keymap, hash);
    pthread_mutex_lock(&shard->mutex);
    unreserve_locked(shard);
    pthread_mutex_unlock(&shard->mutex);
}

/*
 * The journal has the key already: if it cannot be inserted now, only a restart is right. There is
 * room; but a key that finds no free slot within ck's probe limit makes the set grow even so.
 */
static void insert_locked(struct keymap *keymap, struct shard *shard, uint64_t hash,
                          struct entry *spare)
{
    RACE_RELEASE(spare); /* pairs with: same_key */
    growing_begin(keymap);
    if (!ck_hs_put_unique(&shard->set, hash, tagged(spare, hash)))
        abort();
    growing_end(shard);
    shard->count++;
}

struct entry *keymap_put(struct keymap *keymap, uint64_t hash, struct bytes key,
                         struct entry *spare, uint64_t place, uint64_t *out_place_before)
{
    struct shard *shard = shard_of(keymap, hash);
    pthread_mutex_lock(&shard->mutex);
    struct entry *entry = keymap_find(keymap, hash, key);
    if (entry != NULL) {
        *out_place_before = atomic_exchange_explicit(&entry->place, place, memory_order_acq_rel);
    } else {
        assert(spare != NULL);
        entry = spare;
        atomic_store_explicit(&entry->place, place, memory_order_release);
        *out_place_before = 0;
        insert_locked(keymap, shard, hash, entry);
    }
    if (spare != NULL)
        unreserve_locked(shard);
    pthread_mutex_unlock(&shard->mutex);
    return entry;
}

/* Their slots come from memory all at once, not one after the other. */
static void prefetch_locked(const struct shard *shard, const struct keymap_addition *additions,
                            size_t count)
{
    for (size_t i = 0; i < count; i++)
        __builtin_prefetch(&shard->slots[additions[i].hash & (shard->capacity - 1)], 1);
}

enum status keymap_add(struct keymap *keymap, const struct keymap_addition *additions, size_t count)
{
    struct shard *shard = shard_of(keymap, additions[0].hash);
    pthread_mutex_lock(&shard->mutex);
    enum status status = make_room_locked(keymap, shard, count);
    if (status == STATUS_OK) {
        prefetch_locked(shard, additions, count);
        for (size_t i = 0; i < count; i++)
            insert_locked(keymap, shard, additions[i].hash, additions[i].entry);
    }
    pthread_mutex_unlock(&shard->mutex);
    return status;
}

/* Without memory the marks stay and cost time, nothing else; the next removal tries again. */
static void rebuild_locked(struct keymap *keymap, struct shard *shard)
{
    if (shard->removals <= shard->capacity / REBUILD_SHARE)
        return;
    growing_begin(keymap);
    if (ck_hs_rebuild(&shard->set))
        growing_end(shard);
}

struct entry *keymap_remove(struct keymap *keymap, uint64_t hash, struct bytes key, uint64_t place)
{
    struct shard *shard = shard_of(keymap, hash);
    pthread_mutex_lock(&shard->mutex);
    struct entry *entry = keymap_find(keymap, hash, key);
    if (entry != NULL && entry_place(entry) != place)
        entry = NULL;
    if (entry != NULL) {
        ck_hs_remove(&shard->set, hash, tagged(entry, hash));
        shard->count--;
        shard->removals++;
        rebuild_locked(keymap, shard);
    }
    pthread_mutex_unlock(&shard->mutex);
    return entry;
}

enum status keymap_expect(struct keymap *keymap, uint64_t count)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; i < KEYMAP_SHARDS && status == STATUS_OK; i++) {
        struct shard *shard = &keymap->shards[i];
        pthread_mutex_lock(&shard->mutex);
        status = make_room_locked(keymap, shard, count / KEYMAP_SHARDS);
        pthread_mutex_unlock(&shard->mutex);
    }
    return status;
}

uint64_t keymap_count(struct keymap *keymap)
{
    uint64_t count = 0;
    for (size_t i = 0; i < KEYMAP_SHARDS; i++) {
        pthread_mutex_lock(&keymap->shards[i].mutex);
        count += keymap->shards[i].count;
        pthread_mutex_unlock(&keymap->shards[i].mutex);
    }
    return count;
}

uint64_t keymap_bytes(const struct keymap *keymap)
{
    return atomic_load_explicit(&keymap->bytes, memory_order_relaxed);
}

static bool shard_init(struct keymap *keymap, struct shard *shard)
{
    growing_begin(keymap);
    if (!ck_hs_init(&shard->set, CK_HS_MODE_SPMC | CK_HS_MODE_OBJECT, rehash, same_key,
                    &keymap->allocator, SLOTS_MIN, (unsigned long)keymap))
        return false;
    growing_end(shard);
    pthread_mutex_init(&shard->mutex, NULL);
    return true;
}

enum status keymap_open(struct reclaim *reclaim, struct budget *budget, struct keymap **out_keymap)
{
    struct keymap *keymap = aligned_alloc(64, format_align(sizeof *keymap, 64));
    if (keymap == NULL)
        return STATUS_NO_MEMORY;
    memset(keymap, 0, sizeof *keymap);
    keymap->reclaim = reclaim;
    keymap->budget = budget;
    keymap->allocator = (struct ck_malloc){.malloc = map_allocate, .free = map_free};
    random_fill(&keymap->secret, sizeof keymap->secret);
    for (size_t i = 0; i < KEYMAP_SHARDS; i++)
        if (!shard_init(keymap, &keymap->shards[i])) {
            keymap_close(keymap);
            return STATUS_NO_MEMORY;
        }
    *out_keymap = keymap;
    return STATUS_OK;
}

void keymap_close(struct keymap *keymap)
{
    if (keymap == NULL)
        return;
    for (size_t i = 0; i < KEYMAP_SHARDS && keymap->shards[i].capacity > 0; i++) {
        ck_hs_destroy(&keymap->shards[i].set);
        pthread_mutex_destroy(&keymap->shards[i].mutex);
    }
    free(keymap);
}
