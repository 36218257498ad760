-- perigee.worker: tasks that work for the whole program, whoever happens to need them first.  -- internal
-- They are no part of the input of a prompt that was running then: it neither lists nor cancels them.

local core = require "perigee.core.task"

local worker = {}

-- Task-local values that belong to one input.
local OF_INPUT <const> = { ["perigee.entry"] = true, ["perigee.session.plan"] = true }

local function work(f, ...)
  local kept = {}
  for name, value in pairs(core.locals() or {}) do
    if not OF_INPUT[name] then kept[name] = value end
  end
  core.set_locals(kept)
  return f(...)
end

--- task.detach for such a task.
function worker.start(f, ...)
  return core.detach(work, f, ...)
end

return worker
