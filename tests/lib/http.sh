# SPDX-License-Identifier: Apache-2.0
# For tests/http/test_*.sh: a server of the build under test, requests by curl, promises as TAP.
#
#     . "$(dirname "$0")/../lib/http.sh"
#     server_start --data "$work/data"
#     keeps_a_value() { request PUT /keys/a --data-binary v; expect_status 201; }
#     promise "keeps a value" keeps_a_value
#     finish
#
# $work is a directory of the test's own, removed at the end with every server still running.
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 1
KEYREST_BUILD=${KEYREST_BUILD:-build/test}
keyrest=$PWD/$KEYREST_BUILD/keyrest
work=$(mktemp -d "${TMPDIR:-/tmp}/keyrest-http-XXXXXX")
pick=${1:-} promises=0 broken=0 failures='' skipped=''
server_pid='' server_log=$work/log url='' port=''
status='' # of the last request; its head and body are in $work/head and $work/body
trap clean_up EXIT
trap 'exit 1' INT TERM

clean_up() {
    [ -n "$server_pid" ] && kill -KILL "$server_pid" 2>/dev/null && wait "$server_pid" 2>/dev/null
    chmod -R u+rwx "$work"; rm -rf "$work"
}

# ---- servers ------------------------------------------------------------------------------------

# Runs the binary, which is expected to end by itself; sets $exit_code, its log is $server_log.
run() { timeout -k 1 20 "$keyrest" "$@" >"$work/out" 2>"$server_log" </dev/null; exit_code=$?; }

server_start() { # ARGUMENTS of serve beyond --listen; waits until it listens
    local tries
    : >"$server_log"
    "$keyrest" serve --listen 127.0.0.1:0 --access-log true "$@" 2>"$server_log" </dev/null &
    server_pid=$!
    for ((tries = 0; tries < 1000; tries++)); do
        port=$(sed -n 's/.*msg=listening.* address=[^ ]*:\([0-9]*\).*/\1/p' "$server_log" | head -1)
        url=http://127.0.0.1:$port
        [ -n "$port" ] && return 0
        kill -0 "$server_pid" 2>/dev/null || break
        sleep 0.01
    done
    echo "Bail out! the server did not come up: $*"; sed 's/^/# /' "$server_log"; exit 1
}

# The same, and waits until the store has loaded.
server_start_ready() {
    local tries
    server_start "$@"
    for ((tries = 0; tries < 1000; tries++)); do
        [ "$(curl -s -o /dev/null -w '%{http_code}' "$url/readyz")" = 200 ] && return 0
        sleep 0.01
    done
    echo "Bail out! the server did not become ready: $*"; sed 's/^/# /' "$server_log"; exit 1
}

# Ends it, notes what it answered; its exit status is in $exit_code.
server_end() { # [SIGNAL]
    kill -"${1:-TERM}" "$server_pid"; wait "$server_pid" 2>/dev/null; exit_code=$?
    server_pid=
    [ "${1:-TERM}" = KILL ] || [ "$exit_code" -eq 0 ] || complain "the stop ended with exit status $exit_code: $(tail -1 "$server_log")"
    record_statuses
}

# tests/README.md: lines "METHOD ROUTE STATUS [CODE]" from the access log.
record_statuses() {
    awk '/msg=request/ {
        for (i = 1; i <= NF; i++) { split($i, field, "="); of[field[1]] = field[2] }
        if (of["status"] > 0) print of["method"], of["route"], of["status"] (of["problem"] ? " " of["problem"] : ""); delete of
    }' "$server_log" | sort -u >>"$KEYREST_BUILD/http-statuses"
}

# ---- requests -----------------------------------------------------------------------------------

request() { # METHOD TARGET [CURL OPTIONS]: the target goes out as it is
    local method=$1 target=$2 way; shift 2
    case $method in HEAD) way=(--head) ;; *) way=(--request "$method") ;; esac
    : >"$work/head"; : >"$work/body"
    status=$(curl --silent --globoff --path-as-is --max-time 20 "${way[@]}" --dump-header "$work/head" \
        --output "$work/body" --write-out '%{http_code}' "$@" "$url$target")
    case $method in HEAD) : >"$work/body" ;; esac # --head writes the head there
}
header() { # NAME: its value in the last answer
    local line value=
    while IFS= read -r line; do
        line=${line%$'\r'}
        [[ ${line,,} == "${1,,}: "* ]] && value=${line#*: }
    done <"$work/head"
    printf '%s' "$value"
}
etag() { header ETag; }
member() { # NAME: a member of the last answer's JSON, for flat values
    local pattern="\"$1\" *: *\"?([^\",}]*)"
    [[ $(<"$work/body") =~ $pattern ]] && printf '%s' "${BASH_REMATCH[1]}"
}

# ---- expectations: each adds a line to $failures when it is not met -----------------------------

complain() { failures+="# $1"$'\n'; }
expect() { # WHAT GOT WANTED
    [ "$2" = "$3" ] || complain "$1: got '$2', wanted '$3'"
}
expect_status() { # STATUS [WHAT]
    expect "status${2:+ of $2}" "$status" "$1"
}
expect_header() { expect "header $1" "$(header "$1")" "$2"; }
expect_match() { # WHAT GOT PATTERN
    [[ $2 =~ $3 ]] || complain "$1: got '$2', wanted something like '$3'"
}
expect_body() { # TEXT
    expect body "$(cat "$work/body"; echo .)" "$1."
}
expect_same() { # FILE
    cmp -s "$work/body" "$1" || complain "the body differs from $1"
}
# A problem as RFC 9457 has it, with a detail that says what to do.
expect_problem() { # STATUS CODE [WHAT]
    expect_status "$1" "${3:-}"
    expect "code${3:+ of $3}" "$(member code)" "$2"
    expect "content type${3:+ of $3}" "$(header Content-Type)" application/problem+json
    expect "status member${3:+ of $3}" "$(member status)" "$1"
    expect "type${3:+ of $3}" "$(member type)" "/problems/$2"
    [ -n "$(member detail)" ] && [ -n "$(member title)" ] || complain "no detail or title in $2"
}
expect_log() { # PATTERN
    grep -qE -- "$1" "$server_log" || complain "the log has no line like '$1'"
}

skip() { skipped=$1; } # WHY: this machine cannot show it

# ---- promises -----------------------------------------------------------------------------------

promise() { # NAME FUNCTION
    [[ $1 == *"$pick"* ]] || return 0
    failures='' skipped=''
    promises=$((promises + 1))
    "$2"
    if [ -n "$skipped" ]; then
        echo "ok $promises # SKIP $1: $skipped"
    elif [ -z "$failures" ]; then
        echo "ok $promises - $1"
    else
        printf '%s' "$failures"
        echo "not ok $promises - $1"
        broken=$((broken + 1))
    fi
}
finish() {
    [ -z "$server_pid" ] || pick='' promise "the server stops with exit status 0" server_end
    echo "1..$promises"
    [ "$broken" -eq 0 ]; exit
}
