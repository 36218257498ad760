-- spend_journal_spec.lua - money over several processes of one state directory, and `perigee spend`.
local emulator_server = require "perigee.emulator.server"
local fs = require "perigee.fs"
local helper = require "tests.helper"
local json = require "perigee.json"
local proc = require "perigee.proc"
local task = require "perigee.task"

local PREAMBLE = [[
local budget, spend, task = require "perigee.budget", require "perigee.core.spend", require "perigee.task"
local sxwl = require "perigee.sxwl"
local client = sxwl.client { prices = { ["NVIDIA-GeForce-RTX-3090"] = "7 CNY/h" } }
local function create(b)
  return client:create_job {
    gpuNumber = 1, gpuType = "NVIDIA-GeForce-RTX-3090", imagePath = "registry/train:1", jobType = "GeneralJob",
    ckptPath = "/ckpt", ckptVol = 1000, modelPath = "/model", modelVol = 1000, stopType = 1, stopTime = 60, budget = b,
  }
end
]]

-- A state directory, and an emulator for the runs in it.
local function world(options)
  options = options or {}
  options.seed = 1
  local emulator = emulator_server.serve(options)
  local here = { state = helper.tmpdir() .. "/state", emulator = emulator }

  local function start(args, env)
    local all = {
      PERIGEE_STATE = here.state, DEAI_BASE_URL = emulator.deai_url, DEAI_EMAIL = emulator.email,
      DEAI_PASSWORD = emulator.password, SXWL_BASE_URL = emulator.sxwl_url, SXWL_TOKEN = emulator.token, PERIGEE_CONFIG = here.config,
    }
    for name, value in pairs(env or {}) do all[name] = value end
    return proc.run { args = { os.getenv "PERIGEE", table.unpack(args) }, timeout = 50, env = all }
  end

  function here.run(code, env)
    return start({ "run", "-e", PREAMBLE .. code }, env)
  end
  function here.command(...)
    return start { ... }
  end
  function here.spend(...)
    local result = start { "spend", "--json", ... }
    assert.equal(0, result.status, result.stderr)
    return json.decode(result.stdout)
  end
  function here.created()
    return #emulator.ledger:created "sxwl"
  end
  return here
end

local function open(options)
  local here = world(options)
  finally(function() here.emulator:close() end)
  return here
end

local function budget_line(data, name, window)
  for _, b in ipairs(data.budgets) do
    for _, line in ipairs(b.name == name and b.lines or {}) do
      if line.window == window then return line end
    end
  end
  error("no such line: " .. name .. " " .. window)
end

-- Killed while the reply of its create is on the way; prints its intent first.
local KILLED = [[
task.spawn(create, budget.new { name = "team", total = "30 CNY" })
while spend.figures().sent == 0 do task.sleep(0.005) end
task.sleep(0.05)
require("perigee.proc").run { args = { "sh", "-c", "kill -KILL $PPID" } }
]]

describe("a process killed in the middle of a paid call", function()
  it("leaves it unknown and held: the next one shows it, counts it, and can settle it", function()
    local here = open { faults = "sxwl.create_job:delay(60s)=#1" }
    assert.equal(9, here.run(KILLED).signal)

    local after = here.run [[
      local b = budget.new { name = "team", total = "30 CNY" }
      print(b:unknown(), b:held(), b:spent(), b:left())
      print(pcall(create, budget.new { name = "team", total = "13 CNY" }))
    ]]
    assert.equal(0, after.status, after.stderr)
    assert.equal("7 CNY\t0 CNY\t0 CNY\t23 CNY", after.stdout:match "^[^\n]+")
    assert.truthy(after.stdout:find("6 CNY is left", 1, true), after.stdout)

    local data = here.spend()
    assert.same({ "7 CNY", "0 CNY", "0 CNY" }, { data.totals[1].unknown, data.totals[1].held, data.totals[1].spent })
    assert.equal("7 CNY", budget_line(data, "team", "total").unknown)

    local taken = here.run [[
      local row = require("perigee.core.journal").call("permit.list", { state = "unknown" })[1]
      local permit <close> = spend.take(row.intent)
      print(permit:state(), permit:price())
      permit:settle("3 CNY", true)
    ]]
    assert.equal("unknown\t7 CNY\n", taken.stdout, taken.stderr)
    data = here.spend()
    assert.same({ "0 CNY", "3 CNY", "3 CNY" }, { data.totals[1].unknown, data.totals[1].spent, data.totals[1].derived })
  end)

  it("and never taken up again is presumed spent when --unknown-after says so", function()
    local here = open { faults = "sxwl.create_job:delay(60s)=#1" }
    assert.equal(9, here.run(KILLED).signal)
    local figures = 'local b = budget.new { name = "team", total = "30 CNY" } print(b:unknown(), b:spent())'
    here.run(figures) -- buries it, some 90 s before what follows
    local later = tostring(os.time() + 90)

    local soon = here.run(figures, { PERIGEE_VIRTUAL_TIME = later, PERIGEE_UNKNOWN_AFTER = "1h" })
    assert.equal("7 CNY\t0 CNY\n", soon.stdout, soon.stderr)
    local late = here.run(figures, { PERIGEE_VIRTUAL_TIME = later, PERIGEE_UNKNOWN_AFTER = "1m" })
    assert.equal("0 CNY\t7 CNY\n", late.stdout, late.stderr)
    assert.equal(3, here.run(figures, { PERIGEE_UNKNOWN_AFTER = "5s" }).status)
    assert.equal(2, here.command("run", "--unknown-after", "5s", "-e", figures).status)
  end)

  it("and never taken up again is presumed spent after a day", function()
    local here = open { faults = "sxwl.create_job:delay(60s)=#1" }
    assert.equal(9, here.run(KILLED).signal)
    here.run "print(budget.new { name = \"team\", total = \"30 CNY\" }:unknown())" -- buries it

    local rows = here.run [[
      local journal = require "perigee.core.journal"
      journal.call("permit.presume", { before = os.time() * 1000 + 60000 })
      local b = budget.new { name = "team", total = "30 CNY" }
      print(b:unknown(), b:spent())
    ]]

    assert.equal("0 CNY\t7 CNY\n", rows.stdout, rows.stderr)
    local data = here.spend()
    assert.equal("7 CNY", data.totals[1].presumed)
  end)
end)

