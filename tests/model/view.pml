/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who keeps what alive: views pin the tables and memtables they list, scans pin views, replies pin
 * large values, and the reclaimer is woken to free the rest. A frozen memtable becomes a table, and
 * that one another table, while a page is read and a value is sent. The key is not written again.
 *
 * Claims: the asserts. -DBREAK_... plants a fault (test_model.sh has the list).
 * Bounds: -DPAGES= -DREPLIES= -DSCANNERS= -DSENDERS=
 */
#ifndef PAGES
#define PAGES 1
#endif
#ifndef REPLIES
#define REPLIES 1
#endif
#ifndef SCANNERS
#define SCANNERS 1
#endif
#ifndef SENDERS
#define SENDERS 1
#endif

/* Objects, a bit each: sources; the key's large value, in the old memtable; views. */
#define OLD_MEMTABLE 0
#define NEW_MEMTABLE 1
#define DUMPED_TABLE 2
#define COMPACTED_TABLE 3
#define SOURCES 4
#define VALUE 4
#define FIRST_VIEW 5
#define OBJECTS 10 /* five views: four changes */
#define BIT(object) (1 << (object))
#define HAS_KEY (BIT(OLD_MEMTABLE) | BIT(DUMPED_TABLE) | BIT(COMPACTED_TABLE))
#define TABLES (BIT(DUMPED_TABLE) | BIT(COMPACTED_TABLE))

short alive = BIT(OLD_MEMTABLE) | BIT(NEW_MEMTABLE) | BIT(VALUE) | BIT(FIRST_VIEW);
byte pin_count[OBJECTS];  /* pin.h: count */
short pin_retired;        /* pin.h: RETIRED */
byte view_list[OBJECTS];  /* sources, a bit each */
byte current = FIRST_VIEW, newest_view = FIRST_VIEW;
bool view_locked;         /* view_mutex */
byte place = OLD_MEMTABLE; /* the source that the key's place names */
bool table_settled;

byte inside, waited_for;  /* reclaim.c: sections, a bit for each _pid */
short retired, taken;     /* the stack */
byte wake;                /* its semaphore */

/* ---- pin.h ---- */

inline pin_take(object)
{
    assert((alive & BIT(object)) && !(pin_retired & BIT(object)));
    pin_count[object]++
}

inline source_free(object)
{
    assert((alive & BIT(object)) && place != object);
    alive = alive & ~BIT(object);
    if
    :: object == OLD_MEMTABLE -> /* memtable_close: value_retire */
        pin_retired = pin_retired | BIT(VALUE);
#ifdef BREAK_VALUE_FREED_WITH_MEMTABLE
        alive = alive & ~BIT(VALUE)
#else
        alive = (pin_count[VALUE] == 0 -> alive & ~BIT(VALUE) : alive)
#endif
    :: else
    fi
}

/* Whoever brings the word to {0, RETIRED} frees. */
#define IS_LAST(object) (pin_count[object] == 0 && (pin_retired & BIT(object)))

/* Of a source. */
inline pin_drop(object)
{
    assert(pin_count[object] > 0);
    pin_count[object]--;
    if
    :: IS_LAST(object) -> source_free(object)
    :: else
    fi
}

inline view_free(view)
{
    assert(alive & BIT(view));
    alive = alive & ~BIT(view);
    i = 0;
    do
#ifndef BREAK_VIEW_PINS_NOTHING
    :: i < SOURCES && (view_list[view] & BIT(i)) -> pin_drop(i); i++
    :: i < SOURCES && !(view_list[view] & BIT(i)) -> i++
#endif
    :: else -> break
    od;
    i = 0;
    view_list[view] = 0;
    pin_retired = pin_retired & ~BIT(view)
}

/* ---- reclaim.c ---- */

inline reclaim_leave()
{
    inside = inside & ~BIT(_pid);
    waited_for = waited_for & ~BIT(_pid)
}

/* The very step that found the stack empty wakes. */
inline reclaim_retire(object)
{
#ifdef BREAK_STACK_LOOKED_AT_BEFORE_PUSH
    was_empty = retired == 0;
#endif
    d_step {
        assert(!((retired | taken) & BIT(object)));
#ifndef BREAK_STACK_LOOKED_AT_BEFORE_PUSH
        was_empty = retired == 0;
#endif
        retired = retired | BIT(object)
    }
    d_step {
        wake = wake + was_empty; /* sem_post */
        was_empty = false
    }
}

