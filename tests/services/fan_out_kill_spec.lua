-- fan_out_kill_spec.lua - a process that is killed in the middle of a fan-out, and the run after it.
local deai = require "perigee.deai"
local emulator_server = require "perigee.emulator.server"
local fs = require "perigee.fs"
local helper = require "tests.helper"
local json = require "perigee.json"
local proc = require "perigee.proc"

local INPUTS, KILLED_AT = 500, 250

local SCRIPT = [[
local dir, jobID, kill_at = arg[1], arg[2], tonumber(arg[3])
local fs, json = require "perigee.fs", require "perigee.json"
local files = {}
for i, name in ipairs(fs.list(dir .. "/in")) do files[i] = dir .. "/in/" .. name end
local report = require("perigee.deai").client { status_rate = 10000, draft_rest = 1 }:fan_out {
  jobID = jobID, files = files, results = dir .. "/results.jsonl", concurrency = 16,
  on_item = function(_, counts)
    if counts.ended == kill_at then
      require("perigee.proc").run { args = { "sh", "-c", "kill -KILL $PPID" } }
    end
  end,
}
local unknown = {}
for _, item in ipairs(report.items) do
  if item.state == "unknown" then unknown[#unknown + 1] = item.sha256 end
end
print(json.encode { done = report.done, total = report.total, unknown = report.unknown, started = #unknown })
]]

local function trained_job(emulator, dir)
  local client = deai.client {
    base_url = emulator.deai_url, email = emulator.email, password = emulator.password, status_rate = 10000,
  }
  fs.write(dir .. "/x.csv", "1,2,3\n")
  return client:train({
    model = "CNN", jobName = "digits", epoch = 1, train_shard = 0.8, scale_ratio = 255, category = 10, channel = 1,
    x_train = deai.file(dir .. "/x.csv"), y_train = deai.file(dir .. "/x.csv"), wait = true,
  }).jobID
end

describe("fan_out killed by SIGKILL", function()
  it("at item 250 of 500 and run again: no input twice, and each is in the ledger or listed as unknown", function()
    local emulator = emulator_server.serve { seed = 5, speed = 1000000 }
    finally(function() emulator:close() end)
    local dir = helper.tmpdir()
    fs.mkdir(dir .. "/in")
    for i = 1, INPUTS do fs.write(("%s/in/%03d.csv"):format(dir, i), "input " .. i) end
    fs.write(dir .. "/run.lua", SCRIPT)
    local jobID = trained_job(emulator, dir)
    local function run(kill_at)
      return proc.run {
        args = { os.getenv "PERIGEE", "run", dir .. "/run.lua", dir, jobID, tostring(kill_at) }, timeout = 50,
        env = { DEAI_BASE_URL = emulator.deai_url, DEAI_EMAIL = emulator.email, DEAI_PASSWORD = emulator.password },
      }
    end

    local first = run(KILLED_AT)
    local ran_before = #emulator.ledger:inferences()
    local second = run(-1)

    assert.equal(9, first.signal, first.stderr)
    assert.is_true(ran_before >= KILLED_AT and ran_before < INPUTS)
    local counts, ran = {}, 0
    for _, entry in ipairs(emulator.ledger:inferences()) do
      assert.is_nil(counts[entry.content_id], "an input ran twice")
      counts[entry.content_id] = true
      ran = ran + 1
    end
    assert.truthy(second.stdout:find "{", second.stderr)
    local report = json.decode(second.stdout)
    assert.equal(INPUTS, report.total)
    assert.equal(INPUTS, report.done + report.unknown)
    assert.is_true(report.unknown <= 1)
    assert.is_true(ran >= report.done and ran <= INPUTS)
    assert.equal(report.unknown == 0 and 0 or 6, second.status, second.stderr)
  end)
end)
