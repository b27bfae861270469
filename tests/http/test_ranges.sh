#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Parts of values, and dates as conditions (RFC 9110 sections 13 and 14), as curl asks for them.
. "$(dirname "$0")/../lib/http.sh"
server_start_ready --data "$work/data"

past='Sun, 06 Nov 1994 08:49:37 GMT' future='Fri, 31 Dec 9999 23:59:59 GMT'
for ((i = 0; i < 40000; i++)); do printf '%06d\n' "$i"; done >"$work/large" # 280000 bytes
request PUT /keys/large -T "$work/large"; large=$(etag)
request PUT /keys/small --data-binary 0123456789 -H 'Content-Type: text/plain'; small=$(etag)
request PUT /keys/empty --data-binary ''

a_part_is_the_bytes_asked_for() {
    local range first count
    while read -r range first count; do
        request GET /keys/large -r "$range"
        expect_status 206 "$range"
        tail -c "+$((first + 1))" "$work/large" | head -c "$count" >"$work/part"
        expect_same "$work/part"
        expect_header Content-Range "bytes $first-$((first + count - 1))/280000"
        expect_header Content-Length "$count"
        expect_header ETag "$large"
    done <<'ROWS'
0-0 0 1
0-3 0 4
70000-139999 70000 70000
279999-279999 279999 1
279990-999999 279990 10
279000- 279000 1000
0- 0 280000
-7 279993 7
-999999 0 280000
ROWS
    request GET /keys/small -r 2-4
    expect_body 234; expect_header Content-Type text/plain; expect_header X-Content-Type-Options nosniff
}
promise "a part is the bytes asked for, and says where they are" a_part_is_the_bytes_asked_for

a_range_behind_the_end_is_refused() {
    local range
    for range in 10- 10-12 99999999999999999999- -0; do
        request GET /keys/small -r "$range"
        expect_problem 416 range-unsatisfiable "$range"; expect_header Content-Range 'bytes */10'
        expect "size member" "$(member size)" 10; expect_header ETag "$small"
    done
    request GET /keys/empty -r 0-
    expect_problem 416 range-unsatisfiable "of an empty value"; expect_header Content-Range 'bytes */0'
    request GET /keys/empty -r -5
    expect_status 200 "the last bytes of an empty value"; expect_body ''
    request GET /keys/none -r 0-3
    expect_problem 404 key-not-found
}
promise "a range behind the end is refused with the true size" a_range_behind_the_end_is_refused

what_is_no_single_range_is_ignored() {
    local range
    for range in 'bytes=0-1,4-5' 'bytes=0-1, 1-2, 2-3' 'bytes=5-2' 'bytes=' 'bytes=-' 'bytes=x-y' 'bytes 0-3' 'items=0-3' '0-3'; do
        request GET /keys/small -H "Range: $range"
        expect_status 200 "$range"; expect_body 0123456789; expect_header Content-Range ''
        expect_header Accept-Ranges bytes
    done
    request GET /keys/small -H "Range: bytes=$(printf '0-,%.0s' $(seq 2000))0-"
    expect_status 200 "2001 ranges"; expect_body 0123456789
    request GET /keys/small -H 'Range: bytes=0-1' -H 'Range: bytes=2-3'
    expect_status 200 "two fields"; expect_body 0123456789
    request HEAD /keys/small -r 0-3
    expect_status 200 HEAD; expect_header Content-Length 10
    request PUT /keys/put --data-binary whole -H 'Range: bytes=0-1'
    expect_status 201 PUT
}
promise "several ranges, other units and other methods get the whole" what_is_no_single_range_is_ignored

if_range_gives_the_whole_of_another_version() {
    local tag dated; dated=$(request GET /keys/small; header Last-Modified)
    request GET /keys/small -r 2-4 -H "If-Range: $small"
    expect_status 206 "the same version"; expect_body 234
    for tag in "$large" "W/$small" '"x"' x "$dated" "$future" '*'; do
        request GET /keys/small -r 2-4 -H "If-Range: $tag"
        expect_status 200 "If-Range: $tag"; expect_body 0123456789
    done
    request GET /keys/small -r 99- -H "If-Range: $large"
    expect_status 200 "behind the end of another version"
}
promise "If-Range with another version, a weak tag or a date gets the whole" if_range_gives_the_whole_of_another_version

conditions_come_first() {
    request GET /keys/small -r 99- -H "If-None-Match: $small"
    expect_status 304; expect_header Content-Range ''
    request GET /keys/small -r 0-3 -H "If-Match: $large"
    expect_problem 412 precondition-failed
    request GET /keys/small -r 0-3 -H "If-Match: $small"
    expect_status 206; expect_body 0123
}
promise "conditions are judged before the range" conditions_come_first

curl_resumes_a_download() {
    head -c 100001 "$work/large" >"$work/got"
    curl -s -C - -o "$work/got" "$url/keys/large"
    expect "exit status of curl" $? 0
    cmp "$work/got" "$work/large" || complain "the resumed download differs"
    curl -s -C - -o "$work/got" "$url/keys/large" # there is nothing left to ask for
    cmp "$work/got" "$work/large" || complain "resuming a whole download changed it"
}
promise "curl resumes a download where it stopped" curl_resumes_a_download

