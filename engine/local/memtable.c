/* SPDX-License-Identifier: Apache-2.0 */
/* Chunks of small records, blocks of the list. */
#include "memtable.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "value.h"

enum {
    CHUNK_BYTES = (1 << 20) - 16, /* with its head: 1 MiB */
    BLOCK_BYTES = 16 << 10,
};

struct chunk {
    struct chunk *previous;
    uint64_t used;
    unsigned char data[CHUNK_BYTES];
};

struct block {
    struct block *next;
    uint64_t count;
    struct listed listed[(BLOCK_BYTES - 16) / sizeof(struct listed)];
};

_Static_assert(sizeof(struct chunk) + sizeof(struct block) == MEMTABLE_BYTES_MIN, "as announced");

struct memtable {
    /* set at open, then constant */
    struct memtable_home *home;
    struct budget *budget;
    struct pin pin;
    struct retired retired;
    struct runs runs;
    struct block *first;
    _Atomic uint64_t bytes; /* written by the leader, read by anyone */
    /* atomic: written by the leader once the record is in its block (release), read by listings
     * (acquire), which look at no record beyond it */
    _Atomic uint64_t count;
    /* atomic: lowered by the leader and the sweep, set back by the sweep before it looks (acquire);
     * pairs with memtable_note_expiry (release): a look that misses the record leaves the note */
    _Atomic int64_t next_expiry_ms;
    uint64_t looked_at; /* the sweep's */
    /* the leader's, constant once frozen */
    struct chunk *chunk; /* newest first */
    struct block *last;
    uint64_t record_bytes, journal_bytes;
    uint64_t last_sequence; /* once frozen */
};

static void count_bytes(struct memtable *memtable, uint64_t bytes)
{
    atomic_fetch_add_explicit(&memtable->bytes, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&memtable->home->bytes, bytes, memory_order_relaxed);
}

static void discount_bytes(struct memtable *memtable, uint64_t bytes)
{
    atomic_fetch_sub_explicit(&memtable->bytes, bytes, memory_order_relaxed);
    atomic_fetch_sub_explicit(&memtable->home->bytes, bytes, memory_order_relaxed);
}

static void charge(struct memtable *memtable, uint64_t bytes)
{
    budget_force(memtable->budget, bytes);
    count_bytes(memtable, bytes);
}

/* Pages of their own, so that a freed memtable goes back to the system at once: an allocator would
 * keep them, scattered among what lives longer. NULL: no memory. */
