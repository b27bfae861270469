#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Compaction by request: what it reclaims, who waits and for how long, and what a script is told.
. "$(dirname "$0")/../lib/http.sh"

small=(--memtable-bytes 256KiB --compaction-interval-ms 1h --reserve-bytes 0 --ballast-bytes 0)
head -c 60000 /dev/urandom >"$work/value"

write() { # SEQ-ARGUMENTS: a key of 60 kB for each number, all over one connection
    local number
    for number in $(seq "$@"); do
        printf 'url = "%s/keys/%s"\nupload-file = "%s"\noutput = /dev/null\n' "$url" "$number" "$work/value"
    done | curl --silent --fail --config - || complain "writes failed"
}
figure() { # NAME: of the metrics
    curl -s "$url/metrics" | sed -n "s/^keyrest_$1 //p"
}
wait_for() { # WHAT CONDITION...: until it holds
    local what=$1 tries; shift
    for ((tries = 0; tries < 500; tries++)); do "$@" && return; sleep 0.02; done
    complain "it never came to this: $what"
}
garbage_is_in_tables() { [ "$(figure table_live_bytes)" -gt 1200000 ] && [ "$(figure table_dead_bytes)" -gt 300000 ]; }
# A quarter of what the tables hold: not enough that compaction begins by itself.
make_garbage() {
    write 1 40
    write 1 4 40
    wait_for "dumps" garbage_is_in_tables
}
state_is() { request GET "$1"; [ "$(member state)" = "$2" ]; }

compacting_reclaims() {
    server_start_ready --data "$work/reclaims" "${small[@]}"
    make_garbage
    local dead; dead=$(figure table_dead_bytes)
    [ "$dead" -gt 0 ] || complain "there is no garbage"
    request POST /admin/compact
    expect_status 200; expect_header Content-Type application/json
    expect state "$(member state)" done; expect percent "$(member percent)" 100
    expect_match started "$(member started)" '^20[0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-9:]{8}\.[0-9]{3}Z$'
    [ "$(member bytes_after)" -lt "$(member bytes_before)" ] || complain "nothing was reclaimed: $(<"$work/body")"
    local id; id=$(member id)
    cp "$work/body" "$work/result"
    request GET "/admin/compactions/$id"; expect_status 200; expect_same "$work/result"
    request GET /admin/compactions; expect_status 200
    grep -qF "{\"compactions\":[$(tr -d '\n' <"$work/result")" "$work/body" || complain "the list does not begin with it"
    request HEAD /admin/compactions; expect_status 200
    [ "$(figure table_dead_bytes)" -lt "$dead" ] || complain "the metrics still count the garbage"
    expect compactions "$(figure compactions_total)" 1
    local number
    for number in 1 10 40; do request GET "/keys/$number"; expect_status 200; expect_same "$work/value"; done
    expect_log 'msg="compaction done"'
    server_end; expect "exit status" "$exit_code" 0
}
promise "compacting on request reclaims garbage and keeps every value" compacting_reclaims

nothing_to_do() {
    server_start_ready --data "$work/idle" "${small[@]}"
    request POST /admin/compact; expect_status 200; expect state "$(member state)" nothing-to-do
    request POST /admin/compact -d '{"mode":"full"}'; expect_status 200; expect id "$(member id)" 2
    request POST /admin/compactions
    expect_status 202; expect_header Location /admin/compactions/3
    wait_for "the third one's end" state_is /admin/compactions/3 nothing-to-do
    request GET /admin/compactions/4; expect_problem 404 route-not-found
    request GET /admin/compactions/x; expect_problem 404 route-not-found
    request GET /admin/compact; expect_problem 405 method-not-allowed; expect_header Allow 'POST, OPTIONS'
    request OPTIONS /admin/compactions; expect_status 204; expect_header Allow 'GET, HEAD, POST, OPTIONS'
    request POST /admin/compact -H 'Sec-Fetch-Site: cross-site'; expect_problem 403 cross-site
    request POST /admin/compactions -H 'Origin: http://evil.example'; expect_problem 403 cross-site
    server_end
}
promise "nothing to do is told, ids go on, and the rules of every path hold" nothing_to_do

