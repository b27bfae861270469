/* SPDX-License-Identifier: Apache-2.0 */
/* What every engine promises of its feed of changes, and of waiting for them. */
#include <time.h>

#include "../lib/subject.h"
#include "../lib/threads.h"

enum { SEEN_MAX = 20000, TEXT_MAX = 64 };

/* What a visitor was told: numbers, and short texts. */
struct seen {
    enum engine_change_type type;
    struct engine_version version;
    int64_t modified_ms, expires_ms;
    char key[TEXT_MAX], meta[TEXT_MAX], value[TEXT_MAX];
    size_t value_bytes;
    uint64_t value_hash;
};

struct listener {
    struct seen *seen;
    size_t count;
    size_t enough; /* changes; 0: never */
    struct engine *writes_to;
    void (*meanwhile)(struct engine *engine);
};

static uint64_t hash_of(struct bytes bytes)
{
    uint64_t hash = bytes.size + 1;
    for (size_t i = 0; i < bytes.size; i++)
        hash = (hash ^ ((const unsigned char *)bytes.data)[i]) * UINT64_C(1099511628211);
    return hash;
}

static void copy_text(char text[TEXT_MAX], struct bytes bytes)
{
    size_t size = bytes.size < TEXT_MAX - 1 ? bytes.size : TEXT_MAX - 1;
    if (size > 0)
        memcpy(text, bytes.data, size);
    text[size] = '\0';
}

static bool listen_to(void *visitor, const struct engine_change *change)
{
    struct listener *listener = visitor;
    assert_true(listener->count < SEEN_MAX);
    struct seen *seen = &listener->seen[listener->count++];
    *seen = (struct seen){.type = change->type,
                          .version = change->version,
                          .modified_ms = change->modified_ms,
                          .expires_ms = change->expires_ms,
                          .value_bytes = change->value.size,
                          .value_hash = hash_of(change->value)};
    copy_text(seen->key, change->key);
    copy_text(seen->meta, change->meta);
    copy_text(seen->value, change->value);
    if (listener->meanwhile != NULL)
        listener->meanwhile(listener->writes_to);
    return listener->enough == 0 || listener->count < listener->enough;
}

static void skip_without_feed(const struct subject *subject)
{
    if ((engine_limits(subject->engine)->capabilities & ENGINE_CHANGES) == 0)
        skip();
}

static void listener_init(struct listener *listener, const struct subject *subject)
{
    skip_without_feed(subject);
    *listener = (struct listener){.seen = calloc(SEEN_MAX, sizeof(struct seen))};
    assert_non_null(listener->seen);
}

static enum status page_of(struct subject *subject, uint64_t after, struct listener *listener,
                           struct engine_feed *out_feed)
{
    struct engine_context patience = subject_patience();
    return engine_changes(subject->engine, after, listen_to, listener, out_feed, &patience);
}

/* Everything behind `after`, page by page; returns where it ended. */
static uint64_t follow(struct subject *subject, uint64_t after, struct listener *listener)
{
    listener->count = 0;
    for (;;) {
        struct engine_feed feed;
        assert_int_equal(page_of(subject, after, listener, &feed), STATUS_OK);
        assert_true(feed.after >= after);
        if (feed.after == after)
            return after;
        after = feed.after;
    }
}

static void assert_gapless(const struct listener *listener, uint64_t after)
{
    for (size_t i = 0; i < listener->count; i++)
        assert_int_equal(listener->seen[i].version.sequence, after + 1 + i);
}

/* ---- what is told ---- */

