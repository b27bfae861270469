-- SPDX-License-Identifier: Apache-2.0
-- Requests for wrk, made before the clock starts so that the client costs little:
--     wrk ... -s requests.lua URL -- get|put       1000 keys of 100-byte values, round and round
--     wrk ... -s requests.lua URL -- load FIRST    new keys from number FIRST on, one per request
local kind, number = "get", 0
local prepared = {}
local value = string.rep("0123456789", 10)

local function key(n)
   return string.format("/keys/bench/%09d", n)
end

function init(args)
   kind, number = args[1] or "get", tonumber(args[2] or 0)
   for n = 0, 999 do
      prepared[n] = kind == "get" and wrk.format("GET", key(n)) or wrk.format("PUT", key(n), nil, value)
   end
end

function request()
   number = number + 1
   if kind == "load" then
      return wrk.format("PUT", key(number), nil, value)
   end
   return prepared[number % 1000]
end