static struct chunk *chunk_make(struct memtable *memtable)
{
    struct chunk *chunk =
        mmap(NULL, sizeof *chunk, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (chunk == MAP_FAILED)
        return NULL;
    charge(memtable, sizeof *chunk);
    return chunk;
}

static void chunk_free(struct chunk *chunk)
{
    munmap(chunk, sizeof *chunk);
}

static struct block *block_make(struct memtable *memtable)
{
    struct block *block = malloc(sizeof *block);
    if (block == NULL)
        return NULL;
    block->next = NULL;
    block->count = 0;
    charge(memtable, sizeof *block);
    return block;
}

enum status memtable_open(struct memtable_home *home, struct memtable **out_memtable)
{
    struct memtable *memtable = calloc(1, sizeof *memtable);
    if (memtable == NULL)
        return STATUS_NO_MEMORY;
    memtable->home = home;
    memtable->budget = home->budget;
    memtable->first = memtable->last = block_make(memtable);
    if (memtable->first == NULL) {
        free(memtable);
        return STATUS_NO_MEMORY;
    }
    atomic_init(&memtable->next_expiry_ms, INT64_MAX);
    runs_init(&memtable->runs, memtable->budget, &home->bytes);
    atomic_fetch_add_explicit(&home->alive, 1, memory_order_relaxed);
    *out_memtable = memtable;
    return STATUS_OK;
}

static void close_block(struct block *block, uint64_t *large_bytes)
{
    for (uint64_t i = 0; i < block->count; i++)
        if (value_is_large(block->listed[i].record)) {
            struct value *value = value_of_record(block->listed[i].record);
            *large_bytes += value->charged;
            value_retire(value); /* gives its own charge back */
        }
    free(block);
}

void memtable_close(struct memtable *memtable)
{
    if (memtable == NULL)
        return;
    uint64_t large_bytes = 0;
    runs_done(&memtable->runs);
    for (struct block *block = memtable->first, *next; block != NULL; block = next) {
        next = block->next;
        close_block(block, &large_bytes);
    }
    for (struct chunk *chunk = memtable->chunk, *previous; chunk != NULL; chunk = previous) {
        previous = chunk->previous;
        chunk_free(chunk);
    }
    budget_give(memtable->budget, memtable->bytes - large_bytes);
    struct memtable_home *home = memtable->home;
    discount_bytes(memtable, memtable->bytes);
    free(memtable);
    atomic_fetch_sub_explicit(&home->alive, 1, memory_order_relaxed);
    if (home->on_free != NULL)
        home->on_free(home->on_free_context);
}

struct pin *memtable_pin(struct memtable *memtable)
{
    return &memtable->pin;
}

static void release(struct retired *retired)
{
    struct memtable *memtable =
        (struct memtable *)((unsigned char *)retired - offsetof(struct memtable, retired));
    if (pin_retire(&memtable->pin))
        memtable_close(memtable);
}

void memtable_retire(struct memtable *memtable, struct reclaim *reclaim)
{
    memtable->retired = (struct retired){.release = release, .bytes = memtable_bytes(memtable)};
    reclaim_retire(reclaim, &memtable->retired);
}

void *memtable_cut(struct memtable *memtable, uint64_t bytes)
{
    assert(bytes % FORMAT_RECORD_ALIGNMENT == 0 && bytes <= MEMTABLE_CUT_BYTES_MAX);
    struct chunk *chunk = memtable->chunk;
    if (chunk == NULL || CHUNK_BYTES - chunk->used < bytes) {
        chunk = chunk_make(memtable);
        if (chunk == NULL)
            return NULL;
        chunk->previous = memtable->chunk;
        chunk->used = 0;
        memtable->chunk = chunk;
    }
    void *cut = chunk->data + chunk->used;
    chunk->used += bytes;
    return cut;
}

enum status memtable_reserve(struct memtable *memtable, uint32_t count)
{
    struct block *block = memtable->last;
    for (uint64_t room = COUNT_OF(block->listed) - block->count; room < count;
         room += COUNT_OF(block->listed)) {
        if (block->next == NULL && (block->next = block_make(memtable)) == NULL)
            return STATUS_NO_MEMORY;
        block = block->next;
    }
    return STATUS_OK;
}

struct entry **memtable_list(struct memtable *memtable, struct record *record)
{
    struct block *block = memtable->last;
    if (block->count == COUNT_OF(block->listed))
        memtable->last = block = block->next;
    assert(block != NULL);
    struct listed *listed = &block->listed[block->count++];
    *listed = (struct listed){.record = record};
    atomic_store_explicit(&memtable->count, memtable_count(memtable) + 1, memory_order_release);
    memtable->record_bytes += record_bytes(record);
    if (value_is_large(record)) /* charged since value_open */
        count_bytes(memtable, value_of_record(record)->charged);
    return &listed->entry;
}

struct memtable_mark memtable_mark(const struct memtable *memtable)
{
    return (struct memtable_mark){memtable->chunk,
                                  memtable->chunk != NULL ? memtable->chunk->used : 0};
}

void memtable_rewind(struct memtable *memtable, struct memtable_mark mark)
{
    while (memtable->chunk != mark.chunk) {
        struct chunk *chunk = memtable->chunk;
        memtable->chunk = chunk->previous;
        budget_give(memtable->budget, sizeof *chunk);
        discount_bytes(memtable, sizeof *chunk);
        chunk_free(chunk);
    }
    if (mark.chunk != NULL)
        memtable->chunk->used = mark.used;
}

uint64_t memtable_bytes(const struct memtable *memtable)
{
    return atomic_load_explicit(&memtable->bytes, memory_order_relaxed) +
           atomic_load_explicit(&memtable->runs.bytes, memory_order_relaxed);
}

uint64_t memtable_record_bytes(const struct memtable *memtable)
{
    return memtable->record_bytes;
}

void memtable_note_journal(struct memtable *memtable, uint64_t bytes)
{
    memtable->journal_bytes += bytes;
}

uint64_t memtable_journal_bytes(const struct memtable *memtable)
{
    return memtable->journal_bytes;
}

void memtable_freeze(struct memtable *memtable, uint64_t last_sequence)
{
    memtable->last_sequence = last_sequence;
}

uint64_t memtable_last_sequence(const struct memtable *memtable)
{
    return memtable->last_sequence;
}

uint64_t memtable_count(const struct memtable *memtable)
{
    return atomic_load_explicit(&memtable->count, memory_order_relaxed);
}

/* All blocks before the one at hand are full. */
static void copy_records(const void *context, uint64_t from, uint64_t until,
                         const struct record **out_records)
{
    const struct memtable *memtable = context;
    const struct block *block = memtable->first;
    uint64_t first = 0; /* of the block */
    for (uint64_t at = from; at < until;) {
        uint64_t end = first + COUNT_OF(block->listed);
        if (at >= end) {
            block = block->next;
            first = end;
            continue;
        }
        for (; at < until && at < end; at++)
            *out_records++ = block->listed[at - first].record;
    }
}

uint64_t memtable_copy_listed(const struct memtable *memtable, uint64_t from, uint64_t count_max,
                              const struct record **out_records)
{
    uint64_t listed = atomic_load_explicit(&memtable->count, memory_order_acquire);
    uint64_t left = from < listed ? listed - from : 0;
    uint64_t count = left < count_max ? left : count_max;
    copy_records(memtable, from, from + count, out_records);
    return count;
}

void memtable_note_expiry(struct memtable *memtable, int64_t expires_ms)
{
    int64_t noted = atomic_load_explicit(&memtable->next_expiry_ms, memory_order_relaxed), earlier;
    do /* an exchange even where nothing changes: it orders the record before the look */
        earlier = noted < expires_ms ? noted : expires_ms;
    while (!atomic_compare_exchange_weak_explicit(&memtable->next_expiry_ms, &noted, earlier,
                                                  memory_order_release, memory_order_relaxed));
}

int64_t memtable_next_expiry(const struct memtable *memtable)
{
    return atomic_load_explicit(&memtable->next_expiry_ms, memory_order_relaxed);
}

void memtable_forget_expiry(struct memtable *memtable)
{
    (void)atomic_exchange_explicit(&memtable->next_expiry_ms, INT64_MAX, memory_order_acquire);
}

uint64_t *memtable_looked_at(struct memtable *memtable)
{
    return &memtable->looked_at;
}

enum status memtable_sort(struct memtable *memtable, struct run **out_runs, size_t *out_count)
{
    uint64_t listed = atomic_load_explicit(&memtable->count, memory_order_acquire);
    return runs_take(&memtable->runs, listed, copy_records, memtable, out_runs, out_count);
}

void memtable_all(const struct memtable *memtable, struct listed *out_listed)
{
    for (const struct block *block = memtable->first; block != NULL; block = block->next) {
        memcpy(out_listed, block->listed, block->count * sizeof *out_listed);
        out_listed += block->count;
    }
}