static void each_write_is_told_once_in_order_as_it_was(void **state)
{
    struct subject *subject = *state;
    struct listener listener;
    listener_init(&listener, subject);
    int64_t begun_ms = subject->clock.wall_ms;
    struct engine_operation put = {
        .type = ENGINE_PUT, .key = bytes_of("a"), .expires_ms = begun_ms + 60000};
    assert_int_equal(engine_value_open(subject->engine, put.key, bytes_of("META"), 3, &put.value),
                     STATUS_OK);
    memcpy(put.value->data, "one", 3);
    put.value->size = 3;
    assert_int_equal(subject_commit(subject, &put, 1), STATUS_OK);
    atomic_fetch_add(&subject->clock.wall_ms, 5);
    struct engine_version second = subject_put(subject, "a", "two");
    assert_int_equal(subject_delete(subject, "a"), ENGINE_DELETED);
    assert_int_equal(subject_delete(subject, "a"), ENGINE_ABSENT); /* writes nothing */
    assert_int_equal(follow(subject, 0, &listener), 3);
    assert_int_equal(listener.count, 3);
    const struct seen *seen = listener.seen;
    assert_int_equal(seen[0].type, ENGINE_CHANGE_PUT);
    assert_true(engine_version_equal(seen[0].version, put.version));
    assert_int_equal(seen[0].modified_ms, begun_ms);
    assert_int_equal(seen[0].expires_ms, begun_ms + 60000);
    assert_string_equal(seen[0].key, "a");
    assert_string_equal(seen[0].meta, "META");
    assert_string_equal(seen[0].value, "one");
    assert_int_equal(seen[1].type, ENGINE_CHANGE_PUT);
    assert_true(engine_version_equal(seen[1].version, second));
    assert_int_equal(seen[1].modified_ms, begun_ms + 5);
    assert_int_equal(seen[1].expires_ms, 0);
    assert_string_equal(seen[1].value, "two");
    assert_int_equal(seen[2].type, ENGINE_CHANGE_DELETE);
    assert_string_equal(seen[2].key, "a");
    assert_int_equal(seen[2].value_bytes, 0);
    assert_int_equal(seen[2].version.sequence, 3);
    assert_int_equal(seen[2].version.epoch, put.version.epoch);
    free(listener.seen);
}

static void an_empty_store_has_an_empty_feed(void **state)
{
    struct subject *subject = *state;
    struct listener listener = {0};
    struct engine_feed feed;
    skip_without_feed(subject);
    assert_int_equal(page_of(subject, 0, &listener, &feed), STATUS_OK);
    assert_int_equal(feed.after, 0);
    assert_int_equal(feed.oldest, 0);
    assert_int_equal(page_of(subject, 1, &listener, &feed), STATUS_INVALID);
}

static void a_batch_is_told_together_and_an_addition_as_a_put(void **state)
{
    struct subject *subject = *state;
    struct listener listener;
    listener_init(&listener, subject);
    subject_put(subject, "gone", "x");
    struct engine_operation batch[] = {
        {.type = ENGINE_ADD, .key = bytes_of("n"), .by = 7},
        {.type = ENGINE_CHECK, .key = bytes_of("checked")},
        {.type = ENGINE_DELETE, .key = bytes_of("gone")},
        {.type = ENGINE_DELETE, .key = bytes_of("never")},
        subject_put_operation(subject, bytes_of("b"), bytes_of("v")),
    };
    assert_int_equal(subject_commit(subject, batch, COUNT_OF(batch)), STATUS_OK);
    assert_int_equal(follow(subject, 1, &listener), 4);
    assert_int_equal(listener.count, 3);
    assert_string_equal(listener.seen[0].key, "n");
    assert_int_equal(listener.seen[0].type, ENGINE_CHANGE_PUT);
    assert_string_equal(listener.seen[0].value, "7");
    assert_string_equal(listener.seen[1].key, "gone");
    assert_int_equal(listener.seen[1].type, ENGINE_CHANGE_DELETE);
    assert_string_equal(listener.seen[2].key, "b");
    const size_t places[] = {0, 2, 4};
    for (size_t i = 0; i < COUNT_OF(places); i++)
        assert_true(engine_version_equal(listener.seen[i].version, batch[places[i]].version));
    free(listener.seen);
}

