-- perigee.policy - what the hooks of a policy file return, and whether such a file's table makes sense.
--
-- Decisions are plain data, for hooks run in a VM of their own.  Nothing here waits, sends or reads a file.

local check_options = require "perigee.options"
local core = require "perigee.core.time"
local errors = require "perigee.error"

local policy = {}

local MOST_FAILURES <const> = 1000
local FIELDS <const> = { "name", "applies", "budget", "retry", "on", "schedules", "notify", "max_failures", "run" }

-- What may be hooked, and what a hook may decide there; the others are told and asked nothing.
local DECISIONS <const> = {
  ["job.submit"] = { "allow", "deny", "hold" },
  ["job.failed"] = { "retry", "give_up" },
  ["job.unknown"] = { "hold", "retry", "give_up" },
}

local EVENTS <const> = {
  "approval.expiring", "budget.low", "callback", "daemon.crashed", "job.adopted", "job.denied", "job.expired", "job.failed",
  "job.held", "job.retry", "job.running", "job.stopped", "job.submit", "job.submitted", "job.succeeded", "job.unknown",
  "job.unreachable", "journal.unwritable", "login.refused", "policy.paused", "policy.stale", "sweep.found",
}

-- ---- decisions ------------------------------------------------------------------------------------------------

local function reason(where, why)
  if type(why) ~= "string" or not why:find "%S" then
    errors.invalid(where .. ' needs a reason, which `perigee why` shows: ' .. where .. '("its price is not known")')
  end
  return why
end

local function seconds(where, value)
  local ok, read = pcall(core.seconds, value)
  if not ok or read < 0 then errors.invalid(('%s is a time such as "30s", "5m" or "2h", not %s'):format(where, tostring(value))) end
  return read
end

--- job.submit: nothing speaks against this job.
function policy.allow()
  return { decision = "allow" }
end

--- job.submit: the job ends as denied; beats every other decision.
function policy.deny(why)
  return { decision = "deny", why = reason("policy.deny", why) }
end

--- job.submit: a person decides, with `perigee approve` or `perigee deny`; job.unknown: nothing is done before a
--- person has looked.  expires: how long it waits; then it is denied.
function policy.hold(why, options)
  options = check_options.check("policy.hold", options, { "expires" })
  local expires = options.expires ~= nil and seconds("policy.hold: expires", options.expires) or nil
  return { decision = "hold", why = reason("policy.hold", why), expires = expires }
end

--- job.failed, job.unknown: one more attempt, after a time; spec: fields that are other than before.
function policy.retry(options)
  options = check_options.check("policy.retry", options, { "after", "spec", "why" })
  if options.spec ~= nil and type(options.spec) ~= "table" then
    errors.invalid("policy.retry: spec is a table of fields, not a " .. type(options.spec))
  end
  return {
    decision = "retry",
    after = seconds("policy.retry: after", options.after or 0),
    spec = options.spec,
    why = options.why ~= nil and reason("policy.retry: why", options.why) or nil,
  }
end

--- job.failed, job.unknown: no further attempt.
function policy.give_up(why)
  return { decision = "give_up", why = reason("policy.give_up", why) }
end

--- What options of retry.new say about a job that has failed: one more attempt, with a growing delay, or none.
function policy.retry_of(options, job)
  local rules = require("perigee.retry").new(options)
  local failure = job.error or {}
  local err = errors.new { kind = failure.kind or "job_failed", code = failure.code, message = failure.message or "the job failed" }
  if err.kind == "invalid" or not rules.wants(err, job.attempt) then
    return policy.give_up(("an error of kind %s is not to be repeated"):format(err.kind))
  end
  if job.attempt >= rules.attempts then return policy.give_up(("all %d attempts are used"):format(rules.attempts)) end
  local delay = rules:delay(job.attempt)
  if job.created_at and os.time() - job.created_at + delay > rules.elapsed then
    return policy.give_up(("another attempt would start later than %g s after the job was submitted"):format(rules.elapsed))
  end
  return policy.retry { after = delay }
end

--- What a hook has returned, read: nil where it decides nothing, else the decision.  Raises `invalid` for what this
--- event cannot be answered with.
function policy.decision(event, value)
  if value == nil then return nil end
  local known = DECISIONS[event]
  if not known then
    if type(value) ~= "table" or value.decision == nil then return nil end -- what its last call happened to return
    errors.invalid(("%s is told, not asked: its hook decides nothing"):format(event))
  end
  if type(value) ~= "table" or type(value.decision) ~= "string" then
    errors.invalid(("%s: a hook returns policy.%s(…) or nothing, not a %s"):format(event, known[1], type(value)))
  end
  for _, word in ipairs(known) do
    if word == value.decision then return value end
  end
  return check_options.refuse(event, "decision", value.decision, known)
