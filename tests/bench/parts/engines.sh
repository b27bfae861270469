# SPDX-License-Identifier: Apache-2.0
# Storage engines in one process: engines.c.
# shellcheck shell=bash disable=SC2154 # variables of run

engine_work() { # work keys
    mkdir "$data/work/$1-$2"
    "$tools/engines" "$1" "$data/work/$1-$2" "$2" "$rounds" "$seconds" >>"$results"
    rm -rf "$data/work/$1-$2"
}

engines/write() {
    engine_work write 1000000
    if full; then engine_work write 10000000; fi
}
engines/read() {
    engine_work read 1000000
    if full; then engine_work read 10000000; fi
}
engines/sync() { engine_work sync 1000000; }
engines/maintenance() { if full; then engine_work maintenance 200000; fi; }
