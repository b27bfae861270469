/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue of writers: who leads, who is handed the lead, who is rung for, who leaves at its deadline.
 * A request lies on its writer's stack, which is gone once the writer has its answer. What the
 * queue's mutex guards is one step. Left out: what a group does (place.pml, recovery.pml), room in
 * the queue, for which writers look again every 50 ms in any case.
 *
 * Claims: the asserts. -DBREAK_... plants a fault (test_model.sh has the list).
 * Bounds: -DWRITERS= -DREQUESTS= -DGROUP= -DBUSY=
 */
#ifndef WRITERS
#define WRITERS 3
#endif
#ifndef REQUESTS
#define REQUESTS 1 /* of the first writer; the others have one */
#endif
#ifndef GROUP
#define GROUP 2 /* members at most */
#endif
#ifndef BUSY
#define BUSY 1 /* groups that find no journal segment: their members ask again */
#endif

mtype = { QUEUED, GATHERED, LEADS, DONE }; /* enum request_state */
mtype = { UNJUDGED, STATUS_OK, STATUS_BUSY };

chan queue = [WRITERS] of { byte }; /* oldest first */
bool led;
byte members[GROUP]; /* the leader's */

bool on_stack[WRITERS]; /* the request of each writer: still there */
mtype state[WRITERS];
mtype status[WRITERS];
bool heard[WRITERS];    /* there was no ring since its writer listened */
bool asleep[WRITERS];   /* until a ring for its bit: each has its own here */

/* What only the claims look at. */
byte leaders;
byte applied[WRITERS]; /* how often, of the present request */
byte busy_groups;
byte sleeping;

/* ---- bell.c ---- */

inline wake_up(sleeper)
{
    sleeping = sleeping - asleep[sleeper];
    asleep[sleeper] = false
}

inline bell_ring(bits)
{
    d_step {
        for (i : 0 .. WRITERS - 1) {
            heard[i] = false;
            if
            :: bits & (1 << i) -> wake_up(i)
            :: else
            fi
        }
        i = 0
    }
}

/* The kernel looks at the count and puts to sleep in one step. */
inline bell_sleep()
{
    d_step {
        asleep[_pid] = heard[_pid];
        heard[_pid] = false;
        sleeping = sleeping + asleep[_pid]
    }
}

/* ---- commit.c ---- */

inline choose_next()
{
    queue ? <next>;
    assert(on_stack[next]);
    state[next] = LEADS;
    next_bits = 1 << next;
    next = 0
}

inline hand_over()
{
#ifdef BREAK_HAND_OVER_LOOKS_BEFORE_IT_LOCKS
    was_empty = empty(queue);
    d_step {
        if
        :: was_empty -> led = false
        :: else -> choose_next()
        fi
    }
#else
    d_step {
        if
        :: empty(queue) -> led = false
        :: nempty(queue) -> choose_next()
        fi
    }
#endif
    if
    :: next_bits != 0 -> bell_ring(next_bits)
    :: else
    fi;
    next_bits = 0
}

/* Some group of the oldest: what is too large goes into the next one. */
inline gather()
{
    leaders++;
    assert(leaders == 1);
    do
    :: count < GROUP && nempty(queue) ->
        queue ? member;
        assert(on_stack[member]);
        state[member] = GATHERED;
        members[count] = member;
        count++
    :: count > 0 -> break
    od;
    assert(members[0] == _pid)
}

/* group.c: group_run. At its last moment. */
inline group_run()
{
    if
    :: busy_groups < BUSY -> busy_groups++; judged = STATUS_BUSY
    :: judged = STATUS_OK
    fi;
    for (i : 0 .. count - 1) {
        member = members[i];
        assert(on_stack[member] && state[member] == GATHERED);
        status[member] = judged;
        applied[member] = applied[member] + (judged == STATUS_OK)
    }
    leaders--;
    i = 0;
    member = 0;
    judged = UNJUDGED
}

/* The leader's own request stands first. */
inline answer_others()
{
#ifdef BREAK_BITS_READ_BEHIND_THE_ANSWER
    atomic { for (i : 1 .. count - 1) { state[members[i]] = DONE } }
#endif
    atomic {
        for (i : 1 .. count - 1) {
            member = members[i];
            assert(on_stack[member]);
            bits = bits | (1 << member);
            state[member] = DONE
        }
        for (i : 0 .. GROUP - 1) { members[i] = 0 } /* fewer states */
        i = 0;
        member = 0;
        count = 0
    }
}

inline wake_others()
{
    if
    :: bits != 0 -> bell_ring(bits)
    :: else
    fi;
    bits = 0
}

