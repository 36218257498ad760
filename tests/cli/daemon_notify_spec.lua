-- daemon_notify_spec.lua - what a daemon tells people: events become messages, those of a policy go where it says.
local daemon = require "tests.support.daemon"
local fs = require "perigee.fs"
local helper = require "tests.helper"
local http = require "perigee.http"
local json = require "perigee.json"

-- A world, and what a webhook of it gets at each path.
local function new_world()
  local world, got = daemon.world(), {}
  local server = http.serve {
    handler = function(request)
      got[#got + 1] = json.decode(request.body)
      got[#got].path = request.path
      return { status = 200 }
    end,
  }
  finally(function()
    world:close()
    server:close()
  end)
  return world, got, server.url
end

local function configure(world, text)
  local path = world.folder .. "/config.lua"
  fs.write(path, text, { mode = "0600" })
  return path
end

local function message_of(got, event)
  for _, m in ipairs(got) do
    if m.event == event then return m end
  end
end

local GATE <const> = [[
  local policy = require "perigee.policy"
  return {
    name = "gate", retry = { attempts = 2, base = "10ms", cap = "10ms", on = { "job_failed" } },
    on = { ["job.submit"] = function(job)
      if job.name == "dear" then return policy.hold("it is dear", { expires = "1h" }) end
    end },
    notify = { webhook = "URL/gate", on = { "policy.stale" }, min_interval = 0 },
    schedules = { { name = "train", every = "1s", run = function(ctx)
      for _, name in ipairs { "dear", "bad" } do
        ctx.jobs.submit { service = "sxwl", name = name, key = "k", max_cost = "20 CNY", attach = "finished", spec = {
          gpuType = "NVIDIA-GeForce-RTX-3090", gpuNumber = 1, imagePath = "registry.example/digits:1.4", jobType = "GeneralJob",
          ckptPath = "/ckpt", ckptVol = 10000, modelPath = "/model", modelVol = 10000, runCommand = "python train.py" } }
      end
      ctx.notify.send { text = "both are submitted", event = "train.submitted", job = "both" }
    end } } }]]

local SPENDER <const> = [[
  return {
    name = "spender",
    on = { ["budget.low"] = function(low) print(("%s has %s of %s"):format(low.budget, low.used, low.limit)) end },
    schedules = { { name = "train", every = "1s", run = function(ctx)
      ctx.jobs.submit { service = "sxwl", name = "one", key = "k", max_cost = "9 CNY", attach = "finished", spec = {
        gpuType = "NVIDIA-GeForce-RTX-3090", gpuNumber = 1, imagePath = "registry.example/digits:1.4", jobType = "GeneralJob",
        ckptPath = "/ckpt", ckptVol = 10000, modelPath = "/model", modelVol = 10000, stopTime = 75 } }
    end } } }]]

describe("perigee daemon", function()
  it("tells of jobs that are held, and sends what a policy says where it says", function()
    local world, got, url = new_world()
    world:emulator("--speed", "100000", "--faults", "sxwl.create_job:fail=1")
    local config = configure(world, ("return { sxwl = { prices = { ['NVIDIA-GeForce-RTX-3090'] = '7 CNY/h' } }, "
      .. "notify = { webhook = %q, min_interval = 0 } }"):format(url .. "/all"))
    world:start { "--config", config, world:policy("gate", (GATE:gsub("URL", url))) }

    helper.eventually(function() return message_of(got, "job.held") and message_of(got, "train.submitted") end, 20)

    local held = message_of(got, "job.held")
    assert.equal("/all", held.path)
    assert.matches('job "dear"', held.text, 1, true)
    assert.equal("gate", held.policy)
    assert.equal("/gate", message_of(got, "train.submitted").path)
    -- its table `retry` answers for the job that failed
    helper.eventually(function()
      local row = world:call("jobs.list", { name = "bad" })[1]
      return row and row.state == "succeeded" and row.attempt == 2
    end, 20)
  end)

  it("tells that the daemon before it did not end in order", function()
    local world, got, url = new_world()
    local config = configure(world, ("return { notify = { webhook = %q } }"):format(url .. "/all"))
    local child = world:start { "--config", config }
    child:kill "KILL"
    child:wait()
    child = world:start { "--config", config }
    helper.eventually(function() return message_of(got, "daemon.crashed") end, 20)

    local result = world:run "notify" -- without a word
    assert.equal(2, result.status)
    result = world:run("notify", "test", "--json")
    assert.equal(0, result.status, result.stderr)
    assert.is_true(json.decode(result.stdout).ok)
    assert.is_table(message_of(got, "test"))
    child:kill "TERM"
    assert.equal(0, child:wait().status)
  end)

  it("calls nobody with --emulator, but where that is asked for", function()
    local world, got, url = new_world()
    local policy = world:policy("talker", [[return { name = "talker", schedules = { { name = "say", every = "1s", run = function(ctx)
      ctx.notify.send { text = "said at " .. ctx.scheduled_at, event = "said" }
    end } } }]])
    local text = ("return { notify = { webhook = %q, min_interval = 0 } }"):format(url .. "/all")
    local child = world:start { "--emulator", "--config", configure(world, text), policy }
    assert.is_true(child:read_until "notify.rehearsed", daemon.log(child))
    assert.matches("said at", daemon.log(child), 1, true)
    assert.is_nil(message_of(got, "said"))
    child:kill "TERM"
    child:wait()

    world:start { "--emulator", "--config", configure(world, (text:gsub("min_interval", "emulator = true, %0"))), policy }
    helper.eventually(function() return message_of(got, "said") end, 20)
  end)

  it("refuses to start when what is said of messages is wrong", function()
    local world = new_world()
    local child = world:start({ "--config", configure(world, "return { notify = { webhok = 'x' } }") }, { ready = false })
    local result = child:wait()
    assert.equal(3, result.status, result.stderr)
    assert.matches('did you mean "webhook"?', result.stderr, 1, true)
  end)

  it("tells policies and people once that a budget is low", function()
    local world, got, url = new_world()
    world:emulator()
    local config = configure(world, ("return { sxwl = { prices = { ['NVIDIA-GeForce-RTX-3090'] = '7 CNY/h' } }, "
      .. "budgets = { { name = 'team', day = '10 CNY', warn = 0.8 } }, notify = { webhook = %q, min_interval = 0 } }"):format(url))
    local child = world:start { "--config", config, world:policy("spender", SPENDER) }

    helper.eventually(function() return message_of(got, "budget.low") end, 20)
    assert.is_true(child:read_until "team has 8.75 CNY of 10 CNY", daemon.log(child))
    child:kill "TERM" -- what is told at the end counts as well
    assert.equal(0, child:wait().status)

    local told = 0
    for _, m in ipairs(got) do told = told + (m.event == "budget.low" and 1 or 0) end
    assert.equal(1, told)
    assert.matches('team', message_of(got, "budget.low").text, 1, true)
  end)
end)
