-- supervisor.lua - sees durable jobs through, in `perigee run` and in the daemon.  -- internal
--
-- All that must survive is in the journal; here are tasks and a small entry for each job.  Jobs that run wait in one
-- heap and are looked at by one task (supervisor_watch.lua); all other steps wait in a few lanes and are taken by the
-- workers of each, one at a time for each job.  What the services differ in is in the drivers (supervisor_sxwl.lua,
-- supervisor_deai.lua).

local bells = require "perigee.bell"
local book = require "perigee.supervisor_book"
local clock = require "perigee.core.task"
local ending = require "perigee.supervisor_end"
local errors = require "perigee.error"
local heap = require "perigee.supervisor_heap"
local journal = require "perigee.core.journal"
local log = require "perigee.log"
local plan = require "perigee.supervisor_attempt"
local recover = require "perigee.supervisor_recover"
local sync = require "perigee.core.sync"
local task = require "perigee.task"
local watch = require "perigee.supervisor_watch"
local worker = require "perigee.worker"

local supervisor = {}
local methods = {}
methods.__index = methods

local WORKERS <const> = 16 -- steps of one lane that may be under way at once, the waits of policies included
local TICK <const> = 2 -- seconds between looks for requests of other processes
local CLAIM_EVERY <const> = 10 -- seconds between looks for jobs of dead processes
local LONGEST <const> = 60 -- seconds that a wall time is believed to be so far away, whatever the clock does
local AGAIN <const> = 10 -- seconds until a step that could not be made is tried again
local WARN_AFTER <const> = 0.8 -- share of an approval's time after which its expiry is announced
local DRAIN <const> = 20 -- seconds for requests that are under way

-- ---- what the parts ask of the whole -----------------------------------------------------------------------------------

--- The driver of a service, made when it is first needed.
function methods:driver(name)
  local driver = self.drivers[name]
  if not driver then
    driver = require("perigee.supervisor_" .. name).new(self.options.clients and self.options.clients[name])
    self.drivers[name] = driver
  end
  return driver
end

--- What is known of a service's health.
function methods:service_state(name)
  local state = self.services[name]
  if not state then
    state = {}
    self.services[name] = state
  end
  return state
end

--- A refused password: told once, until it is taken again.
function methods:login_refused(name, err)
  local state = self:service_state(name)
  if state.login_told then return end
  state.login_told = true
  log.warn("supervisor.login_refused", { service = name, error = err.message })
  book.emit(self, "login.refused", nil, { service = name, error = err.message })
end

--- The journal cannot be written: told once, until it can.
function methods:unwritable(err)
  if self.journal_told then return end
  self.journal_told = true
  log.error("supervisor.journal", { code = err.code, error = err.message })
  book.emit(self, "journal.unwritable", nil, { code = err.code, error = err.message })
end

