/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order is what matters: decide, write, sync, open, [what was decided upon is durable], edit,
 * swing, let go. Until the edit everything can be given up; after it nothing may fail.
 */
#include "dump.h"

#include <assert.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>

struct dump {
    struct dump_options options; /* set at open, then constant */
    pthread_mutex_t mutex;       /* of a dump under way */
};

/* One record to be written, and where it went. */
struct dumped {
    const struct record *record;
    struct entry *entry;
    union {
        uint64_t prefix; /* of the key, as a number: until they are sorted */
        uint64_t offset;
    };
};

/* Keys are taken in their order, which is none in memory: the next ones are fetched meanwhile. */
enum { AHEAD = 8, LINE_BYTES = 64 };

/* Entries on their way out, retired as one object. */
struct dead_entries {
    struct retired retired;
    struct entry_pool *pool;
    size_t count;
    struct entry *entries[];
};

/* A dump under way. */
struct job {
    struct dump *dump;
    const struct view *view;           /* pinned */
    struct memtable *const *memtables; /* the view's oldest */
    size_t memtable_count;
    uint64_t flushed_sequence;
    struct dumped *dumped; /* ascending keys */
    size_t dumped_count, tombstones;
    uint64_t dumped_bytes; /* with their index, at most */
    struct manifest_table listing;
    struct table *table; /* NULL: nothing was to be written */
    struct dead_entries *dead;
};

enum status dump_open(const struct dump_options *options, struct dump **out_dump)
{
    struct dump *dump = calloc(1, sizeof *dump);
    if (dump == NULL)
        return STATUS_NO_MEMORY;
    dump->options = *options;
    pthread_mutex_init(&dump->mutex, NULL);
    *out_dump = dump;
    return STATUS_OK;
}

void dump_close(struct dump *dump)
{
    if (dump == NULL)
        return;
    pthread_mutex_destroy(&dump->mutex);
    free(dump);
}

/* ---- deciding ---- */

/* The bytes of a key behind those that all keys share, most significant first. Of a shorter one the
 * rest is zeros: a tie that the key itself decides. */
static uint64_t prefix_of(struct bytes key, size_t shared)
{
    uint64_t prefix = 0;
    size_t left = key.size - shared;
    memcpy(&prefix, (const unsigned char *)key.data + shared,
           left < sizeof prefix ? left : sizeof prefix);
    return be64toh(prefix);
}

static size_t shared_bytes(struct bytes a, struct bytes b, size_t most)
{
    size_t shared = 0;
    while (shared < most && shared < b.size &&
           ((const unsigned char *)a.data)[shared] == ((const unsigned char *)b.data)[shared])
        shared++;
    return shared;
}

static int compare_by_key(const void *left, const void *right)
{
    const struct dumped *a = left, *b = right;
    if (a->prefix != b->prefix)
        return a->prefix < b->prefix ? -1 : 1;
    return bytes_compare(record_key(a->record), record_key(b->record));
}

static void sort(struct dumped *dumped, size_t count)
{
    size_t shared = count > 0 ? dumped->record->key_bytes : 0;
    for (size_t i = 1; i < count; i++)
        shared = shared_bytes(record_key(dumped->record), record_key(dumped[i].record), shared);
    for (size_t i = 0; i < count; i++)
        dumped[i].prefix = prefix_of(record_key(dumped[i].record), shared);
    qsort(dumped, count, sizeof *dumped, compare_by_key);
}

static uint64_t record_count(const struct job *job)
{
    uint64_t count = 0;
    for (size_t i = 0; i < job->memtable_count; i++)
        count += memtable_count(job->memtables[i]);
    return count;
}

static void add_newest(struct job *job, const struct listed *listed, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        __builtin_prefetch(listed[i + AHEAD < count ? i + AHEAD : i].entry);
        const struct record *record = listed[i].record;
        if (entry_place(listed[i].entry) != place_of_record(record))
            continue;
        job->dumped[job->dumped_count++] =
            (struct dumped){.record = record, .entry = listed[i].entry};
        job->dumped_bytes += record_bytes(record) + sizeof(struct table_entry_header) +
                             record->key_bytes + sizeof record->expires_ms;
        job->tombstones += record->type != RECORD_PUT;
    }
}

/* The records to be written, each key once, in order; and room for the entries that will die. */
static enum status decide(struct job *job)
{
    uint64_t count = record_count(job);
    AUTO_FREE struct listed *listed = calloc(count + 1, sizeof *listed);
    job->dumped = calloc(count + 1, sizeof *job->dumped);
    if (listed == NULL || job->dumped == NULL)
        return STATUS_NO_MEMORY;
    for (size_t i = 0; i < job->memtable_count; i++) {
        memtable_all(job->memtables[i], listed);
        add_newest(job, listed, memtable_count(job->memtables[i]));
    }
    sort(job->dumped, job->dumped_count);
    job->dead = calloc(1, sizeof *job->dead + job->tombstones * sizeof *job->dead->entries);
    return job->dead != NULL ? STATUS_OK : STATUS_NO_MEMORY;
}

