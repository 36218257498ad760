-- spend_spec.lua - permits as scripts and the service clients see them.
local budget = require "perigee.budget"
local errors = require "perigee.error"
local helper = require "tests.helper"
local spend = require "perigee.core.spend"
local task = require "perigee.task"

local function request(options)
  options.operation = options.operation or "start_inference"
  options.service = "deai"
  return spend.request(options)
end

local function sent_permit(options)
  local permit = request(options)
  permit:sent()
  return permit
end

describe("spend.request", function()
  it("gives a permit whose intent is recorded and whose price is held", function()
    local b = budget.new { total = "10 CCD" }

    local permit <close> = request { price = "2 CCD", budgets = { b }, key = "job-1" }

    assert.equal("intent", permit:state())
    assert.truthy(permit:intent_id():match("^" .. ("%x"):rep(32) .. "$"))
    assert.equal("2 CCD", tostring(permit:price()))
    assert.equal("2 CCD", tostring(b:held()))
    assert.equal("8 CCD", tostring(b:left()))
    assert.is_true(permit:governed())
  end)

  it("denies with price, limit and left as amounts", function()
    local b = budget.new { name = "demo", day = "1 CCD" }

    local err = helper.error_of(request, { price = "1.5 CCD", budgets = { b } })

    assert.is_true(errors.is(err, "denied"))
    assert.equal("over_budget", err.code)
    assert.equal("none", err.outcome)
    assert.equal("1.5 CCD", tostring(err.price))
    assert.equal("1 CCD", tostring(err.limit))
    assert.equal("1 CCD", tostring(err.left))
    assert.equal("demo", err.budget)
    assert.equal("start_inference", err.operation)
    assert.equal("deai", err.service)
  end)

  it("denies what a limit applies to and cannot be bounded", function()
    local b = budget.new { total = "10 CCD" }

    assert.equal("no_price", helper.error_of(request, { budgets = { b } }).code)
    assert.equal("no_price", helper.error_of(request, { max_cost = "5 CCD" }).code)
    assert.equal("no_worst_case", helper.error_of(request, { price = "1 CCD", no_worst_case = true,
      max_cost = "5 CCD" }).code)
    assert.equal("currency", helper.error_of(request, { price = "1 CNY", budgets = { b } }).code)
    assert.equal("max_cost", helper.error_of(request, { price = "2 CCD", max_cost = "1 CCD" }).code)
    assert.equal("max_cost", helper.error_of(request, { price = "2 CCD", max_cost_per_attempt = "1 CCD" }).code)
    assert.equal("0 CCD", tostring(b:held()))
  end)

  it("lets a bare call pass, and counts it", function()
    local before = spend.figures()

    local permit <close> = request {}

    local after = spend.figures()
    assert.is_false(permit:governed())
    assert.equal(1, after.ungoverned - before.ungoverned)
    assert.equal(1, after.unpriced - before.unpriced)
  end)

  it("refuses a Lua number as money, and a field it does not know", function()
    assert.is_true(errors.is(helper.error_of(request, { price = 2 }), "invalid"))
    assert.truthy(helper.error_of(request, { prise = "2 CCD" }).message:find "price")
    assert.is_true(errors.is(helper.error_of(request, { budgets = { "5 CCD" } }), "invalid"))
    assert.is_true(errors.is(helper.error_of(spend.request, { service = "deai" }), "invalid"))
  end)
end)

describe("a permit", function()
  it("settles at the charge the service reports", function()
    local b = budget.new { total = "10 CCD" }
    local permit <close> = sent_permit { price = "2 CCD", budgets = { b } }

    permit:answered("created", "infer-9")
    permit:settle "1.25 CCD"

    assert.equal("settled", permit:state())
    assert.equal("infer-9", permit:remote_id())
    assert.equal("1.25 CCD", tostring(b:spent()))
    assert.equal("0 CCD", tostring(b:held()))
  end)

  it("gives its money back when it is closed before anything was sent", function()
    local b = budget.new { total = "10 CCD" }

    pcall(function()
      local permit <close> = request { price = "2 CCD", budgets = { b } } -- luacheck: ignore permit
      error "the script stumbled"
    end)

    assert.equal("0 CCD", tostring(b:held()))
    assert.equal("10 CCD", tostring(b:left()))
  end)

  it("stays held as unknown when it is let go of without an answer", function()
    local b = budget.new { total = "10 CCD" }
    local permit = sent_permit { price = "2 CCD", budgets = { b } } -- luacheck: ignore 231

    permit = nil -- luacheck: ignore permit
    collectgarbage()
    collectgarbage()

    assert.equal("2 CCD", tostring(b:unknown()))
    assert.equal("0 CCD", tostring(b:held()))
    assert.equal("8 CCD", tostring(b:left()))
  end)

  it("of an unknown outcome is found again by its intent, once", function()
    local b = budget.new { total = "10 CCD" }
    local lost = sent_permit { price = "2 CCD", budgets = { b } }
    local id = lost:intent_id()
    lost:close()

    local found <close> = spend.adopt(id)
    found:settle "1 CCD"

    assert.is_nil(spend.adopt(id))
    assert.equal("0 CCD", tostring(b:unknown()))
    assert.equal("1 CCD", tostring(b:spent()))
  end)

  it("refuses every step out of order", function()
    local permit <close> = request { price = "2 CCD", max_cost = "2 CCD" }

    assert.equal("order", helper.error_of(permit.settle, permit).code)
    assert.equal("order", helper.error_of(permit.answered, permit, "created").code)
    permit:sent()
    assert.equal("order", helper.error_of(permit.sent, permit).code)
    assert.equal("order", helper.error_of(permit.release, permit).code)
    permit:answered "none"
    assert.equal("released", permit:state())
    assert.equal("order", helper.error_of(permit.settle, permit).code)
    permit:close()
    assert.is_true(errors.is(helper.error_of(permit.state, permit), "invalid"))
  end)
end)

describe("cancelling", function()
  it("while the gate is asked holds nothing", function()
    local b = budget.new { total = "10 CCD" }
    local child = task.spawn(function() return request { price = "2 CCD", budgets = { b } } end)
    assert.has_no.errors(function() task.sleep(0) end)

    child:cancel "no longer wanted"
    pcall(child.wait, child)
    collectgarbage()

    helper.eventually(function() return tostring(b:held()) == "0 CCD" end) -- the gate's answer is given back
  end)

  it("refuses a paid call at once, also where clean-up may still wait", function()
    local b = budget.new { total = "10 CCD" }
    local seen
    local child = task.spawn(function()
      pcall(task.sleep, 60)
      seen = helper.error_of(request, { price = "2 CCD", budgets = { b } })
    end)
    task.sleep(0)

    child:cancel "stop"
    pcall(child.wait, child)

    assert.is_true(errors.is(seen, "cancelled"))
    assert.equal("0 CCD", tostring(b:held()))
  end)
end)
