# SPDX-License-Identifier: Apache-2.0
# Servers over HTTP on loopback: closed loops by wrk, fixed rates by pace.c.
# shellcheck shell=bash disable=SC2154 # variables of run

keys_of() { if [ "$1" -gt 100000 ]; then echo 32; else echo 2000; fi; } # value bytes
sizes() { if full; then echo 100 4096 1048576; else echo 100; fi; }

# ---- one measurement ----

rounded_up() { awk -v number="$1" 'BEGIN { print int(number) + (number > int(number)) }'; }

requests() { # server kind value-bytes [argument]: sets file
    file=$data/work/requests.$1.$2${4//[^0-9]/}.$3
    [ -s "$file" ] || "$tools/requests" "${dialect[$1]}" "$2" "$(keys_of "$3")" "$3" ${4:+"$4"} >"$file"
}

# Rows rate, cpu_us (of the server's processes, per request) and latencies of a closed loop.
closed() { # case server round connections kind value-bytes [argument]
    local output before count micros status broken p50 p99 p999 used name=$1
    requests "$2" "$5" "$6" "${7-}"
    before=$(cpu_us "$2")
    output=$(wrk -t 1 -c "$4" -d "$(rounded_up "$seconds")s" --timeout 20s -s $here/requests.lua "http://127.0.0.1:${port[$2]}" -- "$file")
    used=$(($(cpu_us "$2") - before))
    read -r _ count micros status broken p50 p99 p999 < <(grep ^done <<<"$output")
    [ "$5" != miss ] || status=$((count - status)) # each must be 404
    if [ "$status" -gt 64 ] || [ "$broken" -gt 0 ]; then
        case $2 in keyrest | hello*) echo "$name, $2: $output" >&2; exit 1 ;; esac
        skip "$name of $2: $status answers of 4xx or 5xx, $broken failures of sockets"; return
    fi
    [ "$count" -gt 0 ] || { skip "$name of $2: no request was answered in time"; return; }
    awk -v OFS='\t' -v name="$name" -v who="$2" -v round="$3" -v count="$count" -v micros="$micros" -v used="$used" -v p50="$p50" -v p99="$p99" -v p999="$p999" 'BEGIN {
        print name, who, "rate", round, count * 1e6 / micros
        print name, who, "cpu_us", round, used / count
        print name, who, "p50_us", round, p50; print name, who, "p99_us", round, p99; print name, who, "p999_us", round, p999
    }' >>"$results"
}

# Puts each key once, as fast as they are taken.
load_keys() { # server value-bytes
    requests "$1" put "$2" ""
    "$tools/pace" "${port[$1]}" 16 "$(keys_of "$2")000" 0.001 "$file" 2
}

# Starts servers and fills those that store: sets servers.
contest() { # value-bytes server...
    local bytes=$1 name; shift
    servers=
    for name; do
        case $name in
            keyrest) keyrest_start --durability "${durability:-always}" --value-bytes-max 16MiB ;;
            hello) hello_start hello "$bytes" "" once ;;
            hello-each) hello_start hello-each "$bytes" "" each ;;
            hello-durable) hello_start hello-durable "$bytes" "$data/work/blocks" once ;;
            nginx) nginx_start "$bytes" "$(keys_of "$bytes")" || continue ;;
            webdis) webdis_start "${appendfsync:-always}" || continue ;;
            etcd) etcd_start || continue ;;
        esac
        case $name in hello* | nginx) ;; *) load_keys "$name" "$bytes" ;; esac
        servers+=" $name"
    done
}
contest_end() { servers_stop; rm -rf "$data/work"; mkdir "$data/work"; }

