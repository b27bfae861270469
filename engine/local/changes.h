/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The feed of changes: the journal read back, up to the published sequence. A reader pins one segment
 * at a time, so that its file stays, and goes on where the segment's successor begins.
 *
 * Threads: any. Nobody waits for a reader; the journal's mutexes are held for a look only.
 */
#ifndef KEYREST_ENGINE_LOCAL_CHANGES_H
#define KEYREST_ENGINE_LOCAL_CHANGES_H

#include "journal.h"
#include "store.h"

/* As engine_changes(). */
MUST_CHECK enum status changes_run(struct store *store, struct journal *journal, uint64_t after,
                                   engine_visit_change *visit, void *visitor,
                                   struct engine_feed *out_feed,
                                   const struct engine_context *context);

#endif