# 64 KiB a second: the first megabyte goes at once, the second takes longer than this test.
a_long_one() {
    server_start_ready --data "$work/long" "${small[@]}" --compaction-bytes-per-second-max 64KiB --request-ms-max 300ms
    make_garbage
    request POST /admin/compactions
    expect_status 202; expect_header Location /admin/compactions/1; expect state "$(member state)" running
    request POST /admin/compactions
    expect_problem 409 compaction-running; expect_header Location /admin/compactions/1; expect id "$(member id)" 1
    request POST /admin/compact
    expect_status 202 "a wait that is over"; expect_header Location /admin/compactions/1; expect state "$(member state)" running
    request GET /admin/compactions/1; expect_status 200; expect state "$(member state)" running
    expect_match percent "$(member percent)" '^[0-9]{1,2}$'; expect_match seconds "$(member seconds)" '[1-9]'
    request GET '/readyz?verbose'; expect_match "the check" "$(<"$work/body")" '\[\+\]compaction ok: [0-9]+ % done'
    request PUT /keys/1 --data-binary new; expect_status 204
    request GET /keys/1; expect_status 200; expect_body new
    request GET /keys/40; expect_status 200; expect_same "$work/value"
    server_end; expect "exit status" "$exit_code" 0
    "$keyrest" verify "$work/long" >"$work/verified" || complain "the stop left damage: $(<"$work/verified")"
    server_start_ready --data "$work/long" "${small[@]}"
    request GET /keys/1; expect_body new
    request GET /keys/40; expect_same "$work/value"
    server_end
}
promise "one that takes long is joined, refused a second time, and given up by a stop" a_long_one

waits() { # CODE-FILE
    curl -s -o "$1.body" -w '%{http_code}' -X POST "$url/admin/compact" >"$1" &
}
a_wait_that_is_given_up() {
    server_start_ready --data "$work/given-up" "${small[@]}" --compaction-bytes-per-second-max 64KiB
    make_garbage
    request POST /admin/compact --max-time 0.3; expect_status 000 "a client that left"
    request GET /admin/compactions/1; expect state "$(member state)" running
    waits "$work/waiter"; local waiter=$!
    wait_for "two requests under way" in_flight 2
    server_end; expect "exit status" "$exit_code" 0
    wait "$waiter"; expect "the waiter's status" "$(cat "$work/waiter")" 503
    grep -q '"draining"' "$work/waiter.body" || complain "the waiter is not told that the service stops"
    expect_log 'route=/admin/compact .*status=503|status=503 .*route=/admin/compact'
    ! grep -q 'given up after drain_ms' "$server_log" || complain "the stop waited for the compaction"
}
in_flight() { [ "$(figure http_requests_in_flight)" = "$1" ]; }
promise "a client that leaves and a stop end the wait, and the stop is not held up" a_wait_that_is_given_up

one_that_fails() {
    server_start_ready --data "$work/fails" "${small[@]}"
    make_garbage
    # A directory stands where each of the next tables would be made.
    local number
    for number in $(seq 1 64); do mkdir "$work/fails/$(printf 'table-%016x.tbl' "$number")" 2>/dev/null; done
    request POST /admin/compact
    expect_problem 500 compaction-failed; expect_header Location /admin/compactions/1
    expect "exit status of curl -f" "$(curl -fsS -o /dev/null -X POST "$url/admin/compact" 2>/dev/null; echo $?)" 22
    request GET /admin/compactions/1; expect_status 200
    expect state "$(member state)" failed; expect_match reason "$(member reason)" 'operating system'
    request GET '/readyz?verbose'; expect_status 200; expect_match "the check" "$(<"$work/body")" '\[-\]compaction failed: '
    request GET /keys/1; expect_status 200; expect_same "$work/value"
    [ "$(figure compaction_failures_total)" -ge 2 ] || complain "the metrics do not count it"
    expect_log 'level=error .*compaction'
    rmdir "$work/fails/"table-* 2>/dev/null
    request POST /admin/compact; expect_status 200; expect state "$(member state)" done
    request GET /keys/1; expect_same "$work/value"
    server_end
}
promise "one that fails makes curl -f fail, harms nothing, and works once its cause is gone" one_that_fails

engines_refuse() {
    server_start --engine memory:
    local target
    for target in /admin/compactions /admin/compactions/1; do
        request GET "$target"; expect_problem 501 unsupported "$target"
    done
    for target in /admin/compact /admin/compactions; do
        request POST "$target"; expect_problem 501 unsupported "$target"
        expect_match "what is lacking" "$(member detail)" 'capability compact'
    done
    request GET '/readyz?verbose'; ! grep -q compaction "$work/body" || complain "a check for what there is not"
    server_end
    server_start --engine 'memory:?state=loading'
    for target in /admin/compactions /admin/compactions/1; do
        request GET "$target"; expect_problem 503 loading "$target"
    done
    for target in /admin/compact /admin/compactions; do
        request POST "$target"; expect_problem 503 loading "$target"
    done
    server_end
    server_start --engine 'memory:?state=read_only'
    request POST /admin/compact; expect_problem 503 read-only
    server_end
    server_start --engine 'memory:?fail=compact:NO_SPACE'
    request POST /admin/compact; expect_problem 507 disk-full; expect_match Retry-After "$(header Retry-After)" '^[1-9]'
    server_end
}
promise "an engine that cannot compact, or not now, says so" engines_refuse

finish
