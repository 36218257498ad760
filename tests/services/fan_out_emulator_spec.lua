-- fan_out_emulator_spec.lua - fan_out with the real client, against what the emulated service really ran.
local amount = require "perigee.amount"
local budget = require "perigee.budget"
local deai = require "perigee.deai"
local fs = require "perigee.fs"
local helper = require "tests.helper"
local local_world = require "tests.services.local_world"

local function make_client(emulator)
  return emulator:deai { status_rate = 10000 }
end

local function trained_job(client)
  local dir = helper.tmpdir()
  fs.write(dir .. "/x.csv", "1,2,3\n")
  fs.write(dir .. "/y.csv", "1\n")
  return client:train({
    model = "CNN", jobName = "digits", epoch = 1, train_shard = 0.8, scale_ratio = 255, category = 10, channel = 1,
    x_train = deai.file(dir .. "/x.csv"), y_train = deai.file(dir .. "/y.csv"), wait = true,
  }).jobID
end

local function make_files(count)
  local dir = helper.tmpdir()
  local files = {}
  for i = 1, count do
    files[i] = ("%s/%03d.csv"):format(dir, i)
    fs.write(files[i], "input " .. i)
  end
  return files, dir .. "/results.jsonl"
end

-- How often each input ran, by the identity of its bytes.
local function runs_by_content(emulator)
  local counts = {}
  for _, entry in ipairs(emulator.world.ledger:inferences()) do
    counts[entry.content_id] = (counts[entry.content_id] or 0) + 1
  end
  return counts
end

local function assert_nothing_twice(emulator)
  for content, count in pairs(runs_by_content(emulator)) do assert.equal(1, count, content) end
end

describe("fan_out on the emulator", function()
  it("runs every input once, on its own data, for what the service billed", function()
    local emulator <close> = local_world.open { seed = 3, speed = 1000000 }
    local client = make_client(emulator)
    local jobID = trained_job(client)
    local files, results = make_files(40)
    local b = budget.new { total = "100 CCD" }

    local report = client:fan_out { jobID = jobID, files = files, results = results, budget = b, concurrency = 40 }

    assert.equal(40, report.done)
    assert.equal(40, #emulator.world.ledger:inferences())
    assert_nothing_twice(emulator)
    local billed = amount.zero "CCD"
    for _, entry in ipairs(emulator.world.ledger:inferences()) do billed = billed + amount.ccd(entry.ccd_cost) end
    assert.equal(tostring(billed), tostring(report.cost))
    assert.equal(tostring(billed), tostring(b:spent()))
    assert.equal("0 CCD", tostring(b:held()))
  end)

  it("stops at the budget, and a second run with more goes on", function()
    local emulator <close> = local_world.open { seed = 3, speed = 1000000 }
    local client = make_client(emulator)
    local jobID = trained_job(client)
    local files, results = make_files(12)
    local price = client:estimate_inference { jobID = jobID, data_path = deai.file(files[1]) }
    local options = { jobID = jobID, files = files, results = results, budget = budget.new { total = price * 5 } }

    local first = client:fan_out(options)
    options.budget = budget.new { total = price * 100 }
    local second = client:fan_out(options)

    assert.is_true(first.done >= 3 and first.done < 12)
    assert.equal(12 - first.done, first.not_started)
    assert.equal("over_budget", first.stopped.code)
    assert.equal(12, second.done)
    assert.equal(tostring(second.cost), tostring(options.budget:spent()))
    assert_nothing_twice(emulator)
  end)

  it("never runs an input twice though replies are lost, and lists what is in doubt", function()
    local emulator <close> = local_world.open { seed = 3, speed = 1000000,
      faults = "deai.start_inference:drop_after=10%" }
    local client = make_client(emulator)
    local jobID = trained_job(client)
    local files, results = make_files(30)
    local options = { jobID = jobID, files = files, results = results, concurrency = 30 }

    local first = client:fan_out(options)
    local second = client:fan_out(options)

    assert_nothing_twice(emulator)
    assert.equal(30, first.done + first.unknown)
    assert.equal(30, second.done + second.unknown)
    assert.is_true(second.unknown >= 1)
    local ran = 0
    for _ in pairs(runs_by_content(emulator)) do ran = ran + 1 end
    assert.is_true(ran >= second.done and ran <= second.done + second.unknown)
  end)
end)
