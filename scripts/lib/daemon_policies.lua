-- perigee.daemon_policies: the policies of a daemon: asked, told, counted, paused, restarted and replaced.  -- internal
-- A slot stands for one entry of the configuration and outlives its VMs. What a policy did wrong is counted for each
-- of its hooks; too often in a row and it is paused, which the journal remembers. A paused gate does not let jobs pass
-- unseen: what it would have been asked is held for a person.

local budgets = require "perigee.budgets"
local errors = require "perigee.error"
local json = require "perigee.json"
local log = require "perigee.log"
local one = require "perigee.daemon_policy"
local task = require "perigee.task"
local verdicts = require "perigee.daemon_verdicts"

local policies = {}

local HOOK_SECONDS <const> = 30
local MOST_FAILURES <const> = 5
local FIRST_BACKOFF <const>, LAST_BACKOFF <const> = 1, 60
local MOST_EVENTS <const> = 1000 -- that wait for one policy

local Policies = {}
Policies.__index = Policies

--- context: book (perigee.daemon_book: what is written down), emit(event, data), surroundings (as perigee.daemon_policy
--- takes them), now() monotonic seconds, max_failures, hook_seconds, changed(): the schedules may be others.
function policies.new(context)
  return setmetatable({ context = context, slots = {}, generation = 0 }, Policies)
end

local function name_of_file(file)
  return (file:match "([^/]+)$" or file):gsub("%.lua$", "")
end

-- ---- loading -------------------------------------------------------------------------------------------------

local function load_one(self, entry)
  return one.load(entry, self.context.surroundings)
end

local function close_all(list)
  for _, policy in pairs(list) do policy:close() end
end

