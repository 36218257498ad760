-- perigee.balance: whether the account can pay, looked at before a paid call where that is asked for.  -- internal
--
-- Asked for by the client (check_balance), by a budget of the call, or by the configuration (deai.check_balance).  Only
-- Distributed AI tells a balance, and it charges when a call is accepted; so what this process has taken on since the
-- balance was read is taken off it, charged or not.

local amount = require "perigee.amount"
local budget = require "perigee.budget"
local clock = require "perigee.core.task"
local errors = require "perigee.error"
local service = require "perigee.service"
local spend = require "perigee.core.spend"
local task = require "perigee.task"

local balance = {}

local CURRENCY <const> = "CCD"
local FRESH <const> = 60 -- seconds for which a balance is good
local PEEK <const> = 3 -- seconds a look may take that nothing depends on

local function is_wanted(client, budgets)
  if client.service ~= "deai" then return false end
  if client.check_balance ~= nil then return client.check_balance end
  if budget.checks_balance(budgets) then return true end
  local config = require "perigee.config"
  if #config.budgets() > 0 and budget.checks_balance(require("perigee.budgets").defaults()) then return true end
  return config.get "deai.check_balance" == true
end

-- What this process holds, unknown outcomes included, and that with what it has spent.
local function figures()
  for _, sum in ipairs(spend.figures().sums) do
    if sum.currency == CURRENCY then return sum.held + sum.unknown, sum.held + sum.unknown + sum.spent end
  end
  local nothing = amount.zero(CURRENCY)
  return nothing, nothing
end

-- The balance of the account as last read, at most a minute ago, without what was taken on since.
local function read(client)
  local known = service.shared("balance|" .. client.key, function() return {} end)
  if not known.at or clock.now() - known.at > FRESH then
    local _, taken_on = figures()
    known.amount = service.read(client, "user", {}, {}).balanceCCD
    known.at, known.taken_on = clock.now(), taken_on
  end
  local held, taken_on = figures()
  return known.amount - (taken_on - known.taken_on), held, known
end

--- What the account has left, as far as that can be said quickly, for a person who is asked whether to pay; else nil.
function balance.peek(client)
  if client.service ~= "deai" then return nil end
  local have = task.try(task.deadline, PEEK, read, client)
  return have
end

--- Raises `funds` if the account cannot pay the price, and so before anything is sent.  budgets: all of the call.
--- A balance that cannot be read raises what reading it raised: the gate cannot be evaluated.
function balance.check(client, operation, price, budgets)
  if not price or price:currency() ~= CURRENCY or not is_wanted(client, budgets) then return end
  local have, held, known = read(client)
  if price <= have then return end
  known.at = nil -- whoever tops up is seen at once
  error(errors.new {
    kind = "funds",
    code = "balance",
    outcome = "none",
    retryable = false,
    service = client.service,
    operation = operation,
    account = client.account,
    price = price,
    balance = have,
    held = held,
    message = ("the account has %s left, too little for %s at %s; %s is held for calls that are not settled"):format(
      tostring(have), operation, tostring(price), tostring(held)),
  }, 0)
end

return balance
