/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One key in memory: its entry is born, its place moves from memtable to table to table, it dies and
 * is born again, while readers get it. Left out: what the disk keeps (recovery.pml), views and large
 * values (view.pml), other keys.
 *
 * One step for each look at a shared word and each change of one. Only what makes a run harder is
 * joined: a section begins with the look-up and ends with the last use, a release comes at once.
 *
 * Claims: the asserts, and the formula at the end. -DBREAK_... plants a fault (test_model.sh has the
 * list). Bounds: -DWRITES= -DREADERS= -DGETS= -DMEMTABLES= -DCOMPACTIONS=
 */
#ifndef WRITES
#define WRITES 3
#endif
#ifndef READERS
#define READERS 1
#endif
#ifndef GETS
#define GETS 1 /* of each reader */
#endif
#ifndef MEMTABLES
#define MEMTABLES 2
#endif
#ifndef COMPACTIONS
#define COMPACTIONS 1
#endif

/* Memory comes back: a freed entry, memtable, table or slot is the next one's. */
#define ENTRIES 2
#define RECORDS 2                     /* of the key, in one memtable */
#define TABLES (WRITES + COMPACTIONS) /* enough for all at once */
#define NONE 31

/* ---- entry.h: a place names a record or a slot ---- */

#define PLACE_OF_RECORD(memtable, i) ((memtable) * RECORDS + (i))
#define PLACE_OF_SLOT(slot) (MEMTABLES * RECORDS + (slot))
#define IS_RECORD(place) ((place) < MEMTABLES * RECORDS)
#define MEMTABLE_OF(place) ((place) / RECORDS)
#define SLOT_OF(place) ((place) - MEMTABLES * RECORDS)

bool is_put[WRITES + 1]; /* by sequence; 0: before the first write */

bool entry_used[ENTRIES]; /* taken from the pool and not given back */
byte entry_place[ENTRIES];
byte key_entry = NONE; /* keymap.c: what a look-up of the key finds */
bool shard_locked;

bool memtable_used[MEMTABLES];
byte memtable_count[MEMTABLES];
byte record_sequence[MEMTABLES * RECORDS];
chan frozen = [MEMTABLES] of { byte }; /* of the current view, oldest first */

bool table_used[TABLES];     /* open, and mapped */
bool table_listed[TABLES];   /* in the current view */
bool table_settled[TABLES];
byte table_sequence[TABLES]; /* of its one record */
byte table_slot[TABLES];
byte table_live[TABLES];
byte table_pins[TABLES];     /* pin.h: count */
bool table_retired[TABLES];  /* pin.h: RETIRED */
byte slot_table[TABLES];

/* What only the claims look at. */
byte applied;   /* the newest version that a reader may see */
byte published; /* the newest one whose writer has its answer */
bool getting;   /* the first reader is inside a get */

/* ---- reclaim.c: sections and retired objects, a bit each ---- */

#define LEADER READERS
#define DUMP (READERS + 1)
#define COMPACTION (READERS + 2)
#define ENTRY_BIT(entry) (1 << (entry))
#define MEMTABLE_BIT(memtable) (1 << (ENTRIES + (memtable)))
#define TABLE_BIT(table) (1 << (ENTRIES + MEMTABLES + (table)))

byte inside;     /* threads in a section */
byte waited_for; /* those that the reclaimer waits for */
int retired;     /* the stack; the order in which it is emptied does not matter here */
int taken;       /* by the reclaimer */

inline reclaim_enter(me)
{
    inside = inside | (1 << me)
}

inline reclaim_leave(me)
{
    inside = inside & ~(1 << me);
    waited_for = waited_for & ~(1 << me)
}

inline reclaim_retire(object)
{
    assert(!((retired | taken) & object));
    retired = retired | object
}

/* ---- freeing: a place that can be found never names what is freed ---- */

#define FOUND_PLACE entry_place[key_entry]

inline entry_pool_give(entry_)
{
    assert(key_entry != entry_);
    entry_used[entry_] = false
}

inline memtable_close(memtable_)
{
    assert(key_entry == NONE || !IS_RECORD(FOUND_PLACE) || MEMTABLE_OF(FOUND_PLACE) != memtable_);
    memtable_used[memtable_] = false;
    memtable_count[memtable_] = 0
}

inline slots_leave(slot_)
{
    assert(key_entry == NONE || IS_RECORD(FOUND_PLACE) || SLOT_OF(FOUND_PLACE) != slot_);
    slot_table[slot_] = NONE
}

inline table_close(table_)
{
    assert(table_used[table_] && table_pins[table_] == 0);
    table_used[table_] = false;
    table_retired[table_] = false
}

