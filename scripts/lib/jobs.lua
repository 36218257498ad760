-- perigee.jobs: paid jobs that outlive the script.
--
-- A job is written to the journal before anything is sent, supervised from then on, and found again by its name
-- and key: whoever submits the same job once more gets the one that is there.  What is sent, watched, tried again
-- and paid is the supervisor's; here is the face.

local amount = require "perigee.amount"
local backends = require "perigee.job_backend"
local checks = require "perigee.options"
local errors = require "perigee.error"
local job_spec = require "perigee.job_spec"
local json = require "perigee.json"
local log = require "perigee.log"
local task = require "perigee.task"
local term = require "perigee.core.term"
local time = require "perigee.time"
local words = require "perigee.job_words"

local jobs = {}

local WAIT_TIMEOUT <const> = 24 * 3600
local SETTLE <const> = 600 -- seconds a script's end waits at most for what it has submitted to be sent
local LOOK <const> = 30 -- seconds one wait of the backend takes at most
local FILTERS <const> = { "state", "active", "service", "policy", "name", "since", "limit", "after" }

local Job = { __name = "perigee.job" }
Job.__index = Job
jobs._methods = Job -- for the prompt

-- ---- job objects ------------------------------------------------------------------------------------------------

local function call(verb, args)
  return backends.find().call(verb, args)
end

local MONEY <const> = { "price", "cost", "spent" }

-- Brings the object up to date with what the supervisor says.
local function refresh(job, view)
  for name in pairs(job) do
    if view[name] == nil then job[name] = nil end
  end
  for name, value in pairs(view) do job[name] = value end
  for _, name in ipairs(MONEY) do
    if type(job[name]) == "string" then job[name] = amount(job[name]) end
  end
  if type(job.error) == "table" and job.error.kind and not errors.is(job.error) then job.error = errors.new(job.error) end
  return job
end

local function new(view)
  return refresh(setmetatable({}, Job), view)
end

function Job:__tostring()
  return words.line(self)
end

local function id_of(where, job)
  if getmetatable(job) == Job then return job.id end
  if type(job) == "string" and job ~= "" then return job end
  return errors.invalid(("%s: expected a job or its id, not a %s"):format(where, type(job)))
end

--- Asks how the job is doing: brings its fields up to date and returns its state.
function Job:status()
  local view = call("get", { id = self.id })
  if view then refresh(self, view) end
  return self.state
end

--- The decisions about this job in plain words.
function Job:why()
  local why = require "perigee.why"
  return (why.text(why.gather(require("perigee.job_record").need(self.id))):gsub("\n$", ""))
end

-- ---- submit -------------------------------------------------------------------------------------------------------

-- To the person who runs a script; a policy has a log.
local function notice(text)
  if package.loaded["perigee.link"] and require("perigee.link").upstream then return end
  if not term.is_quiet() then term.write("err", "perigee: " .. text .. "\n", true) end
end

local function raise_other_spec(prepared, there)
  local differing = there and job_spec.differences(there.spec_json or json.encode(there.spec), prepared.spec) or {}
  if there and (there.service ~= prepared.service or there.kind ~= prepared.kind) then
    table.insert(differing, 1, there.service ~= prepared.service and "service" or "kind")
  end
  error(errors.new {
    kind = "invalid", code = "other_spec", outcome = "none", retryable = false, job = there and there.id, differing = differing,
    message = ("jobs.submit: there is a job %s with another spec%s; nothing was sent. Submit this one under another key (key = \"…\")%s")
      :format(words.identity(there or prepared), #differing > 0 and (" (other: %s)"):format(table.concat(differing, ", ")) or "",
        there and words.is_active(there.state) and (", or stop that one first: perigee jobs stop " .. words.short(there)) or ""),
  }, 0)
end

local function raise_finished(prepared, there)
  error(errors.new {
    kind = "invalid", code = "finished", outcome = "none", retryable = false, job = there and there.id,
    message = ("jobs.submit: the job %s has ended already%s; nothing was sent. To take its result write attach = \"finished\"; "
      .. "to run it again give it another key, such as key = os.date \"%%F\""):format(words.identity(there or prepared),
      there and (" (%s, %s)"):format(there.state, words.ago(there.ended_at)) or ""),
  }, 0)
end