--- It can be written again: what could not be done for its sake is done now.
function methods:writable()
  if not self.journal_told then return end
  self.journal_told = nil
  log.info "supervisor.journal_is_back"
  local ids = {}
  for id in pairs(self.late) do ids[#ids + 1] = id end
  table.sort(ids)
  self.late = {}
  for _, id in ipairs(ids) do
    local entry = self.entries[id]
    if entry and entry.heap and entry.heap ~= self.looks then self:wake_step(entry) end
    book.tell(self, id)
  end
end

--- Something that should not have happened.
function methods:report(entry, err)
  log.error("supervisor.failed", { job = entry and entry.id, error = errors.is(err) and err.message or tostring(err) })
end

-- ---- when what is to be done ---------------------------------------------------------------------------------------------

-- Seconds until a wall time; not believed to be further than a minute, since the clock may be set.
local function until_wall(ms)
  return math.min(math.max(0, (ms - book.wall()) / 1000), LONGEST)
end

local function first_of(...)
  local first
  for i = 1, select("#", ...) do
    local ms = select(i, ...)
    if ms and (not first or ms < first) then first = ms end
  end
  return first
end

-- When the expiry of a held job's approval is announced; nil for none.
local function warn_at(row)
  return row.expires_at and math.floor(row.changed_at + WARN_AFTER * (row.expires_at - row.changed_at))
end

--- Puts an entry where its state says.  row: the job's, if it was just read.
function methods:schedule(entry, row)
  if not book.is_active(entry.state) then return book.drop(self, entry) end
  local now = clock.now()
  local again = entry.again
  entry.again = nil
  if again then return self:step_at(entry, now + again) end
  if entry.ended then return self:step_at(entry, now) end
  if entry.state == "running" then
    if entry.heap == self.looks then return nil end
    local first = entry.interval == nil and not entry.fresh
    entry.fresh = nil
    if first then self.looks:set(entry, now) else watch.later(self, entry, now) end
    return self.look_bell.ring()
  elseif entry.state == "unknown" then
    return self:step_at(entry, now + (entry.looked_for and recover.pause(entry) or 0))
  end
  row = row or book.row(entry.id)
  if not row then return book.drop(self, entry) end
  local wall = book.wall()
  if entry.state == "held" then
    local at = first_of(row.expires_at, entry.warned ~= row.expires_at and warn_at(row) or nil, entry.deadline) or wall + LONGEST * 1000
    return self:step_at(entry, now + until_wall(at))
  elseif entry.state == "planned" then
    return self:step_at(entry, now + until_wall(first_of(row.wake_at or wall, entry.deadline)))
  end
  return self:step_at(entry, now)
end

-- Steps of one lane never wait for those of another.  A create waits for the lock of its draft, which may rest for a
-- minute after a lost answer; looking for lost creates waits for a service that is down; and an end waits for neither.
local LANES <const> = { "sxwl.job", "deai.train", "deai.infer", "sxwl.unknown", "deai.unknown", "other" }

local function lane_of(self, entry)
  local name = entry.state == "planned" and entry.service .. "." .. entry.kind
    or entry.state == "unknown" and entry.service .. ".unknown"
  return self.lanes[name] or self.lanes.other
end

local function new_lanes()
  local lanes = {}
  for _, name in ipairs(LANES) do lanes[name] = { steps = heap.new(), bell = bells.new(), workers = sync.semaphore(WORKERS) } end
  return lanes
end

--- Has a step of the job taken at that time.
function methods:step_at(entry, at)
  local lane = lane_of(self, entry)
  lane.steps:set(entry, at)
  lane.bell.ring()
end

--- Has a step of the job taken now.
function methods:wake_step(entry)
  self:step_at(entry, clock.now())
end

-- ---- steps -----------------------------------------------------------------------------------------------------------------

-- A held job: its approval may be over, or soon.
local function held(self, entry, row)
  local wall = book.wall()
  if entry.deadline and wall >= entry.deadline then return ending.expire(self, entry, row) end
  if not row.expires_at then return nil end
  if wall >= row.expires_at then
    local final = book.insist(self, entry, {
      state = "denied", reason = "nobody has approved it in time",
      decisions = { book.decision("expire", "denied: nobody has approved it in time", { expires_at = row.expires_at }) },
    })
    return book.emit(self, "job.denied", final, { reason = final.reason, before = "held" })
  end
  if wall >= warn_at(row) and entry.warned ~= row.expires_at then
    entry.warned = row.expires_at
    book.emit(self, "approval.expiring", row, { expires_at = row.expires_at / 1000 })
  end
  return nil
end

local STEPS <const> = {
  planned = plan.plan, held = held, submitting = recover.submitting, unknown = recover.reconcile,
  running = function() end,
}

-- The lock under which a job's steps and requests follow each other.
local function lock_of(self, id)
  return task.lock(self.name .. "|" .. id)
end

local function take_step(self, entry)
  local lock <close> = lock_of(self, entry.id) -- luacheck: ignore 211
  if self.entries[entry.id] ~= entry then return end
  local row = book.row(entry.id)
  if not row then return book.drop(self, entry) end
  if row.fence ~= entry.fence then return book.drop(self, entry) end
  log.with { job = row.id, attempt = row.attempt, policy = row.policy } -- of this task, which is of this step
  book.absorb(self, row)
  if row.state == "running" and entry.ended then
    if entry.ended.status == "expired" then ending.expire(self, entry, row) else ending.finish(self, entry, row, entry.ended) end
  elseif book.is_active(row.state) then
    entry.ended = nil
    if row.state == "unknown" and entry.looked_for == nil then entry.looked_for = 0.5 end
    STEPS[row.state](self, entry, row)
  end
end

-- One step, its failures kept here; then the job goes back to a heap.
local function work(self, entry)
  local ok, err = pcall(take_step, self, entry)
  if not ok and errors.is(err, "cancelled") then error(err, 0) end
  if self.entries[entry.id] ~= entry then return end
  if not ok then
    if book.is_journal(err) then
      self.late[entry.id] = true
      self:unwritable(err)
    else
      self:report(entry, err)
    end
    entry.again = AGAIN
  end
  local scheduled, why = pcall(self.schedule, self, entry)
  if scheduled then return end
  if errors.is(why, "cancelled") then error(why, 0) end
  self:step_at(entry, clock.now() + AGAIN)
end

-- Hands a lane's steps that are due to its workers, as many as there are.
local function dispatch(self, lane)
  while true do
    local first, now = lane.steps:peek(), clock.now()
    if not first or self.draining then
      lane.bell.sleep(3600)
    elseif first.wake > now then
      lane.bell.sleep(first.wake - now)
    else
      local place = lane.workers:acquire()
      first = lane.steps:peek()
      if first and first.wake <= clock.now() and not self.draining then
        lane.steps:remove(first)
        self.busy = self.busy + 1
        task.spawn(function()
          local done <close> = setmetatable({}, { __close = function() -- luacheck: ignore 211
            self.busy = self.busy - 1
            place:release()
            lane.bell.ring()
          end })
          work(self, first)
        end)
      else
        place:release()
      end
    end
  end
end

-- ---- other processes -----------------------------------------------------------------------------------------------------

local REQUESTS <const> = { stop = true, approve = true, deny = true, forget = true, adopt = true }

local function serve_requests(self)
  for _, row in ipairs(journal.call("job.asked", {})) do
    local request = book.decoded(row.request)
    local verb = request and REQUESTS[request.verb] and self.verbs[request.verb]
    if verb then
      local ok, err = task.try(verb, row.id, request, { who = request.who })
      if not ok and err then log.warn("supervisor.request", { job = row.id, verb = request.verb, error = tostring(err) }) end
    end
  end
end

-- Requests of other processes, and, in the daemon, jobs that nobody has.
local function tick(self)
  local claim_at = 0
  while true do
    local ok, err = pcall(function()
      if self.options.daemon and not self.draining and clock.now() >= claim_at then
        claim_at = clock.now() + CLAIM_EVERY
        recover.claim(self)
      end
      serve_requests(self)
      local state = journal.status() -- of the last write, whoever it was for
      if state.ok then self:writable() else self:unwritable { code = state.code, message = state.message } end
    end)
    if not ok then
      if errors.is(err, "cancelled") then error(err, 0) end
      if book.is_journal(err) then self:unwritable(err) else self:report(nil, err) end
    end
    task.sleep(TICK)
  end
end

-- ---- starting and ending ---------------------------------------------------------------------------------------------------

local instances = 0

--- A supervisor that runs until stop() is called, or its VM ends.  options: ask(event, job) -> verdict, emit(event,
--- data), url_for(job_id, attempt) -> URL, daemon, clients = { sxwl =, deai = } (default: of the configuration),
--- unreachable_after and approval_after in seconds.
function supervisor.new(options)
  instances = instances + 1
  local self = setmetatable({
    name = ("perigee.supervisor.%d"):format(instances), options = options or {}, entries = {}, by_remote = {}, counts = {},
    waiters = {}, drivers = {}, services = {}, looks = heap.new(), look_bell = bells.new(), lanes = new_lanes(),
    busy = 0, sending = 0, readings = 0, pages = 0, retries = 0,
    adopted = 0, rings = 0, late = {}, -- ids of jobs for which something could not be written
  }, methods)
  self.verbs = require "perigee.supervisor_verbs".new(self)
  self.lock = function(id) return lock_of(self, id) end
  self.task = worker.start(function()
    local scope <close> = task.scope()
    scope:spawn(watch.loop, self)
    for _, name in ipairs(LANES) do scope:spawn(dispatch, self, self.lanes[name]) end
    scope:spawn(tick, self)
  end)
  return self
end

--- A callback came for the job: it is looked at soon.  hint: {attempt, remote_id}, which tell an unknown job that the
--- attempt was started, and perhaps as what.
function methods:ring(id, hint)
  local entry = self.entries[id]
  if not entry then return end
  self.rings = self.rings + 1
  if hint and hint.attempt and entry.state ~= "running" then
    local before = entry.called and entry.called.attempt == hint.attempt and entry.called.remote_id
    entry.called = { attempt = hint.attempt, remote_id = hint.remote_id or before or nil }
  end
  if entry.state == "running" then
    watch.ring(self, entry)
  elseif entry.state == "unknown" then
    entry.looked_for = 0.5
    self:wake_step(entry)
  end
end

--- Figures for metrics.
function methods:figures()
  local states = {}
  for state, count in pairs(self.counts) do
    if book.is_active(state) then states[state] = count end
  end
  local unreachable, refused, told = {}, {}, {}
  for name, state in pairs(self.services) do
    if state.failing_since then unreachable[name] = clock.now() - state.failing_since end
    refused[name], told[name] = state.login_told, state.told
  end
  return {
    jobs = states, sending = self.sending, busy = self.busy, readings = self.readings, pages = self.pages, rings = self.rings,
    retries = self.retries, adopted = self.adopted, unreachable = unreachable, refused = refused, told = told,
    draining = self.draining or false,
  }
end

--- The configuration was read anew: drivers take prices and credentials from it, and a password that was refused may
--- be another one now.
function methods:reload()
  for name, driver in pairs(self.drivers) do
    local ok, err = task.try(driver.reload, driver)
    if not ok and err then log.error("supervisor.reload", { service = name, error = tostring(err) }) end
  end
  for _, state in pairs(self.services) do state.blocked_until, state.login_told = nil, nil end
  watch.resume(self)
end

--- Takes nothing more, waits for requests that are under way, and hands the jobs to whoever comes next.
function methods:drain(seconds)
  self.draining = true
  local deadline = clock.now() + (seconds or DRAIN)
  while self.busy > 0 and clock.now() < deadline do task.sleep(0.05) end
  self:stop()
end

--- Ends the supervision here; the jobs are nobody's from now on.
function methods:stop()
  self.draining = true
  self.task:cancel "the supervisor ends"
  task.try(self.task.wait, self.task)
  local ids = {}
  for id in pairs(self.entries) do ids[#ids + 1] = id end
  table.sort(ids)
  if #ids > 0 then task.try(journal.call, "job.release", {}) end -- all of this process: it has one supervisor
  for _, id in ipairs(ids) do
    if self.entries[id] then book.drop(self, self.entries[id]) end
  end
end

-- ---- the one of this VM --------------------------------------------------------------------------------------------------

local present

--- Starts the supervisor of this VM, or gives the one that runs.
function supervisor.start(options)
  present = present or supervisor.new(options)
  return present
end

--- The verbs of the supervisor of this VM, which is started by the first.
supervisor.verbs = setmetatable({}, { __index = function(_, name)
  return supervisor.start().verbs[name]
end })

for _, name in ipairs { "ring", "figures", "drain", "reload" } do
  supervisor[name] = function(...)
    if present then return present[name](present, ...) end
    return nil
  end
end

return supervisor
