#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Clients that nobody here wrote: Python's http.client, Node's fetch, a Prometheus server. What is not
# installed is skipped (make deps-clients). They talk to 127.0.0.1 alone.
. "$(dirname "$0")/../lib/http.sh"
clients=tests/http/clients
prometheus=$(PATH=$PWD/build/clients/unpacked/usr/bin:$PATH command -v prometheus)
started=() # programs that do not end by themselves
trap '[ "${#started[@]}" -eq 0 ] || kill -KILL "${started[@]}" 2>/dev/null; clean_up' EXIT
server_start_ready --data "$work/data"

# Runs a client that ends by itself, badly when anything is not as it says.
run_client() { # PROGRAM ARGUMENTS
    if ! command -v "$1" >/dev/null; then skip "$1 is not installed (make deps-clients)"; return; fi
    timeout -k 1 150 "$@" >"$work/client" 2>&1 </dev/null || complain "$2: $(tail -n 12 "$work/client" | tr '\n' '|')"
}

python_is_served() { run_client python3 -B "$clients/client.py" "$port"; }
promise "Python's http.client keeps its connection, puts in chunks and waits for 100 Continue" python_is_served

node_is_served() {
    if command -v node >/dev/null && ! node -e 'fetch' 2>/dev/null; then skip "this node is older than fetch"; return; fi
    run_client node "$clients/fetch.mjs" "$url"
}
promise "Node's fetch races, streams, asks for parts and goes away under way" node_is_served

# ---- EventSource ----

# Waits until it has printed that many lines.
follower_has() { # LINES
    local tries
    for ((tries = 0; tries < 3000; tries++)); do
        [ "$(wc -l <"$work/followed")" -ge "$1" ] && return
        kill -0 "$follower_pid" 2>/dev/null || break
        sleep 0.01
    done
    [ "$(wc -l <"$work/followed")" -ge "$1" ] || complain "only $(wc -l <"$work/followed") events came: $(tail -1 "$work/followed")"
}
write_keys() { # FIRST LAST: each put, and every tenth deleted again; what the feed must tell goes to $work/written
    local i
    for ((i = $1; i <= $2; i++)); do
        request PUT "/keys/followed/$i" --data-binary "$i"; echo "put followed/$i" >>"$work/written"
        ((i % 10)) || { request DELETE "/keys/followed/$i"; echo "delete followed/$i" >>"$work/written"; }
    done
}
come_back() { # SIGNAL: ends the server and starts it anew, at another port
    server_end "$1"; server_start_ready --data "$work/feed"; echo "$port" >"$work/port"
}

eventsource_follows() {
    if ! command -v node >/dev/null; then skip "node is not installed (make deps-clients)"; return; fi
    if ! [ -d build/clients/node_modules/eventsource ]; then skip "eventsource is not installed (make deps-clients)"; return; fi
    server_end; server_start_ready --data "$work/feed"; echo "$port" >"$work/port"
    : >"$work/written"; : >"$work/followed"
    node "$clients/eventsource.mjs" "$work/port" 66 >"$work/followed" 2>&1 </dev/null &
    follower_pid=$!; started+=("$follower_pid")
    write_keys 1 20; follower_has 22
    come_back KILL; write_keys 21 40; follower_has 44
    come_back TERM; write_keys 41 60; follower_has 66
    kill "$follower_pid" 2>/dev/null; wait "$follower_pid" 2>/dev/null
    cmp -s "$work/followed" "$work/written" || complain "the feed told something else: $(diff "$work/written" "$work/followed" | head -5 | tr '\n' '|')"
}
promise "npm's eventsource misses nothing and is told nothing twice, over kill -9 and a stop" eventsource_follows

# ---- Prometheus ----

prometheus_start() { # a server that scrapes this one; its address in $scraper
    local tries
    printf 'scrape_configs:\n- job_name: keyrest\n  scrape_interval: 1s\n  static_configs:\n  - targets: ["127.0.0.1:%s"]\n' "$port" >"$work/prometheus.yml"
    "$prometheus" --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/prometheus" \
        --web.listen-address=127.0.0.1:0 >"$work/prometheus.log" 2>&1 </dev/null &
    scraper_pid=$! scraper=; started+=("$scraper_pid")
    for ((tries = 0; tries < 2000; tries++)); do
        scraper=$(sed -nE 's/.*msg="Listening on" address=(127\.0\.0\.1:[0-9]+).*/\1/p' "$work/prometheus.log" | head -1)
        [ -n "$scraper" ] && return 0
        kill -0 "$scraper_pid" 2>/dev/null || break
        sleep 0.01
    done
    complain "Prometheus did not come up: $(tail -1 "$work/prometheus.log")"
    return 1
}
prometheus_end() { kill -KILL "$scraper_pid" 2>/dev/null; wait "$scraper_pid" 2>/dev/null; }

# Asks it until the answer has that text; what it answered at last is in $work/answer.
ask_until() { # PATTERN PATH CURL-OPTIONS
    local tries pattern=$1 path=$2; shift 2
    for ((tries = 0; tries < 600; tries++)); do
        curl -s --max-time 5 "http://$scraper$path" "$@" >"$work/answer"
        grep -qE "$pattern" "$work/answer" && return 0
        sleep 0.05
    done
    complain "Prometheus never answered like '$pattern' at $path: $(head -c 600 "$work/answer")"
}

prometheus_scrapes() {
    if [ -z "$prometheus" ]; then skip "prometheus is not installed (make deps-clients)"; return; fi
    local puts
    request PUT /keys/scraped --data-binary v
    puts=$(curl -s "$url/metrics" | sed -n 's/^keyrest_puts_total //p')
    if prometheus_start; then
        ask_until '"health":"(up|down)"' /api/v1/targets
        expect "health of the target" "$(grep -oE '"health":"[a-z]+"' "$work/answer")" '"health":"up"'
        expect "error of the scrape" "$(grep -oE '"lastError":"[^"]*"' "$work/answer")" '"lastError":""'
        ask_until "\"value\":\\[[0-9.]+,\"$puts\"\\]" /api/v1/query -d 'query=keyrest_puts_total'
        ask_until '"version":"' /api/v1/query -d 'query=keyrest_build_info'
        ask_until '"method":"PUT".*"route":"/keys/\{key\}"' /api/v1/query \
            --data-urlencode 'query=keyrest_http_requests_total{method="PUT",code="201"}'
    fi
    prometheus_end
}
promise "a Prometheus server scrapes the metrics, labels and all" prometheus_scrapes

metrics_are_as_prometheus_wants_them() {
    local promtool=${prometheus%prometheus}promtool
    if ! [ -x "$promtool" ]; then skip "promtool is not installed (make deps-clients)"; return; fi
    request GET /metrics
    timeout 20 "$promtool" check metrics <"$work/body" >"$work/answer" 2>&1 || complain "promtool: $(tr '\n' '|' <"$work/answer")"
}
promise "promtool has nothing to say against the metrics" metrics_are_as_prometheus_wants_them

finish
