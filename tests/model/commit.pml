/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue of writers: who leads, who is handed the lead, who is woken, who leaves at its deadline.
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
#define NOBODY 15

mtype = { QUEUED, GATHERED, LEADS };     /* enum request_state */
mtype = { UNJUDGED, STATUS_OK, STATUS_BUSY };

chan queue = [WRITERS] of { byte }; /* oldest first */
bool led;
byte members[GROUP]; /* the leader's */

bool on_stack[WRITERS]; /* the request of each writer: still there */
mtype state[WRITERS];
mtype status[WRITERS];
byte wake[WRITERS];     /* its semaphore */
byte next_of[WRITERS];

/* What only the claims look at. */
byte leaders;
byte applied[WRITERS]; /* how often, of the present request */
byte busy_groups;

/* ---- commit.c ---- */

inline wake_up(request)
{
    assert(on_stack[request]);
    wake[request]++
}

inline hand_over()
{
#ifdef BREAK_HAND_OVER_LOOKS_BEFORE_IT_LOCKS
    was_empty = empty(queue);
    d_step {
        if
        :: was_empty -> led = false
        :: else -> queue ? <next>; state[next] = LEADS; wake_up(next)
        fi;
#else
    d_step {
        if
        :: empty(queue) -> led = false
        :: nempty(queue) -> queue ? <next>; state[next] = LEADS; wake_up(next)
        fi;
#endif
        next = 0
    }
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

/* After the hand-over the members list is the next leader's. */
inline take_others()
{
    others = NOBODY;
    for (i : 1 .. count - 1) {
        member = members[count - i];
        assert(on_stack[member]);
        next_of[member] = others;
        others = member
    }
    for (i : 0 .. GROUP - 1) { members[i] = 0 } /* fewer states */
    i = 0;
    member = 0;
    count = 0
}

inline wake_others()
{
    do
    :: others != NOBODY ->
#ifdef BREAK_NEXT_READ_AFTER_WAKE
        member = others;
        d_step { wake_up(member) }
        d_step { assert(on_stack[member]); others = next_of[member] }
#else
        d_step { member = others; assert(on_stack[member]); others = next_of[member] }
        d_step { wake_up(member) }
#endif
    :: else -> break
    od;
    member = 0
}

inline lead()
{
    atomic { gather() }
    atomic { group_run() }
#ifdef BREAK_OTHERS_TAKEN_AFTER_HAND_OVER
    hand_over();
    d_step { take_others() }
#else
    d_step { take_others() }
    hand_over();
#endif
    wake_others()
}

inline sem_wait()
{
    atomic { wake[_pid] > 0 -> wake[_pid]-- }
}

/* The deadline may come at any moment, also after the leader took the request, or handed it the lead. */
#ifdef BREAK_GATHERED_LEAVES
#define MAY_LEAVE (state[_pid] != LEADS)
#elif defined(BREAK_CHOSEN_LEAVES)
#define MAY_LEAVE (state[_pid] != GATHERED)
#else
#define MAY_LEAVE (state[_pid] == QUEUED)
#endif

inline wait_in_queue()
{
    if
    :: true -> sem_wait() /* whoever has no deadline must not wait for ever */
    :: true -> d_step { /* leave_queue */
            left = MAY_LEAVE;
            if
            :: left && queue ?? [eval(_pid)] -> queue ?? eval(_pid)
            :: else
            fi
        }
        if
        :: left
        :: !left -> sem_wait()
        fi
    fi
}

#define IS_TO_ASK (!left && status[_pid] != STATUS_OK)

active [WRITERS] proctype writer()
{
    byte requests, count, i, member, next, others = NOBODY;
    mtype judged = UNJUDGED;
    bool leads, left, was_empty;

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
                assert(wake[_pid] == 0);
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
            assert(wake[_pid] == 0);
            on_stack[_pid] = false;
            state[_pid] = 0; status[_pid] = UNJUDGED; applied[_pid] = 0; next_of[_pid] = 0;
            leads = false; left = false
        }
    :: else -> break
    od
}

/* ---- commit_alone: what only a leader may, between groups ---- */

active proctype maintenance()
{
    byte next;
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
        assert(!led && empty(queue)) /* nobody waits for a wake-up that never comes */
    }
}