static void a_refused_commit_is_not_told(void **state)
{
    struct subject *subject = *state;
    static const struct engine_condition if_absent = {.kind = ENGINE_IF_ABSENT};
    struct listener listener;
    listener_init(&listener, subject);
    subject_put(subject, "a", "1");
    assert_int_equal(subject_try_put(subject, "a", "2", &if_absent, NULL), STATUS_CONFLICT);
    subject_put(subject, "b", "3");
    assert_int_equal(follow(subject, 0, &listener), 2);
    assert_int_equal(listener.count, 2);
    assert_string_equal(listener.seen[1].key, "b");
    free(listener.seen);
}

/* ---- from where, and how far ---- */

static void it_goes_on_behind_any_sequence(void **state)
{
    struct subject *subject = *state;
    struct listener listener;
    listener_init(&listener, subject);
    enum { WRITES = 40 };
    for (int i = 0; i < WRITES; i++)
        subject_put(subject, i % 2 == 0 ? "even" : "odd", "v");
    for (uint64_t after = 0; after <= WRITES; after++) {
        assert_int_equal(follow(subject, after, &listener), WRITES);
        assert_int_equal(listener.count, WRITES - after);
        assert_gapless(&listener, after);
    }
    struct engine_feed feed;
    assert_int_equal(page_of(subject, WRITES + 1, &listener, &feed), STATUS_INVALID);
    free(listener.seen);
}

static void a_visitor_that_has_enough_is_told_no_more(void **state)
{
    struct subject *subject = *state;
    struct listener listener;
    listener_init(&listener, subject);
    for (int i = 0; i < 10; i++)
        subject_put(subject, "a", "v");
    struct engine_feed feed;
    listener.enough = 3;
    assert_int_equal(page_of(subject, 2, &listener, &feed), STATUS_OK);
    assert_int_equal(listener.count, 3);
    assert_int_equal(feed.after, 5);
    assert_gapless(&listener, 2);
    free(listener.seen);
}

/* Values as large as may be: a call reads only some of them, and what is told is what was written. */
static void a_call_reads_a_bounded_part(void **state)
{
    struct subject *subject = *state;
    struct listener listener;
    listener_init(&listener, subject);
    enum { WRITES = 4 };
    AUTO_FREE unsigned char *noise = malloc(SUBJECT_VALUE_BYTES_MAX);
    uint64_t hashes[WRITES];
    for (uint64_t i = 0; i < WRITES; i++) {
        struct bytes value = subject_noise(noise, SUBJECT_VALUE_BYTES_MAX - (size_t)i, i);
        hashes[i] = hash_of(value);
        subject_put_bytes(subject, bytes_of("large"), value);
    }
    struct engine_feed feed;
    assert_int_equal(page_of(subject, 0, &listener, &feed), STATUS_OK);
    assert_in_range(feed.after, 1, WRITES - 1);
    assert_int_equal(listener.count, feed.after);
    assert_int_equal(follow(subject, 0, &listener), WRITES);
    assert_int_equal(listener.count, WRITES);
    for (uint64_t i = 0; i < WRITES; i++) {
        assert_int_equal(listener.seen[i].value_bytes, SUBJECT_VALUE_BYTES_MAX - i);
        assert_int_equal(listener.seen[i].value_hash, hashes[i]);
    }
    free(listener.seen);
}

static void a_deadline_and_a_cancel_end_it(void **state)
{
    struct subject *subject = *state;
    struct listener listener = {0};
    struct engine_feed feed;
    skip_without_feed(subject);
    subject_put(subject, "a", "1");
    struct cancel cancel = {false};
    struct engine_context over = {1, NULL}, given_up = {UINT64_MAX, &cancel};
    cancel_fire(&cancel);
    assert_int_equal(engine_changes(subject->engine, 0, listen_to, &listener, &feed, &over),
                     STATUS_BUSY);
    assert_int_equal(feed.after, 0);
    assert_int_equal(engine_changes(subject->engine, 0, listen_to, &listener, &feed, &given_up),
                     STATUS_CANCELLED);
    assert_int_equal(feed.after, 0);
}

