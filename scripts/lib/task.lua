-- task.lua - perigee.task: tasks, and everything composed of them.
--
-- The primitives (spawn, sleep, scope, cancel, semaphores) are C, in host/task*.c and bindings/; what is
-- here puts them together.  Each function that starts tasks keeps them in a scope of its own, so leaving it
-- by any way, error and cancel included, leaves nothing running.
local core = require "perigee.core.task"
local sync = require "perigee.core.sync"
local errors = require "perigee.error"
local check_options = require "perigee.options".check

local task = {
  sleep = core.sleep,
  spawn = core.spawn,
  detach = core.detach,
  current = core.current,
  now = core.now,
}

local function check_function(f, what)
  if type(f) ~= "function" then errors.invalid(("%s must be a function, not a %s"):format(what, type(f))) end
end

local function check_number(value, what, least)
  if type(value) ~= "number" or value ~= value or value < least then
    errors.invalid(("%s must be a number of %g or more"):format(what, least))
  end
  return value
end

-- ---- scopes, deadlines, errors ---------------------------------------------------------------------

--- task.scope(options) -> a scope to keep in a <close> variable; task.scope(f, options) runs f(scope) and
--- waits for the tasks it spawned there.
function task.scope(f, options)
  if type(f) ~= "function" then return core.scope(f) end
  local scope <close> = core.scope(options)
  return f(scope)
end

--- Runs f(…) with a limit on all it does, attempts and clean-up's start included; raises kind `timeout`.
function task.deadline(limit, f, ...)
  check_function(f, "task.deadline: the second argument")
  local scope <close> = core.scope {deadline = limit} -- luacheck: ignore 211
  return f(...)
end

--- Tells whether err means that the current task itself was told to stop.
local function is_own_cancel(err)
  return errors.is(err, "cancelled") and core.cancelled() ~= nil
end

local function tried(ok, ...)
  if ok then return ... end
  local err = ...
  if is_own_cancel(err) then error(err, 0) end
  return nil, err
end

--- f's results, or nil and the error.  A cancel of the calling task is never swallowed.
function task.try(f, ...)
  check_function(f, "task.try: the first argument")
  return tried(pcall(f, ...))
end

--- Runs f(…) so that a cancel interrupts it only after `seconds` more.
function task.shield(seconds, f, ...)
  check_function(f, "task.shield: the second argument")
  local outer = core.shield_enter(seconds)
  local guard <close> = setmetatable({}, {__close = function() core.shield_leave(outer) end}) -- luacheck: ignore 211
  return f(...)
end

-- ---- values that tasks inherit --------------------------------------------------------------------------

--- The value stored under key by this task or the one that spawned it.
function task.get_local(key)
  local locals = core.locals()
  return locals and locals[key]
end

--- Sets it for this task and the tasks it spawns from now on.
function task.set_local(key, value)
  local copy = {}
  for k, v in pairs(core.locals() or copy) do copy[k] = v end
  copy[key] = value
  core.set_locals(copy)
end

-- ---- locks, semaphores, queues -----------------------------------------------------------------------------

local locks = setmetatable({}, {__mode = "v"})      -- a holder or waiter keeps its semaphore alive
local semaphores = setmetatable({}, {__mode = "v"})

local function acquire(semaphore, timeout)
  if timeout == nil then return semaphore:acquire() end
  if timeout == 0 then return semaphore:acquire(false) end
  return task.deadline(timeout, semaphore.acquire, semaphore)
end

--- Waits for the one permit of `key` and returns it: keep it in a <close> variable.
function task.lock(key, options)
  if key == nil then errors.invalid "task.lock: key is missing" end
  options = check_options("task.lock", options, {"timeout"})
  local semaphore = locks[key] or sync.semaphore(1)
  locks[key] = semaphore
  return acquire(semaphore, options.timeout)
end

