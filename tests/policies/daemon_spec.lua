-- daemon_spec.lua - the ready policies in a daemon, against the emulator: what they let go, hold, repeat and start.
local daemon = require "tests.support.daemon"
local deai = require "perigee.deai"
local fs = require "perigee.fs"
local helper = require "tests.helper"
local job_spec = require "perigee.job_spec"
local json = require "perigee.json"

local SPEC <const> = {
  gpuType = "NVIDIA-GeForce-RTX-3090", gpuNumber = 1, imagePath = "registry.example/digits:1.4", jobType = "GeneralJob",
  ckptPath = "/ckpt", ckptVol = 10000, modelPath = "/model", modelVol = 10000, runCommand = "python train.py",
}

local function new_world(...)
  local world = daemon.world()
  finally(function() world:close() end)
  world:emulator("--speed", "100000", ...)
  world.config = world.folder .. "/config.lua"
  fs.write(world.config, [[return { sxwl = { prices = { ["NVIDIA-GeForce-RTX-3090"] = "7 CNY/h" } } }]], { mode = "0600" })
  return world
end

-- A ready policy with some of its text changed, as a user would.
local function copy(world, name, changes)
  local text = fs.read("scripts/policies/" .. name .. ".lua")
  for from, to in pairs(changes) do
    local count
    text, count = text:gsub(from, to)
    assert.equal(1, count, from)
  end
  return world:policy(name, text)
end

local function submit(world, t)
  t.service, t.key, t.spec = "sxwl", "k", t.spec or SPEC
  return world:call("jobs.submit", job_spec.prepare(t))
end

local function state_of(world, name)
  local row = world:call("jobs.list", { name = name })[1]
  return row and row.state, row
end

local function becomes(world, name, state)
  helper.eventually(function() return state_of(world, name) == state end, 25)
  return select(2, state_of(world, name))
end

-- It was sent: it runs, or has run.
local function goes(world, name)
  helper.eventually(function()
    local state = state_of(world, name)
    return state == "running" or state == "succeeded"
  end, 25)
end

describe("cost_gate in a daemon", function()
  it("lets go what is cheap, holds what is dear until a person answers, and denies the rest", function()
    local world = new_world()
    world:start { "--config", world.config, "cost_gate" }
    submit(world, { name = "cheap", max_cost = "10 CNY" })
    submit(world, { name = "dear", max_cost = "70 CNY" })
    submit(world, { name = "too-dear", max_cost = "210 CNY" })

    local held = becomes(world, "dear", "held")
    assert.matches("without asking it may be 50 CNY", held.reason, 1, true)
    assert.equal("denied", becomes(world, "too-dear", "denied").state)
    goes(world, "cheap")
    assert.equal(0, world:run("approve", held.id).status)
    goes(world, "dear")
    local why = world:run("why", "dear").stdout
    assert.matches("cost_gate", why, 1, true)
  end)
end)

describe("retry_failed_jobs in a daemon", function()
  it("sends a failed job again, under its limits", function()
    local world = new_world("--faults", "sxwl.create_job:fail=1")
    world:start { "--config", world.config, copy(world, "retry_failed_jobs", { ['base = "10s"'] = 'base = "10ms"' }) }
    submit(world, { name = "fails-once", max_cost = "30 CNY", spec = SPEC })

    local row = becomes(world, "fails-once", "succeeded")
    assert.equal(2, row.attempt)
    assert.matches("retry_failed_jobs", world:run("why", "fails-once").stdout, 1, true)
  end)
end)

describe("fan_out_inference in a daemon", function()
  it("pays once for each content that comes into its folder, and writes the results", function()
    local world = new_world()
    local inbox, results = world.folder .. "/in", world.folder .. "/out"
    fs.mkdir(inbox)
    fs.mkdir(results)
    fs.write(inbox .. "/a.csv", "1,2,3\n")
    fs.write(inbox .. "/copy.csv", "1,2,3\n")
    local client = deai.client { base_url = world.env.DEAI_BASE_URL, email = world.env.DEAI_EMAIL, password = world.env.DEAI_PASSWORD }
    local jobID = client:train({
      model = "CNN", jobName = "digits", epoch = 1, train_shard = 0.8, scale_ratio = 255, category = 10, channel = 1,
      x_train = deai.file(inbox .. "/a.csv"), y_train = deai.file(inbox .. "/a.csv"), wait = true,
    }).jobID
    world.env.FAN_OUT_JOB, world.env.FAN_OUT_FOLDER, world.env.FAN_OUT_RESULTS = jobID, inbox, results
    world:start { "--config", world.config, copy(world, "fan_out_inference", { ['every = "15m"'] = 'every = "1s"' }) }

    helper.eventually(function() return fs.exists(results .. "/a.csv.json") end, 25)
    fs.write(inbox .. "/b.csv", "4,5,6\n")
    helper.eventually(function() return fs.exists(results .. "/b.csv.json") end, 25)

    assert.equal(inbox .. "/b.csv", json.decode(fs.read(results .. "/b.csv.json")).file)
    local rows = world:call("jobs.list", { name = "fan_out_inference" })
    assert.equal(2, #rows)
    assert.equal("fan_out_inference", rows[1].policy)
  end)
end)
