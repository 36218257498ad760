-- helper.lua - loaded by busted before the specs: leak checks, time-outs and small tools for them.
--
-- After each spec nothing may be left: no task but the runner's, no handle, no timer, no VM, no stack slot.  A
-- spec that waits longer than its limit is ended with an error instead of hanging the run.
local core = require "perigee.core.task"

local helper = {}

-- the longest a spec may take, in seconds; PERIGEE_SPEC_LIMIT changes it (sanitizers are slow)
local LIMIT = tonumber(os.getenv "PERIGEE_SPEC_LIMIT" or "") or 60
-- so many times that for a spec with #long in its name
local LONG <const> = 5

--- Runs f(…) and fails if it takes longer than `seconds`.
function helper.within(seconds, f, ...)
  local scope <close> = core.scope {deadline = seconds} -- luacheck: ignore scope
  return f(...)
end

--- Waits until f() is true: polls with the loop running, fails after `seconds` (default 10).
function helper.eventually(f, seconds)
  local deadline = core.now() + (seconds or 10)
  while not f() do
    if core.now() > deadline then error("it did not become true within " .. (seconds or 10) .. " s", 2) end
    core.sleep(0.002)
  end
end

--- The error f(…) raises; fails if it raises none.
function helper.error_of(f, ...)
  local ok, err = pcall(f, ...)
  if ok then error("expected an error, and there was none", 2) end
  return err
end

--- A fresh folder below the sandbox's TMPDIR.
function helper.tmpdir()
  local name = os.tmpname()
  os.remove(name)
  local lfs = require "lfs"
  assert(lfs.mkdir(name))
  return name
end

-- ---- the leak check -----------------------------------------------------------------------------------

local function describe(counts)
  return ("%d task(s), %d handle(s), %d timer(s), %d VM(s), stack %d"):format(counts.tasks, counts.handles,
    counts.timers, counts.vms, counts.stack)
end

local function leftover(before)
  local now = core.counts()
  return now.tasks > before.tasks or now.handles > before.handles or now.timers > before.timers
    or now.vms > before.vms or now.stack > before.stack, now
end

-- Things close asynchronously: a few turns of the loop are allowed, not more.
local function check_leaks(before)
  for _ = 1, 200 do
    collectgarbage()
    if not leftover(before) then return end
    core.sleep(0.005)
  end
  local leaks, now = leftover(before)
  if leaks then error("the spec left something behind: before " .. describe(before) .. "; after " .. describe(now), 0) end
end

-- busted tells of each spec's start and end; the end comes after its `finally`, before `after_each`.
local busted = require "busted"
local before

-- A spec runs in a scope with a deadline.  What it gives to `finally` runs before the scope is left, since
-- it often closes a server whose task the scope would wait for.
local function run_spec(spec, body)
  local clean_up
  spec.env.finally = function(f) clean_up = f end
  local last <close> = setmetatable({}, {__close = function() if clean_up then clean_up() end end}) -- luacheck: ignore 211
  return body()
end

busted.subscribe({"test", "start"}, function(spec)
  local body = spec.run
  local limit = spec.name:find("#long", 1, true) and LONG * LIMIT or LIMIT
  spec.run = function() return helper.within(limit, run_spec, spec, body) end
  collectgarbage()
  before = core.counts()
  return nil, true
end)

busted.subscribe({"test", "end"}, function(spec, parent)
  local ok, err = pcall(check_leaks, before)
  if not ok then busted.publish({"failure", "it"}, spec, parent, err, nil) end
  return nil, true
end, {priority = 1})

package.loaded["tests.helper"] = helper
return helper
