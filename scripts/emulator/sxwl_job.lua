-- sxwl_job.lua - the life of one emulated SXWL job.
--
-- All of it is decided at creation: when the job is dispatched, when it ends and how.  Its state is then a
-- function of the time, but for one fault: a status that goes back counts how often it was read.
--
--   working ──> success | fail      and, stopped: gone (B) or as it was (A)
--
-- A job whose fields had wrong JSON types, or whose GPU type nobody has, works for ever.

local wire = require "perigee.emulator.wire"

local sxwl_job = {}
local methods = {}
methods.__index = methods

local RUNNING_TYPES <const> = { GeneralJob = true, MPI = true, Pytorch = true }

-- When it ends and how; nil if it never does.
local function decide(job, service)
  local body, draw = job.body, service.draw
  local work = service.job_seconds * (0.75 + 0.5 * draw("duration", job.number)) / service.speed
  if not job.runs or job.plan.never then
    return nil
  elseif not RUNNING_TYPES[body.jobType] then
    return job.dispatched_at, "fail"
  end
  local at, outcome = job.dispatched_at + work, "success"
  if job.plan.fail then
    at, outcome = job.dispatched_at + 0.4 * work, "fail"
  end
  if body.stopType == "1" then
    local minutes = math.type(body.stopTime) == "integer" and body.stopTime or 0
    local deadline = job.dispatched_at + 60 * minutes -- real minutes: the client measures them by its own clock
    if minutes <= 0 then
      deadline = job.created_at
    end
    if deadline < at then
      at, outcome = deadline, body.jobType == "GeneralJob" and "success" or "fail"
    end
  end
  return at, outcome
end

-- The service sorts the query parameters of a callback URL; a path segment that begins with : kills it.
local function callback_url(url)
  local base, query = url:match "^([^?]*)%??(.*)$"
  local path = base:match "^%a+://[^/]*(.*)$"
  if not path or path:find("/:", 1, true) then
    return nil
  elseif query == "" then
    return base
  end
  local parameters = {}
  for parameter in query:gmatch "[^&]+" do
    parameters[#parameters + 1] = parameter
  end
  table.sort(parameters)
  return base .. "?" .. table.concat(parameters, "&")
end

local function plan_callbacks(job, service)
  local url = type(job.body.callbackUrl) == "string" and callback_url(job.body.callbackUrl)
  local plan = job.plan
  if not url or not job.ends_at or service.era == "C" or plan.callback_never then
    return
  end
  local at = job.ends_at + (plan.callback_late or 0)
  if plan.callback_early then
    at = job.created_at + 0.3 * (job.ends_at - job.created_at)
  end
  local function add(when)
    service.callbacks[#service.callbacks + 1] = { at = when, url = url, job = job }
  end
  add(at)
  if plan.callback_twice then
    add(at + 1)
  end
end

--- Makes a job and puts down its callbacks.  options: id, number, body (decoded), text (as sent), runs, plan (the
--- faults of its create call), service, now.
function sxwl_job.new(options)
  local service = options.service
  local job = setmetatable({
    id = options.id,
    number = options.number,
    body = options.body,
    text = options.text,
    runs = options.runs,
    plan = options.plan,
    service = service,
    created_at = options.now,
    dispatched_at = options.now + service.queue_seconds * service.draw("queue", options.number) / service.speed,
    read_after_end = 0,
  }, methods)
  job.ends_at, job.outcome = decide(job, service)
  plan_callbacks(job, service)
  return job
end

--- "working", "success" or "fail" at that time.
function methods:state(now)
  local at = self.stopped_at or now
  return self.ends_at and at >= self.ends_at and self.outcome or "working"
end

--- The same, as a status request sees it: under the fault `back`, the first read after the end says success, the
--- next ones working, then it is success for good.
function methods:read(now)
  local state = self:state(now)
  if state == "success" and self.plan.back then
    self.read_after_end = self.read_after_end + 1
    if self.read_after_end > 1 and self.read_after_end <= 1 + self.plan.back then
      return "working"
    end
  end
  return state
end

--- Stops it; `stopped_at` is set only if it was not finished.
function methods:stop(now)
  self.stopped = true
  if self:state(now) == "working" then
    self.stopped_at = now
  end
end

--- True if it was stopped, unfinished, before that time: nobody calls back then.
function methods:stopped_before(time)
  return self.stopped_at ~= nil and self.stopped_at <= time
end

--- What is posted.  The guide says job_id; real bodies say jobId, and those of failures have no usable id.
function methods:callback_body()
  local chance = self.service.draw("callback", self.number)
  if self.outcome == "fail" then
    return wire.encode(wire.ordered(chance < 0.5 and { "jobId", "", "status", "fail", "url", "" }
      or { "status", "fail" }))
  end
  local url = self.service:link(self)
  return wire.encode_go(wire.ordered { "status", "success", chance < 0.5 and "job_id" or "jobId", self.id, "url", url })
end

return sxwl_job
