-- perigee.retry: do it again, when that is safe, and not too often.
-- What is never repeated: a call whose outcome is unknown (it may have been executed, and paid for), and
-- anything that was cancelled.  A policy holds no state of a run: one can serve many tasks at once.

local bucket = require "perigee.core.retry"
local budget = require "perigee.budget"
local core = require "perigee.core.task"
local errors = require "perigee.error"
local log = require "perigee.log"
local options = require "perigee.options"
local task = require "perigee.task"

local retry = {}

local FIELDS = { "attempts", "elapsed", "base", "cap", "jitter", "on", "service", "max_cost",
  "max_cost_per_attempt", "retry_after" }

local KINDS = { "network", "timeout", "tls", "http", "auth", "api", "parse", "denied", "funds", "job_failed",
  "unavailable", "limit", "closed", "retryable" }

-- Denials by a person, or for want of one: to ask again is not for a program.
local ASKED <const> = { declined = true, not_confirmed = true }

-- ---- the bucket of a service: retries cost a token, time and success bring them back ---------------------
-- It keeps many tasks that fail together, of all VMs, from hammering a service that is down: each waits for
-- its token, and who would wait longer than its cap gives up.  (host/bucket.h)

-- ---- options ------------------------------------------------------------------------------------------------

local function seconds(given, field, default)
  return options.seconds("retry.new: " .. field, given[field], default)
end

-- The list of kinds, or a function, as one function of the error.
local function reader_of(on)
  if on == nil then on = { "retryable" } end
  if type(on) == "function" then return on end
  if type(on) == "string" then on = { on } end
  if type(on) ~= "table" then errors.invalid "retry.new: on is a list of error kinds, or a function" end
  local set = {}
  for _, kind in ipairs(on) do
    local known = false
    for _, name in ipairs(KINDS) do known = known or name == kind end
    if kind == "cancelled" or kind == "invalid" then
      errors.invalid(("retry.new: on: an error of kind %q is never repeated"):format(kind))
    elseif not known then
      options.refuse("retry.new: on", "error kind", tostring(kind), KINDS)
    end
    set[kind] = true
  end
  return function(err) return set[err.kind] or (set.retryable and err.retryable) end
end

-- ---- policies -----------------------------------------------------------------------------------------------

local Policy = {}
Policy.__index = Policy
Policy.__name = "perigee.retry"

--- A policy.  on: kinds of errors (default { "retryable" }: errors that say so), or a function of the error.
function retry.new(given)
  if type(given) ~= "table" then errors.invalid "retry.new takes a table, such as { attempts = 5 }" end
  options.check("retry.new", given, FIELDS)
  local attempts = given.attempts or 5
  if math.type(attempts) ~= "integer" or attempts < 1 then
    errors.invalid "retry.new: attempts is a whole number, 1 or more"
  end
  local jitter = given.jitter or "full"
  if jitter ~= "full" and jitter ~= "none" then errors.invalid 'retry.new: jitter is "full" or "none"' end
  if given.service ~= nil and type(given.service) ~= "string" then
    errors.invalid "retry.new: service is the name of a service, such as \"sxwl\""
  end
  local policy = setmetatable({
    attempts = attempts,
    elapsed = seconds(given, "elapsed", math.huge),
    base = seconds(given, "base", 1),
    cap = seconds(given, "cap", 60),
    retry_after = seconds(given, "retry_after", 300),
    jitter = jitter,
    service = given.service,
    wants = reader_of(given.on),
    max_cost = given.max_cost,
    max_cost_per_attempt = given.max_cost_per_attempt,
  }, Policy)
  if policy.max_cost ~= nil then budget.group(policy.max_cost) end -- wrong ones are found here, not in a run
  if policy.max_cost_per_attempt ~= nil then budget.group(policy.max_cost_per_attempt) end
  return policy
end

--- Seconds to wait after the n-th failure; with an error, its Retry-After counts (bounded by retry_after).
function Policy:delay(n, err)
  local most = math.min(self.cap, self.base * 2.0 ^ math.min(n - 1, 60))
  local delay = self.jitter == "full" and most * core.random() or most
  local asked = errors.is(err) and tonumber(err.retry_after)
  if asked then delay = math.max(delay, math.min(asked, self.retry_after)) end
  return delay
end

-- Why this error ends the run, or nil and the seconds to wait.
local function verdict(policy, err, attempt, started)
  if err.outcome == "unknown" then return "its outcome is unknown: it may have been executed" end
  if ASKED[err.code] and err.kind == "denied" then return "a person has not said yes to it" end
  if err.kind == "invalid" or not policy.wants(err, attempt) then
    return ("an error of kind %s is not to be repeated"):format(err.kind)
  end
  if attempt >= policy.attempts then return ("all %d attempts are used"):format(policy.attempts) end
  local service = policy.service or err.service
  local wait = service and bucket.wait(service) or 0
  if wait > policy.cap then
    return ("too many calls to %s are being repeated"):format(service)
  end
  local delay = math.max(policy:delay(attempt, err), wait)
  if core.now() - started + delay > policy.elapsed then
    return ("the next attempt would start later than %g s after the first"):format(policy.elapsed)
  end
  return nil, delay
end

local function note(level, event, policy, err, attempt, fields)
  fields.attempt = attempt
  fields.of = policy.attempts
  fields.service = policy.service or err.service
  fields.operation = err.operation
  fields.kind = err.kind
  fields.code = err.code ~= "" and err.code or nil
  fields.error = err.message
  log[level](event, fields)
end

local function attempt_once(policy, f, attempt, last_error)
  local context = { attempt = attempt, last_error = last_error }
  if policy.max_cost_per_attempt == nil then return pcall(f, context) end
  return pcall(budget.with, budget.group(policy.max_cost_per_attempt), f, context)
end

-- Every attempt after a first one is a retry of the closing table, which is about services.
local function count_retry(kind)
  local ops = package.loaded["perigee.core.ops"]
  if ops then ops.count_retry(kind) end
end

local function run(policy, f)
  local started, attempt, last_error = core.now(), 0, nil
  while true do
    attempt = attempt + 1
    local results = table.pack(attempt_once(policy, f, attempt, last_error))
    if results[1] then
      if policy.service then bucket.give(policy.service) end
      return table.unpack(results, 2, results.n)
    end
    local err = results[2]
    if not errors.is(err) or err.kind == "cancelled" then error(err, 0) end
    local why, delay = verdict(policy, err, attempt, started)
    err.attempt = attempt
    if why then
      note(attempt > 1 and "warn" or "debug", "retry.stop", policy, err, attempt, { why = why })
      error(err, 0)
    end
    note("warn", "retry", policy, err, attempt, { delay = delay })
    local service = policy.service or err.service
    if service then bucket.take(service) end
    last_error = err
    task.sleep(delay)
    count_retry(err.kind)
  end
end

--- Calls f{attempt=, last_error=} until it returns, and returns what it returned; raises the last error when
--- it must not or may not be called again.  max_cost bounds what all attempts cost together.
function Policy:run(f)
  if self.max_cost == nil then return run(self, f) end
  return budget.with(budget.group(self.max_cost), run, self, f)
end

return retry
