-- cost_gate: nothing is submitted whose price is above a limit, or is not known.
--
--   perigee run scripts/policies/cost_gate.lua -- max_cost="0.05 CCD" jobName=digits model=CNN \
--     x_train=x.csv y_train=y.csv train_shard=0.8 category=10 …
--
-- Prices a training, and starts it if the price passes; else ends with exit code 4, having spent nothing.

local amount = require "perigee.amount"
local budget = require "perigee.budget"
local errors = require "perigee.error"
local policy_args = require "perigee.policy_args"

local USAGE = 'usage: cost_gate.lua -- max_cost="0.05 CCD" jobName=… model=CNN|LSTM x_train=… (fields of deai:train)'

local policy = {
  name = "cost_gate",
  max_cost = { "1 CCD", "50 CNY" }, -- for one job, in each currency
  budget = { day = { "5 CCD", "200 CNY" } },
  on = {},
}

function policy.applies()
  return true
end

-- Deny beats everything, and an error in this hook is a denial too.
policy.on["job.submit"] = function(job)
  if job.price == nil then return { decision = "deny", why = "its price is not known" } end
  local price = amount(job.price)
  for _, text in ipairs(policy.max_cost) do
    local limit = amount(text)
    if limit:currency() == price:currency() then
      if price <= limit then return { decision = "allow" } end
      return { decision = "deny", why = ("its price is %s, and the limit %s"):format(price, limit) }
    end
  end
  return { decision = "deny", why = "there is no limit in " .. price:currency() }
end

local TEXTS = { jobName = true, model = true, x_train = true, y_train = true }
local FILES = { x_train = true, y_train = true }

-- The words are texts; the service wants numbers, and local files are uploaded.
local function training(given)
  local deai = require "perigee.deai"
  local fields = {}
  for name, value in pairs(given) do
    if FILES[name] and require("perigee.fs").exists(value) then
      fields[name] = deai.file(value)
    else
      fields[name] = TEXTS[name] and value or tonumber(value) or value
    end
  end
  fields.max_cost = given.max_cost
  return deai.client { budget = budget.new(policy.budget) }, fields
end

--- By hand: one training of Distributed AI.  Returns what deai:train returns.
function policy.run(args)
  local given, words = policy_args.read(args, {
    usage = USAGE, needs = { "max_cost", "jobName", "model", "x_train" }, anything = true,
  })
  if #words > 0 then errors.invalid(("what is %q?\n%s"):format(words[1], USAGE)) end
  local client, fields = training(given)
  local job = client:train(fields)
  print(("job %s started for %s; the limit was %s"):format(job.jobID, job.price, given.max_cost))
  return job
end

return policy
