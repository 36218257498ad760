-- perigee.daemon_upkeep: what a daemon does once a day: looks for paid work that nobody tracks, lets the journal forget.  -- internal
-- When it was done last stands in the journal, so that a daemon that is restarted often does it no more often.

local errors = require "perigee.error"
local log = require "perigee.log"
local task = require "perigee.task"

local upkeep = {}

local DAY <const> = 24 * 3600 * 1000 -- ms
local LOOK <const> = 600 -- seconds between looks whether a day has passed
local FIRST <const> = 300 -- seconds after the start
local KEEP_DAYS <const> = 90 -- of finished jobs and decisions; daily totals stay for ever
local SPACE <const>, NAME <const> = "perigee.daemon", "upkeep"

local function last_time(call)
  local row = call("store.get", { space = SPACE, name = NAME })[1]
  return row and math.tointeger(tonumber(row.value))
end

local function attempt(what, f, ...)
  local result, err = task.try(f, ...)
  if err then log.warn("daemon.upkeep", { what = what, why = errors.is(err) and err.message or tostring(err) }) end
  return result
end

--- Does it if a day has passed since the last time; true if so. context: call (the journal's), sweep(),
--- now() in ms, keep_days (default 90).
function upkeep.look(context)
  local now, last = context.now(), last_time(context.call)
  -- A last time in the future is one from before the clock was set back.
  if last and last <= now and now - last < DAY then return false end
  context.call("store.set", { space = SPACE, name = NAME, value = ("%d"):format(now) })
  local swept = attempt("sweep", context.sweep)
  local jobs, gone = 0
  repeat -- in pieces: other calls of the journal get their turn between
    local rows = attempt("compact", context.call, "journal.compact", { keep_days = context.keep_days or KEEP_DAYS })
    gone = rows and rows[1] or {}
    jobs = jobs + (gone.jobs or 0)
  until gone.more ~= 1
  log.info("daemon.upkeep", { found = swept and #swept.found, jobs_forgotten = jobs, bytes = gone.bytes })
  return true
end

--- Looks every ten minutes, until its task is cancelled.
function upkeep.run(context)
  task.sleep(FIRST)
  while true do
    attempt("look", upkeep.look, context)
    task.sleep(LOOK)
  end
end

return upkeep