static void write_one_more(struct engine *engine)
{
    struct engine_operation addition = {.type = ENGINE_ADD, .key = bytes_of("n"), .by = 1};
    struct engine_context patience = subject_patience();
    assert_int_equal(engine_commit(engine, &addition, 1, &patience), STATUS_OK);
}

static void a_visitor_may_write(void **state)
{
    struct subject *subject = *state;
    struct listener listener;
    listener_init(&listener, subject);
    listener.writes_to = subject->engine;
    listener.meanwhile = write_one_more;
    for (int i = 0; i < 3; i++)
        subject_put(subject, "a", "v");
    struct engine_feed feed;
    assert_int_equal(page_of(subject, 0, &listener, &feed), STATUS_OK);
    assert_int_equal(listener.count, 3);
    assert_int_equal(subject_sequence(subject), 6);
    listener.meanwhile = NULL;
    assert_int_equal(follow(subject, 3, &listener), 6);
    assert_string_equal(listener.seen[0].value, "1");
    free(listener.seen);
}

/* ---- what is no longer kept ---- */

static void what_is_older_than_kept_is_gone(void **state)
{
    struct subject *subject = *state;
    struct listener listener;
    listener_init(&listener, subject);
    subject_close(subject);
    subject->options.changes_bytes_max = 4 << 20;
    subject->options.memtable_bytes = 1 << 20;
    subject_open(subject);
    AUTO_FREE unsigned char *noise = malloc(SUBJECT_VALUE_BYTES_MAX);
    struct engine_feed feed = {0};
    uint64_t writes = 0;
    while (writes < 200 && feed.oldest == 0) {
        struct bytes value = subject_noise(noise, SUBJECT_VALUE_BYTES_MAX / 2, writes);
        subject_put_bytes(subject, bytes_of("large"), value);
        writes++;
        assert_int_equal(page_of(subject, writes, &listener, &feed), STATUS_OK);
    }
    assert_in_range(feed.oldest, 1, writes - 1);
    struct engine_feed refused = {0};
    assert_int_equal(page_of(subject, 0, &listener, &refused), STATUS_GONE);
    assert_true(refused.oldest >= feed.oldest);
    assert_int_equal(listener.count, 0);
    enum status status;
    uint64_t from, after;
    do { /* a dump may let more go meanwhile */
        from = after = refused.oldest;
        listener.count = 0;
        while ((status = page_of(subject, after, &listener, &refused)) == STATUS_OK &&
               refused.after > after)
            after = refused.after;
    } while (status == STATUS_GONE);
    assert_int_equal(status, STATUS_OK);
    assert_int_equal(after, writes);
    assert_gapless(&listener, from);
    free(listener.seen);
}

static void the_feed_outlives_the_engine(void **state)
{
    struct subject *subject = *state;
    if (!subject->kind->durable)
        return;
    struct listener listener;
    listener_init(&listener, subject);
    for (int round = 0; round < 3; round++) {
        subject_put(subject, "a", "1");
        subject_put(subject, "a", "2");
        assert_int_equal(subject_delete(subject, "a"), ENGINE_DELETED);
        subject_reopen(subject);
    }
    assert_int_equal(follow(subject, 0, &listener), 9);
    assert_gapless(&listener, 0);
    for (size_t i = 0; i < listener.count; i++) {
        static const char *const values[] = {"1", "2", ""};
        assert_string_equal(listener.seen[i].value, values[i % 3]);
        assert_int_equal(listener.seen[i].type,
                         i % 3 == 2 ? ENGINE_CHANGE_DELETE : ENGINE_CHANGE_PUT);
    }
    free(listener.seen);
}

/* ---- waiting ---- */

