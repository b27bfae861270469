#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The binary on a file system of 64 MiB: what clients, probes and the log see while it is full.
if [ -z "${KEYREST_MOUNTS:-}" ]; then
    why='mounts are not allowed here'
    unshare -m true 2>/dev/null && KEYREST_MOUNTS=$(mktemp -d "${TMPDIR:-/tmp}/keyrest-mounts-XXXXXX") &&
        export KEYREST_MOUNTS && {
        # shellcheck disable=SC2016 # the inner shell expands them
        unshare -m sh -c 'mount --make-rprivate / && mount -t tmpfs -o size=64m none "$KEYREST_MOUNTS" && exec "$0" "$@"' "$0" "$@"
        code=$?; rm -rf "$KEYREST_MOUNTS"
        exit "$code"
    }
    echo "ok 1 # SKIP the binary on a full disk: $why"; echo 1..1; exit 0
fi
. "$(dirname "$0")/../lib/http.sh"
disk=$KEYREST_MOUNTS
settings=(--data "$disk/data" --value-bytes-max 1MiB --memtable-bytes 2MiB --journal-segment-bytes 4MiB
    --reserve-bytes 12MiB --ballast-bytes 4MiB --compaction-interval-ms 200ms --memory-bytes-max 64MiB)
head -c 500000 /dev/urandom >"$work/value"

fill() { # BYTES to leave: by a file that is not the store's
    local free
    free=$(($(stat -f -c '%a*%S' "$disk")))
    [ "$free" -le "$1" ] || fallocate -l $(($(stat -c %s "$disk/filler" 2>/dev/null || echo 0) + free - $1)) "$disk/filler"
}
waits_for() { # STATUS METHOD TARGET [CURL OPTIONS]: by itself, within 20 s
    local wanted=$1 tries; shift
    for ((tries = 0; tries < 200; tries++)); do
        request "$@"
        [ "$status" = "$wanted" ] && return
        sleep 0.1
    done
    complain "$2 was $status for 20 s, wanted $wanted"
}
waits_for_writable() { # +|-
    local tries
    for ((tries = 0; tries < 200; tries++)); do
        request GET '/readyz?verbose'
        grep -qF "[$1]writable" "$work/body" && return
        sleep 0.1
    done
    complain "/readyz?verbose did not say [$1]writable: $(<"$work/body")"
}

# A dump under way may make room once more: it is full when puts stay refused, for two seconds.
puts_until_full() { # sets $put
    local refused=0
    for ((put = 0; put < 200 && refused < 10;)); do
        request PUT "/keys/$put" --data-binary @"$work/value"
        case $status in
            201) put=$((put + 1)) refused=0 ;;
            *) refused=$((refused + 1)); sleep 0.2 ;;
        esac
    done
}

fills_up_and_heals() {
    local count put
    server_start_ready "${settings[@]}"
    puts_until_full
    [ "$put" -ge 30 ] || complain "only $put values of 500 kB fit"
    expect_problem 507 disk-full
    expect_match Retry-After "$(header Retry-After)" '^[1-9]'
    # refused before the body is sent
    request PUT /keys/large -T "$work/value" -H 'Expect: 100-continue'; expect_problem 507 disk-full
    request GET /livez; expect_status 200
    request GET /readyz; expect_status 200
    waits_for_writable -
    expect_match "the writable check" "$(<"$work/body")" 'disk is full.*bytes are free'
    request GET /keys/0; expect_same "$work/value"
    for ((count = 0; count < put; count += 2)); do
        request DELETE "/keys/$count"; expect_status 204 "DELETE /keys/$count"
    done
    waits_for 201 PUT /keys/again --data-binary @"$work/value"
    for ((count = 0; count < put; count++)); do
        request GET "/keys/$count"
        expect_status $((count % 2 ? 200 : 404)) "GET /keys/$count"
    done
    expect_log 'level=warn .*disk is nearly full'
    expect_log 'disk has room again'
    server_end
    expect "exit code" "$exit_code" 0
}
promise "a full disk refuses puts with 507, and is over without a restart" fills_up_and_heals

starts_full() {
    server_start_ready "${settings[@]}"
    server_end
    fill 0; server_start_ready "${settings[@]}"; server_end # uses up what was made ready
    fill 0; server_start_ready "${settings[@]}"
    request GET /keys/1; expect_status 200; expect_same "$work/value"
    request PUT /keys/more --data-binary v; expect_problem 507 disk-full
    request DELETE /keys/1; expect_problem 507 disk-full
    request POST /admin/compact; expect_problem 507 disk-full
    request GET '/readyz?verbose'; expect_status 200
    expect_match "the writable check" "$(<"$work/body")" '\[-\]writable.*no room for a journal segment'
    request GET /metrics; expect_status 200
    expect_log 'level=warn .*only reads are answered'
    rm "$disk/filler"
    waits_for 204 DELETE /keys/1
    waits_for_writable +
    request PUT /keys/more --data-binary v; expect_status 201
    server_end
    expect "exit code" "$exit_code" 0
    server_start_ready "${settings[@]}"
    request GET /keys/1; expect_status 404
    request GET /keys/3; expect_same "$work/value"
    server_end
}
promise "a start on a full disk answers reads, then writes" starts_full

