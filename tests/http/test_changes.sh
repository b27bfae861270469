#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The change feed and waiting, as a client with curl sees them.
. "$(dirname "$0")/../lib/http.sh"

put() { curl -s -o /dev/null -X PUT --data-binary "$2" "$url/keys/$1"; }
remove() { curl -s -o /dev/null -X DELETE "$url/keys/$1"; }
told() { grep -oE '"op":"[a-z]*","key":"[^"]*"' "$work/body" | sed -E 's/"op":"(.*)","key":"(.*)"/\1:\2/' | tr '\n' ' '; }
gauge() { curl -s "$url/metrics" | sed -n "s/^keyrest_$1 //p"; }
until_true() { # COMMAND...: for 10 s at most
    local tries
    for ((tries = 0; tries < 1000; tries++)); do "$@" && return; sleep 0.01; done
    complain "in vain: $*"
}
has_watchers() { [ "$(gauge watchers)" = "$1" ]; }

# A request on its own, which waits; its answer is in $work/later.
later() { curl -s -i --max-time 20 "${@:2}" "$url$1" >"$work/later" & later=$!; until_true has_watchers 1; }
later_ends() { # PATTERN of its answer
    wait "$later"
    expect_match "the answer" "$(tr -d '\r' <"$work/later")" "$1"
    until_true has_watchers 0
}

# Events as they come, in $work/events.
listen() { # TARGET [CURL OPTIONS]
    : >"$work/events"
    curl -s -N --max-time 20 -H 'Accept: text/event-stream' "${@:2}" "$url$1" >"$work/events" & listener=$!
    until_true test -s "$work/events"
}
has_event() { grep -q -- "$1" "$work/events"; }

lists() {
    server_start_ready --data "$work/store-${FUNCNAME[0]}"
    put a 1; put b 2; put a 3; remove b
    request GET '/changes?since=0&limit=3'; expect_status 200
    expect_header Content-Type application/json; expect_header Cache-Control no-store
    expect changes "$(told)" 'put:a put:b put:a '
    request GET "/changes?since=$(member next)"; expect changes "$(told)" 'delete:b '
    local end; end=$(member next)
    request GET /changes; expect_body '{"changes":[],"next":"'"$end"$'"}\n'
    request GET '/changes?since=0&prefix=b&values=true'; expect changes "$(told)" 'put:b delete:b '
    expect_match values "$(<"$work/body")" '"value":"2"\},'; expect next "$(member next)" "$end"
    request GET "/changes?since=now"; expect next "$(member next)" "$end"
    request HEAD /changes; expect_status 200
    request OPTIONS /changes; expect_status 204; expect_header Allow 'GET, HEAD, OPTIONS'
    request POST /changes; expect_problem 405 method-not-allowed
    server_end
}
promise "changes are listed in order, from a cursor on" lists

long_poll() {
    server_start_ready --data "$work/store-${FUNCNAME[0]}"
    request GET '/changes?wait=10ms'; expect_status 200; expect changes "$(told)" ''
    local cursor; cursor=$(member next)
    later "/changes?since=$cursor&wait=20s&prefix=mine"
    put other 1; put mine 2
    later_ends '^HTTP/1.1 200 OK.*"op":"put","key":"mine"'
    request GET "/changes?since=$cursor&wait=20s"; expect changes "$(told)" 'put:other put:mine '
    request GET "/changes?wait=2m"; expect_problem 400 bad-parameter; expect limit "$(member limit)" 60000
    server_end
}
promise "a list waits for something to tell" long_poll

key_wait() {
    server_start_ready --data "$work/store-${FUNCNAME[0]}"
    put k 1
    request GET /keys/k; local tag; tag=$(etag)
    request GET '/keys/k?wait=10ms' -H "If-None-Match: $tag"; expect_status 304; expect_header ETag "$tag"
    later '/keys/k?wait=20s' -H "If-None-Match: $tag"
    put k 2
    later_ends '^HTTP/1.1 200 OK.*'$'\n\n''2$'
    request GET '/keys/k?wait=20s' -H "If-None-Match: $tag"; expect_status 200 "at once"
    later '/keys/k?wait=20s' -H 'If-None-Match: *'
    remove k
    later_ends '^HTTP/1.1 404 .*"key-not-found"'
    request POST /batch --json '{"ops":[{"op":"put","key":"k","value":"v","ttl":"300ms"}]}'; expect_status 200
    request GET '/keys/k?wait=20s' -H 'If-None-Match: *'; expect_problem 404 key-not-found "once it has expired"
    request GET '/keys/k?wait=20s'; expect_problem 400 bad-parameter
    expect_match detail "$(member detail)" If-None-Match
    request GET '/keys/k?wait=20' -H 'If-None-Match: *'; expect_problem 400 bad-parameter
    request GET '/keys/k?wait=1h' -H 'If-None-Match: *'; expect_problem 400 bad-parameter; expect limit "$(member limit)" 60000
    server_end
}
promise "a key is waited for, until it is another, gone, or expired" key_wait

