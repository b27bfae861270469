#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# How every status of the engine is told over HTTP, by an engine that fails on demand.
. "$(dirname "$0")/../lib/http.sh"

# Several failures, one call each: RULES are STATUS=CODE=HTTP-STATUS=RETRY (retry: yes or no).
rules() { # CALL: for the engine's URL
    local number=0 row
    for row in "${rows[@]}"; do
        number=$((number + 1)); printf 'fail=%s:%s:%d&' "$1" "${row%%=*}" "$number"
    done
}
expect_rows() { # METHOD[=TARGET] [CURL OPTIONS]: one request per row
    local method=${1%%=*} target=/keys/k row engine_status code wanted retry
    [[ $1 == *=* ]] && target=${1#*=}
    shift
    for row in "${rows[@]}"; do
        IFS='=' read -r engine_status code wanted retry <<<"$row"
        request "$method" "$target" "$@"
        if [ "$method" = HEAD ]; then
            expect_status "$wanted" "HEAD at $engine_status"; expect_header Keyrest-Problem "$code"
        else
            expect_problem "$wanted" "$code" "$method at $engine_status"
        fi
        case $retry in
            yes) expect_match "Retry-After at $engine_status" "$(header Retry-After)" '^[1-9][0-9]*$' ;;
            no) expect_header Retry-After '' ;;
        esac
    done
}

reads=(CORRUPT=data-corrupt=500=no LOADING=loading=503=yes NO_MEMORY=memory-full=507=yes
    IO=internal=500=no)
writes=(BUSY=busy=503=yes LOADING=loading=503=yes READ_ONLY=read-only=503=yes UNAVAILABLE=write-not-applied=503=yes
    UNKNOWN=outcome-unknown=504=no NO_SPACE=disk-full=507=yes NO_MEMORY=memory-full=507=yes
    UNSUPPORTED=unsupported=501=no CORRUPT=data-corrupt=500=no IO=internal=500=no)
a_batch='{"ops":[{"op":"put","key":"k","value":"v"}]}'
rooms=(LOADING=loading=503=yes READ_ONLY=read-only=503=yes NO_SPACE=disk-full=507=yes NO_MEMORY=memory-full=507=yes
    UNSUPPORTED=unsupported=501=no IO=internal=500=no)

failing() { # CALL METHOD [CURL OPTIONS], over the rows in `rows`
    local call=$1; shift
    server_start --engine "memory:?$(rules "$call")"
    expect_rows "$@"
    server_end
}
reads_fail() {
    rows=("${reads[@]}"); failing get GET; failing head HEAD; failing head GET=/ttl/k
    rows=("${reads[@]:1}"); failing get POST=/batch/get --json '{"keys":["k"]}' # a damaged one is told in its place
}
promise "a read that the engine refuses tells why" reads_fail

room_is_refused() { rows=("${rooms[@]}"); failing value_open PUT --data-binary v; failing value_open POST=/batch --json "$a_batch"; }
promise "a write that gets no room tells why" room_is_refused

growth_is_refused() {
    head -c 300000 /dev/zero >"$work/long"
    rows=(NO_MEMORY=memory-full=507=yes NO_SPACE=disk-full=507=yes)
    failing value_grow PUT -T "$work/long" -H 'Transfer-Encoding: chunked'
}
promise "a chunked PUT that gets no more room tells why" growth_is_refused

commits_fail() {
    rows=("${writes[@]}")
    failing commit PUT --data-binary v
    failing commit DELETE
    failing commit POST=/incr/k
    failing commit POST=/batch --json "$a_batch"
}
promise "a write that the engine refuses tells whether it was applied" commits_fail

nothing_is_stored_by_a_refused_put() {
    server_start --engine 'memory:?fail=commit:UNAVAILABLE:1&fail=value_open:NO_SPACE:2'
    request PUT /keys/k --data-binary v; expect_status 503
    request GET /keys/k; expect_status 404
    request PUT /keys/k --data-binary v; expect_status 507
    request GET /keys/k; expect_status 404
    request PUT /keys/k --data-binary v; expect_status 201
    server_end
}
promise "a refused PUT stores nothing and can be sent again" nothing_is_stored_by_a_refused_put

