-- spend_journal_spec.lua - permits and budgets on the journal, as the scripts of one process see them.
local budget = require "perigee.budget"
local errors = require "perigee.error"
local helper = require "tests.helper"
local journal = require "perigee.core.journal"
local json = require "perigee.json"
local proc = require "perigee.proc"
local report = require "perigee.spend_report"
local spend = require "perigee.core.spend"
local task = require "perigee.task"

local function request(options)
  options.operation, options.service = options.operation or "start_inference", options.service or "deai"
  return spend.request(options)
end

local function sent(options)
  local permit = request(options)
  permit:sent()
  return permit
end

-- b: a budget or a list of them
local function pay(price, b, charge, more)
  local options = { price = price, budgets = budget.is_budget(b) and { b } or b }
  for name, value in pairs(more or {}) do options[name] = value end
  local permit <close> = sent(options)
  permit:answered("created", "remote-1")
  permit:settle(charge or price)
  return permit:intent_id()
end

local function stored(intent)
  return journal.call("permit.get", { intent = intent })[1]
end

describe("a permit", function()
  it("stands in the journal with all that is known of it, from its intent on", function()
    local permit <close> = sent {
      price = "2 CCD", max_cost = "2 CCD", account = "a@b.c", key = "job-77", job = "j1", attempt = 2, policy = "nightly",
      tags = '["x","y"]', model = "CNN",
    }

    local row = stored(permit:intent_id())

    assert.equal("2 CCD", row.price)
    assert.equal("held", row.bucket)
    assert.equal("job-77", row.key)
    assert.equal("j1", row.job)
    assert.equal(2, row.attempt)
    assert.equal("nightly", row.policy)
    assert.same({ "x", "y" }, json.decode(row.tags))
    assert.equal("CNN", row.model)
    permit:answered "none"
    assert.equal("released", stored(permit:intent_id()).state)
  end)

  it("is settled there at its charge, and a derived one says so", function()
    local b = budget.new { total = "100 CCD" }
    local reported = pay("2 CCD", b, "1.25 CCD")
    local created = sent { price = "2 CCD", budgets = { b } }
    local id = created:intent_id()
    created:answered("created", "r")
    created:close()

    assert.equal("1.25 CCD", stored(reported).amount)
    assert.equal(0, stored(reported).derived)
    assert.equal("remote-1", stored(reported).remote_id)
    assert.equal("2 CCD", stored(id).amount)
    assert.equal(1, stored(id).derived)
  end)

  it("that is let go of before it was sent is released there", function()
    local b = budget.new { name = "let go of", total = "10 CCD" }
    local permit = request { price = "2 CCD", budgets = { b } }
    local id = permit:intent_id()
    assert.equal("2 CCD", tostring(b:held()))

    permit:close()

    assert.equal("released", stored(id).state)
    assert.equal("0 CCD", tostring(b:held()))
  end)

  it("of a job outlives its owner, and is found again by its intent", function()
    local permit = sent { price = "2 CCD", max_cost = "2 CCD", job = "j2" }
    local id = permit:intent_id()
    permit:answered("created", "remote-9")
    permit:close()
    assert.equal("created", stored(id).state)

    local again <close> = spend.take(id)

    assert.equal("remote-9", again:remote_id())
    again:settle "1 CCD"
    assert.equal("settled", stored(id).state)
  end)

  it("can have the intent that its caller has told already, once", function()
    local mine = ("a1b2"):rep(8)
    local permit <close> = sent { price = "2 CCD", max_cost = "2 CCD", intent = mine }

    assert.equal(mine, permit:intent_id())
    assert.equal("2 CCD", stored(mine).price)
    assert.is_true(errors.is(helper.error_of(request, { max_cost = "2 CCD", intent = "mine" }), "invalid"))
    assert.is_true(errors.is(helper.error_of(request, { price = "2 CCD", max_cost = "2 CCD", intent = mine }), "denied"))
    permit:answered "none"
  end)

  it("that is over, or was never there, cannot be taken", function()
    local id = pay("1 CCD", budget.new { total = "1 CCD" })

    assert.equal("order", helper.error_of(spend.take, id).code)
    assert.equal("not_found", helper.error_of(spend.take, ("0"):rep(32)).code)
  end)

  it("charged otherwise than estimated is counted by service and model", function()
    local b = budget.new { total = "100 CCD" }
    pay("2 CCD", b, "3 CCD", { model = "ratio-1" })
    pay("2 CCD", b, "2 CCD", { model = "ratio-1" })

    for _, row in ipairs(report.ratios()) do
      if row.model == "ratio-1" then
        assert.same({ 2, "4 CCD", "5 CCD", 1.25 }, { row.count, row.estimate, row.actual, row.ratio })
        assert.same({ "deai ratio-1: charged 125.0 % of what was estimated (2 calls, 5 CCD of 4 CCD)" }, report.ratio_lines { row })
        return
      end
    end
    error "the model is not in the list"
  end)
end)