/* ---- writing ---- */

static const struct dumped *ahead_of(const struct job *job, size_t i)
{
    return &job->dumped[i + AHEAD < job->dumped_count ? i + AHEAD : i];
}

static void fetch_record(const struct record *record)
{
    for (size_t at = 0; at < sizeof *record + 2 * LINE_BYTES; at += LINE_BYTES)
        __builtin_prefetch((const unsigned char *)record + at);
}

static enum status write_records(struct job *job, struct table_writer *writer)
{
    enum status status = STATUS_OK;
    for (size_t i = 0; i < job->dumped_count && status == STATUS_OK; i++) {
        fetch_record(ahead_of(job, i)->record);
        status = table_writer_add(writer, job->dumped[i].record, &job->dumped[i].offset);
    }
    return status == STATUS_OK ? table_writer_finish(writer, &job->listing.identity) : status;
}

static enum status write_table(struct job *job)
{
    struct catalog *catalog = job->dump->options.catalog;
    struct table_writer *writer;
    enum status status = table_writer_open(
        catalog->disk, catalog->uuid, catalog_new_table_id(catalog), job->dumped_bytes, &writer);
    if (status != STATUS_OK)
        return status;
    status = write_records(job, writer);
    table_writer_close(writer);
    return status;
}

/* So that the edit is the only step left: the table stands in the view before it counts. */
static enum status open_table(struct job *job)
{
    struct store *store = job->dump->options.store;
    struct catalog *catalog = job->dump->options.catalog;
    enum status status = disk_sync_directory(catalog->disk);
    if (status == STATUS_OK)
        status =
            table_open(catalog->disk, catalog->uuid, &job->listing.identity, &job->table, NULL);
    if (status == STATUS_OK)
        status = store_join_tables(store, &job->table, 1);
    return status;
}

static void remove_file(struct job *job)
{
    char name[64];
    table_name(job->listing.identity.id, name);
    /* A stray that cannot be removed now is removed at the next start. */
    enum status ignored = disk_remove(job->dump->options.catalog->disk, name);
    (void)ignored;
}

static enum status make_table(struct job *job)
{
    if (job->dumped_count == 0)
        return STATUS_OK;
    enum status status = write_table(job);
    if (status != STATUS_OK)
        return status;
    status = open_table(job);
    if (status != STATUS_OK) {
        table_close(job->table);
        job->table = NULL;
        remove_file(job);
    }
    return status;
}

/* ---- the edit ---- */

/* In interval mode a version that was left out may have yielded to one that is not durable yet. In a
 * sealed journal it never will be: only a dump of everything may go on then. */
static enum status settle(struct job *job, uint64_t journal_first)
{
    struct journal *journal = job->dump->options.journal;
    if (!job->dump->options.lazy || journal_first != 0)
        return STATUS_OK;
    return journal_is_sealed(journal) ? STATUS_UNAVAILABLE : journal_sync(journal);
}

static enum status edit(struct job *job, uint64_t journal_first)
{
    struct journal *journal = job->dump->options.journal;
    enum status status = settle(job, journal_first);
    if (status != STATUS_OK)
        return status;
    uint64_t durable = journal_durable_sequence(journal);
    /* What a sealed journal in interval mode had not synced is in tables only. */
    uint64_t kept = job->dump->options.lazy ? journal_first : 0;
    if (journal_first == 0)
        journal_first = journal_first_needed(journal, job->flushed_sequence);
    struct edit edit = {
        .added = &job->listing,
        .added_count = job->table != NULL,
        .flushed_sequence = job->flushed_sequence,
        .durable_sequence = durable > job->flushed_sequence ? durable : job->flushed_sequence,
        .journal_first = journal_first,
        .journal_kept = kept != 0 ? kept : supply_kept_first(journal_supply(journal)),
    };
    status = catalog_edit(job->dump->options.catalog, &edit);
    if (status == STATUS_OK)
        journal_release(journal, journal_first);
    return status;
}

/* The edit did not come about: the table is nobody's. After an uncertain one its file stays. */
static void give_up_table(struct job *job, enum status status)
{
    if (job->table == NULL)
        return;
    store_leave_tables(job->dump->options.store, &job->table, 1);
    if (status != STATUS_UNKNOWN)
        remove_file(job);
}

/* ---- swinging ---- */

static void swing_put(struct job *job, const struct dumped *dumped)
{
    if (!entry_swing(dumped->entry, place_of_record(dumped->record),
                     place_of_position(job->table->slot, dumped->offset)))
        store_table_dead(job->table, record_bytes(dumped->record));
}

static void bury(struct job *job, const struct dumped *dumped)
{
    struct store *store = job->dump->options.store;
    struct bytes key = record_key(dumped->record);
    struct entry *entry = keymap_remove(store->keymap, keymap_hash(store->keymap, key), key,
                                        place_of_record(dumped->record));
    if (entry != NULL)
        job->dead->entries[job->dead->count++] = entry;
}

