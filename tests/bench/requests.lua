-- SPDX-License-Identifier: Apache-2.0
-- wrk sends the requests of a file that requests.c made, round and round, and prints one line:
-- requests, microseconds, answers of 4xx and 5xx, failures of sockets, p50, p99 and p99.9 in us.
--     wrk ... -s requests.lua URL -- FILE
local prepared, number = {}, 0

function init(args)
   local file = assert(io.open(args[1], "rb"))
   for line in file:lines() do
      prepared[#prepared + 1] = file:read(tonumber(line))
   end
   file:close()
end

function request()
   number = number % #prepared + 1
   return prepared[number]
end

function done(summary, latency)
   local errors = summary.errors
   print(string.format("done %d %d %d %d %d %d %d", summary.requests, summary.duration, errors.status,
      errors.connect + errors.read + errors.write + errors.timeout,
      latency:percentile(50), latency:percentile(99), latency:percentile(99.9)))
end
