/* SPDX-License-Identifier: Apache-2.0 */
/* Listings: every key once, in order, both ways, whatever happens meanwhile. */
#include <pthread.h>

#include "../lib/subject.h"

enum { MANY = 1500, PAGE = 100 };

/* What a visit saw: "key=value " each, for short lists. */
struct seen {
    char text[4096];
    size_t used, count, most; /* most 0: all */
};

static bool see(void *visitor, struct bytes key, enum status status, struct engine_item *item)
{
    struct seen *seen = visitor;
    assert_int_equal(status, STATUS_OK);
    assert_true(item->version.sequence > 0);
    seen->used += (size_t)snprintf(seen->text + seen->used, sizeof seen->text - seen->used,
                                   "%.*s=%.*s ", (int)key.size, (const char *)key.data,
                                   item->value.data != NULL ? (int)item->value.size : 0,
                                   item->value.data != NULL ? (const char *)item->value.data : "");
    return ++seen->count != seen->most;
}

static void scan(struct subject *subject, const struct engine_range *range, struct seen *seen)
{
    struct engine_context patience = subject_patience();
    assert_int_equal(engine_scan(subject->engine, range, true, see, seen, &patience), STATUS_OK);
}

static void assert_scan(struct subject *subject, const char *from, const char *until, bool reverse,
                        const char *expected)
{
    struct seen seen = {.used = 0};
    scan(subject, &(struct engine_range){bytes_of(from), bytes_of(until), reverse}, &seen);
    assert_string_equal(seen.text, expected);
}

static void keys_come_in_the_order_of_their_bytes(void **state)
{
    struct subject *subject = *state;
    static const char *const keys[] = {"b", "a\xff", "a", "ab", "\x01", "\xc3\xa4", "B", "a/b"};
    assert_scan(subject, "", "", false, "");
    assert_scan(subject, "", "", true, "");
    for (size_t i = 0; i < COUNT_OF(keys); i++)
        subject_put(subject, keys[i], "v");
    assert_scan(subject, "", "", false, "\x01=v B=v a=v a/b=v ab=v a\xff=v b=v \xc3\xa4=v ");
    assert_scan(subject, "", "", true, "\xc3\xa4=v b=v a\xff=v ab=v a/b=v a=v B=v \x01=v ");
}

static void a_range_has_its_first_bound_and_not_its_last(void **state)
{
    struct subject *subject = *state;
    for (const char *key = "abcde"; *key != '\0'; key++)
        subject_put(subject, (char[]){*key, '\0'}, "v");
    assert_scan(subject, "b", "d", false, "b=v c=v ");
    assert_scan(subject, "b", "d", true, "c=v b=v ");
    assert_scan(subject, "c", "", false, "c=v d=v e=v ");
    assert_scan(subject, "", "c", true, "b=v a=v ");
    assert_scan(subject, "bb", "cc", false, "c=v ");
    assert_scan(subject, "bb", "cc", true, "c=v ");
    assert_scan(subject, "f", "", false, "");
    assert_scan(subject, "", "a", true, "");
    assert_scan(subject, "d", "b", false, "");
    assert_scan(subject, "d", "b", true, "");
}

static void only_what_has_a_value_is_listed_each_once(void **state)
{
    struct subject *subject = *state;
    subject_put(subject, "deleted", "x");
    subject_put(subject, "replaced", "old");
    subject_put(subject, "back", "x");
    subject_put(subject, "kept", "v");
    subject_delete(subject, "deleted");
    subject_delete(subject, "back");
    subject_put(subject, "replaced", "new");
    subject_put(subject, "back", "again");
    struct engine_operation put =
        subject_put_operation(subject, bytes_of("expires"), bytes_of("soon"));
    put.expires_ms = subject->clock.wall_ms + 100;
    assert_int_equal(subject_commit(subject, &put, 1), STATUS_OK);
    assert_scan(subject, "", "", false, "back=again expires=soon kept=v replaced=new ");
    subject->clock.wall_ms += 100;
    assert_scan(subject, "", "", false, "back=again kept=v replaced=new ");
    if (subject->kind->durable) {
        subject_reopen(subject);
        assert_scan(subject, "", "", false, "back=again kept=v replaced=new ");
    }
}

static void a_visitor_may_stop_and_write(void **state)
{
    struct subject *subject = *state;
    for (const char *key = "abcde"; *key != '\0'; key++)
        subject_put(subject, (char[]){*key, '\0'}, "v");
    struct seen seen = {.most = 2};
    scan(subject, &(struct engine_range){{NULL, 0}, {NULL, 0}, false}, &seen);
    assert_string_equal(seen.text, "a=v b=v ");
}

static bool take_over(void *visitor, struct bytes key, enum status status, struct engine_item *item)
{
    (void)key;
    (void)status;
    *(struct engine_item *)visitor = *item;
    *item = (struct engine_item){0};
    return false;
}

static void an_item_may_be_kept(void **state)
{
    struct subject *subject = *state;
    struct engine_context patience = subject_patience();
    struct engine_item item = {0};
    const struct engine_range all = {{NULL, 0}, {NULL, 0}, false};
    subject_put(subject, "k", "value");
    assert_int_equal(engine_scan(subject->engine, &all, true, take_over, &item, &patience),
                     STATUS_OK);
    subject_put(subject, "k", "other");
    assert_true(bytes_equal(item.value, bytes_of("value")));
    engine_item_done(&item);
}

