/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The face of a key-value engine: what the HTTP layer needs, and no more, so that other engines can
 * stand behind it. Engines are opened by URL scheme: `file:DIR` (engine/local) and `memory:`.
 *
 * Defaults for all that follows: pointers are non-NULL and borrowed for the call; any thread may
 * call after open and before close; sizes are bytes, durations ms, deadlines the time source's
 * monotonic ns, wall times Unix ms; keys are 1..key_bytes_max bytes of any value; outputs are set
 * only on OK. Calls block, at most until their deadline. Every call may answer LOADING until
 * recovery has ended.
 */
#ifndef KEYREST_ENGINE_ENGINE_H
#define KEYREST_ENGINE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "cancel.h"
#include "scope.h"
#include "status.h"
#include "time_source.h"

struct engine;
struct stats;

/* ---- versions, conditions ------------------------------------------------------------------ */

/*
 * A version of a key: opaque, compared by equality only. sequence 0 stands for "no such key".
 * epoch: 48 random bits, new whenever a sequence might be given out a second time.
 */
struct engine_version {
    uint64_t epoch;
    uint64_t sequence; /* below 2^53 */
};

static inline bool engine_version_equal(struct engine_version a, struct engine_version b)
{
    return a.epoch == b.epoch && a.sequence == b.sequence;
}

enum engine_condition_kind {
    ENGINE_IF_PRESENT, /* the key exists */
    ENGINE_IF_ABSENT,  /* the key does not exist */
    ENGINE_IF_ONE_OF,  /* the key exists in one of `versions` */
    ENGINE_IF_NONE_OF, /* the key is absent or in none of `versions` */
};

/* Data, not code: evaluated inside the commit, at its place in the order. */
struct engine_condition {
    enum engine_condition_kind kind;
    const struct engine_version *versions;
    uint32_t version_count;
};

/* Whether `condition` holds for a key whose version is `current` (sequence 0: absent). */
bool engine_condition_holds(const struct engine_condition *condition,
                            struct engine_version current);

/* ---- calls that may wait ------------------------------------------------------------------- */

struct engine_context {
    uint64_t deadline_ns;        /* monotonic; waiting ends here with BUSY, nothing applied */
    const struct cancel *cancel; /* may be NULL; once fired, waiting ends with CANCELLED */
};

/* ---- reading ------------------------------------------------------------------------------- */

/*
 * One version of one key. `meta` is opaque to every engine. `meta` and `value` stay valid and
 * unchanged until engine_item_done(), from whichever thread; after engine_head() `value` has a size
 * and no data.
 */
struct engine_item {
    struct engine_version version;
    int64_t modified_ms;
    int64_t expires_ms; /* 0: never */
    struct bytes meta;
    struct bytes value;
    void (*release)(void *owner); /* NULL when nothing is owned */
    void *owner;
};

/* Releases what `item` holds; an item that was never set must be zero. Leaves it zero. */
void engine_item_done(struct engine_item *item);

/*
 * Finds the newest value of `key`. NOT_FOUND: absent or expired. CORRUPT: its checksum differs.
 * NO_MEMORY. Lock-free: never waits for a writer. On OK the caller owns one reference.
 */
MUST_CHECK enum status engine_get(struct engine *engine, struct bytes key,
                                  struct engine_item *out_item);

/* The same without the value's bytes, which are not read. */
MUST_CHECK enum status engine_head(struct engine *engine, struct bytes key,
                                   struct engine_item *out_item);

/* ---- listing ------------------------------------------------------------------------------- */

/* Keys in the order of their bytes: from `from` on, up to `until` and without it; an empty one is no
 * bound. `reverse`: the same keys, the last one first. */
struct engine_range {
    struct bytes from, until;
    bool reverse;
};

/*
 * Told of one key: OK and its item, or CORRUPT and a zero item. Both are borrowed for the call, unless
 * the visitor takes the item over and leaves zeros. False: that was enough. It may call the engine,
 * but must be quick: memory that writers may wait for is not freed meanwhile.
 */
typedef bool engine_visit(void *visitor, struct bytes key, enum status status,
                          struct engine_item *item);