static void what_is_published_is_not_waited_for(void **state)
{
    struct subject *subject = *state;
    struct engine_context over = {0, NULL};
    uint64_t sequence = 99;
    assert_int_equal(engine_wait(subject->engine, 0, &sequence, &over), STATUS_BUSY);
    assert_int_equal(sequence, 0);
    subject_put(subject, "a", "1");
    subject_put(subject, "a", "2");
    assert_int_equal(engine_wait(subject->engine, 0, &sequence, &over), STATUS_OK);
    assert_int_equal(sequence, 2);
    assert_int_equal(engine_wait(subject->engine, 1, &sequence, &over), STATUS_OK);
    assert_int_equal(engine_wait(subject->engine, 2, &sequence, &over), STATUS_BUSY);
    assert_int_equal(sequence, 2);
    assert_int_equal(engine_wait(subject->engine, 1000, &sequence, &over), STATUS_BUSY);
}

struct waiter {
    struct subject *subject;
    uint64_t sequence, woken_at;
    struct engine_context context;
    enum status status;
    bool too_late; /* it slept to its deadline */
};

static void *wait_long(void *context)
{
    struct waiter *waiter = context;
    waiter->status =
        engine_wait(waiter->subject->engine, waiter->sequence, &waiter->woken_at, &waiter->context);
    const struct time_source *time = &waiter->subject->clock.source;
    waiter->too_late = time->monotonic_ns(time) >= waiter->context.deadline_ns;
    return NULL;
}

/* Who cannot be cancelled sleeps to the end, unless the commit wakes him. */
static void a_commit_wakes_all_who_wait_for_it_and_no_others(void **state)
{
    struct subject *subject = *state;
    enum { EARLY = 20, LATE = 4 };
    struct waiter waiters[EARLY + LATE] = {{0}};
    struct threads early = {0}, late = {0};
    struct cancel cancel = {false};
    for (int i = 0; i < EARLY + LATE; i++) {
        waiters[i] = (struct waiter){.subject = subject, .context = subject_patience()};
        if (i >= EARLY) {
            waiters[i].sequence = 1;
            waiters[i].context = (struct engine_context){UINT64_MAX, &cancel};
        }
        threads_start(i < EARLY ? &early : &late, wait_long, &waiters[i]);
    }
    nanosleep(&(struct timespec){0, 20000000}, NULL); /* most of them sleep by then */
    subject_put(subject, "a", "1");
    threads_join(&early);
    cancel_fire(&cancel);
    threads_join(&late);
    for (int i = 0; i < EARLY + LATE; i++) {
        assert_int_equal(waiters[i].status, i < EARLY ? STATUS_OK : STATUS_CANCELLED);
        assert_int_equal(waiters[i].woken_at, 1);
        assert_false(waiters[i].too_late);
    }
}

/* ---- many at once: threads count failures, the test asserts on the sum ---- */

enum { WRITERS = 4, WATCHERS = 4, ROUNDS = 150, WRITES_EACH = ROUNDS + ROUNDS / 10 * 2 };

struct crowd {
    struct subject *subject;
    _Atomic uint64_t failures;
    uint64_t hashes[WRITERS * WRITES_EACH + 1]; /* of key and value, by sequence */
    _Atomic int writers;
};

static uint64_t write_hash(struct bytes key, struct bytes value)
{
    return hash_of(key) * 31 + hash_of(value);
}

static void *write_much(void *context)
{
    struct crowd *crowd = context;
    int self = atomic_fetch_add(&crowd->writers, 1);
    for (int i = 0; i < ROUNDS; i++) {
        char keys[3][24], value[24];
        int count = i % 10 == 9 ? 3 : 1;
        struct engine_operation batch[3];
        snprintf(value, sizeof value, "%d/%d", self, i);
        for (int k = 0; k < count; k++) {
            snprintf(keys[k], sizeof keys[k], "key%d.%d", (self + i) % 3, k);
            batch[k] = subject_put_operation(crowd->subject, bytes_of(keys[k]), bytes_of(value));
        }
        if (subject_commit(crowd->subject, batch, (uint32_t)count) != STATUS_OK)
            crowd->failures++;
        for (int k = 0; k < count; k++)
            crowd->hashes[batch[k].version.sequence] =
                write_hash(bytes_of(keys[k]), bytes_of(value));
    }
    return NULL;
}