describe("an input of a fan-out whose start got no reply", function()
  it("is settled in the journal by the run that finds it", function()
    local here = open { faults = "deai.start_inference:drop_after=#1", speed = 1000000 }
    local dir = helper.tmpdir()
    for _, name in ipairs { "x", "1", "2" } do fs.write(dir .. "/" .. name .. ".csv", "input " .. name) end
    local code = [[
      local deai, dir, fs = require "perigee.deai", "]] .. dir .. [[", require "perigee.fs"
      local team = budget.new { name = "team", total = "100 CCD" }
      local client = deai.client { status_rate = 10000, draft_rest = 0.1, budget = team }
      if not fs.exists(dir .. "/job") then
        local job = client:train {
          model = "CNN", jobName = "digits", epoch = 1, train_shard = 0.8, scale_ratio = 255, category = 10, channel = 1,
          x_train = deai.file(dir .. "/x.csv"), y_train = deai.file(dir .. "/x.csv"), wait = true, max_cost = "50 CCD",
        }
        fs.write(dir .. "/job", job.jobID)
      end
      local report = client:fan_out {
        jobID = fs.read(dir .. "/job"), files = { dir .. "/1.csv" }, results = dir .. "/results.jsonl", concurrency = 1,
        on_item = function(item)
          if item.state == "unknown" then require("perigee.proc").run { args = { "sh", "-c", "kill -KILL $PPID" } } end
        end,
      }
      print(report.done, report.unknown, report.items[1].cost)
    ]]

    local first = here.run(code)
    local before = here.spend("--by", "operation")
    local second = here.run(code)
    local after = here.spend("--by", "operation")

    local function inferences(data)
      for _, group in ipairs(data.groups) do
        if group.group == "start_inference" then return group end
      end
    end
    assert.equal(9, first.signal, first.stderr)
    assert.not_equal("0 CCD", inferences(before).unknown)
    assert.equal("1\t0", second.stdout:match "^%d\t%d", second.stdout .. second.stderr)
    assert.equal("0 CCD", inferences(after).unknown)
    assert.equal(second.stdout:match "\t(%S+ CCD)\n$", inferences(after).spent)
    assert.equal("0 CCD", inferences(after).derived)
  end)
end)

