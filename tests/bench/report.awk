# SPDX-License-Identifier: Apache-2.0
# Rows of lib/measure.h -> Markdown and JSON. A figure is the median of its rounds; a ratio is the
# median of the ratios of each round.
#     awk -v goals=FILE -v json=FILE -f report.awk RESULTS
BEGIN { FS = "\t" }

NF == 5 {
    value[$1, $2, $3, $4] = $5
    if ($4 + 0 > rounds) rounds = $4 + 0
    if (!($1 in contenders)) cases[++case_count] = $1
    add(contenders, $1, $2); add(metrics, $1, $3)
}

function add(set, name, word) { if (index(" " set[name] " ", " " word " ") == 0) set[name] = set[name] (set[name] == "" ? "" : " ") word }
function median_of(sorted, n,    i, j, t) {
    for (i = 2; i <= n; i++) for (j = i; j > 1 && sorted[j] < sorted[j - 1]; j--) { t = sorted[j]; sorted[j] = sorted[j - 1]; sorted[j - 1] = t }
    return n % 2 ? sorted[(n + 1) / 2] : (sorted[n / 2] + sorted[n / 2 + 1]) / 2
}
function median(name, who, metric,    n, round, v) {
    for (round = 1; round <= rounds; round++) if ((name, who, metric, round) in value) v[++n] = value[name, who, metric, round]
    return n ? median_of(v, n) : ""
}
# Only rounds that have both count, and those of one case were taken side by side.
function ratio(name, who, metric, name2, who2, metric2,    n, round, v, low) {
    pairs = 0
    for (round = 1; round <= rounds; round++)
        if ((name, who, metric, round) in value && (name2, who2, metric2, round) in value && value[name2, who2, metric2, round] > 0)
            v[++n] = value[name, who, metric, round] / value[name2, who2, metric2, round]
    pairs = n + 0
    if (!n) return ""
    low = median_of(v, n); least = v[1]; most = v[n]
    return low
}
function short(x) { return x == "" ? "" : x >= 1000 ? sprintf("%.0f", x) : x >= 10 ? sprintf("%.1f", x) : sprintf("%.3g", x) }

# Cases of one part that have the same contenders share a table; a row is a case's metric.
function tables(    c, m, i, name, part, before, count, metric, n, who, line, r) {
    for (c = 1; c <= case_count; c++) {
        name = cases[c]; part = name
        if (match(name, /^[^\/]*\/[^\/]*/)) part = substr(name, 1, RLENGTH)
        count = split(metrics[name], metric, " "); n = split(ordered(contenders[name]), who, " ")
        if (part " " ordered(contenders[name]) != before) {
            before = part " " ordered(contenders[name])
            line = "\n| " part " | |"; for (i = 1; i <= n; i++) line = line " " who[i] (i > 1 ? " | " who[1] " / it" : "") " |"
            print line
            line = "|---|---|"; for (i = 1; i <= n; i++) line = line "---:|" (i > 1 ? "---:|" : "")
            print line
        }
        for (m = 1; m <= count; m++) {
            line = "| " substr(name, length(part) + 2) " | " metric[m] " |"
            for (i = 1; i <= n; i++) {
                line = line " " short(median(name, who[i], metric[m])) " |"
                if (i == 1) continue
                r = ratio(name, who[1], metric[m], name, who[i], metric[m])
                line = line " " short(r) (r == "" ? "" : " (" short(least) "-" short(most) ")") " |"
            }
            print line
        }
    }
}
# Keyrest first.
function ordered(names,    n, name, i, line) {
    n = split(names, name, " "); line = index(" " names " ", " keyrest ") ? "keyrest" : ""
    for (i = 1; i <= n; i++) if (name[i] != "keyrest") line = line (line == "" ? "" : " ") name[i]
    return line
}

# goals: WORDS | CASE CONTENDER METRIC | the same of what it is divided by, or nothing | >= or <= | BOUND
function goal_table(    line, part, n, a, b, r, met, known, unknown) {
    while ((getline line <goals) > 0) {
        if (line ~ /^#/ || line ~ /^ *$/) continue
        n = split(line, part, / *\| */)
        split(part[2], a, " "); split(part[3], b, " ")
        if (part[3] == "") { r = median(a[1], a[2], a[3]); pairs = ""; least = most = "" }
        else r = ratio(a[1], a[2], a[3], b[1], b[2], b[3])
        if (r == "") { unknown++; continue }
        if (!known++) print "| work | measured | goal | |\n|---|---:|---:|---|"
        met = part[4] == ">=" ? r >= part[5] : r <= part[5]
        printf "| %s | %s%s | %s %s | %s |\n", part[1], short(r), part[3] == "" ? "" : " (" short(least) "-" short(most) ")", part[4], part[5], met ? "met" : "**missed**"
        goal_json = goal_json sprintf("%s\n    {\"work\": \"%s\", \"measured\": %.6g, \"bound\": \"%s %s\", \"met\": %s}", goal_json == "" ? "" : ",", part[1], r, part[4], part[5], met ? "true" : "false")
    }
    if (unknown) printf "\n%d goals were not measured in this run.\n", unknown
}

function write_json(    c, i, m, n, count, who, metric, first, round, list) {
    printf "{\n  \"goals\": [%s\n  ],\n  \"figures\": [", goal_json >json
    for (c = 1; c <= case_count; c++) {
        n = split(contenders[cases[c]], who, " "); count = split(metrics[cases[c]], metric, " ")
        for (i = 1; i <= n; i++) for (m = 1; m <= count; m++) {
            list = ""
            for (round = 1; round <= rounds; round++) if ((cases[c], who[i], metric[m], round) in value) list = list (list == "" ? "" : ", ") value[cases[c], who[i], metric[m], round]
            if (list != "") printf "%s\n    {\"case\": \"%s\", \"contender\": \"%s\", \"metric\": \"%s\", \"rounds\": [%s]}", first++ ? "," : "", cases[c], who[i], metric[m], list >json
        }
    }
    print "\n  ]\n}" >json
}

END { goal_table(); tables(); if (json != "") write_json() }