struct watcher {
    struct crowd *crowd;
    uint64_t hashes[WRITERS * WRITES_EACH + 1];
    uint64_t last, gaps;
};

static bool watch_one(void *visitor, const struct engine_change *change)
{
    struct watcher *watcher = visitor;
    watcher->gaps += change->version.sequence != watcher->last + 1;
    watcher->last = change->version.sequence;
    if (watcher->last <= WRITERS * WRITES_EACH)
        watcher->hashes[watcher->last] = write_hash(change->key, change->value);
    return true;
}

static void *watch(void *context)
{
    struct watcher *watcher = context;
    struct engine *engine = watcher->crowd->subject->engine;
    uint64_t after = 0;
    while (after < WRITERS * WRITES_EACH) {
        struct engine_context patience = subject_patience();
        struct engine_feed feed = {after, 0};
        uint64_t published;
        if (engine_wait(engine, after, &published, &patience) != STATUS_OK ||
            engine_changes(engine, after, watch_one, watcher, &feed, &patience) != STATUS_OK ||
            feed.after <= after) {
            watcher->crowd->failures++;
            return NULL;
        }
        after = feed.after;
    }
    return NULL;
}

static void watchers_beside_writers_see_each_write_once_in_order(void **state)
{
    skip_without_feed(*state);
    AUTO_FREE struct crowd *crowd = calloc(1, sizeof *crowd);
    AUTO_FREE struct watcher *watchers = calloc(WATCHERS, sizeof *watchers);
    crowd->subject = *state;
    struct threads threads = {0};
    for (int i = 0; i < WATCHERS; i++) {
        watchers[i].crowd = crowd;
        threads_start(&threads, watch, &watchers[i]);
    }
    for (int i = 0; i < WRITERS; i++)
        threads_start(&threads, write_much, crowd);
    threads_join(&threads);
    assert_int_equal(crowd->failures, 0);
    for (int i = 0; i < WATCHERS; i++) {
        assert_int_equal(watchers[i].gaps, 0);
        assert_int_equal(watchers[i].last, WRITERS * WRITES_EACH);
        assert_memory_equal(watchers[i].hashes, crowd->hashes, sizeof crowd->hashes);
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest promises[] = {
        TEST("each write is told once, in order, as it was",
             each_write_is_told_once_in_order_as_it_was),
        TEST("an empty store has an empty feed", an_empty_store_has_an_empty_feed),
        TEST("a batch is told together, and an addition as a put",
             a_batch_is_told_together_and_an_addition_as_a_put),
        TEST("a refused commit is not told", a_refused_commit_is_not_told),
        TEST("it goes on behind any sequence", it_goes_on_behind_any_sequence),
        TEST("a visitor that has enough is told no more",
             a_visitor_that_has_enough_is_told_no_more),
        TEST("a call reads a bounded part", a_call_reads_a_bounded_part),
        TEST("a deadline and a cancel end it", a_deadline_and_a_cancel_end_it),
        TEST("a visitor may write", a_visitor_may_write),
        TEST("what is older than kept is gone", what_is_older_than_kept_is_gone),
        TEST("the feed outlives the engine", the_feed_outlives_the_engine),
        TEST("what is published is not waited for", what_is_published_is_not_waited_for),
        TEST("a commit wakes all who wait for it, and no others",
             a_commit_wakes_all_who_wait_for_it_and_no_others),
        TEST("watchers beside writers see each write once, in order",
             watchers_beside_writers_see_each_write_once_in_order),
    };
    return subject_main(argc, argv, "engine_changes", promises);
}
