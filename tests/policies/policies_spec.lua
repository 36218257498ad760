-- policies_spec.lua - the ready policies: what they return, what their hooks decide, and their run by hand.
local deai = require "perigee.deai"
local emulator_server = require "perigee.emulator.server"
local fs = require "perigee.fs"
local helper = require "tests.helper"
local proc = require "perigee.proc"

local FOLDER = "scripts/policies/"

local function load_policy(name)
  return assert(loadfile(FOLDER .. name .. ".lua"))()
end

local function run_policy(emulator, name, ...)
  return proc.run {
    args = { os.getenv "PERIGEE", "run", FOLDER .. name .. ".lua", "--", ... },
    timeout = 50,
    env = {
      DEAI_BASE_URL = emulator.deai_url, DEAI_EMAIL = emulator.email, DEAI_PASSWORD = emulator.password,
      SXWL_BASE_URL = emulator.sxwl_url, SXWL_TOKEN = emulator.token,
    },
  }
end

local function with_emulator(options)
  local emulator = emulator_server.serve(options)
  finally(function() emulator:close() end)
  return emulator
end

describe("every ready policy", function()
  for _, name in ipairs { "retry_failed_jobs", "cost_gate", "fan_out_inference" } do
    it("returns its table, and does nothing else: " .. name, function()
      local policy = load_policy(name)

      assert.equal(name, policy.name)
      assert.equal("function", type(policy.applies))
      assert.equal("function", type(policy.run))
      assert.equal("table", type(policy.budget))
      assert.is_truthy(next(policy.on))
    end)
  end

  it("names what is missing when it is run without arguments", function()
    local emulator = with_emulator { seed = 1 }
    for _, name in ipairs { "retry_failed_jobs", "cost_gate", "fan_out_inference" } do
      local result = run_policy(emulator, name)

      assert.is_true(result.status ~= 0)
      assert.truthy(result.stderr:find("usage: " .. name, 1, true), result.stderr)
    end
  end)
end)

describe("retry_failed_jobs", function()
  it("decides to retry until the attempts are used up, and never an unknown job", function()
    local policy = load_policy "retry_failed_jobs"

    assert.equal("retry", policy.on["job.failed"]({ attempt = 1 }).decision)
    assert.equal("give_up", policy.on["job.failed"]({ attempt = 3 }).decision)
    assert.equal("hold", policy.on["job.unknown"]({}).decision)
    assert.is_true(policy.applies { service = "sxwl" })
    assert.is_false(policy.applies { service = "deai" })
  end)

  it("submits a failing job again until it runs", function()
    local emulator = with_emulator { seed = 1, speed = 100000, faults = "sxwl.create_job:fail=1" }
    local dir = helper.tmpdir()
    fs.write(dir .. "/job.lua", [[
      return {
        prices = { ["NVIDIA-GeForce-RTX-3090"] = "7 CNY/h" },
        gpuNumber = 1, gpuType = "NVIDIA-GeForce-RTX-3090", imagePath = "registry/train:1",
        jobType = "GeneralJob", ckptPath = "/ckpt", ckptVol = 1000, modelPath = "/model", modelVol = 1000,
        stopType = 1, stopTime = 60,
      }]])
    -- the wait between attempts is the policy's own; this copy only shortens it
    local text = fs.read(FOLDER .. "retry_failed_jobs.lua"):gsub('base = "10s"', 'base = "10ms"')
    fs.write(dir .. "/policy.lua", text)

    local result = proc.run {
      args = { os.getenv "PERIGEE", "run", dir .. "/policy.lua", "--", dir .. "/job.lua", "max_cost=30 CNY" },
      timeout = 50, env = { SXWL_BASE_URL = emulator.sxwl_url, SXWL_TOKEN = emulator.token },
    }

    assert.equal(0, result.status, result.stderr)
    assert.truthy(result.stdout:find("attempt 2", 1, true), result.stdout)
    assert.equal(2, #emulator.ledger:created "sxwl")
  end)
end)

describe("cost_gate", function()
  it("denies what is too dear, has no price, or is in a currency without a limit", function()
    local submit = load_policy "cost_gate".on["job.submit"]

    assert.equal("allow", submit({ price = "1 CCD" }).decision)
    assert.equal("deny", submit({ price = "1.000000000000000001 CCD" }).decision)
    assert.equal("deny", submit({}).decision)
    assert.equal("deny", submit({ price = "1 USD" }).decision)
  end)

  it("trains what is within the limit, and nothing above it: exit code 4", function()
    local emulator = with_emulator { seed = 1, speed = 100000 }
    local dir = helper.tmpdir()
    fs.write(dir .. "/x.csv", "1,2,3\n")
    fs.write(dir .. "/y.csv", "1\n")
    local function gate(max_cost)
      return run_policy(emulator, "cost_gate", "max_cost=" .. max_cost, "jobName=digits", "model=CNN",
        "x_train=" .. dir .. "/x.csv", "y_train=" .. dir .. "/y.csv", "train_shard=0.8", "epoch=1", "category=10")
    end

    local denied = gate "0.000001 CCD"
    assert.equal(4, denied.status, denied.stderr)
    assert.equal(0, #emulator.ledger:created "deai")

    local allowed = gate "1 CCD"
    assert.equal(0, allowed.status, allowed.stderr)
    assert.equal(1, #emulator.ledger:created "deai")
  end)
end)

describe("fan_out_inference", function()
  it("does what the budget allows, ends with exit code 6, and goes on in the next run", function()
    local emulator = with_emulator { seed = 1, speed = 1000000 }
    local client = deai.client {
      base_url = emulator.deai_url, email = emulator.email, password = emulator.password, status_rate = 10000,
    }
    local dir = helper.tmpdir()
    local words = {}
    for i = 1, 6 do
      words[i] = ("%s/%d.csv"):format(dir, i)
      fs.write(words[i], "input " .. i)
    end
    local jobID = client:train({
      model = "CNN", jobName = "digits", epoch = 1, train_shard = 0.8, scale_ratio = 255, category = 10,
      channel = 1, x_train = deai.file(words[1]), y_train = deai.file(words[2]), wait = true,
    }).jobID
    local price = client:estimate_inference { jobID = jobID, data_path = deai.file(words[1]) }
    local function fan_out(budget_text)
      return run_policy(emulator, "fan_out_inference", "jobID=" .. jobID, "results=" .. dir .. "/results.jsonl",
        "budget=" .. budget_text, "concurrency=2", table.unpack(words))
    end

    local first = fan_out(tostring(price * 3))
    local ran = #emulator.ledger:inferences()
    local second = fan_out "5 CCD"

    assert.equal(6, first.status, first.stderr)
    assert.is_true(ran >= 1 and ran < 6)
    assert.equal(0, second.status, second.stderr)
    assert.truthy(second.stdout:find("6 done of 6 inputs", 1, true), second.stdout)
    assert.equal(6, #emulator.ledger:inferences())
  end)
end)
