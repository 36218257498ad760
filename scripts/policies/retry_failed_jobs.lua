-- retry_failed_jobs: a GPU job that fails is submitted again, a few times, for no more than max_cost in all.
--
--   perigee daemon retry_failed_jobs.lua
--   perigee run scripts/policies/retry_failed_jobs.lua -- job.lua [max_cost="30 CNY"] [attempts=3]
--
-- job.lua returns the fields of sxwl:run, and the prices to reckon with:
--   return { prices = { ["NVIDIA-GeForce-RTX-3090"] = "7 CNY/h" }, gpuType = "NVIDIA-GeForce-RTX-3090", … }

local budget = require "perigee.budget"
local errors = require "perigee.error"
local policy = require "perigee.policy"
local policy_args = require "perigee.policy_args"
local retry = require "perigee.retry"

local USAGE = 'usage: retry_failed_jobs.lua -- job.lua [max_cost="30 CNY"] [attempts=3]'

-- What one run by hand may cost whatever its job says; in a daemon `budgets` of the configuration bound its jobs.
local BY_HAND = { total = "200 CNY" }

local again = {
  name = "retry_failed_jobs",
  retry = { attempts = 3, base = "10s", cap = "10m", on = { "job_failed", "retryable" }, service = "sxwl" },
  on = {},
}

function again.applies(job)
  return job.service == "sxwl"
end

again.on["job.failed"] = function(job)
  return policy.retry_of(again.retry, job)
end

-- An unknown outcome is never submitted again by itself: the first job may be running.
again.on["job.unknown"] = function()
  return policy.hold "its create may have been executed; look before it is submitted again"
end

local function load_job(path)
  local chunk, problem = loadfile(path, "t")
  if not chunk then errors.invalid(problem) end
  local job = chunk()
  if type(job) ~= "table" then errors.invalid(path .. " does not return the table of a job") end
  local fields, prices = {}, job.prices
  for name, value in pairs(job) do
    if name ~= "prices" then fields[name] = value end
  end
  return fields, prices
end

local function retry_options(given)
  local options = {}
  for name, value in pairs(again.retry) do options[name] = value end
  options.attempts = policy_args.integer(given, "attempts", options.attempts)
  options.max_cost = given.max_cost
  return options
end

--- By hand: submits one job and sees it through.  Returns what sxwl:run returns.
function again.run(args)
  local given, words = policy_args.read(args, { usage = USAGE, takes = { "max_cost", "attempts" } })
  if #words ~= 1 then errors.invalid("name one job file\n" .. USAGE) end
  local fields, prices = load_job(words[1])
  fields.max_cost = fields.max_cost or given.max_cost
  local client = require("perigee.sxwl").client { prices = prices, budget = budget.new(BY_HAND) }
  local result = retry.new(retry_options(given)):run(function(try)
    if try.last_error then
      print(("attempt %d: %s"):format(try.attempt, try.last_error.message))
    end
    return client:run(fields)
  end)
  print(("%s: %s%s"):format(result.job_id, result.status, result.cost and ", " .. tostring(result.cost) or ""))
  return result
end

return again
