-- perigee.repl_tasks: runs an input of a session as a task that can be stopped alone.  -- internal
--
-- The input is over when its function has returned. What it has spawned goes on, as the tasks of a script would: its
-- task stays until they have ended, is listed in session.tasks meanwhile, and tells of an error of theirs.

local core = require "perigee.core.task"
local errors = require "perigee.error"
local task = require "perigee.task"

local tasks = {}

-- The input had no say in its end: cancelled, or ended by the watchdog.
local function forced_end(session, entry, err)
  local interrupted = errors.is(err, "cancelled")
  if entry then entry.cancelled, entry.error, entry.seconds = interrupted, err, core.now() - entry.began end
  local text = "interrupted\n"
  if not interrupted then
    text = require("perigee.repl_show").error(err, { columns = session.columns(), color = session.color })
  end
  return { kind = "lua", ok = false, interrupted = interrupted, error = err, text = text }
end

--- Runs the text and waits until it is over. running(handle) is told of its task, and running(nil) of the end.
function tasks.run(session, text, running)
  local done, note, outcome = task.queue(1), {}, nil
  local handle = core.detach(function()
    core.interruptible()
    outcome = session:eval(text, note)
    done:put(true)
  end)
  local listed
  core.detach(function()
    local ok, err = pcall(handle.wait, handle)
    if outcome == nil then
      outcome = forced_end(session, note.entry, err)
      done:put(true)
    elseif not ok and not listed then
      listed = session:adopt(handle, text) -- it failed at once, behind the input's back
    end
    if listed then session:accompany(listed, nil, function() return nil end) end
  end)
  if running then running(handle) end
  done:get()
  if running then running(nil) end
  local status = handle:status()
  if not outcome.interrupted and (status == "waiting" or status == "ready" or status == "running") then
    listed = session:adopt(handle, text)
  end
  return outcome
end

return tasks