/* pin_retire; whoever brings the word to {0, RETIRED} frees. */
inline retire_pin(table_)
{
    assert(!table_retired[table_]);
    table_retired[table_] = true;
    if
#ifdef BREAK_RETIRING_FREES_PINNED
    :: true -> table_close(table_)
#else
    :: table_pins[table_] == 0 -> table_close(table_)
    :: else
#endif
    fi
}

inline pin_take(table_)
{
    assert(table_ != NONE && table_used[table_] && !table_retired[table_]);
#ifdef BREAK_PIN_IS_A_FLAG
    table_pins[table_] = 1
#else
    table_pins[table_]++
#endif
}

/* pin_drop; the same. */
inline unpin(table_)
{
    assert(table_pins[table_] > 0);
    table_pins[table_]--;
    if
#ifndef BREAK_DROPPING_FREES_NEVER
    :: table_pins[table_] == 0 && table_retired[table_] -> table_close(table_)
#endif
    :: else
    fi
}

/* ---- keymap.c, entry.h: one mutex for the writers of a shard; a look-up takes none ---- */

inline load_place(entry_, out_place)
{
    assert(entry_used[entry_]);
    out_place = entry_place[entry_]
}

inline entry_swing(entry_, from_, to_, out_swung)
{
    assert(entry_used[entry_]);
    out_swung = entry_place[entry_] == from_;
    if
    :: out_swung -> entry_place[entry_] = to_
    :: else
    fi
}

/* ---- store.c: store_get ---- */

inline end_get()
{
    assert(sequence >= floor); /* no lost update: not older than what was published before the get */
    seen = sequence;
    getting = getting && _pid != 0;
    entry = NONE; floor = 0; sequence = 0; place = 0; table = 0
}

active [READERS] proctype reader()
{
    byte gets, seen, floor, sequence, entry = NONE, place, table;

    do
    :: gets < GETS ->
#ifdef BREAK_READER_LOCKS
        getting = getting || _pid == 0;
        atomic { !shard_locked -> shard_locked = true }
        shard_locked = false;
#endif
#ifdef BREAK_READER_TRIES_AGAIN
        do
        :: shard_locked
        :: !shard_locked -> break
        od;
        skip;
#endif
#ifdef BREAK_SECTION_UNFENCED
        entry = key_entry; /* the load overtakes the store that begins the section */
#endif
        d_step {
            gets++;
            getting = getting || _pid == 0;
            floor = (published > seen -> published : seen);
#ifndef BREAK_NO_SECTION
            reclaim_enter(_pid);
#endif
#ifndef BREAK_SECTION_UNFENCED
            entry = key_entry; /* keymap_find */
#endif
            if
            :: entry == NONE ->
                assert(!is_put[applied]);
                sequence = applied;
                reclaim_leave(_pid);
                end_get()
            :: else
            fi
        }
        if
        :: entry == NONE
        :: entry != NONE ->
            d_step { load_place(entry, place) }
            if
            :: IS_RECORD(place) -> /* value_reply: copied inside the section */
                d_step {
                    assert(memtable_used[MEMTABLE_OF(place)]);
                    sequence = record_sequence[place];
                    reclaim_leave(_pid);
                    end_get()
                }
            :: else ->
                table = slot_table[SLOT_OF(place)]; /* slots_table */
#ifdef BREAK_PIN_AFTER_SECTION
                d_step { reclaim_leave(_pid) }
#endif
                d_step {
                    pin_take(table);
                    reclaim_leave(_pid)
                }
#ifdef BREAK_UNPIN_EARLY
                d_step { unpin(table) }
#endif
                d_step { /* copy_from_table: outside of the section, at the last moment */
                    assert(table_used[table]);
                    sequence = table_sequence[table];
#ifndef BREAK_UNPIN_EARLY
                    unpin(table);
#endif
                    end_get()
                }
            fi
        fi
    :: else -> break
    od;
    atomic { gets = 0; seen = 0 }
}

/* ---- commit.c, group.c: the leader, with groups of one write ---- */

/* The lowest that is free: one is. */
#define TAKE(used, out) \
    out = 0; \
    do \
    :: used[out] -> out++ \
    :: else -> break \
    od; \
    used[out] = true

/* store_freeze. It may block: writers wait for room before they queue. */
inline freeze()
{
    atomic {
        !memtable_used[0] || !memtable_used[1] || !memtable_used[MEMTABLES - 1] ->
        TAKE(memtable_used, next);
        frozen ! memtable;
        memtable = next;
        next = 0
    }
}

