-- cost_gate: no job starts whose price is above a limit, or is not known; what is dear waits for a person.
--
--   perigee daemon cost_gate.lua
--   perigee run scripts/policies/cost_gate.lua -- max_cost="0.05 CCD" jobName=digits model=CNN \
--     x_train=x.csv y_train=y.csv train_shard=0.8 category=10 …
--
-- Prices a training, and starts it if the price passes; else ends with exit code 4, having spent nothing.

local amount = require "perigee.amount"
local errors = require "perigee.error"
local policy = require "perigee.policy"
local policy_args = require "perigee.policy_args"

-- For one job, in each currency: up to `allow` it may go, up to `hold` a person decides, above that it may not.
local LIMITS = { CCD = { allow = "1 CCD", hold = "5 CCD" }, CNY = { allow = "50 CNY", hold = "200 CNY" } }
local ANSWER_WITHIN = "12h" -- a held job that nobody has answered by then is denied

local USAGE = 'usage: cost_gate.lua -- max_cost="0.05 CCD" jobName=… model=CNN|LSTM x_train=… (fields of deai:train)'

local gate = {
  name = "cost_gate",
  on = {},
}

-- Deny beats everything, and an error in this hook is a denial too.
gate.on["job.submit"] = function(job)
  if job.price == nil then return policy.deny "its price is not known" end
  local price = amount(job.price)
  local limit = LIMITS[price:currency()]
  if not limit then return policy.deny("there is no limit in " .. price:currency()) end
  if price <= amount(limit.allow) then return policy.allow() end
  if price <= amount(limit.hold) then
    return policy.hold(("its price is %s, and without asking it may be %s"):format(price, limit.allow), { expires = ANSWER_WITHIN })
  end
  return policy.deny(("its price is %s, and the limit %s"):format(price, limit.hold))
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
  return deai.client {}, fields
end

--- By hand: one training of Distributed AI.  Returns what deai:train returns.
function gate.run(args)
  local given, words = policy_args.read(args, {
    usage = USAGE, needs = { "max_cost", "jobName", "model", "x_train" }, anything = true,
  })
  if #words > 0 then errors.invalid(("what is %q?\n%s"):format(words[1], USAGE)) end
  local client, fields = training(given)
  local job = client:train(fields)
  print(("job %s started for %s; the limit was %s"):format(job.jobID, job.price, given.max_cost))
  return job
end

return gate
