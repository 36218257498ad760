-- callback_spec.lua - --listen and --public-url: where the receiver of callbacks is, and how services reach it.
local server = require "perigee.emulator.server"
local spawn = require "tests.support.spawn"

local GPU_JOB <const> = [[
  local client = require("perigee.sxwl").client { prices = { ["NVIDIA-GeForce-RTX-3090"] = "7 CNY/h" } }
  print(client:run { gpuType = "NVIDIA-GeForce-RTX-3090", gpuNumber = 1, imagePath = "i:1", ckptPath = "/c", ckptVol = 10,
    modelPath = "/m", modelVol = 10, jobType = "GeneralJob", stopType = "1", stopTime = 5, runCommand = "true",
    max_cost = "2 CNY" }.status)]]

-- Runs the job with these options against an emulator whose ledger is returned, too.
local function run(words)
  local emulator = server.serve { seed = 1, speed = 60 }
  local args = { "run", "--log-level", "debug", table.unpack(words) }
  args[#args + 1] = "-e"
  args[#args + 1] = GPU_JOB
  local result = spawn.run(args, { env = { SXWL_BASE_URL = emulator.sxwl_url, SXWL_TOKEN = emulator.token }, timeout = 60 })
  emulator:close()
  return result, emulator.ledger:list("job", "sxwl")[1], emulator.ledger:list("callback", "sxwl")
end

describe("perigee run", function()
  it("with --listen takes the callback of a job, under the address it listens on", function()
    local result, job, callbacks = run { "--listen", "127.0.0.1:0" }
    assert.are.equal("success\n", result.stdout, result.stderr)
    assert.is_truthy(job.callbackUrl:find "^http://127%.0%.0%.1:%d+/%x+$", job.callbackUrl)
    assert.are.equal(1, #callbacks)
    assert.is_truthy(result.stderr:find("callback.received", 1, true))
  end)

  it("with --public-url tells services that address, under which a proxy reaches the receiver", function()
    local result, job = run { "--listen", "127.0.0.1:0", "--public-url", "http://127.0.0.1:9/hooks/" }
    assert.are.equal("success\n", result.stdout, result.stderr)
    assert.is_truthy(job.callbackUrl:find "^http://127%.0%.0%.1:9/hooks/%x+$", job.callbackUrl)
  end)

  it("without them asks for no callback", function()
    local result, job = run {}
    assert.are.equal("success\n", result.stdout, result.stderr)
    assert.are.equal("", job.callbackUrl or "")
  end)
end)