static void release_dead(struct retired *retired)
{
    struct dead_entries *dead = (struct dead_entries *)retired;
    for (size_t i = 0; i < dead->count; i++)
        entry_pool_give(dead->pool, dead->entries[i]);
    free(dead);
}

static void retire_dead(struct job *job)
{
    struct store *store = job->dump->options.store;
    struct dead_entries *dead = TAKE(job->dead);
    dead->pool = store->entries;
    dead->retired = (struct retired){
        .release = release_dead,
        .bytes = sizeof *dead + dead->count * sizeof *dead->entries,
    };
    reclaim_retire(store->reclaim, &dead->retired);
}

/* All is live until a swing fails: a writer that displaces a swung place counts it dead itself. */
static void swing_all(struct job *job)
{
    for (size_t i = 0; i < job->dumped_count; i++) {
        __builtin_prefetch(ahead_of(job, i)->entry, 1);
        __builtin_prefetch(&ahead_of(job, i)->record->type);
        if (job->dumped[i].record->type == RECORD_PUT)
            swing_put(job, &job->dumped[i]);
        else
            bury(job, &job->dumped[i]);
    }
    if (job->table != NULL)
        atomic_store_explicit(&job->table->settled, true, memory_order_release);
    retire_dead(job);
}

static void count_live(struct table *table)
{
    const struct table_properties *properties = table->properties;
    store_table_live(table, properties->records - properties->tombstones,
                     properties->record_bytes - properties->tombstone_bytes);
}

/* ---- a whole dump ---- */

static enum status let_go(struct job *job)
{
    struct store *store = job->dump->options.store;
    struct view_change change = {
        .removed_memtables = job->memtables,
        .removed_memtable_count = job->memtable_count,
    };
    enum status status = views_change(&store->views, &change);
    for (size_t i = 0; i < job->memtable_count && status == STATUS_OK; i++)
        memtable_retire(job->memtables[i], store->reclaim);
    return status;
}

static enum status write_and_swing(struct job *job, uint64_t journal_first)
{
    if (catalog_is_uncertain(job->dump->options.catalog))
        return STATUS_UNKNOWN;
    enum status status = decide(job);
    if (status == STATUS_OK)
        status = make_table(job);
    if (status != STATUS_OK)
        return status;
    if (job->table != NULL)
        count_live(job->table);
    status = edit(job, journal_first);
    if (status != STATUS_OK) {
        give_up_table(job, status);
        return status;
    }
    swing_all(job);
    stats_add(job->dump->options.store->stats, STATS_dumps, 1);
    stats_add(job->dump->options.store->stats, STATS_table_written, job->listing.identity.bytes);
    return STATUS_OK;
}

/* What an earlier dump made durable, and could not let go of for want of memory, is only let go. */
static enum status run(struct job *job, uint64_t journal_first)
{
    job->flushed_sequence = memtable_last_sequence(job->memtables[job->memtable_count - 1]);
    enum status status = STATUS_OK;
    if (journal_first != 0 || job->flushed_sequence > catalog_flushed(job->dump->options.catalog))
        status = write_and_swing(job, journal_first);
    if (status == STATUS_OK)
        status = let_go(job);
    free(job->dumped);
    free(job->dead);
    return status;
}

static enum status dump_frozen(struct dump *dump, size_t memtable_count_max, uint64_t journal_first)
{
    const struct view *view = views_pin(&dump->options.store->views);
    struct job job = {
        .dump = dump,
        .view = view,
        .memtables = view->memtables,
        .memtable_count = view->memtable_count - 1,
    };
    if (job.memtable_count > memtable_count_max)
        job.memtable_count = memtable_count_max;
    enum status status = job.memtable_count == 0 ? STATUS_NOT_FOUND : run(&job, journal_first);
    view_unpin(view);
    return status;
}

enum status dump_oldest(struct dump *dump)
{
    const struct time_source *time = dump->options.store->time;
    pthread_mutex_lock(&dump->mutex);
    uint64_t begun = time->monotonic_ns(time);
    enum status status = dump_frozen(dump, 1, 0);
    if (status == STATUS_OK)
        stats_observe(dump->options.store->stats, STATS_dump, time->monotonic_ns(time) - begun);
    pthread_mutex_unlock(&dump->mutex);
    return status;
}

/* An empty one is frozen only if there is no other to dump: a dump that fails is tried again. */
static enum status freeze_active(struct store *store)
{
    const struct view *view = views_pin(&store->views);
    bool alone = view->memtable_count == 1;
    view_unpin(view);
    return alone || memtable_record_bytes(store->memtable) > 0 ? store_freeze(store) : STATUS_OK;
}

enum status dump_all(struct dump *dump, uint64_t journal_first)
{
    assert(journal_first != 0);
    pthread_mutex_lock(&dump->mutex);
    enum status status = freeze_active(dump->options.store);
    if (status == STATUS_OK)
        status = dump_frozen(dump, SIZE_MAX, journal_first);
    pthread_mutex_unlock(&dump->mutex);
    return status;
}
