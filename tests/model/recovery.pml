/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a start finds after a power cut at any moment: the journal's frames, the tables and the
 * manifest. One key; a sequence is a put of it, a delete of it, or a write of some other key. Left
 * out: readers, entries, grace periods (place.pml); bytes, names and checksums (the crash tests).
 *
 * Claims: the asserts of replay(), which is tried in every state. -DLAZY: interval mode.
 * -DSEALS=: how many fdatasyncs fail. -DBREAK_... plants a fault (test_model.sh has the list).
 * Bounds: -DWRITES= -DCOMPACTIONS= -DRESTARTS=
 */
#ifndef WRITES
#define WRITES 3
#endif
#ifndef COMPACTIONS
#define COMPACTIONS 2
#endif
#ifndef RESTARTS
#define RESTARTS 0
#endif
#ifndef SEALS
#define SEALS 0
#endif

#define TABLES 7 /* enough for all at once */
#define NONE 7
#define BIT(table) (1 << (table))
#define MAX(a, b) ((a) > (b) -> (a) : (b))

#define OTHER 0 /* not a write of the key */
#define PUT 1
#define DELETE 2
byte kind[WRITES + 1]; /* by sequence; 0: before the first write */

/* ---- the disk ---- */

byte written;                            /* the journal's last frame */
byte durable;                            /* the last one that no power cut takes */
byte released;                           /* frames up to it are gone: their segments are used again */
byte table_sequence[TABLES];             /* of the key's one record */
byte listed;                             /* MANIFEST: tables, a bit each */
byte flushed_sequence, durable_sequence; /* MANIFEST */

/* ---- memory ---- */

byte place_sequence;           /* the newest version; 0: no entry */
byte place_table = NONE;       /* NONE: it is in a memtable */
chan frozen = [2] of { byte }; /* memtables: their last sequences, oldest first */
byte frozen_sequence;          /* the last one that is not the active memtable's */
byte view, settled;            /* tables, a bit each */
byte pinned;                   /* tables in compaction's view */
byte applied;                  /* store_sequence */
byte synced;                   /* journal_durable_sequence */
bool sync_failed;              /* segment.c: of the active segment */
bool sealed, given_up;
bool dumping;                  /* dump->mutex */

byte seals;
byte restarts;

/* A process loses what it was about, and begins anew, when the power is cut. */
#define LIFE begin: {
#define UNTIL_RESTART(forget) \
    } unless { \
        atomic { life != restarts -> life = restarts; forget; goto begin } \
    }

/* ---- journal.c, segment.c ---- */

/* A failed fdatasync leaves clean pages: tried again it succeeds, and nothing becomes durable. */
inline journal_sync()
{
#ifndef BREAK_END_READ_AFTER_SYNC
    to = written;
#endif
    atomic { /* segment_sync: under the segment's mutex */
        if
#ifdef BREAK_SYNC_TRIED_AGAIN
        :: sync_failed -> ok = true; synced = MAX(synced, to)
#else
        :: sync_failed -> ok = false
#endif
        :: !sync_failed -> ok = true; durable = written; synced = MAX(synced, to)
        :: !sync_failed && seals < SEALS -> ok = false; seals++; sync_failed = true
        fi;
        to = 0
    }
#ifdef BREAK_END_READ_AFTER_SYNC
    synced = (ok -> written : synced);
#endif
    if
    :: !ok -> sealed = true
    :: else
    fi
}

/* ---- dump.c ---- */

inline new_table(sequence_, out_table)
{
    out_table = 0;
    do
    :: (view | listed | pinned) & BIT(out_table) -> out_table++
    :: else -> break
    od;
    assert(out_table < TABLES);
    table_sequence[out_table] = sequence_;
    view = view | BIT(out_table)
}

/* What a version was left out for is durable, or everything is dumped. */
inline settle(everything)
{
    ok = true;
#if defined(LAZY) && !defined(BREAK_DUMP_UNSYNCED)
    if
    :: everything
#ifdef BREAK_DUMP_COUNTS_ON_SEALED
    :: !everything && sealed
#else
    :: !everything && sealed -> ok = false
#endif
    :: !everything && !sealed -> journal_sync()
    fi
#endif
}

/* write_and_swing of the memtables with the sequences after `before` up to `last`. `everything`: no
 * memtable is left out, and the journal goes on in a segment that ends the old one's frames. */