-- Options of a job are those of its first submit; a script that has changed them should know.
local function note_attached(job, prepared)
  local kept, changed = job.options or {}, {}
  local given = json.decode(prepared.options)
  for _, name in ipairs { "budget", "max_cost", "max_cost_per_attempt", "on_unknown", "retry" } do
    if json.encode { kept[name] } ~= json.encode { given[name] } then changed[#changed + 1] = name end
  end
  log.info("job.attached", { job = job.id, name = job.name, key = job.key, state = job.state, attempt = job.attempt })
  notice(("job %s was there already (%s): attached, nothing is created twice"):format(words.identity(job), words.state(job)))
  if #changed > 0 then
    log.warn("job.options_kept", {
      job = job.id, options = table.concat(changed, ","), message = "given otherwise now; those of the first submit hold",
    })
  end
end

--- Submits a job, or attaches to the one that has the same name, key and spec.  Returns it at once; :wait() waits for
--- its end.  See docs/jobs.md for the fields.
function jobs.submit(t)
  local prepared = job_spec.prepare(t)
  require("perigee.job_options").keep_budgets("jobs.submit", t)
  local entry = task.get_local "perigee.entry" -- of a session: what this line has begun must not be lost
  if entry then entry.touched = (entry.touched or 0) + 1 end
  local ok, view = pcall(call, "submit", prepared)
  if not ok then
    local code = errors.is(view, "invalid") and view.code
    if code ~= "other_spec" and code ~= "finished" then error(view, 0) end
    local there = call("get", { name = prepared.name, key = prepared.key })
    if code == "finished" then raise_finished(prepared, there) end
    raise_other_spec(prepared, there)
  end
  local job = new(view)
  if view.created == false or view.created == 0 then note_attached(job, prepared) end
  job.created = nil
  return job
end

-- ---- looking ------------------------------------------------------------------------------------------------------

--- The job of that name (and key, default ""), or of that id or its beginning; nil if there is none.
function jobs.get(name, key)
  if getmetatable(name) == Job then name, key = name.id, nil end
  if type(name) ~= "string" or name == "" then errors.invalid "jobs.get: expected a name or an id" end
  if key ~= nil and type(key) ~= "string" then errors.invalid "jobs.get: key must be text" end
  local view = call("get", { name = name, key = key or "" })
  if not view and key == nil and name:find "^%x+$" then view = call("get", { id = name }) end
  return view and new(view)
end

--- Jobs, newest first.  filter: state, active, service, policy, name, since, limit (100), after.
function jobs.list(filter)
  filter = checks.check("jobs.list", filter, FILTERS)
  local asked = { limit = 100 }
  for name, value in pairs(filter) do asked[name] = value end
  if asked.state ~= nil then words.check_state("jobs.list: state", asked.state) end
  if asked.since ~= nil then
    if type(asked.since) ~= "number" then errors.invalid "jobs.list: since is a time, as of time.now()" end
    asked.since = math.floor(asked.since * 1000)
  end
  local list = {}
  for i, view in ipairs(call("list", asked)) do list[i] = new(view) end
  return list
end

-- ---- waiting ------------------------------------------------------------------------------------------------------

-- Where the whole story is: a journal in memory ends with this process, and no command reads it.
local function story_of(job)
  local in_memory = require("perigee.core.journal").status().directory == ":memory:"
  return in_memory and "job:why()" or "perigee why " .. words.short(job)
end

-- The error a job's end means, or nil for a success.
local function failure_of(job)
  if job.state == "succeeded" then return nil end
  local known = job.error or {}
  local kind = known.kind or job.state == "denied" and "denied" or "job_failed"
  return errors.new {
    kind = kind, code = known.code or job.state, outcome = known.outcome or "none", retryable = false, job = job.id,
    service = job.service, cost = job.cost, price = job.price,
    message = ("job %s %s%s. The whole story: %s"):format(words.identity(job), words.ended[job.state],
      (known.message or job.reason) and ": " .. (known.message or job.reason) or "", story_of(job)),
  }
end

-- Says once what a wait would wait for in vain unless a person acts.
local function note_standstill(job, said)
  if said[job.state] then return end
  said[job.state] = true
  if job.state == "held" then
    log.warn("job.held", { job = job.id, name = job.name, why = job.reason,
      message = ("it waits for `perigee approve %s` or `perigee deny %s`"):format(words.short(job), words.short(job)) })
  elseif job.state == "unknown" then
    log.warn("job.unknown", { job = job.id, name = job.name, why = job.reason,
      message = ("whether it was created is not known, so nothing is sent again: `perigee why %s`"):format(words.short(job)) })
  end
end

-- What it means that a job of that state is waited for no longer.
local GOES_ON <const> = {
  planned = "Nothing of it is at the service: it stays planned, and is sent when that is possible",
  held = "Nothing of it was sent: it waits for a person",
  unknown = "Whether it was started is not known: it is looked for, and its price stays held",
}

local function wait_for_end(job, until_, said)
  while words.is_active(job.state) do
    note_standstill(job, said)
    local left = until_ - time.monotonic()
    if left <= 0 then
      error(errors.new {
        kind = "timeout", code = "wait", outcome = job.state == "unknown" and "unknown" or "none", retryable = false,
        job = job.id, service = job.service, price = job.price, state = job.state,
        hint = ("Run the script again to go on waiting: it attaches to the job. `%s` tells the story."):format(story_of(job)),
        message = ("job %s has not ended in time: %s%s. %s"):format(words.identity(job), words.state(job),
          job.reason and job.reason ~= "" and (" (" .. job.reason .. ")") or "", GOES_ON[job.state] or "It goes on, still paid for"),
      }, 0)
    end
    local view = call("wait", { id = job.id, seconds = math.min(left, LOOK) })
    if view then refresh(job, view) end
  end
  return job
end

local function read_timeout(options)
  options = checks.check("jobs.wait", options, { "timeout" })
  return time.monotonic() + checks.seconds("jobs.wait: timeout", options.timeout, WAIT_TIMEOUT)
end

--- Waits for the end of the job and returns it; raises what it failed with.  Options: timeout (24 h).
function Job:wait(options)
  wait_for_end(self, read_timeout(options), {})
  local err = failure_of(self)
  if err then error(err, 0) end
  return self
end

local function some_failed(list, failures)
  if #failures == 0 then return list end
  if #list == 1 then error(failures[1], 0) end
  error(errors.new {
    kind = failures[1].kind, code = "jobs", outcome = "none", retryable = false, errors = failures,
    message = ("%d of %d jobs did not succeed; the first: %s"):format(#failures, #list, failures[1].message),
  }, 0)
end

--- Waits for the end of a job, or of all jobs of a list; raises if one failed, when all have ended (err.errors).
function jobs.wait(job, options)
  if getmetatable(job) == Job then return job:wait(options) end
  if type(job) == "string" then
    return (jobs.get(job) or errors.invalid(("jobs.wait: there is no job %q"):format(job))):wait(options)
  end
  if type(job) ~= "table" then errors.invalid "jobs.wait: expected a job, its name or id, or a list of jobs" end
  local until_, failures = read_timeout(options), {}
  for i, one in ipairs(job) do
    if getmetatable(one) ~= Job then errors.invalid(("jobs.wait: [%d] is no job"):format(i)) end
  end
  local scope <close> = task.scope()
  local waiting = {}
  for i, one in ipairs(job) do waiting[i] = scope:spawn(wait_for_end, one, until_, {}) end
  for _, one in ipairs(waiting) do one:wait() end
  for _, one in ipairs(job) do failures[#failures + 1] = failure_of(one) end
  return some_failed(job, failures)
end

-- ---- stopping -----------------------------------------------------------------------------------------------------

--- Stops a job.  SXWL ends it, and an unfinished one loses its volumes.  Distributed AI offers no way to: perigee only
--- stops looking, and the job goes on and stays billed.
function jobs.stop(job)
  local view = call("stop", { id = id_of("jobs.stop", job) })
  if type(view) ~= "table" then return job end
  job = getmetatable(job) == Job and refresh(job, view) or new(view)
  if job.service == "deai" and job.remote_id then
    log.warn("job.goes_on", { job = job.id, name = job.name, remote_id = job.remote_id,
      message = "Distributed AI offers no way to stop a job: perigee no longer looks after it, but it goes on and stays billed" })
  end
  return job
end

function Job:stop()
  return jobs.stop(self)
end

-- ---- the end of a run ---------------------------------------------------------------------------------------------

-- This process's jobs that have not ended; none where no journal was opened.
local function own_rows()
  local journal = require "perigee.core.journal"
  local status = journal.status()
  if not status.open then return {}, false end
  local ok, rows = pcall(journal.call, "job.list", { mine = 1, active = 1, limit = 1000 })
  if not ok and errors.is(rows, "cancelled") then error(rows, 0) end
  return ok and rows or {}, status.directory == ":memory:"
end

--- Waits until what was submitted has been sent, when a script has come to its end.  For perigee.run.
function jobs._settle()
  local until_ = time.monotonic() + SETTLE
  while time.monotonic() < until_ do
    local now, busy = time.now() * 1000, false
    for _, row in ipairs((own_rows())) do
      busy = busy or row.state == "submitting" or row.state == "planned" and (row.wake_at or 0) <= now + 1000
    end
    if not busy then return end
    task.sleep(0.02)
  end
end

--- A line for each job of this process that nothing was sent of.  For perigee.summary.
function jobs._unsent()
  local rows, in_memory = own_rows()
  local advice = in_memory and "its journal was in memory, so it is gone" or "run this script again, or start `perigee daemon`"
  local lines = {}
  for _, row in ipairs(rows) do
    if row.state == "planned" or row.state == "held" then
      lines[#lines + 1] = ("perigee: job %s is %s, and nothing of it was sent: %s\n"):format(words.identity(row), row.state, advice)
    end
  end
  return table.concat(lines)
end

-- What can be done about a job that this program leaves.
local function handle_of(row, in_memory)
  if in_memory then return "cannot be found again: its journal was in memory" end
  if row.state == "unknown" then return ("may have been created: perigee why %s"):format(row.id) end
  return row.service == "deai" and "cannot be stopped" or "perigee jobs stop " .. row.id
end

--- Remote jobs of this process that go on when it ends: {service=, id=, worst_cost=, how=} each.  For perigee.summary.
function jobs._left()
  local left, rows, in_memory = {}, own_rows()
  for _, row in ipairs(rows) do
    if row.state == "running" or row.state == "submitting" or row.state == "unknown" then
      left[#left + 1] = { service = row.service, id = ("job %s"):format(words.identity(row)), worst_cost = row.price,
        how = handle_of(row, in_memory) }
    end
  end
  return left
end

return jobs
