-- supervised.lua - a supervisor over the emulator in one process, on virtual time: for specs in child processes.
--
--   local out = supervised.play([[ local job = submit{}; print(wait(job).state) ]], { faults = "…" })
--
-- play() runs the text in a child; in there are world (local_world), sup (a supervisor), submit(), wait(), job(),
-- events, sleep(), restart() and what require gives.
local spawn = require "tests.support.spawn"

local supervised = {}

--- Runs a text in a process of its own on virtual time; returns what it printed.  options: for the emulator's world.
function supervised.play(text, options)
  local given = {}
  for name, value in pairs(options or {}) do
    given[#given + 1] = ("[%q] = %s"):format(name, type(value) == "table" and value[1] or ("%q"):format(value))
  end
  local result = spawn.run({"run", "--seed", "1", "--log-level", "error", "-e",
    ("local stage <close> = require 'tests.support.stage'.open { %s }\nlocal _ENV = stage.env\n%s"):format(
      table.concat(given, ", "), text)}, {env = {PERIGEE_VIRTUAL_TIME = "1700000000"}, timeout = 50})
  return result.stdout, result.stderr, result.status
end

return supervised
