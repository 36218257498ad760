-- shared_lock_spec.lua - the keys of Distributed AI are locked across processes: two programs on one account and one
-- state directory never run each other's data, and know when somebody else has estimated.
local deai = require "perigee.deai"
local emulator_server = require "perigee.emulator.server"
local fs = require "perigee.fs"
local helper = require "tests.helper"
local json = require "perigee.json"
local sha256 = require "perigee.emulator.sha256"
local spawn = require "tests.support.spawn"

-- What every child begins with: its words, a client, and waiting until a file is there.
local PRELUDE <const> = [[
local dir, jobID = arg[1], arg[2]
local json, task = require "perigee.json", require "perigee.task"
local client = require("perigee.deai").client { status_rate = 10000 }
local function wait_for(name)
  while true do
    local file = io.open(dir .. "/" .. name)
    if file then return file:close() end
    task.sleep(0.01)
  end
end
local function tell(value) print(json.encode(value)) io.stdout:flush() end
local function outcome(f, ...)
  local ok, err = pcall(f, ...)
  tell(ok and "done" or err.kind .. ": " .. err.message)
end
]]

-- An emulator, a trained job, data sets a1… and b1… in the account, and a folder with the children's state.
local function open_world(faults)
  local world = { dir = helper.tmpdir(), paths = {}, contents = {} }
  world.emulator = emulator_server.serve { seed = 5, speed = 1000000, faults = faults }
  local client = deai.client {
    base_url = world.emulator.deai_url, email = world.emulator.email, password = world.emulator.password, status_rate = 10000,
  }
  for i = 1, 12 do
    for _, side in ipairs { "a", "b" } do
      local name, text = side .. i, ("data %s %d"):format(side, i)
      fs.write(world.dir .. "/" .. name, text)
      world.paths[name] = client:upload(world.dir .. "/" .. name)
      world.contents[name] = sha256.content_id(text)
    end
  end
  world.jobID = client:train({
    model = "LSTM", jobName = "shared", epoch = 1, x_train = world.paths.a1, train_shard = 0.8, wait = true,
  }).jobID
  fs.write(world.dir .. "/paths.json", json.encode(world.paths))
  return world
end

local function child(world, code, state)
  local name = os.tmpname() .. ".lua"
  fs.write(name, PRELUDE .. "local paths = json.decode(io.open(dir .. '/paths.json'):read 'a')\n" .. code)
  return spawn.start({ "run", "--state", state or world.dir .. "/state", name, world.dir, world.jobID }, {
    env = { DEAI_BASE_URL = world.emulator.deai_url, DEAI_EMAIL = world.emulator.email, DEAI_PASSWORD = world.emulator.password },
  })
end

local function go(world, name)
  fs.write(world.dir .. "/" .. name, "")
end

