-- daemon_drain_spec.lua - a daemon that is told to end while a create is under way, and what the next one makes of it.
local daemon = require "tests.support.daemon"
local fs = require "perigee.fs"
local helper = require "tests.helper"
local http = require "perigee.http"
local json = require "perigee.json"
local task = require "perigee.task"

local CONFIG <const> = [[return { sxwl = { prices = { ["NVIDIA-GeForce-RTX-3090"] = "7 CNY/h" } } }]]

local POLICY <const> = [[
  return {
    name = "watcher",
    on = { ["job.succeeded"] = function(job) print("succeeded " .. job.name) end },
    schedules = { { name = "train", every = "1s", run = function(ctx)
      ctx.jobs.submit { service = "sxwl", name = "digits", key = "k", max_cost = "20 CNY", attach = "finished", spec = {
        gpuType = "NVIDIA-GeForce-RTX-3090", gpuNumber = 1, imagePath = "registry.example/digits:1.4", jobType = "GeneralJob",
        ckptPath = "/ckpt", ckptVol = 10000, modelPath = "/model", modelVol = 10000, runCommand = "python train.py" } }
    end } } }]]

-- A daemon whose create is under way: the service takes `delay` to answer it.
local function sending(delay, ...)
  local world = daemon.world()
  finally(function() world:close() end)
  world:emulator("--speed", "300", "--faults", ("sxwl.create_job:delay(%s)=#1"):format(delay))
  local config = world.folder .. "/config.lua"
  fs.write(config, CONFIG, { mode = "0600" })
  local words = { "--config", config, world:policy("watcher", POLICY), ... }
  local child = world:start(words)
  helper.eventually(function() return (world:call("jobs.list", {})[1] or {}).state == "submitting" end, 20)
  return world, child, words
end

local function created(world)
  local url = world.env.SXWL_BASE_URL:match "^(http://[^/]+)" .. "/__ledger"
  return #json.decode(http.get(url).body).sxwl.jobs
end

-- The states of the jobs and of the permits, as the journal has them without a daemon.
local function recorded(world)
  local states = {}
  for line in world:run("journal", "export").stdout:gmatch "[^\n]+" do
    local one = json.decode(line)
    if one.table == "jobs" or one.table == "permits" then states[#states + 1] = one.table .. " " .. one.record.state end
  end
  table.sort(states)
  return table.concat(states, ", ")
end

describe("a daemon that is told to end while a create is under way", function()
  it("waits for the answer, and the next one sees the job through", function()
    local world, child, words = sending "700ms"
    child:kill "TERM"
    assert.equal(0, child:wait().status)
    assert.equal("jobs running, permits created", recorded(world))

    local second = world:start(words)
    assert.is_true(second:read_until("succeeded digits", 20), daemon.log(second))
    assert.equal(1, created(world))
  end)

  it("leaves it unknown when the grace is over, and the next one finds it in the service's list", function()
    local world, child, words = sending("20s", "--grace", "300ms")
    local began = task.now()
    child:kill "TERM"
    assert.equal(0, child:wait().status)
    assert.is_true(task.now() - began < 9, task.now() - began)
    assert.matches("permits unknown", recorded(world), 1, true)

    local second = world:start(words)
    assert.is_true(second:read_until("succeeded digits", 25), daemon.log(second))
    assert.equal(1, created(world))
    local row = world:call("jobs.list", {})[1]
    assert.equal(1, row.attempt)
  end)

  it("reloads nothing at a SIGHUP meanwhile, and ends", function()
    local world, child = sending "700ms"
    child:kill "TERM"
    assert.is_true(child:read_until '"daemon.signal"')
    child:kill "HUP"
    local result = child:wait()

    assert.equal(0, result.status, result.stderr)
    assert.is_nil(result.stderr:find("daemon.reloaded", 1, true))
    assert.equal("jobs running, permits created", recorded(world))
  end)
end)
