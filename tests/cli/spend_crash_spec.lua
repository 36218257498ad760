-- spend_crash_spec.lua - a run killed before and after each commit of a paid call: the books never say less than was paid.
local emulator_server = require "perigee.emulator.server"
local helper = require "tests.helper"
local json = require "perigee.json"
local proc = require "perigee.proc"

local SCRIPT = [[
local budget = require "perigee.budget"
local client = require("perigee.sxwl").client { prices = { ["NVIDIA-GeForce-RTX-3090"] = "7 CNY/h" } }
local team = budget.new { name = "team", total = "100 CNY" }
if arg[1] == "look" then
  print(team:spent(), team:held(), team:unknown())
else
  local job = client:create_job {
    gpuNumber = 1, gpuType = "NVIDIA-GeForce-RTX-3090", imagePath = "registry/train:1", jobType = "GeneralJob",
    ckptPath = "/ckpt", ckptVol = 1000, modelPath = "/model", modelVol = 1000, stopType = 1, stopTime = 60, budget = team,
  }
  client:stop_job(job)
end
]]

-- verb, the n-th call of it, and what the books must say after each of the two crashes: spent, held, unknown.  A call whose
-- intent is recorded may have left, so it counts as unknown until somebody knows better; created, it is settled, derived.
local NOTHING <const>, UNKNOWN <const>, DERIVED <const> = "0 CNY\t0 CNY\t0 CNY", "0 CNY\t0 CNY\t7 CNY", "7 CNY\t0 CNY\t0 CNY"
local SWEEP = {
  { "permit.reserve", before = NOTHING, after = NOTHING },
  { "permit.intent", before = NOTHING, after = UNKNOWN },
  { "permit.move:1", before = UNKNOWN, after = UNKNOWN }, -- sent
  { "permit.move:2", before = UNKNOWN, after = DERIVED }, -- created
}

describe("a run killed at a commit of the journal", function()
  for _, point in ipairs(SWEEP) do
    for _, when in ipairs { "before", "after" } do
      it(("%s %s: the next run counts what may have been paid, once"):format(when, point[1]), function()
        local emulator = emulator_server.serve { seed = 1 }
        finally(function() emulator:close() end)
        local folder = helper.tmpdir()
        require("perigee.fs").write(folder .. "/script.lua", SCRIPT)
        local function run(crash, word)
          return proc.run {
            args = { os.getenv "PERIGEE", "run", "--quiet", folder .. "/script.lua", word },
            env = {
              PERIGEE_STATE = folder .. "/state", SXWL_BASE_URL = emulator.sxwl_url, SXWL_TOKEN = emulator.token,
              PERIGEE_CRASH = crash, PERIGEE_JOURNAL_BATCH = "1",
            },
            timeout = 30,
          }
        end
        local verb, n = point[1]:match "^([%w.]+):?(%d*)$"
        local crash = verb .. ":" .. when .. (n ~= "" and ":" .. n or "")

        local killed = run(crash, "pay")
        local books = run(false, "look").stdout:gsub("\n$", "")

        assert.equal(9, killed.signal, killed.stderr)
        assert.equal(point[when], books, json.encode(killed))
        local paid = 7 * #emulator.ledger:created "sxwl"
        local counted = 0
        for amount in books:gmatch "(%d+) CNY" do counted = counted + tonumber(amount) end
        assert.is_true(counted >= paid)
        assert.is_true(#emulator.ledger:created "sxwl" <= 1)
      end)
    end
  end
end)
