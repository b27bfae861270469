# SPDX-License-Identifier: Apache-2.0
# Starts and stops what is measured over HTTP, on ports of 127.0.0.1, with data under $data/work.
# After NAME_start, ${port[NAME]}, ${pids[NAME]} and ${dialect[NAME]} (requests.c) are set.
# shellcheck shell=bash disable=SC2154 # variables of run

declare -A port pids dialect
export LD_LIBRARY_PATH=$PWD/$peers/usr/lib/x86_64-linux-gnu${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

# ---- processes ----

peer() { # command: where it is, unpacked or installed
    local path
    for path in "$peers"/usr/{bin,sbin}/"$1" /usr/{bin,sbin}/"$1"; do
        [ ! -x "$path" ] || { echo "$path"; return; }
    done
    return 1
}
children() { echo "$1"; local child; for child in $(cat /proc/"$1"/task/*/children 2>/dev/null); do children "$child"; done; }
processes() { local pid; for pid in ${pids[$1]}; do children "$pid"; done; }
cpu_us() { # server: user and system of its processes until now
    local pid
    for pid in $(processes "$1"); do cat "/proc/$pid/stat"; done |
        awk -v tick="$(getconf CLK_TCK)" '{ sub(/^.*\) /, ""); sum += $12 + $13 } END { print int(sum * 1e6 / tick) }'
}
resident_bytes() { awk '/^VmRSS/ { print $2 * 1024 }' "/proc/${pids[$1]}/status"; }

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
free_port() { # sets free: a port that nobody listens on
    free=$((20000 + RANDOM % 10000))
    while answers "$free"; do free=$((free + 1)); done
}
until_listens() { # server log
    local try
    for ((try = 0; try < 1000; try++)); do
        if [ -n "${port[$1]-}" ] && answers "${port[$1]}"; then return; fi
        # shellcheck disable=SC2086 # pids are words
        kill -0 ${pids[$1]} 2>/dev/null || break
        sleep 0.01
    done
    echo "$1 does not listen:" >&2; tail -5 "$2" >&2; exit 1
}

server_stop() { # server
    # shellcheck disable=SC2086 # pids are words
    [ -z "${pids[$1]-}" ] || { kill ${pids[$1]} 2>/dev/null; wait ${pids[$1]} 2>/dev/null; } || true
    unset "pids[$1]" "port[$1]"
}
servers_stop() { local name; for name in "${!pids[@]}"; do server_stop "$name"; done; }

# ---- one function each ----

keyrest_start() { # settings...
    local log=$data/work/keyrest.log
    dialect[keyrest]=plain
    : >"$log"
    build/release/keyrest serve --listen 127.0.0.1:0 --data "$data/work/keyrest" "$@" >"$log" 2>&1 & pids[keyrest]=$!
    until port[keyrest]=$(sed -n 's/.*msg=listening address=.*:\([0-9]*\)$/\1/p' "$log" | head -1) && [ -n "${port[keyrest]}" ]; do
        kill -0 "${pids[keyrest]}" || { cat "$log" >&2; exit 1; }
        sleep 0.01
    done
    until curl -fs -o /dev/null "127.0.0.1:${port[keyrest]}/readyz"; do sleep 0.01; done
}
metric() { curl -fs "127.0.0.1:${port[keyrest]}/metrics" | awk -v name="$1" '$1 == name { printf "%d\n", $2 }'; }

# Headers of Keyrest's answer to a GET, as lines of "Name: value".
keyrest_headers() {
    curl -sI "127.0.0.1:${port[keyrest]}/keys/bench/000000000" | tr -d '\r' | grep -iE '^[a-z-]+: ' | grep -viE '^(date|content-length|connection):'
}

hello_start() { # name, value bytes, file or "", once or each: needs Keyrest with values
    local headers
    dialect[$1]=plain
    mapfile -t headers < <(keyrest_headers)
    "$tools/hello" "$2" "$3" "$4" "${headers[@]}" >"$data/work/$1.port" & pids[$1]=$!
    until [ -s "$data/work/$1.port" ]; do sleep 0.01; done
    port[$1]=$(cat "$data/work/$1.port")
}

# Debian's settings, but for the access log, and connections that may stay: as many workers as
# processors, sendfile, no cache of open files. The headers that it would not send are added.
nginx_start() { # value bytes, keys: needs Keyrest with values
    local work=$data/work/nginx binary number name
    binary=$(peer nginx) || { skip "nginx is not there (make deps-bench)"; return 1; }
    mkdir -p "$work/root/keys/bench"
    head -c "$1" /dev/zero | tr '\0' x >"$work/value"
    for ((number = 0; number < $2; number++)); do printf '%09d\n' "$number"; done |
        (cd "$work/root/keys/bench" && xargs -n 500 sh -c 'tee "$@" <../../../value >/dev/null' sh)
    free_port; dialect[nginx]=plain port[nginx]=$free
    {
        echo "user $(id -un) $(id -gn); daemon off; worker_processes auto; pid $work/pid; error_log $work/log;"
        echo "events { worker_connections 2048; }"
        echo "http { access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; default_type application/octet-stream;"
        for name in client_body proxy fastcgi uwsgi scgi; do echo "${name}_temp_path $work/$name;"; done
        keyrest_headers | grep -viE '^(etag|last-modified|content-type|accept-ranges|server):' | sed 's/^\([^:]*\): \(.*\)$/add_header \1 "\2";/'
        echo "server { listen 127.0.0.1:$free; root $work/root; } }"
    } >"$work/conf"
    "$binary" -p "$work" -c "$work/conf" 2>"$work/errors" & pids[nginx]=$!
    until_listens nginx "$work/errors"
}

# webdis with its default of 5 threads and 20 connections to a Redis of its own.
webdis_start() { # appendfsync
    local work=$data/work/webdis webdis redis
    webdis=$(peer webdis) && redis=$(peer redis-server) || { skip "webdis or redis-server is not there (make deps-bench)"; return 1; }
    mkdir -p "$work"
    free_port; dialect[webdis]=webdis port[webdis]=$free
    "$redis" --port "$free" --bind 127.0.0.1 --dir "$work" --save '' --appendonly yes --appendfsync "$1" --daemonize no >"$work/redis.log" 2>&1 & pids[webdis]=$!
    until_listens webdis "$work/redis.log"
    echo "{\"redis_host\": \"127.0.0.1\", \"redis_port\": $free, \"http_host\": \"127.0.0.1\", \"http_port\": $((free + 1)), \"threads\": 5, \"pool_size\": 20, \"daemonize\": false, \"database\": 0, \"verbosity\": 0, \"logfile\": \"$work/log\"}" >"$work/conf"
    port[webdis]=$((free + 1))
    "$webdis" "$work/conf" >"$work/errors" 2>&1 & pids[webdis]="$! ${pids[webdis]}"
    until_listens webdis "$work/errors"
}

etcd_start() {
    local work=$data/work/etcd binary client member
    binary=$(peer etcd) || { skip "etcd is not there (make deps-bench)"; return 1; }
    mkdir -p "$work"; chmod 700 "$work"
    free_port; client=http://127.0.0.1:$free member=http://127.0.0.1:$((free + 1))
    dialect[etcd]=etcd port[etcd]=$free
    "$binary" --data-dir "$work/data" --listen-client-urls "$client" --advertise-client-urls "$client" --listen-peer-urls "$member" \
        --initial-advertise-peer-urls "$member" --initial-cluster "default=$member" --quota-backend-bytes 8589934592 --log-level error >"$work/log" 2>&1 & pids[etcd]=$!
    until_listens etcd "$work/log"
    until curl -fs "$client/health" | grep -q true; do sleep 0.05; done
}