/* ---- view.c ---- */

inline views_pin()
{
#ifdef BREAK_VIEW_PINNED_OUTSIDE_SECTION
    pinned = current;
#else
    d_step { inside = inside | BIT(_pid); pinned = current }
#endif
    d_step { pin_take(pinned); reclaim_leave() }
}

/* A list that was never current: whoever made it holds the only reference. */
inline views_pin_tables()
{
#ifdef BREAK_TABLES_PINNED_OUTSIDE_SECTION
    pinned = current;
#else
    d_step { inside = inside | BIT(_pid); pinned = current }
#endif
    d_step {
        assert(alive & BIT(pinned));
        tables = view_list[pinned] & TABLES;
        for (i : 0 .. SOURCES - 1) {
            if
            :: tables & BIT(i) -> pin_take(i)
            :: else
            fi
        }
        i = 0;
        pinned = 0;
        reclaim_leave()
    }
}

inline tables_unpin()
{
    d_step {
        for (i : 0 .. SOURCES - 1) {
            if
            :: tables & BIT(i) -> pin_drop(i)
            :: else
            fi
        }
        i = 0;
        tables = 0
    }
}

inline view_unpin()
{
#ifdef BREAK_PIN_OF_TWO_WORDS
    pin_count[pinned]--;
#endif
    d_step {
#ifndef BREAK_PIN_OF_TWO_WORDS
        assert(pin_count[pinned] > 0);
        pin_count[pinned]--;
#endif
        if
        :: IS_LAST(pinned) -> view_free(pinned)
        :: else
        fi;
        pinned = 0
    }
}

inline views_change(added, removed)
{
    atomic { /* changed(): the new view pins what it lists */
#ifndef BREAK_VIEW_CHANGED_WITHOUT_MUTEX
        !view_locked -> view_locked = true;
#endif
        old = current;
        newest_view++;
        made = newest_view;
        alive = alive | BIT(made) | (added); /* memtable_open, table_open */
        view_list[made] = (view_list[old] & ~(removed)) | (added);
        i = 0;
        do
#ifndef BREAK_VIEW_PINS_NOTHING
        :: i < SOURCES && (view_list[made] & BIT(i)) -> pin_take(i); i++
        :: i < SOURCES && !(view_list[made] & BIT(i)) -> i++
#endif
        :: else -> break
        od;
        i = 0
    }
    d_step {
        current = made;
        assert(view_list[current] & BIT(place)); /* what a place names stands in the current view */
        view_locked = false;
        made = 0
    }
    reclaim_retire(old)
}

/* ---- dump.c: the table joins the view, the place swings, the memtable leaves ---- */

proctype dump()
{
    byte i, pinned, old, made;
    bool was_empty;

    views_pin();
#ifndef BREAK_MEMTABLE_LEAVES_FIRST
    views_change(BIT(DUMPED_TABLE), 0);
#endif
    d_step { /* swing_put, settled */
        place = DUMPED_TABLE;
        table_settled = true;
#ifndef BREAK_MEMTABLE_LEAVES_FIRST
        assert(view_list[current] & BIT(place));
#endif
    }
#ifdef BREAK_MEMTABLE_LEAVES_FIRST
    views_change(0, BIT(OLD_MEMTABLE));
    views_change(BIT(DUMPED_TABLE), 0);
#else
    views_change(0, BIT(OLD_MEMTABLE)); /* let_go */
#endif
    reclaim_retire(OLD_MEMTABLE);
    view_unpin()
}

/* ---- compactor.c, compaction.c: the same with tables, of which alone it pins a list ---- */

proctype compaction()
{
    byte i, pinned, tables, old, made;
    bool was_empty;

    table_settled;
    views_pin_tables();
    views_change(BIT(COMPACTED_TABLE), 0);
    d_step { /* swing_entry */
        place = COMPACTED_TABLE;
        assert(view_list[current] & BIT(place))
    }
    views_change(0, BIT(DUMPED_TABLE)); /* store_leave_table */
    reclaim_retire(DUMPED_TABLE);
    tables_unpin()
}

/* ---- a page, as scan and snapshot read it: all sources of one view ---- */

