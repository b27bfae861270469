#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Starting and stopping on bad days: exit codes, and what the log tells a person to do.
. "$(dirname "$0")/../lib/http.sh"

exits() { # CODE PATTERN ARGUMENTS: the start fails at once and the log says why
    local code=$1 pattern=$2; shift 2
    run "$@"
    expect "exit status of $*" "$exit_code" "$code"
    grep -qE -- "$pattern" "$server_log" || complain "'$*' does not tell '$pattern': $(tail -1 "$server_log")"
}

help_and_version_are_told() {
    run --version; expect "exit status" "$exit_code" 0; expect_match version "$(cat "$work/out")" '[0-9]+\.[0-9]+\.[0-9]+'
    run --help; expect "exit status" "$exit_code" 0
    local setting
    for setting in $(sed -nE 's/^X\([A-Z]+, ([a-z_]+),.*/\1/p' service/config.def | tr _ -); do
        grep -q -- "--$setting" "$work/out" || complain "--help lacks --$setting"
    done
}
promise "--help lists every setting, --version tells it" help_and_version_are_told

a_bad_setting_stops_the_start() {
    exits 2 'no-such' serve --no-such 1
    exits 2 'value.bytes.max.*(lots|least|from)' serve --value-bytes-max lots --data "$work/d"
    exits 2 'value.bytes.max' serve --value-bytes-max 5TiB --data "$work/d"
    exits 2 'durability' serve --durability sometimes --data "$work/d"
    exits 2 'durability' serve --durability interval:0ms --data "$work/d"
    exits 2 'drain.ms' serve --drain-ms -- --data "$work/d"
    exits 2 'listen' serve --listen nonsense --data "$work/d"
    exits 2 'listen' serve --listen 127.0.0.1:99999 --data "$work/d"
    exits 2 'engine' serve --data "$work/d" --engine memory:
    exits 2 'redis' serve --engine redis:x --listen 127.0.0.1:0
    exits 2 'frobnicate' frobnicate
    exits 2 'config' serve --config "$work/none"
    KEYREST_IDLE_MS_MAX=soon exits 2 'KEYREST_IDLE_MS_MAX' serve --data "$work/d"
    printf 'idle_ms_max = 5s\nidle_ms_max = 6s\n' >"$work/twice"
    exits 2 'twice:2.*second' serve --config "$work/twice" --data "$work/d"
    [ ! -e "$work/d" ] || complain "a data directory was made"
}
promise "a bad setting stops the start with exit code 2 and names it" a_bad_setting_stops_the_start

flags_beat_the_environment_and_that_the_file() {
    printf '# a comment\nvalue_bytes_max = 1KiB\ndrain_ms = 1s # short\n' >"$work/config"
    KEYREST_VALUE_BYTES_MAX=2KiB server_start_ready --config "$work/config" --data "$work/settings"
    expect_log 'value_bytes_max[^ ]*2'
    request GET /; expect "limit by environment" "$(member value_bytes_max)" 2048
    server_end; expect "exit status" "$exit_code" 0
    KEYREST_VALUE_BYTES_MAX=2KiB server_start_ready --config "$work/config" --value-bytes-max=3KiB --data "$work/settings"
    request GET /; expect "limit by flag" "$(member value_bytes_max)" 3072
    server_end
}
promise "flags beat the environment, and that the file" flags_beat_the_environment_and_that_the_file

a_used_directory_or_port_is_told() {
    server_start_ready --data "$work/used"
    local log=$server_log taken=$port
    server_log=$work/second-log
    exits 3 "another process" serve --listen 127.0.0.1:0 --data "$work/used"
    exits 1 "$taken|in use" serve --listen "127.0.0.1:$taken" --data "$work/unused"
    server_log=$log
    request PUT /keys/a --data-binary x; expect_status 201 "the first one goes on"
    server_end
}
promise "a locked directory is exit code 3, a taken port 1" a_used_directory_or_port_is_told

a_directory_it_cannot_use_is_told() {
    mkdir -p "$work/foreign"; echo notes >"$work/foreign/notes.txt"
    exits 4 'notes.txt' serve --listen 127.0.0.1:0 --data "$work/foreign"
    [ "$(ls "$work/foreign")" = notes.txt ] || [ "$(ls -A "$work/foreign" | tr '\n' ' ')" = 'LOCK notes.txt ' ] ||
        complain "files appeared in a foreign directory: $(ls -A "$work/foreign")"
    echo x >"$work/file"
    exits 1 "$work/file" serve --listen 127.0.0.1:0 --data "$work/file"
    exits 1 "$work/no/such/parent" serve --listen 127.0.0.1:0 --data "$work/no/such/parent"
}
promise "a directory that is foreign, or no directory, is told" a_directory_it_cannot_use_is_told

a_directory_it_may_not_write_is_told() {
    mkdir -p "$work/closed"
    if [ "$(id -u)" -ne 0 ]; then
        chmod 500 "$work/closed"
        exits 1 'ermission' serve --listen 127.0.0.1:0 --data "$work/closed"
    elif command -v setpriv >/dev/null; then # root may write everywhere: somebody else tries
        chmod 755 "$work"; install -m 755 "$keyrest" "$work/keyrest"
        keyrest=setpriv exits 1 'ermission' --reuid=65534 --regid=65534 --clear-groups \
            "$work/keyrest" serve --listen 127.0.0.1:0 --data "$work/closed"
    else
        skip "root without setpriv"
    fi
}
promise "a directory that it may not write is told" a_directory_it_may_not_write_is_told

