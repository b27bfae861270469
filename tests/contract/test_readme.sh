#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The sessions that the README prints, run as they stand there against a server of the build under test.
# A comment that begins with a status is what the line must answer, and behind "with" come headers that the
# answer must have; one that begins with another number is the answer itself. Any line must end well.
. "$(dirname "$0")/../lib/http.sh"

session() { # HEADING: the lines of the block below it
    awk -v heading="## $1" '$0 == heading { here = 1 } here && /^```$/ { exit } inside { print } here && /^```sh/ { inside = 1 }' README.md
}
as_printed() { printf '%s' "${1//localhost:7070/localhost:$port}"; }

answers_what_it_says() {
    local line comment wanted got name lines=0
    while IFS= read -r line; do
        lines=$((lines + 1)) comment=${line##*# }
        eval "$(as_printed "$line")" >"$work/answer" 2>"$work/progress" || complain "ended badly: $line"
        wanted=$(sed -nE 's/.* # ([0-9]+)\b.*/\1/p' <<<"$line")
        case $wanted in
            ???) got=$(sed -nE 's/^HTTP\/1\.1 ([0-9]+).*/\1/p' "$work/answer" | grep -v 100 | head -1) ;;
            *) got=$(<"$work/answer") ;;
        esac
        [ -z "$wanted" ] || expect "answer to: $line" "$got" "$wanted"
        [[ $comment == *' with '* ]] || continue
        for name in $(grep -oE '\b(Allow|Content-[A-Z][a-z]+|ETag|Link|Location)\b' <<<"${comment#* with }"); do
            grep -qi "^$name: " "$work/answer" || complain "no $name in the answer to: $line"
        done
    done < <(session 'Try it')
    [ "$lines" -gt 20 ] || complain "no session found in README.md"
}

# Each of its lines waits: it is begun, then comes a write, and then it must tell of it.
follows_what_is_written() {
    local line tries waiting=() etag lines=0
    request PUT /keys/config --data-binary 1; etag=$(etag)
    while IFS= read -r line; do
        lines=$((lines + 1))
        eval "exec $(as_printed "$line")" >"$work/follower-$lines" 2>/dev/null &
        waiting+=("$!")
    done < <(session 'Follow it')
    trap 'kill "${waiting[@]}" 2>/dev/null' RETURN
    [ "$lines" -gt 2 ] || complain "no session found in README.md"
    for ((tries = 0; tries < 1000; tries++)); do
        [ "$(curl -s "$url/metrics" | sed -n 's/^keyrest_watchers //p')" = "$lines" ] && break
        sleep 0.01
    done
    request PUT /keys/docs/news --data-binary new; request PUT /keys/config --data-binary 2
    for ((tries = 0; tries < 1000; tries++)); do
        [ "$(grep -lE 'docs/news|^HTTP/1.1 200' "$work"/follower-* | wc -l)" = "$lines" ] && return
        sleep 0.01
    done
    complain "told were: $(grep -lE 'docs/news|^HTTP/1.1 200' "$work"/follower-* | tr '\n' ' ')"
}

server_start_ready --data "$work/data"
promise "the README's session answers what it says" answers_what_it_says
promise "the README's followers are told what is written" follows_what_is_written
finish