proctype scanner()
{
    byte i, pages, pinned, sources;

    do
    :: pages < PAGES ->
        views_pin();
        pages++;
#ifdef BREAK_SOURCES_LISTED_IN_TWO_STEPS
        sources = view_list[current] & TABLES;
        sources = sources | (view_list[current] & ~TABLES);
#endif
        d_step {
#ifndef BREAK_SOURCES_LISTED_IN_TWO_STEPS
            sources = view_list[pinned];
#endif
            assert(sources & HAS_KEY); /* no key that exists throughout is missed */
            assert((sources & alive) == sources);
            sources = 0
        }
        view_unpin()
    :: else -> break
    od
}

/* ---- a reply, value.c: a large value is sent from where it lies ---- */

proctype sender()
{
    byte replies;

    do
    :: replies < REPLIES && place == OLD_MEMTABLE ->
        d_step { replies++; inside = inside | BIT(_pid) }
        if
        :: place == OLD_MEMTABLE ->
            d_step { /* value_reply, inside the section that loaded the place */
                assert(alive & BIT(OLD_MEMTABLE));
#ifndef BREAK_VALUE_SENT_UNPINNED
                pin_take(VALUE);
#endif
                reclaim_leave()
            }
            assert(alive & BIT(VALUE)); /* sending: as slow as the client is */
            d_step { /* release_pinned */
#ifndef BREAK_VALUE_SENT_UNPINNED
                pin_count[VALUE]--;
                alive = (IS_LAST(VALUE) -> alive & ~BIT(VALUE) : alive)
#else
                skip
#endif
            }
        :: else -> d_step { reclaim_leave() } /* it is in a table now: place.pml */
        fi
    :: replies == REPLIES || place != OLD_MEMTABLE -> break
    od
}

/* ---- reclaim.c: the thread ---- */

inline free_retired()
{
    taken = taken & ~BIT(object);
    if
    :: pin_count[object] == 0 && object < SOURCES -> source_free(object)
    :: pin_count[object] == 0 && object >= SOURCES -> view_free(object)
    :: else
    fi;
    object = 0
}

proctype reclaimer()
{
    byte i, object;

end:
    do
    :: atomic { wake > 0 -> wake-- } /* sem_wait */
        d_step { /* reclaim_run */
            taken = retired;
            retired = 0;
#ifndef BREAK_NO_GRACE_PERIOD
            waited_for = inside
#endif
        }
        waited_for == 0;
        do /* in which order does not matter: nor does it here, where the lowest comes first */
        :: atomic {
                taken != 0 ->
                do
                :: !(taken & BIT(object)) -> object++
                :: else -> break
                od;
                assert(!(pin_retired & BIT(object))); /* once */
                pin_retired = pin_retired | BIT(object) /* release functions: pin_retire */
#ifndef BREAK_PIN_OF_TWO_WORDS
                ; free_retired()
#endif
            }
#ifdef BREAK_PIN_OF_TWO_WORDS
            d_step { free_retired() }
#endif
        :: else -> break
        od
    od
}

/* ---- in the end: every run comes here, for none has a cycle (test_model.sh looks for one) ---- */

proctype end_of_run()
{
    byte i;

    atomic {
        timeout;
        assert(retired == 0 && taken == 0); /* the reclaimer does not sleep over what is retired */
        assert(view_list[current] == (BIT(NEW_MEMTABLE) | BIT(COMPACTED_TABLE)));
        assert(alive == (view_list[current] | BIT(current)));
#ifndef BREAK_VIEW_PINS_NOTHING
        for (i : 0 .. OBJECTS - 1) {
            assert(pin_count[i] == ((view_list[current] & BIT(i)) != 0))
        }
#endif
    }
}

init
{
    byte i;

    atomic {
        view_list[FIRST_VIEW] = BIT(OLD_MEMTABLE) | BIT(NEW_MEMTABLE);
#ifndef BREAK_VIEW_PINS_NOTHING
        pin_count[OLD_MEMTABLE] = 1;
        pin_count[NEW_MEMTABLE] = 1;
#endif
        run dump();
        run compaction();
        run reclaimer();
        do
        :: i < SCANNERS -> run scanner(); i++
        :: else -> break
        od;
        do
        :: i < SCANNERS + SENDERS -> run sender(); i++
        :: else -> break
        od;
        run end_of_run()
    }
}