filled_store() { # DIRECTORY: a store with some values, closed
    server_start_ready --data "$1" --journal-segment-bytes 64KiB --value-bytes-max 64KiB
    local number
    head -c 20000 /dev/urandom >"$work/value"
    for number in 1 2 3; do request PUT "/keys/$number" -T "$work/value"; done
    server_end "${2:-TERM}"
}
first_segment() { ls "$1"/journal-*.log | head -1; }
flip() { # FILE OFFSET: one bit
    local byte; byte=$(od -An -tu1 -j "$2" -N 1 "$1" | tr -d ' ')
    printf "$(printf '\\x%02x' $((byte ^ 16)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}
# Starts over a damaged store: it ends with exit code 4 by itself, at once or once it has read so far.
refuses_damage() { # DIRECTORY PATTERN
    run serve --listen 127.0.0.1:0 --data "$1"
    expect "exit status over $1" "$exit_code" 4
    grep -qE -- "$2" "$server_log" || complain "the log does not tell '$2': $(tail -2 "$server_log")"
}
a_flipped_bit_is_found() {
    filled_store "$work/flipped"
    local segment; segment=$(first_segment "$work/flipped")
    flip "$segment" 30000
    refuses_damage "$work/flipped" "$(basename "$segment").*[0-9]+"
    grep -qE 'offset=[0-9]+' "$server_log" || complain "the log does not tell an offset"
    cp "$server_log" "$work/first-log"
    refuses_damage "$work/flipped" "$(basename "$segment")" # and again: nothing was changed
    flip "$segment" 30000
    server_start_ready --data "$work/flipped"
    request GET /keys/2; expect_status 200; expect_same "$work/value"
    server_end
}
promise "a flipped bit in the journal is exit code 4 with file and offset, and changes nothing" a_flipped_bit_is_found

another_format_is_refused() {
    filled_store "$work/format"
    printf 'garbage' | dd of="$work/format/MANIFEST" bs=1 conv=notrunc status=none
    refuses_damage "$work/format" MANIFEST
    filled_store "$work/lost"
    rm "$work/lost/MANIFEST"
    refuses_damage "$work/lost" MANIFEST
    [ -e "$(first_segment "$work/lost")" ] || complain "the journal of a store without MANIFEST was removed"
    filled_store "$work/empty"
    : >"$work/empty/MANIFEST"
    refuses_damage "$work/empty" MANIFEST
}
promise "a damaged, lost or empty MANIFEST is exit code 4" another_format_is_refused

a_missing_segment_is_found() {
    filled_store "$work/gone"
    rm "$(first_segment "$work/gone")" # the only one
    refuses_damage "$work/gone" 'journal-'
    filled_store "$work/gap"
    filled_store "$work/gap" # each start begins a segment
    cp -r "$work/gap" "$work/tail"
    rm "$(first_segment "$work/gap")"
    refuses_damage "$work/gap" 'journal-'
    rm "$(ls "$work"/tail/journal-*.log | tail -1)"
    refuses_damage "$work/tail" 'journal-'
}
promise "a missing journal segment is exit code 4" a_missing_segment_is_found

a_torn_end_is_cut() {
    filled_store "$work/torn" KILL
    local segment; segment=$(ls "$work"/torn/journal-*.log | tail -1)
    server_start_ready --data "$work/torn"
    local number
    for number in 1 2 3; do request GET "/keys/$number"; expect_same "$work/value"; done
    server_end
}
promise "after kill -9 every answered value is there" a_torn_end_is_cut

answered_writes_survive() {
    server_start_ready --data "$work/durable"
    request PUT /keys/a --data-binary kept -H 'Content-Type: text/x'; local tag; tag=$(etag)
    request PUT /keys/b --data-binary gone; request DELETE /keys/b
    server_end KILL
    server_start_ready --data "$work/durable"
    request GET /keys/a; expect_body kept; expect_header ETag "$tag"; expect_header Content-Type text/x
    request GET /keys/b; expect_status 404
    server_end; expect "exit status" "$exit_code" 0
    server_start_ready --data "$work/durable"
    request GET /keys/a; expect_header ETag "$tag"
    request PUT /keys/c --data-binary c; [ "$(etag)" != "$tag" ] || complain "an ETag came twice"
    server_end
}
promise "answered writes survive kill -9 and a clean stop, with their ETags" answered_writes_survive

the_lazy_mode_says_so() {
    server_start_ready --data "$work/lazy" --durability interval:50ms
    request PUT /keys/a --data-binary kept; local tag; tag=$(etag)
    request GET '/readyz?verbose'; expect_match "durability" "$(cat "$work/body")" 'interval:50ms'
    server_end KILL # the process dies, the machine does not: nothing is lost
    server_start_ready --data "$work/lazy" --durability interval:50ms
    request GET /keys/a; expect_body kept
    [ "${tag:1:12}" != "$(etag | cut -c2-13)" ] || complain "the epoch is the same after an unclean stop"
    tag=$(etag)
    server_end
    server_start_ready --data "$work/lazy" --durability interval:50ms
    request GET /keys/a; expect_header ETag "$tag"
    server_end
}
promise "interval durability says so, survives kill -9, and takes a new epoch after it" the_lazy_mode_says_so

health_is_checked_by_the_binary() {
    server_start_ready --data "$work/health"
    local log=$server_log; server_log=$work/health-log
    run health "$url/livez"; expect "exit status of a healthy one" "$exit_code" 0
    run health "$url/nowhere"; expect "exit status of a 404" "$exit_code" 1
    run health; expect "exit status without URL" "$exit_code" 2
    server_log=$log
    server_end
    run health "$url/livez"; expect "exit status of nobody there" "$exit_code" 1
}
promise "keyrest health tells by its exit status" health_is_checked_by_the_binary

finish
