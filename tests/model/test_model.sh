#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Tries every interleaving of the models in this folder, within bounds, and then with one fault
# planted at a time, which the claim that it breaks must find. README.md says what is claimed.
# KEYREST_MODEL=large: wider bounds, about 10 minutes and 5 GB.
set -u
cd "$(dirname "$0")" || exit 1
here=$PWD pick=${1:-} count=0 running=0 failed=0

for tool in spin gcc; do
    command -v "$tool" >/dev/null && continue
    echo "ok 1 # SKIP the models of tests/model: $tool is not installed (make deps)"; echo 1..1; exit 0
done
work=$(mktemp -d "${TMPDIR:-/tmp}/keyrest-model-XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

# ---- claims: how the checker words them when they break --------------------------------------------

declare -A claims=(
    [not freed]='(entry|memtable|table)_used\[|table_pins\[|alive&\(1<<|sources&alive|on_stack\[' # no dereference after free; freed once
    [not lost]='sequence>=floor'                                   # no get sees less than what was published
    [not waiting]='enabled\('                                      # no reader waits
    [ends]='non-progress cycle'                                    # every get ends, all that is retired is freed
    [place]='entry_place\[key_entry\]|view_list\[current\]&\(1<<place' # a place names what is there, and listed
    [all freed]='invalid end state|table_listed\[i\]|used==1|retired==0|alive==\(' # in the end
    [answered]='applied\[|leaders==1|members\[0\]==|!\(led\)' # one leader; every writer is answered, once, for what was done
    [victim]='>=table_live\[i\]'                                   # no sound victim is shut out
    [listed]='sources&\('                                          # no key is missing in a page
    [value]='found==wanted'                                        # after a start: no value is lost, nothing older is back
    [deleted]='kind\[found\]!=1'                                   # nor anything deleted
    [opens]='durable_sequence<=latest|released<=flushed_sequence'  # the store opens
    [durable]='applied<=latest|synced<=latest'                     # what was seen, and what was called durable, is there
)

# ---- runs ------------------------------------------------------------------------------------------

# How pan is made and started: all asserts and dead ends; one formula; cycles. In recovery.pml every
# process waits for more, so that no dead end is one.
declare -A made=([asserts]='-DSAFETY -DCOLLAPSE' [waits]='-DNOREDUCE -DCOLLAPSE' [ends]='-DNP -DCOLLAPSE')
declare -A started=([asserts]='' [waits]='-a' [ends]='-l')

check() { # DIRECTORY KIND MODEL FLAGS...: pan's words are in DIRECTORY/out
    local directory=$1 kind=$2 model=$3; shift 3
    [ "$kind" != waits ] || set -- "$@" -DCLAIM_NO_READER_WAITS
    mkdir "$directory" && cd "$directory" && cp "$here/$model.pml" . || return
    # shellcheck disable=SC2086 # lists of options
    { spin -a "$@" "$model.pml" && gcc "-O$optimized" -w ${made[$kind]} -DMEMLIM=12000 -o pan pan.c &&
        ./pan -m10000 -w"$hash_bits" ${started[$kind]} $([ "$model" = recovery ] && echo -E); } >out 2>&1
    cd "$here" || exit 1
}

verdict() { # NUMBER ok|'not ok' NAME
    printf '%s %d - %s\n' "$2" "$1" "$3"
    # shellcheck disable=SC2012 # pan names it
    [ "$2" = ok ] || sed 's/^/# /' "$work/$1/out" | grep -E '^# pan:|rror' | head -5
    sed -n 's/^ *\([0-9]*\) states, stored.*/# \1 states/p' "$work/$1/out" | head -1
}

holds() { # NUMBER NAME KIND MODEL FLAGS...
    local number=$1 name=$2 optimized=1; shift 2
    check "$work/$number" "$@"
    if grep -q 'errors: 0$' "$work/$number/out" && ! grep -qE 'not completed|too small|Error|error:' "$work/$number/out"; then
        verdict "$number" ok "$name"
    else
        verdict "$number" 'not ok' "$name"
        (cd "$work/$number" && ls ./*.trail >/dev/null 2>&1 && spin -t -p -g "${@:3}" "$2.pml" | tail -60 | sed 's/^/# /')
    fi
}

finds() { # NUMBER NAME CLAIM KIND MODEL FLAGS...
    local number=$1 name=$2 claim=$3 optimized=0 hash_bits=18; shift 3 # most are found at once
    check "$work/$number" "$@"
    if grep -qE "^pan:1: .*(${claims[$claim]})" "$work/$number/out"; then
        verdict "$number" ok "$name"
    else
        verdict "$number" 'not ok' "$name"
    fi
}

# As many at once as there are processors; answers come in order.
promise() { # holds|finds NAME ARGUMENTS...
    case $2 in *"$pick"*) ;; *) return ;; esac
    count=$((count + 1))
    if [ "$running" -ge "$(nproc)" ]; then wait -n; running=$((running - 1)); fi
    running=$((running + 1))
    "$1" "$count" "${@:2}" >"$work/$count.tap" &
}

# ---- the models hold -------------------------------------------------------------------------------

hash_bits=22
[ "${KEYREST_MODEL:-}" = large ] && hash_bits=26
promise holds 'place: all claims hold' asserts place
promise holds 'place: all claims hold for two readers' asserts place -DREADERS=2 -DWRITES=2
promise holds 'place: no reader waits' waits place -DWRITES=2
promise holds 'place: every run ends' ends place -DWRITES=2
promise holds 'view: all claims hold for pages' asserts view -DSENDERS=0
promise holds 'view: all claims hold for two replies' asserts view -DSCANNERS=0 -DSENDERS=2
promise holds 'view: every run ends' ends view -DSCANNERS=0
promise holds 'commit: all claims hold' asserts commit -DBUSY=0
promise holds 'commit: all claims hold where a group must be tried again' asserts commit -DWRITERS=2 -DREQUESTS=2
promise holds 'commit: every run ends' ends commit -DBUSY=0
promise holds 'recovery: all claims hold after a failed sync' asserts recovery -DSEALS=1 -DCOMPACTIONS=1
promise holds 'recovery: all claims hold for two starts' asserts recovery -DSEALS=1 -DRESTARTS=1 -DWRITES=2 -DCOMPACTIONS=1
promise holds 'recovery: all claims hold for two compactions' asserts recovery
promise holds 'recovery: all claims hold in interval mode' asserts recovery -DLAZY -DCOMPACTIONS=1
promise holds 'recovery: all claims hold in interval mode after a failed sync' asserts recovery -DLAZY -DSEALS=1 -DWRITES=2 -DCOMPACTIONS=1
promise holds 'recovery: all claims hold in interval mode for two starts' asserts recovery -DLAZY -DRESTARTS=1 -DWRITES=2 -DCOMPACTIONS=1
if [ "${KEYREST_MODEL:-}" = large ]; then
    promise holds 'place: all claims hold for two readers and three writes' asserts place -DREADERS=2
    promise holds 'place: all claims hold for two compactions' asserts place -DCOMPACTIONS=2
    promise holds 'place: all claims hold for three memtables' asserts place -DMEMTABLES=3
    promise holds 'view: all claims hold for two scanners' asserts view -DSCANNERS=2 -DSENDERS=0
    promise holds 'view: all claims hold for pages and replies' asserts view
    promise holds 'view: every run ends, pages and replies' ends view
    promise holds 'commit: all claims hold for three writers where a group must be tried again' asserts commit
    promise holds 'commit: all claims hold for two requests of one writer' asserts commit -DREQUESTS=2 -DBUSY=0
    promise holds 'commit: all claims hold for groups of three' asserts commit -DGROUP=3 -DBUSY=0
    promise holds 'recovery: all claims hold for three writes and two starts' asserts recovery -DSEALS=1 -DRESTARTS=1 -DCOMPACTIONS=1
    promise holds 'recovery: all claims hold for two compactions and a failed sync' asserts recovery -DSEALS=1 -DRESTARTS=1
    promise holds 'recovery: all claims hold in interval mode for two compactions' asserts recovery -DLAZY
    promise holds 'recovery: all claims hold in interval mode after a failed sync and two starts' asserts recovery -DLAZY -DSEALS=1 -DRESTARTS=1 -DWRITES=2 -DCOMPACTIONS=1
    promise holds 'recovery: all claims hold in interval mode for three writes and a failed sync' asserts recovery -DLAZY -DSEALS=1 -DCOMPACTIONS=1
fi

# ---- faults are found ------------------------------------------------------------------------------

fault() { # NAME CLAIM KIND MODEL FAULT FLAGS...
    promise finds "$4: finds $1" "$2" "$3" "$4" "-DBREAK_$5" "${@:6}"
}

fault 'a get without a section' 'not freed' asserts place NO_SECTION
fault 'a section that begins after its first load' 'not freed' asserts place SECTION_UNFENCED
fault 'freeing without a grace period' 'not freed' asserts place NO_GRACE_PERIOD
fault 'a table pinned after the section' 'not freed' asserts place PIN_AFTER_SECTION -DWRITES=2
fault 'a table unpinned before it is copied from' 'not freed' asserts place UNPIN_EARLY -DWRITES=2
fault 'a pin that two share' 'not freed' asserts place PIN_IS_A_FLAG -DREADERS=2 -DWRITES=2
fault 'a retirement that frees what is pinned' 'not freed' asserts place RETIRING_FREES_PINNED -DWRITES=2
fault 'a last pin that frees nothing' 'all freed' asserts place DROPPING_FREES_NEVER -DWRITES=2
fault 'a slot given back before the grace period' 'not freed' asserts place SLOT_GIVEN_BACK_EARLY -DWRITES=2
fault 'an entry kept over the sync' 'not freed' asserts place ENTRY_KEPT_OVER_SYNC
fault 'a burial without the shard mutex' 'not freed' asserts place BURY_WITHOUT_LOCK
fault 'a burial that does not look at the place again' 'not freed' asserts place BURY_WITHOUT_LOOKING
fault 'a dead entry freed at once' 'not freed' asserts place DEAD_ENTRY_FREED_AT_ONCE
fault 'a dump that swings by a plain store' 'not lost' asserts place SWING_BY_STORE
fault 'a compaction that swings by a plain store' 'not lost' asserts place COMPACTION_SWINGS_BY_STORE -DWRITES=2
fault 'a compaction that keeps the entry' 'not freed' asserts place COMPACTION_KEEPS_ENTRY -DWRITES=2
fault 'a victim that its dump still swings to' 'not freed' asserts place VICTIM_UNSETTLED -DWRITES=2
fault 'a live count that is believed' 'victim' asserts place LIVE_COUNT_BELIEVED -DWRITES=2
fault 'a memtable let go of before the swing' 'place' asserts place MEMTABLE_LET_GO_BEFORE_SWING
fault 'victims let go of before the swing' 'place' asserts place VICTIMS_LET_GO_BEFORE_SWING -DWRITES=2
fault 'a memtable that is never retired' 'all freed' asserts place MEMTABLE_NEVER_RETIRED
fault 'a reader that takes the shard mutex' 'not waiting' waits place READER_LOCKS -DWRITES=2
fault 'a reader that tries again while a writer is at it' 'ends' ends place READER_TRIES_AGAIN -DWRITES=2

fault 'sources listed in two steps' 'listed' asserts view SOURCES_LISTED_IN_TWO_STEPS -DSENDERS=0
fault 'a memtable that leaves before its table joins' 'place' asserts view MEMTABLE_LEAVES_FIRST -DSENDERS=0
fault 'views changed without the mutex' 'not freed' asserts view VIEW_CHANGED_WITHOUT_MUTEX -DSENDERS=0
fault 'a view pinned outside of a section' 'not freed' asserts view VIEW_PINNED_OUTSIDE_SECTION -DSENDERS=0
fault 'tables pinned outside of a section' 'not freed' asserts view TABLES_PINNED_OUTSIDE_SECTION -DSENDERS=0
fault 'freeing without a grace period' 'not freed' asserts view NO_GRACE_PERIOD -DSENDERS=0
fault 'a view that pins nothing' 'not freed' asserts view VIEW_PINS_NOTHING -DSENDERS=0
fault 'a pin made of two words' 'not freed' asserts view PIN_OF_TWO_WORDS -DSENDERS=0
fault 'a value sent without a pin' 'not freed' asserts view VALUE_SENT_UNPINNED -DSCANNERS=0
fault 'a value freed with its memtable' 'not freed' asserts view VALUE_FREED_WITH_MEMTABLE -DSCANNERS=0
fault 'a wake-up that looks before it pushes' 'all freed' asserts view STACK_LOOKED_AT_BEFORE_PUSH -DSENDERS=0

fault 'a writer that looks for a leader without the mutex' 'answered' asserts commit LED_LOOKED_AT_WITHOUT_MUTEX -DBUSY=0
fault 'a lead given up by an old look at the queue' 'answered' asserts commit HAND_OVER_LOOKS_BEFORE_IT_LOCKS -DBUSY=0
fault 'a gathered writer that leaves' 'not freed' asserts commit GATHERED_LEAVES -DBUSY=0
fault 'a chosen leader that leaves' 'answered' asserts commit CHOSEN_LEAVES -DBUSY=0
fault 'a request read on a stack that is gone' 'not freed' asserts commit BITS_READ_BEHIND_THE_ANSWER -DBUSY=0
fault 'members taken from the next leader' 'answered' asserts commit OTHERS_ANSWERED_BEHIND_HAND_OVER -DBUSY=0
fault 'a leader that rings before it answers' 'answered' asserts commit RINGS_BEFORE_IT_ANSWERS -DBUSY=0
fault 'a writer that sleeps on a ring it has missed' 'answered' asserts commit HEARS_BEHIND_ITS_LOOK -DBUSY=0
fault 'an act alone that takes a lead by an old look' 'answered' asserts commit ALONE_LOOKS_BEFORE_IT_LOCKS -DBUSY=0
fault 'an act alone that hands nothing over' 'answered' asserts commit ALONE_HANDS_NOTHING_OVER -DBUSY=0

fault 'a write applied before its sync' 'durable' asserts recovery APPLIED_BEFORE_SYNC
fault 'a tombstone that is not dumped' 'deleted' asserts recovery TOMBSTONE_NOT_DUMPED -DCOMPACTIONS=1
fault 'tombstones that a compaction always drops' 'deleted' asserts recovery TOMBSTONES_ALWAYS_DROPPED -DCOMPACTIONS=1
fault 'the newest memtable dumped first' 'value' asserts recovery NEWEST_DUMPED_FIRST
fault 'an edit that skips more than was dumped' 'value' asserts recovery FLUSHED_BEYOND_MEMTABLE
fault 'a segment used again before the edit' 'opens' asserts recovery JOURNAL_RELEASED_EARLY
fault 'victims unlisted before their copies are listed' 'value' asserts recovery VICTIMS_UNLISTED_FIRST -DCOMPACTIONS=1
fault 'a dump without a sync in interval mode' 'value' asserts recovery DUMP_UNSYNCED -DLAZY -DCOMPACTIONS=1
fault 'a compaction without a sync in interval mode' 'value' asserts recovery COMPACTION_UNSYNCED -DLAZY -DCOMPACTIONS=1
fault 'a dump that counts on a sealed journal' 'value' asserts recovery DUMP_COUNTS_ON_SEALED -DLAZY -DSEALS=1 -DWRITES=2 -DCOMPACTIONS=1
fault 'a failed sync that is tried again' 'durable' asserts recovery SYNC_TRIED_AGAIN -DLAZY -DSEALS=1 -DCOMPACTIONS=1
fault 'an end that is read after the sync' 'durable' asserts recovery END_READ_AFTER_SYNC -DLAZY -DCOMPACTIONS=1
fault 'an unseal that dumps one memtable' 'opens' asserts recovery SEALED_DUMPS_ONE -DSEALS=1 -DCOMPACTIONS=1
fault 'a start that serves what is not durable' 'durable' asserts recovery REPLAYED_NOT_SYNCED -DRESTARTS=1 -DWRITES=2

wait
for ((number = 1; number <= count; number++)); do
    cat "$work/$number.tap"
    grep -q '^ok' "$work/$number.tap" || failed=1
done
echo "1..$count"
exit "$failed"
