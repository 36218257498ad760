-- virtual_spec.lua - an hour of a whole daemon on virtual time, under every fault: all jobs end, nothing is lost, and
-- memory stays where it was.  `make soak` runs a day of the same (tests/soak/run).
local fs = require "perigee.fs"
local helper = require "tests.helper"
local json = require "perigee.json"
local spawn = require "tests.support.spawn"

local MEGABYTE <const> = 1 << 20
local WARM <const> = 2 -- measures, of ten minutes each, until everything has been used once

local function soak(hours, seed)
  local folder = helper.tmpdir()
  fs.write(folder .. "/config.lua", 'return { notify = { command = { "/bin/true" }, on = { ["job.failed"] = true } } }', { mode = "0600" })
  local result = spawn.run({ "run", "--state", folder .. "/state", "--seed", tostring(seed), "--log-level", "error",
    "tests/soak/virtual.lua", tostring(hours), tostring(seed) }, {
    env = { PERIGEE_VIRTUAL_TIME = "1700000000", PERIGEE_CONFIG = folder .. "/config.lua", PERIGEE = spawn.program }, timeout = 400,
  })
  local ok, report = pcall(json.decode, result.stdout)
  assert(ok, ("no report: %s %s %s"):format(result.status, result.signal, result.stderr:sub(-2000)))
  return report
end

local function growth(report, what)
  local first, most = nil, -math.huge
  for i, row in ipairs(report.hours) do
    if i == WARM then first = row[what] end
    if i > WARM then most = math.max(most, row[what] - first) end
  end
  return most
end

describe("an hour of a daemon on virtual time", function()
  it("brings each job to its end, loses no money and no memory #long", function()
    local report = soak(1, 7)

    assert.same({}, report.problems)
    assert.equal(0, report.active)
    assert.equal(0, report.code)
    assert.is_true((report.states["cloud succeeded"] or 0) > 60, json.encode(report.states))
    assert.is_true(growth(report, "supervisor") < MEGABYTE // 4, json.encode(report.hours))
    assert.is_true(growth(report, "process") < MEGABYTE, json.encode(report.hours))
    assert.is_true(growth(report, "tasks") <= 2, json.encode(report.hours))
  end)
end)