describe("two processes on one budget", function()
  it("never overshoot it, however they interleave", function()
    local here = open()
    local code = [[
      local b = budget.new { name = "team", day = "100 CNY", tz = "Asia/Shanghai", warn = 0 }
      local created = 0
      for _ = 1, 20 do
        local ok, err = pcall(create, b)
        if ok then created = created + 1 else assert(err.code == "over_budget", err) end
      end
      print(created)
    ]]

    local one, two = task.spawn(here.run, code), task.spawn(here.run, code)
    local first, second = one:wait(), two:wait()

    assert.equal(0, first.status, first.stderr)
    assert.equal(0, second.status, second.stderr)
    assert.equal(14, tonumber(first.stdout) + tonumber(second.stdout))
    assert.equal(14, here.created())
    local line = budget_line(here.spend(), "team", "day")
    assert.equal("2 CNY", line.left)
    assert.equal("Asia/Shanghai", line.zone)
  end)

  it("and eight with 125 reservations each neither, to the last one", function()
    local here = open()
    local code = [[
      local b = budget.new { name = "crowd", total = "700 CCD", warn = 0 }
      local list = {}
      for i = 1, 125 do list[i] = i end
      task.map(list, function()
        local ok, permit = pcall(spend.request, { service = "deai", operation = "x", price = "1 CCD", budgets = { b } })
        if not ok then return assert(permit.code == "over_budget", permit) end
        permit:sent()
        permit:answered("created", "1")
        permit:settle()
      end, { concurrency = 8 })
    ]]

    local runs = {}
    for i = 1, 8 do runs[i] = task.spawn(here.run, code) end
    for _, run in ipairs(runs) do
      local result = run:wait()
      assert.equal(0, result.status, result.stderr)
    end

    local line = budget_line(here.spend(), "crowd", "total")
    assert.same({ "700 CCD", "0 CCD", "0 CCD" }, { line.spent, line.held, line.left })
  end)

  it("hear of a low once", function()
    local here = open()
    -- figures are read after what was asked before them: the second time whether this process tells it is known
    local code = [[
      local b = budget.new { name = "team", total = "15 CNY", warn = 0.4 }
      create(b)
      b:left()
      b:left()
    ]]

    local first, second = here.run(code, { PERIGEE_LOG_LEVEL = "warn" }), here.run(code, { PERIGEE_LOG_LEVEL = "warn" })

    assert.truthy(first.stderr:find("budget.low", 1, true), first.stderr)
    assert.falsy(second.stderr:find("budget.low", 1, true), second.stderr)
  end)
end)

describe("a journal that cannot be written", function()
  local function blocked()
    local here = open()
    fs.write(here.state, "a file where the directory should be")
    return here
  end

  it("denies calls that a limit governs, naming the file: exit code 4, nothing is sent", function()
    local here = blocked()

    for _, limit in ipairs { "budget.new { total = \"100 CNY\" }", "budget.new { name = \"team\", total = \"100 CNY\" }" } do
      local result = here.run("create(" .. limit .. ")")

      assert.equal(4, result.status, result.stderr)
      assert.truthy(result.stderr:find("the journal cannot record it", 1, true), result.stderr)
      assert.truthy(result.stderr:find(here.state, 1, true), result.stderr)
    end
    assert.equal(0, here.created())
  end)

  it("lets others go, with one warning", function()
    local here = blocked()

    local result = here.run("create() create()", { PERIGEE_LOG_LEVEL = "warn" })

    assert.equal(0, result.status, result.stderr)
    local _, warnings = result.stderr:gsub("spend%.unrecorded", "")
    assert.equal(1, warnings, result.stderr)
    assert.equal(2, here.created())
  end)
end)