/*
 * Visits each key of the range that has a value, in order, once. Keys that have one throughout are all
 * visited, each with a value that was its newest during the call; those written or deleted meanwhile
 * may be. `with_values` false: items as of engine_head(). CORRUPT: an index is damaged, keys behind
 * those visited cannot be listed. BUSY at the deadline, CANCELLED, NO_MEMORY: what was visited stands.
 */
MUST_CHECK enum status engine_scan(struct engine *engine, const struct engine_range *range,
                                   bool with_values, engine_visit *visit, void *visitor,
                                   const struct engine_context *context);

/* ---- changes ------------------------------------------------------------------------------- */

enum engine_change_type {
    ENGINE_CHANGE_PUT,
    ENGINE_CHANGE_DELETE,
    ENGINE_CHANGE_EXPIRE, /* the store deleted a key whose time was over */
};

/* One write as it was applied, whatever became of the key later. A commit's changes have consecutive
 * sequences; a put's meta and value are those that it brought, an addition is a put. */
struct engine_change {
    enum engine_change_type type;
    struct bytes key;
    struct engine_version version;
    int64_t modified_ms;
    /* puts; else zero */
    int64_t expires_ms;
    struct bytes meta, value;
};

/* Told of one change, borrowed for the call. False: that was enough. It may take its time, and may
 * call the engine. */
typedef bool engine_visit_change(void *visitor, const struct engine_change *change);

/* How far a feed got, and how far back it could start. */
struct engine_feed {
    uint64_t after;  /* all changes up to this sequence were visited: go on behind it */
    uint64_t oldest; /* the lowest `after` that is still answered */
};

/*
 * Visits the changes whose sequence is above `after`, in the order of commits and without a gap, up to
 * the published one (engine_health) or until about 1 MiB was read: the caller goes on behind
 * `out_feed->after`. A change that the visitor answered false to was visited. Sequences are of the
 * engine's epoch; a caller who has one of another must not ask.
 *
 * GONE: `after` is below what is kept; `*out_feed` is set, nothing was visited. INVALID: it is above
 * the published sequence. BUSY at the deadline, CANCELLED, CORRUPT, IO, NO_MEMORY: what was visited
 * stands, and `*out_feed` is set. NO_SPACE: not before there is room for a journal. UNSUPPORTED. It
 * never waits for a writer, nor a writer for it.
 */
MUST_CHECK enum status engine_changes(struct engine *engine, uint64_t after,
                                      engine_visit_change *visit, void *visitor,
                                      struct engine_feed *out_feed,
                                      const struct engine_context *context);

/*
 * Waits until a sequence above `sequence` is published and sets `*out_sequence` to the published one.
 * BUSY: not before the deadline; CANCELLED: seen within 250 ms. `*out_sequence` is set then, too.
 * However many wait: a commit costs the same, and all of them are woken by it at once.
 */
MUST_CHECK enum status engine_wait(struct engine *engine, uint64_t sequence, uint64_t *out_sequence,
                                   const struct engine_context *context);

/* ---- writing ------------------------------------------------------------------------------- */

/*
 * A value being received: room for it inside the engine, charged against its memory limit, so that
 * bytes are copied once from the socket. Owned by the caller until a commit takes it over.
 */
struct engine_value {
    unsigned char *data; /* the value's place: the caller writes here */
    size_t size;         /* bytes of value, set by the caller before the commit */
    size_t capacity;     /* room at `data` */
};

/*
 * Makes room for a value of `capacity` bytes under `key`, with `meta` kept beside it. Also the
 * check that a put has a chance: LOADING, READ_ONLY, NO_SPACE, NO_MEMORY, BUSY (no memory for a
 * moment), TOO_LARGE (over value_bytes_max). `key` and `meta` are copied. Does not wait.
 */
MUST_CHECK enum status engine_value_open(struct engine *engine, struct bytes key, struct bytes meta,
                                         size_t capacity, struct engine_value **out_value);

/*
 * Enlarges the room to `capacity`, keeping the first `size` bytes; `*value` may move.
 * On failure (as engine_value_open) the value is unchanged.
 */
MUST_CHECK enum status engine_value_grow(struct engine *engine, struct engine_value **value,
                                         size_t capacity);

/* Gives the room back. NULL is allowed. Not after a commit took it over. */
void engine_value_close(struct engine *engine, struct engine_value *value);

