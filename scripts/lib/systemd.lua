-- perigee.systemd: what the daemon tells the service manager that started it.  -- internal
--
-- The protocol is sd_notify(3). Without a service manager every function does nothing. The watchdog is fed by a task
-- of the loop, so a loop that stands still starves it; and only after the journal's writer has answered a question,
-- an error being an answer: a full disk is no reason to be killed, a writer that hangs is.

local core = require "perigee.core.sdnotify"
local errors = require "perigee.error"
local log = require "perigee.log"
local task = require "perigee.task"

local systemd = {}

local send = core.send
local failing = false

-- Text of a STATUS: one line.
local function line(text)
  return (tostring(text):gsub("%c", " "))
end

-- Says once that nobody can be told.
local function tell(message)
  local sent, why = send(message)
  if why and not failing then log.warn("systemd.lost", { error = why }) end
  failing = why ~= nil
  return sent
end

--- The daemon works. text: what `systemctl status` shows.
function systemd.ready(text)
  return tell("READY=1\nSTATUS=" .. line(text))
end

--- Another word for `systemctl status`.
function systemd.status(text)
  return tell("STATUS=" .. line(text))
end

--- A reload has begun; ready() ends it.
function systemd.reloading(text)
  -- One message: the manager compares the time with that of READY (Type=notify-reload).
  return tell(("RELOADING=1\nMONOTONIC_USEC=%d\nSTATUS=%s"):format(task.now() * 1000000 // 1 | 0, line(text or "reloading")))
end

--- The daemon ends. seconds: how long it may take, if that is more than the unit allows.
function systemd.stopping(text, seconds)
  local message = "STOPPING=1\nSTATUS=" .. line(text or "stopping")
  if seconds then message = message .. ("\nEXTEND_TIMEOUT_USEC=%d"):format(seconds * 1000000 // 1 | 0) end
  return tell(message)
end

--- How often the manager wants a sign of life, in seconds, or nil.
systemd.interval = core.watchdog

-- True if the writer answers in time, whatever it says.
local function answers(ping, seconds)
  local _, err = task.try(task.deadline, seconds, ping)
  return not errors.is(err, "timeout")
end

--- Feeds the watchdog until its task is cancelled; returns at once if there is none. ping(): asks the journal
--- something; may wait, and may raise.
function systemd.feed(ping)
  local interval = core.watchdog()
  if not interval then return end
  while true do
    local began = task.now()
    if answers(ping, interval / 4) then
      tell "WATCHDOG=1"
    else
      log.error("systemd.watchdog_not_fed", { reason = "the journal's writer does not answer" })
    end
    task.sleep(math.max(0, interval / 3 - (task.now() - began)))
  end
end

return systemd
