#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Conditional requests (RFC 9110 section 13) against an absent and a present key.
. "$(dirname "$0")/../lib/http.sh"
server_start_ready --data "$work/data"

fresh() { # KEY: is there with the value "now"; its ETag in $now
    request PUT "/keys/$1" --data-binary now; now=$(etag)
}
other='"000000000000-1"'

a_put_creates_only_with_if_none_match_any() {
    request PUT /keys/c --data-binary first -H 'If-None-Match: *'
    expect_status 201; local created; created=$(etag)
    request PUT /keys/c --data-binary second -H 'If-None-Match: *'
    expect_problem 412 precondition-failed; expect_header ETag "$created"
    expect "etag member" "$(member etag)" "\\"
    request GET /keys/c
    expect_body first
}
promise "If-None-Match: * puts only where nothing is" a_put_creates_only_with_if_none_match_any

a_put_replaces_only_what_it_knows() {
    fresh k
    request PUT /keys/k --data-binary next -H "If-Match: $now"
    expect_status 204; local next; next=$(etag)
    request PUT /keys/k --data-binary lost -H "If-Match: $now"
    expect_problem 412 precondition-failed; expect_header ETag "$next"
    request PUT /keys/k --data-binary lost -H "If-Match: W/$next"
    expect_problem 412 precondition-failed "a weak tag"
    request PUT /keys/k --data-binary lost -H "If-None-Match: $next"
    expect_problem 412 precondition-failed "If-None-Match with the current tag"
    request PUT /keys/k --data-binary lost -H "If-Match: $next" -H "If-None-Match: $next"
    expect_problem 412 precondition-failed "both"
    request GET /keys/k
    expect_body next
    request PUT /keys/k --data-binary again -H "If-Match: $other, $next" -H "If-None-Match: $other"
    expect_status 204
    request PUT /keys/k --data-binary again -H 'If-Match: *'
    expect_status 204
}
promise "If-Match puts only over a version it names" a_put_replaces_only_what_it_knows

an_absent_key_matches_nothing() {
    request PUT /keys/none --data-binary x -H 'If-Match: *'
    expect_problem 412 precondition-failed; expect_header ETag ''
    request PUT /keys/none --data-binary x -H "If-Match: $other"
    expect_problem 412 precondition-failed; expect_header ETag ''
    local method condition
    for method in GET HEAD DELETE; do
        for condition in 'If-Match: *' "If-Match: $other" 'If-None-Match: *' "If-None-Match: $other"; do
            request "$method" /keys/none -H "$condition"
            expect_status 404 "$method with $condition"
        done
    done
    request PUT /keys/none --data-binary x -H "If-None-Match: $other"
    expect_status 201
}
promise "on an absent key a PUT's If-Match fails, and the other methods answer 404" an_absent_key_matches_nothing

a_read_is_answered_304_when_nothing_changed() {
    fresh r
    local method tag
    for method in GET HEAD; do
        for tag in "$now" "W/$now" "$other, $now" '*'; do
            request "$method" /keys/r -H "If-None-Match: $tag"
            expect_status 304 "$method with $tag"; expect_header ETag "$now"; expect_body ''
            expect_header Content-Length 3
        done
        request "$method" /keys/r -H "If-None-Match: $other"
        expect_status 200
        request "$method" /keys/r -H "If-Match: $now"
        expect_status 200
        request "$method" /keys/r -H "If-Match: $other"
        expect_status 412 "$method with If-Match"; expect_header ETag "$now"
        request "$method" /keys/r -H "If-Match: $other" -H "If-None-Match: $now"
        expect_status 412 "If-Match before If-None-Match"
    done
}
promise "a read is answered 304 with the true length while nothing changed" a_read_is_answered_304_when_nothing_changed

a_delete_obeys_conditions() {
    fresh d
    request DELETE /keys/d -H "If-Match: $other"
    expect_problem 412 precondition-failed; expect_header ETag "$now"
    request DELETE /keys/d -H 'If-None-Match: *'
    expect_problem 412 precondition-failed
    request DELETE /keys/d -H "If-None-Match: $now"
    expect_problem 412 precondition-failed
    request DELETE /keys/d -H "If-Match: $now"
    expect_status 204
    request DELETE /keys/d -H "If-Match: $now"
    expect_problem 404 key-not-found
}
promise "a DELETE obeys its conditions" a_delete_obeys_conditions

malformed_conditions_are_refused() {
    fresh m
    local tag tags
    for tag in 'abc' '"open' 'w/"a"' '"a" "b"' '*, "a"' '"a",*' 'W/*' '"a"x'; do
        for name in If-Match If-None-Match; do
            request PUT /keys/m --data-binary lost -H "$name: $tag"
            expect_problem 400 bad-condition "$name: $tag"
        done
    done
    tags=$(printf '"%s", ' $(seq 15))
    request PUT /keys/m --data-binary kept -H "If-Match: $tags$now"
    expect_status 204 "16 tags"; now=$(etag)
    request PUT /keys/m --data-binary lost -H "If-Match: $tags\"16\", $now"
    expect_problem 400 bad-condition "17 tags"
    request GET /keys/m
    expect_body kept
}
promise "malformed conditions and more than 16 tags are refused" malformed_conditions_are_refused

a_tag_of_another_shape_matches_nothing() {
    fresh s
    local tag
    for tag in '"x"' '""' "\"${now:1:13}\"" "\"${now:1:-1}0\"" "\"0${now:1}" '"000000000000-0"' "${now^^}0\"" ; do
        case $tag in "$now") continue ;; esac
        request PUT /keys/s --data-binary lost -H "If-Match: $tag"
        expect_match "status of If-Match: $tag" "$status" '^4(12|00)$'
    done
    request PUT /keys/s --data-binary kept -H "If-None-Match: \"x\", \"\", $other"
    expect_status 204
}
promise "tags that this store never gave match nothing" a_tag_of_another_shape_matches_nothing

finish