active proctype leader()
{
    byte sequence, memtable, next, entry, spare, place, before, table;

    d_step {
        memtable_used[0] = true;
        for (table : 0 .. TABLES - 1) { slot_table[table] = NONE }
        table = 0
    }
    do
    :: sequence < WRITES ->
        if
        :: memtable_count[memtable] > 0 -> freeze()
        :: memtable_count[memtable] < RECORDS
        fi;
        atomic { /* judge, make_room: a put of an absent key has brought a spare entry */
            sequence++;
            spare = NONE;
            entry = key_entry;
            if
            :: is_put[sequence] = true;
               if
               :: !is_put[applied] -> !entry_used[0] || !entry_used[1]; TAKE(entry_used, spare)
               :: else
               fi
            :: is_put[applied] /* a delete; of an absent key it writes nothing */
            fi
        }

        /* write_group: journal_write, journal_sync. What was found before it is not kept. */

        atomic { /* store_apply: memtable_list; keymap_put */
            !shard_locked -> shard_locked = true;
            reclaim_enter(LEADER);
            place = PLACE_OF_RECORD(memtable, memtable_count[memtable]);
            record_sequence[place] = sequence;
            memtable_count[memtable]++;
#ifdef BREAK_ENTRY_KEPT_OVER_SYNC
            entry = (entry != NONE -> entry : key_entry)
#else
            entry = key_entry
#endif
        }
        d_step {
            if
            :: entry != NONE -> before = entry_place[entry]
            :: else ->
                assert(spare != NONE);
                entry = spare;
                key_entry = spare;
                before = NONE
            fi;
            entry_place[entry] = place;
            applied = sequence;
            shard_locked = false
        }
        if /* displace */
        :: before == NONE || IS_RECORD(before) ->
            d_step {
                assert(before == NONE || memtable_used[MEMTABLE_OF(before)]);
                reclaim_leave(LEADER)
            }
        :: else ->
            table = slot_table[SLOT_OF(before)];
            d_step { /* store_table_dead */
                assert(table != NONE && table_used[table] && table_live[table] > 0);
                table_live[table]--;
                reclaim_leave(LEADER)
            }
        fi;
        d_step { /* store_publish, and the answer */
            assert(entry_used[entry]); /* its record_bytes and flags are written outside of the section */
            if
            :: spare != NONE && spare != entry -> entry_pool_give(spare)
            :: else
            fi;
            published = sequence;
            entry = 0; spare = 0; place = 0; before = 0; table = 0
        }
    :: else -> break
    od;
    if /* the last versions may go through dump and compaction, or stay */
    :: memtable_count[memtable] > 0 -> freeze()
    :: true
    fi
}

/* ---- store.c: tables come and go ---- */

/* store_join_table, of a table that holds one version, live until a swing fails */
inline join_table(sequence_, out_table, out_slot)
{
    atomic {
        TAKE(table_used, out_table);
        out_slot = 0;
        do
        :: slot_table[out_slot] != NONE -> out_slot++
        :: else -> break
        od;
        slot_table[out_slot] = out_table;
        table_listed[out_table] = true;
        table_settled[out_table] = false;
        table_sequence[out_table] = sequence_;
        table_slot[out_table] = out_slot;
        table_live[out_table] = 1
    }
}

/* store_leave_table; release_table follows after the grace period. */
inline leave_table(table_)
{
    table_listed[table_] = false;
#ifdef BREAK_SLOT_GIVEN_BACK_EARLY
    slots_leave(table_slot[table_]);
#endif
    reclaim_retire(TABLE_BIT(table_))
}

/* The last swing is done: `settled`. A swing that failed found a newer version. */
inline settle_table(table_, swung_)
{
    if
    :: !swung_ ->
        assert(table_live[table_] > 0);
        table_live[table_]--
    :: else
    fi;
    table_settled[table_] = true
}

/* ---- dump.c ---- */

inline let_go_of_memtable()
{
    frozen ? eval(memtable);
#ifndef BREAK_MEMTABLE_NEVER_RETIRED
    reclaim_retire(MEMTABLE_BIT(memtable))
#endif
}

