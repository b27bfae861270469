#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# One key over HTTP: how it is named, put, got and deleted, and what is refused.
. "$(dirname "$0")/../lib/http.sh"
limit=65536
server_start_ready --data "$work/data" --value-bytes-max 64KiB

a_value_comes_back_as_it_was_put() {
    request PUT /keys/a --data-binary 'the value' -H 'Content-Type: text/plain'
    expect_status 201; expect_header Location /keys/a; expect_body ''
    expect_match ETag "$(etag)" '^"[0-9a-f]{12}-[1-9a-f][0-9a-f]*"$'
    local first; first=$(etag)
    request GET /keys/a
    expect_status 200; expect_body 'the value'; expect_header ETag "$first"
    expect_header Content-Type text/plain; expect_header Content-Length 9
    expect_header X-Content-Type-Options nosniff; expect_header Content-Security-Policy sandbox
    request HEAD /keys/a
    expect_status 200; expect_header ETag "$first"; expect_header Content-Length 9
    request PUT /keys/a --data-binary 'another'
    expect_status 204; expect_header Location ''
    [ "$(etag)" != "$first" ] || complain "the ETag did not change"
    request GET /keys/a
    expect_body another
    request DELETE /keys/a
    expect_status 204
    request GET /keys/a
    expect_problem 404 key-not-found
    request DELETE /keys/a
    expect_problem 404 key-not-found
    request PUT /keys/a --data-binary 'the value'
    expect_status 201; [ "$(etag)" != "$first" ] || complain "an ETag came twice"
    request DELETE /keys/a
}
promise "a value comes back as it was put, until it is replaced or deleted" a_value_comes_back_as_it_was_put

every_byte() { printf "$(printf '\\x%02x' $(seq 0 255))"; }
a_value_may_be_any_bytes() {
    : >"$work/empty"; printf '\0' >"$work/nul"; every_byte >"$work/all"
    head -c "$limit" /dev/urandom >"$work/most"
    local value
    for value in empty nul all most; do
        request PUT "/keys/v/$value" -T "$work/$value"
        expect_status 201 "putting $value with a length"
        request GET "/keys/v/$value"
        expect_status 200 "$value"; expect_same "$work/$value"
        expect_header Content-Length "$(stat -c %s "$work/$value")"
        request PUT "/keys/c/$value" -T - <"$work/$value"
        expect_status 201 "putting $value chunked"
        request GET "/keys/c/$value"
        expect_same "$work/$value"
    done
}
promise "a value may be empty, a NUL, all bytes, and as long as the limit, with a length and chunked" a_value_may_be_any_bytes

one_byte_over_the_limit_is_refused() {
    head -c $((limit + 1)) /dev/zero >"$work/over"; head -c 5000000 /dev/zero >"$work/far"
    request PUT /keys/over -T "$work/over"
    expect_problem 413 value-too-large; expect "limit" "$(member limit)" "$limit"
    request PUT /keys/over -T - <"$work/over"
    expect_problem 413 value-too-large
    request PUT /keys/over -T "$work/far" # told by its length, before the body
    expect_problem 413 value-too-large
    request PUT /keys/over -T - <"$work/far" # too much to swallow: cut
    expect_match "status of a far too long chunked body" "$status" '^(413|100|000)$'
    request GET /keys/over
    expect_status 404
}
promise "one byte over the limit is refused, by length and chunked, and nothing is stored" one_byte_over_the_limit_is_refused

