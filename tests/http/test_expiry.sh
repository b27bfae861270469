#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Keys that live for a while only, and writes that answer what they replaced.
. "$(dirname "$0")/../lib/http.sh"
server_start_ready --data "$work/data"

time_pattern='^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$'
# Asks until the key is gone, at most 20 seconds.
until_gone() { # KEY
    local tries
    for ((tries = 0; tries < 2000; tries++)); do
        request GET "/keys/$1"
        [ "$status" = 404 ] && return
        sleep 0.01
    done
}

lives_as_long_as_it_should() {
    request PUT '/keys/session?ttl=1h' --data-binary v; expect_status 201
    expect_match Keyrest-Expires "$(header Keyrest-Expires)" "$time_pattern"
    local expires; expires=$(header Keyrest-Expires)
    request HEAD /keys/session; expect_header Keyrest-Expires "$expires"
    request GET /keys/session; expect_header Keyrest-Expires "$expires"; expect_body v
    request GET '/keys?prefix=session'; expect expires "$(member expires)" "$expires"
    request PUT '/keys/session?ttl=keep' --data-binary w; expect_status 204; expect_header Keyrest-Expires "$expires"
    request PUT /keys/session --data-binary x; expect_status 204; expect_header Keyrest-Expires ''
    request GET /keys/session; expect_header Keyrest-Expires ''
    request PUT '/keys/session?expires-at=2999-12-31T23:30:00-00:30' --data-binary y; expect_status 204
    expect_header Keyrest-Expires 3000-01-01T00:00:00.000Z
    request PUT '/keys/session?expires-at=2999-12-31T23:30:00%2B00:30' --data-binary y; expect_header Keyrest-Expires 2999-12-31T23:00:00.000Z
}
promise "a key says when it expires, keeps it if told so, and loses it at a plain PUT" lives_as_long_as_it_should

refuses_other_times() {
    local query
    for query in ttl=0s ttl=-1s ttl=60 ttl= ttl=100y expires-at=2001-01-01T00:00:00Z expires-at=10000-01-01T00:00:00Z \
        'ttl=1s&expires-at=2999-01-01T00:00:00Z'; do
        request PUT "/keys/refused?$query" --data-binary v; expect_problem 400 bad-parameter "$query"
    done
    request PUT '/keys/refused?tll=60s' --data-binary v; expect_problem 400 unknown-parameter
    request PUT '/keys/refused?ttl=1s&ttl=1s' --data-binary v; expect_problem 400 repeated-parameter
    request GET /keys/refused; expect_problem 404 key-not-found
}
promise "zero, negative, past, and far too far are refused, and nothing is written" refuses_other_times

is_absent_everywhere() {
    request PUT '/keys/gone?ttl=1ms' --data-binary v; expect_status 201
    until_gone gone; expect_problem 404 key-not-found
    request HEAD /keys/gone; expect_status 404; expect_header Keyrest-Problem key-not-found
    request GET /keys/gone -H 'If-Match: *'; expect_problem 404 key-not-found
    request DELETE /keys/gone; expect_problem 404 key-not-found
    request GET '/keys?prefix=gone'; expect_match items "$(<"$work/body")" '"items":\[\]'
    request POST /batch/get --json '{"keys":["gone"]}'; expect_match items "$(<"$work/body")" '\[null\]'
    request POST /batch --json '{"ops":[{"op":"check","key":"gone","if_none_match":"*"}]}'; expect_status 200
    request PUT /keys/gone -H 'If-Match: *' --data-binary v; expect_problem 412 precondition-failed; expect_header ETag ''
    request POST /incr/gone; expect_body 1; expect_header Keyrest-Expires ''
}
promise "an expired key is absent to everything" is_absent_everywhere

outlives_a_kill() {
    request PUT '/keys/later?ttl=1d' --data-binary v; local expires; expires=$(header Keyrest-Expires)
    request PUT '/keys/soon?ttl=1ms' --data-binary v
    server_end KILL
    server_start_ready --data "$work/data"
    request GET /keys/later; expect_body v; expect_header Keyrest-Expires "$expires"
    until_gone soon; expect_problem 404 key-not-found
}
promise "expiry outlives kill -9, and brings nothing back" outlives_a_kill

