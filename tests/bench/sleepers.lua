-- sleepers.lua - how much memory a sleeping task costs: perigee run sleepers.lua TASKS.  Prints bytes each.
local task = require "perigee.task"

local function peak_bytes()
  for line in io.lines "/proc/self/status" do
    local kb = line:match "^VmHWM:%s+(%d+) kB"
    if kb then return tonumber(kb) * 1024 end
  end
end

local count = tonumber(arg[1])
local before = peak_bytes()
task.scope(function(scope)
  local function nap() task.sleep(5) end
  for _ = 1, count do scope:spawn(nap) end
end)
print(("%.0f"):format((peak_bytes() - before) / count))
