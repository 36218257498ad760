-- budget_spec.lua - how budgets are written, and how they reach calls.
local amount = require "perigee.amount"
local budget = require "perigee.budget"
local errors = require "perigee.error"
local helper = require "tests.helper"
local spend = require "perigee.core.spend"
local task = require "perigee.task"

-- What a service client does for one paid call.
local function pay(price, own, of_client)
  local permit <close> = spend.request {
    operation = "start_inference",
    service = "deai",
    price = price,
    budgets = budget.collect(own, of_client),
  }
  permit:sent()
  task.sleep(0)
  permit:answered("created", "1")
  permit:settle(price)
end

local function message_of(options)
  local err = helper.error_of(budget.new, options)
  assert.is_true(errors.is(err, "invalid"))
  return err.message
end

describe("budget.new", function()
  it("shows spent, held, unknown and left apart", function()
    local b = budget.new { total = "20 CCD", day = "5 CCD" }

    pay("3 CCD", b)

    assert.equal("3 CCD", tostring(b:spent()))
    assert.equal("0 CCD", tostring(b:held()))
    assert.equal("0 CCD", tostring(b:unknown()))
    assert.equal("2 CCD", tostring(b:left()))
    assert.equal("17 CCD", tostring(b:left "total"))
    assert.equal("3 CCD", tostring(b:spent "day"))
  end)

  it("takes amounts as well as texts, and limits in several currencies", function()
    local b = budget.new { total = { amount.ccd "20", "100 CNY" } }

    pay("3 CCD", b)
    pay("30 CNY", b)

    assert.equal("17 CCD", tostring(b:left()))
    assert.equal("70 CNY", tostring(b:left("total", "CNY")))
    assert.equal("30 CNY", tostring(b:spent("total", "CNY")))
  end)

  it("names what is wrong with its options", function()
    assert.truthy(message_of({ totl = "5 CCD" }):find 'did you mean "total"')
    assert.truthy(message_of({ total = 5 }):find '"5 CCD"', 1, true)
    assert.truthy(message_of({}):find "at least one limit")
    assert.truthy(message_of({ total = "5 CCD", warn = 80 }):find "between 0 and 1")
    assert.truthy(message_of({ total = "5 CCD", utc_offset = 8 }):find "+08:00", 1, true)
    assert.truthy(message_of({ day = { "5 CCD", "6 CCD" } }):find "two limits")
    assert.truthy(message_of({ day = "-5 CCD" }):find "negative")
  end)

  it("has no figure for a window it does not limit", function()
    local b = budget.new { day = "5 CCD" }

    assert.is_true(errors.is(helper.error_of(b.spent, b, "week"), "invalid"))
    assert.is_true(errors.is(helper.error_of(b.left, b, "total"), "invalid"))
    assert.equal("0 CCD", tostring(b:spent()))
  end)
end)

describe("a budget", function()
  it("on the call, the client and the scope must all agree", function()
    local own = budget.new { total = "10 CCD", name = "own" }
    local client = budget.new { total = "10 CCD", name = "client" }
    local scope = budget.new { total = "1 CCD", name = "scope" }

    local err = helper.error_of(budget.with, scope, pay, "2 CCD", own, client)

    assert.equal("scope", err.budget)
    for _, b in ipairs { own, client, scope } do assert.equal("0 CCD", tostring(b:spent())) end
    budget.with(scope, pay, "1 CCD", own, client)
    for _, b in ipairs { own, client, scope } do assert.equal("1 CCD", tostring(b:spent())) end
  end)

  it("of a scope governs the tasks spawned in it, and ends with it", function()
    local b = budget.new { total = "10 CCD" }

    budget.with(b, function()
      task.spawn(pay, "1 CCD"):wait()
      pcall(function() budget.with(b, error, "left by an error") end)
      assert.equal(1, #budget.current())
    end)
    pay "1 CCD"

    assert.equal("1 CCD", tostring(b:spent()))
    assert.equal(0, #budget.current())
  end)

  it("is a budget, not a sum, where a call takes one", function()
    local err = helper.error_of(pay, "1 CCD", "5 CCD")

    assert.is_true(errors.is(err, "invalid"))
    assert.truthy(err.message:find "max_cost")
  end)

  it("never overshoots under 1,000 concurrent tasks", function()
    local b = budget.new { total = "10 CCD" }
    local paid, denied, most = 0, 0, amount.ccd "0"

    local tasks = {}
    for i = 1, 1000 do
      tasks[i] = task.spawn(function()
        local ok, err = pcall(pay, "0.03 CCD", b)
        most = amount.max(most, b:spent() + b:held() + b:unknown())
        if ok then
          paid = paid + 1
        else
          assert(err.code == "over_budget", err)
          denied = denied + 1
        end
      end)
    end
    for i = 1, 1000 do tasks[i]:wait() end

    assert.equal(333, paid)
    assert.equal(667, denied)
    assert.equal("9.99 CCD", tostring(b:spent()))
    assert.is_true(most <= amount.ccd "10")
  end)
end)

describe("a group", function()
  it("bounds what all attempts cost together, as max_cost", function()
    local err = helper.error_of(budget.with, budget.group "3 CCD", function()
      pay "2 CCD"
      pay "2 CCD"
    end)

    assert.equal("max_cost", err.code)
    assert.equal("1 CCD", tostring(err.left))
  end)
end)
