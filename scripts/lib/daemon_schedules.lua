-- perigee.daemon_schedules: starts the schedules of policies when their time comes.  -- internal
-- What runs is the caller's (`run`); here is when, and what happens to a run whose time comes while the one before
-- it still works. tick(now) does what is due and says when to come again, so that a clock that jumps, a virtual one
-- and a spec are all the same to it.

local log = require "perigee.log"
local parse = require "perigee.schedule".parse
local sync = require "perigee.core.sync"
local task = require "perigee.task"

local schedules = {}

local LONGEST_NAP <const> = 10 * 1000 -- ms: a clock that was set is noticed after that
local SET_BACK <const> = 60 * 1000 -- ms: by more than that the clock was corrected, not adjusted
local MOST_BUFFERED <const> = 1000
local STALE_AFTER <const> = 2 -- moments in a row without a run that was done

local Schedules = {}
Schedules.__index = Schedules

--- context: run(entry, at_ms) does a run and returns "done" or what went wrong; skipped(entry, at_ms, why) notes one
--- that is not run; stale(entry) is told once when an entry misses its schedule; may_run(entry) -> true or false, why.
function schedules.new(context)
  return setmetatable({ context = context, entries = {}, bell = sync.semaphore(0), last_tick = nil }, Schedules)
end

local function key_of(policy, name)
  return policy .. "/" .. name
end

-- When the next moment starts, its jitter included.
local function plan(entry)
  entry.next = entry.schedule:next(entry.last)
  entry.due = entry.next + entry.schedule:jitter(entry.next)
end

--- Makes the entries those of the list: { policy=, fields= (of the policy's table), last= ms or nil }. Those that were
--- there keep what they are doing and when they ran last.
function Schedules:sync(list, now)
  local old = {}
  for _, entry in ipairs(self.entries) do
    old[key_of(entry.policy, entry.name)] = entry
  end
  self.entries = {}
  for _, item in ipairs(list) do
    local schedule = parse(item.fields)
    local key = key_of(item.policy, schedule.name)
    local entry = old[key] or {
      policy = item.policy,
      name = schedule.name,
      last = item.last or now,
      running = {},
      buffer = {},
      missed = 0,
      stale = false,
    }
    old[key] = nil
    entry.schedule, entry.gone = schedule, false
    plan(entry)
    self.entries[#self.entries + 1] = entry
  end
  for _, entry in pairs(old) do
    entry.gone, entry.buffer = true, {}
  end
  self:wake()
end

-- ---- runs ----------------------------------------------------------------------------------------------------

local function count_miss(self, entry)
  entry.missed = entry.missed + 1
  if entry.missed < STALE_AFTER or entry.stale then return end
  entry.stale = true
  self.context.stale(entry)
end

local function skip(self, entry, at, why)
  self.context.skipped(entry, at, why)
  count_miss(self, entry)
end

local start

local function ended(self, entry, run, outcome)
  for i, other in ipairs(entry.running) do
    if other == run then table.remove(entry.running, i) break end
  end
  if outcome == "done" then
    entry.missed, entry.stale, entry.done_at = 0, false, run.at
  else
    count_miss(self, entry)
  end
  if #entry.running == 0 and #entry.buffer > 0 and not self.stopped then
    start(self, entry, table.remove(entry.buffer, 1))
  end
end

-- The task waits for the one that works, so that the end is noted however that one ends.
function start(self, entry, at)
  local run = { at = at }
  entry.running[#entry.running + 1] = run
  run.task = task.detach(function()
    local outcome = "failed"
    local guard <close> = setmetatable({}, { __close = function() ended(self, entry, run, outcome) end }) -- luacheck: ignore 211
    outcome = self.context.run(entry, at)
  end)
end

local function stop_running(entry)
  for _, run in ipairs(entry.running) do
    run.task:cancel "the next run of its schedule has come"
  end
end

-- What to do with a moment while a run works, by the schedule's overlap.
local overlaps = {
  skip = function(self, entry, at) skip(self, entry, at, "the run before it still works") end,
  buffer_one = function(self, entry, at)
    if #entry.buffer == 0 then
      entry.buffer[1] = at
    else
      skip(self, entry, at, "one run waits already for the one that works")
    end
  end,
  buffer_all = function(self, entry, at)
    if #entry.buffer < MOST_BUFFERED then
      entry.buffer[#entry.buffer + 1] = at
    else
      skip(self, entry, at, "too many runs wait already")
    end
  end,
  cancel_other = function(_, entry, at)
    entry.buffer = { at } -- starts when the clean-up of the other is over
    stop_running(entry)
  end,
  terminate_other = function(self, entry, at)
    stop_running(entry)
    start(self, entry, at) -- does not wait for it
  end,
  allow_all = function(self, entry, at) start(self, entry, at) end,
}

local function fire(self, entry, at)
  local may_run, why = self.context.may_run(entry)
  if not may_run then
    self.context.skipped(entry, at, why)
  elseif #entry.running == 0 then
    start(self, entry, at)
  else
    overlaps[entry.schedule.overlap](self, entry, at)
  end
end

-- ---- time ----------------------------------------------------------------------------------------------------

local function tick_entry(self, entry, now)
  if now < entry.due then return end
  local moments, dropped = entry.schedule:missed(entry.last, now)
  if dropped then
    log.warn("schedule.missed", { policy = entry.policy, schedule = entry.name, since = entry.last // 1000 })
    entry.last = math.max(entry.last, (moments[1] or now) - 1)
    count_miss(self, entry)
  end
  for _, at in ipairs(moments) do
    if at + entry.schedule:jitter(at) > now then break end
    entry.last = at
    fire(self, entry, at)
  end
  plan(entry)
end

--- Starts what is due at `now` (ms); when to be called again, at the latest.
function Schedules:tick(now)
  local set_back = self.last_tick and now < self.last_tick - SET_BACK
  self.last_tick = now
  local soonest = now + LONGEST_NAP
  for _, entry in ipairs(self.entries) do
    if set_back and entry.last > now then
      entry.last = now
      plan(entry)
    end
    tick_entry(self, entry, now)
    soonest = math.min(soonest, math.max(entry.due, now))
  end
  return soonest
end

--- Ticks until stop() is called. wall(): the time in ms.
function Schedules:run(wall)
  while not self.stopped do
    local now = wall()
    local soonest = self:tick(now)
    pcall(task.deadline, math.max(0.001, (soonest - now) / 1000), self.bell.take, self.bell)
    if require("perigee.core.task").cancelled() then return end
  end
end

--- Looks again at once.
function Schedules:wake()
  self.bell:give()
end

--- Starts no more runs.
function Schedules:stop()
  self.stopped = true
  self:wake()
end

--- For people: a list of { policy, name, when, next, last, running, waiting, stale }, times in seconds.
function Schedules:status(count)
  local list = {}
  for i, entry in ipairs(self.entries) do
    local next_runs = entry.schedule:runs(entry.last, count or 1)
    for k, at in ipairs(next_runs) do next_runs[k] = at / 1000 end
    list[i] = {
      policy = entry.policy,
      name = entry.name,
      when = entry.schedule:words(),
      next = next_runs,
      done_at = entry.done_at and entry.done_at / 1000,
      running = #entry.running,
      waiting = #entry.buffer,
      stale = entry.stale,
    }
  end
  return list
end

return schedules