# All servers one after the other in each round, each round beginning with another.
rounds_of() { # case connections kind value-bytes [argument]
    local round turn name; local -a turns
    read -ra turns <<<"$servers"
    for ((round = 1; round <= rounds; round++)); do
        for ((turn = 0; turn < ${#turns[@]}; turn++)); do
            name=${turns[(turn + round) % ${#turns[@]}]}
            closed "$1" "$name" "$round" "$2" "$3" "$4" "${5-}"
        done
    done
}

# ---- reads ----

http/get() {
    local bytes connections list="16 64 256"
    if full; then list="1 16 64 256"; fi
    for bytes in $(sizes); do
        contest "$bytes" keyrest hello hello-each nginx webdis etcd
        for connections in $list; do rounds_of "http/get/$bytes/$connections" "$connections" get "$bytes"; done
        contest_end
    done
}

http/miss() { # etcd answers 200 and an empty list
    full || return 0
    contest 100 keyrest nginx webdis
    for connections in 1 16 64 256; do rounds_of "http/miss/$connections" "$connections" miss 100; done
    contest_end
}

http/match() { # 304: of one key, whose tag each server told; wrk takes its Content-Length for that of a body
    full || return 0
    local name round tag before; local -A tags
    contest 100 keyrest nginx webdis
    for name in $servers; do
        case $name in webdis) tag=GET/bench000000000.txt ;; *) tag=keys/bench/000000000 ;; esac
        tags[$name]=$(curl -s -D - -o /dev/null "127.0.0.1:${port[$name]}/$tag" | tr -d '\r' | sed -n 's/^etag: //Ip')
    done
    for ((round = 1; round <= rounds; round++)); do
        for name in $servers; do
            requests "$name" match 100 "${tags[$name]}"
            before=$(cpu_us "$name")
            "$tools/pace" "${port[$name]}" 16 5000 "$seconds" "$file" 304 http/match/5000 "$name" "$round" >>"$results"
            awk -v name="$name" -v round="$round" -v used=$(($(cpu_us "$name") - before)) -v seconds="$seconds" \
                'BEGIN { printf "http/match/5000\t%s\tcpu_us\t%d\t%g\n", name, round, used / (5000 * seconds) }' >>"$results"
        done
    done
    contest_end
}

# ---- writes ----

http/put() { # durable when answered
    local bytes connections list="64"
    if full; then list="1 16 64 256"; fi
    for bytes in $(sizes); do
        contest "$bytes" keyrest webdis etcd
        for connections in $list; do rounds_of "http/put/$bytes/$connections" "$connections" put "$bytes"; done
        contest_end
    done
    contest 100 keyrest hello-durable
    rounds_of http/put-alone 1 put 100
    contest_end
}

http/interval() { # answered at once, synced 10 times per second; Redis: once per second
    full || return 0
    local bytes connections
    for bytes in $(sizes); do
        durability=interval:100ms appendfsync=everysec contest "$bytes" keyrest webdis
        for connections in 1 16 64 256; do rounds_of "http/interval/$bytes/$connections" "$connections" put "$bytes"; done
        contest_end
    done
}

http/mixed() {
    full || return 0
    local bytes connections gets
    for bytes in $(sizes); do
        contest "$bytes" keyrest webdis etcd
        for gets in 95 50; do
            for connections in 1 16 64 256; do rounds_of "http/mixed-$gets/$bytes/$connections" "$connections" mix "$bytes" "$gets"; done
        done
        contest_end
    done
}

# ---- fixed rates ----

http/pace() {
    full || return 0
    local round name
    contest 100 keyrest hello nginx webdis etcd
    for ((round = 1; round <= rounds; round++)); do
        for name in $servers; do
            requests "$name" get 100 ""
            "$tools/pace" "${port[$name]}" 64 2000 "$seconds" "$file" 2 http/pace-get/2000 "$name" "$round" >>"$results"
        done
        for name in $servers; do
            case $name in hello* | nginx) continue ;; esac
            requests "$name" put 100 ""
            "$tools/pace" "${port[$name]}" 64 500 "$seconds" "$file" 2 http/pace-put/500 "$name" "$round" >>"$results"
        done
    done
    contest_end
}

# Reads at a fixed rate: while dumps and compactions run, and while as much CPU is burnt.
http/maintenance() {
    local round writer began before share idle puts dumps compactions time=$(($(rounded_up "$seconds") * 5))
    keyrest_start --memtable-bytes 8MiB --journal-segment-bytes 18MiB
    load_keys keyrest 1024
    requests keyrest put 1024 ""; puts=$file
    requests keyrest get 1024 ""
    alone() { "$tools/pace" "${port[keyrest]}" 16 1000 "$time" "$file" 2 "$1" keyrest "$round" >>"$results"; }
    for ((round = 1; round <= rounds; round++)); do
        before=$(cpu_us keyrest); alone http/get-alone/1000; idle=$(($(cpu_us keyrest) - before))
        dumps=$(metric keyrest_dumps_total) compactions=$(metric keyrest_compactions_total)
        "$tools/pace" "${port[keyrest]}" 16 5000 $((time + 10)) "$puts" 2 & writer=$!
        sleep 0.5
        pids[writer]=$writer before=$(($(cpu_us keyrest) + $(cpu_us writer))) began=${EPOCHREALTIME/./}
        alone http/get-under-maintenance/1000
        share=$(awk -v used=$(($(cpu_us keyrest) + $(cpu_us writer) - before - idle)) -v time=$((${EPOCHREALTIME/./} - began)) 'BEGIN { print used / time }')
        server_stop writer
        printf '%s\tkeyrest\t%s\t%d\t%s\n' http/get-under-maintenance/1000 dumps "$round" $(($(metric keyrest_dumps_total) - dumps)) \
            http/get-under-maintenance/1000 compactions "$round" $(($(metric keyrest_compactions_total) - compactions)) \
            http/get-under-maintenance/1000 cpu_of_others "$round" "$share" >>"$results"
        sleep 1
        "$tools/burn" "$share" & pids[burner]=$!
        alone http/get-under-load/1000
        server_stop burner
    done
    contest_end
}

# ---- many connections ----

http/idle() {
    local round before count=${BENCH_IDLE:-10000} most
    most=$(($(ulimit -Hn) - 500))
    if [ "$count" -gt "$most" ]; then skip "http/idle: $most connections instead of $count, since ulimit -Hn says so"; count=$most; fi
    keyrest_start --connections-max $((count + 200)) --idle-ms-max 1h
    load_keys keyrest 100
    for ((round = 1; round <= rounds; round++)); do
        closed http/busy-alone/64 keyrest "$round" 64 get 100
        [ "$round" -gt 1 ] || before=$(resident_bytes keyrest) # later ones find memory that was freed
        "$tools/crowd" "${port[keyrest]}" "$count" >"$data/work/crowd" & pids[crowd]=$!
        until [ -s "$data/work/crowd" ]; do kill -0 "${pids[crowd]}"; sleep 0.1; done
        printf 'http/idle/%d\tkeyrest\tbytes_per_connection\t%d\t%d\n' "$count" "$round" $((($(resident_bytes keyrest) - before) / count)) >>"$results"
        closed http/busy-beside-idle/64 keyrest "$round" 64 get 100
        server_stop crowd; rm "$data/work/crowd"
        sleep 2 # for the server to see them go
    done
    contest_end
}

# GETs beside those who follow the feed: 256 that hear nothing, and the same while 100 writes per second wake them all.
http/watch() {
    local round writing puts
    keyrest_start
    load_keys keyrest 100
    requests keyrest put 100 ""; puts=$file
    for ((round = 1; round <= rounds; round++)); do
        for writing in '' -and-writes; do
            if [ -n "$writing" ]; then "$tools/pace" "${port[keyrest]}" 1 100 600 "$puts" 2 & pids[writer]=$!; fi
            closed "http/get-unwatched$writing/16" keyrest "$round" 16 get 100
            "$tools/watchers" "${port[keyrest]}" 256 >"$data/work/watchers" & pids[watchers]=$!
            until [ -s "$data/work/watchers" ]; do kill -0 "${pids[watchers]}"; sleep 0.1; done
            closed "http/get-watched$writing/16" keyrest "$round" 16 get 100
            server_stop watchers; rm "$data/work/watchers"
            if [ -n "$writing" ]; then kill -0 "${pids[writer]}"; server_stop writer; fi
            until [ "$(metric keyrest_watchers)" = 0 ]; do sleep 0.1; done
        done
    done
    contest_end
}
