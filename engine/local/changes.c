/* SPDX-License-Identifier: Apache-2.0 */
/* Frame after frame, segment after segment; each sequence must be the one that is expected. */
#include "changes.h"

#include "journal_reader.h"

enum { READ_BYTES_MAX = 1 << 20 }; /* of frames that are visited, in one call */

struct reading {
    /* set at first, then constant */
    const struct store *store;
    struct supply *supply;
    uint64_t published;
    engine_visit_change *visit;
    void *visitor;
    const struct engine_context *context;
    /* how far it got */
    struct engine_feed *feed;
    uint64_t bytes; /* of frames that were visited */
    bool enough;    /* the visitor's answer */
};

static bool is_done(const struct reading *reading)
{
    return reading->enough || reading->feed->after >= reading->published ||
           reading->bytes >= READ_BYTES_MAX;
}

/* ---- records ---- */

static enum engine_change_type type_of(const struct record *record)
{
    switch (record->type) {
    case RECORD_PUT:
        return ENGINE_CHANGE_PUT;
    case RECORD_EXPIRE:
        return ENGINE_CHANGE_EXPIRE;
    default:
        return ENGINE_CHANGE_DELETE;
    }
}

static void visit_record(struct reading *reading, const struct record *record)
{
    struct engine_change change = {
        .type = type_of(record),
        .key = record_key(record),
        .version = {reading->store->epoch, record->sequence},
        .modified_ms = record->modified_ms,
    };
    if (change.type == ENGINE_CHANGE_PUT) {
        change.expires_ms = record->expires_ms;
        change.meta = record_meta(record);
        change.value = record_value(record);
    }
    reading->feed->after = record->sequence;
    reading->enough = !reading->visit(reading->visitor, &change);
}

static enum status visit_frame(struct reading *reading, const struct journal_frame *frame)
{
    uint64_t position = 0;
    for (;;) {
        const struct record *record;
        enum status status = journal_frame_record(frame, &position, &record);
        if (status != STATUS_OK)
            return STATUS_CORRUPT;
        if (record == NULL || reading->enough)
            return STATUS_OK;
        if (record->sequence <= reading->feed->after)
            continue;
        if (record->sequence != reading->feed->after + 1)
            return STATUS_CORRUPT;
        visit_record(reading, record);
    }
}

/* ---- frames ---- */

static enum status look_up(const struct reading *reading)
{
    const struct time_source *time = reading->store->time;
    if (cancel_fired(reading->context->cancel))
        return STATUS_CANCELLED;
    return time->monotonic_ns(time) >= reading->context->deadline_ns ? STATUS_BUSY : STATUS_OK;
}

/* One frame: skipped when it was visited before, or is a mark. */
static enum status read_frame(struct reading *reading, struct segment_index *index,
                              struct journal_reader *reader)
{
    struct journal_frame frame;
    enum status status = look_up(reading);
    if (status == STATUS_OK)
        status = journal_reader_next(reader, &frame);
    if (status != STATUS_OK)
        return status == STATUS_NOT_FOUND ? STATUS_CORRUPT : status;
    if (frame.header.records == 0)
        return STATUS_OK;
    segment_index_note(index, frame.header.first_sequence, frame.offset);
    if (frame.header.last_sequence <= reading->feed->after)
        return STATUS_OK;
    reading->bytes += reader->offset - frame.offset;
    return visit_frame(reading, &frame);
}

/* ---- segments ---- */

/* Of the active segment: what was written by now, which holds all that was published before. */
static enum status read_pinned(struct reading *reading, struct segment_index *index,
                               const struct segment *segment)
{
    struct journal_reader reader;
    journal_reader_init(&reader, segment);
    reader.offset = segment_index_find(index, reading->feed->after + 1);
    reader.end = segment_index_end(index);
    uint64_t begun = reading->feed->after;
    enum status status = STATUS_OK;
    while (status == STATUS_OK && !is_done(reading) && reader.offset < reader.end)
        status = read_frame(reading, index, &reader);
    journal_reader_done(&reader);
    return status == STATUS_OK && reading->feed->after == begun ? STATUS_CORRUPT : status;
}

/* Its file cannot be missing, nor be another's, while it is pinned. */
static enum status open_pinned(const struct supply *supply, uint64_t id,
                               struct segment **out_segment)
{
    enum status status = segment_open(supply->disk, supply->uuid, id, out_segment);
    bool is_damaged =
        status == STATUS_CORRUPT_LOG || status == STATUS_FORMAT || status == STATUS_NOT_FOUND;
    return is_damaged ? STATUS_CORRUPT : status;
}

static enum status read_segment(struct reading *reading)
{
    struct segment_index *index = supply_pin(reading->supply, reading->feed->after);
    if (index == NULL)
        return STATUS_GONE;
    struct segment *segment = NULL;
    enum status status = open_pinned(reading->supply, index->id, &segment);
    if (status == STATUS_OK)
        status = read_pinned(reading, index, segment);
    segment_close(segment);
    supply_unpin(reading->supply, index);
    return status;
}

enum status changes_run(struct store *store, struct journal *journal, uint64_t after,
                        engine_visit_change *visit, void *visitor, struct engine_feed *out_feed,
                        const struct engine_context *context)
{
    struct reading reading = {
        .store = store,
        .supply = journal_supply(journal),
        .published = store_sequence(store), /* before any segment is looked for */
        .visit = visit,
        .visitor = visitor,
        .context = context,
        .feed = out_feed,
    };
    *out_feed = (struct engine_feed){after, supply_oldest(reading.supply)};
    if (after > reading.published)
        return STATUS_INVALID;
    if (after < out_feed->oldest)
        return STATUS_GONE;
    enum status status = STATUS_OK;
    while (status == STATUS_OK && !is_done(&reading))
        status = read_segment(&reading);
    /* What was visited stands; the next call is told. */
    return status == STATUS_GONE && out_feed->after > after ? STATUS_OK : status;
}