describe("two processes on one account", function()
  it("never run each other's data on one job", function()
    local world = open_world "deai.estimate_inference:delay(10ms), deai.start_inference:delay(10ms)"
    finally(function() world.emulator:close() end)
    local children = {}
    for _, side in ipairs { "a", "b" } do
      local code = ([[
        tell "ready"
        wait_for "go"
        for i = 1, 12 do
          tell { name = "SIDE" .. i, result = client:infer { jobID = jobID, data_path = paths["SIDE" .. i] }.result }
        end
      ]]):gsub("SIDE", side)
      children[side] = child(world, code)
    end
    for _, one in pairs(children) do assert.is_true(one:read_until "ready") end
    go(world, "go")

    local seen = 0
    for _, one in pairs(children) do
      assert.equal(0, one:wait().status, one:output "stderr")
      for line in one:output():gmatch "{[^\n]*}" do
        local item = json.decode(line)
        assert.truthy(item.result:find(world.contents[item.name]:sub(1, 12), 1, true), item.name .. " ran on other data")
        seen = seen + 1
      end
    end
    assert.equal(24, seen)
  end)

  it("cannot start what the other has estimated since, and can when they estimate again", function()
    local world = open_world()
    finally(function() world.emulator:close() end)
    local first = child(world, [[
      client:estimate_inference { jobID = jobID, data_path = paths.a1 }
      tell "estimated"
      wait_for "go"
      outcome(client.start_inference, client, { jobID = jobID })
      client:estimate_inference { jobID = jobID, data_path = paths.a1 }
      outcome(client.start_inference, client, { jobID = jobID })
    ]])
    assert.is_true(first:read_until "estimated")
    local second = child(world, [[
      outcome(client.start_inference, client, { jobID = jobID })
      client:estimate_inference { jobID = jobID, data_path = paths.b1 }
    ]])
    assert.equal(0, second:wait().status, second:output "stderr")
    go(world, "go")
    assert.equal(0, first:wait().status, first:output "stderr")

    assert.truthy(second:output():find("invalid: deai.start_inference: somebody else has estimated", 1, true), second:output())
    assert.truthy(first:output():find('invalid: deai.start_inference: somebody else has estimated.-\n"done"'), first:output())
    local ran = world.emulator.ledger:inferences()
    assert.equal(1, #ran)
    assert.equal(world.paths.a1, ran[1].data_path)
  end)

  it("keep a draft of their own over the other's work on other keys", function()
    local world = open_world()
    finally(function() world.emulator:close() end)
    local first = child(world, [[
      client:estimate_inference { jobID = jobID, data_path = paths.a1 }
      tell "estimated"
      wait_for "go"
      outcome(client.start_inference, client, { jobID = jobID })
    ]])
    assert.is_true(first:read_until "estimated")
    local second = child(world, [[
      client:estimate { model = "LSTM", jobName = "another", epoch = 1, x_train = paths.b1, train_shard = 0.8 }
      outcome(client.create_job, client, { jobName = "another" })
    ]])
    assert.equal('"done"\n', second:wait().stdout, second:output "stderr")
    go(world, "go")
    assert.equal('"estimated"\n"done"\n', first:wait().stdout, first:output "stderr")
  end)

  it("get their turn also while the other wants the key again and again", function()
    local world = open_world()
    finally(function() world.emulator:close() end)
    local first = child(world, [[
      local stop = task.spawn(wait_for, "stop")
      task.map({ 1, 2, 3, 4 }, function(i)
        while stop:status() ~= "done" do client:estimate_inference { jobID = jobID, data_path = paths.a1 } end
      end)
    ]])
    helper.eventually(function() return world.emulator.ledger:calls("deai", "estimate_inference") > 20 end)

    local second = child(world, "client:estimate_inference { jobID = jobID, data_path = paths.b1 } tell 'had its turn'")
    local in_time = second:read_until("had its turn", 5)
    go(world, "stop")

    assert.is_true(in_time)
    assert.equal(0, second:wait().status)
    assert.equal(0, first:wait().status, first:output "stderr")
  end)

  it("let a key rest that the other has left in doubt", function()
    local world = open_world "deai.estimate_inference:drop_after=#1"
    finally(function() world.emulator:close() end)
    local first = child(world, [[
      client.draft_rest = 2
      outcome(client.estimate_inference, client, { jobID = jobID, data_path = paths.a1 })
    ]])
    assert.truthy(first:wait().stdout:find("network", 1, true), first:output "stderr")
    local second = child(world, [[
      client.draft_rest = 1
      outcome(client.start_inference, client, { jobID = jobID })
      local before = require("perigee.core.task").now()
      client:estimate_inference { jobID = jobID, data_path = paths.a1 }
      tell(require("perigee.core.task").now() - before > 0.5)
      outcome(client.start_inference, client, { jobID = jobID })
    ]])
    local result = second:wait()
    assert.matches('^"invalid: deai.start_inference: it is unclear.-"\ntrue\n"done"\n$', result.stdout)
    assert.truthy(result.stderr:find("draft.rests", 1, true), result.stderr)
  end)

  it("do not trust a draft after one has died in the middle of the next", function()
    local world = open_world "deai.estimate_inference:delay(30s)=#2"
    finally(function() world.emulator:close() end)
    local first = child(world, [[
      client:estimate_inference { jobID = jobID, data_path = paths.a1 }
      tell "estimated"
      wait_for "go"
      outcome(client.start_inference, client, { jobID = jobID })
    ]])
    assert.is_true(first:read_until "estimated")
    local second = child(world, "client:estimate_inference { jobID = jobID, data_path = paths.b1 }")
    helper.eventually(function() return world.emulator.ledger:calls("deai", "estimate_inference") == 2 end)
    second:kill "KILL"
    second:wait()
    go(world, "go")

    assert.equal(0, first:wait().status, first:output "stderr")
    assert.truthy(first:output():find("invalid: deai.start_inference: it is unclear", 1, true), first:output())
    assert.equal(0, #world.emulator.ledger:inferences())
  end)
end)

describe("a call that no journal can lock", function()
  it("goes on under the lock of its process, with one warning", function()
    local world = open_world()
    finally(function() world.emulator:close() end)
    fs.write(world.dir .. "/file", "no folder")
    local one = child(world, [[
      for _ = 1, 2 do client:estimate_inference { jobID = jobID, data_path = paths.a1 } end
      outcome(client.start_inference, client, { jobID = jobID })
    ]], world.dir .. "/file/state")

    local result = one:wait()

    assert.equal('"done"\n', result.stdout, result.stderr)
    local _, warnings = result.stderr:gsub("lock.not_shared", "")
    assert.equal(1, warnings, result.stderr)
  end)
end)