active proctype dump()
{
    byte memtable, entry, place, from, table, slot;
    bool swung;

end:
    do
    :: atomic { /* views_pin: its records stay where they are until let_go_of_memtable() */
            frozen ? <memtable> ->
            from = NONE;
            reclaim_enter(DUMP); /* is_newest; of more records only the last one can be */
            entry = key_entry
        }
        d_step {
            if
            :: entry != NONE ->
                load_place(entry, place);
                from = (IS_RECORD(place) && MEMTABLE_OF(place) == memtable -> place : NONE)
            :: else
            fi;
            reclaim_leave(DUMP)
        }
#ifdef BREAK_MEMTABLE_LET_GO_BEFORE_SWING
        d_step { let_go_of_memtable() }
#endif
        if
        :: from == NONE
        :: from != NONE && is_put[record_sequence[from]] ->
            join_table(record_sequence[from], table, slot); /* make_table; then the edit */
            d_step { /* swing_put */
                reclaim_enter(DUMP);
                entry = key_entry;
                swung = false
            }
            if
            :: entry == NONE
#ifdef BREAK_SWING_BY_STORE
            :: entry != NONE -> swung = entry_place[entry] == from;
               if
               :: swung -> entry_place[entry] = PLACE_OF_SLOT(slot)
               :: else
               fi
#else
            :: entry != NONE -> d_step { entry_swing(entry, from, PLACE_OF_SLOT(slot), swung) }
#endif
            fi;
            d_step {
                reclaim_leave(DUMP);
                settle_table(table, swung)
            }
        :: from != NONE && !is_put[record_sequence[from]] -> /* bury: keymap_remove, retire_dead */
#ifdef BREAK_BURY_WITHOUT_LOCK
            entry = key_entry;
#else
            atomic { !shard_locked -> shard_locked = true; entry = key_entry }
#endif
            if
            :: entry != NONE -> d_step { load_place(entry, place) }
            :: else -> place = NONE
            fi;
            d_step {
                if
#ifdef BREAK_BURY_WITHOUT_LOOKING
                :: entry != NONE ->
#else
                :: place == from ->
#endif
                    key_entry = NONE;
#ifdef BREAK_DEAD_ENTRY_FREED_AT_ONCE
                    entry_pool_give(entry)
#else
                    reclaim_retire(ENTRY_BIT(entry))
#endif
                :: else
                fi;
#ifndef BREAK_BURY_WITHOUT_LOCK
                shard_locked = false
#endif
            }
        fi;
        d_step { /* let_go */
#ifndef BREAK_MEMTABLE_LET_GO_BEFORE_SWING
            let_go_of_memtable();
#endif
            memtable = 0; entry = 0; place = 0; from = 0; table = 0; slot = 0; swung = false
        }
    od
}

/* ---- compaction.c ---- */

#ifdef BREAK_VICTIM_UNSETTLED
#define MAY_BE_VICTIM(table) table_listed[table]
#else
#define MAY_BE_VICTIM(table) (table_listed[table] && table_settled[table])
#endif
#define IS_VICTIM(table) (victims & (1 << (table)))
#define IS_VICTIM_PLACE(place) (!IS_RECORD(place) && IS_VICTIM(slot_table[SLOT_OF(place)]))
#define COPIED_OF(table) (live && (table) == newest -> 1 : 0)

/* victims_pick: any of the settled tables. merge_next: the newest version in them. */
inline pick_victims()
{
    victims = 0;
    newest = NONE;
    i = 0;
    do
    :: i < TABLES && MAY_BE_VICTIM(i) ->
        victims = victims | (1 << i);
        newest = (newest == NONE || table_sequence[i] > table_sequence[newest % TABLES] -> i : newest);
        i++
    :: i < TABLES -> i++
    :: i == TABLES -> break
    od;
    i = 0
}

/* Each victim had at least as many copied as places name in it: else the run is given up and the
 * victim shut out for good, which must not happen. The count lags behind the writer that displaced;
 * who finds it too high counts again by looking (recount_live). */
inline check_copied()
{
    i = 0;
    do
    :: i < TABLES && IS_VICTIM(i) && COPIED_OF(i) < table_live[i] ->
#ifdef BREAK_LIVE_COUNT_BELIEVED
        assert(COPIED_OF(i) >= table_live[i]);
#else
        d_step { reclaim_enter(COMPACTION); entry = key_entry; place = NONE }
        d_step {
            if
            :: entry != NONE -> load_place(entry, place)
            :: else
            fi;
            assert(place != PLACE_OF_SLOT(table_slot[i]) || COPIED_OF(i) > 0);
            reclaim_leave(COMPACTION)
        }
#endif
        i++
    :: i < TABLES && !(IS_VICTIM(i) && COPIED_OF(i) < table_live[i]) -> i++
    :: i == TABLES -> break
    od
}

inline let_go_of_victims()
{
    for (i : 0 .. TABLES - 1) {
        if
        :: IS_VICTIM(i) -> leave_table(i)
        :: else
        fi
    }
    i = 0
}