end

-- ---- the check --------------------------------------------------------------------------------------------------

local function sorted_keys(t)
  local keys = {}
  for key in pairs(t) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  return keys
end

local function with_nearest(text, word, known)
  local near = errors.nearest(word, known)
  return near and ('%s; did you mean "%s"?'):format(text, near) or text
end

local function check_keys(t, add)
  for _, key in ipairs(sorted_keys(t)) do
    local known = false
    for _, field in ipairs(FIELDS) do known = known or field == key end
    if not known then
      add(tostring(key), with_nearest(('a policy has no field "%s"'):format(tostring(key)), tostring(key), FIELDS))
    end
  end
end

local function check_function(t, field, add)
  if t[field] ~= nil and type(t[field]) ~= "function" then
    add(field, ("%s must be a function, not a %s"):format(field, type(t[field])))
  end
end

local function check_hooks(on, add)
  if on == nil then return end
  if type(on) ~= "table" then return add("on", "on must be a table of hooks, not a " .. type(on)) end
  for _, event in ipairs(sorted_keys(on)) do
    local field, known = ('on["%s"]'):format(tostring(event)), false
    for _, name in ipairs(EVENTS) do known = known or name == event end
    if not known then
      add(field, with_nearest(('there is no event "%s"'):format(tostring(event)), tostring(event), EVENTS))
    elseif type(on[event]) ~= "function" then
      add(field, "a hook must be a function, not a " .. type(on[event]))
    end
  end
end

-- Calls the maker of a module with the value and adds what it refuses.
local function check_with(field, maker, value, add)
  if value == nil then return end
  local ok, problem = pcall(maker, value)
  if ok then return end
  if not errors.is(problem) then error(problem, 0) end
  add(field, problem.message)
end

local function check_schedules(schedules, add)
  if schedules == nil then return end
  if type(schedules) ~= "table" then return add("schedules", "schedules must be a list of tables, not a " .. type(schedules)) end
  local parse, seen = require("perigee.schedule").parse, {}
  for _, key in ipairs(sorted_keys(schedules)) do
    local field, t = ("schedules[%s]"):format(tostring(key)), schedules[key]
    if math.type(key) ~= "integer" then
      add(field, ('schedules is a list: write schedules = { { name = "%s", … } }'):format(tostring(key)))
    else
      check_with(field, function() parse(t, field) end, t, add)
      if type(t) == "table" then
        if type(t.run) ~= "function" then add(field, field .. ".run must be a function: what the schedule does") end
        if t.name ~= nil and seen[t.name] then add(field, ("%s: the name %q is taken already"):format(field, tostring(t.name))) end
        seen[t.name or false] = true
      end
    end
  end
end

--- Everything that is wrong with a policy's table: a list of { field =, message = }, empty if nothing is.
--- file: its path, which the messages begin with if it is given.
function policy.check(t, file)
  local problems = {}
  local function add(field, message)
    problems[#problems + 1] = { field = field, message = file and ("%s: %s"):format(file, message) or message }
  end
  if type(t) ~= "table" then
    add("", ("a policy file returns a table, and this one returns %s: it ends with `return policy`"):format(
      t == nil and "nothing" or "a " .. type(t)))
    return problems
  end
  check_keys(t, add)
  if type(t.name) ~= "string" or not t.name:find "^[%w][%w_.-]*$" or #t.name > 64 then
    add("name", 'name is text of letters, digits, "_", "-" and ".", such as "only_small_jobs"')
  end
  check_function(t, "applies", add)
  check_function(t, "run", add)
  check_hooks(t.on, add)
  check_with("budget", function(b) require("perigee.budget").new(b) end, t.budget, add)
  check_with("retry", function(r) require("perigee.retry").new(r) end, t.retry, add)
  check_with("notify", require("perigee.notify_settings").read, t.notify, add)
  check_schedules(t.schedules, add)
  local most = t.max_failures
  if most ~= nil and (math.type(most) ~= "integer" or most < 1 or most > MOST_FAILURES) then
    add("max_failures", ("max_failures is a whole number from 1 to %d: after so many failures in a row the policy is paused")
      :format(MOST_FAILURES))
  end
  return problems
end

return policy
