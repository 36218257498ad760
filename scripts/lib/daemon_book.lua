-- perigee.daemon_book: what the daemon writes down about its policies, and finds again at its next start.  -- internal
-- Runs of hooks and schedules stand in the journal's own table; pauses and the names of files in the store, under a
-- space of the daemon's. Reading happens once, at open().

local json = require "perigee.json"

local book = {}

local SPACE <const> = "perigee.daemon"
local NAMES <const> = "names"

local Book = {}
Book.__index = Book

local function hook_key(policy, hook)
  return policy .. "\0" .. hook
end

local function read_values(self)
  for _, row in ipairs(self.call("store.list", { space = SPACE })) do
    local paused = row.name:match "^paused/(.+)$"
    local ok, value = pcall(json.decode, row.value)
    if ok and paused then self.pauses[paused] = value end
    if ok and row.name == NAMES then self.names = value end
  end
end

local function read_hooks(self)
  for _, row in ipairs(self.call("hook.last", {})) do
    self.newest[hook_key(row.policy, row.hook)] = row
  end
end

--- call(verb, args): the journal's.
function book.open(call)
  local self = setmetatable({ call = call, pauses = {}, names = {}, newest = {}, runs = {} }, Book)
  read_values(self)
  read_hooks(self)
  return self
end

--- A hook or schedule begins. about: { job=, scheduled_at= }. Returns its number.
function Book:begin(policy, hook, about)
  local row = self.call("hook.begin", { policy = policy, hook = hook, job = about.job, scheduled_at = about.scheduled_at })[1]
  if about.scheduled_at then self.runs[hook_key(policy, hook)] = about.scheduled_at end
  return row.number
end

--- It has ended: outcome is done, failed, timeout or skipped.
function Book:finish(number, outcome, why)
  self.call("hook.end", { number = number, outcome = outcome, error = why })
end

--- { why=, by=, at= } of a paused policy, or nil.
function Book:paused(policy)
  return self.pauses[policy]
end

--- Remembers the pause, or with nil forgets it; failures from before are forgotten with it.
function Book:set_paused(policy, pause)
  self.pauses[policy] = pause
  if pause then
    self.call("store.set", { space = SPACE, name = "paused/" .. policy, value = json.encode(pause) })
  else
    self.call("store.delete", { space = SPACE, name = "paused/" .. policy })
    for _, row in pairs(self.newest) do
      if row.policy == policy then row.failures = 0 end
    end
  end
end

--- How many of the newest runs of each hook in a row were not done: { hook = count }.
function Book:failures(policy)
  local counts = {}
  for _, row in pairs(self.newest) do
    if row.policy == policy and (row.failures or 0) > 0 and row.outcome ~= "interrupted" and row.outcome ~= "skipped" then
      counts[row.hook] = row.failures
    end
  end
  return counts
end

--- The newest moment (ms) for which a schedule was run, or nil.
function Book:last_run(policy, schedule)
  local key = hook_key(policy, "schedule:" .. schedule)
  return self.runs[key] or self.newest[key] and self.newest[key].scheduled_at
end

--- How the newest hook or schedule of a policy ended: { hook=, at=, outcome=, error= }, or nil.
function Book:last(policy)
  local newest
  for _, row in pairs(self.newest) do
    if row.policy == policy and (not newest or row.number > newest.number) then newest = row end
  end
  return newest and { hook = newest.hook, at = newest.begun_at // 1000, outcome = newest.outcome, error = newest.error }
end

--- Hooks that the last process left unfinished: rows of hook.list.
function Book:interrupted()
  local list = {}
  for _, row in pairs(self.newest) do
    if row.outcome == "interrupted" then list[#list + 1] = row end
  end
  table.sort(list, function(a, b) return a.number < b.number end)
  return list
end

--- The policy that a file had when it was loaded last, for one that must not be loaded now.
function Book:name_of(file)
  return self.names[file]
end

--- Keeps which file has which policy.
function Book:remember_names(slots)
  local changed = false
  for _, slot in ipairs(slots) do
    if self.names[slot.entry.file] ~= slot.name then
      self.names[slot.entry.file], changed = slot.name, true
    end
  end
  if changed then self.call("store.set", { space = SPACE, name = NAMES, value = json.encode(self.names) }) end
end

return book
