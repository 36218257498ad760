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
