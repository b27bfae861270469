#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The session that the README prints, run as it stands there against a server of the build under test.
# A comment that begins with a status is what the line must answer; any line must end well.
. "$(dirname "$0")/../lib/http.sh"

session() { awk '/^## Try it/ { here = 1 } here && /^```$/ { exit } inside { print } here && /^```sh/ { inside = 1 }' README.md; }

answers_what_it_says() {
    local line wanted got lines=0
    while IFS= read -r line; do
        lines=$((lines + 1))
        eval "${line//localhost:7070/localhost:$port}" >"$work/answer" 2>"$work/progress" || complain "ended badly: $line"
        wanted=$(sed -nE 's/.* # ([0-9]{3})\b.*/\1/p' <<<"$line")
        got=$(sed -nE 's/^HTTP\/1\.1 ([0-9]+).*/\1/p' "$work/answer" | grep -v 100 | head -1)
        [ -z "$wanted" ] || expect "status of: $line" "$got" "$wanted"
    done < <(session)
    [ "$lines" -gt 5 ] || complain "no session found in README.md"
}

server_start_ready --data "$work/data"
promise "the README's session answers what it says" answers_what_it_says
finish
