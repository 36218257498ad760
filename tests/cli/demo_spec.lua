-- The tour of `make demo`, run as a person would, with another seed: every figure of its closing table is
-- compared with the ledger of the emulator it ran against.

local helper = require "tests.helper"
local amount = require "perigee.amount"
local fs = require "perigee.fs"
local http = require "perigee.http"
local json = require "perigee.json"
local server = require "perigee.emulator.server"
local spawn = require "tests.support.spawn"

local DEMO <const> = "scripts/demo.lua"

local function run_demo(seed)
  local emulator = server.serve { seed = seed, speed = 20 }
  local path = helper.tmpdir() .. "/summary.json"
  local result = spawn.run({ "run", "--seed", tostring(seed), "--summary", path, DEMO }, {
    timeout = 60,
    env = {
      DEAI_BASE_URL = emulator.deai_url, DEAI_EMAIL = emulator.email, DEAI_PASSWORD = emulator.password,
      SXWL_BASE_URL = emulator.sxwl_url, SXWL_TOKEN = emulator.token,
    },
  })
  local tour = { result = result, entries = emulator.ledger.entries }
  tour.ledger = json.decode(http.get(emulator.url .. "/__ledger").body)
  emulator:close()
  tour.summary = json.decode(fs.read(path))
  return tour
end

describe("the demo", function()
  local tour

  setup(function()
    tour = run_demo(5)
  end)

  local function count(kind, service)
    local n = 0
    for _, entry in ipairs(tour.entries) do
      if entry.kind == kind and entry.service == service then
        n = n + 1
      end
    end
    return n
  end

  it("ends well", function()
    assert.equal(0, tour.result.status, tour.result.stdout .. tour.result.stderr)
    assert.same({}, tour.ledger.complaints)
  end)

  it("made as many calls as the emulator answered", function()
    assert.equal(tour.ledger.calls, tour.summary.calls)
  end)

  it("denied one training: priced, and never created", function()
    assert.equal(1, tour.summary.denied)
    assert.equal(1, tour.ledger.deai.jobs)
    assert.equal(2, tour.ledger.operations["deai.estimate"].executed)
  end)

  it("retried the GPU job that the fault let fail", function()
    local statuses = {}
    for i, job in ipairs(tour.ledger.sxwl.jobs) do
      statuses[i] = job.status
    end
    assert.same({ "fail", "success" }, statuses)
    assert.equal(1, tour.ledger.faults[1].fired)
    assert.equal(1, tour.summary.retries)
  end)

  it("spent in CCD what its training was priced and its inferences were charged", function()
    local spent = amount.ccd "0"
    for _, entry in ipairs(tour.entries) do
      if entry.kind == "job" and entry.service == "deai" then
        spent = spent + amount.base(entry.estimate, "CCD")
      elseif entry.kind == "inference" then
        spent = spent + amount.ccd(entry.ccd_cost)
      end
    end
    assert.equal(24, count("inference", "deai"))
    assert.equal(tostring(spent), tour.summary.spent.CCD .. " CCD")
  end)

  it("spent in CNY the started GPU minutes of both jobs", function()
    local minutes = tour.ledger.sxwl.gpu_minutes
    local cost = amount.cny "0"
    for _, job in ipairs(tour.ledger.sxwl.jobs) do
      cost = cost + amount.cny "7" * job.gpu_minutes / 60
    end
    assert.equal(2, minutes)
    assert.equal(tostring(cost), tour.summary.spent.CNY .. " CNY")
  end)

  it("names the call whose reply the emulator held back as the slowest", function()
    local slowest = { delay = 0 }
    for _, entry in ipairs(tour.entries) do
      if entry.kind == "call" and (entry.delay or 0) > slowest.delay then
        slowest = entry
      end
    end
    assert.equal(slowest.service .. "." .. slowest.operation, tour.summary.slowest.operation)
    assert.is_true(tour.summary.slowest.seconds >= slowest.delay)
  end)

  it("tells of each step what the ledger knows", function()
    local story = tour.result.stdout
    for _, entry in ipairs(tour.entries) do
      if entry.kind == "upload" and entry.file_name:find "train" then
        assert.truthy(story:find(entry.path, 1, true), entry.path)
      elseif entry.kind == "job" and entry.service == "sxwl" then
        assert.truthy(story:find(entry.job_id, 1, true), entry.job_id)
      end
    end
  end)
end)

-- Processes that belong to a stage, by the state directory in their environment.
local function processes_of(state)
  local found = {}
  for _, pid in ipairs(fs.list "/proc") do
    local file = pid:find "^%d+$" and io.open(("/proc/%s/environ"):format(pid))
    local text = file and file:read "a" or ""
    if file then file:close() end
    if text:find("PERIGEE_STATE=" .. state, 1, true) then found[#found + 1] = pid end
  end
  return found
end

describe("the demo's daemon", function()
  local DAEMON_DEMO <const> = "scripts/demo_daemon.lua"

  it("is killed and goes on: every job ends, none is created twice, the budgets add up, nothing is left #long", function()
    local result = spawn.run({ "run", DAEMON_DEMO }, { timeout = 120 })
    local story = result.stdout

    assert.equal(0, result.status, story .. result.stderr)
    local state = story:match "The journal is in (%S+),"
    local first = story:match "process (%d+) is gone, by signal 9"
    local second = story:match "process (%d+) goes on from the journal"
    assert.is_true(first ~= nil and second ~= nil and first ~= second, story)
    for _, line in ipairs { "digits      succeeded", "night%-1     succeeded, attempt 2", "night%-2     succeeded", "big         succeeded",
      "inferences  8 succeeded", "trainings +1 +1\n", "GPU jobs, all attempts +4 +4\n", "inferences +8 +8\n",
      "created without intent +0\n", "created twice +0\n", "each budget adds up" } do
      assert.matches(line, story)
    end
    assert.is_nil(fs.stat(state:match "^(.*)/"))
    assert.same({}, processes_of(state))
  end)

  it("leaves no process and no folder behind when it is interrupted", function()
    local demo = spawn.start({ "run", DAEMON_DEMO }, { timeout = 60 })
    assert(demo:read_until("running", 50), demo:output())
    local state = demo:output():match "The journal is in (%S+),"
    assert.is_true(#processes_of(state) >= 2)

    demo:kill "INT"

    assert.equal(130, demo:wait().status)
    assert.is_nil(fs.stat(state:match "^(.*)/"))
    assert.same({}, processes_of(state))
  end)

  it("takes its processes along when it is killed", function()
    local demo = spawn.start({ "run", DAEMON_DEMO }, { timeout = 60 })
    assert(demo:read_until("running", 50), demo:output())
    local state = demo:output():match "The journal is in (%S+),"

    demo:kill "KILL"
    demo:wait()

    helper.eventually(function() return #processes_of(state) == 0 end, 10)
    fs.remove(state:match "^(.*)/", { recursive = true })
  end)
end)