active proctype compaction()
{
    byte runs, i, victims, newest, entry, place, table, slot;
    bool live, swung;

end:
    do
    :: runs < COMPACTIONS ->
        atomic { runs++; pick_victims() }
        if
        :: !victims -> goto end
        :: else
        fi;
        d_step { /* is_live */
            reclaim_enter(COMPACTION);
            entry = key_entry
        }
        d_step {
            if
            :: entry != NONE ->
                load_place(entry, place);
                live = place == PLACE_OF_SLOT(table_slot[newest])
            :: else
            fi;
            reclaim_leave(COMPACTION)
        }
        check_copied();
#ifdef BREAK_VICTIMS_LET_GO_BEFORE_SWING
        atomic { let_go_of_victims() }
#endif
        if
        :: live ->
            join_table(table_sequence[newest], table, slot); /* open_outputs; then the edit */
            d_step { /* swing_entry: looked up again */
                reclaim_enter(COMPACTION);
#ifndef BREAK_COMPACTION_KEEPS_ENTRY
                entry = key_entry
#endif
            }
            if
            :: entry != NONE ->
                d_step { load_place(entry, place) }
                if
                :: IS_VICTIM_PLACE(place) ->
#ifdef BREAK_COMPACTION_SWINGS_BY_STORE
                    entry_place[entry] = PLACE_OF_SLOT(slot);
                    swung = true
#else
                    d_step { entry_swing(entry, place, PLACE_OF_SLOT(slot), swung) }
#endif
                :: else
                fi
            :: else
            fi;
            d_step {
                reclaim_leave(COMPACTION);
                settle_table(table, swung)
            }
        :: else
        fi;
        d_step {
#ifndef BREAK_VICTIMS_LET_GO_BEFORE_SWING
            let_go_of_victims();
#endif
            victims = 0; newest = 0; entry = 0; place = 0; table = 0; slot = 0; live = false; swung = false
        }
    :: else -> break
    od
}

/* ---- reclaim.c: reclaim_run ---- */

active proctype reclaimer()
{
    byte i;

end:
    do
    :: atomic {
            retired != 0 -> taken = retired; retired = 0;
#ifndef BREAK_NO_GRACE_PERIOD
            waited_for = inside /* ck_epoch_synchronize: sections that begin later are not waited for */
#endif
        }
        atomic {
            waited_for == 0 ->
            for (i : 0 .. ENTRIES - 1) { /* release_dead */
                if
                :: taken & ENTRY_BIT(i) -> entry_pool_give(i)
                :: else
                fi
            }
            for (i : 0 .. MEMTABLES - 1) {
                if
                :: taken & MEMTABLE_BIT(i) -> memtable_close(i)
                :: else
                fi
            }
            for (i : 0 .. TABLES - 1) { /* release_table */
                if
                :: taken & TABLE_BIT(i) ->
#ifndef BREAK_SLOT_GIVEN_BACK_EARLY
                    slots_leave(table_slot[i]);
#endif
                    retire_pin(i)
                :: else
                fi
            }
            i = 0;
            taken = 0
        }
    od
}

/* ---- in the end ---- */

#define FOUND_SEQUENCE (IS_RECORD(FOUND_PLACE) -> record_sequence[FOUND_PLACE] : table_sequence[slot_table[SLOT_OF(FOUND_PLACE)]])

/* Every run comes here, for none has a cycle (test_model.sh looks for one): all that is retired is
 * freed, and every get ends. */
active proctype end_of_run()
{
    byte i, used;

    atomic {
        timeout; /* nobody can take a step any more */
        assert(len(frozen) == 0);
        /* what was retired is freed, and nothing else is */
        for (i : 0 .. ENTRIES - 1) {
            assert(entry_used[i] == (key_entry == i))
        }
        for (i : 0 .. MEMTABLES - 1) {
            used = used + memtable_used[i]
        }
        assert(used == 1);
        for (i : 0 .. TABLES - 1) {
            assert(table_used[i] == table_listed[i]);
            assert(slot_table[i] == NONE || (table_used[slot_table[i]] && table_slot[slot_table[i]] == i));
            assert(!table_used[i] || table_live[i] == (key_entry != NONE && FOUND_PLACE == PLACE_OF_SLOT(table_slot[i])))
        }
        if /* the last write stands */
        :: key_entry == NONE -> assert(!is_put[WRITES])
        :: else -> assert(FOUND_SEQUENCE == WRITES)
        fi;
    }
}

#ifdef CLAIM_NO_READER_WAITS
/* Whoever else stands still, and wherever: a reader inside a get can take its next step. */
ltl no_reader_waits { [] (getting -> enabled(0)) }
#endif