describe("a budget with a name", function()
  it("is one with every budget of that name, and one without is a script's own", function()
    local first, second = budget.new { name = "one name", total = "10 CCD" }, budget.new { name = "one name", total = "10 CCD" }
    local own = budget.new { total = "10 CCD" }

    pay("3 CCD", first)

    assert.is_true(first:durable() and second:durable())
    assert.is_false(own:durable())
    assert.equal("3 CCD", tostring(second:spent()))
    assert.equal("7 CCD", tostring(second:left()))
    assert.equal("0 CCD", tostring(own:spent()))
    assert.equal("over_budget", helper.error_of(request, { price = "8 CCD", budgets = { second } }).code)
  end)

  it("denies with its name, window, zone, limit and what is left, and undoes what others had booked", function()
    local b = budget.new { name = "shown", day = "1 CCD", tz = "Asia/Shanghai" }
    local own = budget.new { total = "100 CCD" }

    local err = helper.error_of(request, { price = "1.5 CCD", budgets = { own, b } })

    assert.equal("shown", err.budget)
    assert.equal("1 CCD", tostring(err.left))
    assert.truthy(err.message:find("(day, Asia/Shanghai)", 1, true), err.message)
    assert.equal("0 CCD", tostring(own:held()))
  end)

  it("is found by its name once the journal knows it, and calls of a job that names it count", function()
    local budgets = require "perigee.budgets"
    local b = budget.new { name = "of a job", day = "10 CCD", tz = "Asia/Shanghai", warn = 0 }
    assert.equal("no_budget", helper.error_of(budgets.for_call, { names = { "of a job" } }).code)

    budget.keep(b)
    local found = budgets.for_call { names = { "of a job" } }

    assert.equal(1, #found)
    assert.equal("Asia/Shanghai", found[1]:zone())
    pay("3 CCD", found)
    assert.equal("7 CCD", tostring(b:left "day"))
    assert.is_true(errors.is(helper.error_of(budget.keep, budget.new { total = "1 CCD" }), "invalid"))
  end)

  it("counts what was paid elsewhere", function()
    local b = budget.new { name = "elsewhere", total = "10 CCD", day = "5 CCD" }

    b:count "2 CCD"
    b:count("1 CCD", { unknown = true })
    b:count("1 CCD", { at = 86400 })

    assert.equal("3 CCD", tostring(b:spent()))
    assert.equal("2 CCD", tostring(b:spent "day"))
    assert.equal("1 CCD", tostring(b:unknown()))
    assert.is_true(errors.is(helper.error_of(b.count, b, "-1 CCD"), "invalid"))
  end)

  it("is never overshot by concurrent tasks, whichever object they use", function()
    local paid = 0
    task.map((function()
      local list = {}
      for i = 1, 200 do list[i] = budget.new { name = "crowd", total = "10 CCD" } end
      return list
    end)(), function(b)
      local ok, err = pcall(pay, "0.3 CCD", b)
      if ok then paid = paid + 1 else assert(err.code == "over_budget", err) end
    end, { concurrency = 200 })

    assert.equal(33, paid)
    assert.equal("9.9 CCD", tostring(budget.new { name = "crowd", total = "10 CCD" }:spent()))
  end)

  it("tells once that a limit is nearly used, whichever object sees it", function()
    local lows = {}
    local reader = task.spawn(function()
      while true do
        local low = spend.next_low()
        if low.budget == "low" then lows[#lows + 1] = low end
      end
    end)
    finally(function() reader:cancel "enough" end)

    pay("7 CCD", budget.new { name = "low", total = "10 CCD", tz = "Asia/Shanghai" })
    pay("1 CCD", budget.new { name = "low", total = "10 CCD" })
    pay("1 CCD", budget.new { name = "low", total = "10 CCD" })
    helper.eventually(function() return #lows > 0 end)
    for _ = 1, 3 do journal.call("store.get", { space = "x", name = "y" }) end -- answers come in order: nothing is left to tell

    assert.equal(1, #lows)
    assert.equal("total", lows[1].window)
    assert.equal("8 CCD", tostring(lows[1].used))
    assert.equal("10 CCD", tostring(lows[1].limit))
    assert.is_true(errors.is(helper.error_of(spend.next_low), "invalid")) -- one reader for the process
  end)
end)

describe("the report", function()
  it("groups what was paid, and shows held, unknown and spent apart", function()
    local b = budget.new { name = "reported", total = "100 XTS", day = "10 XTS" }
    pay("2 XTS", b, "1.5 XTS", { policy = "p1", tags = '["t1","t2"]', job = "j3" })
    local held <close> = sent { price = "3 XTS", budgets = { b }, policy = "p1" }
    sent({ price = "4 XTS", budgets = { b } }):close()

    local by = {}
    for _, view in ipairs(report.VIEWS) do
      by[view] = {}
      for _, group in ipairs(report.collect({ by = view }).groups) do
        if group.currency == "XTS" then by[view][group.group or ""] = group end
      end
    end

    assert.same({ "1.5 XTS", "3 XTS", "4 XTS" }, { by.total[""].spent, by.total[""].held, by.total[""].unknown })
    assert.equal("1.5 XTS", by.policy.p1.spent)
    assert.equal("4 XTS", by.policy[""].unknown)
    assert.equal("1.5 XTS", by.tag.t1.spent)
    assert.equal("1.5 XTS", by.tag.t2.spent)
    assert.equal("1.5 XTS", by.job.j3.spent)
    assert.equal("1.5 XTS", by.service.deai.spent)
    assert.equal("1.5 XTS", by.operation.start_inference.spent)
    assert.equal("1.5 XTS", by.day[os.date "!%Y-%m-%d"].spent)
    held:answered "none"
  end)

  it("shows budgets that only the journal knows, with window, zone and the share used", function()
    pay("4 CCD", budget.new { name = "seen", day = "5 CCD", tz = "Asia/Shanghai" })

    local data = report.collect()

    local seen
    for _, one in ipairs(data.budgets) do seen = one.name == "seen" and one or seen end
    assert.equal("Asia/Shanghai", seen.zone)
    local day
    for _, line in ipairs(seen.lines) do day = line.window == "day" and line or day end
    assert.same({ "Asia/Shanghai", "5 CCD", "1 CCD", 0.8 }, { day.zone, day.limit, day.left, day.used })
    assert.truthy(report.render(data):find("seen +day, Asia/Shanghai +CCD +5 +80 %% +1 "), report.render(data))
  end)

  it("refuses what it does not know", function()
    assert.is_true(errors.is(helper.error_of(report.collect, { by = "colour" }), "invalid"))
    assert.equal("usage", helper.error_of(report.moment, "since", "yesterday").code)
    assert.equal(1775001600000, report.moment("since", "2026-04-01"))
  end)
end)

-- ---- windows: on a virtual clock, in a process of their own ----------------------------------------------------

local function at(start, code)
  local result = proc.run {
    args = { os.getenv "PERIGEE", "run", "-e", [[
      local budget, spend, task = require "perigee.budget", require "perigee.core.spend", require "perigee.task"
      local function pay(b)
        local permit <close> = spend.request { operation = "start_inference", service = "deai", price = "1 CCD", budgets = { b } }
        permit:sent()
        permit:answered("created", "1")
        permit:settle()
      end
    ]] .. code },
    env = { PERIGEE_VIRTUAL_TIME = tostring(start) }, timeout = 30,
  }
  assert.equal(0, result.status, result.stderr)
  return result.stdout
end

describe("a day", function()
  it("is that of the time zone: it begins at midnight in Shanghai, not in Greenwich", function()
    local out = at(1773158399, [[ -- 2026-03-10 15:59:59 UTC, 23:59:59 in Shanghai
      local here = budget.new { name = "here", day = "5 CCD", tz = "Asia/Shanghai" }
      local there = budget.new { name = "there", day = "5 CCD" }
      pay(here)
      pay(there)
      print(here:spent "day", there:spent "day")
      task.sleep(1)
      print(here:spent "day", there:spent "day", here:spent())
    ]])

    assert.equal("1 CCD\t1 CCD\n0 CCD\t1 CCD\t1 CCD\n", out)
  end)

  it("has 25 hours when clocks are set back, and 23 when they are set forward", function()
    local code = [[
      local b = budget.new { name = "dst", day = "5 CCD", tz = "Europe/Berlin" }
      pay(b)
      for _, hours in ipairs { %s } do
        task.sleep(hours * 3600 - 1)
        local before = tostring(b:spent "day")
        task.sleep(1)
        print(before, b:spent "day")
        pay(b)
      end
    ]]

    -- midnight in Berlin of 2026-10-25 and 2026-03-29
    assert.equal("1 CCD\t0 CCD\n1 CCD\t0 CCD\n", at(1792879200, code:format "25, 24"))
    assert.equal("1 CCD\t0 CCD\n1 CCD\t0 CCD\n", at(1774738800, code:format "23, 24"))
  end)
end)