events() {
    server_start_ready --data "$work/store-${FUNCNAME[0]}" --heartbeat-ms 50ms --compaction-interval-ms 100ms
    put a 1; put other/b 2
    listen '/changes?since=0&prefix=a' --dump-header "$work/head"
    expect_header Content-Type text/event-stream; expect_header Cache-Control no-store
    expect_header X-Accel-Buffering no; expect_header Transfer-Encoding chunked; expect_header Content-Length ''
    remove a; put a/2 3
    until_true has_event '"key":"a/2"'
    expect events "$(grep ^event: "$work/events" | tr '\n' ' ')" 'event: put event: delete event: put '
    expect_match "the first lines" "$(head -3 "$work/events")" '^retry: 2000'$'\n''id: [0-9a-f]{12}-0$'
    local id; id=$(grep -B2 '"key":"a/2"' "$work/events" | sed -n 's/^id: //p')
    until_true has_event '^:$'
    curl -s -o /dev/null -X PUT "$url/keys/a/soon?ttl=50ms"
    until_true has_event '"op":"expire","key":"a/soon"'
    kill "$listener"; wait "$listener"
    until_true has_watchers 0
    put a/3 4
    listen '/changes?since=0&prefix=a' -H "Last-Event-ID: $id"
    until_true has_event '"key":"a/3"'
    expect "events from the last one on" "$(grep ^event: "$work/events" | tr '\n' ' ')" 'event: put event: expire event: put '
    kill "$listener"; wait "$listener"
    listen '/changes?since=0' --http1.0
    until_true has_event '"key":"a/3"'
    kill "$listener"; wait "$listener"
    request GET '/changes?since=x' -H 'Accept: text/event-stream'; expect_problem 400 cursor-bad
    request GET '/changes?wait=1s' -H 'Accept: text/event-stream'; expect_problem 400 bad-parameter
    request HEAD /changes -H 'Accept: text/event-stream'; expect_status 200; expect_header Content-Type text/event-stream
    request GET /changes -H 'Accept: text/event-stream;q=0'; expect_header Content-Type application/json
    until_true has_watchers 0
    server_end
}
promise "events come as they happen, and go on from the last one" events

too_many() {
    server_start_ready --data "$work/store-${FUNCNAME[0]}" --watchers-max 1
    put k 1
    listen /changes
    request GET '/changes?wait=1s'; expect_problem 503 too-many-watchers; expect_header Retry-After 5
    request GET '/changes' -H 'Accept: text/event-stream'; expect_problem 503 too-many-watchers
    request GET '/keys/k?wait=1s' -H 'If-None-Match: *'; expect_problem 503 too-many-watchers
    request HEAD '/keys/k?wait=1s' -H 'If-None-Match: *'; expect_status 503; expect_header Keyrest-Problem too-many-watchers
    request GET '/changes?since=0&wait=1s'; expect_status 200 "what has not to wait"
    kill "$listener"; wait "$listener"
    until_true has_watchers 0
    request GET '/changes?wait=1ms'; expect_status 200
    server_end
    server_start_ready --data "$work/store-${FUNCNAME[0]}" --connections-max 3
    request GET /; expect_match limits "$(<"$work/body")" '"watchers_max": 1,'
    server_end
}
promise "those who wait have a cap, and leave connections to others" too_many

