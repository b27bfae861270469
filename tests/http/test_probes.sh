#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What the service tells of itself: probes, metrics, discovery, problem pages, log.
. "$(dirname "$0")/../lib/http.sh"
server_start_ready --data "$work/data"

probes_answer() {
    local probe
    for probe in livez readyz healthz; do
        request GET "/$probe"
        expect_status 200 "$probe"; expect_body ok; expect_match "type" "$(header Content-Type)" '^text/plain'
        request HEAD "/$probe"
        expect_status 200 "HEAD $probe"
        request GET "/$probe?verbose"
        expect_status 200; expect_match "checks of $probe" "$(cat "$work/body")" '^\[\+\]ping ok'
        expect_match "verdict" "$(tail -1 "$work/body")" "^$probe check passed$"
    done
    request GET '/readyz?verbose&exclude=loaded&exclude=ping'
    expect_status 200; expect_match "excluded" "$(cat "$work/body")" 'loaded excluded'
    request GET '/readyz?verbose&exclude=nonsense'
    expect_status 200; expect_match "warning" "$(cat "$work/body")" 'nonsense'
}
promise "the probes answer as in Kubernetes" probes_answer

durability_is_told() {
    request GET '/readyz?verbose'
    expect_match "durability" "$(cat "$work/body")" 'durability ok: always'
    request GET /
    expect_status 200; expect_header Content-Type application/json
    expect_match "version" "$(member version)" '^[0-9]+\.[0-9]+'
    expect_match "epoch" "$(member epoch)" '^[0-9a-f]{12}$'
    local word
    for word in limits capabilities durable key_bytes_max value_bytes_max /openapi.yaml; do
        grep -q "$word" "$work/body" || complain "/ does not tell $word"
    done
    request HEAD /
    expect_status 200
}
promise "durability, version, epoch, limits and capabilities are told" durability_is_told

every_problem_has_a_page() {
    local code codes
    codes=$(sed -nE 's/^X\([A-Z_]+, "([a-z-]+)".*/\1/p' api/problem.def)
    [ "$(wc -l <<<"$codes")" -gt 20 ] || complain "too few codes in problem.def"
    for code in $codes; do
        request GET "/problems/$code"
        expect_status 200 "$code"; grep -q "$code" "$work/body" || complain "the page of $code lacks its code"
    done
    request GET /problems/none-such
    expect_problem 404 route-not-found
    request HEAD /problems/busy
    expect_status 200
}
promise "every problem code has a page" every_problem_has_a_page

the_openapi_file_is_served() {
    request GET /openapi.yaml
    expect_status 200; expect_same openapi.yaml
    request HEAD /openapi.yaml
    expect_status 200; expect_header Content-Length "$(stat -c %s openapi.yaml)"
}
promise "openapi.yaml is served as it is" the_openapi_file_is_served

sample='^(keyrest|process)_[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? [0-9.e+-]+$'
metric() { sed -n "s/^$1 //p" "$work/body"; }
metrics_count() {
    request PUT /keys/m --data-binary 12345
    request GET /metrics
    expect_status 200; expect_match "type" "$(header Content-Type)" '^text/plain; version=0.0.4'
    local puts keys; puts=$(metric keyrest_puts_total) keys=$(metric keyrest_keys)
    request PUT /keys/m2 --data-binary 12345
    request GET /metrics
    expect "puts" "$(metric keyrest_puts_total)" $((puts + 1))
    expect "keys" "$(metric keyrest_keys)" $((keys + 1))
    expect "lines that are no sample and no comment" "$(grep -vE "$sample|^# (HELP|TYPE) (keyrest|process)_[a-z_]+ " "$work/body")" ''
    expect_match "build info" "$(grep '^keyrest_build_info' "$work/body")" '^keyrest_build_info\{version="[^"]+"\} 1$'
    grep -qE '^keyrest_journal_sync_seconds_bucket\{le="\+Inf"\} [1-9]' "$work/body" || complain "no fdatasync in the histogram"
    expect "le of the first bucket" "$(sed -n 's/^keyrest_commit_seconds_bucket{le="\([^"]*\)".*/\1/p' "$work/body" | head -1)" 5e-05
    request HEAD /metrics
    expect_status 200
}
promise "metrics count, in the text format of Prometheus" metrics_count

series() { grep -vc '^#' "$work/body"; }
many_requests() { # SEED: paths and methods that no one foresaw, a thousand at a time over one connection
    local number
    for number in $(seq 500); do
        printf '%ssilent\nurl = "%s/x%s/%s?q=%s"\nurl = "%s/keys/%s%s"\noutput = /dev/null\noutput = /dev/null\n' \
            "$([ "$number" -gt 1 ] && echo next$'\n')" "$url" "$1" "$number" "$number" "$url" "$1" "$number"
        [ $((number % 50)) -eq 0 ] && printf 'request = M%s\n' "$number"
    done | curl -K - >/dev/null 2>&1
}
series_do_not_grow() {
    many_requests a; request GET /metrics # every kind of answer has its series now
    request GET /metrics; local before; before=$(series)
    many_requests b; many_requests c
    request GET /metrics
    expect "series" "$(series)" "$before"
    grep -qE '/x[abc]|keys/[abc]' "$work/body" && complain "a path is in a label"
}
promise "the number of metric series does not grow with unforeseen paths and methods" series_do_not_grow

every_request_is_logged_once() {
    request PUT '/keys/log"me%0a=x' --data-binary x -H 'Request-Id: forged" status=200'
    request GET '/keys/log-me'
    local lines; lines=$(grep -c 'msg=request.*path=/keys/log-me' "$server_log")
    expect "log lines of one request" "$lines" 1
    expect_log 'msg=request .*method=GET .*status=404 .*route=/keys/\{key\} .*problem=key-not-found'
    grep -vqE '^(time|ts|level)=' "$server_log" && complain "a log line that does not begin as one: $(grep -vE '^(time|ts|level)=' "$server_log" | head -1)"
}
promise "every request is one line of the access log" every_request_is_logged_once

finish