# What was answered last is not known to be durable at the next start, and there is no room to copy it.
starts_full_after_a_kill() { # SETTINGS
    server_start_ready "${settings[@]}" "$@"
    request PUT /keys/first --data-binary v; expect_status 201
    request PUT /keys/gone --data-binary v; expect_status 201
    server_end KILL
    fill 0; server_start_ready "${settings[@]}" "$@" # uses up what was made ready
    request DELETE /keys/gone
    expect_match "status of a delete" "$status" '^(204|507)$'
    local gone=$status
    server_end KILL
    fill 0; server_start_ready "${settings[@]}" "$@"
    request GET /keys/first; expect_status 200
    request GET /keys/gone; expect_status $((gone == 204 ? 404 : 200)) "a key whose delete was answered $gone"
    request PUT /keys/more --data-binary v; expect_problem 507 disk-full
    rm "$disk/filler"
    waits_for_writable +
    request GET /keys/gone; expect_status $((gone == 204 ? 404 : 200))
    request DELETE /keys/first; expect_status 204
    request DELETE /keys/gone
    server_end KILL
    server_start_ready "${settings[@]}" "$@"
    request GET /keys/first; expect_status 404
    server_end
}
promise "a start on a full disk after a kill answers what was answered" starts_full_after_a_kill
in_interval_mode() { starts_full_after_a_kill --durability interval:1h; }
promise "the same in interval mode" in_interval_mode

figure() { # NAME: of the metrics
    curl -s "$url/metrics" | sed -n "s/^keyrest_$1 //p"
}
waits_for_figure() { # NAME TEST-OPERATOR NUMBER
    local tries
    for ((tries = 0; tries < 200; tries++)); do
        [ "$(figure "$1")" "$2" "$3" ] && return
        sleep 0.1
    done
    complain "$1 was never $2 $3: $(figure "$1")"
}

# A third of one table is dead: nothing that would be rewritten unasked.
leaves_no_room() { # SETTINGS
    rm -rf "$disk/data" "$disk/filler"
    server_start_ready "${settings[@]}" --data "$disk/other" --reserve-bytes 0 --ballast-bytes 0 "$@"
    local number
    for number in {1..20} 1 21 22 23; do
        request PUT "/keys/$number" --data-binary @"$work/value"; [ "$status" -lt 300 ] || complain "PUT was $status"
    done
    waits_for_figure table_live_bytes -gt 9000000
    waits_for_figure table_dead_bytes -gt 400000
    fill 1000000
    waits_for_figure disk_free_bytes -lt 1500000
}

compacts_without_room() {
    leaves_no_room --changes-bytes-max 0
    request POST /admin/compact
    expect_problem 507 disk-full; expect_match Retry-After "$(header Retry-After)" '^[1-9]'
    request GET "$(header Location)"; expect_status 200
    expect state "$(member state)" failed; expect_match reason "$(member reason)" 'disk is full'
    request GET /keys/1; expect_same "$work/value"
    rm "$disk/filler"
    waits_for 200 POST /admin/compact
    expect state "$(member state)" done
    expect "garbage left" "$(figure table_dead_bytes)" 0
    for number in 1 2 20 23; do request GET "/keys/$number"; expect_same "$work/value"; done
    server_end
    "$keyrest" verify "$disk/other" >"$work/verified" || complain "it left damage: $(<"$work/verified")"
    rm -r "$disk/other"
}
promise "a compaction that finds no room says so, and goes once there is some" compacts_without_room

compacts_instead_of_keeping_changes() {
    leaves_no_room
    waits_for_figure journal_kept_bytes -gt 4000000
    request POST /admin/compact; expect_status 200; expect state "$(member state)" done
    expect "kept for changes" "$(figure journal_kept_bytes)" 0
    request GET '/changes?since=0'; expect_problem 410 changes-gone
    server_end
    rm -r "$disk/other" "$disk/filler"
}
promise "what is kept for readers of changes makes room for a compaction" compacts_instead_of_keeping_changes

limits_files() {
    server_start_ready "${settings[@]}"
    request PUT /keys/more --data-binary v; expect_status 201
    server_end
    ulimit -S -f 2048 # KiB
    server_start_ready "${settings[@]}"
    local count
    for ((count = 0; count < 100; count++)); do
        request PUT "/keys/$count" --data-binary @"$work/value"
        [ "$status" -ge 300 ] && break
    done
    expect_problem 507 disk-full
    request GET /keys/more; expect_body v
    server_end
    expect "exit code" "$exit_code" 0
    ulimit -S -f unlimited
    server_start_ready "${settings[@]}"
    waits_for 201 PUT /keys/unlimited --data-binary v
    server_end
}
promise "a limit on file sizes is a full disk, and no signal ends the process" limits_files

says_when_small() {
    server_start_ready --data "$disk/small" --reserve-bytes 1GiB
    expect_log 'level=warn .*too small for these settings.*reserve_bytes 1073741824'
    request PUT /keys/a --data-binary v; expect_problem 507 disk-full
    server_end
}
promise "a disk too small for the settings is told at the start" says_when_small

finish