static bool count_headers(void *visitor, struct bytes key, enum status status,
                          struct engine_item *item)
{
    (void)key;
    assert_int_equal(status, STATUS_OK);
    assert_null(item->value.data);
    assert_int_equal(item->value.size, 5);
    ++*(size_t *)visitor;
    return true;
}

static void without_values_their_sizes_are_told(void **state)
{
    struct subject *subject = *state;
    struct engine_context patience = subject_patience();
    const struct engine_range all = {{NULL, 0}, {NULL, 0}, false};
    size_t count = 0;
    subject_put(subject, "k", "value");
    assert_int_equal(engine_scan(subject->engine, &all, false, count_headers, &count, &patience),
                     STATUS_OK);
    assert_int_equal(count, 1);
}

static void a_deadline_and_a_cancel_end_it(void **state)
{
    struct subject *subject = *state;
    struct engine_context context = {0, NULL};
    const struct engine_range all = {{NULL, 0}, {NULL, 0}, false};
    size_t count = 0;
    subject_put(subject, "k", "value");
    assert_int_equal(engine_scan(subject->engine, &all, false, count_headers, &count, &context),
                     STATUS_BUSY);
    struct cancel cancel = {0};
    cancel_fire(&cancel);
    context = subject_patience();
    context.cancel = &cancel;
    assert_int_equal(engine_scan(subject->engine, &all, false, count_headers, &count, &context),
                     STATUS_CANCELLED);
    assert_int_equal(count, 0);
}

/* ---- many keys, in pages, while others are written ---- */

static void key_of(unsigned number, char out_key[16])
{
    snprintf(out_key, 16, "key-%06u", number * 7919 % MANY);
}

struct page {
    char last[16], first_of_next[17];
    size_t count;
    bool reverse;
};

static bool read_page(void *visitor, struct bytes key, enum status status, struct engine_item *item)
{
    struct page *page = visitor;
    assert_int_equal(status, STATUS_OK);
    assert_true(item->value.size >= 1);
    char text[16] = "";
    if (key.size != 10 || memcmp(key.data, "key-", 4) != 0)
        return true; /* written meanwhile */
    memcpy(text, key.data, key.size);
    if (page->last[0] != '\0')
        assert_true(page->reverse ? strcmp(text, page->last) < 0 : strcmp(text, page->last) > 0);
    snprintf(page->last, sizeof page->last, "%s", text);
    return ++page->count % PAGE != 0;
}

static void read_all_in_pages(struct subject *subject, bool reverse)
{
    struct page page = {.reverse = reverse};
    size_t before;
    do {
        struct engine_context patience = subject_patience();
        before = page.count;
        snprintf(page.first_of_next, sizeof page.first_of_next, "%s%s", page.last,
                 page.last[0] != '\0' && !reverse ? "\x01" : "");
        struct engine_range range = {.reverse = reverse};
        *(reverse ? &range.until : &range.from) = bytes_of(page.first_of_next);
        assert_int_equal(engine_scan(subject->engine, &range, false, read_page, &page, &patience),
                         STATUS_OK);
    } while (page.count > before);
    assert_int_equal(page.count, MANY);
}

struct disturber {
    struct subject *subject;
    atomic_bool done;
};

/* Replaces keys of the list and makes and deletes others between them. */
static void *disturb(void *context)
{
    struct disturber *disturber = context;
    for (unsigned i = 0; !atomic_load(&disturber->done); i++) {
        char key[16], other[24];
        key_of(i, key);
        snprintf(other, sizeof other, "%s+", key);
        subject_put(disturber->subject, key, "w");
        subject_put(disturber->subject, other, "w");
        if (i > 10) {
            key_of(i - 10, key);
            snprintf(other, sizeof other, "%s+", key);
            subject_delete(disturber->subject, other);
        }
    }
    return NULL;
}

static void steady_keys_are_all_listed_while_others_change(void **state)
{
    struct subject *subject = *state;
    struct disturber disturber = {.subject = subject};
    pthread_t thread;
    subject_close(subject);
    subject->options.memtable_bytes = 32 << 10; /* so that some of it is in tables, always others */
    subject_open(subject);
    for (unsigned i = 0; i < MANY; i++) {
        char key[16];
        key_of(i, key);
        subject_put(subject, key, "v");
    }
    read_all_in_pages(subject, false);
    read_all_in_pages(subject, true);
    assert_int_equal(pthread_create(&thread, NULL, disturb, &disturber), 0);
    for (int round = 0; round < 5; round++) {
        read_all_in_pages(subject, false);
        read_all_in_pages(subject, true);
    }
    atomic_store(&disturber.done, true);
    pthread_join(thread, NULL);
    if (subject->kind->durable) {
        subject_reopen(subject);
        read_all_in_pages(subject, false);
        read_all_in_pages(subject, true);
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest promises[] = {
        TEST("keys come in the order of their bytes, both ways",
             keys_come_in_the_order_of_their_bytes),
        TEST("a range has its first bound and not its last",
             a_range_has_its_first_bound_and_not_its_last),
        TEST("only what has a value is listed, each once",
             only_what_has_a_value_is_listed_each_once),
        TEST("a visitor may stop", a_visitor_may_stop_and_write),
        TEST("a visitor may keep an item", an_item_may_be_kept),
        TEST("without values their sizes are told", without_values_their_sizes_are_told),
        TEST("a deadline and a cancel end it", a_deadline_and_a_cancel_end_it),
        TEST("steady keys are all listed in pages while others change",
             steady_keys_are_all_listed_while_others_change),
    };
    return subject_main(argc, argv, "engine_scans", promises);
}
