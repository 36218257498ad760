-- job_options.lua - the fields of jobs.submit beside its spec: identity, money, time, retries.  -- internal
--
-- read() gives them as the journal keeps them: plain, durations in seconds, a deadline as wall time in
-- milliseconds, money as text, retry options with their defaults.  Raises `invalid` and names the field.

local budgets = require "perigee.budget"
local checks = require "perigee.options"
local errors = require "perigee.error"
local json = require "perigee.json"
local service = require "perigee.service"
local task = require "perigee.task"
local time = require "perigee.time"

local job_options = {}

local FIELDS <const> = { "service", "kind", "name", "key", "spec", "retry", "budget", "max_cost", "max_cost_per_attempt", "deadline",
  "tags", "on_unknown", "unreachable_after", "attach" }
local RETRY_FIELDS <const> = { "attempts", "base", "cap", "jitter", "on", "elapsed" }
local ON_UNKNOWN <const> = { "wait", "retry", "fail" }
local MOST_NAME <const>, MOST_TAG <const>, MOST_TAGS <const> = 200, 64, 20
local A_TIME <const> = 1000000000 -- a number as large as this is a time since 1970, not a duration

local function invalid(where, message, ...)
  errors.invalid(where .. ": " .. message:format(...))
end

--- The fields of jobs.submit.
job_options.FIELDS = FIELDS

--- True for a field of jobs.submit.
function job_options.known(name)
  for _, field in ipairs(FIELDS) do
    if field == name then return true end
  end
  return false
end

