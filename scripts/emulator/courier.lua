-- courier.lua - the clock of a running emulator, and the tasks that deliver SXWL's callbacks.
--
-- The emulated services never wait; whoever runs them (server.lua) keeps a courier beside them and calls `watch`
-- after each request.

local task = require "perigee.task"

local courier = {}
local methods = {}
methods.__index = methods

-- Runs f in a task of its own until close().
local function start(self, f)
  local running
  running = task.detach(function()
    f()
    self.tasks[running] = nil
  end)
  self.tasks[running] = true
end

--- Unix seconds with fractions: the host's wall clock counts whole ones.
function methods:now()
  return self.wall + (task.now() - self.started)
end

--- Sleeps until the next callback is due, if nobody does so already, delivers what is due, and watches on.
function methods:watch()
  local due = self.sxwl:next_callback()
  if not due or (self.watched and self.watched <= due) then
    return
  end
  self.watched = due
  start(self, function()
    task.sleep(math.max(0, due - self:now()))
    for _, callback in ipairs(self.sxwl:due_callbacks(due)) do
      start(self, function()
        self.deliver(callback)
      end)
    end
    if self.watched == due then
      self.watched = nil
    end
    self:watch()
  end)
end

--- No more callbacks.
function methods:close()
  for running in pairs(self.tasks) do
    running:cancel "the emulator was closed"
  end
end

--- sxwl: the emulated service; deliver(callback) posts one and may wait.
function courier.new(sxwl, deliver)
  return setmetatable({ sxwl = sxwl, deliver = deliver, wall = os.time(), started = task.now(), tasks = {} }, methods)
end

return courier
