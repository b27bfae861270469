#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Listing keys in pages and deleting them by prefix, as a client with curl sees it.
. "$(dirname "$0")/../lib/http.sh"

small=(--memtable-bytes 256KiB --reserve-bytes 0 --ballast-bytes 0 --compaction-interval-ms 1h)

write() { # KEYS, one a line from stdin: each with 2 kB of value, over one connection
    head -c 2000 /dev/zero >"$work/value"
    sed "s|.*|url = \"$url/keys/&\"\nupload-file = \"$work/value\"\noutput = /dev/null|" |
        curl --silent --fail --config - || complain "writes failed"
}
keys_of_page() { grep -oE '"key":"[^"]*"' "$work/body" | cut -d'"' -f4; }
next_of_page() { sed -n 's/.*"next":"\([^"]*\)".*/\1/p' "$work/body"; }

# Follows the Link headers; all keys are in $work/listed.
list_all() { # PATH
    local path=$1
    : >"$work/listed"
    while [ -n "$path" ]; do
        request GET "$path"; expect_status 200
        keys_of_page >>"$work/listed"
        path=$(header Link | sed -n 's/^<\(.*\)>; rel="next"$/\1/p')
    done
}

pages_survive_restarts() {
    local cursor
    server_start_ready --data "$work/data" "${small[@]}"
    seq -f '%05.0f' 1 500 | write
    list_all '/keys?limit=70'
    seq -f '%05.0f' 1 500 | cmp -s - "$work/listed" || complain "the list differs: $(wc -l <"$work/listed") keys"
    list_all '/keys?limit=70&reverse'
    seq -f '%05.0f' 500 -1 1 | cmp -s - "$work/listed" || complain "the list in reverse differs"
    request GET '/keys?limit=200&fields=key'; expect_status 200
    expect_header Content-Type application/json; expect_header Cache-Control no-store
    cursor=$(next_of_page)
    request POST /admin/compact; expect_status 200
    server_end
    server_start_ready --data "$work/data" "${small[@]}"
    request GET "/keys?cursor=$cursor"; expect_status 200
    expect "the key that comes next" "$(keys_of_page | head -1)" 00201
    expect "keys on the next page" "$(keys_of_page | wc -l)" 200
    request HEAD '/keys?limit=1'; expect_status 200
    server_end
}
promise "pages follow each other to the end, over a compaction and a restart" pages_survive_restarts