describe("the budgets of the configuration", function()
  local function configured(text)
    local here = open()
    here.config = helper.tmpdir() .. "/config.lua"
    fs.write(here.config, text, { mode = "600" })
    return here
  end

  it("bound every paid call, across runs, and are no run's own", function()
    local here = configured [[return { budgets = { { name = "all", day = "15 CNY", tz = "Asia/Shanghai" } } }]]
    assert.equal(0, here.run("create() create()").status)

    local third = here.run "create()"

    assert.equal(4, third.status)
    assert.truthy(third.stderr:find('(day, Asia/Shanghai) of budget "all" is 15 CNY, and 1 CNY is left', 1, true), third.stderr)
    assert.equal(2, here.created())
  end)

  it("for all calls can ask for a look at the balance", function()
    local here = configured [[return { budgets = { { name = "all", total = "1000 CCD", check_balance = true } } }]]

    local result = here.run [[
      local balance, amount = require "perigee.balance", require "perigee.amount"
      local client = require("perigee.deai").client {}
      print(pcall(balance.check, client, "create_job", amount "501 CCD", {}))
      print(pcall(balance.check, client, "create_job", amount "499 CCD", {}))
    ]]

    assert.truthy(result.stdout:find("funds: the account has 500 CCD left"), result.stdout .. result.stderr)
    assert.truthy(result.stdout:find("\ntrue\n$"), result.stdout)
  end)

  it("of a policy or a tag are given to its calls alone", function()
    local here = configured [[return { budgets = {
      { name = "p", policy = "nightly", total = "1 CNY" }, { name = "t", tag = "big", total = "1 CNY" } } }]]

    local result = here.run [[
      local budgets = require "perigee.budgets"
      local function names(call)
        local list = {}
        for i, b in ipairs(budgets.for_call(call)) do list[i] = b:name() end
        print(table.concat(list, " "))
      end
      names { policy = "nightly" }
      names { policy = "other", tags = { "small", "big" } }
      names {}
      create()
    ]]

    assert.equal("p\nt\n\n", result.stdout, result.stderr)
    assert.equal(0, result.status, result.stderr)
  end)

  it("are refused with their file and field if they make no sense", function()
    local wrong = {
      ['{ nam = "x", day = "5 CNY" }'] = "budgets%[1%]%.nam, did you mean budgets%[1%]%.name",
      ['{ day = "5 CNY" }'] = "budgets%[1%] has no name",
      ['{ name = "x", day = 5 }'] = 'budget x: .*"5 CCD"',
      ['{ name = "x" }'] = "budget x: .*at least one limit",
      ['{ name = "x", day = "5 CNY", tz = "Asia/Shangai" }'] = "Asia/Shanghai",
      ['{ name = "x", day = "5 CNY", tag = "a", policy = "b" }'] = "not both",
      ['{ name = "x", day = "5 CNY" }, { name = "x", day = "6 CNY" }'] = "two budgets are named x",
      ['5'] = "must be a table",
    }
    local here = configured "return {}"
    for entry, complaint in pairs(wrong) do
      fs.write(here.config, "return { budgets = { " .. entry .. " } }", { mode = "600" })

      local result = here.run "print(1)"

      assert.equal(3, result.status, result.stderr)
      assert.truthy(result.stderr:find(complaint), result.stderr)
      assert.truthy(result.stderr:find(here.config, 1, true), result.stderr)
    end
  end)
end)

describe("what a run says of estimates that are off", function()
  local function settle(charge)
    return ([[
      local permit = spend.request {
        service = "deai", operation = "start_inference", price = "1 CCD", max_cost = "1 CCD", model = "inference",
      }
      permit:sent()
      permit:answered("created", "1")
      permit:settle "%s"
      client:gpu_types()
    ]]):format(charge)
  end

  it("stands in its summary, over all runs; what is near enough is not spoken of", function()
    local here = open()
    local file = helper.tmpdir() .. "/summary.json"

    local near, off = here.run(settle "1.02 CCD"), here.run(settle "1.4 CCD", { PERIGEE_SUMMARY = file })

    assert.falsy(near.stderr:find("estimated", 1, true), near.stderr)
    local line = "  deai inference: charged 121.0 % of what was estimated (2 calls, 2.42 CCD of 2 CCD)\n"
    assert.truthy(off.stderr:find(line, 1, true), off.stderr)
    assert.same({ 1.21, 2 }, { json.decode(fs.read(file)).estimates[1].ratio, json.decode(fs.read(file)).estimates[1].count })
    assert.equal(1.21, here.spend().ratios[1].ratio)
  end)
end)

describe("perigee spend", function()
  it("says so if there is no journal yet, and makes none", function()
    local here = open()

    local text, data = here.command "spend", here.spend()

    assert.equal(0, text.status)
    assert.equal("", text.stdout)
    assert.truthy(text.stderr:find("there is no journal in " .. here.state, 1, true), text.stderr)
    assert.is_false(data.journal)
    assert.equal(1, data.schema_version)
    assert.is_false(fs.exists(here.state))
  end)

  it("shows the money in columns that line up, and each limit with its window and zone", function()
    local here = open { faults = "sxwl.create_job:drop_after=#2" }
    here.run [[
      local b = budget.new { name = "北京", day = "20 CNY", tz = "Asia/Shanghai", warn = 0 }
      create(b)
      pcall(create, b)
    ]]

    local result = here.command("spend", "--by", "operation")

    assert.equal(0, result.status, result.stderr)
    assert.truthy(result.stdout:find "create_job +CNY", result.stdout)
    assert.truthy(result.stdout:find "北京 +day, Asia/Shanghai +CNY +20 +70 %% +6 ", result.stdout)
    local data = here.spend("--by", "operation")
    assert.equal("create_job", data.groups[1].group)
    assert.equal("7 CNY", data.groups[1].unknown)
  end)

  it("takes a span of time, and refuses words it does not know", function()
    local here = open()
    here.run "create()"

    assert.equal(1, #here.spend("--since", "1d").totals)
    assert.equal(0, #here.spend("--until", "2026-01-01").totals)
    assert.equal(2, here.command("spend", "--since", "yesterday").status)
    assert.equal(2, here.command("spend", "--by", "colour").status)
  end)
end)
