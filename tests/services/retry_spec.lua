-- retry_spec.lua - attempts that cost money: max_cost bounds all of them together.
local budget = require "perigee.budget"
local errors = require "perigee.error"
local helper = require "tests.helper"
local retry = require "perigee.retry"
local spend = require "perigee.core.spend"

local function pay(price)
  local permit <close> = spend.request {
    operation = "create_job", service = "sxwl", price = price, budgets = budget.collect(),
  }
  permit:sent()
  permit:answered("created", "ai1")
  permit:settle(price)
end

local function failed_job()
  error(errors.new { kind = "job_failed", message = "the job failed" }, 0)
end

describe("a policy's max_cost", function()
  it("bounds the sum over all attempts", function()
    local policy = retry.new { attempts = 10, base = 0, on = { "job_failed" }, max_cost = "5 CNY" }
    local attempts = 0

    local err = helper.error_of(policy.run, policy, function()
      pay "2 CNY"
      attempts = attempts + 1
      failed_job()
    end)

    assert.equal("denied", err.kind)
    assert.equal("max_cost", err.code)
    assert.equal(2, attempts)
    assert.equal("1 CNY", tostring(err.left))
  end)

  it("starts afresh with each run", function()
    local policy = retry.new { max_cost = "2 CNY" }

    for _ = 1, 3 do policy:run(function() pay "2 CNY" end) end

    assert.equal(0, #budget.current())
  end)

  it("for one attempt bounds what that attempt pays in all", function()
    local policy = retry.new { attempts = 3, base = 0, on = { "job_failed" }, max_cost_per_attempt = "3 CNY" }
    local attempts = 0

    local err = helper.error_of(policy.run, policy, function(context)
      attempts = context.attempt
      pay "2 CNY"
      if attempts < 2 then failed_job() end
      pay "2 CNY"
    end)

    assert.equal("max_cost", err.code)
    assert.equal(2, attempts)
  end)
end)
