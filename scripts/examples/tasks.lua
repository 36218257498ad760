-- tasks.lua - many things at once: each task waits on its own, leaving the block waits for all of them.
--
--   perigee run scripts/examples/tasks.lua
local task = require "perigee.task"

local names = task.map({ "slow", "quick", "quicker" }, function(name, i)
  task.sleep(0.3 / i)
  print(name .. " is done")
  return name:upper()
end, { concurrency = 3 })
print(table.concat(names, ", "))

local first = task.race {
  function() task.sleep "1s" return "the tortoise" end,
  function() task.sleep "50ms" return "the hare" end,
}
print(first .. " was first")

local ok, err = task.try(task.deadline, "100ms", function()
  task.sleep "1h"
end)
print(ok, err.kind)