enum engine_operation_type {
    ENGINE_PUT,
    ENGINE_DELETE,
    ENGINE_CHECK,
    /* Counts up or down a value that is a number (number.h; an absent key stands for 0), keeping
     * meta and expiry. */
    ENGINE_ADD,
};

enum engine_outcome {
    ENGINE_CREATED,  /* put, add: the key was absent */
    ENGINE_REPLACED, /* put, add: the key existed */
    ENGINE_DELETED,
    ENGINE_ABSENT,  /* delete: there was nothing to delete; nothing was written */
    ENGINE_CHECKED, /* check: its conditions hold */
    ENGINE_FAILED,  /* a condition does not hold, or add: no number; `version` is the current one */
};

struct engine_operation {
    /* set by the caller */
    enum engine_operation_type type;
    struct bytes key;
    const struct engine_condition *conditions; /* all must hold, judged in this order */
    uint32_t condition_count;
    int64_t expires_ms;         /* put: 0 = never; add: set on OK */
    int64_t by;                 /* add */
    struct engine_value *value; /* put: made for this key; NULL after a commit that answered OK */
    /* set by the commit on OK, CONFLICT and NOT_A_NUMBER */
    enum engine_outcome outcome;
    int64_t number;                /* add, on OK: the new value */
    struct engine_version version; /* the new version, or the current one (sequence 0: absent) */
    struct engine_version
        before; /* the current one, where anything of this commit is judged by it */
};

/*
 * Applies all operations or none, durably as the engine's durability says, in one place of the one
 * order of commits. A key may stand in one operation only (INVALID otherwise).
 *
 * OK: applied; every put's value now belongs to the engine. CONFLICT: a condition failed, nothing
 * applied. NOT_A_NUMBER: all hold, but an addition's value is no number or would leave 64 bits;
 * nothing applied. CORRUPT: what had to be read is damaged; nothing applied. BUSY: no room, or not
 * begun, before the deadline; nothing applied. CANCELLED: the same, since the caller gave up.
 * NO_SPACE, NO_MEMORY, READ_ONLY, UNAVAILABLE: nothing applied. UNKNOWN: perhaps applied. On all but
 * OK the values remain the caller's.
 */
MUST_CHECK enum status engine_commit(struct engine *engine, struct engine_operation *operations,
                                     uint32_t count, const struct engine_context *context);

/* ---- what this engine is and how it is ------------------------------------------------------ */

enum engine_capability {
    ENGINE_DURABLE = 1u << 0,      /* an answered write survives the process */
    ENGINE_GAPLESS = 1u << 1,      /* one gapless sequence orders all operations */
    ENGINE_ATOMIC_BATCH = 1u << 2, /* a commit may hold operations on any keys */
    ENGINE_COMPACT = 1u << 3,      /* engine_compact() and what belongs to it */
    ENGINE_CHANGES = 1u << 4,      /* engine_changes() */
};

struct engine_limits {
    uint32_t capabilities; /* of enum engine_capability */
    uint32_t key_bytes_max;
    uint32_t meta_bytes_max;
    uint32_t batch_operations_max;
    uint64_t value_bytes_max;
    uint64_t changes_bytes_max; /* kept for engine_changes(), unless the disk is full */
    const char *scheme;         /* "file", "memory" */
    const char *durability;     /* as the setting was given: "always", "interval:100ms", "none" */
};

/* Constant after open. Never LOADING. */
const struct engine_limits *engine_limits(const struct engine *engine);

/* The text of one capability bit, for the discovery document. NULL past the last: loop from 0. */
const char *engine_capability_name(uint32_t bit_index);

enum engine_state {
    ENGINE_LOADING,
    ENGINE_READY,
    ENGINE_READ_ONLY, /* until restart: a write's durability could not be settled */
    ENGINE_UNUSABLE,  /* recovery found damage: the process should end with exit code 4 */
};

struct engine_health {
    enum engine_state state;
    enum status writable;     /* OK, or what a put would be answered: NO_SPACE, NO_MEMORY, ... */
    uint64_t loaded, to_load; /* bytes of recovery's work, both 0 when not loading */
    uint64_t epoch;           /* 0 while loading */
    uint64_t sequence;        /* the last one published */
    uint64_t
        oldest_unsynced_ms; /* interval durability: age of the oldest answered, unsynced write */
    char reason[400];       /* why not READY or not writable; empty otherwise */
};