is_set_beside_the_value() {
    request PUT /keys/lease --data-binary v -H 'Content-Type: a/b'; local first; first=$(etag)
    request GET /ttl/lease; expect_status 200; expect_body '{"ttl_ms":null,"expires":null}'$'\n'; expect_header ETag "$first"
    expect_header Cache-Control no-store
    request PUT /ttl/lease --json '{"ttl":"60s"}' -H "If-Match: $first"; expect_status 204
    local second expires; second=$(etag) expires=$(header Keyrest-Expires)
    expect_match Keyrest-Expires "$expires" "$time_pattern"
    request PUT /ttl/lease --json '{"ttl":"1s"}' -H "If-Match: $first"; expect_problem 412 precondition-failed; expect_header ETag "$second"
    request GET /ttl/lease -H "If-Match: $first"; expect_problem 412 precondition-failed
    request GET /ttl/lease; expect_match ttl_ms "$(member ttl_ms)" '^(60000|[1-5]?[0-9]{4}|[0-9]{1,4})$'; expect expires "$(member expires)" "$expires"
    request HEAD /ttl/lease; expect_status 200; expect_header Keyrest-Expires "$expires"
    request GET /ttl/lease -H "If-None-Match: $second"; expect_status 304; expect_header ETag "$second"
    request GET /keys/lease; expect_body v; expect_header Content-Type a/b; expect_header ETag "$second"
    request PUT /ttl/lease --json '{"expires":"2999-01-01T00:00:00Z"}'; expect_header Keyrest-Expires 2999-01-01T00:00:00.000Z
    request DELETE /ttl/lease -H "If-Match: $first"; expect_problem 412 precondition-failed
    request DELETE /ttl/lease; expect_status 204; expect_header Keyrest-Expires ''
    request PUT /ttl/lease --json '{"ttl":"1ms"}'; expect_status 204
    until_gone lease
    request GET /ttl/lease; expect_problem 404 key-not-found
    request PUT /ttl/lease --json '{"ttl":"1h"}' -H 'If-Match: *'; expect_problem 404 key-not-found
    request DELETE /ttl/lease; expect_problem 404 key-not-found
}
promise "/ttl/{key} tells and sets when a key expires, and leaves the value as it is" is_set_beside_the_value

refuses_other_bodies() {
    local long; long=$(printf 'k%.0s' $(seq 1025))
    request PUT /keys/lease --data-binary v
    request PUT /ttl/lease -d '{"ttl":"1h"}'; expect_problem 415 media-type
    request PUT /ttl/lease --json '{"ttl":'; expect_problem 400 bad-json
    request PUT /ttl/lease --json '{"ttl":60}'; expect_problem 422 bad-shape; expect pointer "$(member pointer)" /ttl
    request PUT /ttl/lease --json '{"expires":"1999-01-01T00:00:00Z"}'; expect_problem 422 bad-shape; expect pointer "$(member pointer)" /expires
    request PUT /ttl/ --json '{"ttl":"1h"}'; expect_problem 400 key-empty
    request PUT "/ttl/$long" --json '{"ttl":"1h"}'; expect_problem 414 key-too-long
    request GET "/ttl/$long"; expect_problem 414 key-too-long
    request DELETE "/ttl/$long"; expect_problem 414 key-too-long
    request POST /ttl/lease; expect_problem 405 method-not-allowed; expect_header Allow 'GET, HEAD, PUT, DELETE, OPTIONS'
    head -c 40000000 /dev/zero >"$work/huge"
    request PUT /ttl/lease -H 'Content-Type: application/json' -T "$work/huge"; expect_problem 413 batch-too-large
    request GET /ttl/lease; expect_match body "$(<"$work/body")" null
}
promise "other bodies, keys and methods of /ttl/{key} are refused" refuses_other_bodies