--- Raises for a field that jobs.submit does not have.
function job_options.check_names(where, t)
  local unknown = {}
  for name in pairs(t) do
    if not job_options.known(name) then unknown[#unknown + 1] = tostring(name) end
  end
  table.sort(unknown)
  if unknown[1] then checks.refuse(where, "field", unknown[1], FIELDS) end
end

-- ---- words ---------------------------------------------------------------------------------------------------------

-- A line of text that tables, logs and file names can bear.
local function line(where, field, value, most)
  if type(value) ~= "string" then invalid(where, "%s must be text, not a %s", field, type(value)) end
  if #value > most then invalid(where, "%s is %d bytes long; the most is %d", field, #value, most) end
  if not utf8.len(value) then invalid(where, "%s is not valid UTF-8", field) end
  if value:find "%c" then invalid(where, "%s must not contain line ends or control characters", field) end
  if value:find "^%s" or value:find "%s$" then invalid(where, "%s must not begin or end with a blank", field) end
  return value
end

local function read_name(where, name)
  if name == nil or name == "" then
    invalid(where, 'name is required: name and key together find the job again, also after a restart. Write name = "nightly-train"')
  end
  return line(where, "name", name, MOST_NAME)
end

-- In a schedule the key is the scheduled time, so that each run has a job of its own and a repeated one finds it.
local function read_key(where, key)
  if key == nil then key = task.get_local "perigee.schedule_key" or "" end
  if math.type(key) == "integer" then key = tostring(key) end
  return line(where, "key", key, MOST_NAME)
end

local function read_tags(where, tags)
  if tags == nil then return nil end
  if type(tags) == "string" then tags = { tags } end
  if type(tags) ~= "table" or next(tags) ~= nil and #tags == 0 then invalid(where, 'tags is a list of words, such as { "nightly" }') end
  local list, seen = {}, {}
  for _, tag in ipairs(tags) do
    line(where, "a tag", tag, MOST_TAG)
    if tag == "" then invalid(where, "a tag must not be empty") end
    if not seen[tag] then list[#list + 1] = tag end
    seen[tag] = true
  end
  if #list > MOST_TAGS then invalid(where, "tags has %d words; the most is %d", #list, MOST_TAGS) end
  table.sort(list)
  return list
end

local function choice(where, field, value, known)
  if value == nil then return nil end
  for _, word in ipairs(known) do
    if value == word then return value end
  end
  local near = type(value) == "string" and errors.nearest(value, known)
  invalid(where, '%s must be "%s", not %s%s', field, table.concat(known, '" or "'), tostring(value),
    near and ('; did you mean "%s"?'):format(near) or "")
end

-- ---- money, time, retries ------------------------------------------------------------------------------------------------

local function money(name, value)
  if value == nil then return nil end
  return tostring(service.money(name, value))
end

-- What a job counts against: its own budgets, and those of the scope it is submitted in.
local function budgets_given(where, value)
  if value == nil then value = {} end
  if type(value) == "string" or budgets.is_budget(value) then value = { value } end
  if type(value) ~= "table" or next(value) ~= nil and #value == 0 then
    invalid(where, 'budget is the name of a budget, such as "nightly", or a budget that has a name')
  end
  local list = table.move(value, 1, #value, 1, {})
  for _, one in ipairs(budgets.current()) do list[#list + 1] = one end
  return list
end

-- Names of durable budgets: those that the configuration or the journal knows.
local function read_budgets(where, value)
  local names, seen = {}, {}
  for _, one in ipairs(budgets_given(where, value)) do
    local name = budgets.is_budget(one) and one:name() or one
    if name == "" then
      invalid(where, 'budget: a job outlives this script, so its budget must have a name: budget.new { name = "nightly", … }')
    end
    if not seen[name] then names[#names + 1] = line(where, "budget", name, 63) end
    seen[name] = true
  end
  return #names > 0 and names or nil
end

--- Has the journal know the budgets that stand in the table as such, so that whoever sends the job finds them.
function job_options.keep_budgets(where, t)
  for _, one in ipairs(budgets_given(where, t.budget)) do
    if budgets.is_budget(one) then budgets.keep(one) end
  end
end

-- Milliseconds since 1970 of "2h", 7200, "2026-11-22T08:00:00Z", or a number of time.now().
local function read_deadline(where, value)
  if value == nil then return nil end
  local at
  if type(value) == "string" and value:find "^%d%d%d%d%-" then
    local ok, moment = pcall(time.parse, value)
    if not ok then invalid(where, "deadline: %s", moment.message) end
    at = moment
  elseif type(value) == "number" and value >= A_TIME then
    at = value
  else
    at = time.now() + checks.seconds(where .. ": deadline", value)
  end
  if at <= time.now() then invalid(where, "deadline is over: %s", time.format(at)) end
  if at >= 253402300800 then invalid(where, "deadline is beyond the year 9999") end
  return math.floor(at * 1000)
end

-- The checks of perigee.retry, in the words of this call; its defaults are written out, so that the journal has them.
local function read_retry(where, value)
  if value == nil then return nil end
  if type(value) ~= "table" or getmetatable(value) ~= nil then
    invalid(where, "retry is a table of options, such as { attempts = 3 }, which the journal can keep")
  end
  checks.check(where .. ": retry", value, RETRY_FIELDS)
  if type(value.on) == "function" then
    invalid(where, 'retry: on is a list of error kinds here, since the job outlives this script; a policy\'s hook "job.failed" can decide '
      .. "by itself")
  end
  local on = value.on == nil and { "job_failed", "retryable" } or type(value.on) == "string" and { value.on } or value.on
  local ok, policy = pcall(require "perigee.retry".new, {
    attempts = value.attempts, base = value.base, cap = value.cap, jitter = value.jitter, elapsed = value.elapsed, on = on,
  })
  if not ok then
    if not errors.is(policy) then error(policy, 0) end
    errors.invalid((policy.message:gsub("^retry%.new", where .. ": retry")))
  end
  return {
    attempts = policy.attempts, base = policy.base, cap = policy.cap, jitter = policy.jitter, on = on,
    elapsed = policy.elapsed < math.huge and policy.elapsed or nil,
  }
end

--- The fields beside the spec: {name, key, attach, options (JSON), tags (JSON or nil)}.
function job_options.read(where, t)
  local options = {
    retry = read_retry(where, t.retry),
    budget = read_budgets(where, t.budget),
    max_cost = money("max_cost", t.max_cost),
    max_cost_per_attempt = money("max_cost_per_attempt", t.max_cost_per_attempt),
    deadline = read_deadline(where, t.deadline),
    on_unknown = choice(where, "on_unknown", t.on_unknown, ON_UNKNOWN) or "wait",
    unreachable_after_s = checks.seconds(where .. ": unreachable_after", t.unreachable_after),
  }
  local tags = read_tags(where, t.tags)
  return {
    name = read_name(where, t.name),
    key = read_key(where, t.key),
    attach = choice(where, "attach", t.attach, { "finished" }),
    options = json.encode(options),
    tags = tags and json.encode(tags),
  }
end

return job_options
