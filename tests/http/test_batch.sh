#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Many keys at once over HTTP: POST /batch.
. "$(dirname "$0")/../lib/http.sh"
server_start_ready --data "$work/data" --value-bytes-max 64KiB

batch() { request POST /batch --json "$@"; } # JSON or @FILE [CURL OPTIONS]
text_of() { curl -s "$url/keys/$1"; }

values_of_every_kind() {
    batch '{"ops":[{"op":"put","key":"t","value":"a text","content_type":"text/plain","if_none_match":"*","ttl":"1h"},
        {"op":"put","key":"j","json": {"price": 1.10} },{"op":"put","key":"b","value_base64":"AAE="},
        {"op":"put","key_base64":"/w==","value":""},{"op":"delete","key":"none"},{"op":"check","key":"y","if_none_match":"*"}]}'
    expect_status 200; expect_header Content-Type application/json
    expect_match results "$(<"$work/body")" '^\{"results":\[(\{"status":201,"etag":"\\"[0-9a-f-]*\\""\},){4}\{"status":404\},\{"status":200\}\]\}$'
    request GET /keys/t; expect_body 'a text'; expect_header Content-Type text/plain
    request GET /keys/j; expect_body '{"price": 1.10}'; expect_header Content-Type application/json
    printf '\0\1' >"$work/two"; request GET /keys/b; expect_same "$work/two"
    request GET /keys/%ff; expect_status 200
}
promise "text, JSON and base64 are stored" values_of_every_kind