answers_what_it_replaced() {
    request PUT '/keys/swap?return=previous' --data-binary one -H 'Content-Type: text/plain'; expect_status 201; expect_body ''
    expect_header Location /keys/swap; local first; first=$(etag)
    request PUT '/keys/swap?return=previous&ttl=1h' --data-binary two; expect_status 200; expect_body one
    expect_header Content-Type text/plain; expect_header Keyrest-Previous-ETag "$first"; local second; second=$(etag)
    expect_match Keyrest-Expires "$(header Keyrest-Expires)" "$time_pattern"
    request PUT '/keys/swap?return=previous' --data-binary no -H "If-Match: $first"; expect_problem 412 precondition-failed; expect_header ETag "$second"
    request DELETE '/keys/swap?return=previous' -H "If-Match: $second"; expect_status 200; expect_body two; expect_header ETag ''
    expect_header Keyrest-Previous-ETag "$second"
    request DELETE '/keys/swap?return=previous'; expect_problem 404 key-not-found
    request PUT '/keys/swap?return=representation' --data-binary v; expect_problem 400 bad-parameter
    request DELETE '/keys/swap?return=representation'; expect_problem 400 bad-parameter
    head -c 3000000 /dev/urandom >"$work/large"
    request PUT /keys/swap --data-binary "@$work/large"; expect_status 201
    request PUT '/keys/swap?return=previous' --data-binary small; expect_status 200; expect_same "$work/large"
}
promise "return=previous answers the value that was replaced or removed" answers_what_it_replaced

is_deleted_and_told() {
    local tries
    server_end
    server_start_ready --data "$work/feed" --compaction-interval-ms 100
    request PUT /keys/stays --data-binary v; request PUT '/keys/brief?ttl=1ms' --data-binary v
    for ((tries = 0; tries < 2000; tries++)); do
        request GET '/changes?since=0'
        [[ $(<"$work/body") == *'"op":"expire"'* ]] && break
        sleep 0.01
    done
    expect_match changes "$(<"$work/body")" '"op":"put","key":"brief".*"op":"expire","key":"brief"'
    request GET /metrics; expect_match expired "$(<"$work/body")" $'\n''keyrest_expired_total 1'$'\n'
    request GET /keys/stays; expect_body v
}
promise "an expired key is deleted by itself, and told to those who follow the changes" is_deleted_and_told

tells_why_it_is_not_applied() {
    local row engine_status code wanted number=1 rules='' rows=(BUSY=busy=503 UNKNOWN=outcome-unknown=504
        NO_SPACE=disk-full=507 UNSUPPORTED=unsupported=501 CORRUPT=data-corrupt=500)
    server_end
    for row in "${rows[@]}" "${rows[@]}" "${rows[@]}" "${rows[@]}"; do
        number=$((number + 1)); rules+="fail=commit:${row%%=*}:$number&"
    done
    server_start --engine "memory:?$rules"
    request PUT /keys/k --data-binary old
    for row in "${rows[@]}"; do
        IFS='=' read -r engine_status code wanted <<<"$row"; request PUT /ttl/k --json '{"ttl":"1h"}'; expect_problem "$wanted" "$code" "PUT at $engine_status"
    done
    for row in "${rows[@]}"; do
        IFS='=' read -r engine_status code wanted <<<"$row"; request DELETE /ttl/k; expect_problem "$wanted" "$code" "DELETE at $engine_status"
    done
    for row in "${rows[@]}"; do
        IFS='=' read -r engine_status code wanted <<<"$row"; request PUT '/keys/k?return=previous' --data-binary new; expect_problem "$wanted" "$code" "return=previous at $engine_status"
    done
    for row in "${rows[@]}"; do
        IFS='=' read -r engine_status code wanted <<<"$row"; request PUT '/keys/k?ttl=keep' --data-binary new; expect_problem "$wanted" "$code" "ttl=keep at $engine_status"
    done
    request GET /keys/k; expect_body old
}
promise "what depends on the value tells why it is not applied" tells_why_it_is_not_applied

finish