inline write_and_swing(before, last, everything)
{
    d_step { /* decide */
        from = (place_table == NONE && place_sequence > before && place_sequence <= last -> place_sequence : 0);
#ifdef BREAK_TOMBSTONE_NOT_DUMPED
        from = (kind[from] == PUT -> from : 0);
#endif
        table = NONE;
        if /* make_table */
        :: from != 0 -> new_table(from, table)
        :: else
        fi
    }
#ifdef BREAK_JOURNAL_RELEASED_EARLY
    released = last;
#endif
    settle(everything);
    if
    :: ok = false /* no space, an error */
    :: ok -> d_step { /* edit */
            listed = listed | (table != NONE -> BIT(table) : 0);
#ifdef BREAK_FLUSHED_BEYOND_MEMTABLE
            flushed_sequence = MAX(flushed_sequence, applied);
#else
            flushed_sequence = MAX(flushed_sequence, last);
#endif
            durable_sequence = MAX(durable_sequence, MAX(synced, flushed_sequence));
            if
            :: everything -> written = last; durable = last
            :: else
            fi
        }
        d_step { /* journal_release; swing_put, bury; settled */
            released = last;
            if
            :: from != 0 && place_sequence == from && place_table == NONE ->
                if
                :: kind[from] == PUT -> place_table = table
                :: else -> place_sequence = 0
                fi
            :: else
            fi;
            settled = settled | (table != NONE -> BIT(table) : 0)
        }
    fi;
    d_step {
        if /* give_up_table */
        :: !ok && table != NONE -> view = view & ~BIT(table)
        :: else
        fi;
        from = 0;
        table = NONE
    }
}

active proctype dump()
{
    byte life, before, last, from, table = NONE, to;
    bool ok;

    LIFE
        do
        :: atomic {
                !dumping && len(frozen) > 0 -> dumping = true;
#ifdef BREAK_NEWEST_DUMPED_FIRST
                if
                :: len(frozen) > 1 -> frozen ? before; frozen ! before
                :: else
                fi;
#endif
                frozen ? <last>
            }
            if
            :: last > flushed_sequence -> write_and_swing(before, last, false)
            :: else -> ok = true /* only to be let go of */
            fi;
            atomic { /* let_go; without memory, the next time */
                if
                :: ok -> frozen ? _
                :: true
                fi;
                dumping = false;
                before = 0; last = 0; ok = false
            }
        od
    UNTIL_RESTART(before = 0; last = 0; from = 0; table = NONE; to = 0; ok = false)
}

/* ---- maintenance.c: maintenance_unseal, in the leader's place ---- */

inline unseal()
{
    atomic {
        !dumping -> dumping = true;
        last = applied;
#ifdef BREAK_SEALED_DUMPS_ONE
        if
        :: len(frozen) > 0 -> frozen ? <last>
        :: else
        fi
#endif
    }
    write_and_swing(0, last, true); /* dump_all */
    d_step {
        dumping = false;
        if
        :: ok -> /* let_go; journal_unseal */
            do
            :: len(frozen) > 0 -> frozen ? _
            :: else -> break
            od;
            frozen_sequence = applied;
            synced = applied;
            sync_failed = false;
            sealed = false
        :: else -> given_up = true
        fi;
        last = 0; ok = false
    }
}

/* ---- commit.c, group.c: the leader, with groups of one write ---- */

inline apply()
{
    d_step {
        if
        :: kind[sequence] != OTHER -> place_sequence = sequence; place_table = NONE
        :: else
        fi;
        applied = sequence
    }
}

active proctype leader()
{
    byte life, sequence, last, from, table = NONE, to;
    bool ok;

    LIFE
        do
        :: !given_up && !sealed && applied < WRITES ->
            atomic {
                if /* store_freeze_if_full */
                :: applied > frozen_sequence && nfull(frozen) -> frozen_sequence = applied; frozen ! applied
                :: true
                fi;
                sequence = applied + 1; /* judge: a delete of an absent key writes nothing */
                if
                :: kind[sequence] = OTHER
                :: kind[sequence] = PUT
                :: place_sequence != 0 && kind[place_sequence] == PUT -> kind[sequence] = DELETE
                fi;
                written = sequence /* journal_write */
            }
#ifdef BREAK_APPLIED_BEFORE_SYNC
            apply();
#endif
#ifdef LAZY
            ok = true;
#else
            journal_sync();
#endif
            if
            :: ok -> apply()
            :: else
            fi;
            d_step { ok = false; sequence = 0 }
        :: sealed && !given_up -> unseal()
        od
    UNTIL_RESTART(sequence = 0; last = 0; from = 0; table = NONE; to = 0; ok = false)
}

#ifdef LAZY
active proctype housekeeping()
{
    byte life, to;
    bool ok;

    LIFE
        do
        :: synced < written && !sealed -> journal_sync(); ok = false
        od
    UNTIL_RESTART(to = 0; ok = false)
}
#endif

/* ---- compaction.c ---- */

#define HIDES(table) ((pinned & ~victims & BIT(table)) && table_sequence[table] < table_sequence[newest])

