# SPDX-License-Identifier: Apache-2.0
# The embedded engine as its keys become more: growth.c, growth.gnuplot.
# shellcheck shell=bash disable=SC2154 # variables of run

growth() { # work directory number round
    "$tools/growth" "$1" "$data/work/$2" "$3" "$4" >>"$results"
}

growth/keys() {
    local round keys counts="${BENCH_KEYS:-1000000 10000000}"
    if full; then counts="100000 $counts"; fi
    for keys in $counts; do growth fill "$keys" "$keys" 1; done
    for ((round = 1; round <= rounds; round++)); do
        for keys in $counts; do growth restart "$keys" "$keys" "$round"; done
    done
    full || return 0
    for keys in $counts; do growth compact "$keys" "$keys" 1; done
    if command -v gnuplot >/dev/null; then
        # the median of the rounds of each
        awk -F '\t' -v OFS='\t' '$1 ~ /^growth\/keys/ { sub(/.*\//, "", $1); print $1, $3, $5 }' "$results" | sort -k1,1n -k2,2 -k3,3g |
            awk -F '\t' -v OFS='\t' 'function tell() { if (n) print before, v[int((n + 1) / 2)] }
                $1 OFS $2 != before { tell(); before = $1 OFS $2; n = 0 } { v[++n] = $3 } END { tell() }' >"$out/growth.tsv"
        gnuplot -e "figures='$out/growth.tsv'; set output '$out/growth.svg'" $here/growth.gnuplot
        echo "plots: $out/growth.svg" >&2
    else
        skip "plots: gnuplot is not installed (make deps-bench)"
    fi
}

growth/overwrite() { growth overwrite overwrite "${BENCH_OVERWRITE_MIB:-512}" 1; }