/* Never fails, never waits; for probes. */
void engine_health(struct engine *engine, struct engine_health *out_health);

/* The counters, gauges and histograms of stats.def. The gauges are brought up to date by the call.
 */
struct stats *engine_stats(struct engine *engine);

/* ---- compaction ----------------------------------------------------------------------------- */

enum engine_compaction_state {
    ENGINE_COMPACTION_RUNNING,
    ENGINE_COMPACTION_DONE,
    ENGINE_COMPACTION_FAILED,
    ENGINE_COMPACTION_NOTHING, /* there was nothing to do */
};

struct engine_compaction {
    uint64_t id; /* from 1 at each start */
    enum engine_compaction_state state;
    enum status failure; /* why it FAILED */
    int64_t started_ms;  /* wall time */
    uint64_t duration_ms;
    uint64_t files_before, files_after;
    uint64_t bytes_before, bytes_after; /* of the files rewritten */
    uint64_t bytes_read, bytes_written;
    unsigned percent;
};

/*
 * Starts rewriting whatever has anything to reclaim, in the background; nobody waits for it. RUNNING:
 * one runs already. Both set `*out_id` to the one that runs. READ_ONLY, UNSUPPORTED.
 */
MUST_CHECK enum status engine_compact(struct engine *engine, uint64_t *out_id);

/* Waits until that compaction has ended. BUSY, CANCELLED: it goes on. NOT_FOUND, UNSUPPORTED. */
MUST_CHECK enum status engine_compaction_wait(struct engine *engine, uint64_t id,
                                              const struct engine_context *context);

/* The last compactions, those of the timer too: newest first, up to `capacity`; sets how many.
 * UNSUPPORTED. */
enum { ENGINE_COMPACTIONS_KEPT = 16 };
MUST_CHECK enum status engine_compactions(struct engine *engine, struct engine_compaction *out_rows,
                                          size_t capacity, size_t *out_count);

/* ---- events --------------------------------------------------------------------------------- */

enum engine_event_name {
#define X(name, level, message, fields) EVENT_##name,
#include "event.def"
};

enum engine_event_level { EVENT_DEBUG, EVENT_INFO, EVENT_WARN, EVENT_ERROR, EVENT_FATAL };

enum engine_event_field {
    EVENT_FILE = 1 << 0,
    EVENT_OFFSET = 1 << 1,
    EVENT_SEQUENCE = 1 << 2,
    EVENT_BYTES = 1 << 3,
    EVENT_COUNT = 1 << 4,
    EVENT_MS = 1 << 5,
    EVENT_STATUS = 1 << 6,
    EVENT_DETAIL = 1 << 7,
};

struct engine_event {
    enum engine_event_name name;
    const char *file; /* texts are borrowed for the call and may be NULL */
    const char *detail;
    uint64_t offset, sequence, bytes, count, ms;
    enum status status;
};

/* The row of event.def: level, message, fields. */
struct engine_event_kind {
    const char *name;
    enum engine_event_level level;
    const char *message;
    unsigned fields;
};

const struct engine_event_kind *engine_event_kind(enum engine_event_name name);

/* ---- opening and closing -------------------------------------------------------------------- */

struct engine_options {
    const char *url;                 /* "file:DIR", "memory:" */
    uint64_t durability_interval_ms; /* 0: every answered write is durable ("always") */
    uint32_t key_bytes_max;
    uint32_t meta_bytes_max;
    uint32_t batch_operations_max;
    uint64_t value_bytes_max;
    uint64_t memory_bytes_max;
    uint64_t memtable_bytes;
    uint64_t journal_segment_bytes; /* raised to value_bytes_max + 2 MiB when below */
    uint64_t reserve_bytes;         /* puts are refused below this much free disk */
    uint64_t ballast_bytes;         /* kept in a file, to be given up when others fill the disk */
    uint64_t compaction_interval_ms;
    uint64_t compaction_bytes_per_second_max; /* 0: no limit */
    uint64_t changes_bytes_max; /* kept for engine_changes() beyond what the engine needs itself */
    const struct time_source *time;
    /* Called from any thread of the engine or of a caller; must not block nor call the engine. */
    void (*on_event)(void *context, const struct engine_event *event);
    void *on_event_context;
};