# One curl for many requests: a config of sections, one status a line. NUL is not a key's byte.
all_bytes() { # METHOD FORMAT-OF-OPTIONS (%s: the byte's hex)
    local byte first=1
    for byte in $(seq 1 255); do
        byte=$(printf %02X "$byte")
        [ "$byte" = 2E ] && continue # a dot alone is a dot segment
        [ -n "$first" ] || echo next
        first=
        printf 'silent\ngloboff\npath-as-is\nrequest = %s\nurl = "%s/keys/%%%s"\nwrite-out = "%%{http_code}\\n"\n' "$1" "$url" "$byte"
        printf "$2\n" "$byte"
    done
}
every_byte_but_nul_is_a_key() {
    local got
    mkdir -p "$work/bytes"
    got=$(all_bytes PUT 'data-binary = "value of %s"' | curl -K - 2>&1 | sort | uniq -c | tr -s ' ')
    expect "answers to 254 puts" "$got" " 254 201"
    got=$(all_bytes GET "output = \"$work/bytes/%s\"" | curl -K - 2>&1 | sort | uniq -c | tr -s ' ')
    expect "answers to 254 gets" "$got" " 254 200"
    for got in "$work"/bytes/*; do
        [ "$(cat "$got")" = "value of $(basename "$got")" ] || complain "key %$(basename "$got") has another's value"
    done
    got=$(all_bytes DELETE '# %s' | curl -K - 2>&1 | sort | uniq -c | tr -s ' ')
    expect "answers to 254 deletes" "$got" " 254 204"
}
promise "every byte from 1 to 255 but the dot is a key of its own" every_byte_but_nul_is_a_key

put_and_get() { # TARGET-OF-PUT TARGET-OF-GET WANTED
    request PUT "/keys/$1" --data-binary "$1"
    expect_match "status of putting $1" "$status" '^20[14]$'
    request GET "/keys/$2"
    expect "what /keys/$2 is after putting /keys/$1" "$status $(cat "$work/body")" "$3"
    request DELETE "/keys/$1"
}
a_key_is_decoded_once_and_compared_as_bytes() {
    put_and_get a%2Fb a/b '200 a%2Fb'
    put_and_get a/b a%2fb '200 a/b'
    put_and_get %41 A '200 %41'
    put_and_get %25 %25 '200 %25'
    local pair
    for pair in '%252F /' '+ %20' '%2B %20' 'a a/' 'a /a' 'a//b a/b' 'K k' '%C3%A9 e%CC%81' \
        'a%3Fb a' '... ....' 'a;b a' 'a%26b a' 'a%23b a'; do
        request GET "/keys/${pair#* }"; local before=$status
        request PUT "/keys/${pair% *}" --data-binary mine; expect_match "status of putting ${pair% *}" "$status" '^20[14]$'
        request GET "/keys/${pair#* }"; expect_status "$before" "/keys/${pair#* } beside /keys/${pair% *}"
        request GET "/keys/${pair% *}"; expect_status 200 "/keys/${pair% *}"; expect_body mine
        request DELETE "/keys/${pair% *}"
    done
    for pair in a/ /a // a//b ... .a a. ..a a..b 'a?' '%20' '~-_.!$&()*,;=:@' %FF%FE; do
        [ "$pair" = 'a?' ] && { put_and_get 'a?' a '200 a?'; continue; }
        put_and_get "$pair" "$pair" "200 $pair"
    done
}
promise "a key is decoded once and compared byte by byte" a_key_is_decoded_once_and_compared_as_bytes

refuses_key() { # TARGET CODE, for every method
    local method
    for method in GET HEAD PUT DELETE; do
        request "$method" "/keys/$1"
        if [ "$method" = HEAD ]; then
            expect_status 400 "HEAD /keys/$1"; expect_header Keyrest-Problem "$2"
        else
            expect_problem 400 "$2" "$method /keys/$1"
        fi
    done
}
the_empty_key_is_refused() { refuses_key '' key-empty; refuses_key '?' key-empty; }
promise "the empty key is refused for every method" the_empty_key_is_refused

a_key_that_could_not_be_read_back_is_refused() {
    local target
    for target in %00 a%00b %00%00; do refuses_key "$target" key-nul; done
    for target in % %2 a% %zz %2g %-1 %%20; do refuses_key "$target" bad-percent-encoding; done
    for target in . .. ../a a/.. a/../b a/./b ./ %2e%2E a%2f..%2fb; do refuses_key "$target" key-dot-segment; done
}
promise "a key with NUL, a dot segment or a bad percent sign is refused" a_key_that_could_not_be_read_back_is_refused

a_key_may_have_1024_bytes() {
    local letters; letters=$(printf 'k%.0s' $(seq 1024))
    request PUT "/keys/$letters" --data-binary long
    expect_status 201
    request GET "/keys/$letters"
    expect_body long
    request PUT "/keys/${letters}k" --data-binary long
    expect_problem 414 key-too-long; expect limit "$(member limit)" 1024
    request PUT "/keys/$(printf '%%6B%.0s' $(seq 1024))" --data-binary 'the same'
    expect_status 204 "the same key, percent-encoded"
    request GET "/keys/$(printf '%%6B%.0s' $(seq 1025))"
    expect_problem 414 key-too-long
}
promise "a key may have 1024 bytes after decoding, and not one more" a_key_may_have_1024_bytes

unknown_parameters_are_refused() {
    local method
    for method in GET PUT DELETE; do
        request "$method" '/keys/p?tll=60'
        expect_problem 400 unknown-parameter "$method"
    done
    request GET '/livez?verbose&verbose'
    expect_problem 400 repeated-parameter
    request GET '/livez?verbose=%'
    expect_problem 400 bad-percent-encoding
    request GET '/keys/p'
    expect_status 404
}
promise "unknown, repeated and malformed parameters are refused" unknown_parameters_are_refused

kept_headers_come_back() {
    request PUT /keys/h --data-binary '<p>' -H 'Content-Type: text/html; charset=utf-8' \
        -H 'Content-Encoding: identity' -H 'Content-Language: de, en' \
        -H 'Content-Disposition: attachment; filename="x.html"' -H 'X-Other: lost'
    expect_status 201
    local method
    for method in GET HEAD; do
        request "$method" /keys/h
        expect_header Content-Type 'text/html; charset=utf-8'; expect_header Content-Encoding identity
        expect_header Content-Language 'de, en'; expect_header X-Other ''
        expect_header Content-Disposition 'attachment; filename="x.html"'
    done
    request PUT /keys/h --data-binary x -H 'Content-Type:'
    request GET /keys/h
    expect_header Content-Type application/octet-stream; expect_header Content-Language ''
}
promise "the kept headers come back, no others, and a put without them clears them" kept_headers_come_back

kept_headers_have_a_limit() {
    # one header takes 3 bytes beside its value
    request PUT /keys/h --data-binary x -H "Content-Type: $(printf 'x%.0s' $(seq 1021))"
    expect_status 204
    request PUT /keys/h --data-binary x -H "Content-Type: $(printf 'x%.0s' $(seq 1022))"
    expect_problem 431 headers-too-large; expect limit "$(member limit)" 1024
}
promise "kept headers have a limit of 1 KiB together" kept_headers_have_a_limit

a_part_of_a_value_cannot_be_put() {
    request PUT /keys/part --data-binary x -H 'Content-Range: bytes 0-0/2'
    expect_problem 400 content-range-refused
    request GET /keys/part
    expect_status 404
}
promise "a PUT with Content-Range is refused" a_part_of_a_value_cannot_be_put

methods_are_told_apart() {
    local method
    for method in POST PATCH; do
        request "$method" /keys/a
        expect_problem 405 method-not-allowed "$method"; expect_header Allow 'GET, HEAD, PUT, DELETE, OPTIONS'
    done
    request PUT /livez --data-binary x
    expect_problem 405 method-not-allowed; expect_header Allow 'GET, HEAD, OPTIONS'
    request DELETE /
    expect_problem 405 method-not-allowed
    for method in BREW get QUERY; do
        request "$method" /keys/a
        expect_problem 501 method-unknown "$method"
    done
    request OPTIONS /keys/a
    expect_status 204; expect_header Allow 'GET, HEAD, PUT, DELETE, OPTIONS'
    request OPTIONS /metrics
    expect_status 204; expect_header Allow 'GET, HEAD, OPTIONS'
    request OPTIONS '' --request-target '*'
    expect_status 204
    for method in GET PUT DELETE; do
        request "$method" /nowhere; expect_problem 404 route-not-found "$method /nowhere"
    done
    request GET /key
    expect_problem 404 route-not-found
    request GET /Keys/a
    expect_problem 404 route-not-found
}
promise "wrong methods are 405 with Allow, unknown ones 501, OPTIONS tells, unknown paths 404" methods_are_told_apart

a_body_that_nobody_asked_for_is_ignored() {
    request PUT /keys/b --data-binary kept
    local method
    for method in GET DELETE; do
        request "$method" /keys/b --data-binary 'a body'
        expect_match "status of $method with a body" "$status" '^20[04]$'
        request PUT /keys/b --data-binary kept
    done
    head -c 1000000 /dev/zero >"$work/body-below"; head -c 1100000 /dev/zero >"$work/body-above"
    request GET /keys/b --data-binary "@$work/body-below"
    expect_status 200; expect_body kept
    request GET /keys/b --data-binary "@$work/body-above"
    expect_problem 413 value-too-large
    request GET /keys/b -H 'Transfer-Encoding: chunked' --data-binary "@$work/body-below"
    expect_status 200
    expect "connections for two requests with bodies" "$(curl -s -o /dev/null -w '%{num_connects} ' \
        -X GET --data-binary "@$work/body-below" "$url/keys/b" --next -s -o /dev/null -w '%{num_connects}' "$url/keys/b")" '1 0'
}
promise "a body that nobody asked for is ignored up to 1 MiB" a_body_that_nobody_asked_for_is_ignored

requests_can_be_traced() {
    request GET /keys/a -H 'Request-Id: my-request_1'
    expect_header Request-Id my-request_1
    request GET /keys/a
    [ -n "$(header Request-Id)" ] || complain "no Request-Id was made"
    local first; first=$(header Request-Id)
    request GET /keys/a
    [ "$(header Request-Id)" != "$first" ] || complain "a Request-Id came twice"
    request GET /keys/a -H 'traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
    expect_log 4bf92f3577b34da6a3ce929d0e0e4736
}
promise "a Request-Id is echoed or made, and traceparent is logged" requests_can_be_traced

an_unknown_expectation_is_refused() {
    request PUT /keys/e --data-binary x -H 'Expect: a-miracle'
    expect_problem 417 expectation-failed
    request PUT /keys/e --data-binary x -H 'Expect: 100-continue'
    expect_status 201
}
promise "an unknown expectation is refused" an_unknown_expectation_is_refused

finish
