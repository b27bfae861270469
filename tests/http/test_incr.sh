#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Counting over HTTP: POST /incr/{key}.
. "$(dirname "$0")/../lib/http.sh"
server_start_ready --data "$work/data"

counts_and_answers_the_sum() {
    request POST /incr/visits; expect_status 200; expect_body 1
    expect_match ETag "$(etag)" '^"[0-9a-f]{12}-[1-9a-f][0-9a-f]*"$'; expect_header Content-Type text/plain
    request POST '/incr/visits?by=-43'; expect_body -42
    local tag; tag=$(etag)
    request GET /keys/visits; expect_body -42; expect_header ETag "$tag"
    request POST /incr/visits -H "If-Match: $tag"; expect_body -41; local now; now=$(etag)
    request POST /incr/visits -H "If-Match: $tag"; expect_problem 412 precondition-failed; expect_header ETag "$now"
    request POST '/incr/visits?by=one'; expect_problem 400 bad-parameter
    request POST "/incr/$(printf 'k%.0s' $(seq 1025))"; expect_problem 414 key-too-long
}
promise "counts and answers the sum" counts_and_answers_the_sum

other_values_stay() {
    local value
    for value in '' text 1.5 $'7\n' 9223372036854775807; do
        request PUT /keys/v --data-binary "$value"
        request POST /incr/v; expect_problem 422 not-a-number "$value"
        request GET /keys/v; expect_body "$value"
    done
}
promise "a value that cannot be counted on stays as it is" other_values_stay

each_of_many_at_once_counts_once() {
    local number
    printf 'url = %s/incr/crowd\n' $(yes "$url" | head -200) >"$work/list"
    sed -i 's/$/\nrequest = POST\noutput = \/dev\/null/' "$work/list"
    for number in 1 2 3 4; do curl -s --parallel --parallel-max 16 --config "$work/list" 2>"$work/progress" & done
    wait $(jobs -p | grep -vx "$server_pid")
    request GET /keys/crowd; expect_body 800
}
promise "of many at once each counts once" each_of_many_at_once_counts_once

a_count_outlives_a_kill() {
    request POST '/incr/kept?by=7'; expect_body 7
    server_end KILL
    server_start_ready --data "$work/data"
    request POST /incr/kept; expect_body 8
}
promise "what was answered outlives kill -9" a_count_outlives_a_kill

finish