parts_come_from_tables_too() {
    server_end; server_start_ready --data "$work/data" --memtable-bytes 1MiB
    local i; head -c 1000000 /dev/zero >"$work/filler"
    for ((i = 0; i < 4; i++)); do request PUT "/keys/filler-$i" -T "$work/filler"; done
    for ((i = 0; i < 500; i++)); do
        curl -s "$url/metrics" | grep -q '^keyrest_table_live_bytes [1-9]' && break
        sleep 0.01
    done
    [ "$i" -lt 500 ] || complain "no table was written"
    request GET /keys/large -r 70000-70006
    expect_status 206; expect_body 010000$'\n'; expect_header ETag "$large"
}
promise "parts come from tables and after a restart, under the same ETag" parts_come_from_tables_too

# ---- dates ----

a_read_tells_when_it_was_written() {
    request GET /keys/small; local modified; modified=$(header Last-Modified)
    expect_match Last-Modified "$modified" '^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT$'
    [ "$(date -d "$modified" +%s)" -le "$(date -d "$(header Date)" +%s)" ] || complain "Last-Modified $modified is after Date"
    request HEAD /keys/small
    expect_header Last-Modified "$modified"
    touch -d "$modified" "$work/same"; touch -d "$past" "$work/old"
    expect "curl -z of that time" "$(curl -s -o /dev/null -w '%{http_code}' -z "$work/same" "$url/keys/small")" 304
    expect "curl -z of the past" "$(curl -s -o /dev/null -w '%{http_code}' -z "$work/old" "$url/keys/small")" 200
}
promise "a read tells when the value was written, and curl -z asks by it" a_read_tells_when_it_was_written

reads_obey_dates() {
    local method
    for method in GET HEAD; do
        request "$method" /keys/small -H "If-Modified-Since: $future"
        expect_status 304 "$method"; expect_header ETag "$small"; expect_header Content-Length 10
        request "$method" /keys/small -H "If-Modified-Since: $past"
        expect_status 200 "$method"
        request "$method" /keys/small -H "If-Unmodified-Since: $past"
        expect_status 412 "$method"; expect_header ETag "$small"
        request "$method" /keys/small -H "If-Unmodified-Since: $future"
        expect_status 200 "$method"
        request "$method" /keys/small -H "If-None-Match: \"x\"" -H "If-Modified-Since: $future"
        expect_status 200 "$method: the tag counts"
        request "$method" /keys/small -H "If-Match: $small" -H "If-Unmodified-Since: $past"
        expect_status 200 "$method: the tag counts"
    done
    request GET /keys/small -H 'If-Modified-Since: tomorrow' -H 'If-Unmodified-Since: yesterday'
    expect_status 200 "no dates"
    request GET /keys/none -H "If-Unmodified-Since: $past"
    expect_problem 404 key-not-found
}
promise "reads obey dates, where no tag takes their place" reads_obey_dates

writes_obey_if_unmodified_since() {
    request PUT /keys/dated --data-binary 1 -H "If-Unmodified-Since: $past"
    expect_status 201 "what is absent has no date"; local now; now=$(etag)
    request PUT /keys/dated --data-binary 2 -H "If-Unmodified-Since: $past"
    expect_problem 412 precondition-failed PUT; expect_header ETag "$now"
    request PUT /keys/dated --data-binary 2 -H "If-Unmodified-Since: $past" -H 'Expect: 100-continue'
    expect_problem 412 precondition-failed "PUT that waits"
    request DELETE /keys/dated -H "If-Unmodified-Since: $past"
    expect_problem 412 precondition-failed DELETE
    request POST /incr/dated -H "If-Unmodified-Since: $past"
    expect_problem 412 precondition-failed POST
    request GET /keys/dated
    expect_body 1
    request PUT /keys/dated --data-binary 3 -H "If-Unmodified-Since: $future" -H "If-Modified-Since: $future"
    expect_status 204
    request DELETE /keys/dated -H "If-Unmodified-Since: $future"
    expect_status 204
    request DELETE /keys/dated -H "If-Unmodified-Since: $past"
    expect_problem 404 key-not-found
}
promise "writes obey If-Unmodified-Since" writes_obey_if_unmodified_since

of_racing_dated_writers_one_wins() {
    local i modified now
    request PUT /keys/race --data-binary first
    request GET /keys/race; modified=$(header Last-Modified)
    for ((i = 0; i < 500; i++)); do # until its second is over
        request GET /keys/race; now=$(header Date)
        [ "$now" = "$modified" ] || break
        sleep 0.01
    done
    for ((i = 0; i < 16; i++)); do
        [ "$i" -eq 0 ] || echo next
        printf 'url = "%s/keys/race"\nrequest = PUT\ndata-binary = "%s"\n' "$url" "$i"
        printf 'header = "If-Unmodified-Since: %s"\noutput = /dev/null\nwrite-out = "%%{http_code}\\n"\n' "$modified"
    done >"$work/race"
    curl --silent --parallel --parallel-immediate --parallel-max 16 --max-time 20 --config "$work/race" >"$work/codes"
    expect "how many were applied" "$(grep -c '^204$' "$work/codes")" 1
    expect "how many were refused" "$(grep -c '^412$' "$work/codes")" 15
}
promise "of racing writers with the same If-Unmodified-Since one wins" of_racing_dated_writers_one_wins

finish