memory_that_is_used_up() {
    server_start --engine memory: --memory-bytes-max 8MiB
    head -c 1000000 /dev/zero >"$work/megabyte"
    local number
    for number in $(seq 20); do
        request PUT "/keys/$number" -T "$work/megabyte"
        [ "$status" = 201 ] || break
    done
    expect_problem 507 memory-full
    request GET /livez; expect_status 200
    request GET /keys/1; expect_status 200
    request DELETE /keys/1; expect_status 204
    request DELETE /keys/2; expect_status 204
    request PUT /keys/again -T "$work/megabyte"; expect_status 201
    server_end
}
promise "with the memory used up reads and deletes go on, and puts after them" memory_that_is_used_up

a_full_disk_stops_only_growth() {
    if [ "$(df --output=avail -B1G "$work" | tail -1)" -ge 1000 ]; then
        skip "this disk has more free room than can be reserved"; return
    fi
    server_start_ready --data "$work/full"
    request PUT /keys/a --data-binary kept
    server_end
    server_start_ready --data "$work/full" --reserve-bytes 1024GiB
    request PUT /keys/b --data-binary more
    expect_problem 507 disk-full; expect_match Retry-After "$(header Retry-After)" '^[1-9]'
    request GET /livez; expect_status 200
    request GET '/readyz?verbose'; expect_status 200; expect_match "the writable check" "$(<"$work/body")" '\[-\]writable'
    request GET /keys/a; expect_body kept
    request DELETE /keys/a; expect_status 204
    request GET /keys/a; expect_status 404
    expect_log 'level=warn .*disk'
    server_end
}
promise "a full disk stops only growth" a_full_disk_stops_only_growth

states_are_told() {
    server_start --engine 'memory:?state=loading'
    request GET /livez; expect_status 200
    request GET /readyz; expect_status 503
    request GET /healthz; expect_status 503
    request GET /keys/k; expect_problem 503 loading; expect_match Retry-After "$(header Retry-After)" '^[1-9]'
    request PUT /keys/k --data-binary v; expect_problem 503 loading
    request DELETE /keys/k; expect_problem 503 loading
    request GET /metrics; expect_status 200
    request GET /; expect_status 200
    server_end
    server_start --engine 'memory:?state=read_only'
    request GET /livez; expect_status 200
    request GET /readyz; expect_status 200
    request GET '/readyz?verbose'; expect_status 200; expect_match "the writable check" "$(cat "$work/body")" '\[-\]writable'
    request GET /keys/k; expect_status 404
    request PUT /keys/k --data-binary v; expect_problem 503 read-only
    request DELETE /keys/k; expect_problem 503 read-only
    server_end
}
promise "a store that loads or is read-only says so where it matters" states_are_told

# Refusals that come before the operation has a say: the same at every path.
refuses_alike() { # METHOD PATH
    request "$@" -H 'Host: evil.example'; expect_problem 403 host-not-allowed "$*"
    request "$@" -H 'Expect: a-miracle'; expect_problem 417 expectation-failed "$*"
    request "$1" "$2?no-such=1"; expect_problem 400 unknown-parameter "$*"
    request "$1" "$2?%"; expect_problem 400 bad-percent-encoding "$*"
    case "$1 $2" in 'POST /batch'* | 'PUT /ttl/'*) return ;; esac # ask for a body: test_batch.sh, test_expiry.sh
    request "$@" --data-binary "@$work/two-megabytes"; expect_problem 413 value-too-large "$*"
    request "$@" --data-binary "@$work/above-one" -H 'Transfer-Encoding: chunked'
    expect_problem 413 value-too-large "$* chunked"
}
every_path_refuses_alike() {
    local method path
    server_start --engine memory: --value-bytes-max 1MiB
    head -c 2000000 /dev/zero >"$work/two-megabytes"; head -c $((1048576 + 1)) /dev/zero >"$work/above-one"
    while read -r method path; do
        path=${path/\{key\}/some/key}; path=${path/\{code\}/busy}; path=${path/\{id\}/1}
        refuses_alike "$method" "$path"
    done < <(sed -nE 's/^X\(([A-Z]+), "([^"]+)".*/\1 \2/p' api/routes.def)
    request DELETE "/keys/$(printf 'k%.0s' $(seq 1025))"; expect_problem 414 key-too-long
    server_end
}
promise "hosts, expectations, parameters and needless bodies are refused alike at every path" every_path_refuses_alike

finish