inline lead()
{
    atomic { gather() }
    atomic { group_run() }
#if defined(BREAK_OTHERS_ANSWERED_BEHIND_HAND_OVER)
    hand_over();
    answer_others();
    wake_others()
#elif defined(BREAK_RINGS_BEFORE_IT_ANSWERS)
    d_step {
        for (i : 1 .. count - 1) { bits = bits | (1 << members[i]) }
        i = 0
    }
    wake_others();
    answer_others();
    hand_over();
    bits = 0
#else
    answer_others();
    hand_over();
    wake_others()
#endif
}

/* The deadline may come at any moment, also after the leader took the request, or handed it the lead. */
#ifdef BREAK_GATHERED_LEAVES
#define MAY_LEAVE (state[_pid] != LEADS)
#elif defined(BREAK_CHOSEN_LEAVES)
#define MAY_LEAVE (state[_pid] != GATHERED)
#else
#define MAY_LEAVE (state[_pid] == QUEUED)
#endif

#define IS_CALLED (state[_pid] == LEADS || state[_pid] == DONE)

inline leave_queue()
{
    d_step {
        left = MAY_LEAVE;
        if
        :: left && queue ?? [eval(_pid)] -> queue ?? eval(_pid)
        :: else
        fi
    }
}

/* Who has none must not wait for ever, whatever the others do. */
#define HAS_DEADLINE (_pid != 0)

inline wait_in_queue()
{
    do
    ::
#ifndef BREAK_HEARS_BEHIND_ITS_LOOK
        heard[_pid] = true;
#endif
        if
        :: IS_CALLED -> break
        :: else
        fi;
#ifdef BREAK_HEARS_BEHIND_ITS_LOOK
        heard[_pid] = true;
#endif
        if
        :: late ->
            leave_queue();
            if
            :: left -> break
            :: else
            fi
        :: else
        fi;
        bell_sleep();
        if
        :: !asleep[_pid]
        :: HAS_DEADLINE && !late -> d_step { wake_up(_pid); late = true }
        fi
    od;
    atomic { heard[_pid] = false; late = false }
}

#define IS_TO_ASK (!left && status[_pid] != STATUS_OK)

active [WRITERS] proctype writer()
{
    byte requests, count, i, member, next, next_bits, bits;
    mtype judged = UNJUDGED;
    bool leads, left, late, was_empty;

    do
    :: requests < (_pid == 0 -> REQUESTS : 1) ->
        d_step { /* commit_submit */
            requests++;
            on_stack[_pid] = true;
            status[_pid] = UNJUDGED
        }
        do /* queue_until_done */
#ifdef BREAK_LED_LOOKED_AT_WITHOUT_MUTEX
        :: IS_TO_ASK ->
            leads = !led;
            d_step {
#else
        :: d_step { /* queue_and_wait: enqueue_locked */
                IS_TO_ASK -> leads = !led;
#endif
                queue ! _pid;
                led = true;
                state[_pid] = (leads -> LEADS : QUEUED)
            }
            if
            :: !leads -> wait_in_queue()
            :: else
            fi;
            if
            :: !left && state[_pid] == LEADS -> lead()
            :: else
            fi
        :: !IS_TO_ASK -> break
        od;
        atomic { /* the answer: applied once if it says so, and else never */
            assert(applied[_pid] == !left);
            on_stack[_pid] = false;
            state[_pid] = 0; status[_pid] = UNJUDGED; applied[_pid] = 0;
            leads = false; left = false
        }
    :: else -> break
    od
}

/* ---- commit_alone: what only a leader may, between groups ---- */

active proctype maintenance()
{
    byte i, next, next_bits;
    bool busy, was_empty;

#ifdef BREAK_ALONE_LOOKS_BEFORE_IT_LOCKS
    busy = led;
#endif
    d_step {
#ifndef BREAK_ALONE_LOOKS_BEFORE_IT_LOCKS
        busy = led || nempty(queue);
#endif
        assert(led || empty(queue)); /* whoever waits has somebody to wait for */
        led = led || !busy
    }
    if
    :: !busy ->
        d_step { leaders++; assert(leaders == 1) }
        leaders--;
#ifdef BREAK_ALONE_HANDS_NOTHING_OVER
        led = false
#else
        hand_over()
#endif
    :: else
    fi
}

/* ---- in the end: every run comes here, for none has a cycle (test_model.sh looks for one) ---- */

active proctype end_of_run()
{
    atomic {
        timeout;
        assert(!led && empty(queue) && sleeping == 0) /* nobody waits for a ring that never comes */
    }
}