--- The same with `count` permits; every caller names the same count.
function task.semaphore(key, count, options)
  if key == nil then errors.invalid "task.semaphore: key is missing" end
  if math.type(count) ~= "integer" or count < 1 then
    errors.invalid "task.semaphore: count must be a whole number of 1 or more"
  end
  options = check_options("task.semaphore", options, {"timeout"})
  local entry = semaphores[key]
  if entry and entry.count ~= count then
    errors.invalid(("task.semaphore: %q has %d permits, not %d"):format(tostring(key), entry.count, count))
  end
  entry = entry or {count = count, semaphore = sync.semaphore(count)}
  semaphores[key] = entry
  local permit = acquire(entry.semaphore, options.timeout)
  return permit and setmetatable({permit = permit, entry = entry}, {
    __close = function(self) self.permit:release() end,
    __index = {release = function(self) self.permit:release() end},
  })
end

local queue = {}
queue.__index = queue

--- A queue of at most `capacity` values (default 1): put waits while it is full, get while it is empty.
function task.queue(capacity)
  capacity = capacity or 1
  if math.type(capacity) ~= "integer" or capacity < 1 then
    errors.invalid "task.queue: capacity must be a whole number of 1 or more"
  end
  return setmetatable({
    first = 1, last = 0, values = {}, closed = false,
    room = sync.semaphore(capacity), filled = sync.semaphore(0),
  }, queue)
end

--- Adds a value; raises kind `closed` on a closed queue.
function queue:put(value)
  if not self.room:take() or self.closed then
    error(errors.new {kind = "closed", message = "queue:put: the queue is closed"}, 0)
  end
  self.last = self.last + 1
  self.values[self.last] = {value}
  self.filled:give()
end

--- true and the oldest value, or false once the queue is closed and empty.
function queue:get()
  if not self.filled:take() then return false end
  local box = self.values[self.first]
  self.values[self.first] = nil
  self.first = self.first + 1
  self.room:give()
  return true, box[1]
end

--- for value in queue:each() do … end, until it is closed and empty.
function queue:each()
  return function()
    local ok, value = self:get()
    if ok then return value end
  end
end

--- No more values: waiting getters take what is there, then end; putters get an error.
function queue:close()
  self.closed = true
  self.room:close()
  self.filled:close()
end

--- Values in the queue.
function queue:size()
  return self.last - self.first + 1
end

-- ---- many at once --------------------------------------------------------------------------------------------

