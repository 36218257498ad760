-- callbacks.lua - usage: perigee run callbacks.lua LOAD_PROGRAM [RATE] [SECONDS] [SLOW]
-- The receiver of callbacks under RATE posts a second (a tenth of them forged) while SLOW clients dribble; prints how
-- late a timer of 5 ms was, which is how long the loop had no time.
local callbacks = require "perigee.callbacks"
local proc = require "perigee.proc"
local task = require "perigee.task"

local program, rate, seconds, slow = arg[1], arg[2] or "1000", arg[3] or "10", arg[4] or "500"
local STEP <const> = 0.005

local looks = 0
local receiver <close> = callbacks.serve {
  listen = "127.0.0.1:0", public_url = "http://127.0.0.1",
  ring = function() looks = looks + 1 end,
}

local paths = {}
for i = 1, 500 do
  local path = receiver:url_for(("%032x"):format(i), 1):match "^http://[^/]+(/.*)$"
  paths[i] = i % 10 == 0 and path:gsub("%x%x$", "zz") or path
end

local late = {}
local sampler = task.spawn(function()
  while true do
    local began = task.now()
    task.sleep(STEP)
    late[#late + 1] = (task.now() - began - STEP) * 1000
  end
end)
local result = proc.run { args = { program, tostring(receiver.port), rate, seconds, slow },
  stdin = table.concat(paths, "\n") .. "\n", timeout = tonumber(seconds) + 60 }
sampler:cancel "done"
pcall(sampler.wait, sampler)
assert(result.status == 0, result.stderr)

table.sort(late)
local answered, accepted, worst = result.stdout:match "(%d+) (%d+) (%d+)"
print(("callbacks  %s/s for %s s beside %s slow clients: %d answered, %d accepted, %d looks, longest answer %d ms"):format(rate,
  seconds, slow, answered, accepted, looks, worst))
print(("loop lag   p50 %.1f ms  p99 %.1f ms  max %.1f ms"):format(late[#late // 2 + 1], late[math.ceil(#late * 0.99)], late[#late]))
