/* SPDX-License-Identifier: Apache-2.0 */
/* One look each second, and before each file. */
#include "space.h"

#include <stdio.h>

enum { SEGMENTS_LEAST = 2 }; /* one is written while the next is made */

static uint64_t table_bytes(const struct space *space)
{
    const struct view *view = views_pin(&space->options.store->views);
    uint64_t bytes = 0;
    for (size_t i = 0; i < view->table_count; i++)
        bytes += view->tables[i]->identity.bytes;
    view_unpin(view);
    return bytes;
}

/* ---- too small a disk ---- */

static uint64_t own_bytes(const struct space *space)
{
    return table_bytes(space) + journal_figures(space->options.journal).bytes +
           (space->ballast.there ? space->ballast.bytes : 0);
}

/* Even if the store were empty, and its files gone, puts would be refused before long. */
static void tell_if_small(const struct space *space)
{
    const struct space_options *options = &space->options;
    uint64_t wanted = options->reserve_bytes + SEGMENTS_LEAST * options->segment_bytes;
    uint64_t most = space_free_bytes(space) + own_bytes(space);
    if (most >= wanted)
        return;
    char detail[200];
    snprintf(detail, sizeof detail,
             "reserve_bytes %" PRIu64 " and %d journal segments of %" PRIu64 " bytes do not fit; "
             "lower reserve_bytes and journal_segment_bytes, or make room",
             options->reserve_bytes, SEGMENTS_LEAST, options->segment_bytes);
    event_tell(&options->events,
               (struct engine_event){.name = EVENT_DISK_SMALL, .bytes = most, .detail = detail});
}

/* ---- low or not ---- */

/* Puts leave room for the next segment, so that deletes can go on in it. */
static uint64_t needed_bytes(const struct space *space)
{
    uint64_t needed = ballast_needed_bytes(&space->ballast);
    if (journal_prepare_is_due(space->options.journal))
        needed += space->options.segment_bytes;
    return needed;
}

static void set_low(struct space *space, bool low)
{
    if (atomic_exchange_explicit(&space->low, low, memory_order_relaxed) == low)
        return;
    /* With little room a memtable holds back no more of the journal than one segment. */
    store_limit_journal(space->options.store,
                        low ? space->options.segment_bytes : space->journal_bytes_max);
    event_tell(&space->options.events,
               (struct engine_event){.name = low ? EVENT_SPACE_LOW : EVENT_SPACE_OK,
                                     .bytes = space_free_bytes(space)});
}

/* What is kept for readers of changes goes before anything else does, the oldest first. True: some of
 * it went. */
static bool give_up_kept(const struct space *space, uint64_t free_bytes, bool wanted)
{
    struct journal *journal = space->options.journal;
    uint64_t needed = needed_bytes(space);
    uint64_t bytes = wanted ? UINT64_MAX : free_bytes < needed ? needed - free_bytes : 0;
    if (bytes == 0)
        return false;
    bool any = supply_give_up(journal_supply(journal), bytes) > 0;
    journal_trim(journal); /* also what had readers when it was given up */
    return any;
}

bool space_look(struct space *space)
{
    uint64_t free_bytes, free_before = space_free_bytes(space);
    if (disk_free_bytes(space->options.disk, &free_bytes) != STATUS_OK)
        return false; /* told by the disk; the last answer stands */
    unsigned waiting = atomic_load_explicit(&space->waiting, memory_order_acquire);
    bool released = give_up_kept(space, free_bytes, waiting != 0);
    if (released && disk_free_bytes(space->options.disk, &free_bytes) != STATUS_OK)
        return false;
    if (!released)
        released = waiting != 0 && ballast_release(&space->ballast);
    ballast_look(&space->ballast, free_bytes, table_bytes(space));
    uint64_t needed = needed_bytes(space);
    atomic_store_explicit(&space->free_bytes, free_bytes, memory_order_relaxed);
    atomic_store_explicit(&space->needed_bytes, needed, memory_order_relaxed);
    set_low(space, free_bytes < needed || waiting != 0);
    return waiting != 0 && (released || free_bytes > free_before);
}

void space_wants(struct space *space, enum space_user user, bool wants)
{
    if (wants) {
        atomic_fetch_or_explicit(&space->waiting, user, memory_order_acq_rel);
        set_low(space, true);
    } else {
        atomic_fetch_and_explicit(&space->waiting, ~(unsigned)user, memory_order_acq_rel);
    }
}

void space_init(struct space *space, const struct space_options *options)
{
    *space = (struct space){.options = *options};
    space->journal_bytes_max = store_journal_limit(options->store);
    ballast_init(&space->ballast, options->disk, options->ballast_bytes, options->reserve_bytes);
    space_look(space);
    tell_if_small(space);
}
