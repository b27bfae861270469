#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Who may reach the service: hosts, origins, addresses, Unix sockets.
. "$(dirname "$0")/../lib/http.sh"
server_start_ready --data "$work/data" --allowed-hosts 'kv.example,kv.example.net:8080'

only_names_of_this_host_are_served() {
    local host
    for host in localhost "localhost:$port" LOCALHOST 127.0.0.1 "127.0.0.1:$port" 127.9.9.9 '[::1]' '[::1]:80' \
        kv.example KV.Example:99 kv.example.net:8080; do
        request GET / -H "Host: $host"
        expect_status 200 "Host: $host"
    done
    for host in evil.example 192.168.1.1 kv.example.net localhost.evil.example kv.example.evil.example '[::2]' 0.0.0.0; do
        request GET / -H "Host: $host"
        expect_problem 403 host-not-allowed "Host: $host"
        request PUT /keys/h --data-binary x -H "Host: $host"
        expect_problem 403 host-not-allowed "PUT with Host: $host"
    done
    for host in 'a b' 'localhost:x' '[::1' 'localhost/x' 'user@localhost' 'local?host'; do
        request GET / -H "Host: $host"
        expect_problem 400 bad-host "Host: $host"
    done
    request GET /keys/h; expect_status 404
}
promise "only the names of this host are served" only_names_of_this_host_are_served

other_sites_may_not_write() {
    local method header
    for header in 'Sec-Fetch-Site: cross-site' 'Origin: https://evil.example' 'Origin: null' \
        "Origin: http://localhost:1" 'Origin: http://127.0.0.1:x'; do
        for method in PUT DELETE; do
            request "$method" /keys/o -H "$header"
            expect_problem 403 cross-site "$method with $header"
        done
    done
    for header in 'Sec-Fetch-Site: same-origin' 'Sec-Fetch-Site: none' "Origin: $url"; do
        request PUT /keys/o --data-binary x -H "$header"
        expect_match "status of PUT with $header" "$status" '^20[14]$'
    done
    for header in 'Sec-Fetch-Site: cross-site' 'Origin: https://evil.example'; do
        request GET /keys/o -H "$header"
        expect_status 200 "GET with $header"; expect_header Access-Control-Allow-Origin ''
    done
}
promise "pages of other sites may read and not write, and get no CORS header" other_sites_may_not_write

other_addresses_need_a_word() {
    run serve --listen 0.0.0.0:0 --data "$work/other"
    expect "exit status" "$exit_code" 2
    expect_log insecure
    [ ! -e "$work/other" ] || complain "the data directory was made"
    run serve --listen '[::]:0' --data "$work/other"
    expect "exit status" "$exit_code" 2
}
promise "an address that is not loopback needs --insecure" other_addresses_need_a_word

a_unix_socket_is_served() {
    local log=$server_log; server_log=$work/unix-log
    "$keyrest" serve --listen "unix:$work/socket" --data "$work/unix" 2>"$server_log" &
    local unix_pid=$! tries
    for ((tries = 0; tries < 500; tries++)); do
        [ "$(curl -s -o /dev/null -w '%{http_code}' --unix-socket "$work/socket" http://any.name/readyz)" = 200 ] && break
        sleep 0.01
    done
    request PUT /keys/u --data-binary 'over a socket' --unix-socket "$work/socket" -H 'Host: whatever.example'
    expect_status 201
    request GET /keys/u --unix-socket "$work/socket"
    expect_body 'over a socket'
    kill -TERM "$unix_pid"; wait "$unix_pid"
    expect "exit status" "$?" 0
    [ ! -e "$work/socket" ] || complain "the socket was left behind"
    server_log=$log
}
promise "a Unix socket is served, with any Host" a_unix_socket_is_served

finish
