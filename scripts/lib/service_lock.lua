-- service_lock.lua - locks that hold across processes.  -- internal
--
-- A key of the service (a jobName, a jobID) is held by one caller among all processes of a state directory: under the
-- lock of the VM, which is there first, the journal's is taken.  Who lets go of it leaves a note, which the next
-- holder is given; a holder that died leaves none.  Without a journal on a disk there is nobody to share with; where it
-- cannot be written the lock of the VM has to do, with a warning: governed calls are denied in that state anyway.

local core = require "perigee.core.journal"
local errors = require "perigee.error"
local log = require "perigee.log"
local task = require "perigee.task"

local service_lock = {}

local FIRST_PAUSE <const>, LAST_PAUSE <const>, PAUSE_FACTOR <const> = 0.02, 1, 1.5
local TELL_AFTER <const> = 60 -- seconds
local TAKE_GRACE <const> = 15 -- seconds in which a cancelled task still learns whether it holds the lock

local warned = false

local function is_shared()
  local engine = core.status().engine
  if not engine then
    core.call "process.list"
    engine = core.status().engine
  end
  return engine ~= "memory"
end

-- One lock of the journal, and the note of its last holder.
local function take_one(name)
  local pause, waited = FIRST_PAUSE, 0
  while true do
    -- A cancel must not come between the taking and the knowing of it.
    local answer = task.shield(TAKE_GRACE, core.call, "lock.take", { name = name })[1]
    if answer.taken == 1 then return core.lock(name), answer.note end
    local nap = pause * (0.5 + math.random())
    if waited < TELL_AFTER and waited + nap >= TELL_AFTER then
      log.warn("lock.waiting", { lock = name, held_by = answer.kind, pid = answer.pid, host = answer.host })
    end
    task.sleep(nap)
    pause, waited = math.min(pause * PAUSE_FACTOR, LAST_PAUSE), waited + nap
  end
end

-- Who waits stands in the door: a process that wants the lock back at once, again and again, comes after him.
local function take(name)
  local door <close> = take_one("next|" .. name) -- luacheck: ignore 211
  return take_one(name)
end

local function take_if_shared(name)
  if not is_shared() then return nil end
  return take(name)
end

local held_class = {
  __close = function(self)
    if self.journal then
      self.journal:note(self.note())
      self.journal:close()
    end
    self.own:release()
  end,
}

--- Takes the lock of that name in the journal, under `own`, the VM's.  heed(note) is called with what the last holder
--- left, note() gives what is left to the next one.  Returns a value for a <close> variable, which frees both.
function service_lock.take(name, own, heed, note)
  local ok, journal, left = pcall(take_if_shared, name)
  if not ok and not errors.is(journal, "unavailable") then
    own:release()
    error(journal, 0)
  end
  if not ok then
    if not warned then
      log.warn("lock.not_shared", { code = journal.code, error = journal.message,
        meaning = "other processes of this state directory may use the same job at the same time" })
    end
    warned, journal = true, nil
  end
  if journal then heed(left) end
  return setmetatable({ own = own, journal = journal, note = note }, held_class)
end

return service_lock
