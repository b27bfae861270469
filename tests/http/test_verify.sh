#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# keyrest verify DIR: its exit status and what it prints; and how the server goes on with such damage.
. "$(dirname "$0")/../lib/http.sh"
settings=(--data "$work/data" --value-bytes-max 64KiB --memtable-bytes 64KiB --reserve-bytes 0 --ballast-bytes 0)

fill_store() {
    local key
    server_start_ready "${settings[@]}"
    for ((key = 0; key < 60; key++)); do
        request PUT "/keys/$key" --data-binary "$(printf '%05000d' "$key")"
        expect_status 201
    done
    run verify "$work/data"
    expect "exit code while the store is in use" "$exit_code" 3
    expect_match "what it says then" "$(<"$server_log.verify")" 'another process uses the data directory'
    server_end
}
# The server's log goes on meanwhile.
verify() { "$keyrest" verify "$work/data" >"$work/out" 2>"$work/errors"; exit_code=$?; }
run() { "$keyrest" "$@" >"$work/out" 2>"$server_log.verify" </dev/null; exit_code=$?; }
first_table() { basename "$(find "$work/data" -name 'table-*' | sort | head -1)"; }

finds_nothing() {
    fill_store
    verify
    expect "exit code" "$exit_code" 0
    expect_match "the summary" "$(<"$work/out")" "^$work/data: [1-9][0-9]* tables \([1-9].* records\), [0-9]* strays: clean$"
    expect "what goes to standard error" "$(<"$work/errors")" ''
}
promise "verify finds nothing in a store that is well, and leaves one in use alone" finds_nothing

finds_damage() {
    local table key corrupt=0 right=0
    table=$(first_table)
    printf '\377' | dd of="$work/data/$table" bs=1 seek=2000 conv=notrunc 2>/dev/null
    verify
    expect "exit code" "$exit_code" 4
    expect "the finding" "$(head -1 "$work/out")" "$table: offset 64: the record's value is damaged"
    expect_match "the summary" "$(tail -1 "$work/out")" ': 1 finding$'
    server_start_ready "${settings[@]}"
    for ((key = 0; key < 60; key++)); do
        request GET "/keys/$key"
        case $status in
            200) right=$((right + 1)) ;;
            *)
                expect_problem 500 data-corrupt; corrupt=$((corrupt + 1))
                request GET "/keys/$key" -r 0-0; expect_problem 500 data-corrupt "a part that is well"
                ;;
        esac
    done
    expect "keys that are damaged" "$corrupt" 1
    expect "keys that are not" "$right" 59
    request PUT /keys/0 --data-binary new; expect_status 204
    request GET /keys/0; expect_body new
    server_end
}
promise "verify names the damage with its place; the server refuses just that key" finds_damage

finds_what_is_missing() {
    local table
    table=$(first_table)
    mv "$work/data/$table" "$work/elsewhere"
    verify
    expect "exit code" "$exit_code" 4
    expect_match "the finding" "$(head -1 "$work/out")" "^$table: offset 0: .*is missing"
    mv "$work/elsewhere" "$work/data/$table"
}
promise "verify finds a missing table" finds_what_is_missing

# The kernel tells a read behind the end of a mapped file by SIGBUS.
survives_a_cut() {
    local table key corrupt=0 right=0
    cp -r "$work/data" "$work/cut"
    server_start_ready "${settings[@]}" --data "$work/cut"
    table=$(basename "$(find "$work/cut" -name 'table-*' | sort | tail -1)")
    truncate -s $(($(stat -c %s "$work/cut/$table") / 2)) "$work/cut/$table"
    for ((key = 0; key < 60; key++)); do
        request GET "/keys/$key"
        case $status in
            200) right=$((right + 1)) ;;
            *) expect_problem 500 data-corrupt; corrupt=$((corrupt + 1)) ;;
        esac
    done
    [ "$corrupt" -gt 0 ] && [ "$right" -gt 0 ] || complain "$corrupt keys are damaged, $right are not"
    request GET /livez; expect_status 200
    server_end
    expect "exit code" "$exit_code" 0
}
promise "a table cut short under the running server costs just the keys behind the cut" survives_a_cut

is_told_what_to_read() {
    run verify; expect "exit code without a directory" "$exit_code" 2
    run verify a b; expect "exit code with two" "$exit_code" 2
    run verify "$work/nowhere"; expect "exit code with none" "$exit_code" 1
    [ ! -e "$work/nowhere" ] || complain "verify made the directory"
    mkdir "$work/empty"; run verify "$work/empty"; expect "exit code with an empty one" "$exit_code" 1
    expect_match "what it says" "$(<"$server_log.verify")" 'there is no MANIFEST: name a Keyrest data directory'
}
promise "verify says what to give it" is_told_what_to_read

finish