folding() {
    server_start_ready --data "$work/fold" "${small[@]}"
    printf '%s\n' a/1 a/2 a/b/3 c/4 d | write
    request GET '/keys?delimiter=/&fields=key'; expect_status 200
    expect "the top" "$(<"$work/body")" '{"items":[{"key":"d","href":"/keys/d"}],"prefixes":["a/","c/"]}'
    request GET '/keys?delimiter=/&fields=key&prefix=a/'; expect_status 200
    expect "the folder" "$(<"$work/body")" '{"items":[{"key":"a/1","href":"/keys/a/1"},{"key":"a/2","href":"/keys/a/2"}],"prefixes":["a/b/"]}'
    request GET "$(sed -n 's/.*"href":"\([^"]*\)".*/\1/p' "$work/body" | head -1)"; expect_status 200
    server_end
}
promise "a delimiter shows keys as folders, and an href is what to ask for" folding

every_href_leads_back() { # each value is the target that it was put by
    local href value count=0
    server_start_ready --data "$work/hrefs" "${small[@]}"
    for value in $(printf '%%%02x\n' $(seq 1 255) | grep -v '%2e') %25 %252F + a+b a%20b a%3Bb a%3Fb%23c a/ a//b /a //a ... .a ..a %C3%A9 e%CC%81 %FF%FE \
        "$(printf 'k%.0s' $(seq 1024))"; do
        printf 'url = "%s/keys/%s"\nrequest = PUT\ndata-binary = "%s"\noutput = /dev/null\nnext\n' "$url" "$value" "$value"
    done | sed '$d' | curl --silent --fail --globoff --path-as-is --config - || complain "writes failed"
    request GET '/keys?limit=1000&fields=key,value'; expect_status 200
    sed 's/{"key/\n&/g' "$work/body" | sed -nE 's/.*"href":"([^"]*)".*"value":"([^"]*)".*/\1 \2/p' >"$work/hrefs.listed"
    while read -r href value; do
        printf 'url = "%s%s"\nwrite-out = " %s\\n"\nnext\n' "$url" "$href" "${value//%/%%}"
    done <"$work/hrefs.listed" | sed '$d' | curl --silent --fail --globoff --path-as-is --config - >"$work/hrefs.got" || complain "an href is not found"
    while read -r value href; do
        count=$((count + 1)); [ "$value" = "$href" ] || complain "the href of $href leads to $value"
    done <"$work/hrefs.got"
    expect "keys that were found by their hrefs" "$count" 270
    server_end
}
promise "whatever bytes a key has, its href in a listing leads back to it" every_href_leads_back

# What came is in order, each key once, and all that had a value throughout is there.
expect_listed() { # FILE WHAT: keys, one a line
    LC_ALL=C sort -cu "$1" 2>"$work/disorder" || complain "$2: $(<"$work/disorder")"
    grep ^steady "$1" | cmp -s - "$work/steady.keys" || complain "$2: $(grep -c ^steady "$1") of $keys steady keys came"
}
write_on() { # SEED: overwrites steady keys and lets others come and go, until there is $work/stop
    awk -v seed="$1" -v keys="$keys" -v url="$url/keys/" 'BEGIN {
        srand(seed)
        for (i = 0; i < 300; i++) {
            key = i % 3 ? sprintf("moving/%d", rand() * 1000) : sprintf("steady/%09d", 1 + rand() * keys)
            printf "%surl = \"%s%s\"\noutput = /dev/null\n", i ? "next\n" : "", url, key
            printf i % 3 == 2 ? "request = DELETE\n" : "request = PUT\ndata-binary = \"another value\"\n"
        }
    }' >"$work/writer-$1"
    while [ ! -e "$work/stop" ]; do curl --silent --config "$work/writer-$1" || return; done
}
listing_under_writers() { # KEYREST_LISTED_KEYS=1000000 makes it long
    local keys=${KEYREST_LISTED_KEYS:-20000} seed writers=() round
    server_start_ready --data "$work/steady" --memtable-bytes 256KiB --reserve-bytes 0 --ballast-bytes 0 --compaction-interval-ms 200ms
    seq -f 'steady/%09.0f' 1 "$keys" >"$work/steady.keys"
    awk '{ printf "%s{\"op\":\"put\",\"key\":\"%s\",\"value\":\"v\"}", NR % 1000 == 1 ? "{\"ops\":[" : ",", $0; if (NR % 1000 == 0) print "]}" }' "$work/steady.keys" |
        while IFS= read -r batch; do printf '%s' "$batch" | curl -s --fail --json @- "$url/batch" >/dev/null || complain "a batch failed"; done
    for seed in 1 2 3 4; do write_on "$seed" & writers+=("$!"); done
    for round in 1 2 3; do
        request GET '/keys?fields=key' -H 'Accept: application/x-ndjson' --max-time 200; expect_status 200
        keys_of_page >"$work/came"
        expect_listed "$work/came" "lines of round $round"
        expect_match "the end of round $round" "$(tail -1 "$work/body")" "\"count\":$(wc -l <"$work/came")"
    done
    list_all '/keys?limit=1000&fields=key'
    expect_listed "$work/listed" pages
    : >"$work/stop"
    for seed in "${writers[@]}"; do wait "$seed" || complain "a writer failed"; done
    server_end
}
promise "of keys that stay none is missed or told twice, and all are in order, while writers run" listing_under_writers

lines() {
    server_start_ready --data "$work/lines" "${small[@]}"
    seq -f '%05.0f' 1 700 | write
    request GET '/keys?fields=key' -H 'Accept: application/x-ndjson'; expect_status 200
    expect_header Content-Type application/x-ndjson; expect_header Transfer-Encoding chunked
    sed -n 's/^{"key":"\([0-9]*\)".*/\1/p' "$work/body" >"$work/listed"
    seq -f '%05.0f' 1 700 | cmp -s - "$work/listed" || complain "the lines differ"
    expect "the last line" "$(tail -1 "$work/body")" '{"end":true,"count":700}'
    request GET '/keys?fields=value' -H 'Accept: application/x-ndjson' --http1.0; expect_status 200
    expect "lines for HTTP/1.0" "$(wc -l <"$work/body")" 701
    request HEAD /keys -H 'Accept: application/x-ndjson'; expect_status 200
    request GET /keys/00001; expect_status 200 "after a HEAD of lines"
    curl -s -o /dev/null --max-time 0.01 "$url/keys?fields=value" -H 'Accept: application/x-ndjson'
    request GET /livez; expect_status 200 "after a client that left"
    server_end
    expect "exit code" "$exit_code" 0
    expect_log 'fields=key" .*sent_bytes=[1-9][0-9]{4}'
}
promise "all keys come as lines in constant memory, with an end that tells a whole list" lines

deleting() {
    local cursor deleted=0
    server_start_ready --data "$work/delete" "${small[@]}"
    { seq -f 'gone/%03.0f' 1 250; seq -f 'kept/%03.0f' 1 20; } | write
    request DELETE /keys; expect_problem 400 bad-parameter
    request DELETE '/keys?prefix='; expect_problem 400 bad-parameter
    request DELETE '/keys?prefix=gone/&limit=100'; expect_status 200
    while cursor=$(next_of_page); deleted=$((deleted + $(sed 's/.*"deleted":\([0-9]*\).*/\1/' "$work/body"))); [ -n "$cursor" ]; do
        request DELETE "/keys?cursor=$cursor"; expect_status 200
    done
    expect "keys deleted" "$deleted" 250
    list_all /keys
    seq -f 'kept/%03.0f' 1 20 | cmp -s - "$work/listed" || complain "what is left differs"
    server_end
}
promise "a prefix is deleted in bounded steps, and nothing else is" deleting

refusals() {
    local method
    server_start_ready --data "$work/first"
    request PUT /keys/a --data-binary v; request PUT /keys/b --data-binary v
    request GET '/keys?limit=1'
    local cursor; cursor=$(next_of_page)
    server_end
    server_start_ready --data "$work/second"
    for method in GET DELETE; do
        request "$method" "/keys?cursor=$cursor"; expect_problem 410 cursor-gone
        request "$method" "/keys?cursor=x$cursor"; expect_problem 400 cursor-bad
    done
    request GET '/keys?limit=0'; expect_problem 400 bad-parameter
    server_end
    server_start --engine 'memory:?fail=scan:LOADING:1&fail=scan:CORRUPT:2&fail=scan:NO_MEMORY:3'
    request GET /keys; expect_problem 503 loading
    request GET /keys; expect_problem 500 data-corrupt
    request GET /keys; expect_problem 507 memory-full
    server_end
    server_start --engine 'memory:?fail=commit:UNKNOWN:2&fail=commit:UNAVAILABLE:3&fail=commit:NO_SPACE:4&fail=commit:CORRUPT:5'
    request PUT /keys/p/1 --data-binary v; expect_status 201
    request DELETE '/keys?prefix=p'; expect_problem 504 outcome-unknown
    request DELETE '/keys?prefix=p'; expect_problem 503 write-not-applied
    request DELETE '/keys?prefix=p'; expect_problem 507 disk-full
    request DELETE '/keys?prefix=p'; expect_problem 500 data-corrupt
    server_end
}
promise "cursors of others, bad parameters and what the engine refuses are told" refusals

finish