--- Runs all functions at once; the first to end decides: its results or its error.  The others are cancelled.
function task.race(functions)
  if type(functions) ~= "table" or #functions == 0 then errors.invalid "task.race: a list of functions is needed" end
  local finished = task.queue(#functions)
  local scope <close> = core.scope()
  for i, f in ipairs(functions) do
    check_function(f, "task.race: entry " .. i)
    scope:spawn(function() finished:put(table.pack(pcall(f))) end)
  end
  local _, first = finished:get()
  scope:cancel "another function of the race was first"
  if not first[1] then error(first[2], 0) end
  return table.unpack(first, 2, first.n)
end

-- Spaces starts: at most `rate` a second, shared by all workers.
local function pacer(rate)
  if not rate then return function() end end
  local next_at = core.now()
  return function()
    local now = core.now()
    local at = next_at > now and next_at or now
    next_at = at + 1 / rate
    if at > now then core.sleep(at - now) end
  end
end

local function stop_rule(stop_on)
  if stop_on == nil then return function() return false end end
  if type(stop_on) == "function" then return stop_on end
  local kinds = {}
  for _, kind in ipairs(type(stop_on) == "table" and stop_on or {stop_on}) do kinds[kind] = true end
  return function(err) return errors.is(err) and kinds[err.kind] or false end
end

-- The state shared by the workers of one map.
local function new_run(items, f, options)
  return {
    items = items, f = f, next = 1, count = #items, outcomes = {}, stopped = false,
    pace = pacer(options.rate), stops = stop_rule(options.stop_on), fail_fast = options.mode == "fail_fast",
  }
end

local function run_item(run, i)
  local outcome = run.outcomes[i]
  local results = table.pack(pcall(run.f, run.items[i], i))
  if results[1] then
    outcome.ok, outcome.value, outcome.state = true, results[2], "done"
  else
    local err = results[2]
    if is_own_cancel(err) then error(err, 0) end
    outcome.err, outcome.state = err, "failed"
    if run.fail_fast then error(err, 0) end
    if run.stops(err) then run.stopped = true end
  end
  if run.finished then run.finished:put(i) end
end

local function worker(run, delay)
  if delay > 0 then core.sleep(delay) end
  while run.next <= run.count and not run.stopped do
    local i = run.next
    run.next = i + 1
    run.pace()
    if run.stopped then return end -- another item has said stop while this one waited for its turn
    run_item(run, i)
  end
end

local function start_workers(run, scope, options)
  local workers = math.min(options.concurrency or 16, run.count)
  local ramp = options.ramp or 0
  local left = workers
  for w = 1, workers do
    scope:spawn(function()
      worker(run, ramp * (w - 1) / workers)
      left = left - 1
      if left == 0 and run.finished then run.finished:close() end
    end)
  end
  if workers == 0 and run.finished then run.finished:close() end
end

-- for i, outcome in task.map(…, {mode = "completed"}): leaving the loop cancels what still runs
local function as_completed(run, options)
  run.finished = task.queue(math.max(run.count, 1))
  local scope = core.scope()
  start_workers(run, scope, options)
  local function next_outcome()
    local ok, i = run.finished:get()
    if ok then return i, run.outcomes[i] end
  end
  return next_outcome, nil, nil, setmetatable({}, {__close = function()
    scope:cancel "the loop was left"
    scope:close()
  end})
end

local MODES = {fail_fast = true, collect = true, completed = true}

local function check_map(items, f, options)
  if type(items) ~= "table" then errors.invalid "task.map: items must be a list" end
  check_function(f, "task.map: the second argument")
  options = check_options("task.map", options, {"concurrency", "mode", "rate", "ramp", "stop_on"})
  if options.concurrency and (math.type(options.concurrency) ~= "integer" or options.concurrency < 1) then
    errors.invalid "task.map: concurrency must be a whole number of 1 or more"
  end
  if options.rate and check_number(options.rate, "task.map: rate", 0) == 0 then
    errors.invalid "task.map: rate must be more than 0 starts a second"
  end
  if options.ramp then check_number(options.ramp, "task.map: ramp", 0) end
  local mode = options.mode or "fail_fast"
  if not MODES[mode] then
    errors.invalid(("task.map: mode must be \"fail_fast\", \"collect\" or \"completed\", not %q"):format(tostring(mode)))
  end
  local copy = {}
  for k, v in pairs(options) do copy[k] = v end
  copy.mode = mode
  return copy
end

--- Runs f(item, index) for each item, `concurrency` at once (default 16).
--- mode "fail_fast" (default): the list of first results; the first error cancels the rest and is raised.
--- mode "collect": a list of {ok, value, err, state = "done" | "failed" | "not_started"}, one for each item.
--- mode "completed": an iterator of index and such an outcome, in the order in which items end.
--- rate: at most so many starts a second.  ramp: seconds until all workers run.
--- stop_on: an error kind, a list of kinds, or a function of the error: nothing more is started after it.
function task.map(items, f, options)
  options = check_map(items, f, options)
  local run = new_run(items, f, options)
  for i = 1, run.count do run.outcomes[i] = {ok = false, state = "not_started"} end
  if options.mode == "completed" then return as_completed(run, options) end
  do
    local scope <close> = core.scope()
    start_workers(run, scope, options)
  end
  if options.mode == "collect" then return run.outcomes end
  local values = {n = run.count}
  for i, outcome in ipairs(run.outcomes) do values[i] = outcome.value end
  return values
end

return task