stops() {
    server_start_ready --data "$work/store-${FUNCNAME[0]}" --drain-ms 1h
    put k 1
    listen /changes
    curl -s -i --max-time 20 "$url/changes?wait=60s" >"$work/list" & local list=$!
    curl -s -i --max-time 20 -H 'If-None-Match: *' "$url/keys/k?wait=60s" >"$work/key" & local key=$!
    until_true has_watchers 3
    server_end
    wait "$listener"; expect "how the stream ended" $? 0
    wait "$list"; expect_match list "$(<"$work/list")" '^HTTP/1.1 200 .*"changes":\[\]'
    wait "$key"; expect_match key "$(<"$work/key")" '^HTTP/1.1 304 '
}
promise "a stop ends all who wait, at once and in good order" stops

gone() {
    server_start_ready --engine memory: --changes-bytes-max 4KiB
    request GET /changes; local first; first=$(member next)
    local stranger="0123456789ab-${first#*-}"
    head -c 2000 /dev/zero >"$work/value"
    for number in 1 2 3 4 5; do curl -s -o /dev/null -T "$work/value" "$url/keys/k$number"; done
    request GET "/changes?since=$first"; expect_problem 410 changes-gone
    local oldest; oldest=$(member oldest)
    request GET "/changes?since=$first" -H 'Accept: text/event-stream'; expect_problem 410 changes-gone
    request GET "/changes?since=$oldest"; expect_status 200; expect_match changes "$(told)" 'put:k5 $'
    request GET "/changes?since=$stranger"; expect_problem 410 changes-gone; expect oldest "$(member oldest)" "$oldest"
    request GET "/changes?since=${first%-*}-ffff"; expect_problem 400 cursor-bad
    server_end
}
promise "a cursor whose changes are gone is told, with the oldest that is good" gone

over_a_restart() {
    local small=(--data "$work/restart" --value-bytes-max 64KiB --journal-segment-bytes 64KiB --memtable-bytes 64KiB --changes-bytes-max 4MiB)
    server_start_ready "${small[@]}"
    put a 1; put b 2
    request GET '/changes?since=0&limit=1'; expect changes "$(told)" 'put:a '; local cursor; cursor=$(member next)
    server_end
    server_start_ready "${small[@]}"
    put c 3
    request GET "/changes?since=$cursor"; expect changes "$(told)" 'put:b put:c '
    server_end KILL
    server_start_ready "${small[@]}"
    request GET "/changes?since=$cursor"; expect changes "$(told)" 'put:b put:c '
    head -c 60000 /dev/zero >"$work/value"
    for number in $(seq 200); do curl -s -o /dev/null -T "$work/value" "$url/keys/k$((number % 3))"; done
    request GET "/changes?since=$cursor"; expect_problem 410 changes-gone; cursor=$(member oldest)
    request GET "/changes?since=$cursor"; expect_status 200; expect_match changes "$(told)" '^put:k[012] '
    server_end
    server_start_ready "${small[@]}"
    request GET "/changes?since=$cursor&limit=1000"; expect_status 200 "the oldest, after a restart"
    expect_match changes "$(told)" 'put:k2 $'
    server_end
}
promise "cursors outlive restarts and kills, until their changes are gone" over_a_restart

handing_over() {
    server_start_ready --data "$work/store-${FUNCNAME[0]}"
    put a 1; put b 2
    request GET '/keys?limit=1'; expect_status 200
    local cursor; cursor=$(header Keyrest-Changes-Cursor)
    put a 3; remove b
    request GET "/changes?since=$cursor"; expect changes "$(told)" 'put:a delete:b '
    request GET /changes; cursor=$(member next)
    request GET /keys -H 'Accept: application/x-ndjson'; expect_header Keyrest-Changes-Cursor "$cursor"
    server_end
}
promise "a listing is handed over to the feed without a gap" handing_over

refusals() {
    server_start --engine 'memory:?fail=changes:CORRUPT:1&fail=changes:NO_MEMORY:2&fail=changes:BUSY:3&fail=changes:UNSUPPORTED:4&fail=changes:LOADING:5'
    request GET /changes; expect_problem 500 data-corrupt
    request GET /changes; expect_problem 507 memory-full
    request GET /changes; expect_problem 503 busy
    request GET /changes; expect_problem 501 unsupported
    request GET /changes; expect_problem 503 loading
    put k 1
    request GET '/keys/k?wait=1ms' -H 'If-None-Match: *'; expect_status 304
    server_end
}
promise "what the engine refuses is told" refusals

finish
