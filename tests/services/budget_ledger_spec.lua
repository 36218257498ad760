-- budget_ledger_spec.lua - budgets and retries against what the emulated services really did.
local amount = require "perigee.amount"
local budget = require "perigee.budget"
local helper = require "tests.helper"
local local_world = require "tests.services.local_world"
local retry = require "perigee.retry"
local spend = require "perigee.core.spend"
local task = require "perigee.task"

local GPU = "NVIDIA-GeForce-RTX-3090"

local function make_client(emulator, b)
  return emulator:sxwl { budget = b, prices = { [GPU] = "7 CNY/h" }, status_rate = 10000 }
end

local function job_fields(more)
  local fields = {
    gpuNumber = 1, gpuType = GPU, imagePath = "registry/train:1", jobType = "GeneralJob",
    ckptPath = "/ckpt", ckptVol = 1000, modelPath = "/model", modelVol = 1000, stopType = 1, stopTime = 60,
  }
  for name, value in pairs(more or {}) do fields[name] = value end
  return fields
end

describe("a budget over HTTP creates", function()
  it("is not overshot by 1,000 concurrent tasks: the ledger has what it allows, and no more", function()
    local emulator <close> = local_world.open { seed = 7 }
    local b = budget.new { total = "75 CNY" }
    local client = make_client(emulator, b)

    local created, denied = 0, 0
    task.map((function()
      local list = {}
      for i = 1, 1000 do list[i] = i end
      return list
    end)(), function()
      local ok, err = pcall(client.create_job, client, job_fields())
      if ok then
        created = created + 1
      else
        assert(err.code == "over_budget", err)
        denied = denied + 1
      end
    end, { concurrency = 1000 })

    assert.equal(10, created)
    assert.equal(990, denied)
    assert.equal(10, #emulator.world.ledger:created "sxwl")
    assert.equal("70 CNY", tostring(b:held())) -- until somebody sees how the jobs end
    assert.equal("5 CNY", tostring(b:left()))
  end)

  it("keeps the money of lost replies apart, and what was refused is given back", function()
    local emulator <close> = local_world.open { seed = 7,
      faults = "sxwl.create_job:drop_after=#2, sxwl.create_job:drop_before=#4, sxwl.create_job:transient=#6" }
    local b = budget.new { total = "1000 CNY" }
    local client = make_client(emulator, b)
    local before = spend.figures().unknown

    local outcomes = {}
    for i = 1, 8 do
      local ok, err = pcall(client.create_job, client, job_fields())
      outcomes[i] = ok and "created" or err.outcome
    end

    assert.same({ "created", "unknown", "created", "unknown", "created", "none", "created", "created" }, outcomes)
    assert.equal("14 CNY", tostring(b:unknown()))
    assert.equal("35 CNY", tostring(b:held()))
    assert.equal("0 CNY", tostring(b:spent()))
    assert.equal(2, spend.figures().unknown - before)
    assert.equal(6, #emulator.world.ledger:created "sxwl")
  end)
end)

describe("retry over HTTP creates", function()
  it("submits a job that fails again, and bounds what all attempts cost", function()
    local emulator <close> = local_world.open { seed = 7, faults = "sxwl.create_job:fail", speed = 100000 }
    local client = make_client(emulator)
    local policy = retry.new { attempts = 10, base = 0, on = { "job_failed" }, max_cost = "7.2 CNY" }

    local err = helper.error_of(policy.run, policy, function() return client:run(job_fields()) end)

    local jobs = emulator.world.ledger:created "sxwl"
    assert.equal("max_cost", err.code)
    assert.equal(2, #jobs) -- a minute of each was paid, and 7 CNY is the worst case of a third
    assert.is_true(err.left < amount "7 CNY")
  end)

  it("never submits again what may have been submitted", function()
    local emulator <close> = local_world.open { seed = 7, faults = "sxwl.create_job:drop_after=1" }
    local client = make_client(emulator)
    local policy = retry.new { attempts = 10, base = 0, on = function() return true end, max_cost = "100 CNY" }

    local err = helper.error_of(policy.run, policy, function() return client:create_job(job_fields()) end)

    assert.equal("unknown", err.outcome)
    assert.equal(1, emulator.world.ledger:calls("sxwl", "create_job"))
    assert.equal(1, #emulator.world.ledger:created "sxwl")
  end)
end)