all_or_nothing() {
    request PUT /keys/known --data-binary 1; local tag; tag=$(etag)
    local ops='{"ops":[{"op":"put","key":"all","value":"new"},{"op":"check","key":"known","if_match":"\"'${tag//\"/}'\""}]}'
    request PUT /keys/known --data-binary 2; local now; now=$(etag)
    batch "$ops"; expect_problem 412 precondition-failed
    expect_match failed "$(<"$work/body")" '"failed":\[\{"index":1,"key":"known","etag":"\\"'"${now//\"/}"'\\""\}\]'
    request GET /keys/all; expect_status 404
    batch "${ops//${tag//\"/}/${now//\"/}}"; expect_status 200
    request GET /keys/all; expect_body new
}
promise "a batch is applied whole, or not at all when a condition fails" all_or_nothing

refusals_name_what_is_wrong() {
    batch '{"ops":[{"op":"delete","key":"a"},{"op":"put","key":"b","value":7}]}'
    expect_problem 422 bad-shape; expect pointer "$(member pointer)" /ops/1/value
    batch '{"ops":[{"op":"delete","key":"a"},{"op":"put","key":"a","value":"7"}]}'; expect_problem 422 bad-shape
    batch '{"ops":['; expect_problem 400 bad-json
    printf '[%.0s' $(seq 2048) >"$work/deep"
    batch "@$work/deep"; expect_problem 400 bad-json "2 KiB of brackets"
    request POST /batch --data '{"ops":[]}'; expect_problem 415 media-type
    request GET /livez; expect_status 200
}
promise "what is wrong is named" refusals_name_what_is_wrong

limits_are_kept() {
    { printf '{"ops":['; printf '{"op":"delete","key":"%s"},' $(seq 1000); printf '{"op":"delete","key":"z"}]}'; } >"$work/many"
    batch "@$work/many"; expect_problem 413 batch-too-large "1001 operations"
    expect limit "$(member limit)" 1000
    local half; half=$(head -c 40000 /dev/zero | tr '\0' x)
    printf '{"ops":[{"op":"put","key":"l1","value":"%s"},{"op":"put","key":"l2","value":"%s"}]}' "$half" "$half" >"$work/large"
    batch "@$work/large"; expect_problem 413 batch-too-large "values"
    request GET /keys/l1; expect_status 404
    head -c 5000000 /dev/zero | tr '\0' ' ' >"$work/blank"
    batch "@$work/blank"; expect_problem 413 batch-too-large "a body with a length"
    batch "@$work/blank" -H 'Transfer-Encoding: chunked'; expect_problem 413 batch-too-large "a chunked body"
    batch '{"ops":[{"op":"put","key":"again","value":""}]}'; expect_status 200
}
promise "operations, values and bodies are limited" limits_are_kept

many_are_read_at_once() {
    batch '{"ops":[{"op":"put","key":"g1","value":"one","content_type":"text/plain"},{"op":"put","key_base64":"/w==","value_base64":"/wA="}]}'
    request POST /batch/get --json '{"keys":["g1","absent",{"key_base64":"/w=="},"g1"]}'
    expect_status 200; expect_header Cache-Control no-store
    expect_match items "$(<"$work/body")" '^\{"items":\[\{"key":"g1","href":"/keys/g1",.*"content_type":"text/plain",.*"value":"one"\},null,\{"key_base64":"/w==",.*"value_base64":"/wA="\},\{"key":"g1",.*\]\}$'
    request POST /batch/get --json '{"keys":["a","",7]}'; expect_problem 422 bad-shape; expect pointer "$(member pointer)" /keys/1
    request POST /batch/get --json '{"keys":['; expect_problem 400 bad-json
    request POST /batch/get --data '{"keys":["a"]}'; expect_problem 415 media-type
    { printf '{"keys":['; printf '"%s",' $(seq 512); printf '"z"]}'; } >"$work/many"
    request POST /batch/get --json "@$work/many"; expect_problem 413 batch-too-large; expect limit "$(member limit)" 512
    head -c 40000 /dev/zero >"$work/half"
    request PUT /keys/h1 -T "$work/half"; request PUT /keys/h2 -T "$work/half"
    request POST /batch/get --json '{"keys":["h1","h2"]}'; expect_problem 413 batch-too-large "the values together"
    request POST /batch/get --json '{"keys":["h1"]}'; expect_status 200
}
promise "many keys are read at once, in the order asked for" many_are_read_at_once

limits_are_settings() {
    server_end
    server_start_ready --data "$work/data" --value-bytes-max 64KiB --batch-operations-max 2 --batch-get-keys-max 3
    request GET /; expect_match limits "$(<"$work/body")" '"batch_operations_max": 2,.*"batch_get_keys_max": 3'
    batch '{"ops":[{"op":"delete","key":"1"},{"op":"delete","key":"2"}]}'; expect_status 200
    batch '{"ops":[{"op":"delete","key":"1"},{"op":"delete","key":"2"},{"op":"delete","key":"3"}]}'
    expect_problem 413 batch-too-large; expect limit "$(member limit)" 2
    request POST /batch/get --json '{"keys":["1","2","3"]}'; expect_status 200
    request POST /batch/get --json '{"keys":["1","2","3","4"]}'; expect_problem 413 batch-too-large; expect limit "$(member limit)" 3
    server_end
    server_start_ready --data "$work/data" --value-bytes-max 64KiB
}
promise "how many operations and keys are taken at once is set" limits_are_settings

# One writer puts one number under four keys, over and over; a kill at any moment leaves them alike.
a_kill_leaves_it_whole() {
    local round number values
    for round in 1 2 3 4 5; do
        for ((number = 0; ; number++)); do
            curl -s -o "$work/answer" --json "{\"ops\":[$(printf '{"op":"put","key":"w%d","value":"'"$round.$number"'"},' 1 2 3 4 | sed 's/,$//')]}" "$url/batch" || break
        done &
        local writer=$!
        sleep "0.$((RANDOM % 3 + 1))"
        server_end KILL; wait "$writer"
        server_start_ready --data "$work/data" --value-bytes-max 64KiB
        values=$(for number in 1 2 3 4; do text_of "w$number"; echo; done | sort -u)
        expect_match "the values after round $round" "$values" "^$round\\.[0-9]+$"
    done
}
promise "a kill -9 leaves a batch whole" a_kill_leaves_it_whole

finish
