-- http.lua - the same work as c_peer.c, from tasks: perigee run http.lua get|post URL REQUESTS TASKS [BODY]
-- `post` sends BODY's fields encoded for each request and decodes each reply.  Prints "requests/s cpu-µs/request".
local http = require "perigee.http"
local json = require "perigee.json"
local task = require "perigee.task"

local what, url, total, width = arg[1], arg[2], tonumber(arg[3]), tonumber(arg[4])
local fields = what == "post" and json.decode(arg[5])

local function get()
  local reply = http.get(url)
  if reply.status ~= 200 then error("status " .. reply.status) end
end

local function post()
  local reply = http.post(url, {json = fields})
  if reply:json().code ~= 200 then error "the reply is not the one of the server" end
end

local one = what == "post" and post or get
local left = total
local wall, cpu = task.now(), os.clock()
task.scope(function(scope)
  for _ = 1, width do
    scope:spawn(function()
      while left > 0 do
        left = left - 1
        one()
      end
    end)
  end
end)
wall, cpu = task.now() - wall, os.clock() - cpu
print(("%.0f %.2f"):format(total / wall, cpu * 1e6 / total))
