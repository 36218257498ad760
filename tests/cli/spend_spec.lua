-- spend_spec.lua - paid calls of a run: ungoverned ones, --require-budget and --budget.
local emulator_server = require "perigee.emulator.server"
local proc = require "perigee.proc"

local SCRIPT = [[
local sxwl = require "perigee.sxwl"
local client = sxwl.client { prices = { ["NVIDIA-GeForce-RTX-3090"] = "7 CNY/h" } }
for _ = 1, 3 do
  client:create_job {
    gpuNumber = 1, gpuType = "NVIDIA-GeForce-RTX-3090", imagePath = "registry/train:1", jobType = "GeneralJob",
    ckptPath = "/ckpt", ckptVol = 1000, modelPath = "/model", modelVol = 1000, stopType = 1, stopTime = 60,
  }
end
]]

local function run_with(...)
  local emulator = emulator_server.serve { seed = 1 }
  finally(function() emulator:close() end)
  local args = { os.getenv "PERIGEE", "run" }
  for _, word in ipairs { ... } do args[#args + 1] = word end
  args[#args + 1] = "-e"
  args[#args + 1] = SCRIPT
  local result = proc.run {
    args = args, timeout = 50, env = { SXWL_BASE_URL = emulator.sxwl_url, SXWL_TOKEN = emulator.token },
  }
  return result, #emulator.ledger:created "sxwl"
end

describe("a run whose paid calls nothing bounds", function()
  it("lets them pass with one warning", function()
    local result, created = run_with()

    local _, warnings = result.stderr:gsub("spend%.ungoverned", "")
    assert.equal(0, result.status, result.stderr)
    assert.equal(1, warnings, result.stderr)
    assert.equal(3, created)
  end)

  it("is denied with --require-budget: exit code 4, nothing is sent", function()
    local result, created = run_with "--require-budget"

    assert.equal(4, result.status, result.stderr)
    assert.truthy(result.stderr:find("budget", 1, true))
    assert.equal(0, created)
  end)
end)

describe("--budget", function()
  it("bounds the whole run: exit code 4 when a call does not fit", function()
    local result, created = run_with("--require-budget", "--budget", "15 CNY")

    assert.equal(4, result.status, result.stderr)
    assert.truthy(result.stderr:find("1 CNY is left", 1, true), result.stderr)
    assert.equal(2, created)
  end)

  it("in another currency denies too", function()
    local result, created = run_with("--budget", "100 CCD")

    assert.equal(4, result.status, result.stderr)
    assert.equal(0, created)
  end)
end)
