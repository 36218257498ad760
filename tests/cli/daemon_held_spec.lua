-- daemon_held_spec.lua - a job that a policy holds: answered while the daemon runs, and while none does.
local daemon = require "tests.support.daemon"
local fs = require "perigee.fs"
local helper = require "helper"
local http = require "perigee.http"
local json = require "perigee.json"

local HOLDER <const> = [[
  return {
    name = "holder",
    on = {
      ["job.submit"] = function(job) return require "perigee.policy".hold("look first", { expires = "1h" }) end,
      ["job.succeeded"] = function(job) print("succeeded " .. job.name) end,
    },
    schedules = { { name = "train", every = "1s", run = function(ctx)
      for _, name in ipairs { "one", "two" } do
        ctx.jobs.submit { service = "sxwl", name = name, key = "k", max_cost = "20 CNY", attach = "finished", spec = {
          gpuType = "NVIDIA-GeForce-RTX-3090", gpuNumber = 1, imagePath = "registry.example/digits:1.4", jobType = "GeneralJob",
          ckptPath = "/ckpt", ckptVol = 10000, modelPath = "/model", modelVol = 10000, runCommand = "python train.py" } }
      end
    end } } }]]

local CONFIG <const> = [[return { sxwl = { prices = { ["NVIDIA-GeForce-RTX-3090"] = "7 CNY/h" } } }]]

describe("a job that a policy holds", function()
  it("is denied with a reason by a person, or approved while no daemon runs, and then submitted by the next", function()
    local world = daemon.world()
    finally(function() world:close() end)
    world:emulator("--speed", "600")
    local config = world.folder .. "/config.lua"
    require("perigee.core.fs").write(config, CONFIG, { mode = "0600" })
    local policy = world:policy("holder", HOLDER)
    local child = world:start { "--config", config, policy }
    local held = {}
    helper.eventually(function()
      held = {}
      for _, job in ipairs(world:call("jobs.list", { state = "held" })) do held[job.name] = job.id end
      return held.one and held.two
    end, 20)

    local denied = world:run("deny", held.one, "far", "too", "dear")
    assert.equal(0, denied.status, denied.stderr)
    assert.equal(("job %s is denied: nothing of it is submitted\n"):format(held.one), denied.stdout)
    assert.matches("denied by [^\n]*: far too dear", world:run("why", held.one).stdout)

    child:kill "TERM"
    child:wait()
    local approved = world:run("approve", held.two)
    assert.equal(0, approved.status, approved.stderr)
    assert.matches("no daemon runs, so the next one acts on it", approved.stdout)

    local second = world:start { "--config", config, policy }
    assert.is_true(second:read_until "succeeded two", daemon.log(second))
    assert.equal("denied", world:call("jobs.get", { id = held.one }).state)
  end)

  it("is denied when nobody answers in the time the policy gives, with a message before", function()
    local world, got = daemon.world(), {}
    local server = http.serve {
      handler = function(request)
        local m = json.decode(request.body)
        got[m.event] = m
        return { status = 200 }
      end,
    }
    finally(function()
      world:close()
      server:close()
    end)
    world:emulator("--speed", "600")
    local config = world.folder .. "/config.lua"
    fs.write(config, CONFIG:gsub("}$", (", notify = { webhook = %q, min_interval = 0 } }"):format(server.url)), { mode = "0600" })
    world:start { "--config", config, world:policy("holder", (HOLDER:gsub('"1h"', '"2s"'):gsub('{ "one", "two" }', '{ "one" }'))) }

    helper.eventually(function() return got["approval.expiring"] end, 20)
    assert.equal("held", world:call("jobs.list", { name = "one" })[1].state)
    assert.matches('job "one"', got["job.held"].text, 1, true)
    assert.matches("will be denied", got["approval.expiring"].text, 1, true)
    helper.eventually(function() return world:call("jobs.list", { name = "one" })[1].state == "denied" end, 20)
    assert.equal("nobody has approved it in time", world:call("jobs.list", { name = "one" })[1].reason)
  end)
end)
