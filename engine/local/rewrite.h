/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The copying half of a compaction: victims are merged, each record is judged, and what is kept goes
 * into output tables. Nothing that it writes counts yet.
 *
 * Threads: the one that runs the compaction.
 */
#ifndef KEYREST_ENGINE_LOCAL_REWRITE_H
#define KEYREST_ENGINE_LOCAL_REWRITE_H

#include "compaction.h"
#include "probe.h"
#include "window.h"

/* One victim. */
struct rewrite_source {
    struct table *table;
    struct window window; /* over its records */
    uint64_t copied;      /* puts */
};

struct rewrite {
    /* set at open, then constant */
    const struct compaction_options *options;
    const struct victims *victims;
    const atomic_bool *closing;
    struct compaction_progress *progress;
    uint64_t begun_ns;
    /* the result */
    struct rewrite_source *sources; /* one per victim */
    struct manifest_table *outputs; /* finished files */
    size_t output_count, output_capacity;
    uint64_t kept_records, kept_bytes;
    /* under way */
    struct probe probe;
    struct table_writer *writer;
    bool output_kept_tombstones;
    uint64_t paced_bytes, moved_bytes; /* since the last look at the pace, and in all */
};

/* Marks the victims as such. NO_MEMORY. A half-open one is to be closed, too. */
MUST_CHECK enum status rewrite_open(struct rewrite *rewrite,
                                    const struct compaction_options *options,
                                    const struct view *view, const struct victims *victims,
                                    const atomic_bool *closing,
                                    struct compaction_progress *progress);

/* Frees what it holds and unmarks the victims; finished files stay. */
void rewrite_close(struct rewrite *rewrite);

/* Writes the outputs. CORRUPT: a victim is damaged, and marked so. CANCELLED, NO_SPACE, IO,
 * NO_MEMORY. */
MUST_CHECK enum status rewrite_run(struct rewrite *rewrite);

/* Whether the newest version of the entry's key is the record that it tells of, in that table. */
bool rewrite_is_live(struct store *store, const struct table *table,
                     const struct table_entry *entry);

#endif
