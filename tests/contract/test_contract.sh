#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What is written in two places says the same: api/routes.def, api/problem.def and service/config.def
# against openapi.yaml and README.md, tests/SCENARIOS.md and tests/mutations/ against the tests, and the
# statuses and problem codes that openapi.yaml promises against those that the HTTP tests have seen
# ($KEYREST_BUILD/http-statuses, lines "METHOD ROUTE STATUS [CODE]"). TAP.
set -u
cd "$(dirname "$0")/../.." || exit 1
pick=${1:-} count=0
statuses=${KEYREST_BUILD:-build/test}/http-statuses

# ---- what each place says, one fact a line --------------------------------------------------------

routes() { sed -nE 's/^X\(([A-Z]+), "([^"]+)".*/\1 \2/p' api/routes.def | sort; }

# openapi.yaml is indented by two: "METHOD PATH" for operations, "METHOD PATH STATUS" for responses.
openapi() { # operations|statuses
    awk -v what="$1" '
        /^[^ #]/ { in_paths = $0 ~ /^paths:/ }
        !in_paths { next }
        /^  \// { path = $1; sub(/:$/, "", path) }
        /^    [a-z]+:/ {
            method = toupper($1); sub(/:.*/, "", method); in_responses = 0
            if (method !~ /^(GET|HEAD|PUT|POST|DELETE|OPTIONS|PATCH)$/) method = ""
            else if (what == "operations") print method, path
        }
        /^      [a-z]/ { in_responses = $0 ~ /^      responses:/ }
        what == "statuses" && method != "" && in_responses && match($0, /^        ["\047]?[0-9][0-9][0-9]/) {
            status = $1; gsub(/[^0-9]/, "", status); print method, path, substr(status, 1, 3)
        }' openapi.yaml | sort -u
}

# "METHOD PATH STATUS CODE": the codes that the description of a status's response names, which
# stands with the operation or is a component.
openapi_codes() {
    awk -v codes="$(problems | cut -d' ' -f1)" '
        function of_component(line) { match(line, /responses\/[A-Za-z]+/); return substr(line, RSTART + 10, RLENGTH - 10) }
        BEGIN { count = split(codes, code, "\n") }
        /^[^ #]/ { in_paths = /^paths:/; in_components = /^components:/; in_responses = 0 }
        in_paths && /^  \// { path = $1; sub(/:$/, "", path) }
        in_paths && /^    [a-z]+:/ { method = toupper($1); sub(/:.*/, "", method) }
        in_paths && /^        ["\047]?[0-9][0-9][0-9]/ {
            status = $1; gsub(/[^0-9]/, "", status); uses[++used] = method " " path " " status
            name[used] = /responses\// ? of_component($0) : used
        }
        in_paths && /^          [a-z]/ { in_text = /description/ }
        in_paths && /^ ? ? ? ? ? ? ? ?[^ ]/ { in_text = 0 }
        in_paths && in_text { text[used] = text[used] " " $0 " " }
        in_components && /^  [a-z]/ { in_responses = /^  responses:/ }
        in_responses && /^    [A-Z]/ { component = $1; sub(/:$/, "", component); in_text = 0 }
        in_responses && /^      [a-z]/ { in_text = /description/ }
        in_responses && in_text { text[component] = text[component] " " $0 " " }
        END {
            for (i = 1; i <= used; i++)
                for (k = 1; k <= count; k++)
                    if (text[name[i]] ~ "[^a-z-]" code[k] "[^a-z-]") print uses[i], code[k]
        }' openapi.yaml | sort -u
}

problems() { sed -nE 's/^X\([A-Z_]+, "([a-z-]+)", ([0-9]+),.*/\1 \2/p' api/problem.def | sort; }
problems_in_openapi() { awk '/^    ProblemCode:/ { inside = 1; next } /^    [A-Z]/ { inside = 0 } inside && /^ +- / { print $2 }' openapi.yaml | sort; }
problems_in_readme() { # rows "| 400 | `key-empty` `key-nul` |"
    awk -F '|' '$2 ~ /^ *[45][0-9][0-9] *$/ {
        status = $2 + 0; n = split($3, part, "`"); for (i = 2; i <= n; i += 2) print part[i], status }' README.md | sort
}

settings() { sed -nE 's/^X\([A-Z]+, ([a-z_]+), "([^"]*)",.*/\1 \2/p' service/config.def | sort; }
settings_in_readme() { # rows "| `listen` | `127.0.0.1:7070` | ... |"; an empty default is an empty cell
    awk -F '|' '/^## Settings/ { inside = 1; next } /^## / { inside = 0 }
        inside && $2 ~ /^ *`[a-z_]+` *$/ { gsub(/[` ]/, "", $2); gsub(/^[` ]+|[` ]+$/, "", $3); print $2, $3 }' README.md | sort
}

# tests/SCENARIOS.md names tests as `suite/promise`; those of the models may begin with "finds".
scenarios() { grep -oE '`[a-z_0-9]+/[^`]+`' tests/SCENARIOS.md | tr -d '`' | sort -u; }
# A suite's promises are string literals of its file; long ones stand on lines of their own.
has_test() { # suite promise
    local files; files=$(find tests -name "test_$1.*" ! -path '*/fuzz/corpus/*')
    [ -n "$files" ] || return 1
    # shellcheck disable=SC2086 # a list of our own names
    grep -qF -e "\"$2\"" -e "'$2'" -e "fault '${2#*: finds }' " $files
}
scenarios_without_row() { # F1 to F30 of the early design
    local number
    for number in $(seq 30); do grep -qE "\\bF$number\\b" tests/SCENARIOS.md || echo "F$number is not told"; done
}
scenarios_without_test() {
    scenarios | while IFS=/ read -r suite promise; do
        has_test "$suite" "$promise" || echo "there is no test $suite/$promise"
    done
}

# ---- the tests ------------------------------------------------------------------------------------

result() { # name complaints
    count=$((count + 1))
    if [ -z "$2" ]; then echo "ok $count - $1"; else sed 's/^/# /' <<<"$2"; echo "not ok $count - $1"; fi
}
missing() { # why, from, in: lines of the first list that the second lacks
    [ -n "$2" ] || echo "nothing was found to compare: $1"
    comm -23 <(printf '%s\n' "$2") <(printf '%s\n' "$3") | sed "s|^|$1: |"
}
same() { # left list, its name, right list, its name
    missing "in $2, not in $4" "$1" "$3"; missing "in $4, not in $2" "$3" "$1"
}
wanted() { [[ $1 == *"$pick"* ]]; }

name="every route is an operation of openapi.yaml, and every operation a route"
wanted "$name" && result "$name" "$(same "$(routes)" routes.def "$(openapi operations | grep -vE '^(HEAD|OPTIONS) ')" openapi.yaml)"

name="every problem code is in openapi.yaml"
wanted "$name" && result "$name" "$(same "$(problems | cut -d' ' -f1)" problem.def "$(problems_in_openapi)" openapi.yaml)"

name="every problem code is in the README with its status"
wanted "$name" && result "$name" "$(same "$(problems)" problem.def "$(problems_in_readme)" README.md)"

name="every setting is in the README with its default"
wanted "$name" && result "$name" "$(same "$(settings)" config.def "$(settings_in_readme)" README.md)"

name="every scenario's test exists"
wanted "$name" && result "$name" "$(scenarios_without_test; scenarios_without_row)"

seen_statuses() { cut -d' ' -f1-3 "$statuses" | sort -u; }
# What is told once, in the description, for all operations, is left out.
seen_codes() {
    sed -nE 's/^HEAD /GET /; /^[A-Z]+ [^ ]+ [0-9]+ [a-z-]+$/p' "$statuses" |
        grep -vE ' (method-not-allowed|method-unknown|route-not-found|too-many-connections|headers-too-large)$' |
        grep -E "^($(openapi operations | tr '\n' '|')-) [0-9]" | sort -u
}
name="every problem code that the HTTP tests see is in openapi.yaml, where it was seen"
if wanted "$name" && [ -s "$statuses" ]; then
    result "$name" "$(missing "not documented" "$(seen_codes)" "$(openapi_codes)")"
fi

name="every mutation still applies and names a test"
wanted "$name" && result "$name" "$(tests/mutations/run --check)"

for name in "every status that openapi.yaml promises is seen by the HTTP tests" \
    "every status that the HTTP tests see is in openapi.yaml"; do
    wanted "$name" || continue
    if [ ! -s "$statuses" ]; then
        count=$((count + 1)); echo "ok $count # SKIP $name: the HTTP tests did not run before"
    elif [[ $name == *promises* ]]; then
        result "$name" "$(missing "never seen" "$(openapi statuses)" "$(seen_statuses)")"
    else
        # HEAD is documented as GET; what every path does alike (OPTIONS, 405, 501) is told once, in the description.
        seen=$(seen_statuses | sed 's/^HEAD /GET /' | grep -E "^($(openapi operations | tr '\n' '|')-) [0-9]" | sort -u)
        result "$name" "$(missing "not documented" "$seen" "$(openapi statuses)")"
    fi
done
echo "1..$count"