-- Every file of the entries in a VM of its own; nothing is kept if one is bad. skip: entries that must not be loaded.
local function load_all(self, entries, skip)
  local loaded, problems, by_name = {}, {}, {}
  for i, entry in ipairs(entries) do
    if not skip[entry.file] then
      local ok, policy = pcall(load_one, self, entry)
      if not ok then
        problems[#problems + 1] = errors.is(policy) and policy.message or tostring(policy)
      elseif by_name[policy.name] then
        policy:close()
        problems[#problems + 1] = ("%s: the name %q is that of %s already"):format(entry.file, policy.name, by_name[policy.name])
      else
        loaded[i], by_name[policy.name] = policy, entry.file
      end
    end
  end
  if #problems == 0 then return loaded end
  close_all(loaded)
  error(errors.new { kind = "invalid", code = "policy", message = table.concat(problems, "\n") }, 0)
end

local function find(self, name)
  for _, slot in ipairs(self.slots) do
    if slot.name == name then return slot end
  end
  return nil
end

local function slot_of(self, entry, name)
  local old = find(self, name)
  local slot = { entry = entry, name = name, schedules = {}, failures = {}, restarts = 0, events = {} }
  if old then
    slot.failures, slot.paused, slot.counts, slot.last = old.failures, old.paused, old.counts, old.last
  else
    slot.paused, slot.failures = self.context.book:paused(name), self.context.book:failures(name)
    slot.last = self.context.book:last(name)
  end
  slot.counts = slot.counts or { done = 0, failed = 0 }
  return slot
end

local replace_vm

-- The slot has this policy from now on: the budget of its table counts for its jobs, its schedules stay known while its
-- VM is started anew, and an end of its VM that nobody asked for is noticed.
local function take(self, slot, policy)
  slot.policy = policy
  if not policy then return end
  slot.schedules, slot.max_failures = policy.schedules, policy.max_failures
  budgets.declare(slot.name, policy.budget)
  policy.on_end = function()
    replace_vm(self, slot, policy, "it ended by itself: " .. one.message(policy:why_ended() or "os.exit"))
  end
end

--- Loads the files of the entries { file=, memory=, step=, timeout= }, checks them, and puts them in the place of those
--- that run; raises, and changes nothing, if one is bad. stuck: file -> name of policies that are paused and must not
--- even be loaded. surroundings: others than before.
function Policies:load(entries, stuck, surroundings)
  stuck = stuck or {}
  local before = self.context.surroundings
  self.context.surroundings = surroundings or before
  local ok, loaded = pcall(load_all, self, entries, stuck)
  if not ok then
    self.context.surroundings = before
    error(loaded, 0)
  end
  local old, slots = self.slots, {}
  for i, entry in ipairs(entries) do
    slots[i] = slot_of(self, entry, loaded[i] and loaded[i].name or stuck[entry.file] or name_of_file(entry.file))
    take(self, slots[i], loaded[i])
  end
  self.slots = slots
  self.generation = self.generation + 1
  for _, slot in ipairs(old) do
    slot.replaced = true
    if not find(self, slot.name) then budgets.declare(slot.name, nil) end
    if slot.policy then slot.policy:retire() end
  end
  self.context.book:remember_names(slots)
  self.context.changed()
end

-- ---- pausing ---------------------------------------------------------------------------------------------------

--- Stops asking and running a policy, durably. by: "daemon" or who said so.
function Policies:pause(name, why, by)
  local slot = find(self, name) or errors.invalid(self:unknown(name))
  slot.paused = { why = why, by = by, at = os.time() }
  self.context.book:set_paused(name, slot.paused)
  log.warn("policy.paused", { policy = name, why = why, by = by })
  if by == "daemon" then
    self.context.emit("policy.paused", {
      policy = name,
      why = why,
      hint = ("mend it, then: perigee resume %s"):format(name),
    })
  end
  return slot
end

--- The message for a name that no policy has.
function Policies:unknown(name)
  local names = {}
  for i, slot in ipairs(self.slots) do names[i] = slot.name end
  local near = errors.nearest(tostring(name), names)
  return ("there is no policy %q%s"):format(tostring(name), near and (", did you mean %q?"):format(near)
    or #names > 0 and "; there are " .. table.concat(names, ", ") or "")
end

--- Asks and runs it again; loads it if it is not loaded.
function Policies:resume(name)
  local slot = find(self, name) or errors.invalid(self:unknown(name))
  if not slot.policy then take(self, slot, load_one(self, slot.entry)) end
  slot.paused, slot.failures, slot.error, slot.restarts = nil, {}, nil, 0
  self.context.book:set_paused(name, nil)
  log.info("policy.resumed", { policy = name })
  self.context.changed()
  return slot
end

-- ---- failures and overruns ---------------------------------------------------------------------------------------

-- How many in a row pause the policy: as its table says, the last that could be loaded.
local function most_failures(self, slot)
  return slot.max_failures or self.context.max_failures
end

local function backoff(slot)
  return math.min(LAST_BACKOFF, FIRST_BACKOFF * 2 ^ math.min(slot.restarts, 10))
end

local restart_later

local function restart(self, slot)
  if slot.replaced or slot.paused or slot.policy or self.stopped then return end
  local ok, policy = pcall(load_one, self, slot.entry)
  if slot.replaced or self.stopped then
    if ok then policy:close() end
  elseif ok then
    slot.error = nil
    take(self, slot, policy)
    self.context.changed()
  else
    slot.error = one.message(policy)
    restart_later(self, slot)
  end
end

function restart_later(self, slot)
  local seconds = backoff(slot)
  slot.restarts = slot.restarts + 1
  if slot.restarts > most_failures(self, slot) then
    self:pause(slot.name, ("its VM had to be ended %d times in a row, at last: %s"):format(slot.restarts - 1, slot.error), "daemon")
    return
  end
  slot.next_start = self.context.now() + seconds
  task.detach(function()
    task.sleep(seconds)
    restart(self, slot)
  end)
end

-- The VM is out of order: it is ended alone and started anew, later each time.
function replace_vm(self, slot, policy, why)
  if slot.policy ~= policy then return end
  slot.policy, slot.error = nil, why
  policy:close()
  log.error("policy.ended", { policy = slot.name, why = why, restart_in = backoff(slot) })
  if not slot.replaced then restart_later(self, slot) end
end

local function count_failure(self, slot, hook, err, policy)
  local why = one.message(err)
  slot.failures[hook] = (slot.failures[hook] or 0) + 1
  slot.counts.failed = slot.counts.failed + 1
  slot.last = { hook = hook, at = os.time(), outcome = errors.is(err, "timeout") and "timeout" or "failed", error = why }
  log.error("policy.failed", { policy = slot.name, hook = hook, why = why, in_a_row = slot.failures[hook] })
  if slot.failures[hook] >= most_failures(self, slot) and not slot.paused then
    self:pause(slot.name, ("%s failed %d times in a row, at last: %s"):format(hook, slot.failures[hook], why), "daemon")
  end
  if one.is_overrun(err) then replace_vm(self, slot, policy, why) end
  return why
end

local function count_success(slot, hook)
  slot.failures[hook] = nil
  slot.last = { hook = hook, at = os.time(), outcome = "done" }
  slot.counts.done = slot.counts.done + 1
  slot.restarts = 0
end

-- ---- hooks -------------------------------------------------------------------------------------------------------

-- One call of the policy, written down before and after. Returns true and the result, or false and why not.
local function run(self, slot, hook, about, seconds, f, args)
  local policy = slot.policy
  local number = self.context.book:begin(slot.name, hook, about)
  local ok, result = pcall(policy.call, policy, f, args, seconds)
  if not ok and require("perigee.core.task").cancelled() then
    task.shield(1, self.context.book.finish, self.context.book, number, "failed", "cancelled: " .. one.message(result))
    error(result, 0)
  end
  if ok then
    local skipped = f == "hook" and not result.applies
    if not skipped then count_success(slot, hook) end
    self.context.book:finish(number, skipped and "skipped" or "done")
    return true, result
  end
  if self.ending then -- what the end of the daemon cut short is nobody's failure
    self.context.book:finish(number, "skipped", "the daemon was ended: " .. one.message(result))
    return false, one.message(result)
  end
  local why = count_failure(self, slot, hook, result, policy)
  self.context.book:finish(number, errors.is(result, "timeout") and "timeout" or "failed", why)
  return false, why
end

local function hook_seconds(self, slot)
  return slot.entry.timeout or self.context.hook_seconds or HOOK_SECONDS
end

-- A paused gate holds what it is for, and everything if that cannot be told.
local function ask_paused(self, slot, event, job)
  if event ~= "job.submit" then return nil end
  local policy = slot.policy
  if policy then
    if not policy.hooks[event] then return nil end
    local ok, applies = pcall(policy.call, policy, "applies", { job = job }, hook_seconds(self, slot))
    if ok and not applies then return nil end
  end
  return { policy = slot.name, decision = "hold", why = "the policy is paused (" .. slot.paused.why .. ")" }
end

local function ask_one(self, slot, event, job)
  if slot.paused then return ask_paused(self, slot, event, job) end
  if not slot.policy then
    return verdicts.of_failure(event, slot.name, "its VM was ended: " .. tostring(slot.error))
  end
  if not slot.policy.hooks[event] then return nil end
  local seconds = hook_seconds(self, slot)
  local ran, ok, result = pcall(run, self, slot, event, { job = job.id }, seconds, "hook", { event = event, job = job })
  if not ran then
    if require("perigee.core.task").cancelled() then error(ok, 0) end
    return verdicts.of_failure(event, slot.name, one.message(ok))
  end
  if not ok then return verdicts.of_failure(event, slot.name, result) end
  if not result.applies then return nil end
  local verdict = result.decision or event == "job.submit" and { decision = "allow" } or nil
  if verdict then verdict.policy = slot.name end
  return verdict
end

--- What the policies say to a job: job.submit asks all of them, the others go to the first that decides something.
function Policies:ask(event, job)
  local list = {}
  for _, slot in ipairs(self.slots) do
    local verdict = ask_one(self, slot, event, job)
    list[#list + 1] = verdict
    if verdict and event ~= "job.submit" then break end
  end
  if event == "job.submit" then return verdicts.on_submit(list) end
  return verdicts.first(list)
end

-- ---- events ------------------------------------------------------------------------------------------------------

-- One after the other, in the order in which they came.
local function work_events(self, slot)
  while #slot.events > 0 do
    local event = table.remove(slot.events, 1)
    if slot.policy and not slot.paused then
      local job = event.data.job
      pcall(run, self, slot, event.name, { job = job and job.id }, hook_seconds(self, slot), "hook",
        { event = event.name, job = job, data = event.data })
    end
  end
  slot.working = false
end

--- Tells an event to the policies that hook it; does not wait.
function Policies:tell(name, data)
  for _, slot in ipairs(self.slots) do
    if slot.policy and slot.policy.hooks[name] and not slot.paused then
      if #slot.events < MOST_EVENTS then
        slot.events[#slot.events + 1] = { name = name, data = data }
      else
        log.warn("policy.event_lost", { policy = slot.name, event = name })
      end
      if not slot.working then
        slot.working = true
        task.detach(work_events, self, slot)
      end
    end
  end
end

-- ---- schedules -----------------------------------------------------------------------------------------------------

--- The schedules of all policies, for perigee.daemon_schedules.
function Policies:schedules()
  local list = {}
  for _, slot in ipairs(self.slots) do
    for _, fields in ipairs(slot.schedules) do
      list[#list + 1] = { policy = slot.name, fields = fields, last = self.context.book:last_run(slot.name, fields.name) }
    end
  end
  return list
end

--- The table `notify` of the policy of that name, or nil.
function Policies:notify_of(name)
  local slot = find(self, name)
  return slot and slot.policy and slot.policy.notify
end

--- Whether schedules of the policy run now; if not, why.
function Policies:may_run(name)
  local slot = find(self, name)
  if not slot then return false, "the policy is gone" end
  if slot.paused then return false, "the policy is paused" end
  if not slot.policy then return false, "its VM was ended: " .. tostring(slot.error) end
  return true
end

--- Runs a schedule's function; "done" or "failed".
function Policies:run_schedule(name, schedule, at, key)
  local slot = find(self, name)
  if not slot or not slot.policy then return "failed" end
  local seconds = schedule.timeout / 1000
  local ok = run(self, slot, "schedule:" .. schedule.name, { scheduled_at = at }, seconds, "schedule", {
    name = schedule.name,
    scheduled_at = math.tointeger(at / 1000) or at / 1000,
    key = key,
    deadline = os.time() + seconds,
  })
  return ok and "done" or "failed"
end

-- ---- people ----------------------------------------------------------------------------------------------------------

--- Files that were read as code by all policies.
function Policies:files()
  local files = {}
  for _, slot in ipairs(self.slots) do
    files[slot.entry.folder or slot.entry.file] = true
    for _, file in ipairs(slot.policy and slot.policy:read_files() or {}) do files[file] = true end
  end
  return files
end

local function state_of(slot)
  if slot.paused then return "paused", slot.paused.why end
  if not slot.policy then return "failing", "its VM was ended: " .. tostring(slot.error) end
  local hook, count = next(slot.failures)
  if hook then return "failing", ("%s failed %d times in a row"):format(hook, count) end
  return "active"
end

--- One row for each policy.
function Policies:status()
  local list = {}
  for i, slot in ipairs(self.slots) do
    local vm = slot.policy and slot.policy.vm:status()
    local hooks = json.array()
    for hook in pairs(slot.policy and slot.policy.hooks or {}) do hooks[#hooks + 1] = hook end
    table.sort(hooks)
    local state, why = state_of(slot)
    list[i] = {
      name = slot.name,
      file = slot.entry.file,
      state = state,
      why = why,
      paused = slot.paused,
      error = slot.error,
      last = slot.last,
      hooks = hooks,
      running = slot.policy and slot.policy.running or 0,
      done = slot.counts.done,
      failed = slot.counts.failed,
      memory = vm and vm.memory or 0,
      peak = vm and vm.peak or 0,
      restart_in = not slot.policy and not slot.paused and slot.next_start
        and math.max(0, slot.next_start - self.context.now()) or nil,
    }
  end
  return list
end

--- The daemon is about to end: failures are not counted from now on.
function Policies:prepare_end()
  self.ending = true
end

--- Ends all VMs: at once, or when their hooks have ended.
function Policies:stop(at_once)
  self.stopped = true
  for _, slot in ipairs(self.slots) do
    slot.replaced = true
    if slot.policy then
      if at_once then slot.policy:close() else slot.policy:retire() end
    end
  end
end

--- Calls that run in any of them.
function Policies:busy()
  local running = 0
  for _, slot in ipairs(self.slots) do running = running + (slot.policy and slot.policy.running or 0) end
  return running
end

policies.MOST_FAILURES = MOST_FAILURES

return policies
