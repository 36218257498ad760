-- bell.lua - wakes one task that waits for something to do or for its time, whichever comes first.  -- internal
--
-- Whether it rang is what `rung` says; the semaphore only wakes the sleeper.  A ring may come just when the time is up:
-- then the semaphore's permit is gone and the wait ends as late all the same, and it must still count as rung.

local errors = require "perigee.error"
local sync = require "perigee.core.sync"
local task = require "perigee.task"

local bell = {}

--- A bell: ring() wakes who sleeps, or who sleeps next; however many rings come before that, they are one.
--- sleep(seconds) tells whether it was rung.
function bell.new()
  local semaphore, rung = sync.semaphore(0), false
  local self = {}
  function self.ring()
    if rung then return end
    rung = true
    semaphore:give()
  end
  function self.sleep(seconds)
    if not rung and seconds <= 0 then
      task.sleep(0)
    elseif not rung then
      local _, err = task.try(task.deadline, seconds, semaphore.take, semaphore)
      if err and not errors.is(err, "timeout") then error(err, 0) end
    end
    local was_rung = rung
    rung = false
    while semaphore:free() > 0 do semaphore:take() end
    return was_rung
  end
  return self
end

return bell