/* The defaults of every field but url and on_event. */
struct engine_options engine_options_default(void);

/*
 * Opens the engine that the URL's scheme names. Takes the data directory's lock and checks its
 * manifest and formats before it returns; then recovers on a thread of its own while every call
 * answers LOADING. Damage that recovery finds is told by EVENT_RECOVERY_FAILED and health.
 * LOCKED, FORMAT, CORRUPT_LOG, IO, INVALID (unknown scheme, bad options): `failure` says what to
 * do.
 */
MUST_CHECK enum status engine_open(const struct engine_options *options, struct engine **out_engine,
                                   struct failure *failure);

/* Finishes what was answered, writes the closing mark, releases the lock. NULL is allowed.
 * No other call may be under way or follow. */
void engine_close(struct engine *engine);

/* ---- verifying ------------------------------------------------------------------------------ */

struct engine_verification {
    uint64_t tables, records, table_bytes;
    uint64_t segments, frames, journal_records;
    uint64_t strays; /* files that count for nothing and that the next start removes */
    uint64_t findings;
};

/*
 * Checks a store that nobody has open, and changes nothing: every checksum, each index against its
 * records, the files against what says which of them count. `on_finding` is told each fault, as
 * "FILE: offset N: WHAT"; the text is borrowed for the call. OK: there were none. CORRUPT_LOG: there
 * were. LOCKED, FORMAT, IO, NOT_FOUND (there is no store), NO_MEMORY, INVALID, UNSUPPORTED: `failure`
 * says what to do. `*out_verification` is set in any case. It takes as long as reading all of it.
 */
MUST_CHECK enum status engine_verify(const char *url,
                                     void (*on_finding)(void *context, const char *finding),
                                     void *context, struct engine_verification *out_verification,
                                     struct failure *failure);

/* ---- for implementations of engines --------------------------------------------------------- */

struct engine_operations {
    const char *scheme;
    enum status (*open)(const struct engine_options *options, const char *path,
                        struct engine **out_engine, struct failure *failure);
    /* NULL: there is nothing that could be verified */
    enum status (*verify)(const char *path, void (*on_finding)(void *context, const char *finding),
                          void *context, struct engine_verification *out_verification,
                          struct failure *failure);
    void (*close)(struct engine *engine);
    enum status (*get)(struct engine *engine, struct bytes key, struct engine_item *out_item);
    enum status (*head)(struct engine *engine, struct bytes key, struct engine_item *out_item);
    enum status (*scan)(struct engine *engine, const struct engine_range *range, bool with_values,
                        engine_visit *visit, void *visitor, const struct engine_context *context);
    /* without ENGINE_CHANGES NULL */
    enum status (*changes)(struct engine *engine, uint64_t after, engine_visit_change *visit,
                           void *visitor, struct engine_feed *out_feed,
                           const struct engine_context *context);
    enum status (*wait)(struct engine *engine, uint64_t sequence, uint64_t *out_sequence,
                        const struct engine_context *context);
    enum status (*value_open)(struct engine *engine, struct bytes key, struct bytes meta,
                              size_t capacity, struct engine_value **out_value);
    enum status (*value_grow)(struct engine *engine, struct engine_value **value, size_t capacity);
    void (*value_close)(struct engine *engine, struct engine_value *value);
    enum status (*commit)(struct engine *engine, struct engine_operation *operations,
                          uint32_t count, const struct engine_context *context);
    /* without ENGINE_COMPACT these three are NULL or answer UNSUPPORTED */
    enum status (*compact)(struct engine *engine, uint64_t *out_id);
    enum status (*compaction_wait)(struct engine *engine, uint64_t id,
                                   const struct engine_context *context);
    enum status (*compactions)(struct engine *engine, struct engine_compaction *out_rows,
                               size_t capacity, size_t *out_count);
    void (*health)(struct engine *engine, struct engine_health *out_health);
    struct stats *(*stats)(struct engine *engine);
};

/* Implementations put this first in a struct of their own. */
struct engine {
    const struct engine_operations *operations;
    struct engine_limits limits;
};

extern const struct engine_operations local_engine_operations;
extern const struct engine_operations memory_engine_operations;

#endif