active proctype compaction()
{
    byte life, runs, i, victims, newest, table = NONE, to;
    bool kept, ok;

    LIFE
        do
        :: runs < COMPACTIONS && settled -> atomic {
                runs++;
                victims = 0;
                newest = NONE;
                pinned = view;
                i = 0;
                do /* victims_pick: any; merge_next: the newest version of the key */
                :: i < TABLES && (settled & BIT(i)) ->
                    victims = victims | BIT(i);
                    newest = (newest == NONE || table_sequence[i] > table_sequence[newest % TABLES] -> i : newest);
                    i++
                :: i < TABLES -> i++
                :: i == TABLES -> break
                od;
                kept = false;
                if
                :: newest == NONE
                :: newest != NONE && kind[table_sequence[newest % TABLES]] == PUT -> kept = place_table == newest /* is_live */
                :: newest != NONE && kind[table_sequence[newest % TABLES]] == DELETE -> /* hides_something */
#ifndef BREAK_TOMBSTONES_ALWAYS_DROPPED
                    for (i : 0 .. TABLES - 1) {
                        kept = kept || HIDES(i)
                    }
#endif
                fi;
                i = 0
            }
            if
            :: kept -> d_step { new_table(table_sequence[newest], table) } /* copy_record, open_outputs */
            :: else
            fi;
            ok = true;
#if defined(LAZY) && !defined(BREAK_COMPACTION_UNSYNCED)
            journal_sync();
#endif
            if
            :: ok = false /* given up */
            :: ok ->
#ifdef BREAK_VICTIMS_UNLISTED_FIRST
                listed = listed & ~victims;
#endif
                d_step { /* edit */
                    listed = (listed & ~victims) | (table != NONE -> BIT(table) : 0);
                    durable_sequence = MAX(durable_sequence, synced)
                }
                d_step { /* swing_entry */
                    if
                    :: table != NONE && place_table != NONE && (victims & BIT(place_table)) -> place_table = table
                    :: else
                    fi;
                    settled = (settled & ~victims) | (table != NONE -> BIT(table) : 0)
                }
            fi;
            d_step { /* let_go_of_victims, give_up_outputs */
                if
                :: ok ->
                    assert(place_table == NONE || !(victims & BIT(place_table)));
                    view = view & ~victims
                :: !ok && table != NONE -> view = view & ~BIT(table)
                :: else
                fi;
                pinned = 0; victims = 0; newest = 0; table = NONE; kept = false; ok = false
            }
        od
    UNTIL_RESTART(victims = 0; newest = 0; table = NONE; to = 0; kept = false; ok = false)
}

/* ---- recovery.c ---- */

inline replay()
{
    last = durable; /* the frames that the power cut left; in a torn one they end */
    do
    :: last < written -> last++
    :: break
    od;
    latest = MAX(last, flushed_sequence);
    assert(released <= flushed_sequence); /* no frame that is needed is gone */
    assert(durable_sequence <= latest);   /* what the manifest calls durable is there: the store opens */
    assert(synced <= latest);             /* so is what the journal believed to be durable */
#ifndef LAZY
    assert(applied <= latest);            /* and all that readers saw and writers were answered for */
#endif
    for (i : 0 .. TABLES - 1) { /* load_tables: of the listed tables' versions the newest */
        found = ((listed & BIT(i)) -> MAX(found, table_sequence[i]) : found)
    }
    for (i : 0 .. latest) { /* replay_all */
        found = (i > flushed_sequence && kind[i] != OTHER -> i : found);
        wanted = (kind[i] != OTHER -> i : wanted)
    }
    /* The key is as its last write left it: none is lost, no older version, and no deleted one, comes back. */
    if
    :: kind[wanted] == PUT -> assert(found == wanted)
    :: else -> assert(kind[found] != PUT)
    fi
}

/* What was replayed goes into a memtable; frames not known to be durable are written and synced
 * anew, in a fresh segment; a new manifest; strays go. */
inline serve()
{
    view = listed;
    settled = listed;
    pinned = 0;
    place_sequence = (kind[found] == PUT || found > flushed_sequence -> found : 0);
    place_table = NONE;
    for (i : 0 .. TABLES - 1) {
        place_table = (kind[found] == PUT && (listed & BIT(i)) && table_sequence[i] == found -> i : place_table)
    }
    for (i : latest + 1 .. WRITES) { /* sequences that were lost are given out anew */
        kind[i] = OTHER
    }
    frozen_sequence = flushed_sequence;
    written = latest; applied = latest;
#ifndef BREAK_REPLAYED_NOT_SYNCED
    durable = latest; synced = latest;
#endif
    sync_failed = false; sealed = false; given_up = false; dumping = false;
    do
    :: len(frozen) > 0 -> frozen ? _
    :: else -> break
    od
}

active proctype power()
{
    byte i, last, latest, wanted, found;

    do
    :: atomic { /* a start would go well here; which changes nothing */
            replay();
            i = 0; last = 0; latest = 0; wanted = 0; found = 0
        }
    :: atomic {
            restarts < RESTARTS ->
            restarts++;
            replay();
            serve();
            i = 0; last = 0; latest = 0; wanted = 0; found = 0
        }
    od
}
